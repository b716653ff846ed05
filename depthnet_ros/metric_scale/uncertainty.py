"""How far metric depth may be off, pixel by pixel: the network's error, the scale's covariance, depth edges."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.geometry.edges import local_extremes
from depthnet_ros.metric_scale.robust import median

_PRIOR_COUNT = 60.0  # independent observations that the configured error of a network counts as
_FEWEST = 5  # anchors of a frame, at least, that teach anything
_MEMORY = 2000.0  # independent observations that count at most: older ones fade
_LEAST_RELATIVE, _MAX_RELATIVE = 0.01, 1.0  # limits of the relative error that one frame may show
_LEAST_PATTERN, _MOST_PATTERN = -1.5, 3.0  # a network's own claim is believed up to 4.5 times surer, 20 times less sure
_SOME = (slice(1, None, 4), slice(1, None, 4))  # pixels that a view's median is taken of
_SMALLEST = np.float32(1e-30)  # a numerical guard: no logarithm of zero
_LEVEL_PER_MEDIAN = 1.6  # between a Gaussian's 1.48 and a Laplacian's 1.66
_RECENT_GAIN = 0.2  # per frame, of the running mean that follows a sudden change
_FADES_S = 1.0  # time constant by which that is forgotten where no points come any more
_SUDDEN = 1.5
"""Times the level so far, above which that of the last frames counts instead: a picture that is upside down, or half
covered, should not have to be contradicted for seconds."""


class ResidualLevel:
    """The network's relative depth error, as anchors have shown it lately.

    It is the 68th percentile of ``|1 - z / z_anchor|`` (by way of the median, which outliers move less), not a standard
    deviation: errors of networks have long tails, and "one sigma" should mean what its users take it for, 68 % of the
    errors.

    Attributes:
        value: the present level, as a share of depth.
        recent: the same of the last few frames, of all points whether the fit agrees with them or not.
    """

    def __init__(self, initial: float) -> None:
        self.value = initial
        self.recent = 0.0
        self._unseen_s = 0.0
        self._weight = _PRIOR_COUNT

    @property
    def present(self) -> float:
        """The level to go by: ``recent`` where it is suddenly far above ``value``."""
        return self.recent if self.recent > _SUDDEN * self.value else self.value

    def look(self, estimate: NDArray[np.float64], anchors: NDArray[np.float64]) -> None:
        """Compare one frame's points with what is published of it, (N,) 1/m each, be they taken in or not."""
        error = np.abs(1.0 - anchors / np.maximum(estimate, _SMALLEST))
        level = min(_LEVEL_PER_MEDIAN * median(error), _MAX_RELATIVE)
        self.recent += _RECENT_GAIN * (level - self.recent)
        self._unseen_s = 0.0

    def pass_time(self, elapsed_s: float, patience_s: float) -> None:
        """Time goes by: after ``patience_s`` without points nothing is known of the last few frames."""
        self._unseen_s += max(elapsed_s, 0.0)
        if self._unseen_s > patience_s:
            self.recent *= math.exp(-max(elapsed_s, 0.0) / _FADES_S)

    def forget_recent(self) -> None:
        """The estimate begins anew."""
        self.recent = 0.0

    def update(
        self,
        estimate: NDArray[np.float64],
        anchors: NDArray[np.float64],
        weights: NDArray[np.float64],
        effective: float,
    ) -> None:
        """Learn from one frame.

        Args:
            estimate: (N,) inverse depth of the fit at the anchors, 1/m.
            anchors: (N,) inverse depth of the anchors, 1/m.
            weights: (N,) robust weights; anchors of weight zero are the sensor's outliers and say nothing of the
                network.
            effective: number of independent observations.
        """
        honest = (weights > 0) & (estimate > 0)
        if honest.sum() < _FEWEST:
            return
        error = np.abs(1.0 - anchors[honest] / estimate[honest])
        level = min(max(_LEVEL_PER_MEDIAN * median(error), _LEAST_RELATIVE), _MAX_RELATIVE)
        count = min(effective, float(honest.sum()))
        self._weight = min(self._weight, _MEMORY)
        self.value += (level - self.value) * count / (self._weight + count)
        self._weight += count


