"""camera_replay: publishes a source of pictures as a camera driver would."""

from __future__ import annotations

import itertools
import math
import threading
import time
import traceback
from array import array

import cv2
import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos_overriding_options import QoSOverridingOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Range
from std_msgs.msg import Header

from depthnet_ros.errors import ConfigError, DepthNetError, ImageError
from depthnet_ros.geometry.calibration import read_calibration
from depthnet_ros.imaging import picture_size
from depthnet_ros.ros.conversions import image_message, info_from_calibration
from depthnet_ros.ros.node_parameters import NodeParameters
from depthnet_ros.ros.qos import reliable
from depthnet_ros.sources import SourceFrame, open_source
from depthnet_ros.sources.parameters import REPLAY_PARAMETERS, source_options
from depthnet_ros.sources.scene import RenderedScene

NODE_NAME = "camera_replay"
SIMULATED_START_S = 1000.0  # not zero, which stands for "no stamp"
_CLOCK_PERIOD_S = 0.01
_POLL_S = 0.05
_TELL_PERIOD_S = 5.0
_LATE_S = 0.5  # further behind than this, time goes on from here instead of hurrying after it
_USUAL_RATE_HZ = 30.0
_JPEG_QUALITY = 90
_COST_FADES = 0.95  # of the cost of the dearest picture of late, what one picture leaves
_COST_MARGIN = 1.5  # times that cost, before it is due, a picture is asked for
_FROM_RGB = {
    "bgr8": cv2.COLOR_RGB2BGR,
    "rgba8": cv2.COLOR_RGB2RGBA,
    "bgra8": cv2.COLOR_RGB2BGRA,
    "mono8": cv2.COLOR_RGB2GRAY,
}


