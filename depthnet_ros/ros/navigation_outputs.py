"""What planners take, out of one camera's metric depth: clouds that mark and clear, a scan, the nearest obstacle."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image, LaserScan, PointCloud2, Range
from std_msgs.msg import Header

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.cloud import CloudPacker
from depthnet_ros.metric_scale import GroundPlane
from depthnet_ros.navigation.config import NavigationConfig
from depthnet_ros.navigation.height_band import HeightBand
from depthnet_ros.navigation.planner_view import PlannerView
from depthnet_ros.navigation.ray_groups import ViewError
from depthnet_ros.navigation.reach import height_band, within_depth
from depthnet_ros.navigation.scan import ScanProjector
from depthnet_ros.navigation.voxel import voxel_mask
from depthnet_ros.ros.conversions import image_message, xyz_cloud_message
from depthnet_ros.ros.frame_result import FrameResult
from depthnet_ros.ros.in_place import InPlacePublisher
from depthnet_ros.ros.lifecycle_publishers import LifecyclePublishers
from depthnet_ros.ros.navigation_frames import (
    IN_SCAN_FRAME,
    NamedCamera,
    PlanarTopics,
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
_PLACES = frozenset(NAVIGATION_TOPICS) - _UNCERTAINTY


@lru_cache(maxsize=8)
def _coarser(camera: PinholeCamera, stride: int) -> PinholeCamera:
    """Checked and made once, with its rays, and not in every frame."""
    return camera.coarser(stride)


@dataclass(frozen=True)
class _CloudFrame:
    """One frame on the grid of the clouds; ``camera``: of that grid."""

    result: FrameResult
    camera: PinholeCamera

    @cached_property
    def depth_m(self) -> NDArray[np.float32]:
        """(H, W) metres, NaN where the image has no pixel."""
        return self.result.masked(self.result.metric.depth_m(self.camera.height_px, self.camera.width_px))


class NavigationOutputs:
    """Publishers of one camera. Called by the worker; what nobody listens to is not computed."""

    def __init__(self, node: LifecycleNode, prefix: str, several: bool = False) -> None:
        """``several``: the node has other cameras beside this one, under the same parameters."""
        self._node, self._camera = node, NamedCamera(prefix.strip("/"), several)
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

        ``needs_ground``: the robot's parameters name a ground. Where it is not known now, or not in the image,
        nothing that depends on heights goes out: without them the floor is an obstacle.
        """
        sent, note = frozenset[str](), ""
        if result.metric.published:
            sent = wanted & _UNCERTAINTY
            self._publish_uncertainty(result, sent)
            if result.camera is not None and (places := wanted & _PLACES):
                frame = _CloudFrame(result, _coarser(result.camera, stride))
                more, note = self._publish_places(frame, places, config, ground, needs_ground)
                sent |= more
        self._tell(note)
        return bool(sent)

    def _publish_places(
        self,
        frame: _CloudFrame,
        wanted: frozenset[str],
        config: NavigationConfig,
        ground: GroundPlane | None,
        needs_ground: bool,
    ) -> tuple[frozenset[str], str]:
        """Clouds, scan and nearest obstacle: those that went out, and what to tell of the others."""
        result = frame.result
        projector, lost = self._projected(frame, ground, config.scan_rays, needs_ground)
        if projector is not None:
            config, lost = within_depth(config, result.metric.max_depth_m, projector)
        if lost:
            return frozenset(), f"points, scan, points/clearing(_3d) and obstacle/nearest are silent: {lost}"
        view = None if projector is None else PlannerView(result.metric, frame.depth_m, projector, config)
        points = wanted & {"points"}
        if points:
            self._publish_points(frame, config, view)
        planar = planar_topics(wanted & _PLANAR, result.header.frame_id, config, ground, self._camera)
        if view is None or not planar.topics:
            return points, planar.silent
        self._publish_planar(view, planar, result.header)
        notes = planar.silent, _fewer_rays(view), self._report_view(view)
        return points | planar.topics, "; ".join(filter(None, notes))

    def _tell(self, note: str) -> None:
        """Why topics are silent, or unlike what was asked for; an empty note: all is as it was asked for."""
        self.note = note
        kind = re.sub(r"[-\d.]+", "", note)  # numbers of a swaying camera are no news
        if note and kind not in self._logged:
            self._logged.add(kind)
            self._node.get_logger().warning(note)

    def _report_view(self, planner_view: PlannerView) -> str:
        """Log from what range on the band is in view, for who clears; where nothing can be free, return why."""
        band = height_band(planner_view.config)
        view = planner_view.projector.band_view(band)
        half = f"heights of {band.min_height_m:g} to {band.middle_m:g} m"
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

    def _publish_points(self, frame: _CloudFrame, config: NavigationConfig, view: PlannerView | None) -> None:
        """Obstacles that mark, too near ones among them.

        Ranges say -Inf for what is too near (REP 117), which planners skip; a point they do not. What is nearer than
        depth is told (scale.min_depth_m) stands there, the farthest place where it can be.
        """
        metric, depth_m = frame.result.metric, frame.depth_m
        drop = metric.doubtful(*depth_m.shape, below=config.min_confidence, flying=config.remove_flying_pixels)
        nearest_m = np.float32(metric.min_depth_m)
        too_near = depth_m < nearest_m
        moved = bool(too_near.any())  # seldom: asking takes a quarter of np.maximum's time
        if moved:
            depth_m = np.where(too_near, nearest_m, depth_m)
        if view is not None:
            placed = view.placed
            if moved:
                sigma_m = np.where(too_near, np.float32(0.0), view.sigma_m)
                placed = view.projector.place(depth_m, placed.band, sigma_m)
            drop |= ~placed.marking()
        if config.voxel_size_m > 0:
            drop |= depth_m > config.max_range_m  # before: a cube's first point may be the one that is too far
            kept_m = np.where(drop, np.float32(np.nan), depth_m)
            drop |= ~voxel_mask(frame.camera.unproject(kept_m), config.voxel_size_m)
        rgb = frame.result.prediction.colours_at(frame.result.rgb, *depth_m.shape)
        out = self._points.points(*depth_m.shape)
        self._packer.pack(depth_m, frame.camera, out, rgb=rgb, drop=drop, max_depth_m=config.max_range_m)
        self._points.publish(frame.result.header)

    def _publish_planar(self, view: PlannerView, planar: PlanarTopics, header: Header) -> None:
        level = Header(stamp=header.stamp, frame_id=planar.scan_frame)
        if "scan" in planar.topics:
            self.publishers["scan"].publish(scan_message(view.scan, view.config, level))
        if "obstacle/nearest" in planar.topics:
            self.publishers["obstacle/nearest"].publish(nearest_message(view.nearest_m(), view.config, level))
        if "points/clearing" in planar.topics:
            self.publishers["points/clearing"].publish(xyz_cloud_message(view.clearing_points(), header))
        if "points/clearing_3d" in planar.topics:
            self.publishers["points/clearing_3d"].publish(xyz_cloud_message(view.lines_of_sight(), header))

    def _projected(
        self, frame: _CloudFrame, ground: GroundPlane | None, rays: int, needs_ground: bool
    ) -> tuple[ScanProjector | None, str]:
        """The projector of a ground, None without one; and why what depends on heights must be silent."""
        if ground is None:
            return None, "the ground of scale.ground_frame is not known now" if needs_ground else ""
        camera, result = frame.camera, frame.result
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


def _fewer_rays(view: PlannerView) -> str:
    """That the scan has fewer rays than were asked for; empty where it has as many."""
    rays = view.projector.rays
    if rays >= view.config.scan_rays:
        return ""
    return f"the scan has {rays} rays, one for two columns of points, not nav.scan_rays"
