"""Architectures by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from depthnet_ros.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn

ARCHITECTURES = {
    "depthnet": "depthnet_ros.models.depthnet:DepthNet",
    "depthnet_deck": "depthnet_ros.models.deck:DeckDepthNet",
}
"""Name in a specification -> module:class. The class takes the specification's arguments. As text, so that the names
are known without torch.
"""


def build(name: str, **arguments: Any) -> nn.Module:
    """A freshly initialised network.

    Raises:
        WeightsError: no architecture of that name, or it does not take these arguments.
    """
    if name not in ARCHITECTURES:
        raise WeightsError(f"no architecture named {name!r}; there are {', '.join(ARCHITECTURES)}")
    module, class_name = ARCHITECTURES[name].split(":")
    try:
        network: nn.Module = getattr(import_module(module), class_name)(**arguments)
    except (TypeError, ValueError, RuntimeError) as error:  # the last of torch, for sizes that no tensor can have
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise WeightsError(f"architecture {name!r} does not take {sorted(arguments)}: {reason}") from error
    return network
