"""From a rendered world through metric scale to a planner's map: obstacles are marked where they are, and cleared."""

import cv2
import numpy as np
import pytest

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.edges import flying_pixels
from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.metric_scale import GroundPlane, MetricScaleConfig, MetricScaler, RangeFinder, ScaleState, from_range
from depthnet_ros.metric_scale.pose import OPTICAL_FROM_BODY
from depthnet_ros.navigation.clearing import lines_of_sight
from depthnet_ros.navigation.height_band import HeightBand
from depthnet_ros.navigation.scan import ScanProjector
from depthnet_ros.simulation.occupancy import Grid, occupied_cells
from depthnet_ros.simulation.renderer import Renderer
from depthnet_ros.simulation.scenes import create_scene
from depthnet_ros.simulation.sonar import Sonar

from .costmap import ObstacleLayer, VoxelLayer

CAMERA = PinholeCamera.from_fov(160, 120, 1.2)
BAND = HeightBand(0.15, 1.5, 0.2, 4.0)
GRID = Grid(-10.0, -10.0, 0.1, 200, 200)
FRAME_S = 0.1


class Drive:
    """A camera driven through the room. Each frame goes into the map as the node gives it out: marks from the cloud and
    lines from the clearing points, or both from the scan.
    """

    def __init__(self, scaler: MetricScaler | None, by_scan: bool = False) -> None:
        self.by_scan = by_scan
        self.scene = create_scene("room", seed=1)
        self.renderer = Renderer(self.scene, CAMERA, Sonar())
        self.scaler = scaler
        self.plane = GroundPlane.from_height(self.scene.camera_height_m, self.scene.camera_pitch_rad)
        self.projector = ScanProjector(CAMERA, self.plane.levelled_from_optical)
        from_m = self.projector.band_view(BAND).nearest_m
        self.layer = ObstacleLayer(GRID, BAND.min_height_m, BAND.max_height_m, from_m)
        self.rng = np.random.default_rng(0)
        self.seen = np.zeros_like(self.layer.marked)
        self.cleared_view = np.zeros_like(self.layer.marked)
        self.errors: list[float] = []

    def depth(self, frame, time_s: float):
        """Exact, or by metric scale from a network that is affine to inverse depth but for noise."""
        exact = frame.depth_m
        known = np.ones(exact.shape, dtype=bool)
        if self.scaler is None:
            return exact, known, None
        noise = cv2.resize(self.rng.normal(size=(5, 7)).astype(np.float32), (160, 120), interpolation=cv2.INTER_CUBIC)
        relative = (5.0 * (1.0 / exact) * (1.0 + 0.02 * noise) + 2.0).astype(np.float32)
        sonar = self.renderer.sonar
        limits = (sonar.field_of_view_rad, sonar.min_range_m, sonar.max_range_m)
        self.scaler.add(from_range(frame.sonar_range_m, RangeFinder(*limits), CAMERA, OPTICAL_FROM_BODY, time_s))
        metric = self.scaler.update(DepthPrediction(relative, exact.shape), time_s, frame.rgb)
        if not metric.published:
            return None
        depth = metric.depth_m(*exact.shape)
        finite = np.isfinite(depth)
        self.errors.append(float(np.mean(np.abs(depth - exact)[finite] / exact[finite])))
        known = (metric.confidence(*exact.shape) >= 0.5) | np.isposinf(depth)
        return depth, known, metric.sigma_m(*exact.shape)

    def step(self, time_s: float) -> None:
        frame = self.renderer.frame(time_s)
        result = self.depth(frame, time_s)
        if result is None:
            return
        depth, known, sigma = result
        pixels = self.projector.classify(depth, known, BAND, sigma)
        scan = self.projector.scan(pixels)
        if self.by_scan:
            ends, points = self.of_scan(scan)
        else:
            ends = self.projector.clearing_points(scan, 4.0, 0.8)
            points = CAMERA.unproject(depth)[pixels.obstacle & ~flying_pixels(1.0 / depth)]
        self.layer.clear(frame.pose[:3, 3], ends @ frame.pose[:3, :3].T + frame.pose[:3, 3])
        self.layer.mark(points @ frame.pose[:3, :3].T.astype(np.float32) + frame.pose[:3, 3].astype(np.float32))
        exact = CAMERA.unproject(frame.depth_m)[self.projector.place(frame.depth_m, BAND).marking()]
        row, column, inside = GRID.index((exact @ frame.pose[:3, :3].T + frame.pose[:3, 3])[:, :2])
        self.seen[row[inside], column[inside]] = True

    def of_scan(self, scan) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the lines that a layer with ``inf_is_valid`` clears, and the returns that it marks, in the optical
        frame: Nav2 takes +Inf for the farthest range, and nothing from NaN and -Inf."""
        level = self.plane.levelled_from_optical

        def optical(keep: np.ndarray, ranges_m: np.ndarray) -> np.ndarray:
            angles = scan.angles_rad[keep]
            away = np.stack((np.cos(angles), np.sin(angles)), axis=1) * ranges_m[keep, None]
            return np.column_stack((away, np.full(len(away), 0.8 - self.plane.height_m))) @ level[:3, :3]

        returned = np.isfinite(scan.ranges_m)
        lines = np.where(np.isposinf(scan.ranges_m), BAND.max_range_m, scan.ranges_m)
        return optical(np.isfinite(lines), lines), optical(returned, scan.ranges_m)

    def score(self, time_s: float, tolerance: int = 1) -> tuple[float, float]:
        """Precision of marked cells and recall of still cells that were in view; ``tolerance`` in cells of 0.1 m."""
        window = np.ones((2 * tolerance + 1, 2 * tolerance + 1), np.uint8)
        height = (BAND.min_height_m, BAND.max_height_m)
        exact = occupied_cells(self.scene.footprints(time_s), GRID, height)
        still = occupied_cells(self.scene.still.footprints, GRID, height)
        wide = cv2.dilate(exact.astype(np.uint8), window).astype(bool)
        found = cv2.dilate(self.layer.marked.astype(np.uint8), window).astype(bool)
        target = self.seen & still
        return float(wide[self.layer.marked].mean()), float(found[target].mean())


def drive(scaler: MetricScaler | None, frames: int = 60, by_scan: bool = False) -> Drive:
    robot = Drive(scaler, by_scan)
    for index in range(frames):
        robot.step(index * FRAME_S)
    return robot


@pytest.mark.parametrize("by_scan", [False, True])
def test_exact_depth_gives_the_exact_map(by_scan):
    """Of the cells that the camera sees something in. A scan has the nearest thing of each of its 40 rays."""
    robot = drive(None, by_scan=by_scan)
    precision, recall = robot.score(59 * FRAME_S)
    assert robot.layer.marked.sum() > (50 if by_scan else 100)
    assert precision > 0.95 and recall > (0.6 if by_scan else 0.95)


@pytest.mark.parametrize("by_scan", [False, True])
def test_metric_scale_from_sonar_and_camera_height_gives_the_map(by_scan):
    scene = create_scene("room", seed=1)
    config = MetricScaleConfig(
        mode="anchors", ground_height_m=scene.camera_height_m, ground_pitch_rad=scene.camera_pitch_rad
    )
    robot = drive(MetricScaler(config, CAMERA), by_scan=by_scan)
    precision, recall = robot.score(59 * FRAME_S, tolerance=2)  # a twelfth of the depth is 0.2 m where rooms end
    assert np.mean(robot.errors) < 0.12
    assert precision > 0.9 and recall > (0.6 if by_scan else 0.9)


@pytest.mark.parametrize("metric", [False, True])
def test_what_leaves_is_cleared(metric):
    """An obstacle stands two metres ahead of a camera at rest, then is gone."""
    plane = GroundPlane.from_height(0.5)
    projector = ScanProjector(CAMERA, plane.levelled_from_optical)
    layer = ObstacleLayer(GRID, BAND.min_height_m, BAND.max_height_m, projector.band_view(BAND).nearest_m)
    level = plane.levelled_from_optical
    rows, columns = np.mgrid[0:120, 0:160]
    empty = np.minimum(1 / np.maximum(plane.inverse_depth(columns, rows, CAMERA), 1e-3), 6.0).astype(np.float32)
    block = empty.copy()
    block[30:80, 60:100] = 2.0
    scaler = MetricScaler(MetricScaleConfig(mode="anchors", ground_height_m=0.5), CAMERA)
    counts = []
    for index in range(40):
        exact = block if index < 20 else empty
        depth, known = exact, np.ones(exact.shape, dtype=bool)
        if metric:
            norm = np.sqrt(1 + CAMERA.ray_x[None] ** 2 + CAMERA.ray_y[:, None] ** 2)
            reading = float((exact * norm)[norm < 1 / np.cos(0.13)].min())
            scaler.add(from_range(reading, RangeFinder(0.26, 0.05, 8.0), CAMERA, OPTICAL_FROM_BODY, index * FRAME_S))
            result = scaler.update(DepthPrediction(3.0 / exact + 1.0, exact.shape), index * FRAME_S)
            if result.state not in (ScaleState.CALIBRATED, ScaleState.DEGRADED):
                continue
            depth = result.depth_m(*exact.shape)
            known = (result.confidence(*exact.shape) >= 0.5) | np.isposinf(depth)
        pixels = projector.classify(depth, known, BAND)
        scan = projector.scan(pixels)
        ends = projector.clearing_points(scan, 4.0, 0.8) @ level[:3, :3].T + level[:3, 3]
        layer.clear(level[:3, 3], ends)
        layer.mark(CAMERA.unproject(depth)[pixels.obstacle] @ level[:3, :3].T + level[:3, 3])
        counts.append(int(layer.marked[:, 115:126].sum()))  # two metres ahead
    assert max(counts[:17]) >= 5
    assert counts[-1] == 0


def slab(rays: np.ndarray, origin: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """(H, W) depth of a box in a levelled frame; +Inf beside it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack(((low - origin) / rays, (high - origin) / rays))
    begin, end = ends.min(axis=0).max(axis=-1), ends.max(axis=0).min(axis=-1)
    return np.where((begin <= end) & (begin > 0), begin, np.inf)


