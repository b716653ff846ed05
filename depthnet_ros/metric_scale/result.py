"""Metric depth of one frame, made only as far as it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import DepthNetError
from depthnet_ros.geometry.edges import flying_pixels
from depthnet_ros.geometry.masks import resized_mask
from depthnet_ros.metric_scale.config import MetricScaleConfig, ScaleState
from depthnet_ros.metric_scale.uncertainty import confidence, inverse_depth_variance, largest_sigma

_LEAST_VARIANCE = np.float32(1e-18)  # of inverse depth, 1/m^2: a numerical guard, so that no sigma is zero


@dataclass(frozen=True)
class ScaleEstimate:
    """The estimate that a frame was scaled by, in the network's own unit: ``1 / depth = scale * relative + shift``.

    Attributes:
        scale: 1/m per unit of relative inverse depth.
        shift: 1/m.
        covariance: (2, 2) of scale and shift.
        relative_sigma: standard deviation of the median pixel's inverse depth, as a share of it.
        network_sigma: relative error of the network, 68th percentile, as anchors have shown it.
    """

    scale: float
    shift: float
    covariance: NDArray[np.float64]
    relative_sigma: float
    network_sigma: float


@dataclass(frozen=True)
class MetricDepth:
    """One frame's metric depth, on the network's grid until :meth:`depth_m` and its like ask for another.

    Attributes:
        state: what the scale is worth.
        published: metres may go out in this state (parameter ``publish_states``). If false, nobody should see any.
        message: why the state is what it is, and what to mend; empty if all is well.
        estimate: scale, shift and how sure they are; None before the first anchors.
        anchor_count: anchors used in this frame.
        inlier_count: of them, those that the fit agrees with.
        age_s: since the last accepted anchors; infinite before the first.
        troubles: one line per sensor that is silent, lying or at odds.
        inverse_depth: (h, w) float32, 1/m, steadied and corrected; None without an estimate.
        min_depth_m, max_depth_m: limits; beyond them depth is -Inf and +Inf (REP 117).
        edge_share: share of the local depth step at an edge that counts as standard deviation.
        tolerance: :meth:`confidence` is the probability that depth errs by less than this share of it.
        relative: (h, w) float32 steadied relative inverse depth that ``inverse_depth`` was made of; None without an
            estimate.
        steady_covariance: (2, 2) of scale and shift as they apply to ``relative``; None without an estimate.
        log_sigma: (h, w) float32 log of the standard deviation of relative inverse depth by the network itself; None:
            it gives none.
        caution: factor >= 1 by which things may be nearer than told; only 1 / caution of the way may be called free.

    Raises:
        DepthNetError: by all methods, where there is no ``inverse_depth``.
    """

    state: ScaleState
    published: bool
    message: str
    min_depth_m: float
    max_depth_m: float
    estimate: ScaleEstimate | None = None
    anchor_count: int = 0
    inlier_count: int = 0
    age_s: float = float("inf")
    troubles: tuple[str, ...] = ()
    inverse_depth: NDArray[np.float32] | None = None
    edge_share: float = MetricScaleConfig.edge_sigma
    tolerance: float = MetricScaleConfig.confidence_tolerance
    relative: NDArray[np.float32] | None = field(default=None, repr=False)
    steady_covariance: NDArray[np.float64] | None = field(default=None, repr=False)
    log_sigma: NDArray[np.float32] | None = field(default=None, repr=False)
    caution: float = 1.0
    _masks: dict[float, NDArray[np.bool_]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def depth_m(self, height_px: int, width_px: int, *, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """(height_px, width_px) float32 depth along optical Z in metres; +Inf beyond the farthest, -Inf before the
        nearest, NaN where the network gave none. ``out``, contiguous and of that shape, is filled and returned.
        """
        inverse, near = self._known(), np.float32(1.0 / self.min_depth_m)
        far = np.nextafter(np.float32(1.0 / self.max_depth_m), np.float32(0.0))
        depth = np.empty((height_px, width_px), dtype=np.float32) if out is None else out
        if inverse.shape == depth.shape:
            np.copyto(depth, inverse)
        else:
            cv2.resize(inverse, (width_px, height_px), dst=depth, interpolation=cv2.INTER_LINEAR)
        lowest, highest = float(inverse.min()), float(inverse.max())  # resizing keeps within them; NaN if there is one
        too_near = None if highest <= near else depth > near
        if not lowest > far:
            unknown = np.isnan(depth) if np.isnan(lowest) else None
            cv2.threshold(depth, float(far), 0.0, cv2.THRESH_TOZERO, dst=depth)  # zero becomes +Inf
            if unknown is not None:
                depth[unknown] = np.nan
        with np.errstate(divide="ignore"):
            np.divide(np.float32(1.0), depth, out=depth)
        if too_near is not None:
            depth[too_near] = -np.inf
        return depth

    def sigma_m(
        self, height_px: int, width_px: int, *, depth_m: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """(height_px, width_px) float32 standard deviation of depth in metres (68 % of errors); +Inf where depth is
        beyond its limits, NaN where it is. ``depth_m``: :meth:`depth_m` of that size, where it is there already.
        """
        depth_m = self.depth_m(height_px, width_px) if depth_m is None else depth_m
        sigma = _resized(self._relative_sigma, height_px, width_px)
        sigma *= np.abs(depth_m)
        return sigma

    def unsure(self, height_px: int, width_px: int, *, below: float) -> NDArray[np.bool_]:
        """(height_px, width_px) True where :meth:`confidence` is below ``below``; costs a third of it."""
        return resized_mask(self._unsure(below), height_px, width_px)

    def beyond(self, height_px: int, width_px: int, *, range_m: float) -> NDArray[np.bool_]:
        """(height_px, width_px) True where depth is more than ``range_m``, even one sigma nearer than it seems, and as
        much as ``caution`` asks for.
        """
        near = np.sqrt(self._variance)
        near += self._known()
        near *= np.float32(self.caution)
        return resized_mask(near <= np.float32(1.0 / range_m), height_px, width_px)

    def doubtful(self, height_px: int, width_px: int, *, below: float, flying: bool) -> NDArray[np.bool_]:
        """(height_px, width_px) True where depth is :meth:`unsure` or, with ``flying``, hangs between near and far."""
        mask = self._unsure(below)
        if flying:
            mask = mask | flying_pixels(self._known())
        return resized_mask(mask, height_px, width_px)

    def confidence(self, height_px: int, width_px: int) -> NDArray[np.float32]:
        """(height_px, width_px) float32, 0..1: probability that depth errs by less than the tolerance's share of it."""
        return _resized(self._confidence, height_px, width_px)

    @cached_property
    def _variance(self) -> NDArray[np.float32]:
        inverse = self._known()
        assert self.estimate is not None and self.relative is not None and self.steady_covariance is not None
        return inverse_depth_variance(
            inverse, self.relative, self.steady_covariance, self.estimate.network_sigma, self.edge_share, self.log_sigma
        )

    @property
    def _reference(self) -> NDArray[np.float32]:
        """(h, w) inverse depth that errors are a share of: no less than that of the farthest depth."""
        return np.asarray(cv2.max(self._known(), 1.0 / self.max_depth_m), dtype=np.float32)

    @cached_property
    def _relative_sigma(self) -> NDArray[np.float32]:
        """(h, w) sigma of inverse depth over inverse depth, which is sigma of depth over depth to first order; not
        zero, so that that of infinite depth is infinite.
        """
        variance = np.maximum(self._variance, _LEAST_VARIANCE)
        return np.asarray(np.sqrt(variance, out=variance) / self._reference, dtype=np.float32)

    def _unsure(self, below: float) -> NDArray[np.bool_]:
        """(h, w) True where confidence is below ``below``: squares are compared, for want of time."""
        if below not in self._masks:
            limit = self._reference
            limit = cv2.multiply(limit, limit, dst=limit, scale=largest_sigma(below, self.tolerance) ** 2)
            sure = self._variance <= limit
            self._masks[below] = np.logical_not(sure, out=sure)  # NaN is not sure
        return self._masks[below]

    @cached_property
    def _confidence(self) -> NDArray[np.float32]:
        return confidence(self._relative_sigma, self.tolerance)

    def _known(self) -> NDArray[np.float32]:
        if self.inverse_depth is None:
            raise DepthNetError(f"no metric depth in state {self.state.value}: {self.message}")
        return self.inverse_depth


def _resized(array: NDArray[np.float32], height_px: int, width_px: int) -> NDArray[np.float32]:
    if array.shape == (height_px, width_px):
        return array.copy()
    return np.asarray(cv2.resize(array, (width_px, height_px), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
