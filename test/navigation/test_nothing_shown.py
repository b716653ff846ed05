"""Pixels that show nothing: those of what a network cannot make out, and the black border of a rectified picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.lens import LensCalibration
from depthnet_ros.geometry.rectify import Rectifier
from depthnet_ros.metric_scale import GroundPlane
from depthnet_ros.navigation.clearing import lines_of_sight
from depthnet_ros.navigation.corridor import nearest_in_corridor
from depthnet_ros.navigation.scan import ScanProjector
from test.navigation.test_free import box, seen
from test.navigation.test_scan import BAND, CAMERA, projector

NOTHING = np.float32(np.nan)
LENSES = {
    "barrel": (380.0, 1.0, (-0.3, 0.08, 0.0, 0.0, 0.0)),
    "barrel, half of the border cut": (380.0, 0.5, (-0.3, 0.08, 0.0, 0.0, 0.0)),
    "long barrel": (500.0, 1.0, (-0.2, 0.05, 0.0, 0.0, 0.0)),
    "pincushion": (500.0, 1.0, (0.1, 0.0, 0.0, 0.0, 0.0)),
}


@pytest.mark.parametrize(
    ("height_m", "pitch", "top_m", "distance_m"),
    [(0.4, 0.1, 0.2, 1.35), (0.8, 0.2, 0.2, 1.5), (0.8, 0.2, 0.3, 1.2), (1.2, 0.35, 0.4, 1.4)],
)
def test_a_low_and_near_box_that_shows_nothing_is_neither_free_nor_cleared(height_m, pitch, top_m, distance_m) -> None:
    """None of its pixels looks into the farther half of the band."""
    p, depth = projector(height_m, pitch), seen(height_m, pitch, 50.0)
    hidden = box(height_m, pitch, distance_m, 0.4, top_m)
    assert hidden.sum() > 50 and not p.band_view(BAND).looks_far[hidden].any()
    pixels = p.classify(np.where(hidden, NOTHING, depth), ~hidden, BAND)
    scan, middle = p.scan(pixels), slice(p.rays // 2 - 3, p.rays // 2 + 3)
    assert np.isnan(scan.ranges_m[middle]).all() and not scan.free_m[middle].any()
    assert np.isposinf(scan.ranges_m[[2, -3]]).all()  # beside it
    assert np.isnan(nearest_in_corridor(p, pixels, 0.6))
    ends = lines_of_sight(p, pixels, 6.0)
    column, row = (np.rint(v).astype(int) for v in CAMERA.project(ends).T[:2])
    assert len(ends) > 100 and not hidden[row, column].any()


@pytest.mark.parametrize(
    ("offset_m", "free"), [pytest.param(0.0, False, id="before"), pytest.param(1.2, True, id="beside")]
)
def test_what_shows_nothing_counts_in_the_corridor_alone(offset_m: float, free: bool) -> None:
    p, depth = projector(0.4, 0.1), seen(0.4, 0.1, 50.0)
    hidden = box(0.4, 0.1, 1.5, 0.4, 0.2)
    pixels = p.classify(np.where(hidden, NOTHING, depth), ~hidden, BAND)
    assert np.isposinf(nearest_in_corridor(p, pixels, 0.6, offset_m)) == free


def test_a_corridor_aside_is_not_free_where_what_shows_nothing_is_in_its_nearer_part() -> None:
    """Its end lies elsewhere in the picture: farther away the same distance aside is nearer to the middle."""
    p, depth = projector(0.4, 0.1), seen(0.4, 0.1, 50.0)
    aside = CAMERA.ray_x[None, :] * -2.0  # to the left at 2 m
    hidden = box(0.4, 0.1, 2.0, 0.9, 0.25) & (aside > 0.6)
    pixels = p.classify(np.where(hidden, NOTHING, depth), ~hidden, BAND)
    assert np.isnan(nearest_in_corridor(p, pixels, 0.6, 0.75))
    assert nearest_in_corridor(p, pixels, 0.6, -0.75) == np.inf


def rectified(name: str) -> tuple[PinholeCamera, NDArray[np.bool_]]:
    """A lens's rectified camera on a grid of 320x240, and where that shows something."""
    focal_px, alpha, distortion = LENSES[name]
    raw = PinholeCamera(640, 480, focal_px, focal_px, 319.5, 239.5)
    matrix = np.array([[focal_px, 0.0, 319.5], [0.0, focal_px, 239.5], [0.0, 0.0, 1.0]])
    new, _ = cv2.getOptimalNewCameraMatrix(matrix, np.array(distortion), (640, 480), alpha)
    camera = PinholeCamera(640, 480, new[0, 0], new[1, 1], new[0, 2], new[1, 2])
    mask = Rectifier(LensCalibration(raw, camera, distortion)).valid_mask
    small = cv2.resize(mask.view(np.uint8), (320, 240), interpolation=cv2.INTER_NEAREST)
    return camera.resized(320, 240), small.view(np.bool_)


