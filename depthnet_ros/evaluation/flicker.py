"""How unsteady depth is from frame to frame, beyond what the scene itself does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_PIXELS = 50
MAX_GAP_S = 0.5
_STEP = 2  # a quarter of the pixels has the same median


class Flicker:
    """Median over pixels of ``|change of ln depth - change of ln reference|`` between consecutive frames.

    Taking out the reference's own change leaves a camera that moves, and things that move, without effect; 0.01 reads
    "depth jumps by one per cent against the truth".
    """

    def __init__(self) -> None:
        self._last: tuple[int, NDArray[np.float32], NDArray[np.float32]] | None = None

    def update(self, stamp_ns: int, depth_m: NDArray[np.floating], reference_m: NDArray[np.floating]) -> float | None:
        """Compare a frame with the one before, then remember it."""
        value = self.compare(stamp_ns, depth_m, reference_m)
        self.remember(stamp_ns, depth_m, reference_m)
        return value

    def compare(self, stamp_ns: int, depth_m: NDArray[np.floating], reference_m: NDArray[np.floating]) -> float | None:
        """The flicker against the remembered frame.

        None without one, after a gap or a change of resolution, or where too few pixels are known in both frames.

        Args:
            stamp_ns: of the frame.
            depth_m: (H, W) metres or aligned, NaN where unknown.
            reference_m: (H, W), NaN where unknown.
        """
        last = self._last
        if last is None or not 0 < stamp_ns - last[0] <= MAX_GAP_S * 1e9:
            return None
        now = _log(depth_m)
        if now.shape != last[1].shape:
            return None
        change = (now - last[1]) - (_log(reference_m) - last[2])
        change = change[np.isfinite(change)]
        return float(np.median(np.abs(change))) if change.size >= MIN_PIXELS else None

    def remember(self, stamp_ns: int, depth_m: NDArray[np.floating], reference_m: NDArray[np.floating]) -> None:
        """The frame that the next one is compared with."""
        self._last = (stamp_ns, _log(depth_m), _log(reference_m))

    def reset(self) -> None:
        """The next frame follows none."""
        self._last = None


def _log(values: NDArray[np.floating]) -> NDArray[np.float32]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(values[::_STEP, ::_STEP], dtype=np.float32))
