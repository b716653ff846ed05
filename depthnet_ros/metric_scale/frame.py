"""One frame on its way to metres, as :class:`depthnet_ros.metric_scale.scaler.MetricScaler` hands it on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale.evidence import ZeroPrior
from depthnet_ros.metric_scale.fit import ViewNormalisation


@dataclass(frozen=True)
class Frame:
    """One prediction on its way to metres.

    Attributes:
        stamp_s: of the image.
        prediction: of the network, its holes filled.
        steady: (h, w) relative inverse depth with the wander of the network's scale and shift taken out.
        averaged: (h, w) the same averaged over time.
        unknown: (h, w) True where the network gave no depth; None: it gave it everywhere.
        learnt_from: (h, w) False where nothing is learnt; None: everything is.
        view: normalisation of ``steady``.
        own_zero: where infinity is by the network itself; None where it does not know.
        bare: (rows, columns) of cells of the picture, True in a large part of it that shows nothing; None: there is no
            such part.
    """

    stamp_s: float
    prediction: DepthPrediction
    steady: NDArray[np.float32]
    averaged: NDArray[np.float32]
    unknown: NDArray[np.bool_] | None
    learnt_from: NDArray[np.bool_] | None
    view: ViewNormalisation
    own_zero: ZeroPrior | None
    bare: NDArray[np.bool_] | None = None

    @property
    def zero(self) -> float:
        """Relative inverse depth of infinity, by what does not follow the sensors.

        The view's far end moves where the network's own zero stays: someone who is followed through a door.
        """
        return self.view.zero if self.own_zero is None else self.own_zero.value