class CameraReplay(Node):
    """Publishes from a thread of its own; what has no subscriber is not converted.

    Raises:
        ConfigError: a parameter or the source cannot be used.
    """

    def __init__(self) -> None:
        super().__init__(NODE_NAME)
        self.parameters = NodeParameters(self, REPLAY_PARAMETERS)
        self.exit_status = 0
        """1 once the source has failed."""
        try:
            self._source = open_source(self.parameters["input"], source_options(self.parameters))
            path = self.parameters["camera_info_file"]
            self._calibration = read_calibration(path) if path else None
        except DepthNetError as error:
            raise ConfigError(str(error)) from error
        self._image = self._publisher(Image, "image")
        self._compressed = self._publisher(CompressedImage, "image/compressed")
        self._info: Publisher | None = self._publisher(CameraInfo, "camera_info")
        self._withdrawn: Publisher | None = None
        self._withdrawal = self.create_guard_condition(self._withdraw)
        rendered = isinstance(self._source, RenderedScene)
        self._truth = self._publisher(Image, "ground_truth/depth") if rendered else None
        self._sonar = self._publisher(Range, "sonar") if rendered else None
        self._time_publisher = self._publisher(Clock, "/clock") if self.parameters["publish_clock"] else None
        self._told: set[str] = set()
        self._told_of_calibration = False
        self._left_out = self._left_out_reported = 0
        self._left_out_reported_s = -math.inf
        self._stop = threading.Event()
        self.get_logger().info(f"replaying {self._source.description}")
        self._thread = threading.Thread(target=self._run, name="replay", daemon=True)
        self._thread.start()

    def _publisher(self, kind: type, topic: str) -> Publisher:
        options = QoSOverridingOptions.with_default_policies()
        return self.create_publisher(kind, topic, reliable(5), qos_overriding_options=options)

    def _withdraw(self) -> None:
        """In the executor's thread, which fails over a publisher that is destroyed while it waits for its events."""
        if self._withdrawn is not None:
            self.destroy_publisher(self._withdrawn)
        self._withdrawn = None

    def destroy_node(self) -> None:
        """Stop publishing, then leave the graph."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join(1.0)
        if not self._thread.is_alive() or self._thread is threading.current_thread():
            self._source.close()  # else it is still reading, a camera that gives nothing say, and is left to the end
        super().destroy_node()

    # -- the replay's own thread

    def _run(self) -> None:
        try:
            self._wait_for_start()
            again = True
            while again and not self._stop.is_set():
                if self._play_once() == 0 and not self._stop.is_set():
                    why = f" ({'; '.join(self._source.losses)})" if self._source.losses else ""
                    raise ImageError(f"{self._source.description}: no picture could be read{why}")
                if not self._stop.is_set():
                    self._tell_losses()
                again = self.parameters["loop"] and not self._source.live
            if not self._stop.is_set():
                if self._left_out > self._left_out_reported:
                    self.get_logger().warning(f"left out {self._left_out} pictures in all")
                self.get_logger().info("end of the source")
                self._flush()
        except DepthNetError as error:
            self.exit_status = 1
            self.get_logger().fatal(str(error))
        except Exception:  # the context is torn down under a publishing thread when the process ends
            if not self._stop.is_set() and rclpy.ok():
                self.exit_status = 1
                self.get_logger().fatal(traceback.format_exc())
        rclpy.try_shutdown()

    def _wait_for_start(self) -> None:
        self._stop.wait(self.parameters["start_delay_s"])
        while self.parameters["wait_for_subscriber"] and not self._stop.is_set():
            if self._image.get_subscription_count() + self._compressed.get_subscription_count() > 0:
                return
            self._stop.wait(_POLL_S)

    def _play_once(self) -> int:
        """From the first picture to the last; returns how many could be read."""
        rate, start = self.parameters["rate_hz"], time.monotonic()
        rendered = isinstance(self._source, RenderedScene)
        own_rate = self._source.rate_hz if rendered else None
        frames, demand = iter(self._source), _Demand(rate or own_rate or 0.0)
        count, last_s, period_s = 0, 0.0, 1.0 / (rate or self._source.rate_hz or _USUAL_RATE_HZ)
        for index in itertools.count():
            if not self._source.live and (due_s := demand.due_s(index)) is not None:
                self._sleep_until(start, due_s)
            asked_s = time.monotonic()
            frame = next(frames, None)
            if frame is None or self._stop.is_set():
                break
            demand.answered(time.monotonic() - asked_s)
            stamp_s = index / rate if rate else frame.stamp_s
            if not self._source.live:
                start = self._wait_until(start, stamp_s)
            if self._stop.is_set():
                break
            if stamp_s > last_s:
                last_s, period_s = stamp_s, stamp_s - last_s
            try:
                self._publish(frame, stamp_s)
                count += 1
            except ImageError as error:
                self._report_left_out(error)
        if count and not self._source.live:
            self._sleep_until(start, last_s + period_s)  # the last picture has its time, too, before a loop begins anew
        return count

    def _tell_losses(self) -> None:
        """Once, however often the source is played."""
        for text in (*self._source.losses, *self._source.notes):
            if text not in self._told:
                self.get_logger().warning(text)
                self._told.add(text)

    def _report_left_out(self, error: ImageError) -> None:
        """At once, then every few seconds with how many there were: a camera may give thirty bad pictures a second."""
        self._left_out += 1
        if time.monotonic() - self._left_out_reported_s < _TELL_PERIOD_S:
            return
        so_far = f" ({self._left_out} pictures so far)" if self._left_out > 1 else ""
        self.get_logger().warning(f"left out: {error}{so_far}")
        self._left_out_reported, self._left_out_reported_s = self._left_out, time.monotonic()

    def _wait_until(self, start: float, stamp_s: float) -> float:
        """Sleep until a source time; returns the monotonic time of the source's start, moved if we are late."""
        late = time.monotonic() - start - stamp_s
        if late > _LATE_S:
            return start + late
        self._sleep_until(start, stamp_s)
        return start

    def _sleep_until(self, start: float, stamp_s: float) -> None:
        while not self._stop.is_set() and (left := start + stamp_s - time.monotonic()) > 0:
            if self._time_publisher is None:
                self._stop.wait(left)
            else:
                self._time_publisher.publish(Clock(clock=_simulated(stamp_s - left)))
                self._stop.wait(min(left, _CLOCK_PERIOD_S))

    def _publish(self, frame: SourceFrame, stamp_s: float) -> None:
        rgb: NDArray[np.uint8] | None = None
        if self._image.get_subscription_count() > 0 or frame.encoded is None or frame.encoded[:2] != b"\xff\xd8":
            rgb = frame.rgb()
        stamp = _simulated(stamp_s) if self._time_publisher is not None else self.get_clock().now().to_msg()
        header = Header(stamp=stamp, frame_id=self.parameters["frame_id"])
        if self._time_publisher is not None:
            self._time_publisher.publish(Clock(clock=stamp))
        if not self._told_of_calibration:
            self._told_of_calibration = True
            self._tell_of_calibration(frame, rgb)
        self._publish_info(frame, header)
        if rgb is not None and self._image.get_subscription_count() > 0:
            encoding = self.parameters["encoding"]
            pixels = rgb if encoding == "rgb8" else np.asarray(cv2.cvtColor(rgb, _FROM_RGB[encoding]))
            self._image.publish(image_message(pixels, encoding, header))
        if self._compressed.get_subscription_count() > 0:
            self._compressed.publish(_compressed_message(frame, rgb, header))
        if self._truth is not None and frame.depth_m is not None and self._truth.get_subscription_count() > 0:
            self._truth.publish(image_message(frame.depth_m, "32FC1", header))
        if self._sonar is not None and frame.sonar_range_m is not None:
            self._sonar.publish(self._range_message(frame.sonar_range_m, stamp))

    def _tell_of_calibration(self, frame: SourceFrame, rgb: NDArray[np.uint8] | None) -> None:
        """What is wrong with that of the first picture; ``rgb`` where it has been decoded."""
        calibration = self._calibration or frame.calibration
        if calibration is None:
            self.get_logger().warning(
                "no calibration, so no camera_info and no point clouds: set camera_info_file or horizontal_fov_deg"
            )
            return
        size = picture_size(frame.encoded or b"") if rgb is None else (rgb.shape[1], rgb.shape[0])
        if size is not None and size != (calibration.width_px, calibration.height_px):
            self.get_logger().warning(
                f"the calibration is of {calibration.width_px}x{calibration.height_px} pixels, the pictures have "
                f"{size[0]}x{size[1]}, so who takes both refuses them: is it of the same camera and mode?"
            )

    def _publish_info(self, frame: SourceFrame, header: Header) -> None:
        calibration = self._calibration or frame.calibration
        if calibration is None:
            # Who pairs images with camera_info waits for it, frame by frame, as long as somebody offers it.
            if self._info is not None:
                self._withdrawn, self._info = self._info, None
                self._withdrawal.trigger()
            return
        # From the start where there may be a calibration: the first ones would go out before anybody has found it.
        self._info = self._info or self._publisher(CameraInfo, "camera_info")
        self._info.publish(info_from_calibration(calibration, header))

    def _range_message(self, range_m: float, stamp: Time) -> Range:
        assert isinstance(self._source, RenderedScene)
        sonar = self._source.renderer.sonar
        return Range(
            header=Header(stamp=stamp, frame_id=self.parameters["sonar_frame_id"]),
            radiation_type=Range.ULTRASOUND,
            field_of_view=sonar.field_of_view_rad,
            min_range=sonar.min_range_m,
            max_range=sonar.max_range_m,
            range=range_m,
        )

    def _flush(self) -> None:
        for publisher in filter(None, (self._image, self._compressed, self._info)):
            publisher.wait_for_all_acked(Duration(seconds=1))


