"""Conditions at their limits: each operator, figures that could not be measured, names that are none."""

from __future__ import annotations

import pytest

from depthnet_ros.errors import ConfigError
from depthnet_ros.evaluation.thresholds import parse_condition

FIGURES = {"below": 0.1, "equal": 0.2, "above": 0.3, "none": None, "nan": float("nan"), "order": 1.0, "band": 2.0}


@pytest.mark.parametrize(
    ("operator", "holds"),
    [
        ("<", (True, False, False)),
        ("<=", (True, True, False)),
        (">", (False, False, True)),
        (">=", (False, True, True)),
        ("==", (False, True, False)),
        ("!=", (True, False, True)),
    ],
)
def test_each_operator_below_at_and_above_its_limit(operator: str, holds: tuple[bool, ...]) -> None:
    found = tuple(parse_condition(f"{name} {operator} 0.2").holds(FIGURES) for name in ("below", "equal", "above"))
    assert found == holds


@pytest.mark.parametrize("name", ["none", "nan"])
@pytest.mark.parametrize("operator", ["<", ">"])
def test_what_could_not_be_measured_passes_no_gate(name: str, operator: str) -> None:
    condition = parse_condition(f"{name} {operator} 0.2")
    assert condition.holds(FIGURES)
    assert name in condition.explain(FIGURES)


def test_and_needs_both_and_or_either() -> None:
    assert not parse_condition("below > 0.2 and above > 0.2").holds(FIGURES)
    assert parse_condition("below > 0.2 or above > 0.2").holds(FIGURES)
    assert parse_condition("below < 0.2 and above > 0.2").holds(FIGURES)


def test_names_that_hold_and_or_or_are_read_as_names() -> None:
    condition = parse_condition("order >= 1 and band < 3")
    assert condition.names == ("order", "band") and condition.holds(FIGURES)


@pytest.mark.parametrize("text", ["beIow < 0.2", "above > 0.2 or beIow < 0.2"])
def test_a_name_that_is_none_is_refused_though_another_alternative_holds(text: str) -> None:
    with pytest.raises(ConfigError, match="no figure named 'beIow'; there are below"):
        parse_condition(text).holds(FIGURES)


def test_a_condition_is_explained_with_what_was_measured() -> None:
    assert parse_condition("below > 2e-1 or none > 1").explain(FIGURES) == (
        "below > 2e-1 or none > 1  (below = 0.1, none = not measured)"
    )
