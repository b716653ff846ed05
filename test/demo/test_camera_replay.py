"""camera_replay on a real graph: the node in its own process, the test's subscriptions in this one."""

from __future__ import annotations

import signal
import subprocess
import sys
from itertools import pairwise

import cv2
import numpy as np
import pytest
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Range

from depthnet_ros.bags.frame_sources import RgbdFrame
from depthnet_ros.bags.make import MakeOptions, make_bag
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.camera_info import camera_from_info
from depthnet_ros.imaging import compressed_to_rgb, to_rgb
from depthnet_ros.messages.stamps import stamp_ns
from depthnet_ros.middleware import PROFILE_VARIABLES
from depthnet_ros.simulation import Renderer, create_scene
from depthnet_ros.sources.scene import DEFAULT_FOV_RAD

from ..ros.graph import Graph, wait_until
from ..sources.test_files import CALIBRATION
from ..sources.test_video import write_video

SCENE = {"width": 64, "height": 48, "rate_hz": 30.0, "seed": 2}


def replay(graph: Graph, **parameters):
    return graph.start({"wait_for_subscriber": True, **parameters}, "camera_replay")


def write_pictures(folder, count=4, size=(24, 32)):
    for index in range(count):
        assert cv2.imwrite(str(folder / f"p{index}.png"), np.full((*size, 3), 10 * index, np.uint8))


def test_rendered_scene_is_a_camera_with_sonar_and_true_depth(graph: Graph):
    infos = graph.listen("/camera_info", CameraInfo)
    truths, sonars = graph.listen("/ground_truth/depth", Image), graph.listen("/sonar", Range)
    images = graph.listen("/image", Image)
    process = replay(graph, **SCENE)
    wait_until(lambda: len(images) > 5 and len(truths) > 5 and len(sonars) > 5, 60.0, lambda: process.output)
    status, seconds = process.stop()
    assert (status, seconds < 2.0) == (0, True), process.output

    by_stamp = {stamp_ns(message.header.stamp): message for message in images}
    paired = [(by_stamp[stamp], truth) for truth in truths if (stamp := stamp_ns(truth.header.stamp)) in by_stamp]
    assert paired
    camera = PinholeCamera.from_fov(64, 48, DEFAULT_FOV_RAD)
    assert camera_from_info(infos[-1], 64, 48) == camera
    assert {stamp_ns(info.header.stamp) for info in infos} >= set(by_stamp)
    renderer = Renderer(create_scene("room", 2), camera, seed=2)
    rendered = [renderer.frame(index / 30.0) for index in range(40)]
    image, truth = paired[0]
    match = [frame for frame in rendered if (frame.rgb == to_rgb(image)).all()]
    assert len(match) == 1, "the picture is one of the renderer's"
    np.testing.assert_array_equal(np.frombuffer(truth.data, "<f4").reshape(48, 64), match[0].depth_m)
    assert image.header.frame_id == truth.header.frame_id == "camera_optical_frame"
    assert sonars[0].radiation_type == Range.ULTRASOUND and sonars[0].header.frame_id == "sonar"
    assert sonars[0].field_of_view == pytest.approx(renderer.sonar.field_of_view_rad)


@pytest.mark.parametrize("encoding", ["bgra8", "mono8"])
def test_encodings(graph: Graph, encoding, tmp_path):
    picture = np.full((24, 32, 3), (10, 60, 200), np.uint8)  # BGR
    assert cv2.imwrite(str(tmp_path / "p.png"), picture)
    images = graph.listen("/image", Image)
    replay(graph, input=str(tmp_path), encoding=encoding)
    wait_until(lambda: len(images) > 0, 60.0)
    assert images[0].encoding == encoding
    expected = (200, 60, 10) if encoding != "mono8" else (cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[0, 0],) * 3
    np.testing.assert_array_equal(to_rgb(images[0])[3, 4], expected)


