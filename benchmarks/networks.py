"""Networks shaped like published ones, with random weights: the cost of the originals, and no use."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

from depthnet_ros.models.depthnet import Encoder, Size
from depthnet_ros.models.spec import InputSpec, ModelSpec


def _conv(channels: int, width: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU6(inplace=True),
    )


def _separable(channels: int, width: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(_conv(channels, channels, kernel, stride, channels), _conv(channels, width, 1))


class FastDepthShaped(nn.Module):
    """MobileNetV1 encoder, depthwise 5x5 decoder with additive skips (Wofk et al., 1903.03273), before pruning."""

    def __init__(self) -> None:
        super().__init__()
        widths = ((32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2),
                  *((512, 512, 1),) * 5, (512, 1024, 2), (1024, 1024, 1))  # fmt: skip
        self.stem = _conv(3, 32, 3, 2)
        self.blocks = nn.ModuleList(_separable(a, b, 3, stride) for a, b, stride in widths)
        self.decoder = nn.ModuleList(
            _separable(a, b, 5) for a, b in ((1024, 512), (512, 256), (256, 128), (128, 64), (64, 32))
        )
        self.head = _conv(32, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 224, 224) to (B, 1, 224, 224)."""
        x = self.stem(x)
        skips = {}
        for index, block in enumerate(self.blocks):
            x = block(x)
            skips[index] = x
        for layer, skip in zip(self.decoder, (None, 4, 2, 0, None), strict=True):
            x = F.interpolate(layer(x), scale_factor=2.0, mode="nearest")
            if skip is not None:
                x = x + skips[skip]
        return self.head(x)


class _Refine(nn.Module):
    """A residual unit before the sum with the deeper level, one after, and upsampling."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
            )
            for _ in range(2)
        )
        self.project = nn.Conv2d(width, out, 1)

    def forward(self, skip: Tensor, deeper: Tensor | None) -> Tensor:
        x = skip if deeper is None else deeper + skip + self.units[0](skip)
        x = x + self.units[1](x)
        return self.project(F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True))


class MidasSmallShaped(nn.Module):
    """EfficientNet-Lite3 encoder, MiDaS' refining decoder with 64 to 512 channels (1907.01341, v2.1 small)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder(Size("efficientnet_lite3", 1.2, 1.4, (0, 0, 0, 0, 0)))
        widths = (64, 128, 256, 512)
        self.scratch = nn.ModuleList(
            nn.Conv2d(channels, width, 3, padding=1, bias=False)
            for channels, width in zip((self.encoder.widths[stage] for stage in (1, 2, 4, 6)), widths, strict=True)
        )
        self.refine = nn.ModuleList(_Refine(w, max(w // 2, 64)) for w in widths)
        self.head = nn.Sequential(
            nn.Conv2d(64, 32, 3, padding=1), nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False),
            nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 1, 1), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 256, 256) to (B, 1, 256, 256)."""
        _, *maps = self.encoder(x)
        deeper: Tensor | None = None
        for scratch, refine, feature in list(zip(self.scratch, self.refine, maps, strict=True))[::-1]:
            deeper = refine(scratch(feature), deeper)
        return self.head(deeper)


SHAPED: dict[str, tuple[type[nn.Module], int]] = {
    "fastdepth_shaped": (FastDepthShaped, 224),
    "midas_small_shaped": (MidasSmallShaped, 256),
}


def export_shaped(name: str, folder: Path) -> tuple[Path, int]:
    """Write the network as a user's own ONNX file with its YAML; returns its path and number of parameters."""
    from depthnet_ros.inference.export import trace

    kind, side = SHAPED[name]
    torch.manual_seed(0)
    network = kind().train()
    with torch.no_grad():
        for _ in range(2):  # batch-norm statistics of data, or activations vanish into denormals
            network(torch.randn(2, 3, side, side))
    network.eval()
    spec = ModelSpec(name, InputSpec(side, side))
    path = folder / f"{name}.onnx"
    trace(network, spec.input, path)
    path.with_suffix(".yaml").write_text(yaml.safe_dump(spec.to_dict()))
    return path, sum(parameter.numel() for parameter in network.parameters())
