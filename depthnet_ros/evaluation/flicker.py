"""How unsteady depth is from frame to frame, beyond what the scene itself does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale.observe import sample

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
        """Compare a frame with the one before, then remember it; takes and returns what :meth:`compare` does."""
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
        """Keep the frame that the next one is compared with; (H, W) depth and reference as for :meth:`compare`."""
        self._last = (stamp_ns, _log(depth_m), _log(reference_m))

    def reset(self) -> None:
        """The next frame follows none."""
        self._last = None


def _log(values: NDArray[np.floating]) -> NDArray[np.float32]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(values[::_STEP, ::_STEP], dtype=np.float32))


def flicker(before_m: NDArray[np.floating], now_m: NDArray[np.floating]) -> float:
    """Median relative change ``|now - before| / before`` of depth between two frames of a static scene and camera.

    Both are (H, W) depth in one unit, NaN where unknown. NaN if no pixel is known in both.
    """
    valid = np.isfinite(before_m) & np.isfinite(now_m)
    if not valid.any():
        return float("nan")
    return float(np.median(np.abs(now_m[valid] - before_m[valid]) / before_m[valid]))


def warped_flicker(
    before_m: NDArray[np.floating],
    now_m: NDArray[np.floating],
    true_before_m: NDArray[np.floating],
    true_now_m: NDArray[np.floating],
    camera: PinholeCamera,
    now_from_before: NDArray[np.floating],
) -> float:
    """Flicker of a moving camera: the change that its known motion does not explain.

    Pixels correspond by the true depth and motion; at each, the depth estimated before, moved along, is compared to
    the depth estimated now, read between its pixels (bilinear in inverse depth, in which planes are linear). Hidden
    surfaces are left out by the true depth.

    Args:
        before_m, now_m: (H, W) estimated depth.
        true_before_m, true_now_m: (H, W) true depth, NaN where unknown; for correspondence only.
        camera: of all four.
        now_from_before: (4, 4) motion of the optical frame, in the unit of depth.

    Returns:
        The median relative change; NaN if no pixel can be compared.
    """
    points = camera.unproject(true_before_m).reshape(-1, 3)
    keep = np.isfinite(points[:, 2]) & np.isfinite(before_m).ravel()
    points, estimate = points[keep].astype(np.float64), before_m.ravel()[keep]
    moved = points @ now_from_before[:3, :3].T + now_from_before[:3, 3]
    pixels = camera.project(moved)
    with np.errstate(invalid="ignore"):
        inside = ((pixels >= 0) & (pixels <= (camera.width_px - 1, camera.height_px - 1))).all(axis=1)
    points, estimate, moved, (u, v) = points[inside], estimate[inside], moved[inside], pixels[inside].T
    with np.errstate(divide="ignore"):
        now = 1.0 / sample(1.0 / now_m, u, v, (camera.height_px, camera.width_px))[0]
    truth = true_now_m[np.rint(v).astype(np.intp), np.rint(u).astype(np.intp)]
    ray = points / points[:, 2:]
    expected = estimate * (ray @ now_from_before[2, :3]) + now_from_before[2, 3]
    with np.errstate(invalid="ignore"):
        same = (np.abs(truth - moved[:, 2]) < 0.05 * moved[:, 2]) & np.isfinite(now) & (expected > 0)
    if not same.any():
        return float("nan")
    return float(np.median(np.abs(now[same] - expected[same]) / expected[same]))