def test_a_folder_ends_without_loop_and_says_that_it_has_no_calibration(graph: Graph, tmp_path):
    write_pictures(tmp_path)
    (tmp_path / "p9.png").write_bytes(b"garbage")
    images, infos = graph.listen("/image", Image), graph.listen("/camera_info", CameraInfo)
    process = replay(graph, input=str(tmp_path), rate_hz=50.0, loop=False)
    assert process.process.wait(60.0) == 0, process.output
    wait_until(lambda: len(images) == 4, 60.0)
    assert [int(to_rgb(image)[0, 0, 0]) for image in images] == [0, 10, 20, 30]
    assert not infos
    assert "no calibration" in process.output
    assert "left out" in process.output and "p9.png" in process.output


@pytest.mark.parametrize(("size", "told"), [((24, 32), 0), ((24, 40), 1)])
def test_a_calibration_of_another_picture_size_is_told(graph: Graph, size, told, tmp_path):
    (tmp_path / "front.yaml").write_text(CALIBRATION)
    write_pictures(tmp_path, size=size)
    infos = graph.listen("/camera_info", CameraInfo)
    process = graph.start({"input": str(tmp_path), "camera_info_file": str(tmp_path / "front.yaml")}, "camera_replay")
    wait_until(lambda: len(infos) > 0, 60.0, lambda: process.output)
    assert process.stop()[0] == 0
    assert sum("the calibration is of 32x24 pixels, the pictures have 40x24" in line for line in process.lines) == told


def test_nobody_waits_for_a_camera_info_that_cannot_come(graph: Graph, tmp_path):
    """The node waits for each image's as long as somebody publishes the topic."""
    write_pictures(tmp_path)
    images = graph.listen("/image", Image)
    replay(graph, input=str(tmp_path))
    wait_until(lambda: len(images) > 1, 60.0)
    wait_until(lambda: graph.node.count_publishers("/camera_info") == 0, 5.0)
    more = len(images) + 3
    wait_until(lambda: len(images) > more, 20.0)
    assert graph.node.count_publishers("/image") == 1 and graph.node.count_publishers("/camera_info") == 0


WITHDRAWS = """
import threading
from depthnet_ros.ros.camera_replay import CameraReplay
from depthnet_ros.ros.run import run_node

class Telling(CameraReplay):
    def destroy_publisher(self, publisher):
        if publisher.topic_name == "/camera_info":
            print("destroyed by", threading.current_thread().name, flush=True)
        return super().destroy_publisher(publisher)

run_node(Telling)
"""


