"""The declaration of parameters carried over to a node: declared, checked, kept as one snapshot."""

from __future__ import annotations

import difflib
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from depthnet_ros.errors import ConfigError
from depthnet_ros.parameter import Parameter, Value, by_name, check_each
from depthnet_ros.ros.rclpy_private import given_parameters

_RCL_OWN = ("qos_overrides.", "use_sim_time", "start_type_description_service")
_INT_RANGE = 2**31 - 1


class NodeParameters(Mapping[str, Any]):
    """Parameters of a node by name, as they are now: all that are set at once change at once."""

    def __init__(
        self,
        node: Node,
        parameters: Iterable[Parameter],
        on_change: Callable[[frozenset[str]], None] | None = None,
        check_together: Callable[[Mapping[str, Value]], None] = lambda values: None,
    ) -> None:
        """Declare all on ``node``; ``on_change(changed names)`` runs after each successful set.

        ``check_together`` raises ConfigError where values do not fit each other.

        Raises:
            ConfigError: a value given at start has the wrong type, is out of range or does not fit another.
        """
        self._node = node
        self._declared = by_name(parameters)
        self._on_change = on_change
        self._check_together = check_together
        self._warn_of_unknown()
        for problem in files_for_others(sys.argv, node.get_fully_qualified_name()):
            node.get_logger().warning(problem)
        given: dict[str, Any] = {}
        for name, parameter in self._declared.items():
            given[name] = _value(node.declare_parameter(name, parameter.default, _descriptor(parameter)), parameter)
        self._values: Mapping[str, Value] = self._checked(given)
        node.add_on_set_parameters_callback(self._check)
        node.add_post_set_parameters_callback(self._apply)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)

    def _checked(self, values: Mapping[str, Any]) -> dict[str, Value]:
        checked = check_each(values, self._declared.values())
        self._check_together(checked)
        return checked

    def _changed(self, parameters: Iterable[RosParameter]) -> dict[str, Value]:
        changes = {p.name: _value(p, self._declared[p.name]) for p in parameters if p.name in self._declared}
        return self._checked({**self._values, **changes})

    def _check(self, parameters: list[RosParameter]) -> SetParametersResult:
        if deleted := [p.name for p in parameters if p.name in self._declared and p.type_ is RosParameter.Type.NOT_SET]:
            return SetParametersResult(successful=False, reason=f"{', '.join(deleted)} cannot be deleted: set a value")
        try:
            self._changed(parameters)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _apply(self, parameters: list[RosParameter]) -> None:
        new = self._changed(parameters)
        changed = frozenset(name for name, value in new.items() if value != self._values[name])
        self._values = new
        if changed and self._on_change:
            self._on_change(changed)

    def _warn_of_unknown(self) -> None:
        """A misspelt name in a parameter file is otherwise ignored without a word."""
        for name in given_parameters(self._node):
            if name in self._declared or name.startswith(_RCL_OWN):
                continue
            close = difflib.get_close_matches(name, self._declared, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            self._node.get_logger().warning(f"parameter {name!r} does not exist and does nothing{hint}")


def files_for_others(arguments: Sequence[str], node: str) -> list[str]:
    """What to tell of each parameter file among ``arguments`` that has nothing for this node, ``/namespace/name``: rcl
    takes nothing from it, without a word.
    """
    problems = []
    for option, path in itertools.pairwise(arguments):
        if option != "--params-file":
            continue
        patterns: set[str] = set()
        with suppress(OSError, yaml.YAMLError):  # rcl's to complain of
            # Texts alone: what YAML makes of other nodes' values is not our concern.
            patterns.update(_node_patterns(yaml.load(Path(path).read_text(), Loader=yaml.BaseLoader)))
        if patterns and not any(_matches(pattern, node) for pattern in patterns):
            problems.append(
                f"nothing of {path} is used: it is for {', '.join(sorted(patterns))}, not for this node, {node}; name "
                "the node with its namespace, or /**, above ros__parameters"
            )
    return problems


def _node_patterns(tree: Any, above: str = "") -> Iterator[str]:
    """``/namespace/name`` of the nodes that a parameter file has something for, as they stand there."""
    for key, below in tree.items() if isinstance(tree, dict) else ():
        if key == "ros__parameters":
            yield above
        else:
            yield from _node_patterns(below, f"{above}/{key.strip('/')}")


def _matches(pattern: str, node: str) -> bool:
    """As rcl has it: ``*`` is one part of a name, ``**`` any number of them."""
    parts = {"*": "/[^/]+", "**": "(?:/[^/]+)*"}
    return bool(re.fullmatch("".join(parts.get(part, "/" + re.escape(part)) for part in pattern.split("/")[1:]), node))


def _value(given: RosParameter, parameter: Parameter) -> Any:
    """The value; an empty list reaches a node as "not set"."""
    return [] if given.value is None and isinstance(parameter.default, list) else given.value


def _descriptor(parameter: Parameter) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        description=parameter.description,
        read_only=not parameter.dynamic,
        additional_constraints=", ".join(parameter.choices),
        dynamic_typing=True,  # so that `5` for 5.0 reaches our own check and its message
    )
    if parameter.minimum is None and parameter.maximum is None:
        return descriptor
    if isinstance(parameter.default, float):
        low = -1e308 if parameter.minimum is None else parameter.minimum
        high = 1e308 if parameter.maximum is None else parameter.maximum
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
    else:
        low_int = -_INT_RANGE if parameter.minimum is None else int(parameter.minimum)
        high_int = _INT_RANGE if parameter.maximum is None else int(parameter.maximum)
        descriptor.integer_range = [IntegerRange(from_value=low_int, to_value=high_int, step=1)]
    return descriptor
