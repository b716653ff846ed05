"""One camera in the node, and the worker behind several: which frames have a turn, and whose fault is whose."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import Image

from depthnet_ros.errors import ImageError
from depthnet_ros.parameters import PARAMETERS
from depthnet_ros.ros.camera_channel import CameraChannel
from depthnet_ros.ros.camera_input import CameraFrame
from depthnet_ros.ros.conversions import image_message, info_from_camera
from depthnet_ros.ros.worker import DepthWorker
from test.inference.test_estimator import COVERED, PICTURE, estimator

from .graph import CAMERA, Graph, picture, wait_until

DEFAULTS = {one.name: one.default for one in PARAMETERS}


def channel_of(node: LifecycleNode, prefix: str = "", **settings: Any) -> CameraChannel:
    return CameraChannel(node, prefix, DEFAULTS | settings, False)


def frame(graph: Graph, rgb: np.ndarray, info: Any = None, encoding: str = "rgb8") -> CameraFrame:
    message = image_message(rgb, "rgb8", graph.header())
    message.encoding = encoding
    return CameraFrame(message, info, time.time_ns(), time.monotonic())


def admitted(channel: CameraChannel, received_s: np.ndarray) -> int:
    return sum(channel.admit(CameraFrame(Image(), None, round(1e9 * one), float(one))) for one in received_s)


def test_a_camera_at_the_rate_that_is_allowed_loses_no_frame_to_its_jitter(node: LifecycleNode) -> None:
    times = 1000.0 + np.arange(300) / 30.0 + 0.0015 * (-1.0) ** np.arange(300)
    assert admitted(channel_of(node, max_rate_hz=30.0), times) == 300


def test_a_gap_gives_no_credit(node: LifecycleNode) -> None:
    channel, second = channel_of(node, max_rate_hz=10.0), np.arange(100) / 100.0
    assert admitted(channel, 1000.0 + second) == pytest.approx(10, abs=2)
    assert admitted(channel, 1010.0 + second) == pytest.approx(10, abs=2)


def test_a_rate_that_is_raised_holds_at_once(node: LifecycleNode) -> None:
    parameters, second = DEFAULTS | {"max_rate_hz": 0.01}, np.arange(100) / 100.0
    channel = CameraChannel(node, "", parameters, False)
    assert admitted(channel, 1000.0 + second) == 1
    parameters["max_rate_hz"] = 10.0
    assert admitted(channel, 1001.0 + second) == pytest.approx(10, abs=2)


@pytest.mark.parametrize(
    ("stamps_s", "backwards", "jumps"),
    [
        pytest.param((100.0, 0.0, 100.1), 0, 0, id="a stamp of zero is none"),
        pytest.param((100.0, 99.5, 99.6), 1, 0, id="a little out of order"),
        pytest.param((100.0, 50.0, 50.1), 1, 1, id="a recording that starts anew"),
    ],
)
def test_scale_begins_anew_where_stamps_run_far_back(
    node: LifecycleNode, stamps_s: tuple[float, ...], backwards: int, jumps: int
) -> None:
    channel = channel_of(node)
    for number, stamp_s in enumerate(stamps_s):
        assert channel.admit(CameraFrame(Image(), None, round(1e9 * stamp_s), float(number)))
    counts = channel.statistics.counts()
    assert (counts.get("stamp_backwards", 0), counts.get("time_jumps", 0)) == (backwards, jumps)
    assert channel.metric._reset_wanted == bool(jumps)


@pytest.mark.parametrize(
    ("told", "jumps"),
    [
        pytest.param(("clock", "stamps"), 1, id="an image of before came after the clock's jump"),
        pytest.param(("stamps", "clock"), 1, id="an image came before the clock's jump"),
        pytest.param(("clock", "later", "stamps"), 2, id="not at the same time"),
        pytest.param(("stamps", "stamps", "clock", "stamps"), 3, id="two drivers on one topic"),
        pytest.param(("clock", "stamps", "clock", "stamps"), 2, id="two clocks"),
    ],
)
def test_a_jump_that_clock_and_stamps_tell_of_is_one(node: LifecycleNode, told: tuple[str, ...], jumps: int) -> None:
    channel, now_s = channel_of(node), time.monotonic()
    for what in told:
        if what == "clock":
            channel.reset()
        elif what == "later":
            now_s += 10.0
        else:
            for stamp_s in (108.0, 100.0):
                assert channel.admit(CameraFrame(Image(), None, round(1e9 * stamp_s), now_s))
    assert channel.statistics.counts()["time_jumps"] == jumps


def test_what_came_before_the_clock_jumped_back_says_nothing_of_clocks(graph: Graph, node: LifecycleNode) -> None:
    """It is in work at that moment, and left, or comes just after, as its topic is another than the clock's."""
    cameras = Cameras(graph, node, "front")
    of_before = frame(graph, PICTURE)
    ahead = replace(of_before, stamp_ns=of_before.stamp_ns + 3600 * 10**9)
    channel = cameras.channels["front"]
    channel.reset()
    cameras.worker.process({"front": ahead})
    assert channel.statistics.counts()["dropped_reset"] == 1 and "published" not in channel.statistics.counts()
    cameras.worker.process({"front": replace(ahead, received_s=time.monotonic())})
    assert channel.statistics.counts()["published"] == 1 and "stamp_ahead" not in channel.statistics.counts()
    cameras.worker.process({"front": replace(ahead, received_s=ahead.received_s + 10.0)})
    assert channel.statistics.counts()["stamp_ahead"] == 1