def inverse_depth_variance(
    inverse_depth: NDArray[np.float32],
    relative: NDArray[np.float32],
    covariance: NDArray[np.float64],
    network_sigma: float,
    edge_share: float,
    log_sigma: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Variance of inverse depth, 1/m^2: where it is only compared with a limit, no root need be drawn.

    Args:
        inverse_depth: (h, w) 1/m.
        relative: (h, w) relative inverse depth that scale and shift apply to.
        covariance: (2, 2) of scale and shift.
        network_sigma: relative error of the network.
        edge_share: share of the local step that counts where the network smears a depth edge.
        log_sigma: (h, w) log standard deviation of ``relative`` by the network itself; its *pattern* is used, its level
            is that of ``network_sigma``.
    """
    own = np.float32(network_sigma) * inverse_depth
    if log_sigma is not None:
        own *= _pattern(inverse_depth, log_sigma)
    step, smallest = local_extremes(inverse_depth, 1)
    with np.errstate(invalid="ignore", over="ignore"):  # where nothing around a pixel is known
        step -= smallest
    step *= np.float32(edge_share)
    variance = np.asarray(cv2.multiply(own, own, dst=own), dtype=np.float32)
    variance += cv2.multiply(step, step, dst=step)
    if covariance.any():
        scale_variance = np.float32(covariance[0, 0]) * np.square(relative)
        scale_variance += np.float32(2.0 * covariance[0, 1]) * relative
        scale_variance += np.float32(covariance[1, 1])
        variance += np.maximum(scale_variance, np.float32(0.0), out=scale_variance)
    return variance


def _pattern(inverse_depth: NDArray[np.float32], log_sigma: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) how many times the view's usual *relative* sigma a network claims, pixel by pixel; one where it or depth
    is not known.

    ``exp(log_sigma)`` is in units of the prediction, so in units of inverse depth but for the scale: it is an absolute
    error there. Relative to inverse depth it is of the kind ``network_sigma`` is, and the median of the two is made
    alike, by which the scale drops out.
    """
    known = (inverse_depth > 0) & np.isfinite(log_sigma)
    some = known[_SOME]
    if not (few := some.any()) and not known.any():
        return np.ones_like(inverse_depth)
    with np.errstate(invalid="ignore"):
        share = cv2.log(np.maximum(inverse_depth, _SMALLEST))
        cv2.subtract(log_sigma, share, dst=share)
    share -= np.float32(np.median(share[_SOME][some] if few else share[known]))
    pattern = np.asarray(cv2.exp(np.clip(share, _LEAST_PATTERN, _MOST_PATTERN, out=share), dst=share), np.float32)
    if not known.all():
        pattern[~known] = 1.0
    return pattern


def confidence(relative_sigma: NDArray[np.float32], tolerance: float) -> NDArray[np.float32]:
    """Probability, 0..1, that depth errs by less than ``tolerance`` (a share of it), for Gaussian errors.

    Args:
        relative_sigma: (h, w) standard deviation of depth, as a share of it.
        tolerance: share of depth.

    Returns:
        (h, w), as ``relative_sigma``.
    """
    x = np.float32(tolerance / np.sqrt(2.0)) / np.maximum(relative_sigma, np.float32(1e-6))
    return np.asarray(_erf(x), dtype=np.float32)


@lru_cache(maxsize=16)
def largest_sigma(least_confidence: float, tolerance: float) -> float:
    """The relative sigma at which :func:`confidence` falls to ``least_confidence``; below it, it is more."""
    low, high = 1e-6, 1e6
    for _ in range(60):  # it falls steadily
        middle = float(np.sqrt(low * high))
        enough = _erf(tolerance / np.sqrt(2.0) / middle) >= least_confidence
        low, high = (middle, high) if enough else (low, middle)
    return low


def _erf(x: Any) -> Any:
    """Error function of one number or of each of an array, by ``tanh(1.1283 x + 0.1009 x^3)``, within 0.0004 of it."""
    x = np.minimum(x, 4.0)  # beyond, it is one
    return np.tanh(x * (1.1283 + 0.1009 * x * x))