class _Demand:
    """When to ask the source for its next picture: as late as can be. What makes it, a renderer say, would else take
    the processor from the nodes that work on the one before; a camera takes none.

    Only where the time of each picture is known before: a recording is asked at once.
    """

    def __init__(self, rate_hz: float) -> None:
        """``rate_hz``: of the pictures; 0: not known."""
        self._rate_hz = rate_hz
        self._cost_s = 0.0

    def due_s(self, index: int) -> float | None:
        """Time of the source at which to ask for this picture; None: at once."""
        return index / self._rate_hz - _COST_MARGIN * self._cost_s if self._rate_hz else None

    def answered(self, took_s: float) -> None:
        """The source gave a picture."""
        self._cost_s = max(took_s, _COST_FADES * self._cost_s)


def _simulated(stamp_s: float) -> Time:
    seconds, nanoseconds = divmod(round((SIMULATED_START_S + stamp_s) * 1e9), 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)


def _compressed_message(frame: SourceFrame, rgb: NDArray[np.uint8] | None, header: Header) -> CompressedImage:
    """The picture as it was stored if that was JPEG or PNG, else as JPEG."""
    data = frame.encoded or b""
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    if kind == "jpeg" and not data.startswith(b"\xff\xd8"):  # of another kind, whatever its file is called
        bgr = cv2.cvtColor(frame.rgb() if rgb is None else rgb, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes()
    return CompressedImage(header=header, format=f"rgb8; {kind} compressed bgr8", data=array("B", data))
