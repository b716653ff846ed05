"""Depthwise convolutions for training on a CPU in bfloat16, round the passes that oneDNN has no fast kernel for."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 3


def depthwise_on_cpu(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """(B, C, h, w) bfloat16 and (C, 1, k, k) to (B, C, h / stride, w / stride), padded by k // 2; k odd.

    A strided one has no fast backward pass in bfloat16, so it is done in float32. Of the others only the gradient of a
    5x5 kernel is slow, in both: see :class:`_Depthwise5x5`. What is left is fast as it is.
    """
    size = weight.shape[-1]
    if stride == 1 and size == 5:
        return _Depthwise5x5.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    if stride == 1 and size == _BLOCK:
        return F.conv2d(x, weight, bias, stride, size // 2, groups=len(weight))
    with torch.autocast("cpu", enabled=False):
        bias = None if bias is None else bias.float()
        return F.conv2d(x.float(), weight.float(), bias, stride, size // 2, groups=len(weight)).to(torch.bfloat16)


class _Depthwise5x5(torch.autograd.Function):
    """Stride 1. The kernel's gradient is put together of four 3x3 ones, for which oneDNN is 3 to 4 times as fast."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x = x.to(torch.bfloat16)
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        lower = None if bias is None else bias.to(torch.bfloat16)
        return F.conv2d(x, weight.to(torch.bfloat16), lower, 1, 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        gradient = gradient.to(torch.bfloat16)
        of_x, of_weight, of_bias = ctx.needs_input_grad
        # The input's gradient is the convolution with the turned kernel; in float32 it is never slow.
        turned = weight.float().flip(2, 3)
        return (
            F.conv2d(gradient.float(), turned, None, 1, 2, groups=len(weight)).to(x.dtype) if of_x else None,
            _gradient_of_5x5(x, gradient).to(weight.dtype) if of_weight else None,
            gradient.float().sum((0, 2, 3)) if of_bias else None,
        )


def _gradient_of_5x5(x: Tensor, gradient: Tensor) -> Tensor:
    """(C, 1, 5, 5): four blocks of 3x3 taps, each the gradient of a 3x3 kernel on the input shifted; they overlap."""
    channels, (height, width) = x.shape[1], x.shape[2:]
    padded = F.pad(x, (2, 2, 2, 2))
    out = x.new_empty((channels, 1, 5, 5))
    kernel = x.new_zeros((channels, 1, _BLOCK, _BLOCK))  # its values do not matter, its shape does
    for top in (0, 2):
        for left in (0, 2):
            window = padded[:, :, top : top + height + 2, left : left + width + 2]
            _, block, _ = torch.ops.aten.convolution_backward(
                *(gradient, window.contiguous(memory_format=torch.channels_last), kernel, None, [1, 1], [0, 0], [1, 1]),
                *(False, [0, 0], channels, [False, True, False]),
            )
            out[:, :, top : top + _BLOCK, left : left + _BLOCK] = block
    return out
