"""Relative inverse depth in, metres with sigma and a state out: the one path for node, bag evaluation and benchmarks.

scaler = MetricScaler(MetricScaleConfig(mode="anchors", ground_height_m=0.4), camera)
scaler.add(from_range(...))                       # whenever a sensor speaks, from any thread
metric = scaler.update(estimator.infer(rgb), stamp_s, rgb)
if metric.published:
    depth_m = metric.depth_m(height_px, width_px)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import CameraInfoError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.inference.postprocess import DepthPrediction, without_holes
from depthnet_ros.metric_scale.anchors import PointAnchors
from depthnet_ros.metric_scale.answer import without_anchors, without_metres
from depthnet_ros.metric_scale.buffer import AnchorBuffer
from depthnet_ros.metric_scale.cone import Anchor, ConeAnchor, Reading
from depthnet_ros.metric_scale.config import MetricScaleConfig, ScaleMode, ScaleState
from depthnet_ros.metric_scale.contrast import bare_patch, shows_nothing, small_grey
from depthnet_ros.metric_scale.doubt import doubt_of_bare
from depthnet_ros.metric_scale.evidence import Floor, ZeroPrior
from depthnet_ros.metric_scale.fit import ViewNormalisation
from depthnet_ros.metric_scale.frame import Frame
from depthnet_ros.metric_scale.frozen import FrozenPicture
from depthnet_ros.metric_scale.ground import GroundPlane
from depthnet_ros.metric_scale.health import SourceMonitor
from depthnet_ros.metric_scale.observe import Observer, SeenMask, thin
from depthnet_ros.metric_scale.result import MetricDepth, ScaleEstimate
from depthnet_ros.metric_scale.sight import GroundSight
from depthnet_ros.metric_scale.state import FrameClock, FrameOutcome, StateMachine
from depthnet_ros.metric_scale.temporal import AffineStabilizer, PixelFilter
from depthnet_ros.metric_scale.tracker import Intake, ScaleTracker
from depthnet_ros.metric_scale.two_by_two import change_of_unit

_SAME_PX = 0.5  # by which a ray may move in the image of what counts as the same camera
_HOPELESS = 30  # frames in a row that contradict an estimate which is out of use: it is what is wrong
_LEAST_TURN_RAD, _MOST_TURN_RAD = 0.003, 0.3  # between a reading and the image; more is no small rotation


class MetricScaler:
    """Metric scale of one camera over time. :meth:`add` may be called from any thread, all else from one."""

    def __init__(self, config: MetricScaleConfig, camera: PinholeCamera | None = None) -> None:
        self.config = config
        self.camera: PinholeCamera | None = None
        self._mode = config.scale_mode
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
        self._frozen = FrozenPicture()
        self._states = StateMachine(config)
        self._clock = FrameClock()

    @property
    def ground(self) -> GroundPlane | None:
        """The ground that scale and heights refer to."""
        return self._sight.plane

    def set_camera(self, camera: PinholeCamera) -> None:
        """The camera of the images from now on; anchors tied to another one's pixels are dropped. Changes of the
        intrinsics that move no ray by half a pixel (autofocus, online calibration) are ignored.
        """
        if camera == self.camera or (self.camera is not None and camera.largest_shift_px(self.camera) < _SAME_PX):
            return
        self.camera = camera
        self._buffer.drop()
        self._frozen = FrozenPicture()
        self._sight.set_camera(camera)

    def set_ground(self, plane: GroundPlane | None) -> None:
        """A ground from TF, say, in place of the parameters'; None: it is not known where the ground is."""
        self._sight.set_plane(plane)

    def add(self, anchor: Anchor) -> None:
        """A sensor's anchors, made for the present camera. From any thread. Points beyond ``max_depth_m``, where no
        depth is given out, are left out: many of them would draw the fit away from what is near.
        """
        if isinstance(anchor, PointAnchors):
            anchor = anchor.within(self.config.max_depth_m).thinned(self.config.max_anchors)
            if len(anchor) == 0:
                self._buffer.miss(anchor.source, anchor.stamp_s)
                return
        self._buffer.put(anchor)

    def forget_sensors(self) -> None:
        """Sensors may have come and gone: only those that speak from now on are missed when they fall silent."""
        self._monitor.forget()

    def hear(self, source: str, stamp_s: float, known: bool = True) -> None:
        """A sensor spoke, but nothing usable: it is alive. From any thread. ``known``: it has given usable readings;
        else ``source`` is its kind, which is not said to be silent then.
        """
        self._buffer.hear(source, stamp_s, known)

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
                and there are no metres for a picture that shows nothing, or that hangs while sensors see a change.
            seen: (H, W) False where the image shows nothing, at a rectified one's borders say: nothing is learnt there.

        Raises:
            CameraInfoError: mode anchors, and the prediction is of another image size than the camera.
        """
        gives_metres = self._mode is not ScaleMode.NONE or prediction.metric
        grey = None if image is None or not gives_metres else small_grey(prediction.shrunk(image))
        blank = "" if grey is None else shows_nothing(grey, seen)
        if self._mode is not ScaleMode.ANCHORS:
            return without_anchors(self.config, prediction, blank)
        if self.camera is None:
            why = "no camera_info yet: anchors cannot be tied to pixels"
            return without_metres(self.config, ScaleState.UNCALIBRATED, why)
        if prediction.source_size != (self.camera.height_px, self.camera.width_px):
            raise CameraInfoError(
                f"the image is {prediction.source_size[1]}x{prediction.source_size[0]} but camera_info says "
                f"{self.camera.width_px}x{self.camera.height_px}"
            )
        if blank:
            return self._learn_nothing(stamp_s, blank)
        frame = self._prepared(prediction, stamp_s, grey, seen)
        in_use = self._states.state in (ScaleState.CALIBRATED, ScaleState.DEGRADED)
        self._frozen.look(grey, stamp_s, frame.steady, self._tracker.estimate if in_use else None)
        observer = self._observe(frame)
        if frozen := self._frozen.why(stamp_s):
            return self._learn_nothing(stamp_s, frozen)
        intake, floor = self._track(frame, observer)
        caution, doubts = self._doubt(frame, floor, observer.anchors)
        troubles = [*self._check_sensors(observer, intake, stamp_s), *doubts]
        self._update_state(frame, observer, intake, troubles)
        return self._result(frame, intake, troubles, caution)

    def _learn_nothing(self, stamp_s: float, why: str) -> MetricDepth:
        """A picture that shows nothing, or is long past: the estimate grows old, pixels of before are of no use."""
        self._states.look(stamp_s)
        self._pixels.reset()
        self._hear(stamp_s)
        troubles = tuple(self._monitor.troubles(stamp_s))
        return without_metres(self.config, self._states.state, why, self._states.age_s(stamp_s), troubles)

    def _prepared(
        self,
        prediction: DepthPrediction,
        stamp_s: float,
        grey: NDArray[np.uint8] | None,
        seen: NDArray[np.bool_] | None,
    ) -> Frame:
        """The frame with the network's wander taken out, and the estimate brought to its time."""
        prediction, unknown = without_holes(prediction)
        elapsed_s = self._clock.advance(stamp_s)
        if self._clock.ran_back:
            self._buffer.clear()
            self._monitor.forget()
            self._states.time_jumped()
            self._frozen = FrozenPicture()
        steady, averaged = self._steady(prediction, grey, elapsed_s)
        learnt_from = self._seen.on_grid(seen, unknown, steady.shape)
        view = ViewNormalisation.sampled(steady, learnt_from)
        self._tracker.predict(view, elapsed_s, self._stabilizer.cut)
        own_zero = None
        if prediction.zero_sigma:
            own_zero = ZeroPrior(-self._stabilizer.offset / self._stabilizer.gain, prediction.zero_sigma)
        bare = None if grey is None else bare_patch(grey, seen)
        return Frame(stamp_s, prediction, steady, averaged, unknown, learnt_from, view, own_zero, bare)

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
        else:  # a guess: as far beyond the farthest pixel as that is from the nearest
            zero = 2.0 * float(steady.min()) - float(steady.max())
        averaged = self._pixels.update(steady, zero, grey, self.camera)
        turn = self._pixels.turn
        self._turn_rate = turn / elapsed_s if turn is not None and elapsed_s > 0 else None
        return steady, averaged

    def _observe(self, frame: Frame) -> Observer:
        """What the sensors say of this frame; those that are stuck are looked at alone."""
        residual = self._tracker.residuals.value
        observer = Observer(
            frame.steady, frame.prediction.source_size, self._tracker.estimate, residual, frame.learnt_from
        )
        anchors = self._buffer.take(frame.stamp_s)
        self._hear(frame.stamp_s)  # after: whose reading is used is known then
        for points in thin([a for a in anchors if isinstance(a, PointAnchors)], self.config.max_anchors):
            points = self._turned(points, frame.stamp_s)
            relative = observer.add_points(points, use=not self._monitor.is_stuck(points.source)) - frame.zero
            self._monitor.record_points(points.source, points.stamp_s, points.fingerprint, relative)
            self._frozen.record_points(points, frame.prediction.source_size)
        for reading in (a for a in anchors if isinstance(a, ConeAnchor)):
            if (cone := self._sight.before_floor(reading)) is None:
                continue
            relative = observer.add_cone(cone, use=not self._monitor.is_stuck(cone.source)) - frame.zero
            if cone.reading is Reading.MEASURED:
                self._frozen.record_range(cone.source, cone.stamp_s, cone.range_m, cone.range_sigma_m)
                self._monitor.record_range(cone.source, cone.stamp_s, cone.range_m, cone.range_sigma_m, relative)
        return observer

    def _turned(self, points: PointAnchors, stamp_s: float) -> PointAnchors:
        """Points of another moment as the camera sees them now, where it is known how it has turned since."""
        if self._turn_rate is None or self.camera is None:
            return points
        turn_rad = self._turn_rate * (stamp_s - points.stamp_s)
        if not _LEAST_TURN_RAD < float(np.abs(turn_rad).max()) < _MOST_TURN_RAD:
            return points
        return points.turned(turn_rad, self.camera)

    def _hear(self, stamp_s: float) -> None:
        self._monitor.expect(self.config.sources, stamp_s)
        for (source, known), heard_s in self._buffer.heard():
            self._monitor.heard(source, heard_s, known)

    def _track(self, frame: Frame, observer: Observer) -> tuple[Intake | None, Floor | None]:
        """What became of what was observed, None if that is nothing; and where the floor would be."""
        sight, running = self._sight.view(observer.down), self._states.look(frame.stamp_s)
        if self._sight.impossible and not observer.spread_out:  # what such a ground would fill in is a guess
            return None, None
        floor = None if sight is None else observer.floor(*sight)
        return self._tracker.update(frame, observer, floor, running), floor

    def _doubt(self, frame: Frame, floor: Floor | None, measured: list[PointAnchors]) -> tuple[float, list[str]]:
        """Factor >= 1 by which things may be nearer than estimated, and what to say of it."""
        if (estimate := self._tracker.estimate) is None:
            return 1.0, []
        return doubt_of_bare(frame, estimate, measured, self._tracker.caution(floor))

    def _check_sensors(self, observer: Observer, intake: Intake | None, stamp_s: float) -> list[str]:
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
            *filter(None, [self._sight.note, self._tracker.all_alike_note]),
        ]

    def _update_state(self, frame: Frame, observer: Observer, intake: Intake | None, troubles: list[str]) -> None:
        """The state that this frame leads to; an estimate that is out of use, and long contradicted, is given up."""
        estimate = self._tracker.filter
        outcome = FrameOutcome(
            accepted=intake is not None and intake.accepted,
            rejected=estimate.rejected,
            well_posed=intake.well_posed if intake is not None and observer.measured else None,
            relative_sigma=estimate.relative_sigma(frame.view, self.config.max_depth_m),
            troubles=troubles,
            misfit=self._tracker.residuals.present,
        )
        state = self._states.step(frame.stamp_s, outcome)
        if state is ScaleState.STALE and estimate.rejected >= _HOPELESS:
            self._tracker.forget()

    def _result(self, frame: Frame, intake: Intake | None, troubles: list[str], caution: float) -> MetricDepth:
        states, estimate = self._states, self._tracker.filter
        age_s = states.age_s(frame.stamp_s)
        answer = without_metres(self.config, states.state, states.reason, age_s, tuple(troubles), intake)
        if estimate.smoothed is None:
            return answer
        scale, shift = estimate.smoothed
        linear = np.float32(scale) * frame.averaged + np.float32(shift)
        inverse_depth = self._tracker.correction.apply(linear)
        if frame.unknown is not None:
            inverse_depth[frame.unknown] = np.nan
        gain, offset = self._stabilizer.gain, self._stabilizer.offset
        raw = change_of_unit(gain, offset)  # from the steadied unit to the network's own
        scale, shift = raw @ estimate.smoothed
        covariance = estimate.reported_covariance
        sigma = estimate.relative_sigma(frame.view, self.config.max_depth_m)
        error = self._tracker.residuals.present
        own = ScaleEstimate(float(scale), float(shift), raw @ covariance @ raw.T, sigma, error)
        return replace(
            answer,
            published=self.config.publishes(states.state),
            estimate=own,
            inverse_depth=inverse_depth,
            relative=frame.averaged,
            steady_covariance=covariance,
            log_sigma=frame.prediction.log_sigma,
            caution=caution,
        )
