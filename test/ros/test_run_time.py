"""Parameters at run time, overload, rate, age, sim time and several cameras, on a real graph."""

from __future__ import annotations

import time

import numpy as np
import pytest
import yaml
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from depthnet_ros.models.spec import InputSpec, ModelSpec
from depthnet_ros.ros.conversions import image_message, info_from_camera

from .graph import CAMERA, Graph, picture, wait_until

FIXED = {"scale.mode": "fixed", "scale.fixed_scale": 0.05, "scale.fixed_shift": 0.3, "diagnostics_period_s": 0.1}


def _diagnosed(graph: Graph, name: str, camera: str = "camera") -> str:
    return graph.diagnostics().get(f"/depthnet_node: {camera}", {}).get(name, "0")


def test_each_run_time_parameter_takes_effect(graph: Graph, tiny_weights):
    depth = graph.listen("/depth/image_rect", Image)
    points = graph.listen("/points", PointCloud2)
    preview = graph.listen("/depth/preview", Image)
    graph.start({"weights": str(tiny_weights), **FIXED})

    def after(values: dict, condition) -> None:
        results = graph.set_parameters("depthnet_node", values)
        assert all(result.successful for result in results), results
        for messages in (depth, points, preview):
            messages.clear()
        graph.send_until(lambda: bool(depth and points and preview) and condition())

    def finite() -> np.ndarray:
        values = np.frombuffer(depth[-1].data, "<f4")
        return values[np.isfinite(values)]

    after({"points.stride": 4}, lambda: points[-1].width == 40 and points[-1].height == 30)
    after({"depth.encoding": "16UC1"}, lambda: depth[-1].encoding == "16UC1" and depth[-1].step == 320)
    after({"depth.encoding": "32FC1"}, lambda: depth[-1].encoding == "32FC1" and finite().size > 0)
    before = float(np.median(finite()))
    half = {"scale.fixed_scale": 0.1, "scale.fixed_shift": 0.6}
    after(half, lambda: abs(float(np.median(finite())) / before - 0.5) < 0.05)
    limit = float(np.median(finite()))
    after({"scale.max_depth_m": limit}, lambda: float(finite().max()) <= limit)
    after({"preview.side_by_side": True}, lambda: preview[-1].width == 320)


def test_read_only_and_out_of_range_are_refused_with_a_reason(graph: Graph, tiny_weights):
    graph.start({"weights": str(tiny_weights)})
    refused = {"backend": "torch", "points.stride": 0, "depth.encoding": "64FC1", "max_rate_hz": -1.0}
    for name, value in refused.items():
        result = graph.set_parameters("depthnet_node", {name: value})[0]
        assert not result.successful and result.reason, name


def test_rate_limit(graph: Graph, tiny_weights):
    depth = graph.listen("/inverse_depth/image", Image)
    graph.start({"weights": str(tiny_weights)})
    graph.send_until(lambda: bool(depth), camera=None)
    graph.set_parameters("depthnet_node", {"max_rate_hz": 5.0})
    depth.clear()
    start = time.monotonic()
    while time.monotonic() - start < 3.0:
        graph.send_image(camera=None)
        time.sleep(0.02)
    time.sleep(0.2)
    assert 8 <= len(depth) <= 17  # 15 and one for the start; a loaded machine may send fewer
    graph.set_parameters("depthnet_node", {"max_rate_hz": 0.01})
    for _ in range(3):
        graph.send_image(camera=None)
    graph.set_parameters("depthnet_node", {"max_rate_hz": 100.0})
    depth.clear()
    graph.send_until(lambda: len(depth) > 3, timeout_s=5.0, camera=None)  # not when the old rate would have had it


def test_without_scale_metric_topics_stay_silent_and_say_what_to_set(graph: Graph, tiny_weights):
    graph.listen_to_diagnostics()
    relative = graph.listen("/inverse_depth/image", Image)
    metric = [graph.listen("/depth/image_rect", Image), graph.listen("/points", PointCloud2)]
    graph.start({"weights": str(tiny_weights), "diagnostics_period_s": 0.1})
    graph.send_until(lambda: len(relative) > 5)
    wait_until(lambda: "scale.mode" in _diagnosed(graph, "message"))
    assert not any(metric)


