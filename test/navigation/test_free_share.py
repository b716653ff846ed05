"""How far short of what is seen free view ends."""

from __future__ import annotations

import numpy as np
import pytest

from depthnet_ros.metric_scale.config import ScaleState
from depthnet_ros.metric_scale.result import MetricDepth, ScaleEstimate
from depthnet_ros.navigation.clearing import lines_of_sight
from depthnet_ros.navigation.height_band import HeightBand
from depthnet_ros.navigation.reach import free_share
from test.navigation.test_scan import ALL, projector


def metric(network_sigma: float, scale_sigma: float) -> MetricDepth:
    estimate = ScaleEstimate(1.0, 0.0, np.zeros((2, 2)), scale_sigma, network_sigma)
    return MetricDepth(ScaleState.CALIBRATED, True, "", 0.1, 20.0, estimate)


def test_free_view_ends_one_sigma_of_inverse_depth_before_what_is_seen():
    assert free_share(metric(0.3, 0.4)) == pytest.approx(1.0 / 1.5)
    assert free_share(metric(0.3, 0.0)) == pytest.approx(1.0 / 1.3)


def test_a_sigma_of_next_to_nothing_still_leaves_a_tenth():
    assert free_share(metric(0.02, 0.02)) == pytest.approx(0.9)
    assert free_share(MetricDepth(ScaleState.UNCALIBRATED, False, "", 0.1, 20.0)) == pytest.approx(0.9)


@pytest.mark.parametrize("share", [0.9, 0.6])
def test_points_that_clear_end_there(share: float):
    """A wall at 3 m before a level camera."""
    p = projector(0.5, 0.0)
    depth = np.full(ALL.shape, 3.0, np.float32)
    band = HeightBand(0.1, 1.5, 0.1, 5.0)
    pixels = p.classify(depth, ALL, band)
    planar = p.clearing_points(p.scan(pixels), 4.0, 0.5, share)
    lines = lines_of_sight(p, pixels, 4.0, free_share=share)
    assert len(planar) > 10
    assert len(lines) > 10
    assert planar[:, 2].max() == pytest.approx(3.0 * share, rel=0.01)
    assert lines[:, 2].max() == pytest.approx(3.0 * share, rel=0.01)
