from itertools import islice

import numpy as np
import pytest

from depthnet_ros.sources import SourceOptions, open_source


def test_rendered_pictures_come_with_depth_camera_and_sonar():
    source = open_source("scene:street", SourceOptions(width_px=80, height_px=60, rate_hz=20.0, seed=3))
    assert source.count is None and source.rate_hz == 20.0
    first, second = islice(source, 2)
    assert second.stamp_s == pytest.approx(0.05)
    assert first.rgb().shape == (60, 80, 3)
    assert first.depth_m is not None and first.depth_m.shape == (60, 80)
    assert first.calibration is not None and first.calibration.camera.width_px == 80
    assert first.sonar_range_m is not None
    again = next(iter(source))
    np.testing.assert_array_equal(again.rgb(), first.rgb())