def test_the_executor_itself_withdraws_a_topic_that_it_may_be_waiting_for(ros_domain: int, tmp_path):
    """From another thread it would be an error, logged with a traceback, in every fourth run."""
    write_pictures(tmp_path, 1)
    command = [sys.executable, "-c", WITHDRAWS, "--ros-args", "-p", f"input:={tmp_path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(20.0) == 0
    assert said == "destroyed by executor\n"


def test_many_bad_pictures_are_told_once_and_counted(graph: Graph, tmp_path):
    write_pictures(tmp_path, 2)
    for index in range(30):
        (tmp_path / f"q{index:02}.png").write_bytes(b"garbage")
    graph.listen("/image", Image)
    process = replay(graph, input=str(tmp_path), rate_hz=50.0, loop=False)
    assert process.wait_for_end() == 0, process.output
    told = [line for line in process.lines if "left out" in line]
    assert len(told) == 2 and "q00.png" in told[0] and "left out 30 pictures in all" in told[1]


def test_a_video_that_ends_early_is_told_once_though_it_is_played_again(graph: Graph, tmp_path):
    whole = write_video(tmp_path / "whole.avi").read_bytes()
    (tmp_path / "short.avi").write_bytes(whole[: len(whole) * 3 // 4])
    images = graph.listen("/image", Image)
    process = replay(graph, input=str(tmp_path / "short.avi"))
    wait_until(lambda: len(images) > 20, 60.0, lambda: process.output)
    assert process.stop()[0] == 0
    assert sum("short.avi ends early, after" in line for line in process.lines) == 1, process.output


def test_a_single_picture_comes_thirty_times_a_second(graph: Graph, tmp_path):
    assert cv2.imwrite(str(tmp_path / "p.png"), np.zeros((24, 32, 3), np.uint8))
    images = graph.listen("/image", Image)
    replay(graph, input=str(tmp_path))
    wait_until(lambda: len(images) >= 10, 60.0)
    assert stamp_ns(images[9].header.stamp) - stamp_ns(images[0].header.stamp) > 0.25e9


def test_a_source_without_a_readable_picture_ends_it(graph: Graph, tmp_path):
    (tmp_path / "p.jpg").write_bytes(b"garbage")
    process = graph.start({"input": str(tmp_path)}, "camera_replay")
    assert process.wait_for_end() == 1
    assert "no picture could be read" in process.output and "Traceback" not in process.output


def test_a_recording_without_a_readable_picture_says_what_is_wrong_with_it(graph: Graph, tmp_path):
    camera, frame = PinholeCamera.from_fov(32, 24, 1.2), np.zeros((24, 32, 3), np.uint8)
    path = tmp_path / "broken.mcap"
    with BagWriter(path) as writer:
        make_bag([RgbdFrame(0.0, frame, np.ones((24, 32), np.float32))], camera, writer, MakeOptions())
    data = bytearray(path.read_bytes())
    data[100:150] = b"\xff" * 50  # in its messages; what there should be stands at its end
    path.write_bytes(data)
    process = graph.start({"input": str(path)}, "camera_replay")
    assert process.wait_for_end() == 1
    (line,) = (line for line in process.lines if "no picture could be read" in line)
    assert "broken.mcap: damaged" in line and "1 of 1 messages of /camera/image_rect could not be read" in line


def test_jpegs_are_passed_on_as_they_lie_on_the_disk(graph: Graph, tmp_path):
    assert cv2.imwrite(str(tmp_path / "p.jpg"), np.full((24, 32, 3), 90, np.uint8))
    compressed, infos = graph.listen("/image/compressed", CompressedImage), graph.listen("/camera_info", CameraInfo)
    replay(graph, input=str(tmp_path), horizontal_fov_deg=60.0)
    wait_until(lambda: len(compressed) > 1 and len(infos) > 1, 60.0)
    assert compressed[0].data.tobytes() == (tmp_path / "p.jpg").read_bytes()
    assert "jpeg" in compressed[0].format
    camera = camera_from_info(infos[0], 32, 24)
    assert camera.fx_px == pytest.approx(PinholeCamera.from_fov(32, 24, np.radians(60)).fx_px)


def test_what_is_only_called_a_jpeg_is_made_one(graph: Graph, tmp_path):
    (tmp_path / "p.jpg").write_bytes(cv2.imencode(".bmp", np.full((24, 32, 3), 90, np.uint8))[1].tobytes())
    compressed = graph.listen("/image/compressed", CompressedImage)
    replay(graph, input=str(tmp_path))
    wait_until(lambda: len(compressed) > 0, 60.0)
    assert "jpeg" in compressed[0].format and compressed[0].data.tobytes().startswith(b"\xff\xd8")
    assert abs(int(compressed_to_rgb(compressed[0].data)[3, 4, 0]) - 90) < 3


def test_rendered_pictures_are_compressed_on_request(graph: Graph):
    compressed = graph.listen("/image/compressed", CompressedImage)
    process = replay(graph, **SCENE)
    wait_until(lambda: len(compressed) > 0, 60.0, lambda: process.output)
    assert compressed_to_rgb(compressed[0].data).shape == (48, 64, 3)


def test_simulated_time_runs_with_the_source_and_jumps_back_at_its_end(graph: Graph, tmp_path):
    write_pictures(tmp_path)
    images, clock = graph.listen("/image", Image), graph.listen("/clock", Clock, depth=500)
    replay(graph, input=str(tmp_path), rate_hz=10.0, publish_clock=True)
    wait_until(lambda: len(images) >= 6, 60.0)
    stamps = [stamp_ns(image.header.stamp) for image in images[:6]]
    assert [stamp - stamps[0] for stamp in stamps] == [0, 10**8, 2 * 10**8, 3 * 10**8, 0, 10**8]
    times = [stamp_ns(message.clock) for message in clock]
    assert set(stamps) <= set(times)
    assert len(times) > 12, "the clock also runs between pictures"
    assert sum(later < earlier for earlier, later in pairwise(times)) >= 1


def test_uneven_stamps_are_kept_and_their_clock_never_runs_ahead_of_them(graph: Graph, tmp_path):
    """A recording that lost pictures: a clock that is set back would make every node that follows it begin anew."""
    times_s = [0.0, 0.1, 0.2, 1.2, 1.3, 1.4]
    camera, frame = PinholeCamera.from_fov(32, 24, 1.2), np.zeros((24, 32, 3), np.uint8)
    with BagWriter(tmp_path / "gap.mcap") as writer:
        depth = np.ones((24, 32), np.float32)
        make_bag([RgbdFrame(time_s, frame, depth) for time_s in times_s], camera, writer, MakeOptions())
    images, clock = graph.listen("/image", Image), graph.listen("/clock", Clock, depth=500)
    replay(graph, input=str(tmp_path / "gap.mcap"), publish_clock=True, loop=False)
    wait_until(lambda: len(images) == len(times_s), 60.0)
    stamps = [1e-9 * stamp_ns(image.header.stamp) for image in images]
    assert [stamp - stamps[0] for stamp in stamps] == pytest.approx(times_s)
    seen = [stamp_ns(message.clock) for message in clock]
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"input": "/nowhere"}, "no file, folder or camera"),
        ({"encoding": "purple"}, "must be one of rgb8"),
        ({"rate_hz": -1.0}, "rate_hz"),
        ({"camera_info_file": "/nowhere.yaml"}, "no calibration file"),
    ],
)
def test_what_cannot_start_says_why(graph: Graph, parameters, reason):
    process = graph.start(parameters, "camera_replay")
    assert process.process.wait(60.0) == 1
    process.stop()
    assert reason in process.output
    assert "Traceback" not in process.output


