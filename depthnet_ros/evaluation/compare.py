"""Two evaluations side by side, with confidence intervals that tell a difference from noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.evaluation.blocks import block_length
from depthnet_ros.evaluation.obstacle_view import MIN_OBSTACLES, PLACES
from depthnet_ros.evaluation.results import Results, ResultsError

SMALLER, LARGER, NEARER_ZERO = "smaller", "larger", "nearer zero"
BETTER = {
    "abs_rel": SMALLER,
    "rmse": SMALLER,
    "delta1": LARGER,
    "silog": SMALLER,
    "bias": NEARER_ZERO,
    "flicker": SMALLER,
    "coverage": LARGER,
}
_OTHERS = {
    "metric.published": LARGER,
    **{f"{place}.{rate}": SMALLER for place in PLACES for rate in ("false_free", "false_obstacle", "unseen")},
    "latency.network": SMALLER,
    "latency.total": SMALLER,
}
_SHARES = ("delta1", "coverage", "published", "false_free", "false_obstacle", "unseen")
_PER_OBSTACLE = ("false_free", "unseen")
"""Rates that are shares of all obstacles of a recording, not means over frames."""
_STAMP_TOLERANCE_S = 1e-4
_MIN_FRAMES = 5


@dataclass(frozen=True)
class Difference:
    """One measure in both evaluations; ``low`` to ``high`` is the confidence interval of :attr:`change`.

    ``verdict``: better, worse (of B) or same (the interval holds zero).
    """

    name: str
    a: float
    b: float
    low: float
    high: float
    frames: int
    verdict: str

    @property
    def change(self) -> float:
        """B minus A; for bias, which is best at zero, of their sizes."""
        if _measures().get(self.name) == NEARER_ZERO:
            return abs(self.b) - abs(self.a)
        return self.b - self.a

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Comparison:
    """All measures that both have. ``paired``: over the same frames; else recordings, and so scenes, may differ."""

    paired: bool
    frames: int
    confidence: float
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()


def compare(a: Results, b: Results, confidence: float = 0.95, resamples: int = 2000, seed: int = 0) -> Comparison:
    """Bootstrap over frames, in blocks: neighbouring frames of a video are no independent witnesses. A block is so long
    as the autocorrelation of what is compared demands, but there are at least five.

    Where both hold the same frames (by stamp), their differences are resampled, which cancels what makes a frame hard
    for both; else each side is resampled by itself. Same inputs and seed, same outcome.

    Raises:
        ResultsError: fewer than five frames, or no measure in common.
    """
    index_a, index_b = _shared_frames(a, b)
    same_recording = all(a.source.get(name) == b.source.get(name) for name in ("recording", "recording_bytes"))
    paired = same_recording and len(index_a) >= _MIN_FRAMES
    notes = [f"{name} is incomplete" for name, side in (("A", a), ("B", b)) if not side.complete]
    notes += _unlike(a, b)
    if not paired:
        notes.append("the two share no frames of one recording: the difference is theirs, not of the models alone")
        index_a, index_b = np.arange(len(a.frames)), np.arange(len(b.frames))
    if min(len(index_a), len(index_b)) < _MIN_FRAMES:
        raise ResultsError(f"at least {_MIN_FRAMES} frames are needed, got {len(a.frames)} and {len(b.frames)}")
    shared = set(a.frames.names) & set(b.frames.names)
    differences = []
    for name, better in _measures().items():
        if name in shared:
            sides = _Side.of(a, name, index_a), _Side.of(b, name, index_b)
            if any(side.is_too_few(name) for side in sides):
                continue
            rng = np.random.default_rng(seed)
            found = _difference(name, better, sides, paired, confidence, resamples, rng)
            if found is not None:
                differences.append(found)
    if not differences:
        raise ResultsError("the two evaluations have no measure in common")
    return Comparison(paired, len(index_a), confidence, tuple(differences), tuple(notes))


_SOURCE = ("recording", "recording_bytes", "image_topic", "info_topic", "reference_topic", "reference_kind", "anchors")


def _unlike(a: Results, b: Results) -> list[str]:
    """What differs beside the networks: figures of other settings do not tell one network from another."""
    pairs = [(a.source, b.source, name) for name in _SOURCE]
    settings_a, settings_b = _flat(a.settings), _flat(b.settings)
    pairs += [(settings_a, settings_b, name) for name in sorted({*settings_a, *settings_b})]
    return [
        f"{name} differs: A {_shown(first.get(name))}, B {_shown(second.get(name))}"
        for first, second, name in pairs
        if first.get(name) != second.get(name)
    ]


def _shown(value: Any) -> Any:
    return "none" if value is None or (isinstance(value, str | Mapping | Sequence) and not value) else value


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _measures() -> dict[str, str]:
    sides = {f"{side}.{name}": better for side in ("metric", "aligned") for name, better in BETTER.items()}
    return {**sides, **_OTHERS}


def _shared_frames(a: Results, b: Results) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    first, second = a.frames["stamp_s"], b.frames["stamp_s"]
    if not len(second):
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
    order = np.argsort(second)
    position = np.clip(np.searchsorted(second[order], first - _STAMP_TOLERANCE_S), 0, len(second) - 1)
    candidate = order[position]
    same = np.abs(second[candidate] - first) <= _STAMP_TOLERANCE_S
    return np.flatnonzero(same), candidate[same]


@dataclass(frozen=True)
class _Side:
    """One measure of one evaluation, by frame: values, and what each weighs."""

    values: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, results: Results, name: str, index: NDArray[np.intp]) -> _Side:
        place, _, rate = name.rpartition(".")
        frames = results.frames
        values = frames[name][index]
        weighted = place in PLACES and rate in _PER_OBSTACLE
        weights = frames[f"{place}.obstacles"][index] if weighted else np.ones(len(values))
        return cls(values, weights)

    @property
    def known(self) -> NDArray[np.bool_]:
        return np.isfinite(self.values) & (self.weights > 0)

    def is_too_few(self, name: str) -> bool:
        """Whether a rate is one of fewer obstacles than one is told of."""
        place, _, rate = name.rpartition(".")
        return place in PLACES and rate in _PER_OBSTACLE and float(self.weights[self.known].sum()) < MIN_OBSTACLES

    def only(self, rows: NDArray[np.bool_]) -> _Side:
        return _Side(self.values[rows], self.weights[rows])

    def mean(self) -> float:
        return float(np.average(self.values, weights=self.weights))

    def influence(self, of_size: bool) -> NDArray[np.float64]:
        """By how much each frame moves the mean, times their number; ``of_size``: the mean's size."""
        mean = self.mean()
        moved = self.weights / self.weights.mean() * (self.values - mean)
        return np.asarray(-moved if of_size and mean < 0 else moved)