def test_only_what_has_a_stamp_can_be_too_old(node: LifecycleNode) -> None:
    parameters, now_ns = dict(DEFAULTS), time.time_ns()
    channel = CameraChannel(node, "", parameters, False)
    for stamp_ns, max_age_s, old in (
        (0, 1.0, False), (now_ns - 2 * 10**9, 1.0, True), (now_ns - 2 * 10**9, 5.0, False),
        (now_ns - 2 * 10**9, 0.0, False),
    ):  # fmt: skip
        parameters["max_age_s"] = max_age_s
        assert channel.too_old(CameraFrame(Image(), None, stamp_ns, 0.0)) == old


def test_a_picture_that_must_be_rectified_and_cannot_be_is_no_picture(graph: Graph, node: LifecycleNode) -> None:
    raw = channel_of(node, "raw", rectify=True)
    with pytest.raises(ImageError, match="rectify is set but"):
        raw.prepare(frame(graph, picture()), frozenset())
    bent = info_from_camera(CAMERA, graph.header())
    bent.d = [0.3, 0.0, 0.0, 0.0, 0.0]
    ready = raw.prepare(frame(graph, picture(), bent), frozenset())
    assert ready.valid_mask is not None and 0.5 < ready.valid_mask.mean() < 0.99
    assert min(ready.stage_s.values()) >= 0.0
    bent.d = []
    assert channel_of(node, "rect").prepare(frame(graph, picture(), bent), frozenset()).valid_mask is None


def test_where_a_rectified_picture_is_black_there_is_no_depth(graph: Graph, tiny_weights) -> None:
    fixed = {"scale.mode": "fixed", "scale.fixed_scale": 0.05, "scale.fixed_shift": 0.3}
    depth, relative = graph.listen("/depth/image_rect", Image), graph.listen("/inverse_depth/image", Image)
    graph.start({"weights": str(tiny_weights), "rectify": True, **fixed})
    sent = info_from_camera(CAMERA, graph.header())
    sent.d = [0.3, 0.0, 0.0, 0.0, 0.0]

    def step() -> bool:
        sent.header = graph.send_image(camera=None)
        graph.publisher("/camera_info", type(sent)).publish(sent)
        time.sleep(0.05)
        return bool(depth and relative)

    wait_until(step, 30.0)
    for message in (depth[-1], relative[-1]):
        values = np.frombuffer(message.data, "<f4").reshape(120, 160)
        assert np.isnan(values[[0, 0, -1, -1], [0, -1, 0, -1]]).all() and np.isfinite(values[40:80, 50:110]).all()


