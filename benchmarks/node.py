"""Parts that need the node: overhead, overload, several cameras, memory. Camera, node and listener are processes."""

from __future__ import annotations

import time
from typing import Any

from sensor_msgs.msg import CameraInfo, Image, LaserScan, PointCloud2, Range

from benchmarks.graph import NodeUnderTest, median_ms, metres
from benchmarks.measure import IMAGE_PX, Check, Part, Settings, Timing, run_worker
from depthnet_ros.demo.scaling import scale_parameters
from depthnet_ros.inference.weights import default_weights
from depthnet_ros.sources import open_source

METRIC_OUTPUTS = {"depth/image_rect": Image, "depth/camera_info": CameraInfo, "points": PointCloud2}
PLANNERS_TOPICS = {"points/clearing": PointCloud2, "scan": LaserScan, "obstacle/nearest": Range}
RELATIVE = "inverse_depth/image"
_SMALL_PX = (240, 320)
_RATE_HZ = 15.0


def node(settings: Settings) -> Part:
    """(b) From the image's callback to all outputs handed over, against the bare network in the same minute.

    The bare network is measured twice, in a process of its own with the node's threads: back to back, and with the
    camera's pause between two frames, in which other work takes the caches and the processor goes to sleep. The node
    meets the second; the first is what is usually quoted.
    """
    part = Part(
        "node", "Node overhead: 640x480 camera at 15 Hz; depth, camera_info and half-resolution cloud listened to"
    )
    frames, rounds = (60, 1) if settings.quick else (150, 3)
    pauses = {"back to back": 0.0, "at the camera's rate": 1.0 / _RATE_HZ}
    bare_s: dict[str, list[float]] = {name: [] for name in pauses}
    ages: list[float] = []
    with NodeUnderTest({**metres(IMAGE_PX), "points.stride": 2}, METRIC_OUTPUTS) as run:
        for _ in range(rounds):  # in turn: a processor's pace changes from one quarter of a minute to the next
            run.camera(_RATE_HZ, IMAGE_PX)
            run.wait_for_output()
            started = time.monotonic()
            ages += run.ages_of_next("points", frames)
            seconds, memory_mb = time.monotonic() - started, run.usage()[1]
            run.stop_cameras()
            for name, pause_s in pauses.items():
                bare_s[name] += _bare_network(pause_s)
        first_s = run.first_s["depth/image_rect"] - run.started_s
        run.wait(lambda: run.figure("frames_published") > rounds * frames, 30.0)
        stages = ("preprocess", "network", "postprocess", "scale", "publish", "receive_to_publish", "stamp_to_publish")
        figures = {stage: [run.figure(f"{stage}_p{p}_ms") for p in (50, 90, 99)] for stage in stages}
        chosen = f"{run.text('backend')} {run.text('precision')}"
    bare = {name: Timing.of(taken) for name, taken in bare_s.items()}
    part.rows += [
        {"stage": f"bare network ({chosen}), {name}", "p50 ms": timing.median_ms} for name, timing in bare.items()
    ]
    part.rows += [
        {"stage": stage, "p50 ms": p50, "p90 ms": p90, "p99 ms": p99} for stage, (p50, p90, p99) in figures.items()
    ]
    part.rows.append({"stage": "stamp to a listener in another process", "p50 ms": median_ms(ages)})
    part.chart = "p50 ms"
    whole_ms = figures["receive_to_publish"][0]
    part.checks += [
        Check(f"callback to all outputs handed over, in times of the bare network {name}", whole_ms / t.median_ms, 1.25)
        for name, t in bare.items()
    ]
    part.notes += [
        f"first depth {first_s:.1f} s after the node's process was started",
        f"{memory_mb:.0f} MB resident; {frames / seconds:.1f} frames a second",
    ]
    return part


def robot(settings: Settings) -> Part:
    """(b) The same node as a robot with a sonar runs it: scale from sonar and camera height, all that Nav2 takes.

    Sensors are in ``anchors``, where the temporal filter runs, too; listened to are a costmap's topics and depth.
    """
    part = Part("robot", "Node beside a camera and a sonar at 15 Hz, what Nav2 takes and depth listened to")
    scene = open_source("scene:room")
    parameters = {**scale_parameters(scene), "nav.scan_frame": "camera_level", "points.stride": 2}
    with NodeUnderTest(parameters, {**METRIC_OUTPUTS, **PLANNERS_TOPICS}) as run:
        run.camera(_RATE_HZ, IMAGE_PX, scene="room")
        run.wait_for_output()
        run.ages_of_next("scan", 60)
        started, (cpu_s, _) = time.monotonic(), run.usage()
        ages = run.ages_of_next("scan", 60 if settings.quick else 450)
        used = (run.usage()[0] - cpu_s) / (time.monotonic() - started)
        run.wait(lambda: run.figure("publish_p50_ms") > 0, 10.0)
        stages = ("preprocess", "network", "scale", "publish", "receive_to_publish", "stamp_to_publish")
        part.rows = [
            {"stage": stage, **{f"p{p} ms": run.figure(f"{stage}_p{p}_ms") for p in (50, 90, 99)}} for stage in stages
        ]
        part.notes.append(f"{100 * used:.0f} % of one core; scale is {run.text('scale_state', 'camera')}")
    part.rows.append({"stage": "stamp to a listener in another process", "p50 ms": median_ms(ages)})
    part.chart = "p50 ms"
    return part


