"""The network of the student deck this project grew from, to the letter."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

INPUT_SIZE_PX = 128
LATENT_CHANNELS = 64
INIT_STD = 0.02
# (output channels, halve afterwards): eleven convolutions, of which seven halve, since 128 = 2^7 ends at 1 x 1.
_ENCODER = (
    (16, True), (16, False), (32, True), (32, False), (64, True), (64, False),
    (64, True), (64, False), (64, True), (64, True), (LATENT_CHANNELS, True),
)  # fmt: skip
_DECODER = (64, 64, 64, 64, 32, 16)


class DeckDepthNet(nn.Module):
    """128 x 128 x 3 -> 11 convolutions with ReLU and average pooling -> 1 x 1 x 64 -> 7 deconvolutions with LeakyReLU
    and upsampling -> 128 x 128 x ``out_channels``.

    Weights are drawn from N(0, 0.02), instance-norm biases are 0. The deck does not say where its instance norm sits;
    here it follows each deconvolution but the first (whose 2 x 2 map it would all but erase) and the last.
    ``out_channels``: 1, or 3 as the deck has it.
    """

    def __init__(self, out_channels: int = 1) -> None:
        super().__init__()
        self.encoder = nn.ModuleList()
        channels = 3
        for width, halves in _ENCODER:
            self.encoder.append(_conv(channels, width, halves))
            channels = width
        self.decoder = nn.ModuleList()
        for index, width in enumerate((*_DECODER, out_channels)):
            self.decoder.append(_deconv(channels, width, norm=0 < index < len(_DECODER)))
            channels = width
        self.apply(init_weights)

    def encode(self, image: Tensor) -> Tensor:
        """(B, 3, 128, 128) to the latent (B, 64, 1, 1)."""
        for layer in self.encoder:
            image = layer(image)
        return image

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, 128, 128) normalised image to (B, out_channels, 128, 128) relative inverse depth.

        Raises:
            ValueError: the input is not 128 x 128.
        """
        if image.shape[-2:] != (INPUT_SIZE_PX, INPUT_SIZE_PX):
            raise ValueError(f"depthnet_deck takes 128x128 images, got {image.shape[-2]}x{image.shape[-1]}")
        x = self.encode(image)
        for layer in self.decoder:
            x = layer(x)
        return x


def _conv(channels: int, width: int, halves: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
    if halves:
        layers.append(nn.AvgPool2d(2))
    return nn.Sequential(*layers)


def _deconv(channels: int, width: int, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.ConvTranspose2d(channels, width, 3, padding=1),
    ]
    if norm:
        layers.append(nn.InstanceNorm2d(width, affine=True))
    layers.append(nn.LeakyReLU(0.2, inplace=True))
    return nn.Sequential(*layers)


def init_weights(module: nn.Module) -> None:
    """Weights ~ N(0, 0.02), biases 0, as the deck has it."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, INIT_STD)
        nn.init.zeros_(cast(Tensor, module.bias))
    elif isinstance(module, nn.InstanceNorm2d):
        nn.init.normal_(module.weight, 1.0, INIT_STD)
        nn.init.zeros_(module.bias)