def test_overload_drops_and_never_queues(graph: Graph):
    graph.listen_to_diagnostics()
    depth = graph.listen("/inverse_depth/image", Image, depth=1000)
    graph.start({"backend": "onnxruntime", "threads": 1, "diagnostics_period_s": 0.1})  # slower than images are sent
    graph.send_until(lambda: bool(depth), timeout_s=40.0, camera=None)
    image = image_message(picture(), "rgb8", graph.header())
    sent = []
    for _ in range(300):
        sent.append(graph.send_image(image, camera=None))
        time.sleep(0.002)
    time.sleep(1.0)
    counts = {name: int(_diagnosed(graph, f"frames_{name}")) for name in ("received", "published", "dropped_overload")}
    assert counts["dropped_overload"] > 0.2 * counts["received"], counts
    out = [header for header in sent if any(m.header == header for m in depth)]
    gaps = np.diff([sent.index(header) for header in out])
    # A queue would hand out neighbours, ever later; the newest of one slot leaves out what came meanwhile.
    assert np.median(gaps) >= 2
    assert sent.index(out[-1]) > len(sent) - 2 * int(gaps.max()) - 20


def test_frames_older_than_the_contract_are_dropped(graph: Graph, tiny_weights):
    graph.listen_to_diagnostics()
    depth = graph.listen("/inverse_depth/image", Image)
    graph.start({"weights": str(tiny_weights), "diagnostics_period_s": 0.1})
    graph.send_until(lambda: bool(depth), camera=None)
    graph.set_parameters("depthnet_node", {"max_age_s": 5.0})
    time.sleep(0.3)
    depth.clear()
    for number, age_s in enumerate((60, 3600), start=1):
        graph.send_image(header=graph.header(time.time_ns() - age_s * 1_000_000_000), camera=None)
        wait_until(lambda number=number: _diagnosed(graph, "frames_dropped_age") == str(number))
    assert not depth


def test_simulated_time_and_a_looping_bag(graph: Graph, tiny_weights):
    graph.listen_to_diagnostics()
    depth = graph.listen("/inverse_depth/image", Image)
    graph.start({"weights": str(tiny_weights), "use_sim_time": True, "diagnostics_period_s": 0.1})
    clock = graph.publisher("/clock", Clock)

    def play(seconds: list[float]) -> None:
        for second in seconds:
            stamp = round(second * 1e9)
            header = graph.header(stamp)
            clock.publish(Clock(clock=header.stamp))
            time.sleep(0.05)
            graph.send_image(header=header, camera=None)
            wait_until(lambda header=header: bool(depth) and depth[-1].header == header)

    graph.send_until(lambda: bool(depth), header=graph.header(1), camera=None)
    play([100.0, 100.1, 100.2])
    wait_until(lambda: float(_diagnosed(graph, "stamp_to_publish_p50_ms")) < 1000)
    clock.publish(Clock(clock=graph.header(50_000_000_000).stamp))  # the bag starts again: the clock alone tells
    wait_until(lambda: int(_diagnosed(graph, "frames_time_jumps")) == 1)
    play([50.0, 50.1])
    assert _diagnosed(graph, "frames_time_jumps") == "1"


def test_a_camera_info_that_comes_before_the_clock_begins_anew_is_used(graph: Graph, tiny_weights):
    graph.listen_to_diagnostics()
    metric = graph.listen("/depth/camera_info", CameraInfo)
    graph.start({"weights": str(tiny_weights), "use_sim_time": True, "diagnostics_period_s": 0.1, **FIXED})
    clock = graph.publisher("/clock", Clock)

    def is_heard() -> bool:
        clock.publish(Clock(clock=graph.header(100_000_000_000).stamp))
        return bool(metric) and float(_diagnosed(graph, "stamp_to_publish_p50_ms")) > 0.0

    graph.send_until(is_heard, header=graph.header(99_900_000_000))
    anew = graph.header(50_000_000_000)
    graph.publisher("/camera_info", CameraInfo).publish(info_from_camera(CAMERA, anew))
    time.sleep(0.3)
    clock.publish(Clock(clock=anew.stamp))
    wait_until(lambda: int(_diagnosed(graph, "frames_time_jumps")) == 1)
    graph.send_image(header=anew, camera=None)
    wait_until(lambda: metric[-1].header == anew)