@pytest.mark.parametrize(
    ("height_m", "pitch_rad", "low_m", "high_m"),
    [
        pytest.param(1.2, 0.0, 0.0, 0.5, id="a box below the picture of a high camera"),
        pytest.param(0.4, 0.1, 0.0, 0.16, id="a low box before a low camera"),
        pytest.param(0.3, 0.0, 0.68, 0.75, id="a table top above the picture of a low camera"),
    ],
)
def test_what_leaves_the_picture_stays_in_the_map(height_m, pitch_rad, low_m, high_m):
    """The robot drives at something that slips out at the picture's edge; a wall behind is seen all the time."""
    plane = GroundPlane.from_height(height_m, pitch_rad)
    projector, level = ScanProjector(CAMERA, plane.levelled_from_optical), plane.levelled_from_optical
    layer = ObstacleLayer(GRID, BAND.min_height_m, BAND.max_height_m, projector.band_view(BAND).nearest_m)
    rays = CAMERA.unproject(np.ones((120, 160), np.float32)) @ level[:3, :3].T
    low, high = np.array((3.0, -0.3, low_m)), np.array((3.3, 0.3, high_m))
    counts = []
    for x in np.arange(0.0, 2.8, 0.05):
        origin = np.array((x, 0.0, height_m))
        room = slab(rays, origin, np.array((6.0, -9.0, -1.0)), np.array((7.0, 9.0, 3.0)))
        floor = slab(rays, origin, np.array((-9.0, -9.0, -1.0)), np.array((9.0, 9.0, 0.0)))
        depth = np.minimum(np.minimum(room, floor), slab(rays, origin, low, high)).astype(np.float32)
        pixels = projector.classify(depth, np.ones(depth.shape, bool), BAND, 0.05 * depth)
        ends = projector.clearing_points(projector.scan(pixels), 6.0, 0.8) @ level[:3, :3].T + origin
        layer.clear(origin, ends)
        layer.mark((rays * depth[..., None])[projector.place(depth, BAND).marking()] + origin)
        counts.append(int(layer.marked[97:103, 129:133].sum()))
    assert max(counts) >= 6
    assert counts[-1] >= max(counts) - 2