def _bare_network(pause_s: float) -> list[float]:
    job = {"job": "backend", "weights": str(default_weights()), "name": "auto", "precision": "auto", "pause_s": pause_s}
    seconds: list[float] = run_worker(job)["seconds"]
    return seconds


def overload(settings: Settings) -> Part:
    """(c) A camera three times as fast as the network: how old outputs are when they arrive."""
    part = Part("overload", "Overload: age of the output on arrival, camera at 0.3 and at 3 times the network's rate")
    frames = 30 if settings.quick else 150
    parameters = {"backend": "onnxruntime", "precision": "float32", "threads": 1}
    with NodeUnderTest(parameters, {RELATIVE: Image}) as run:
        run.camera(5.0, _SMALL_PX)
        run.wait_for_output()
        run.ages_of_next(RELATIVE, 15)
        run.wait(lambda: run.figure("network_p50_ms") > 0, 10.0)
        network_s = run.figure("network_p50_ms") / 1e3
        ages: dict[str, list[float]] = {}
        for name, load in (("unloaded", 0.3), ("overloaded", 3.0)):
            run.stop_cameras()
            run.camera(load / network_s, _SMALL_PX)
            run.ages_of_next(RELATIVE, 15)  # the old camera's frames, discovery
            ages[name] = run.ages_of_next(RELATIVE, frames)
        run.wait(lambda: run.figure("frames_dropped_overload") > frames, 10.0)
        dropped = run.figure("frames_dropped_overload") / run.figure("frames_received")
        network_s = run.figure("network_p50_ms") / 1e3
    part.rows = [{"case": name, **Timing.of(seconds).row()} for name, seconds in ages.items()]
    part.rows.append({"case": "one network time", "median ms": network_s * 1e3})
    more = (median_ms(ages["overloaded"]) - median_ms(ages["unloaded"])) / (network_s * 1e3)
    part.checks.append(Check("age under overload beyond unloaded, in network times", more, 1.0))
    part.notes.append(f"{dropped:.0%} of all frames received were replaced by newer ones before their turn")
    return part


def cameras(settings: Settings) -> Part:
    """(e) Two cameras in one node against one: processor time of the node per second, each camera at 10 Hz.

    Triggered together, as cameras of one rig are, and ``batch_wait_s`` set for it.
    """
    part = Part("cameras", "Cameras in one node: processor time per second, 640x480 at 10 Hz each", chart="CPU %")
    used: dict[int, float] = {}
    for count in (1, 2):
        prefixes = [f"camera{index}" for index in range(count)]
        topics = {f"{prefix}/{RELATIVE}": Image for prefix in prefixes}
        with NodeUnderTest({"cameras": prefixes, "batch_wait_s": 0.01}, topics) as run:
            run.camera(10.0, IMAGE_PX, ",".join(prefixes))
            run.wait_for_output()
            run.ages_of_next(next(iter(topics)), 60)  # batches of two are compiled when the first comes
            started, (cpu_s, _) = time.monotonic(), run.usage()
            ages = run.ages_of_next(next(iter(topics)), 40 if settings.quick else 200)
            used[count] = (run.usage()[0] - cpu_s) / (time.monotonic() - started)
        part.rows.append({"cameras": str(count), "CPU %": 100 * used[count], "stamp to listener ms": median_ms(ages)})
    part.checks.append(Check("two cameras against one, processor time of the node", used[2] / used[1], 1.7))
    return part


def memory(settings: Settings) -> Part:
    """(f) Resident memory of the node over 10 000 frames."""
    part = Part("memory", "Memory of the node over frames", chart="memory MB")
    marks: tuple[int, ...] = (500, 800) if settings.quick else (500, 2000, 5000, 10_000)
    found: dict[int, float] = {}
    parameters: dict[str, Any] = {**metres(_SMALL_PX), "diagnostics_period_s": 0.1}
    with NodeUnderTest(parameters, METRIC_OUTPUTS) as run:
        run.camera(70.0, _SMALL_PX)
        run.wait_for_output()
        for mark in marks:
            run.wait(lambda mark=mark: run.figure("frames_published") >= mark, 600.0)  # type: ignore[misc]
            found[mark] = run.usage()[1]
    part.rows = [{"frames": str(mark), "memory MB": megabytes} for mark, megabytes in found.items()]
    growth = 100 * (found[marks[-1]] / found[marks[0]] - 1)
    part.checks.append(Check(f"growth from {marks[0]} to {marks[-1]} frames, %", growth, 2.0))
    return part