def test_several_cameras_share_one_network(graph: Graph, tiny_weights):
    front = graph.listen("/front/points", PointCloud2)
    rear = graph.listen("/rear/points", PointCloud2)
    graph.start({"weights": str(tiny_weights), **FIXED}, arguments=["-p", "cameras:=[front, rear]"])
    wide = CAMERA.resized(320, 120)

    def step() -> bool:
        for name, camera in (("front", CAMERA), ("rear", wide)):
            header = graph.header()
            header.frame_id = name
            image = image_message(picture(camera.width_px, camera.height_px), "rgb8", header)
            graph.publisher(f"/{name}/image", Image).publish(image)
            graph.publisher(f"/{name}/camera_info", CameraInfo).publish(info_from_camera(camera, header))
        time.sleep(0.05)
        return bool(front and rear)

    wait_until(step, 20.0)
    assert {m.header.frame_id for m in front} == {"front"} and {m.header.frame_id for m in rear} == {"rear"}
    assert front[-1].width == 80 and rear[-1].width == 160


@pytest.mark.parametrize("remap", [[], ["camera_info:=/other/info"]])
def test_remapping_the_image_takes_camera_info_along(graph: Graph, tiny_weights, remap):
    arguments = [item for rule in ("image:=/front/image_raw", *remap) for item in ("-r", rule)]
    info = graph.listen("/depth/camera_info", CameraInfo)
    graph.start({"weights": str(tiny_weights), **FIXED}, arguments=arguments)
    info_topic = "/other/info" if remap else "/front/camera_info"

    def step() -> bool:
        header = graph.send_image(topic="/front/image_raw", camera=None)
        graph.publisher(info_topic, CameraInfo).publish(info_from_camera(CAMERA, header))
        time.sleep(0.05)
        return bool(info)

    wait_until(step, 20.0)


def test_rectify_takes_the_distortion_out(graph: Graph, tiny_weights):
    graph.listen_to_diagnostics()
    preview = graph.listen("/depth/preview", Image)
    info = graph.listen("/depth/camera_info", CameraInfo)
    arguments = {"weights": str(tiny_weights), **FIXED, "preview.side_by_side": True}
    raw = graph.start(arguments)
    sent = info_from_camera(CAMERA, graph.header())
    sent.d = [-0.3, 0.1, 0.0, 0.0, 0.0]
    image = image_message(picture(), "rgb8", graph.header())

    def step() -> bool:
        header = graph.send_image(image, camera=None)
        sent.header = header
        graph.publisher("/camera_info", CameraInfo).publish(sent)
        time.sleep(0.05)
        return bool(preview and info)

    def shown() -> np.ndarray:
        return np.frombuffer(preview[-1].data, np.uint8).reshape(120, 320, 3)[:, :160]

    wait_until(step, 20.0)
    np.testing.assert_array_equal(shown(), picture())
    wait_until(lambda: "set rectify" in _diagnosed(graph, "message"))
    raw.wait_for_output("set rectify if raw")
    raw.stop()
    preview.clear()
    info.clear()
    graph.start({**arguments, "rectify": True})
    wait_until(step, 20.0)
    assert np.abs(shown().astype(int) - picture()).max() > 10
    assert not any(info[-1].d)


