"""One recording live, through camera_replay and depthnet_node under simulated time, and offline: the same figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy")

from sensor_msgs.msg import Image

from depthnet_ros.bags.evaluate import EvaluateOptions, evaluate_bag
from depthnet_ros.bags.frame_sources import SceneFrames
from depthnet_ros.bags.make import DEPTH, IMAGE, MakeOptions, make_bag
from depthnet_ros.bags.options import PipelineOptions
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.topics import resolve_topics
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.evaluation.metrics import depth_metrics
from depthnet_ros.evaluation.results import Results
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.messages.measurements import depth_from_image
from depthnet_ros.messages.stamps import header_stamp_ns
from depthnet_ros.metric_scale import MetricScaleConfig
from depthnet_ros.ros.camera_replay import SIMULATED_START_S
from test.bags.bag_scene import CAMERA
from test.ros.graph import Graph, wait_until

pytestmark = pytest.mark.ros
FRAMES, RATE_HZ = 48, 6.0  # eight seconds: the middleware may take three to bring replay and node together
NETWORK = {"backend": "torch", "device": "cpu", "precision": "float32", "threads": 1}
SCALE = {"mode": "fixed", "fixed_scale": 0.1, "fixed_shift": 0.3}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("live") / "room.mcap"
    with BagWriter(path) as writer:
        make_bag(SceneFrames("room", CAMERA, FRAMES, RATE_HZ), CAMERA, writer, MakeOptions(extras=()))
    return path


def offline(bag_path: Path, weights: Path) -> Results:
    estimator = DepthEstimator.from_weights(weights, *NETWORK.values())
    options = EvaluateOptions(PipelineOptions(scale=MetricScaleConfig(**SCALE)), pictures=0)
    with BagReader(bag_path) as bag:
        return evaluate_bag(bag, resolve_topics(bag, IMAGE, DEPTH), estimator, options)[0]


def test_live_and_offline_agree(graph: Graph, room: Path, tiny_weights: Path) -> None:
    expected = offline(room, tiny_weights)
    first_ns = round(expected.source["first_stamp_s"] * 1e9)
    with BagReader(room) as bag:
        references = {header_stamp_ns(item.message): depth_from_image(item.message) for item in bag.messages([DEPTH])}
    live = graph.listen("depth/image_rect", Image)
    scale = {f"scale.{name}": value for name, value in SCALE.items()}
    graph.start({"weights": str(tiny_weights), **NETWORK, **scale, "use_sim_time": True})
    wait_until(lambda: graph.node.count_subscribers("image") > 0, 60.0)
    replay = graph.start({"input": str(room), "topic": IMAGE, "publish_clock": True, "loop": False}, "camera_replay")
    wait_until(lambda: not replay.alive, 60.0, lambda: replay.output)
    assert len(live) >= FRAMES // 3
    stamps = np.round(expected.frames["stamp_s"] * 1e9).astype(np.int64)
    known = sorted(references)
    for message in live:
        since_start = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec - round(SIMULATED_START_S * 1e9)
        stamp = min(known, key=lambda value: abs(value - first_ns - since_start))
        assert abs(stamp - first_ns - since_start) < 1000
        row = int(np.argmin(np.abs(stamps - stamp)))
        depth_m, reference = depth_from_image(message), references[stamp]
        valid = np.isfinite(reference) & np.isfinite(depth_m) & (reference <= 20.0)
        found = depth_metrics(depth_m, reference, valid)
        for name in ("abs_rel", "rmse", "delta1", "bias"):
            assert found[name] == pytest.approx(float(expected.frames[f"metric.{name}"][row]), rel=1e-5, abs=1e-6)
