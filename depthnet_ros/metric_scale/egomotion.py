"""The camera's own motion from frame to frame, out of the image's flow and the network's depth.

A camera that turns by a small ``turn`` and moves by ``shift`` saw what it sees now at the ray ``p = (x, y, 1)``, of
inverse depth ``w``, along ``q = p + turn x p + w shift``, and its inverse depth was ``w / q_z``: linear in six numbers
(Longuet-Higgins and Prazdny, The interpretation of a moving retinal image, 1980). Thousands of pixels say what they
are, and the six tell flow and change of depth of each pixel with far less noise than its own flow has.

Turning tells itself from one pair of frames. Moving shows in parallax alone, a fraction of a pixel that is as large as
what the network's errors leave; but a camera has mass, so its velocity is filtered over frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.metric_scale.robust import SIGMA_PER_MEDIAN, median

_STRIDE = 2  # every so many pixels of the flow's rows and columns are asked
_ITERATIONS = 4  # of reweighted least squares

# Chosen on the recording redkitchen of benchmarks/metric_scale.py.
_EFFECTIVE = 40.0
"""Independent observations that a frame's flow is worth: what it misses by is the network's depth, which errs by
surfaces, as in :data:`depthnet_ros.metric_scale.observe.EFFECTIVE`."""
_IMAGE_NOISE = 4.0
"""Grey levels per pixel. A gradient below it tells of noise as much as of motion."""
_JOLT = 3e-4
"""Standard deviation of the change of velocity from frame to frame, as a share of the typical distance in view: at
30 frames/s and two metres an acceleration of half a metre per second squared."""
_KEEP = 0.97
"""Of the velocity, per frame: what no image confirms for a second is forgotten."""
_FIRST_SHIFT, _MOST_TURN = 0.03, 0.3
"""Standard deviations: of the first velocity, in typical distances per frame, and of a turn within a frame, rad."""

# Numerical guards.
_LEAST_PX = 0.01  # standard deviation of the flow, at least: nothing is divided by zero
_LEAST_RATIO, _MOST_RATIO = 0.5, 2.0  # of inverse depth now to that before: nothing is divided by zero


@dataclass(frozen=True)
class CameraMotion:
    """From the optical frame now to that of the frame before.

    Attributes:
        turn: (3,) rotation vector, rad, small.
        shift: (3,) in units of one over the nearness that it is used with.
    """

    turn: NDArray[np.float32]
    shift: NDArray[np.float32]

    def flow_and_ratio(
        self, nearness: NDArray[np.float32], camera: PinholeCamera
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Where what is seen now was before, and how much nearer it is now.

        Args:
            nearness: (h, w) inverse depth now, in any unit; zero is infinity.
            camera: of that size.

        Returns:
            (h, w, 2) pixels from now to before; (h, w) inverse depth now over inverse depth before.
        """
        x, y = camera.ray_x[None, :], camera.ray_y[:, None]
        (about_x, about_y, about_z), (right, down, ahead) = self.turn, self.shift
        ratio = np.clip(1.0 + about_x * y - about_y * x + ahead * nearness, _LEAST_RATIO, _MOST_RATIO)
        before_x = (x + about_y - about_z * y + right * nearness) / ratio
        before_y = (y + about_z * x - about_x + down * nearness) / ratio
        flow = cv2.merge(((before_x - x) * np.float32(camera.fx_px), (before_y - y) * np.float32(camera.fy_px)))
        return np.asarray(flow, dtype=np.float32), np.asarray(ratio, dtype=np.float32)


