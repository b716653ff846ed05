"""Where a rectified picture shows something, and depth that is registered to the raw one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from depthnet_ros.errors import CameraInfoError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.lens import LensCalibration
from depthnet_ros.geometry.rectify import ImageViewer, Rectifier
from depthnet_ros.messages.anchors import anchor_from_message
from depthnet_ros.metric_scale import MetricScaleConfig, PointAnchors
from depthnet_ros.ros.conversions import image_message

pytest.importorskip("rclpy")
WIDE = PinholeCamera(320, 240, 150.0, 150.0, 159.5, 119.5)


def _info(d: tuple[float, ...], r: np.ndarray, focal_px: float = 150.0) -> Any:
    k = np.array((focal_px, 0.0, 159.5, 0.0, focal_px, 119.5, 0.0, 0.0, 1.0))
    return SimpleNamespace(
        width=320, height=240, k=k, p=np.insert(k, (3, 6, 9), 0.0), d=np.array(d), r=r.ravel(),
        distortion_model="plumb_bob", binning_x=0, binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
    )  # fmt: skip


@pytest.mark.parametrize("distortion", [(-0.3, 0.0, 0.0, 0.0, 0.0), (-0.28, 0.06, 0.0, 0.0, -0.005)])
def test_what_a_distortion_shows_twice_is_not_valid(distortion: tuple[float, ...]) -> None:
    """The radius of the raw picture, r + k1 r^3 + ..., turns back where its derivative is zero."""
    wider = PinholeCamera(320, 240, 75.0, 75.0, 159.5, 119.5)  # a view out to where the polynomial has turned
    mask = Rectifier(LensCalibration(WIDE, wider, distortion)).valid_mask
    radius = np.hypot(wider.ray_x[None, :], wider.ray_y[:, None])
    k1, k2, _, _, k3 = distortion
    slope = 1.0 + 3.0 * k1 * radius**2 + 5.0 * k2 * radius**4 + 7.0 * k3 * radius**6
    turned = np.zeros(mask.shape, dtype=bool)
    turned[radius >= radius[slope <= 0].min()] = True
    assert turned.mean() > 0.05
    assert (mask & turned).mean() < 0.005
    assert mask[turned.shape[0] // 2, turned.shape[1] // 2]
    straight = Rectifier(LensCalibration(WIDE, wider)).valid_mask
    assert mask[~turned & straight].mean() > 0.9, "what is about the axis stays"


@pytest.mark.parametrize(
    "turn", [np.full((3, 3), np.nan), np.diag((1.0, -1.0, -1.0)), 2.0 * np.eye(3), np.diag((1.0, 1.0, -1.0))]
)
@pytest.mark.parametrize("rectify", [True, False])
def test_an_r_that_is_no_rotation_or_turns_away_is_an_error_of_camera_info(turn: np.ndarray, rectify: bool) -> None:
    viewer = ImageViewer("/image_raw", rectify)
    picture, info = np.zeros((240, 320, 3), np.uint8), _info((-0.1, 0.0, 0.0, 0.0, 0.0), turn)
    if np.array_equal(turn, np.diag((1.0, -1.0, -1.0))) and not rectify:  # of no consequence for a rectified image
        assert "behind the camera" in viewer.view(picture, info).note
        return
    with pytest.raises(CameraInfoError):
        viewer.view(picture, info)


def test_a_depth_camera_registered_to_the_raw_image_is_rectified_with_it() -> None:
    """A post before a wall: its anchors lie where the rectified picture has it."""
    post = np.full((240, 320), 4.0, np.float32)
    post[:, 270:290] = 1.0
    rgb = np.zeros((240, 320, 3), np.uint8)
    rgb[:, 270:290] = 255
    viewer = ImageViewer("/image_raw", True)
    view = viewer.view(rgb, _info((-0.3, 0.1, 0.0, 0.0, 0.0), np.eye(3)))
    message = image_message(post, "32FC1", SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=0), frame_id="c"))
    for rectified, right in ((viewer.rectified_depth, True), (None, False)):
        config = MetricScaleConfig(mode="anchors", sources=["depth"])
        assert view.camera is not None
        anchors = anchor_from_message("depth", message, view.camera, np.eye(4), config, rectified)
        assert isinstance(anchors, PointAnchors)
        near = anchors.inverse_depth > 0.6
        shown = view.rgb[np.rint(anchors.v_px[near]).astype(int), np.rint(anchors.u_px[near]).astype(int), 0]
        assert near.sum() > 20
        assert ((shown > 128).mean() > 0.9) == right


@pytest.mark.parametrize("size", [(240, 320), (120, 160)])
def test_depth_is_moved_and_never_mixed_and_not_known_where_the_raw_image_ends(size: tuple[int, int]) -> None:
    """Between near and far lies nothing. A depth camera may have fewer pixels than the image."""
    post = np.full(size, 4.0, np.float32)
    post[:, size[1] // 2 :] = 1.0
    viewer = ImageViewer("/image_raw", True)
    view = viewer.view(np.zeros((240, 320, 3), np.uint8), _info((0.3, 0.0, 0.0, 0.0, 0.0), np.eye(3)))
    moved = viewer.rectified_depth(post)
    assert moved.shape == (240, 320) and view.valid_mask is not None
    assert set(np.unique(moved[np.isfinite(moved)])) == {1.0, 4.0}
    assert np.isnan(moved).mean() > 0.05 and np.isfinite(moved[view.valid_mask]).all()
    assert (moved[120, 100:155] == 4.0).all() and (moved[120, 165:220] == 1.0).all()
    assert np.isnan(moved[0, 0]) and not view.valid_mask[0, 0]


@pytest.mark.parametrize("finer", [1, 3])
def test_each_pixel_gets_the_depth_that_is_nearest_to_what_it_shows(finer: int) -> None:
    """By the polynomial of the lens. A depth camera may have more pixels than the image, too."""
    viewer = ImageViewer("/image_raw", True)
    view = viewer.view(np.zeros((240, 320, 3), np.uint8), _info((-0.2, 0.0, 0.0, 0.0, 0.0), np.eye(3)))
    row, column = (np.indices((240 * finer, 320 * finer), dtype=np.float32) + 0.5) / finer - 0.5
    stretch = 1.0 - 0.2 * (WIDE.ray_x**2 + WIDE.ray_y[:, None] ** 2)
    shown = 150.0 * stretch * WIDE.ray_x + 159.5, 150.0 * stretch * WIDE.ray_y[:, None] + 119.5
    for raw, place in zip((column, row), shown, strict=True):
        moved = viewer.rectified_depth(raw)
        assert np.abs(moved - place)[view.valid_mask].max() < 0.505, "half a pixel of the image"


@pytest.mark.parametrize(("width", "height"), [(1, 1), (64, 1)])
def test_an_image_of_one_row_is_too_small_to_be_rectified(width: int, height: int) -> None:
    camera = PinholeCamera(width, height, 50.0, 50.0, 0.0, 0.0)
    with pytest.raises(CameraInfoError, match=f"{width}x{height} is too small"):
        Rectifier(LensCalibration(camera, camera, (-0.3, 0.0, 0.0, 0.0, 0.0)))


@pytest.mark.filterwarnings("error")
def test_a_rotation_that_is_no_number_is_refused_without_a_warning() -> None:
    with pytest.raises(CameraInfoError, match="R must be a rotation"):
        LensCalibration.of(_info((0.0,) * 5, np.full((3, 3), np.inf)), 320, 240)
