"""Several networks as one, where there is time: their mean errs less than any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import ConfigError
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.models.spec import OutputKind

_FLAT = 1e-6


def consensus(members: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean of several networks' relative inverse depth of one picture, and how far they are from each other.

    Each is known up to scale and shift alone, so it is first brought to median 0 and mean absolute deviation 1 (the
    alignment of MiDaS's losses, 1907.01341). One that is the same everywhere says nothing and becomes 0.

    Args:
        members: (H, W) float32 each, NaN where unknown.

    Returns:
        (H, W) mean and (H, W) standard deviation between the members, in units of the picture's own mean absolute
        deviation; NaN where a member is.
    """
    stack = np.stack(members).astype(np.float32)
    known = np.isfinite(stack).all(axis=0)
    stack[:, ~known] = np.nan
    if known.any():
        for member in stack:
            member -= np.median(member[known])
            member /= max(float(np.abs(member[known]).mean()), _FLAT)
    return stack.mean(axis=0), stack.std(axis=0)


class DepthEnsemble:
    """The mean of several networks, each with its mirror image's. Not thread-safe.

    Raises:
        ConfigError: one of several claims metres, which a mean would take from it.
    """

    def __init__(self, estimators: Sequence[DepthEstimator]) -> None:
        if len(estimators) > 1 and any(
            estimator.spec.output_kind is OutputKind.METRIC_DEPTH for estimator in estimators
        ):
            raise ConfigError("a mean is taken of networks of relative depth: name one that claims metres alone")
        self._estimators = list(estimators)

    def infer(self, image: NDArray[np.uint8]) -> DepthPrediction:
        """Relative inverse depth of one (H, W, 3) RGB uint8 image, in the first network's scale and on its grid.

        Raises:
            ImageError, BackendError: as :meth:`DepthEstimator.infer`, of any of them.
        """
        predictions = [estimator.infer_with_mirror(image) for estimator in self._estimators]
        if len(predictions) == 1:
            return predictions[0]
        first = predictions[0].inverse_depth
        mean, _ = consensus([prediction.at(*first.shape) for prediction in predictions])
        known = np.isfinite(mean)
        if not known.any():
            return predictions[0]
        middle = float(np.median(first[known]))
        spread = max(float(np.abs(first[known] - middle).mean()), _FLAT)
        return replace(
            predictions[0],
            inverse_depth=np.asarray(mean * np.float32(spread) + np.float32(middle), dtype=np.float32),
            log_sigma=None,
            zero_sigma=0.0,
            unknown_share=float(1.0 - known.mean()),
        )

    def close(self) -> None:
        """Free the backends."""
        for estimator in self._estimators:
            estimator.close()
