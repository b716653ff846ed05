"""depthnet_node: camera images in, depth out. A lifecycle node that brings itself up unless told not to."""

from __future__ import annotations

import time
import traceback
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import SetBool

from depthnet_ros.errors import DepthNetError
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.metric_scale.config import MetricScaleConfig
from depthnet_ros.models.spec import OutputKind
from depthnet_ros.parameters import PARAMETERS, check_together, shared_mounting
from depthnet_ros.ros import diagnostics
from depthnet_ros.ros.camera_channel import CameraChannel
from depthnet_ros.ros.camera_input import CameraFrame
from depthnet_ros.ros.diagnostics import DiagnosticsPublisher, Finding
from depthnet_ros.ros.frame_statistics import FrameCount
from depthnet_ros.ros.node_parameters import NodeParameters
from depthnet_ros.ros.rclpy_private import answer_every_transition
from depthnet_ros.ros.transforms import TransformLookup, tf_lookup
from depthnet_ros.ros.worker import DepthWorker
from depthnet_ros.settings import from_parameters

NODE_NAME = "depthnet_node"
_WATCH_PERIOD_S = 0.5
_LOG_PERIOD_S = 5.0
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class DepthNode(LifecycleNode):
    """Configure loads the network and makes publishers; activate subscribes and starts the worker."""

    def __init__(self) -> None:
        super().__init__(NODE_NAME)
        self.parameters = NodeParameters(self, PARAMETERS, self._on_parameters, check_together)
        self.enabled = True
        self._estimator: DepthEstimator | None = None
        self._worker: DepthWorker | None = None
        self._transforms: TransformLookup | None = None
        self._channels: dict[str, CameraChannel] = {}
        self._problem = ""
        self._diagnostics = DiagnosticsPublisher(self)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # goes on while simulated time stands still
        self.create_timer(self.parameters["diagnostics_period_s"], self._publish_diagnostics, clock=steady)
        self.create_timer(_WATCH_PERIOD_S, self._watch, clock=steady)
        self.create_service(SetBool, "~/enable", self._enable)
        answer_every_transition(self)
        back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False)
        self._jump_handle = self.get_clock().create_jump_callback(back, post_callback=lambda _: self._time_jumped())

    # -- lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network and put the outputs on the graph."""
        values = self.parameters
        started = time.monotonic()
        try:
            self._estimator = DepthEstimator.from_weights(
                values["weights"], values["backend"], values["device"], values["precision"], values["threads"]
            )
            is_metric = self._estimator.spec.output_kind is OutputKind.METRIC_DEPTH
            for name in values["cameras"]:
                self._channels[name] = CameraChannel(self, name, values, is_metric)
        except Exception as error:  # rclpy would swallow it without a word
            return self._failed("configure", error)
        self._problem = ""
        if shared := shared_mounting(values):
            self.get_logger().warning(shared)
        backend = self._estimator.backend
        self.get_logger().info(
            f"{self._estimator.name} on {backend.device} by {backend.name} in {backend.precision}, "
            f"ready after {time.monotonic() - started:.1f} s"
        )
        if not any(channel.metric.possible for channel in self._channels.values()):
            self.get_logger().info("scale.mode is none: relative depth only, no depth/image_rect, points or scan")
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start the worker."""
        assert self._estimator is not None
        try:
            worker = DepthWorker(self._estimator, self._channels, self.parameters, self.get_logger())
            self._transforms = tf_lookup(self, from_parameters(MetricScaleConfig, "scale.", self.parameters))
            for name, channel in self._channels.items():
                topic = channel.start_input(partial(self._on_frame, name), self._transforms)
                self.get_logger().info(f"waiting for images on {topic}")
        except Exception as error:
            self._stop_inputs()
            return self._failed("activate", error)
        self._problem = ""
        self._worker = worker
        worker.start()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop receiving, let the worker finish its frame. A network that hangs is given up, and loaded anew."""
        self._stop_inputs()
        ended = self._worker is None or self._worker.stop()
        self._worker = None
        for channel in self._channels.values():
            channel.deactivated()
        done = super().on_deactivate(state)
        if ended:
            return done
        self.get_logger().error(
            "the current frame does not finish: it is abandoned with its network; configure the node again"
        )
        self._estimator = None  # the worker's thread is still in it, so it must be neither closed nor used
        return TransitionCallbackReturn.ERROR

    def _stop_inputs(self) -> None:
        for channel in self._channels.values():
            channel.stop_input()
        if self._transforms is not None:
            self._transforms.destroy()
            self._transforms = None

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the network and take the outputs off the graph."""
        self._release()
        self._problem = ""
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Whatever the state: stop and free everything."""
        self.on_deactivate(state)
        self._release()
        return SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured, so that a manager can try again."""
        self.get_logger().error(f"a transition from {state.label} failed; the node is unconfigured again")
        return self.on_shutdown(state)

    def _failed(self, transition: str, error: Exception) -> TransitionCallbackReturn:
        """Say why, in the log and in diagnostics, and leave the node as it was."""
        self._problem = str(error) if isinstance(error, DepthNetError) else f"{type(error).__name__}: {error}"
        if not isinstance(error, DepthNetError):
            self.get_logger().error("".join(traceback.format_exception(error)))
        self.get_logger().error(f"cannot {transition}: {self._problem}")
        if transition == "configure":
            self._release()
        return FAILURE

    def _release(self) -> None:
        for channel in self._channels.values():
            channel.destroy()
        self._channels = {}
        if self._estimator is not None:
            self._estimator.close()
            self._estimator = None

    # -- callbacks

    def _on_frame(self, name: str, frame: CameraFrame) -> None:
        channel, worker = self._channels[name], self._worker
        if worker is None or not channel.admit(frame):
            return
        if not self.enabled:
            channel.statistics.count(FrameCount.DROPPED_DISABLED)
            return
        if worker.put(name, frame):
            channel.statistics.count(FrameCount.DROPPED_OVERLOAD)

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self.enabled = bool(request.data)
        response.success = True
        response.message = "depth is enabled" if self.enabled else "depth is disabled: frames are dropped"
        return response

    def _on_parameters(self, changed: frozenset[str]) -> None:
        for channel in self._channels.values():
            channel.on_parameters(changed)
        self.get_logger().info("set " + ", ".join(f"{name} = {self.parameters[name]}" for name in sorted(changed)))

    def _time_jumped(self) -> None:
        self.get_logger().info("time jumped back: starting anew", throttle_duration_sec=_LOG_PERIOD_S)
        if self._worker is not None:
            self._worker.clear()
        for channel in self._channels.values():
            channel.reset()

    def _watch(self) -> None:
        if self._worker is not None:
            for channel in list(self._channels.values()):
                channel.watch()

    # -- diagnostics

    def _publish_diagnostics(self) -> None:
        findings = self._findings()
        statuses = [self._network_status(findings)]
        if self._worker is not None:
            statuses += [channel.status() for channel in list(self._channels.values())]
        self._diagnostics.publish(statuses)

    def _findings(self) -> list[Finding]:
        findings: list[Finding] = []
        if self._problem:
            findings.append((diagnostics.ERROR, self._problem))
        elif self._worker is None:
            findings.append((diagnostics.WARN, "not active (lifecycle)"))
        elif self._worker.latency_report:
            findings.append((diagnostics.WARN, self._worker.latency_report))
        if self.parameters["latency_limit_s"] > 0 and self._estimator is not None and not self._estimator.can_shrink:
            findings.append((diagnostics.WARN, "latency_limit_s has no effect: this network has one input size"))
        if not self.enabled:
            findings.append((diagnostics.WARN, "disabled by service"))
        me = (self.get_name(), self.get_namespace())
        if self.get_node_names_and_namespaces().count(me) > 1:
            findings.append(
                (diagnostics.WARN, f"several nodes are named {self.get_fully_qualified_name()}: rename one")
            )
        return findings

    def _network_status(self, findings: list[Finding]) -> DiagnosticStatus:
        values: dict[str, Any] = {"enabled": self.enabled}
        hardware = ""
        if self._estimator is not None:
            backend, spec = self._estimator.backend, self._estimator.spec
            hardware = backend.device
            values |= {
                "weights": self._estimator.name,
                "architecture": spec.architecture,
                "output_kind": spec.output_kind.value,
                "backend": backend.name,
                "device": backend.device,
                "precision": backend.precision,
                "choice": backend.choice_reason.describe(),
            }
        level, message = diagnostics.worst(findings, "running")
        return diagnostics.status(f"{self.get_fully_qualified_name()}: network", level, message, values, hardware)


if __name__ == "__main__":
    from depthnet_ros.ros.run import depthnet_node

    depthnet_node()