def test_what_becomes_unsure_stays_in_the_map():
    """A box before a wall that is sure: the cloud has no point of the box any more, and the wall's points behind it."""
    plane = GroundPlane.from_height(0.4, 0.1)
    projector, level = ScanProjector(CAMERA, plane.levelled_from_optical), plane.levelled_from_optical
    layer = ObstacleLayer(GRID, BAND.min_height_m, BAND.max_height_m, projector.band_view(BAND).nearest_m)
    rays, origin = CAMERA.unproject(np.ones((120, 160), np.float32)) @ level[:3, :3].T, level[:3, 3]
    floor = slab(rays, origin, np.array((-9.0, -9.0, -1.0)), np.array((9.0, 9.0, 0.0)))
    wall = slab(rays, origin, np.array((4.0, -9.0, -1.0)), np.array((5.0, 9.0, 3.0)))
    box = slab(rays, origin, np.array((2.5, -0.3, 0.0)), np.array((2.8, 0.3, 0.5)))
    depth = np.minimum(np.minimum(floor, wall), box).astype(np.float32)
    counts = []
    for frame in range(6):
        known = ~np.isclose(depth, box) if frame >= 3 else np.ones(depth.shape, bool)
        placed = projector.place(depth, BAND, 0.05 * depth)
        ends = projector.clearing_points(projector.scan(placed.classified(known)), 6.0, 0.8)
        layer.clear(origin, ends @ level[:3, :3].T + origin)
        layer.mark((rays * depth[..., None])[known & placed.marking()] + origin)
        counts.append(int(layer.marked[95:105, 124:129].sum()))
    assert min(counts) == max(counts) > 5


