"""The ground under the camera of a recording: from the parameters, else from TF."""

from __future__ import annotations

from depthnet_ros.bags.options import PipelineOptions, Tally
from depthnet_ros.bags.transforms import Pose, TransformTree
from depthnet_ros.errors import BagError, ConfigError
from depthnet_ros.metric_scale import GroundPlane, MetricScaler


class Ground:
    """Keeps the scaler's ground as TF has it, and says how the camera is mounted over it."""

    def __init__(self, scaler: MetricScaler, tree: TransformTree, options: PipelineOptions, tally: Tally) -> None:
        self._scaler, self._tree, self._options, self._tally = scaler, tree, options, tally

    def update(self, camera_frame: str, stamp_ns: int) -> None:
        """Give the scaler the ground of ``scale.ground_frame``, as the node does; none from where TF no longer knows
        it.
        """
        scale = self._options.scale
        if not scale.ground_frame or scale.ground_height_m > 0:
            return
        try:
            if not scale.use_tf:
                raise ConfigError("it needs scale.use_tf; or set scale.ground_height_m and scale.ground_pitch_rad")
            tolerance_ns = round(1e9 * scale.source_timeout_s)
            remedy = "set scale.ground_height_m and scale.ground_pitch_rad"
            mount = self._tree.lookup(scale.ground_frame, camera_frame, stamp_ns, tolerance_ns, remedy)
            plane = GroundPlane.from_pose(mount, scale.ground_height_sigma, scale.ground_tilt_sigma_rad)
        except (BagError, ConfigError) as error:
            self._tally.fault(f"no ground from scale.ground_frame: {error}")
            if self._scaler.ground is not None:
                self._scaler.set_ground(None)
            return
        if not plane.same_as(self._scaler.ground):
            self._scaler.set_ground(plane)

    def levelled_from_optical(self, camera_frame: str, stamp_ns: int) -> Pose | None:
        """(4, 4) as :attr:`depthnet_ros.evaluation.frame.Frame.level_from_optical`; None where nothing says it."""
        if self._scaler.ground is not None:
            return self._scaler.ground.levelled_from_optical
        if not self._options.base_frame:
            return None
        try:
            mount = self._tree.lookup(self._options.base_frame, camera_frame, stamp_ns)
            return GroundPlane.from_pose(mount).levelled_from_optical
        except (BagError, ConfigError):
            self._tally.fault(
                f"no obstacle figures: neither scale.ground_height_m nor TF to {self._options.base_frame!r} "
                "(--base-frame) says how the camera is mounted"
            )
            return None
