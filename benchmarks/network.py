"""Parts that need the network alone: backends, peers, cost, start-up, accuracy."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.measure import Check, Part, Settings, Timing, processes_in_turn
from depthnet_ros.inference.backends.hardware import cpu_has_bfloat16
from depthnet_ros.inference.network_files import find_network
from depthnet_ros.inference.weights import default_weights

DECK = "depthnet_deck"


def backends(settings: Settings) -> Part:
    """(a) Backends side by side, for the default network and the deck's."""
    part = Part("backends", "Backends side by side: the bare network, batch 1, all cores")
    checkpoint = default_weights()
    with tempfile.TemporaryDirectory() as folder:
        deck = _seeded_deck(Path(folder))
        for label, weights in ((checkpoint.stem, checkpoint), (DECK, deck)):
            jobs: dict[str, dict[str, Any]] = {"torch eager float32": {"job": "eager", "weights": str(weights)}}
            for name, precision in _runnable(weights):
                jobs[f"{name} {precision}"] = {
                    "job": "backend", "weights": str(weights), "name": name, "precision": precision,
                }  # fmt: skip
            timings = _timings(processes_in_turn(jobs, settings.rounds))
            baseline = timings["torch eager float32"].median_ms
            for name, timing in timings.items():
                part.rows.append(
                    {"network": f"{label}: {name}", **timing.row(), "speed-up": baseline / timing.median_ms}
                )
            if label == checkpoint.stem:
                part.checks += _backend_checks(timings)
    return part


def _backend_checks(timings: Mapping[str, Timing]) -> list[Check]:
    baseline = timings["torch eager float32"].median_ms
    floats = [t.median_ms for name, t in timings.items() if not name.endswith("int8")]
    checks = [Check("best float backend: times faster than torch eager float32", baseline / min(floats), 5.0, False)]
    if "openvino int8" in timings:  # the 8-bit file is made for it; onnxruntime runs it, too, but slower
        gain = timings["openvino float32"].median_ms / timings["openvino int8"].median_ms
        checks.append(Check("openvino int8: times faster than openvino float32", gain, 1.5, False))
    return checks


def _runnable(weights: Path) -> list[tuple[str, str]]:
    half = ("bfloat16",) if cpu_has_bfloat16() else ()
    int8 = ("int8",) if find_network(weights).int8_onnx else ()
    by_backend = {"torch": ("float32", *half), "onnxruntime": ("float32", *int8), "openvino": ("float32", *half, *int8)}
    return [(name, precision) for name, precisions in by_backend.items() for precision in precisions]


def _seeded_deck(folder: Path) -> Path:
    """The deck's network with the shipped weights, or seeded ones where none ship: its cost is the same."""
    import torch

    from depthnet_ros.models.checkpoint import save_checkpoint
    from depthnet_ros.models.registry import build
    from depthnet_ros.models.spec import InputSpec, ModelSpec

    shipped = default_weights().with_name(f"{DECK}.safetensors")
    if shipped.is_file():
        return shipped
    torch.manual_seed(0)
    network = build(DECK)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(4.0)  # as drawn, N(0, 0.02), activations vanish into denormals
    path = folder / f"{DECK}.safetensors"
    save_checkpoint(path, network, ModelSpec(DECK, InputSpec(128, 128)))
    return path


def peers(settings: Settings) -> Part:
    """(h) Peers that run here, each at its own input size, by the fastest backend that takes it."""
    from benchmarks.networks import SHAPED, export_shaped

    part = Part("peers", "Peers at their own input sizes; *_shaped have random weights and the original's cost")
    ours = default_weights()
    with tempfile.TemporaryDirectory() as folder:
        jobs: dict[str, dict[str, Any]] = {
            ours.stem: {"job": "backend", "weights": str(ours), "name": "auto", "precision": "auto"}
        }
        millions = {ours.stem: _parameters(ours)}
        for name in SHAPED:
            path, count = export_shaped(name, Path(folder))
            millions[name] = count / 1e6
            jobs[name] = {"job": "backend", "weights": str(path), "name": "auto", "precision": "auto"}
        if pydnet := _pydnet(settings, part):
            jobs["PyDNet++ (TFLite)"] = {"job": "tflite", "path": str(pydnet.resolve())}
        answers = processes_in_turn(jobs, settings.rounds)
    timings = _timings(answers)
    for name, timing in timings.items():
        answer = answers[name]
        part.rows.append({
            "network": name,
            "input": "x".join(map(str, answer["size"])),
            "backend": f"{answer.get('backend', 'tflite')} {answer.get('precision', 'float32')}",
            "parameters M": millions.get(name, float("nan")),
            **timing.row(),
        })  # fmt: skip
    if "PyDNet++ (TFLite)" in timings:
        ratio = timings["PyDNet++ (TFLite)"].median_ms / timings[ours.stem].median_ms
        part.checks.append(Check("times faster than PyDNet++", ratio, 5.0, False))
    return part


