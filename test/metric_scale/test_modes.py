"""Where metres come from: the modes of metric scale, and settings that cannot be."""

import numpy as np
import pytest

from depthnet_ros.errors import ConfigError, DepthNetError
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale import MetricScaleConfig, MetricScaler, ScaleState

from .world import SIZE, World


def test_mode_none_gives_no_metres_and_says_what_to_set():
    result = MetricScaler(MetricScaleConfig()).update(World().prediction(), 0.0)
    assert not result.published and "scale.mode" in result.message
    with pytest.raises(DepthNetError, match="no metric depth"):
        result.depth_m(*SIZE)


def test_mode_fixed_is_the_parameters():
    config = MetricScaleConfig(mode="fixed", fixed_scale=0.5, fixed_shift=0.25)
    result = MetricScaler(config).update(DepthPrediction(np.full((4, 4), 0.5, np.float32), (4, 4)), 0.0)
    assert result.published and result.depth_m(4, 4) == pytest.approx(2.0)


def test_a_metric_network_is_published_as_unconfirmed():
    prediction = DepthPrediction(np.full((4, 4), 0.5, np.float32), (4, 4), metric=True)
    result = MetricScaler(MetricScaleConfig()).update(prediction, 0.0)
    assert result.state is ScaleState.DEGRADED and "no sensor confirms" in result.message
    assert result.depth_m(4, 4) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "guess"}, "scale.mode must be one of none, fixed, anchors"),
        ({"max_depth_m": float("nan")}, "scale.max_depth_m must be finite"),
        ({"max_depth_m": -1.0}, "scale.max_depth_m must lie in 0.1..10000, got -1.0"),
        ({"min_depth_m": 30.0}, "must be below max_depth_m"),
        ({"sources": ["lidar"]}, "scale.sources must be one of range, scan, points, depth, got .lidar."),
        ({"range_pose": [0.0, 1.0]}, "six numbers"),
        ({"range_pose": [0.0, 0, 0, 0, 0, float("inf")]}, "finite"),
        ({"fixed_scale": "1"}, "type float"),
        ({"use_tf": 1}, "type bool"),
    ],
)
def test_wrong_settings_say_what_is_wrong(settings, message):
    with pytest.raises(ConfigError, match=message):
        MetricScaleConfig(**settings)
