"""How large a network's input is: smaller where that is needed to keep the latency contract."""

from __future__ import annotations

from dataclasses import replace

from depthnet_ros.inference.latency import RollingPercentiles
from depthnet_ros.models.spec import InputSpec

AREAS = (1.0, 0.7, 0.5, 0.35)
"""Shares of a network's full input area that it may be given."""
_ROOM = 0.9  # of the limit: what a larger input may take at most, so that it does not have to shrink again at once


class DegradePolicy:
    """Decides when a smaller network input is needed to keep the contract, and when the full one can come back.

    The input's area goes down one step when the 90th percentile of the last ``patience`` latencies exceeds
    ``limit_s``, and up one step when it would stay below ``limit_s`` even if latency grew with the area. After each
    step the count starts anew, so the size cannot swing from frame to frame.

    Attributes:
        area: fraction of the full input area in use now, one of ``areas``.
        reason: what happened last, for people; empty as long as nothing did.

    Raises:
        ValueError: a limit that is not positive, or areas that do not fall from 1.
    """

    def __init__(self, limit_s: float, areas: tuple[float, ...] = AREAS, patience: int = 30) -> None:
        if limit_s <= 0:
            raise ValueError(f"the latency limit must be positive seconds, got {limit_s}")
        if not areas or areas[0] != 1.0 or list(areas) != sorted(set(areas), reverse=True) or areas[-1] <= 0:
            raise ValueError(f"areas must fall from 1.0 and stay positive, got {areas}")
        self.limit_s = limit_s
        self.areas = areas
        self.reason = ""
        self._level = 0
        self._recent = RollingPercentiles(patience)
        self._patience = patience

    @property
    def area(self) -> float:
        """Fraction of the full input area in use."""
        return self.areas[self._level]

    @property
    def degraded(self) -> bool:
        """Whether the input is smaller than the network's own."""
        return self._level > 0

    def update(self, latency_s: float) -> bool:
        """Take in one latency. True if :attr:`area` changed: the caller then sets the input anew and says why."""
        self._recent.add(latency_s)
        if len(self._recent) < self._patience:
            return False
        p90_s = self._recent.percentiles()[90]
        if p90_s > self.limit_s and self._level + 1 < len(self.areas):
            return self._step(+1, f"p90 latency {p90_s * 1e3:.0f} ms is over the limit of {self.limit_s * 1e3:.0f} ms")
        if self._level and p90_s * self.areas[self._level - 1] / self.area < _ROOM * self.limit_s:
            return self._step(-1, f"p90 latency {p90_s * 1e3:.0f} ms leaves room below {self.limit_s * 1e3:.0f} ms")
        return False

    def _step(self, by: int, why: str) -> bool:
        self._level += by
        self._recent = RollingPercentiles(self._patience)
        self.reason = f"{why}: network input now about {self.area:.0%} of its full area"
        return True


def scaled_input(spec: InputSpec, area: float) -> InputSpec:
    """``spec`` with ``area`` times as many pixels, sides rounded to its multiple.

    A network of one fixed size (``keep_aspect`` false) has no smaller input: its specification comes back unchanged.
    """
    if not spec.keep_aspect or area == 1.0:
        return spec
    side = area**0.5
    return replace(spec, height_px=max(1, round(spec.height_px * side)), width_px=max(1, round(spec.width_px * side)))