def _pydnet(settings: Settings, part: Part) -> Path | None:
    """A published network to compare with, where it and what runs it are there; else a note in ``part``."""
    path = settings.data.parent / "models" / "pydnet_pp_optimized.tflite"
    if not path.is_file():
        part.notes.append(f"PyDNet++ left out: no {path}")
    elif find_spec("ai_edge_litert") is None:
        part.notes.append("PyDNet++ left out: pip install ai-edge-litert")
    else:
        return path
    return None


def _parameters(checkpoint: Path) -> float:
    from depthnet_ros.models.checkpoint import load_checkpoint

    return sum(parameter.numel() for parameter in load_checkpoint(checkpoint)[0].parameters()) / 1e6


def cost(settings: Settings) -> Part:
    """(e) What image size, cloud stride and number of cameras cost: image to cloud, without ROS."""
    part = Part("cost", "Image to cloud without ROS: image size, cloud stride, cameras in one batch")
    base = {"job": "estimator", "weights": str(default_weights()), "size": (480, 640)}
    jobs: dict[str, dict[str, Any]] = {
        "640x480, stride 2": base,
        "320x240, stride 2": {**base, "size": (240, 320)},
        "1280x960, stride 2": {**base, "size": (960, 1280)},
        "1920x1440, stride 2": {**base, "size": (1440, 1920)},
        "640x480, stride 1": {**base, "stride": 1},
        "640x480, stride 4": {**base, "stride": 4},
        "2 cameras 640x480": {**base, "cameras": 2},
        "4 cameras 640x480": {**base, "cameras": 4},
    }
    timings = _timings(processes_in_turn(jobs, settings.rounds))
    one = timings["640x480, stride 2"].median_ms
    part.rows = [{"case": name, **timing.row(), "ratio": timing.median_ms / one} for name, timing in timings.items()]
    part.checks = [Check("two cameras against one", timings["2 cameras 640x480"].median_ms / one, 1.7)]
    return part


def startup(settings: Settings) -> Part:
    """(g) From the start of the process to the first depth, with what is cached in place."""
    part = Part(
        "startup", "Start of the process to first depth (second start: the choice is remembered)", chart="median ms"
    )
    weights = str(default_weights())
    jobs = {
        f"backend {name}": {"job": "first_depth", "weights": weights, "backend": name}
        for name in ("auto", "onnxruntime", "openvino", "torch")
    }
    processes_in_turn(jobs, 1)  # fills caches
    answers = processes_in_turn(jobs, max(3, settings.rounds))
    for name, answer in answers.items():
        timing = Timing.of(answer["seconds"])
        part.rows.append(
            {"case": name, **timing.row(), "memory MB": answer["memory_mb"], "torch loaded": answer["torch"]}
        )
    return part


def accuracy(settings: Settings) -> Part:
    """Accuracy on the val split: precisions of the default network, and PyDNet++, by MiDaS' protocol."""
    from depthnet_ros.inference.estimator import DepthEstimator
    from training.compare import tflite_predictor
    from training.datasets.base import open_dataset
    from training.validation import judge_all, macro_average

    part = Part("accuracy", "Accuracy on the val split, macro-averaged over scenes", chart="AbsRel")
    dataset = open_dataset("index_csv", settings.data / "index.csv", "val")
    samples = [dataset[index] for index in range(0, len(dataset), 10 if settings.quick else 1)]
    weights = default_weights()
    predictors: dict[str, Any] = {}
    for precision in ("float32", "bfloat16", "int8"):
        if precision in [p for name, p in _runnable(weights) if name == "openvino"]:
            estimator = DepthEstimator.from_weights(weights, "openvino", "cpu", precision)
            predictors[f"{weights.stem} {precision}"] = lambda rgb, made=estimator: made.infer(rgb).at_source()
    if pydnet := _pydnet(settings, part):
        predictors["PyDNet++ (TFLite)"] = tflite_predictor(pydnet)
    figures = {name: macro_average(judge_all(predict, samples, stride=3)) for name, predict in predictors.items()}
    for name, row in figures.items():
        part.rows.append({"network": name, "AbsRel": row["abs_rel"], "delta1": row["delta1"], "WHDR": row["whdr"]})
    full = figures[f"{weights.stem} float32"]["abs_rel"]
    if (int8 := f"{weights.stem} int8") in figures:
        worse = 100 * (figures[int8]["abs_rel"] / full - 1)
        part.checks.append(Check("int8: AbsRel worse than float32, %", worse, 3.0))
    if "PyDNet++ (TFLite)" in figures:
        ratio = full / figures["PyDNet++ (TFLite)"]["abs_rel"]
        part.checks.append(Check("AbsRel against PyDNet++", ratio, 1.0))
    part.notes.append(f"{len(samples)} images; each image aligned by least squares in inverse depth (scale and shift)")
    return part


def _timings(answers: Mapping[str, Mapping[str, Any]]) -> dict[str, Timing]:
    return {name: Timing.of(answer["seconds"]) for name, answer in answers.items()}