def test_without_a_folder_for_logs_it_says_what_mends_that(monkeypatch, graph: Graph):
    for name in ("ROS_LOG_DIR", "ROS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/proc/nohome")
    process = graph.start({}, "camera_replay")
    assert process.wait_for_end() == 1
    (line,) = process.lines
    assert line.startswith("cannot start: ") and line.endswith("set ROS_LOG_DIR to a folder that can be written to")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(graph: Graph, number):
    graph.listen("/image", Image)
    process = graph.start(SCENE, "camera_replay")
    wait_until(lambda: len(graph.messages["/image"]) > 0, 60.0)
    status, seconds = process.stop(number)
    assert status == 0 and seconds < 2.0
    assert "Traceback" not in process.output


ENDS_BEFORE_IT_SPINS = """
import rclpy
from rclpy.node import Node
from depthnet_ros.ros.run import run_node

def make():
    node = Node("short_lived")
    node.exit_status = 3
    rclpy.try_shutdown()
    return node

run_node(make)
"""


@pytest.fixture
def without_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kilted's middleware prints a warning of Jazzy's variable."""
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "DEFAULT")
    monkeypatch.delenv(PROFILE_VARIABLES[0], raising=False)


@pytest.mark.usefixtures("without_profile")
def test_a_source_may_fail_before_the_node_spins():
    """As a replay's thread does where its first picture is bad and the main thread is slow."""
    result = subprocess.run([sys.executable, "-c", ENDS_BEFORE_IT_SPINS], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (3, "")


FAILS_WHEN_THE_CONTEXT_IS_GONE = """
import rclpy
from rclpy.node import Node
from depthnet_ros.ros.run import run_node

class Ending(Node):
    def __init__(self):
        super().__init__("ending")
        self.create_timer(0.01, self.end)

    def end(self):
        rclpy.shutdown()
        rclpy.create_node("one_more")

run_node(Ending)
"""


@pytest.mark.usefixtures("without_profile")
def test_what_fails_since_the_context_has_been_shut_down_is_no_error():
    """A replay's thread shuts it down at the end of its source, in the midst of what the executor does."""
    command = [sys.executable, "-c", FAILS_WHEN_THE_CONTEXT_IS_GONE]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