class MotionFilter:
    """Each frame's turn, and a Kalman filter of the velocity."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the velocity."""
        self._shift: NDArray[np.float64] = np.zeros(3)
        self._covariance: NDArray[np.float64] = _FIRST_SHIFT**2 * np.eye(3)

    def change_unit(self, gain: float) -> None:
        """Nearness is ``gain`` times as large a number from now on."""
        self._shift = self._shift / gain

    def update(
        self,
        flow: NDArray[np.float32],
        grey: NDArray[np.uint8],
        nearness: NDArray[np.float32],
        camera: PinholeCamera,
    ) -> CameraMotion:
        """Motion that explains a frame's flow.

        Args:
            flow: (h, w, 2) pixels from now to before.
            grey: (h, w) image now.
            nearness: (h, w) inverse depth now, in any unit that stays; zero is infinity.
            camera: of that size.
        """
        unit = float(nearness.mean())
        if unit <= 0:  # all of the view lies at infinity
            return CameraMotion(np.zeros(3, np.float32), np.zeros(3, np.float32))
        rows = _rows(flow, grey, nearness / np.float32(unit), camera)
        known: NDArray[np.float64] = np.zeros((6, 6))
        known[:3, :3] = np.eye(3) / _MOST_TURN**2
        known[3:, 3:] = np.linalg.inv(self._covariance + _JOLT**2 * np.eye(3))
        expected = np.concatenate((np.zeros(3), _KEEP * unit * self._shift))
        try:
            motion, information = _robust_motion(rows, expected, known)
        except np.linalg.LinAlgError:
            motion = information = np.full(6, np.nan)
        if not np.isfinite(motion).all():  # rays beyond all numbers: it would be so for ever
            self.reset()
            return CameraMotion(np.zeros(3, np.float32), np.zeros(3, np.float32))
        self._covariance = np.asarray(np.linalg.inv(information)[3:, 3:], dtype=np.float64)
        self._shift = motion[3:] / unit
        return CameraMotion(motion[:3].astype(np.float32), self._shift.astype(np.float32))


def _rows(
    flow: NDArray[np.float32], grey: NDArray[np.uint8], nearness: NDArray[np.float32], camera: PinholeCamera
) -> NDArray[np.float32]:
    """(7, N) equations of some pixels: six coefficients and the right-hand side, in pixels along the gradient. Along an
    edge flow is a guess (the aperture problem), so only its part across is asked for, and where there is no gradient
    nothing is.
    """
    some = np.s_[_STRIDE // 2 :: _STRIDE, _STRIDE // 2 :: _STRIDE]
    across = cv2.Sobel(grey, cv2.CV_32F, 1, 0, scale=1.0 / 8.0)[some]
    down = cv2.Sobel(grey, cv2.CV_32F, 0, 1, scale=1.0 / 8.0)[some]
    size = np.sqrt(across * across + down * down + np.float32(_IMAGE_NOISE**2))
    across, down = across / size, down / size
    measured = across * flow[some][..., 0] + down * flow[some][..., 1]
    a, b, near = across * np.float32(camera.fx_px), down * np.float32(camera.fy_px), nearness[some]
    x, y = camera.ray_x[None, some[1]], camera.ray_y[some[0], None]
    c = a * x + b * y + measured  # of the ray before: exact for any length of flow
    return np.stack((-b - y * c, a + x * c, b * x - a * y, a * near, b * near, -c * near, measured)).reshape(7, -1)


def _robust_motion(
    rows: NDArray[np.float32], expected: NDArray[np.float64], known: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(6,) motion and its (6, 6) information by Cauchy-weighted least squares: what moves by itself is an outlier.

    Args:
        rows: (7, N) equations.
        expected: (6,) motion that is expected.
        known: (6, 6) its information.
    """
    count = rows.shape[1]
    root_weights: NDArray[np.float32] = np.ones(count, np.float32)
    sigma, motion, information = _MOST_TURN, expected, known
    for iteration in range(_ITERATIONS):
        products = cv2.mulTransposed(rows * root_weights, False, dtype=cv2.CV_64F)
        if iteration == 0:
            sigma = max(float(np.sqrt(products[6, 6] / count)), _LEAST_PX)
        share = _EFFECTIVE / count / sigma**2
        information = share * products[:6, :6] + known
        motion = np.linalg.solve(information, share * products[:6, 6] + known @ expected)
        error = np.abs(rows[6] - motion.astype(np.float32) @ rows[:6])
        sigma = max(SIGMA_PER_MEDIAN * median(error), _LEAST_PX)
        root_weights = 1.0 / np.sqrt(1.0 + np.square(error * np.float32(0.5 / sigma)))
    return motion, information