@pytest.mark.parametrize(("topic", "metres"), [("/front/image_raw", False), ("/drawer/image_rect", True)])
def test_a_raw_picture_of_a_bent_lens_gives_no_metres(graph: Graph, tiny_weights, topic, metres):
    """A driver's camera_info keeps its distortion beside image_rect: what the image is, its own name says."""
    graph.listen_to_diagnostics()
    depth = graph.listen("/depth/image_rect", Image)
    relative = graph.listen("/inverse_depth/image", Image)
    graph.start({"weights": str(tiny_weights), **FIXED}, arguments=["-r", f"image:={topic}"])
    info_topic = f"{topic.rpartition('/')[0]}/camera_info"

    def step() -> bool:
        header = graph.send_image(topic=topic, camera=None)
        sent = info_from_camera(CAMERA, header)
        sent.d = [-0.4, 0.0, 0.0, 0.0, 0.0]
        graph.publisher(info_topic, CameraInfo).publish(sent)
        time.sleep(0.05)
        return len(relative) > 10

    wait_until(step, 20.0)
    assert bool(depth) == metres
    said = "taken as rectified" if metres else "the image's topic is called raw: set rectify"
    wait_until(lambda: said in _diagnosed(graph, "message"))


def test_a_frame_that_is_not_optical_by_its_name_is_told(graph: Graph, tiny_weights):
    """As simulators and some drivers stamp images: with a height from parameters nothing else would notice."""
    graph.listen_to_diagnostics()
    depth = graph.listen("/depth/image_rect", Image)
    process = graph.start({"weights": str(tiny_weights), **FIXED})

    def step() -> bool:
        header = graph.header()
        header.frame_id = "camera_link"
        graph.send_image(header=header)
        time.sleep(0.05)
        return bool(depth)

    wait_until(step, 20.0)
    assert depth[-1].header.frame_id == "camera_link"
    process.wait_for_output("'camera_link', taken as optical")
    wait_until(lambda: "'camera_link', taken as optical" in _diagnosed(graph, "message"))


def test_a_contract_that_cannot_be_kept_shrinks_the_input_and_says_so(graph: Graph):
    graph.listen_to_diagnostics()
    depth = graph.listen("/inverse_depth/image", Image)
    process = graph.start({"latency_limit_s": 0.0001, "diagnostics_period_s": 0.1, "backend": "onnxruntime"})
    graph.send_until(lambda: bool(depth), timeout_s=40.0, camera=None)
    graph.send_until(lambda: "of its full area" in process.output, timeout_s=60.0, period_s=0.02, camera=None)
    wait_until(lambda: "over the limit" in graph.diagnostics()["/depthnet_node: network"]["message"])


def test_a_contract_that_a_network_of_one_size_cannot_keep_is_told(graph: Graph, tiny_weights):
    pytest.importorskip("torch", reason="without it tiny_weights is a network of any size")
    graph.listen_to_diagnostics()
    graph.start({"weights": str(tiny_weights), "latency_limit_s": 0.1, "diagnostics_period_s": 0.1})
    wait_until(lambda: "one input size" in _diagnosed(graph, "message", "network"), 30.0)


def test_an_input_size_that_the_network_does_not_take_is_told_and_never_used(graph: Graph, tmp_path):
    """A graph whose sides are free by name alone: the contract cannot be kept, but depth goes on."""
    onnx = pytest.importorskip("onnx")
    spec = ModelSpec("user", InputSpec(96, 128, keep_aspect=True))
    inside, out = (onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in
                   (("pixels", [1, 3, "h", "w"]), ("depth", None)))  # fmt: skip
    nodes = [
        onnx.helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1], keepdims=1),
        onnx.helper.make_node("Constant", [], ["shape"], value_ints=[1, 1, *spec.input.size_for(120, 160)]),
        onnx.helper.make_node("Reshape", ["mean", "shape"], ["depth"]),
    ]
    made = onnx.helper.make_graph(nodes, "user", [inside], [out])
    path = tmp_path / "user.onnx"
    onnx.save(onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    path.with_suffix(".yaml").write_text(yaml.safe_dump(spec.to_dict()))
    depth = graph.listen("/inverse_depth/image", Image)
    process = graph.start({"weights": str(path), "backend": "onnxruntime", "latency_limit_s": 1e-6})
    graph.send_until(lambda: "does not run, and is not used" in process.output, timeout_s=40.0, camera=None)
    depth.clear()
    graph.send_until(lambda: len(depth) > 60, timeout_s=40.0, period_s=0.02, camera=None)
    assert "of its full area" not in process.output
