"""Metric scale of one camera in the node: sensors in, planners' topics out, state told."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode

from depthnet_ros.inference.postprocess import DepthPrediction
from depthnet_ros.messages.anchors import SensorNames
from depthnet_ros.metric_scale import MetricDepth, MetricScaleConfig, MetricScaler, ScaleMode, ScaleState
from depthnet_ros.metric_scale.answer import without_metres
from depthnet_ros.navigation.config import NavigationConfig
from depthnet_ros.ros import diagnostics
from depthnet_ros.ros.camera_input import prefixed
from depthnet_ros.ros.camera_outputs import RELATIVE_TOPICS
from depthnet_ros.ros.diagnostics import Finding
from depthnet_ros.ros.frame_result import FrameResult
from depthnet_ros.ros.navigation_outputs import NavigationOutputs
from depthnet_ros.ros.prepared_frame import PreparedFrame
from depthnet_ros.ros.qos import latched
from depthnet_ros.ros.scale_inputs import ScaleInputs
from depthnet_ros.ros.transforms import TransformLookup
from depthnet_ros.settings import from_parameters

_STATE, _STATE_PERIOD_S = "scale/state", 0.5
_SILENCE_S = 2.0  # slower cameras than this exist; with them the state tells so
_OF_OUTPUT_ONLY = {
    f"scale.{name}" for name in ("min_depth_m", "max_depth_m", "publish_states", "edge_sigma", "confidence_tolerance")
}
_KNOWN = (ScaleState.CALIBRATED, ScaleState.DEGRADED)
_LEVELS = {ScaleState.CALIBRATED: diagnostics.OK, ScaleState.STALE: diagnostics.ERROR}


def _level(metric: MetricDepth) -> bytes:
    """What the state is to an aggregator of diagnostics, in ``scale/state`` and ``/diagnostics`` alike."""
    if metric.state is ScaleState.CALIBRATED and not metric.published:  # of a picture that shows nothing
        return diagnostics.WARN
    return _LEVELS.get(metric.state, diagnostics.WARN)


class MetricChannel:
    """One camera's :class:`MetricScaler` and what belongs to it on the graph."""

    def __init__(
        self,
        node: LifecycleNode,
        prefix: str,
        parameters: Mapping[str, Any],
        network_is_metric: bool,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """``parameters``: the node's, as they are at any time. ``now_s``: the clock by which a camera is silent."""
        self._node, self._prefix, self._network_is_metric = node, prefix, network_is_metric
        self._parameters, self._now_s = parameters, now_s
        self._config = from_parameters(MetricScaleConfig, "scale.", parameters)
        self._navigation = from_parameters(NavigationConfig, "nav.", parameters)
        self._scaler = MetricScaler(self._config)
        self.outputs = NavigationOutputs(node, prefix, several=len(parameters["cameras"]) > 1)
        self._state = node.create_lifecycle_publisher(DiagnosticStatus, prefixed(prefix, _STATE), latched())
        self._sensor_names = SensorNames()  # as long as the scaler, which knows the sensors by them
        self.inputs: ScaleInputs | None = None
        """What the sensors say; None while nobody listens to them."""
        self._last: MetricDepth | None = None
        self._reported: tuple[ScaleState | None, float] = (None, -math.inf)
        self._updated_s = -math.inf
        self._lock = threading.Lock()  # the worker tells of frames, the timer of diagnostics that there are none
        self._reset_wanted = self._sensors_are_new = False
        self._rest = ""

    def start(
        self, transforms: TransformLookup | None, rectified: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    ) -> None:
        """Listen to the sensors, placed by TF where that is given. ``rectified``: (h, w) depth of the raw image's view
        to that of the image as it is used.
        """
        names = self._sensor_names
        self.inputs = ScaleInputs(self._node, self._prefix, self._config, transforms, rectified, names)
        self._sensors_are_new = True
        with self._lock:  # what was said before is over
            self._last, self._reported = None, (None, -math.inf)

    def stop(self) -> None:
        """Listen no more."""
        if self.inputs is not None:
            self.inputs.destroy()
            self.inputs = None

    def on_parameters(self, changed: frozenset[str]) -> None:
        """Take over changed parameters; when those of the estimate change, scale is learnt anew."""
        if any(name.startswith("nav.") for name in changed):
            self._navigation = from_parameters(NavigationConfig, "nav.", self._parameters)
        scale = {name for name in changed if name.startswith("scale.")}
        if not scale:
            return
        self._config = from_parameters(MetricScaleConfig, "scale.", self._parameters)
        if (inputs := self.inputs) is not None:
            inputs.configure(self._config)
        if scale <= _OF_OUTPUT_ONLY:
            self._scaler.config = self._config
        else:
            self._scaler = MetricScaler(self._config, self._scaler.camera)

    def reset(self) -> None:
        """Time jumped. Done by the worker before its next frame, which may be under way."""
        self._reset_wanted = True
        if (inputs := self.inputs) is not None:
            inputs.forget()

    def wanted(self) -> frozenset[str]:
        """Names of the outputs of metric scale that somebody subscribes to."""
        wanted = self.outputs.publishers.wanted()
        return wanted | {_STATE} if self._state.get_subscription_count() > 0 else wanted

    @property
    def waited_s(self) -> float:
        """How long the last frame waited for TF: no smaller network would have made it shorter."""
        return 0.0 if (inputs := self.inputs) is None else inputs.waited_s

    @property
    def possible(self) -> bool:
        """Metres can come of this configuration at all; if not, nothing is computed for who waits for them."""
        return self._config.scale_mode is not ScaleMode.NONE or self._network_is_metric

    def update(self, prepared: PreparedFrame, prediction: DepthPrediction) -> MetricDepth:
        """Scale one frame; the answer's ``published`` says whether metres may go out."""
        scaler, inputs, frame = self._scaler, self.inputs, prepared.frame
        if self._reset_wanted:
            self._reset_wanted = False
            scaler.reset()
        if self._sensors_are_new:
            self._sensors_are_new = False
            scaler.forget_sensors()
        if prepared.camera is None:
            metric = self._without_camera()
        else:
            scaler.set_camera(prepared.camera)
            if inputs is not None:
                header = frame.message.header
                may_wait = bool(prepared.wanted - RELATIVE_TOPICS.keys())  # for metres, not for a preview
                inputs.look_through(scaler, prepared.camera, header.frame_id, header.stamp, may_wait)
            metric = scaler.update(prediction, 1e-9 * frame.stamp_ns, prepared.rgb, prepared.valid_mask)
        with self._lock:
            self._last, self._updated_s = metric, self._now_s()
            self._report(metric)
        return metric

    def watch(self, at_rest_because: str = "", unusable_because: str = "") -> None:
        """Now and then: what was latched as known is so no longer when no image comes.

        ``at_rest_because``: why images are left alone on purpose, where they are; that is no fault.
        ``unusable_because``: what keeps those that come from being used.
        """
        limit_s = max(self._config.stale_after_s, _SILENCE_S)
        with self._lock:
            self._rest = at_rest_because
            if self._last is None:
                self._report(self._unseen(unusable_because))
            elif self._now_s() - self._updated_s > limit_s:
                silence = f"no image was used for more than {limit_s:g} s"
                self._withdraw(ScaleState.STALE, ": ".join(filter(None, (silence, at_rest_because))))

    def deactivated(self) -> None:
        """What was latched as known is so no longer: nobody looks at images any more."""
        with self._lock:
            self._rest = ""
            self._withdraw(ScaleState.UNCALIBRATED, "not active (lifecycle)")

    def _withdraw(self, state: ScaleState, message: str) -> None:
        if self._last is not None and self._last.state in _KNOWN:
            self._last = replace(self._last, state=state, published=False, message=message)
            self._report(self._last)

    def _without_camera(self) -> MetricDepth:
        """No metres for a picture of unknown intrinsics: the last ones may not hold, and nobody could use it."""
        return self._uncalibrated("no usable camera_info came with the image")

    def _unseen(self, why: str) -> MetricDepth:
        """Latched before the first frame is used, so that who joins late is not left to guess."""
        return self._uncalibrated(": ".join(filter(None, ("no image was used yet", why))))

    def _uncalibrated(self, message: str) -> MetricDepth:
        return without_metres(self._config, ScaleState.UNCALIBRATED, message)

    def publish(self, result: FrameResult, wanted: frozenset[str]) -> bool:
        """The planners' topics of one frame; whether any went out."""
        stride = self._parameters["points.stride"]
        needs_ground = self._config.ground_height_m > 0 or bool(self._config.ground_frame)
        return self.outputs.publish(result, wanted, self._navigation, stride, self._scaler.ground, needs_ground)

    def _report(self, metric: MetricDepth) -> None:
        """``scale/state``: at every change, and twice a second; late joiners get the last."""
        state, when = self._reported
        now = self._now_s()
        if metric.state is state and now - when < _STATE_PERIOD_S:
            return
        self._reported = metric.state, now
        name = f"{self._node.get_fully_qualified_name()}: {prefixed(self._prefix, 'scale')}"
        message = "; ".join(filter(None, (metric.message or metric.state.value, self._withheld())))
        if metric.state is not ScaleState.CALIBRATED:
            message = "; ".join((message, *self._sensor_problems()))  # why nothing more, or nothing usable, comes
        self._state.publish(diagnostics.status(name, _level(metric), message, self.values()))

    def _sensor_problems(self) -> list[str]:
        """One line for each sensor, and for the ground, whose last word could not be used."""
        problems = {} if (inputs := self.inputs) is None else inputs.problems.copy()
        return [f"{name if name == 'ground' else f'anchors/{name}'}: {text}" for name, text in problems.items()]

    def findings(self) -> list[Finding]:
        """Why metric topics are silent, and which sensors are in trouble, for diagnostics."""
        found: list[Finding] = []
        if not self.possible:
            return [(diagnostics.WARN, "metric topics are silent: scale.mode is none, set it to fixed or anchors")]
        if withheld := self._withheld():
            found.append((diagnostics.WARN, withheld))
        if self._last is not None and self._last.message:
            found.append((diagnostics.OK if self._rest else _level(self._last), self._last.message))
        if self._last is not None:
            said = self._last.message
            found += [(diagnostics.WARN, trouble) for trouble in self._last.troubles if trouble not in said]
        if self.inputs is not None:
            found += [(diagnostics.WARN, f"anchors/{source}: {note}") for source, note in self.inputs.notes()]
            found += [(diagnostics.WARN, problem) for problem in self._sensor_problems()]
        if self.outputs.note:
            found.append((diagnostics.WARN, self.outputs.note))
        return found

    def _withheld(self) -> str:
        """Whether metres are known and kept back by choice."""
        if self._last is None or self._last.state not in _KNOWN or self._config.publishes(self._last.state):
            return ""
        return f"metric topics are silent: {self._last.state.value} is not among scale.publish_states"

    def values(self) -> dict[str, Any]:
        """State of the scale, for diagnostics and ``scale/state``."""
        metric = self._last
        if metric is None:
            return {}
        values: dict[str, Any] = {
            "scale_state": metric.state.value,
            "metric_published": metric.published,
            "anchors": metric.anchor_count,
            "inliers": metric.inlier_count,
            "anchor_age_s": metric.age_s,
        }
        if (estimate := metric.estimate) is not None:
            values |= {
                "scale": estimate.scale,
                "shift": estimate.shift,
                "covariance": " ".join(f"{value:.6g}" for value in estimate.covariance.ravel()),
                "relative_sigma": estimate.relative_sigma,
                "network_sigma": estimate.network_sigma,
            }
        return values

    def destroy(self) -> None:
        """Take what is its own off the graph."""
        self.stop()
        self.outputs.publishers.destroy()
        self._node.destroy_lifecycle_publisher(self._state)
