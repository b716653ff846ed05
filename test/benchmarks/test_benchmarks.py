"""The benchmark's own workings: parts exist, figures are kept, a worker measures in a process of its own."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import PARTS, _merged
from benchmarks.bag_reading import _frames, _in_own_process, _write
from benchmarks.measure import Check, Part, Timing, in_turn, run_module, run_worker
from benchmarks.packing import helper_cloud, naive_cloud, naive_scan
from benchmarks.report import markdown, write
from benchmarks.simulation import ray_cast_depth
from benchmarks.worker import cloud_memory, room_scale
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.cloud import CloudPacker
from depthnet_ros.simulation import SCENES, Renderer, create_scene

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", PARTS)
def test_every_part_is_a_function(name):
    if PARTS[name] == "benchmarks.node":
        pytest.importorskip("rclpy", reason="no ROS: neither an installation nor its Python wheels")
    assert callable(getattr(import_module(PARTS[name]), name))


def test_medians_and_quartiles():
    timing = Timing.of([0.001, 0.002, 0.003, 0.004, 0.005])
    assert (timing.median_ms, timing.q25_ms, timing.q75_ms, timing.runs) == (3.0, 2.0, 4.0, 5)


def test_alternatives_take_turns():
    calls = []
    timings = in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, runs=1, warm_up=0)
    assert calls == ["a", "b", "a", "b"]
    assert timings["a"].runs == 2


def test_report(tmp_path):
    part = Part("packing", "Packing", [{"what": "a", "median ms": 1.0}, {"what": "b", "median ms": 300.0, "x": 2}])
    part.checks = [Check("small enough", 2.0, 3.0), Check("fast enough", 2.0, 3.0, at_most=False)]
    text = markdown([part], {"cpu": "any"})
    assert "| packing: small enough | 2 | at most 3 | met |" in text
    assert "| packing: fast enough | 2 | at least 3 | missed |" in text
    write([part], {"cpu": "any"}, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["parts"][0]["checks"][1]["met"] is False
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_a_part_of_another_machine_keeps_it(tmp_path):
    old, new = ({"cpu": cpu, "cores": 2, "load": load} for cpu, load in (("old", 0.1), ("new", 0.2)))
    write([Part("packing", "Packing", [{"what": "a"}], machine=old)], old, tmp_path)
    part = Part("backends", "Backends", [{"what": "b"}], machine=new)
    merged = _merged(part, tmp_path)
    assert {one.name: one.machine for one in merged} == {"backends": new, "packing": old}
    text = markdown(merged, new)
    assert text.count("Measured elsewhere: cpu: old\n") == 1 and "cpu: new, cores: 2" in text
    write(merged, new, tmp_path)
    assert [one.machine for one in _merged(part, tmp_path)] == [new, old], "nor is it lost the next time"


def test_results_are_strict_json_and_are_read_back(tmp_path):
    part = Part("peers", "Peers", [{"network": "a", "parameters M": float("nan"), "median ms": 1.0}, {"network": "b"}])
    part.checks = [Check("fast enough", float("nan"), 3.0)]
    write([part], {"cpu": "any"}, tmp_path)
    refuse = json.JSONDecoder(parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    (found,) = refuse.decode((tmp_path / "results.json").read_text())["parts"]
    assert found["rows"][0]["parameters M"] is None and found["checks"][0]["value"] is None
    merged = _merged(Part("packing", "Packing"), tmp_path)
    write(merged, {"cpu": "any"}, tmp_path)
    assert "| a |  | 1 |" in markdown(merged, {"cpu": "any"})


def test_baselines_compute_the_same():
    """A baseline that does less would flatter."""
    camera = PinholeCamera.from_fov(24, 18, 1.2)
    rng = np.random.default_rng(0)
    depth_m = rng.uniform(0.5, 5, (18, 24)).astype(np.float32)
    rgb = rng.integers(0, 256, (18, 24, 3), dtype=np.uint8)
    points = cloud_memory(18, 24)
    CloudPacker().pack(depth_m, camera, points, rgb=rgb)
    want = points.reshape(-1, 4)
    for baseline in (naive_cloud, helper_cloud):
        got = np.frombuffer(baseline(depth_m, camera, rgb), np.float32).reshape(-1, 4)
        np.testing.assert_allclose(got[:, :3], want[:, :3], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(got[:, 3].view(np.uint32), want[:, 3].view(np.uint32))
    assert np.isfinite(naive_scan(depth_m, camera, 0.5, 32)).any()


@pytest.mark.parametrize("name", SCENES)
def test_ray_casting_sees_what_the_renderer_draws(name):
    """Moving things and far copies, too; edges fall on one side or the other."""
    renderer = Renderer(create_scene(name), PinholeCamera.from_fov(64, 48, 1.2))
    for time_s in (1.0, 4.0):
        drawn, cast = renderer.frame(time_s).depth_m, ray_cast_depth(renderer, time_s)
        assert np.mean(~np.isclose(drawn, cast, rtol=1e-3)) < 0.002


def test_worker_measures_in_a_process_of_its_own(tiny_weights, tmp_path, monkeypatch):
    monkeypatch.setenv("DEPTHNET_CACHE_DIR", str(tmp_path))
    answer = run_worker({"job": "eager", "weights": str(tiny_weights)})
    assert answer["size"] == [128, 128]
    assert min(answer["seconds"]) > 0
    with pytest.raises(RuntimeError, match="no weights file"):
        run_worker({"job": "eager", "weights": "nowhere.safetensors"})


def test_pictures_become_rooms_whatever_the_networks_unit():
    """Depth within its limits, or clouds of nothing are measured."""
    for unit in (1.0, -3000.0, 1e-4):
        output = unit * np.random.default_rng(0).normal(5, 2, (48, 64)).astype(np.float32)
        scale, shift = room_scale(output)
        depth_m = 1.0 / (scale * output + shift)
        assert ((depth_m > 0.99) & (depth_m < 8.01)).mean() == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("cameras", [1, 2])
def test_image_to_cloud(tiny_weights, tmp_path, monkeypatch, cameras):
    monkeypatch.setenv("DEPTHNET_CACHE_DIR", str(tmp_path))
    job = {"job": "estimator", "weights": str(tiny_weights), "size": (48, 64), "cameras": cameras, "backend": "torch"}
    assert min(run_worker(job)["seconds"]) > 0


def test_what_one_part_lacks_costs_the_others_nothing(tmp_path):
    """``make bench`` of who has none of the real images."""
    command = [sys.executable, "-m", "benchmarks", "accuracy", "packing", "--quick", "--out", str(tmp_path)]
    done = subprocess.run([*command, "--data", str(tmp_path / "none")], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    parts = {part["name"]: part for part in json.loads((tmp_path / "results.json").read_text())["parts"]}
    assert "left out: " in parts["accuracy"]["title"] and str(tmp_path / "none") in parts["accuracy"]["title"]
    assert parts["packing"]["rows"]


def test_unknown_part_is_refused():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "speed"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "no part named speed; there are backends" in done.stderr


def test_a_job_that_fails_says_why_and_leaves_the_other_parts(tmp_path):
    """A RuntimeError is what the command line counts as a part that failed."""
    with pytest.raises(RuntimeError, match="nowhere"):
        run_module("benchmarks.bag_reading", "BagReader", str(tmp_path / "nowhere"))


def test_peak_memory_is_the_job_s_own_however_large_who_starts_it(tmp_path):
    """Linux hands ru_maxrss of the parent on to the child, through fork and exec."""
    camera = PinholeCamera.from_fov(96, 72, 1.2)
    path = tmp_path / "short.mcap"
    _write(path, _frames(camera, 4), camera, "mcap", "zstd")
    ballast = np.ones(400 << 20, np.uint8)
    answer = _in_own_process("evaluate", path)
    assert answer["evaluated"] == 4
    assert 20 < answer["peak MiB"] < ballast.nbytes >> 21
