"""Architectures by name. A network registers itself with :func:`register`; everything else asks :func:`build`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from depthnet_ros.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn

MODULES = {"depthnet_deck": "depthnet_ros.models.deck", "depthnet": "depthnet_ros.models.depthnet"}
"""Each architecture of this project and its module: to know a name without torch."""
_BUILDERS: dict[str, Callable[..., nn.Module]] = {}


def register(name: str) -> Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]:
    """Class or function decorator: make an architecture known under ``name``.

    Raises:
        ValueError: the name is taken.
    """

    def add(builder: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        if name in _BUILDERS:
            raise ValueError(f"an architecture named {name!r} is registered already")
        _BUILDERS[name] = builder
        return builder

    return add


def names() -> list[str]:
    """Every architecture that can be built, sorted."""
    for module in MODULES.values():  # networks register on import; imported here so that the list is whole
        import_module(module)
    return sorted(_BUILDERS)


def build(name: str, **arguments: Any) -> nn.Module:
    """A freshly initialised network.

    Raises:
        WeightsError: no architecture of that name, or it does not take these arguments.
    """
    if name not in names():
        raise WeightsError(f"no architecture named {name!r}; there are {', '.join(names())}")
    try:
        return _BUILDERS[name](**arguments)
    except (TypeError, ValueError, RuntimeError) as error:  # the last of torch, for sizes that no tensor can have
        reason = (str(error).splitlines() or [repr(error)])[0]
        raise WeightsError(f"architecture {name!r} does not take {sorted(arguments)}: {reason}") from error