def _difference(
    name: str,
    better: str,
    sides: tuple[_Side, _Side],
    paired: bool,
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> Difference | None:
    known = [side.known for side in sides]
    if paired:
        known = [known[0] & known[1]] * 2
    first, second = (side.only(rows) for side, rows in zip(sides, known, strict=True))
    count = min(len(first.values), len(second.values))
    if count < _MIN_FRAMES:
        return None
    moved_a, moved_b = (side.influence(better == NEARER_ZERO) for side in (first, second))
    starts_a = _block_starts(moved_b - moved_a if paired else moved_a, resamples, rng)
    starts_b = starts_a if paired else _block_starts(moved_b, resamples, rng)
    means_a, means_b = _resampled_means(first, *starts_a), _resampled_means(second, *starts_b)
    gap = np.abs(means_b) - np.abs(means_a) if better == NEARER_ZERO else means_b - means_a
    low, high = _interval(gap, confidence, min(starts_a[0].shape[1], starts_b[0].shape[1]))
    if name.rpartition(".")[2] in _SHARES:  # no share is beyond 0 and 1
        low, high = max(low, -first.mean()), min(high, 1.0 - first.mean())
    return Difference(name, first.mean(), second.mean(), low, high, count, _verdict(better, low, high))


def _interval(resampled: NDArray[np.float64], confidence: float, blocks: int) -> tuple[float, float]:
    """Percentiles, widened where blocks are few: by Student's t over the normal's quantile, and by b / (b - 1)."""
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(resampled, (tail, 100.0 - tail))
    middle = float(resampled.mean())
    z = NormalDist().inv_cdf(0.5 + 0.5 * confidence)
    freedom = max(blocks - 1, 1)
    student = 1.0 + (z**2 + 1.0) / (4.0 * freedom)  # first term of the Cornish-Fisher expansion of t / z
    widen = student * math.sqrt((freedom + 1) / freedom)
    return middle + widen * (float(low) - middle), middle + widen * (float(high) - middle)


def _verdict(better: str, low: float, high: float) -> str:
    if low <= 0.0 <= high:
        return "same"
    grew = low > 0.0
    return "better" if grew == (better == LARGER) else "worse"


def _block_starts(
    influence: NDArray[np.float64], resamples: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], int]:
    """(resamples, blocks) first rows of circular blocks, and their length (Politis and Romano, 1992)."""
    count = len(influence)
    length = min(block_length(influence), max(1, count // _MIN_FRAMES))
    return rng.integers(count, size=(resamples, -(-count // length))), length


def _resampled_means(side: _Side, starts: NDArray[np.intp], length: int) -> NDArray[np.float64]:
    """(resamples,) means over blocks, from running sums: memory grows with blocks, not with frames."""

    def sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
        running = np.concatenate(([0.0], np.cumsum(np.concatenate((values, values[:length])))))
        return np.asarray((running[starts + length] - running[starts]).sum(axis=1))

    return sums(side.values * side.weights) / sums(side.weights)


def to_table(comparison: Comparison) -> str:
    """Lines for people."""
    shared = " in common" if comparison.paired else ""
    lines = [f"{comparison.frames} frames{shared}; {comparison.confidence:.0%} intervals of B - A, of bias |B| - |A|"]
    lines.append(f"{'':22}{'A':>10}{'B':>10}{'difference':>12}   interval")
    for item in comparison.differences:
        interval = f"[{item.low:+.4f}, {item.high:+.4f}]"
        fewer = f" ({item.frames} frames)" if item.frames < comparison.frames else ""
        row = f"{item.name:22}{item.a:10.4f}{item.b:10.4f}{item.change:+12.4f}   {interval:22} {item.verdict}{fewer}"
        lines.append(row)
    return "\n".join([*lines, *(f"note: {note}" for note in comparison.notes)])
