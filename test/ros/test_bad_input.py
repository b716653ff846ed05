"""Bad input, frame by frame: an error that says what is wrong, a count in diagnostics, and the next frame works."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable

import cv2
import numpy as np
import psutil
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.ros.conversions import image_message, info_from_camera

from .graph import CAMERA, Graph, NodeProcess, picture, wait_until

FIXED = {"scale.mode": "fixed", "scale.fixed_scale": 0.05, "scale.fixed_shift": 0.3, "diagnostics_period_s": 0.1}


def _image(graph: Graph, **changes) -> Image:
    message = image_message(picture(), "rgb8", graph.header())
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def _nan_image(graph: Graph) -> Image:
    pixels = np.full((120, 160), 0.5, np.float32)
    pixels[3, 4] = np.nan
    return image_message(pixels, "32FC1", graph.header())


BAD_IMAGES: dict[str, tuple[Callable[[Graph], Image], str]] = {
    "unknown encoding": (lambda g: _image(g, encoding="jpeg2000"), "encoding 'jpeg2000'"),
    "short data": (lambda g: _image(g, data=array("B", bytes(100))), "must be 57600 bytes, got 100"),
    "step too small": (lambda g: _image(g, step=10), "step of a 160x120 rgb8 image must be at least 480"),
    "zero size": (lambda g: _image(g, width=0, height=0, data=array("B")), "no pixels"),
    "nan": (_nan_image, "without NaN"),
    "odd yuv": (
        lambda g: image_message(np.zeros((120, 161, 2), np.uint8), "yuyv", g.header()),
        "even width",
    ),
}


@pytest.fixture
def running(graph: Graph, tiny_weights) -> tuple[Graph, NodeProcess]:
    graph.listen_to_diagnostics()
    depth = graph.listen("/inverse_depth/image", Image)
    process = graph.start({"weights": str(tiny_weights), **FIXED})
    graph.send_until(lambda: bool(depth))
    return graph, process


def _values(graph: Graph) -> dict[str, str]:
    return graph.diagnostics().get("/depthnet_node: camera", {})


def _count(graph: Graph, name: str) -> int:
    return int(_values(graph).get(f"frames_{name}", 0))


def test_bad_images_are_named_counted_and_survived(running):
    graph, process = running
    for number, (make, complaint) in enumerate(BAD_IMAGES.values(), start=1):
        graph.send_image(make(graph))
        wait_until(lambda number=number: _count(graph, "bad_image") == number, complaint=lambda: process.output)
        assert complaint in _values(graph)["last_bad_image"]
    assert "encoding 'jpeg2000'" in process.output  # logged, the rest throttled


def test_diagnostics_are_in_error_while_nothing_but_faults_happens(running):
    graph, _ = running
    graph.send_until(
        lambda: _values(graph).get("level") == "2" and "encoding 'nv24'" in _values(graph)["message"],
        message=_image(graph, encoding="nv24"),
    )
    depth = graph.messages["/inverse_depth/image"]
    depth.clear()
    graph.send_until(lambda: bool(depth) and _values(graph).get("level") == "0")


def test_a_good_frame_after_bad_ones(running):
    graph, process = running
    depth = graph.messages["/inverse_depth/image"]
    graph.send_image(_image(graph, step=10))
    header = graph.send_image()
    wait_until(lambda: depth[-1].header == header)
    assert process.alive


def test_resolution_and_encoding_may_change_in_mid_stream(running):
    graph, _ = running
    depth = graph.messages["/inverse_depth/image"]
    for width, height in ((320, 240), (64, 48), (160, 120)):
        image = image_message(picture(width, height)[..., 0].copy(), "mono8", graph.header())
        header = graph.send_image(image, camera=CAMERA.resized(width, height))
        wait_until(lambda header=header: depth[-1].header == header)
        assert (depth[-1].width, depth[-1].height) == (width, height)
    planes = image_message(np.vstack((picture()[..., 0], np.full((60, 160), 128, np.uint8))), "nv12", graph.header())
    planes.height = 120  # of the image; the data has half as many rows more
    header = graph.send_image(planes)
    wait_until(lambda: depth[-1].header == header)


@pytest.mark.parametrize(
    ("info", "complaint"),
    [
        (CameraInfo(width=160, height=120), "not calibrated"),
        (CameraInfo(), "not calibrated"),
        (info_from_camera(PinholeCamera.from_fov(320, 240, 1.0), None), "describes 320x240 pixels"),
        (None, "no camera_info has the image's stamp"),
    ],
    ids=["all zero", "empty", "other size", "none"],
)
def test_unusable_camera_info_costs_metres_not_relative_depth(running, info, complaint):
    graph, _ = running
    depth, metric = graph.messages["/inverse_depth/image"], graph.listen("/depth/image_rect", Image)
    graph.send_until(lambda: bool(metric))
    metric.clear()
    header = graph.header()
    if info is not None:
        info.header = header
        graph.publisher("/camera_info", CameraInfo).publish(info)
    graph.send_image(header=header, camera=None)
    wait_until(lambda: depth[-1].header == header)
    wait_until(lambda: complaint in _values(graph)["message"], complaint=lambda: _values(graph)["message"])
    assert not any(m.header == header for m in metric)
    header = graph.send_image()
    wait_until(lambda: bool(metric) and metric[-1].header == header)


def test_late_camera_info_is_waited_for_and_missing_info_is_not_waited_for_long(running):
    graph, _ = running
    depth, metric = graph.messages["/inverse_depth/image"], graph.listen("/depth/camera_info", CameraInfo)
    graph.send_until(lambda: bool(metric))
    graph.set_parameters("depthnet_node", {"camera_info_wait_s": 1.0})
    late = graph.send_image(camera=None)
    time.sleep(0.3)
    graph.publisher("/camera_info", CameraInfo).publish(info_from_camera(CAMERA, late))
    wait_until(lambda: metric[-1].header == late)
    missing = graph.send_image(camera=None)
    wait_until(lambda: depth[-1].header == missing, 5.0)
    assert not any(m.header == missing for m in metric)


def test_stamps_of_zero_and_running_back(running):
    graph, process = running
    depth = graph.messages["/inverse_depth/image"]
    header = graph.send_image(header=graph.header(stamp_ns=0))
    wait_until(lambda: depth[-1].header == header)
    for stamp_s in (2_000_000_000, 1_000):
        header = graph.send_image(header=graph.header(stamp_ns=stamp_s * 1_000_000_000))
        wait_until(lambda header=header: depth[-1].header == header)
    wait_until(lambda: _count(graph, "time_jumps") >= 1)
    assert process.alive


def test_damaged_compressed_images(graph: Graph, tiny_weights):
    graph.listen_to_diagnostics()
    depth = graph.listen("/inverse_depth/image", Image)
    graph.start({"weights": str(tiny_weights), "image_transport": "compressed", "diagnostics_period_s": 0.1})
    good = cv2.imencode(".jpg", picture())[1].tobytes()

    def message(data: bytes) -> CompressedImage:
        return CompressedImage(format="jpeg", data=array("B", data))

    graph.send_until(lambda: bool(depth), message=message(good), topic="/image/compressed")
    middle = len(good) // 2
    bad = [good[:middle], b"\xff\xd8garbage", b"", bytes(1000), good[:20] + bytes(200) + b"\xff\xd9"]
    bad.append(good[:middle] + good[middle + 500 :])  # lost on the way, as over a radio
    for number, data in enumerate(bad, start=1):
        graph.send_image(message(data), topic="/image/compressed")
        wait_until(lambda number=number: _count(graph, "bad_image") == number, complaint=lambda: str(_values(graph)))
    header = graph.send_image(message(good), topic="/image/compressed")
    wait_until(lambda: depth[-1].header == header)


def test_subscribers_that_come_and_go(running):
    graph, process = running
    for _ in range(3):
        metric = graph.listen("/depth/image_rect", Image)
        metric.clear()
        graph.send_until(lambda metric=metric: bool(metric))
        graph.unlisten("/depth/image_rect")
        graph.send_image()
    graph.unlisten("/inverse_depth/image")
    idle = _count(graph, "idle")
    graph.send_until(lambda: _count(graph, "idle") > idle)  # nobody listens: nothing is computed
    processed = _count(graph, "processed")
    for _ in range(5):
        graph.send_image()
        time.sleep(0.05)
    wait_until(lambda: _count(graph, "idle") > idle + 3)
    assert _count(graph, "processed") == processed
    assert process.alive


def test_memory_stays_flat_over_thousands_of_good_and_bad_frames(running):
    graph, process = running
    memory = psutil.Process(process.process.pid)
    graph.listen("/depth/image_rect", Image)
    graph.listen("/points", PointCloud2, depth=1)
    images = [image_message(picture(), "rgb8", graph.header()), *(make(graph) for make, _ in BAD_IMAGES.values())]
    publisher, infos = graph.publisher("/image", Image), graph.publisher("/camera_info", CameraInfo)

    def send(count: int) -> int:
        """Send so many frames, each other one good; returns the node's memory in bytes."""
        for number in range(count):
            header = graph.header()
            image = images[0] if number % 2 else images[1 + number // 2 % (len(images) - 1)]
            image.header = header
            publisher.publish(image)
            infos.publish(info_from_camera(CAMERA, header))
            time.sleep(0.004)
            for messages in graph.messages.values():
                del messages[:-100]  # the test's own memory
        return int(memory.memory_info().rss)

    early = send(1000)
    late = send(3000)
    assert _count(graph, "received") > 2000 and _count(graph, "bad_image") > 500  # best effort: some never arrive
    assert late < early + 4_000_000  # 1.3 kB a frame; it grows by 0.1 MB in all


@pytest.mark.parametrize(("model", "count"), [("plumb_bob", 3), ("equidistant", 2), ("spherical", 3)])
def test_distortion_that_nobody_understands_costs_nothing_where_it_is_not_needed(running, model, count):
    graph, _ = running
    metric = graph.listen("/depth/image_rect", Image)
    header = graph.header()
    info = info_from_camera(CAMERA, header)
    info.distortion_model, info.d = model, [0.1] * count

    def step() -> bool:
        info.header = graph.send_image(camera=None)
        graph.publisher("/camera_info", CameraInfo).publish(info)
        time.sleep(0.05)
        return any(m.header == info.header for m in metric)

    wait_until(step, 15.0)
    assert _count(graph, "internal_error") == 0
