"""Relative inverse depth in, metres with sigma and a state out: the one path for node, bag evaluation and benchmarks.

scaler = MetricScaler(MetricScaleConfig(mode="anchors", ground_height_m=0.4), camera)
scaler.add(from_range(...))                       # whenever a sensor speaks, from any thread
metric = scaler.update(estimator.infer(rgb), stamp_s, rgb)
if metric.published:
    depth_m = metric.depth_m(height_px, width_px)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import CameraInfoError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.inference.postprocess import DepthPrediction, without_holes
from depthnet_ros.metric_scale.anchors import Anchors
from depthnet_ros.metric_scale.buffer import Anchor, AnchorBuffer
from depthnet_ros.metric_scale.cone import ConeAnchor, Reading
from depthnet_ros.metric_scale.config import MetricScaleConfig, ScaleMode, ScaleState
from depthnet_ros.metric_scale.contrast import shows_nothing, small_grey
from depthnet_ros.metric_scale.fit import ViewNormalisation
from depthnet_ros.metric_scale.ground import GroundPlane
from depthnet_ros.metric_scale.health import SourceMonitor
from depthnet_ros.metric_scale.observe import Observer, SeenMask, thin
from depthnet_ros.metric_scale.result import MetricDepth, ScaleEstimate
from depthnet_ros.metric_scale.sight import GroundSight
from depthnet_ros.metric_scale.state import FrameClock, StateMachine
from depthnet_ros.metric_scale.temporal import AffineStabilizer, PixelFilter
from depthnet_ros.metric_scale.tracker import ScaleTracker, UpdateResult

_PERCENTILE_STRIDE = 8  # every so many pixels of rows and columns a view's normalisation is found on
_SAME_PX = 0.5  # by which a ray may move in the image of what counts as the same camera
_HOPELESS = 30  # frames in a row that contradict an estimate which is out of use: it is what is wrong
_LEAST_TURN_RAD, _MOST_TURN_RAD = 0.003, 0.3  # between a reading and the image; more is no small rotation


class MetricScaler:
    """Metric scale of one camera over time. :meth:`add` may be called from any thread, all else from one."""

    def __init__(self, config: MetricScaleConfig, camera: PinholeCamera | None = None) -> None:
        self.config = config
        self.camera: PinholeCamera | None = None
        self._mode = ScaleMode(config.mode)
        self._buffer = AnchorBuffer(config.max_stamp_difference_s)
        self._seen = SeenMask()
        plane: GroundPlane | None = None
        if config.ground_height_m > 0:
            plane = GroundPlane.from_height(
                config.ground_height_m,
                config.ground_pitch_rad,
                config.ground_roll_rad,
                config.ground_height_sigma,
                config.ground_tilt_sigma_rad,
            )
        self._sight = GroundSight(plane)
        self.reset()
        if camera is not None:
            self.set_camera(camera)

    def reset(self) -> None:
        """Forget all that was learnt; configuration, camera and ground stay."""
        config = self.config
        self._buffer.clear()
        self._stabilizer = AffineStabilizer()
        self._pixels = PixelFilter(config.temporal_gain, config.temporal_gate)
        self._turn_rate: NDArray[np.floating] | None = None
        self._tracker = ScaleTracker(config)
        self._monitor = SourceMonitor(config)
        self._states = StateMachine(config)
        self._clock = FrameClock()

    @property
    def ground(self) -> GroundPlane | None:
        """The ground that scale and heights refer to."""
        return self._sight.plane

    def set_camera(self, camera: PinholeCamera) -> None:
        """The camera of the images from now on; anchors tied to another one's pixels are dropped. Intrinsics that
        tremble by less than half a pixel (autofocus, an online calibration) are those of the same camera.
        """
        if camera == self.camera or (self.camera is not None and camera.largest_shift_px(self.camera) < _SAME_PX):
            return
        self.camera = camera
        self._buffer.drop()
        self._sight.set_camera(camera)

    def set_ground(self, plane: GroundPlane | None) -> None:
        """A ground from TF, say, in place of the parameters'; None: it is not known where the ground is."""
        self._sight.set_plane(plane)

    def add(self, anchor: Anchor) -> None:
        """A sensor's anchors, made for the present camera. From any thread. Points beyond ``max_depth_m``, where no
        depth is given out, are left out: many of them would draw the fit away from what is near.
        """
        self._buffer.hear(anchor.source, anchor.stamp_s)
        if isinstance(anchor, Anchors):
            anchor = anchor.within(self.config.max_depth_m).thinned(self.config.max_anchors)
            if len(anchor) == 0:
                self._buffer.miss(anchor.source)
                return
        self._buffer.put(anchor)

    def hear(self, source: str, stamp_s: float) -> None:
        """A sensor spoke, but nothing usable: it is alive. From any thread."""
        self._buffer.hear(source, stamp_s)

    def update(
        self,
        prediction: DepthPrediction,
        stamp_s: float,
        image: NDArray[np.uint8] | None = None,
        seen: NDArray[np.bool_] | None = None,
    ) -> MetricDepth:
        """One frame.

        Args:
            prediction: of the network.
            stamp_s: of the image.
            image: (H, W, 3) uint8 that the prediction is of; with it the temporal filter follows the image's motion,
                and there are no metres for a picture that shows nothing.
            seen: (H, W) False where the image shows nothing, at a rectified one's borders say: nothing is learnt there.

        Raises:
            CameraInfoError: mode anchors, and the prediction is of another image size than the camera.
        """
        grey = None if image is None or not self._gives_metres(prediction) else small_grey(prediction.shrunk(image))
        blank = "" if grey is None else shows_nothing(grey, seen)
        if self._mode is not ScaleMode.ANCHORS:
            return self._without_anchors(prediction, blank)
        if self.camera is None:
            return self._answer(ScaleState.UNCALIBRATED, "no camera_info yet: anchors cannot be tied to pixels")
        if prediction.source_size != (self.camera.height_px, self.camera.width_px):
            raise CameraInfoError(
                f"the image is {prediction.source_size[1]}x{prediction.source_size[0]} but camera_info says "
                f"{self.camera.width_px}x{self.camera.height_px}"
            )
        if blank:
            self._states.look(stamp_s)
            self._pixels.reset()
            self._hear(stamp_s)
            told = {"age_s": self._states.age_s(stamp_s), "troubles": tuple(self._monitor.troubles(stamp_s))}
            return self._answer(self._states.state, blank, **told)
        prediction, unknown = without_holes(prediction)
        elapsed_s = self._clock.advance(stamp_s)
        if self._clock.ran_back:
            self._buffer.clear()
            self._monitor.forget_times()
            self._states.time_jumped()
        steady, relative = self._steady(prediction, grey, elapsed_s)
        some = steady[::_PERCENTILE_STRIDE, ::_PERCENTILE_STRIDE]
        seen = self._seen.on_grid(seen, unknown, steady.shape)
        if seen is not None and (known := seen[::_PERCENTILE_STRIDE, ::_PERCENTILE_STRIDE]).any():
            some = some[known]
        view = ViewNormalisation.of(some)
        self._tracker.predict(view, elapsed_s, self._stabilizer.cut)
        own_zero = None
        if prediction.zero_sigma:
            own_zero = -self._stabilizer.offset / self._stabilizer.gain, prediction.zero_sigma
        # The view's far end moves where the network's own zero stays: someone who is followed through a door.
        zero = own_zero[0] if own_zero else view.zero
        observer = self._observe(steady, prediction.source_size, stamp_s, zero, seen)
        sight, running = self._sight.view(observer.down), self._states.look(stamp_s)
        floor = None if sight is None else observer.floor(*sight)
        intake = None
        if not self._sight.impossible or observer.spread_out:  # else what a ground would fill in is a guess
            intake = self._tracker.update(observer, floor, view, prediction.metric, running, own_zero)
        troubles = self._check_sensors(observer, intake, stamp_s)
        accepted = intake is not None and intake.accepted
        self._states.step(
            stamp_s,
            accepted,
            self._tracker.filter.rejected,
            intake.well_posed if intake is not None and observer.measured else None,
            self._tracker.filter.relative_sigma(view),
            troubles,
            self._tracker.residuals.value,
        )
        if self._states.state is ScaleState.STALE and self._tracker.filter.rejected >= _HOPELESS:
            self._tracker.forget()
        result = self._result(prediction, relative, view, stamp_s, intake, troubles)
        if unknown is not None and result.inverse_depth is not None:
            result.inverse_depth[unknown] = np.nan
        return result

    def _gives_metres(self, prediction: DepthPrediction) -> bool:
        return self._mode is not ScaleMode.NONE or prediction.metric

    def _steady(
        self, prediction: DepthPrediction, grey: NDArray[np.uint8] | None, elapsed_s: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """This frame's prediction with the wander of scale and shift taken out; and the same averaged over time."""
        raw, self._turn_rate = prediction.inverse_depth, None
        if not self.config.temporal_filter:
            return raw, raw
        if not prediction.metric:
            self._stabilizer.update(raw)
            if (step := self._stabilizer.step) is not None:
                for known in (self._tracker, self._pixels):
                    known.change_unit(*step)
                self._monitor.change_unit(step[0])
        steady = self._stabilizer.steady(raw)
        if self._stabilizer.cut:
            self._pixels.reset()
        if (estimate := self._tracker.estimate) is not None:
            zero = -estimate[1] / estimate[0]
        else:
            zero = 2.0 * float(steady.min()) - float(steady.max())
        averaged = self._pixels.update(steady, zero, grey, self.camera)
        turn = self._pixels.turn
        self._turn_rate = turn / elapsed_s if turn is not None and elapsed_s > 0 else None
        return steady, averaged

    def _observe(
        self,
        steady: NDArray[np.float32],
        source_size: tuple[int, int],
        stamp_s: float,
        zero: float,
        seen: NDArray[np.bool_] | None,
    ) -> Observer:
        self._hear(stamp_s)
        observer = Observer(steady, source_size, self._tracker.estimate, self._tracker.residuals.value, seen)
        anchors = self._buffer.take(stamp_s)
        for points in thin([a for a in anchors if isinstance(a, Anchors)], self.config.max_anchors):
            if self._turn_rate is not None and self.camera is not None:
                turn_rad = self._turn_rate * (stamp_s - points.stamp_s)
                if _LEAST_TURN_RAD < float(np.abs(turn_rad).max()) < _MOST_TURN_RAD:
                    points = points.turned(turn_rad, self.camera)
            relative = observer.add_points(points, use=not self._monitor.is_stuck(points.source))
            self._monitor.record_points(points.source, points.stamp_s, points.fingerprint, relative - zero)
        for cone in self._before_floor(a for a in anchors if isinstance(a, ConeAnchor)):
            relative = observer.add_cone(cone, use=not self._monitor.is_stuck(cone.source))
            if cone.reading is Reading.MEASURED:
                self._monitor.record_range(cone.source, cone.stamp_s, cone.range_m, cone.range_sigma_m, relative - zero)
        return observer

    def _hear(self, stamp_s: float) -> None:
        self._monitor.expect(self.config.sources, stamp_s)
        for source, heard_s in self._buffer.heard():
            self._monitor.heard(source, heard_s)

    def _before_floor(self, cones: Iterable[ConeAnchor]) -> Iterator[ConeAnchor]:
        """What range finders say of all that stands before the floor, where the floor is known."""
        plane, camera = self._sight.plane, self.camera
        for cone in cones:
            if plane is None or camera is None or cone.reading is Reading.NEARER:
                yield cone
            elif (seen := cone.before(plane.inverse_depth(cone.u_px, cone.v_px, camera))) is not None:
                yield seen

    def _check_sensors(self, observer: Observer, intake: UpdateResult | None, stamp_s: float) -> list[str]:
        for source in observer.looked_at:
            self._monitor.check_stuck(source)
        for source, limit in observer.broken.items():
            self._monitor.breaks(source, limit)
        if intake is not None and intake.accepted:
            alone = len(observer.spans) == 1  # nobody is left to contradict
            for source, span in observer.spans.items():
                self._monitor.agrees(source, 1.0 if alone else float(intake.weights[span].mean()))
        notes = self._buffer.beyond(self.config.max_depth_m) if intake is None else intake.notes
        return [
            *self._monitor.troubles(stamp_s),
            *self._buffer.unmatched_sources(),
            *notes,
            *filter(None, [self._sight.note, self._tracker.alike]),
        ]

    def _result(
        self,
        prediction: DepthPrediction,
        relative: NDArray[np.float32],
        view: ViewNormalisation,
        stamp_s: float,
        intake: UpdateResult | None,
        troubles: list[str],
    ) -> MetricDepth:
        states, state = self._states, self._tracker.filter.smoothed
        common = {
            "anchor_count": 0 if intake is None else intake.count,
            "inlier_count": intake.inliers if intake is not None and intake.accepted else 0,
            "age_s": states.age_s(stamp_s),
            "troubles": tuple(troubles),
        }
        if state is None:
            return self._answer(states.state, states.reason, **common)
        linear = np.float32(state[0]) * relative + np.float32(state[1])
        gain, offset = self._stabilizer.gain, self._stabilizer.offset
        raw = np.array([[1.0 / gain, 0.0], [-offset / gain, 1.0]])
        scale, shift = raw @ state
        covariance = self._tracker.filter.reported_covariance
        estimate = ScaleEstimate(
            float(scale),
            float(shift),
            raw @ covariance @ raw.T,
            self._tracker.filter.relative_sigma(view),
            self._tracker.residuals.value,
        )
        return self._answer(
            states.state,
            states.reason,
            estimate=estimate,
            inverse_depth=self._tracker.correction.apply(linear),
            relative=relative,
            steady_covariance=covariance,
            log_sigma=prediction.log_sigma,
            **common,
        )

    def _without_anchors(self, prediction: DepthPrediction, blank: str) -> MetricDepth:
        """Modes none and fixed: nothing is learnt, each frame stands alone."""
        raw = prediction.inverse_depth
        if blank:
            return self._answer(ScaleState.DEGRADED, blank)
        if self._mode is ScaleMode.FIXED:
            scale, shift = self.config.fixed_scale, self.config.fixed_shift
            state, message = ScaleState.CALIBRATED, ""
        elif prediction.metric:
            scale, shift = 1.0, 0.0
            state, message = ScaleState.DEGRADED, "metres as the network claims them; no sensor confirms it"
        else:
            hint = "scale.mode is none: set it to fixed or anchors to get metres"
            return self._answer(ScaleState.UNCALIBRATED, hint)
        estimate = ScaleEstimate(scale, shift, np.zeros((2, 2)), 0.0, self.config.network_sigma)
        return self._answer(
            state,
            message,
            estimate=estimate,
            inverse_depth=np.float32(scale) * raw + np.float32(shift),
            relative=raw,
            steady_covariance=np.zeros((2, 2)),
            log_sigma=prediction.log_sigma,
        )

    def _answer(self, state: ScaleState, message: str, **values: Any) -> MetricDepth:
        config = self.config
        return MetricDepth(
            state=state,
            published=state.value in config.publish_states and values.get("inverse_depth") is not None,
            message=message,
            min_depth_m=config.min_depth_m,
            max_depth_m=config.max_depth_m,
            edge_share=config.edge_sigma,
            tolerance=config.confidence_tolerance,
            **values,
        )
