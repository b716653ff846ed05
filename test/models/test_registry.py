"""Networks by name."""

import pytest

torch = pytest.importorskip("torch")

from depthnet_ros.models.registry import ARCHITECTURES, build


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_name_builds_a_network(name: str) -> None:
    assert isinstance(build(name, **({"size": "small"} if name == "depthnet" else {})), torch.nn.Module)
