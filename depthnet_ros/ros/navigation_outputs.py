"""What planners take, out of one camera's metric depth: clouds that mark and clear, a scan, the nearest obstacle."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image, LaserScan, PointCloud2, Range
from std_msgs.msg import Header

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.cloud import CloudPacker
from depthnet_ros.metric_scale import GroundPlane
from depthnet_ros.metric_scale.result import MetricDepth
from depthnet_ros.navigation.clearing import lines_of_sight
from depthnet_ros.navigation.config import NavigationConfig
from depthnet_ros.navigation.corridor import nearest_in_corridor
from depthnet_ros.navigation.height_band import HeightBand
from depthnet_ros.navigation.pixels import PlacedPixels
from depthnet_ros.navigation.ray_groups import ViewError
from depthnet_ros.navigation.reach import free_share, height_band, trusted, within_depth
from depthnet_ros.navigation.scan import ScanProjector
from depthnet_ros.navigation.voxel import voxel_mask
from depthnet_ros.ros.conversions import image_message, xyz_cloud_message
from depthnet_ros.ros.frame_result import FrameResult
from depthnet_ros.ros.in_place import InPlacePublisher
from depthnet_ros.ros.lifecycle_publishers import LifecyclePublishers
from depthnet_ros.ros.navigation_frames import (
    IN_SCAN_FRAME,
    ground_out_of_view,
    nearest_message,
    planar_topics,
    scan_message,
)

NAVIGATION_TOPICS: Mapping[str, type] = {
    "points": PointCloud2,
    "points/clearing": PointCloud2,
    "points/clearing_3d": PointCloud2,
    "scan": LaserScan,
    "obstacle/nearest": Range,
    "depth/sigma": Image,
    "confidence": Image,
}
_CLEARING = frozenset({"points/clearing", "points/clearing_3d"})  # these points are in the image's own frame
_PLANAR = IN_SCAN_FRAME | _CLEARING
_UNCERTAINTY = frozenset({"depth/sigma", "confidence"})


@lru_cache(maxsize=8)
def _coarser(camera: PinholeCamera, stride: int) -> PinholeCamera:
    """The camera of the whole view on a grid coarser by ``stride``; checked and made once, not in every frame."""
    return camera.resized(-(-camera.width_px // stride), -(-camera.height_px // stride))


class _View:
    """One frame on the grid of the clouds: made once, whatever is published of it."""

    def __init__(self, result: FrameResult, camera: PinholeCamera, stride: int) -> None:
        self.camera = _coarser(camera, stride)
        height, width = self.camera.height_px, self.camera.width_px
        self.metric: MetricDepth = result.metric
        self.header: Header = result.header
        self.depth_m = result.masked(result.metric.depth_m(height, width))
        self.rgb = partial(result.prediction.colours_at, result.rgb, height, width)
        self._placed: PlacedPixels | None = None

    @cached_property
    def sigma_m(self) -> NDArray[np.float32]:
        """Standard deviation of depth in metres."""
        return self.metric.sigma_m(*self.depth_m.shape, depth_m=self.depth_m)

    def placed(self, projector: ScanProjector, band: HeightBand) -> PlacedPixels:
        """Where its pixels are over the ground; the two are the same for all outputs of a frame."""
        if self._placed is None:
            self._placed = projector.place(self.depth_m, band, self.sigma_m)
        return self._placed


class NavigationOutputs:
    """Publishers of one camera. Called by the worker; what nobody listens to is not computed."""

    def __init__(self, node: LifecycleNode, prefix: str, several: bool = False) -> None:
        """``several``: the node has other cameras beside this one, under the same parameters."""
        self._node, self._camera_name, self._several = node, prefix.strip("/"), several
        self.publishers = LifecyclePublishers(node, prefix, NAVIGATION_TOPICS)
        self._packer, self._points = CloudPacker(), InPlacePublisher(self.publishers["points"])
        self._projector: tuple[tuple[Any, ...], ScanProjector | None, str] | None = None
        self._valid_mask: NDArray[np.bool_] | None = None  # of that projector
        self.note = ""
        """What keeps a wanted topic silent or unlike what was asked for, for diagnostics; each is logged once."""
        self._logged: set[str] = set()
        self._reported_from_m: tuple[HeightBand | None, float] = (None, 0.0)

    def publish(
        self,
        result: FrameResult,
        wanted: frozenset[str],
        config: NavigationConfig,
        stride: int,
        ground: GroundPlane | None,
        needs_ground: bool = False,
    ) -> bool:
        """Hand one frame's wanted outputs to the middleware; nothing while metres may not be given. True: some went.

        ``needs_ground``: the robot's parameters name a ground. Where it is not known now, or not in the picture,
        nothing that depends on heights goes out: without them the floor is an obstacle.
        """
        if not result.metric.published or not wanted:
            self._silent("")
            return False
        self._publish_uncertainty(result, wanted)
        went_out = not wanted.isdisjoint(_UNCERTAINTY)
        wanted &= NAVIGATION_TOPICS.keys() - _UNCERTAINTY
        if result.camera is None or not wanted:
            self._silent("")
            return went_out
        view = _View(result, result.camera, stride)
        projector, lost = self._projected(result, view.camera, ground, config.scan_rays)
        if ground is None and needs_ground:
            lost = "the ground of scale.ground_frame is not known now"
        if projector is not None and not lost:
            config, lost = within_depth(config, view.metric.max_depth_m, projector)
        if lost:
            self._silent(f"points, scan, points/clearing(_3d) and obstacle/nearest are silent: {lost}")
            return went_out
        if "points" in wanted:
            self._publish_points(view, config, projector)
            went_out = True
        camera = (self._camera_name, self._several)
        possible, frame_id, reason = planar_topics(wanted & _PLANAR, view.header.frame_id, config, ground, *camera)
        if projector is None or not possible:
            self._silent(reason)
            return went_out
        fewer = projector.rays < config.scan_rays
        rays = f"the scan has {projector.rays} rays, one for two columns of points, not nav.scan_rays" if fewer else ""
        self._silent("; ".join(filter(None, (reason, rays, self._report_view(projector, config)))))
        header = Header(stamp=view.header.stamp, frame_id=frame_id)
        self._publish_planar(view, config, projector, header, possible)
        return True

    def _silent(self, reason: str) -> None:
        """Tell why topics are silent, or are not as was asked for; an empty reason: they are."""
        self.note = reason
        kind = re.sub(r"[-\d.]+", "", reason)  # numbers of a swaying camera are no news
        if reason and kind not in self._logged:
            self._logged.add(kind)
            self._node.get_logger().warning(reason)

    def _report_view(self, projector: ScanProjector, config: NavigationConfig) -> str:
        """Log from what range on the band is in view, for who clears; where nothing can be free, return why."""
        band = height_band(config)
        view = projector.band_view(band)
        half = f"heights of {band.min_height_m:g} to {0.5 * (band.min_height_m + band.max_height_m):g} m"
        reported_band, reported_m = self._reported_from_m
        if math.isfinite(view.nearest_m) and (band != reported_band or view.nearest_m > 1.2 * reported_m):
            self._reported_from_m = band, view.nearest_m
            from_m = f"{math.ceil(10.0 * view.nearest_m) / 10.0:.1f}"
            text = f"{half} are in view from {from_m} m on: set raytrace_min_range {from_m} where cells are cleared"
            self._node.get_logger().info(text)
        if view.free_to_end.any():
            return ""
        seen = f"in view only from {view.from_m.min():.1f} to {min(view.to_m.max(), 1e3):.1f} m"
        return (
            f"nothing is called free: {half} are {seen if math.isfinite(view.nearest_m) else 'nowhere in view'}; "
            "nav.min_height_m, nav.max_height_m and nav.max_range_m do not fit the camera's height and tilt"
        )

    def _publish_uncertainty(self, result: FrameResult, wanted: frozenset[str]) -> None:
        size = result.prediction.source_size
        for name, make in (("depth/sigma", result.metric.sigma_m), ("confidence", result.metric.confidence)):
            if name in wanted:
                self.publishers[name].publish(image_message(result.masked(make(*size)), "32FC1", result.header))

    def _publish_points(self, view: _View, config: NavigationConfig, projector: ScanProjector | None) -> None:
        """Obstacles that mark, too near ones among them.

        Ranges say -Inf for what is too near (REP 117), which planners skip; a point they do not. What is nearer than
        depth is told (scale.min_depth_m) stands there, the farthest place where it can be.
        """
        drop = view.metric.doubtful(
            *view.depth_m.shape, below=config.min_confidence, flying=config.remove_flying_pixels
        )
        nearest_m = np.float32(view.metric.min_depth_m)
        too_near = view.depth_m < nearest_m
        moved = bool(too_near.any())  # seldom: asking takes a quarter of np.maximum's time
        depth_m = np.where(too_near, nearest_m, view.depth_m) if moved else view.depth_m
        if projector is not None:
            placed = view.placed(projector, height_band(config))
            if moved:
                sigma_m = np.where(too_near, np.float32(0.0), view.sigma_m)
                placed = projector.place(depth_m, placed.band, sigma_m)
            drop |= ~placed.marking()
        if config.voxel_size_m > 0:
            drop |= depth_m > config.max_range_m  # before: a cube's first point may be the one that is too far
            kept_m = np.where(drop, np.float32(np.nan), depth_m)
            drop |= ~voxel_mask(view.camera.unproject(kept_m), config.voxel_size_m)
        self._packer.max_depth_m = config.max_range_m
        self._packer.pack(depth_m, view.camera, view.rgb(), self._points.points(*depth_m.shape), drop)
        self._points.publish(view.header)

    def _publish_planar(
        self,
        view: _View,
        config: NavigationConfig,
        projector: ScanProjector,
        header: Header,
        wanted: frozenset[str],
    ) -> None:
        known, share = trusted(view.metric, view.depth_m, config), free_share(view.metric)
        pixels = view.placed(projector, height_band(config)).classified(known, view.metric.caution)
        send: dict[str, Callable[[], Any]] = {}
        if wanted & {"scan", "points/clearing"}:
            scan = projector.scan(pixels)
            middle_m = 0.5 * (config.min_height_m + config.max_height_m)
            send["scan"] = lambda: scan_message(scan, config, header)
            send["points/clearing"] = lambda: xyz_cloud_message(
                projector.clearing_points(scan, config.clearing_range_m, middle_m, share), view.header
            )
        send["points/clearing_3d"] = lambda: xyz_cloud_message(
            lines_of_sight(projector, pixels, config.clearing_range_m, free_share=share), view.header
        )
        if "obstacle/nearest" in wanted:
            nearest_m = nearest_in_corridor(projector, pixels, config.corridor_width_m, config.corridor_offset_m)
            send["obstacle/nearest"] = lambda: nearest_message(nearest_m, config, header)
        for name in wanted & send.keys():
            self.publishers[name].publish(send[name]())

    def _projected(
        self, result: FrameResult, camera: PinholeCamera, ground: GroundPlane | None, rays: int
    ) -> tuple[ScanProjector | None, str]:
        """The projector of a ground on ``camera``'s grid; or none, and why heights cannot be told of this image."""
        if ground is None:
            return None, ""
        key = (camera, ground.down.tobytes(), ground.height_m, rays)
        if self._projector is None or self._projector[0] != key or self._valid_mask is not result.valid_mask:
            lost, projector = ground_out_of_view(ground, camera), None
            try:
                if not lost:
                    seen = result.valid_at(camera.height_px, camera.width_px)
                    projector = ScanProjector(camera, ground.levelled_from_optical, rays, seen)
            except ViewError as error:
                lost = str(error)
            self._projector, self._valid_mask = (key, projector, lost), result.valid_mask
        return self._projector[1:]