VOXEL_BAND = HeightBand(0.1, 1.5, 0.2, 4.5)


def voxel_layer() -> VoxelLayer:
    """As ``config/nav/nav2_voxel_layer.yaml`` has it, with cells of 0.1 m."""
    return VoxelLayer(GRID, 0.0, 1.6, 0.1, 16, 0)


@pytest.mark.parametrize("behind", [True, False])
def test_what_leaves_is_cleared_from_a_map_of_voxels(behind):
    """Somebody stands two metres ahead, before a wall or in the open, and goes. A point for each ray, which clears a
    map of cells, leaves most of a column of voxels standing; lines of sight do not.
    """
    plane = GroundPlane.from_height(0.4, 0.1)
    projector, level = ScanProjector(CAMERA, plane.levelled_from_optical), plane.levelled_from_optical
    rays, origin = CAMERA.unproject(np.ones((120, 160), np.float32)) @ level[:3, :3].T, level[:3, 3]
    floor = slab(rays, origin, np.array((-9.0, -9.0, -1.0)), np.array((9.0, 9.0, 0.0)))
    wall = slab(rays, origin, np.array((6.0, -9.0, -1.0)), np.array((7.0, 9.0, 3.0)))
    empty = np.minimum(floor, wall) if behind else floor
    person = np.minimum(empty, slab(rays, origin, np.array((2.0, -0.3, 0.0)), np.array((2.3, 0.3, 1.7))))
    layers = {"points/clearing": voxel_layer(), "points/clearing_3d": voxel_layer()}
    counts: dict[str, list[int]] = {name: [] for name in layers}
    for depth in (person, person, empty, empty):
        depth = depth.astype(np.float32)
        pixels = projector.classify(
            depth, np.ones(depth.shape, bool), VOXEL_BAND, 0.02 * np.nan_to_num(depth, posinf=1e3)
        )
        planar = projector.clearing_points(projector.scan(pixels), 6.0, 0.8)
        ends = {"points/clearing": planar, "points/clearing_3d": lines_of_sight(projector, pixels, 6.0)}
        points = (rays * np.where(np.isfinite(depth), depth, np.nan)[..., None] + origin)[pixels.obstacle]
        for name, layer in layers.items():
            layer.clear(origin, ends[name] @ level[:3, :3].T + origin)
            layer.mark(points)
            counts[name].append(int(layer.marked[92:108, 118:126].sum()))
    assert counts["points/clearing_3d"][1] >= 5  # their lines do not cut into what stands there
    assert counts["points/clearing_3d"][-1] == 0
    assert counts["points/clearing"][-1] >= 5


def test_voxels_above_and_below_the_picture_stay():
    """A table top that has slipped out above the picture: no line of sight touches it, whatever is seen under it."""
    plane = GroundPlane.from_height(0.3)
    projector, level = ScanProjector(CAMERA, plane.levelled_from_optical), plane.levelled_from_optical
    rays, layer = CAMERA.unproject(np.ones((120, 160), np.float32)) @ level[:3, :3].T, voxel_layer()
    low, high = np.array((3.0, -0.3, 0.7)), np.array((3.3, 0.3, 0.85))
    counts = []
    for x in np.arange(0.0, 2.8, 0.1):
        origin = np.array((x, 0.0, 0.3))
        room = slab(rays, origin, np.array((6.0, -9.0, -1.0)), np.array((7.0, 9.0, 3.0)))
        floor = slab(rays, origin, np.array((-9.0, -9.0, -1.0)), np.array((9.0, 9.0, 0.0)))
        depth = np.minimum(np.minimum(room, floor), slab(rays, origin, low, high)).astype(np.float32)
        pixels = projector.classify(depth, np.ones(depth.shape, bool), VOXEL_BAND, 0.02 * depth)
        layer.clear(origin, lines_of_sight(projector, pixels, 6.0) @ level[:3, :3].T + origin)
        layer.mark((rays * depth[..., None])[projector.place(depth, VOXEL_BAND).marking()] + origin)
        counts.append(int(layer.marked[97:103, 129:134].sum()))
    assert max(counts) >= 6
    assert counts[-1] >= max(counts) - 2