class Cameras:
    """Channels that somebody listens to, and a worker whose thread does not run: its batches are given by hand."""

    def __init__(self, graph: Graph, node: LifecycleNode, *names: str) -> None:
        self.estimator, self.parameters = estimator(), dict(DEFAULTS)
        self.channels = {name: CameraChannel(node, name, self.parameters, False) for name in names}
        for name, channel in self.channels.items():
            graph.listen(f"/{name}/inverse_depth/image", Image)
            wait_until(lambda channel=channel: bool(channel.wanted()))
        self.worker = DepthWorker(self.estimator, self.channels, self.parameters, node.get_logger())

    def counts(self) -> list[dict[str, int]]:
        kinds = ("processed", "bad_image", "backend_error", "internal_error")
        counted = [channel.statistics.counts() for channel in self.channels.values()]
        return [{kind: one[kind] for kind in kinds if kind in one} for one in counted]


def test_what_is_wrong_with_one_camera_leaves_the_others_their_depth(graph: Graph, node: LifecycleNode) -> None:
    cameras = Cameras(graph, node, "broken", "covered", "good")
    cameras.worker.process(
        {
            "broken": frame(graph, PICTURE, encoding="jpeg2000"),
            "covered": frame(graph, COVERED),
            "good": frame(graph, PICTURE),
        }
    )
    assert cameras.counts() == [{"bad_image": 1}, {"backend_error": 1}, {"processed": 1}]


def test_frames_that_wait_when_time_jumps_are_counted(graph: Graph, node: LifecycleNode) -> None:
    cameras = Cameras(graph, node, "left", "right")
    cameras.worker.put("left", frame(graph, PICTURE))
    cameras.worker.clear()
    assert [channel.statistics.counts().get("dropped_reset", 0) for channel in cameras.channels.values()] == [1, 0]


def waited(one: CameraFrame) -> CameraFrame:
    """As of a frame that came ten seconds ago."""
    return replace(one, received_s=one.received_s - 10.0)


def input_pixels(cameras: Cameras) -> int:
    return int(cameras.estimator.infer(PICTURE).inverse_depth.size)


def test_the_whole_input_is_back_when_the_contract_is_lifted_and_when_work_begins_anew(
    graph: Graph, node: LifecycleNode
) -> None:
    cameras = Cameras(graph, node, "front")
    whole, worker = input_pixels(cameras), cameras.worker
    cameras.parameters["latency_limit_s"] = 1.0
    for _ in range(70):  # two steps down
        worker.process({"front": waited(frame(graph, PICTURE))})
    assert input_pixels(cameras) < whole and "over the limit" in worker.latency_report
    cameras.parameters["latency_limit_s"] = 0.0
    worker.process({"front": waited(frame(graph, PICTURE))})
    assert input_pixels(cameras) == whole and not worker.latency_report
    cameras.estimator.set_input_area(0.35)
    worker.start()
    assert worker.stop() and input_pixels(cameras) == whole


def test_smaller_inputs_are_tried_for_all_cameras_though_one_has_spoken(graph: Graph, node: LifecycleNode) -> None:
    cameras = Cameras(graph, node, "left", "right", "rear")
    cameras.parameters["latency_limit_s"] = 1.0
    seen: set[int] = set()
    infer = cameras.estimator.backend.infer
    cameras.estimator.backend.infer = lambda batch: seen.add(len(batch)) or infer(batch)
    whole = input_pixels(cameras)
    cameras.worker.process({"left": frame(graph, PICTURE)})
    assert seen == {1, 3} and input_pixels(cameras) == whole


def test_the_contract_is_of_the_frame_that_waited_longest(graph: Graph, node: LifecycleNode) -> None:
    cameras = Cameras(graph, node, "left", "right")
    cameras.parameters["latency_limit_s"] = 1.0
    whole = input_pixels(cameras)
    for _ in range(70):  # two steps down
        cameras.worker.process({"left": frame(graph, PICTURE), "right": waited(frame(graph, PICTURE))})
    assert input_pixels(cameras) < whole
