"""Charts as inline SVG: no library, no script, readable at the width of a phone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 400, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 24, 34
_PLOT_W, _PLOT_H = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
_MOST_POINTS = 500
COLORS = ("c1", "c2", "c3", "c4")
"""Classes of the style sheet, in the order of series."""


@dataclass(frozen=True)
class Series:
    """A named row of values; NaN leaves a gap, in a long chart where it can be seen."""

    name: str
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Mark:
    """A point on a line chart that links to a place in the page."""

    x: float
    y: float
    href: str
    title: str


@dataclass(frozen=True)
class Span:
    """A stretch of the x axis shown as a coloured strip below the plot."""

    start: float
    end: float
    css: str
    title: str


@dataclass
class _Axis:
    low: float
    high: float
    ticks: list[float] = field(default_factory=list)

    @classmethod
    def over(cls, values: Sequence[float], zero: bool) -> _Axis:
        finite = [value for value in values if math.isfinite(value)]
        low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
        if zero:
            low, high = min(low, 0.0), max(high, 0.0)
        if high - low < 1e-12:
            low, high = (low, low + 1.0) if zero else (low - 0.5 * abs(low or 1), high + 0.5 * abs(high or 1))
        step = _nice_step((high - low) / 4)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        ticks = [index * step for index in range(first, last + 1)]
        return cls(ticks[0], ticks[-1], ticks)

    def y(self, value: float) -> float:
        return _TOP + _PLOT_H * (1 - (value - self.low) / (self.high - self.low))


def grouped_bars(
    title: str, labels: Sequence[str], series: Sequence[Series], unit: str = "", scale: float = 1.0
) -> str:
    """Bars side by side for each label. Values are shown times ``scale``."""
    data = [one.values * scale for one in series]
    axis = _Axis.over([float(value) for one in data for value in one], zero=True)
    slot = _PLOT_W / max(len(labels), 1)
    width = 0.8 * slot / max(len(series), 1)
    parts = [_grid(axis, unit)]
    for index, label in enumerate(labels):
        parts.append(_text(_LEFT + (index + 0.5) * slot, HEIGHT - _BOTTOM + 15, label, "middle"))
        for position, one in enumerate(data):
            value = float(one[index])
            if not math.isfinite(value):
                continue
            x = _LEFT + index * slot + 0.1 * slot + position * width
            top, bottom = sorted((axis.y(value), axis.y(0.0)))
            tip = f"{series[position].name} {label}: {value:.3g} {unit}"
            parts.append(
                f'<rect class="{COLORS[position]}" x="{x:.1f}" y="{top:.1f}" width="{width - 1:.1f}" '
                f'height="{max(bottom - top, 0.5):.1f}"><title>{escape(tip)}</title></rect>'
            )
    return _figure(title, parts, [one.name for one in series])


def lines(
    title: str,
    x: NDArray[np.float64],
    series: Sequence[Series],
    unit: str = "",
    x_unit: str = "s",
    zero: bool = True,
    marks: Sequence[Mark] = (),
    spans: Sequence[Span] = (),
) -> str:
    """Lines over ``x``, (N,), which rises but where a clock is set back. Long ones keep each stretch's extremes, so
    that no peak is lost.
    """
    everything = [float(value) for one in series for value in one.values] + [mark.y for mark in marks]
    axis = _Axis.over(everything, zero)
    start = float(x.min())
    end = max(float(x.max()), start + 1e-9)
    parts = [_grid(axis, unit)]
    parts += [_span(span, start, end) for span in spans]
    for position, one in enumerate(series):
        path = _path(x, one.values, axis, start, end)
        parts.append(f'<path class="line {COLORS[position]}" d="{path}"/>')
    parts.append(_x_axis(start, end, x_unit))
    for mark in marks:
        at = f'cx="{_x_of(mark.x, start, end):.1f}" cy="{axis.y(mark.y):.1f}"'
        parts.append(
            f'<a href="{escape(mark.href)}"><circle class="mark" {at} r="5"/><title>{escape(mark.title)}</title></a>'
        )
    return _figure(title, parts, [one.name for one in series])


def histogram(title: str, edges: NDArray[np.float64], counts: NDArray[np.integer], unit: str = "") -> str:
    """(N,) counts between (N + 1,) ``edges`` as shares of all."""
    shares = counts / max(int(counts.sum()), 1) * 100.0
    axis = _Axis.over([0.0, float(shares.max(initial=0.0))], zero=True)
    start, end = float(edges[0]), float(edges[-1])
    parts = [_grid(axis, "%")]
    for left, right, share in zip(edges[:-1], edges[1:], shares, strict=True):
        x0, x1 = _x_of(float(left), start, end), _x_of(float(right), start, end)
        tip = f"{_number(float(left))} to {_number(float(right))} {unit}: {share:.2g} %"
        parts.append(
            f'<rect class="c1" x="{x0:.1f}" y="{axis.y(share):.1f}" width="{max(x1 - x0 - 0.5, 0.5):.1f}" '
            f'height="{_TOP + _PLOT_H - axis.y(share):.1f}"><title>{escape(tip)}</title></rect>'
        )
    parts.append(_x_axis(start, end, unit))
    return _figure(title, parts, [])


def _figure(title: str, parts: list[str], legend: Sequence[str]) -> str:
    entries = ""
    if len(legend) > 1:
        entries = "".join(
            f'<span><i class="{COLORS[index]}"></i>{escape(name)}</span>' for index, name in enumerate(legend)
        )
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
        f'<div class="legend">{entries}</div></figure>'
    )


def _grid(axis: _Axis, unit: str) -> str:
    parts = []
    step = (axis.high - axis.low) / max(len(axis.ticks) - 1, 1)
    for tick, label in zip(axis.ticks, _labels(axis.ticks, step), strict=True):
        y = axis.y(tick)
        css = "zero" if abs(tick) < 1e-12 else "grid"
        parts.append(f'<line class="{css}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(_LEFT - 5, y + 4, label, "end"))
    parts.append(_text(2, 10, unit, "start"))
    return "".join(parts)


def _span(span: Span, start: float, end: float) -> str:
    x0, x1 = _x_of(max(span.start, start), start, end), _x_of(min(span.end, end), start, end)
    return (
        f'<rect class="{span.css}" x="{x0:.1f}" y="{_TOP + _PLOT_H + 1}" width="{max(x1 - x0, 0.6):.1f}" height="4">'
        f"<title>{escape(span.title)}</title></rect>"
    )


def _path(x: NDArray[np.float64], y: NDArray[np.float64], axis: _Axis, start: float, end: float) -> str:
    """Lines between known values, dots where one stands alone."""
    known = np.flatnonzero(np.isfinite(y))
    rows_each = max(1, math.ceil(2 * len(y) / _MOST_POINTS))  # in a long chart single rows are narrower than the line
    commands = []
    for rows in np.split(known, np.flatnonzero(np.diff(known) > rows_each) + 1):
        points = [
            f"{_x_of(float(x[row]), start, end):.1f} {axis.y(float(y[row])):.1f}" for row in _kept(rows, y, rows_each)
        ]
        commands += ["M" + "L".join(points) + ("h0" if len(points) == 1 else "")] if points else []
    return "".join(commands)


def _kept(rows: NDArray[np.intp], values: NDArray[np.float64], rows_each: int) -> list[int]:
    """Of each ``rows_each`` rows those with the smallest and the largest value; the first and the last at any rate."""
    if rows_each == 1 or not len(rows):
        return [int(row) for row in rows]
    keep = {int(rows[0]), int(rows[-1])}
    for part in np.split(rows, np.flatnonzero(np.diff(rows // rows_each)) + 1):
        keep |= {int(part[values[part].argmin()]), int(part[values[part].argmax()])}
    return sorted(keep)


def _x_of(value: float, start: float, end: float) -> float:
    return _LEFT + _PLOT_W * (value - start) / (end - start)


def _x_axis(start: float, end: float, unit: str) -> str:
    step = _nice_step((end - start) / 5)
    first, last = math.ceil(start / step - 1e-9), math.floor(end / step + 1e-9)
    ticks = [index * step for index in range(first, last + 1)]
    y = HEIGHT - _BOTTOM + 15
    places = [_x_of(tick, start, end) for tick in ticks]
    labels = [_text(x, y, label, "middle") for x, label in zip(places, _labels(ticks, step), strict=True)]
    return "".join([*labels, _text(WIDTH - _RIGHT, HEIGHT - 4, unit, "end")])


def _nice_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, not below ``rough``."""
    power = 10.0 ** math.floor(math.log10(max(rough, 1e-12)))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))


def _number(value: float, digits: int = 4) -> str:
    """To so many significant digits, without those that are zero."""
    rounded = float(f"{value:.{digits}g}")
    if rounded == 0.0 or 1e-3 <= abs(rounded) < 1e6:
        return np.format_float_positional(rounded + 0.0, trim="-")
    power = math.floor(math.log10(abs(rounded)))
    mantissa = float(f"{rounded / 10.0**power:.{digits}g}")
    return f"{np.format_float_positional(mantissa, trim='-')}e{power}"


def _labels(ticks: Sequence[float], step: float) -> list[str]:
    """Each with as many digits as all need to be right."""
    return [_number(tick, _digits(ticks, step)) for tick in ticks]


def _digits(ticks: Sequence[float], step: float) -> int:
    wrong = (digits for digits in range(1, 15) if any(abs(float(f"{t:.{digits}g}") - t) > 0.01 * step for t in ticks))
    return max(wrong, default=0) + 1


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
