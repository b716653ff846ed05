"""Conditions on figures, such as ``abs_rel > 0.2 or scan.false_free > 0.05``. Parsed, never executed."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from depthnet_ros.errors import ConfigError

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "==": operator.eq,
    "!=": operator.ne,
}
_COMPARISON = re.compile(r"\s*([A-Za-z_][\w.\-]*)\s*(<=|>=|==|!=|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


@dataclass(frozen=True)
class Comparison:
    """``name operator limit``."""

    name: str
    operator: str
    limit: float

    def holds(self, figures: Mapping[str, float | None]) -> bool:
        """Whether it is true. A figure that could not be measured makes it true: a gate never passes unseen.

        Raises:
            ConfigError: no figure of that name; names those there are.
        """
        if self.name not in figures:
            near = get_close_matches(self.name, figures, n=5, cutoff=0.5) or sorted(figures)
            raise ConfigError(f"no figure named {self.name!r}; there are {', '.join(near)} ({len(figures)} in all)")
        value = figures[self.name]
        return value is None or value != value or _OPERATORS[self.operator](value, self.limit)

    def __str__(self) -> str:
        return f"{self.name} {self.operator} {self.limit:g}"


@dataclass(frozen=True)
class Condition:
    """Comparisons joined by ``and`` and ``or``; ``and`` binds tighter."""

    text: str
    alternatives: tuple[tuple[Comparison, ...], ...]

    def holds(self, figures: Mapping[str, float | None]) -> bool:
        """Whether any alternative holds as a whole.

        Raises:
            ConfigError: no figure of a name.
        """
        results = [[item.holds(figures) for item in group] for group in self.alternatives]  # every name is checked
        return any(all(group) for group in results)

    @property
    def names(self) -> tuple[str, ...]:
        """The figures that it looks at."""
        return tuple(dict.fromkeys(item.name for group in self.alternatives for item in group))

    def explain(self, figures: Mapping[str, float | None]) -> str:
        """The condition with the values that were measured."""
        shown = (
            f"{name} = {'not measured' if figures[name] is None else f'{figures[name]:.4g}'}" for name in self.names
        )
        return f"{self.text}  ({', '.join(shown)})"


def parse_condition(text: str) -> Condition:
    """``abs_rel > 0.2 and delta1 < 0.8 or coverage < 0.5`` to a condition.

    Raises:
        ConfigError: anything else.
    """
    alternatives = []
    for alternative in re.split(r"\bor\b", text):
        group = []
        for part in re.split(r"\band\b", alternative):
            match = _COMPARISON.fullmatch(part)
            if match is None:
                raise ConfigError(
                    f"cannot read the condition {text!r} at {part.strip()!r}: "
                    "expected 'NAME > NUMBER' (or <, >=, <=, ==, !=), joined by 'and' and 'or'"
                )
            group.append(Comparison(match[1], match[2], float(match[3])))
        alternatives.append(tuple(group))
    return Condition(text.strip(), tuple(alternatives))