def floor_and_box(p: ScanProjector, mask: NDArray[np.bool_], distance_m: float, top_m: float) -> NDArray[np.float32]:
    """(240, 320) depth of the open floor and of a box 0.6 m wide on it, NaN in the border."""
    with np.errstate(divide="ignore"):
        depth = np.where(p.up_per_metre < 0, -p.height_m / p.up_per_metre, np.inf)
    front = distance_m / np.maximum(p.ahead_per_metre, 1e-6)
    up = p.height_m + front * p.up_per_metre
    on_box = (np.abs(front * p.left_per_metre) <= 0.3) & (up >= 0.0) & (up <= top_m)
    return np.where(mask, np.where(on_box, front, depth), np.nan).astype(np.float32)


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize(("height_m", "pitch"), [(0.4, 0.0), (0.4, 0.1), (0.8, 0.2), (1.2, 0.35)])
def test_the_black_border_of_a_rectified_picture_costs_a_few_of_the_outermost_rays(name, height_m, pitch) -> None:
    camera, mask = rectified(name)
    level = GroundPlane.from_height(height_m, pitch).levelled_from_optical
    p = ScanProjector(camera, level, valid_mask=mask)
    depth = floor_and_box(p, mask, 100.0, 0.0)
    assert np.isnan(depth[:, 80:-80]).any(), "the border is above or below the middle, too"
    pixels = p.classify(depth, mask, BAND)
    scan = p.scan(pixels)
    assert np.isposinf(scan.ranges_m[4:-4]).all()
    assert len(p.clearing_points(scan, 6.0, 0.8)) >= 0.9 * p.rays
    assert nearest_in_corridor(p, pixels, 0.6) == np.inf


@pytest.mark.parametrize("name", LENSES)
@pytest.mark.parametrize(("height_m", "pitch", "top_m"), [(0.4, 0.0, 0.14), (0.8, 0.0, 0.2), (1.2, 0.2, 0.3)])
def test_no_box_is_cleared_that_has_slipped_into_the_black_border(name, height_m, pitch, top_m) -> None:
    """From where the band is told to be in view on, by which a costmap's least range of clearing is set."""
    camera, mask = rectified(name)
    level = GroundPlane.from_height(height_m, pitch).levelled_from_optical
    p, full = ScanProjector(camera, level, valid_mask=mask), ScanProjector(camera, level)
    near = p.band_view(BAND).nearest_m
    assert full.band_view(BAND).nearest_m <= near < 2.5
    for distance_m in np.arange(near + 0.05, 2.5, 0.1):
        scan = p.scan(p.classify(floor_and_box(p, mask, distance_m, top_m), mask, BAND))
        ends = p.clearing_points(scan, 6.0, 0.8) @ level[:3, :3].T
        behind = ends[np.abs(ends[:, 1] / ends[:, 0]) < 0.2 / distance_m]
        assert (behind[:, 0] < distance_m).all(), distance_m


def test_the_picture_begins_where_each_column_does() -> None:
    """A hole within it is no border: what is there may stand in the way."""
    mask = np.ones((120, 160), bool)
    mask[100:] = False
    level = GroundPlane.from_height(0.5, 0.1).levelled_from_optical
    p, full = ScanProjector(CAMERA, level, valid_mask=mask), ScanProjector(CAMERA, level)
    depth = np.where(mask, seen(0.5, 0.1, 50.0), NOTHING)
    scan = p.scan(p.classify(depth, mask, BAND))
    assert np.isposinf(scan.ranges_m[2:-2]).all()
    assert (scan.view.from_m > 1.1 * full.band_view(BAND).from_m).all()
    assert np.isnan(full.scan(full.classify(depth, mask, BAND)).ranges_m).all(), "not black by its lens: unknown"
    mask[85:95, 70:90] = False
    with_hole = ScanProjector(CAMERA, level, valid_mask=mask)
    depth = np.where(mask, depth, NOTHING)
    ranges_m = with_hole.scan(with_hole.classify(depth, mask, BAND)).ranges_m
    assert np.isnan(ranges_m[18:22]).all() and np.isposinf(ranges_m[[4, -5]]).all()


def test_an_all_black_picture_has_no_free_ray_and_no_range_of_view() -> None:
    level = GroundPlane.from_height(0.5).levelled_from_optical
    p = ScanProjector(CAMERA, level, valid_mask=np.zeros((120, 160), bool))
    scan = p.scan(p.classify(np.full((120, 160), np.inf, np.float32), np.zeros((120, 160), bool), BAND))
    assert np.isnan(scan.ranges_m).all() and np.isposinf(scan.view.nearest_m) and not scan.view.free_to_end.any()
