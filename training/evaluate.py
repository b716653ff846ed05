"""Judge weights: ``python -m training.evaluate --weights WEIGHTS --data ../shared/data/index.csv --out report``.

MiDaS' protocol: per image, least squares of scale and shift in inverse depth, prediction brought to the truth's grid,
depth capped. Every table also has a constant, a ramp and the deck's DepthNet, so that no figure stands alone.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from depthnet_ros.errors import ConfigError
from depthnet_ros.evaluation.alignment import CROPS
from depthnet_ros.inference.ensemble import DepthEnsemble
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.inference.network_files import find_network
from depthnet_ros.inference.weights import default_weights, weights_folders
from depthnet_ros.models.spec import InputSpec
from training.command import command
from training.compare import tflite_predictor
from training.datasets.base import READERS, DatasetError, DepthDataset, open_dataset, reader_options
from training.outputs import write_text, writing
from training.report import html_report
from training.validation import (
    ImageResult,
    Predictor,
    judge,
    macro_average,
    predicted,
    truth_through_grid,
    usable_items,
)

COLUMNS = (
    "abs_rel", "delta1", "delta2", "delta3", "rmse", "log10", "silog", "spearman", "whdr", "sdr", "boundary_f1", "bias",
)  # fmt: skip
COMPUTED_TRUTH = (
    "WSVD publishes no depth: this truth is computed from optical flow, so no figure equals published ones."
)
RANDOM_PAIRS = (
    "sdr is of random pixels; MegaDepth's own is of its sparse features, so it does not equal published ones."
)
CROPPED = {"eigen": "nyu", "garg": "kitti"}
"""Whose window a crop is."""
BASELINES = ("constant", "ramp")
DECK_NAME = "depthnet_deck.safetensors"


def constant(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W) of the same inverse depth everywhere, for an (H, W, 3) image: what knowing nothing gives."""
    return np.zeros(image.shape[:2], dtype=np.float32)


def ramp(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W) inverse depth that grows with the row, for an (H, W, 3) image: the ground is near, at the bottom."""
    rows = np.linspace(0.0, 1.0, image.shape[0], dtype=np.float32)
    return np.repeat(rows[:, None], image.shape[1], axis=1)


def open_estimator(path: Path) -> DepthEstimator:
    """A checkpoint (through torch) or an exported network as the node would run it, in float32."""
    backend = "torch" if path.suffix == ".safetensors" else "auto"
    return DepthEstimator.from_weights(path, backend=backend, precision="float32")


def estimator_predictor(path: Path, mirror: bool = False) -> Predictor:
    """A network of :func:`open_estimator`; with ``mirror`` as ``depthnet infer`` does."""
    estimator = open_estimator(path)

    def predict(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        return (estimator.infer_with_mirror if mirror else estimator.infer)(image).at_source()

    return predict


def ensemble_predictor(paths: Sequence[Path]) -> Predictor:
    """Several networks as ``depthnet infer`` would run them together, in float32."""
    ensemble = DepthEnsemble([open_estimator(path) for path in paths])
    return lambda image: ensemble.infer(image).at_source()


def make_predictors(
    weights: Sequence[Path], compare: Sequence[Path], mirror: bool = False, notes: list[str] | None = None
) -> dict[str, Predictor]:
    """Everything that is judged, by name; the first of ``weights`` comes first and is what the report shows.

    ``mirror``: each of ``weights`` a second time, as the mean with the mirror image; and the mean of all these.
    ``notes`` gets a line on each network whose input and output had to be assumed.
    """
    deck = next((folder / DECK_NAME for folder in weights_folders() if (folder / DECK_NAME).is_file()), None)
    given = {path.resolve() for path in weights}
    others = [path for path in (*([deck] if deck else []), *compare) if path.resolve() not in given]
    names = unique_names([*weights, *others])
    found: dict[str, Predictor] = {names[path]: estimator_predictor(path) for path in weights}
    if mirror:
        found |= {f"{names[path]} + mirror": estimator_predictor(path, mirror=True) for path in weights}
        if len(weights) > 1:
            found[f"mean of these {len(weights)}"] = ensemble_predictor(weights)
    found["constant"], found["ramp"] = constant, ramp
    for path in others:
        found[names[path]] = tflite_predictor(path, notes) if path.suffix == ".tflite" else estimator_predictor(path)
    return found


def unique_names(paths: Sequence[Path]) -> dict[Path, str]:
    """The shortest name of each that no other has: its stem, its name, or these below as many folders as it takes."""
    choices: dict[Path, list[str]] = {}
    for path in paths:
        folders = path.resolve().parts[:-1]
        above = ["/".join((*folders[len(folders) - count :], "")) for count in range(len(folders) + 1)]
        choices[path] = [folder + name for folder in above for name in (path.stem, path.name)]
    owners = Counter(name for names in choices.values() for name in set(names)) + Counter(BASELINES)
    return {path: next((n for n in names if owners[n] == 1), str(path)) for path, names in choices.items()}


class Evaluated(NamedTuple):
    """``results`` of every image that could be judged, by predictor, and ``notes``: a line on images that could not be
    read, on those that could not be judged, or not by depth, and on each predictor that gave nothing usable for some.
    """

    results: dict[str, list[ImageResult]]
    notes: list[str]


def evaluate(
    dataset: DepthDataset,
    predictors: Mapping[str, Predictor],
    cap_m: float | None = None,
    crop: str = "none",
    grid: InputSpec | None = None,
) -> Evaluated:
    """Figures of every image by every predictor; ``cap_m`` and ``crop`` as :func:`training.validation.judge` has them.

    ``grid``: the input of a network, for the figures of the truth itself through its grid (:func:`truth_name`), too.

    Raises:
        DatasetError: not one image can be judged.
    """
    results: dict[str, list[ImageResult]] = {name: [] for name in (*predictors, *([truth_name(grid)] if grid else []))}
    left_out: list[str] = []
    unjudged: list[str] = []
    without_depth: list[str] = []
    refused: dict[str, list[str]] = {name: [] for name in predictors}
    items = usable_items([dataset], left_out, unjudged=unjudged)
    for index, sample in tqdm(items, total=len(dataset), unit="image", mininterval=5.0):
        given = {name: predicted(predict, sample, refused[name]) for name, predict in predictors.items()}
        if grid is not None:
            given[truth_name(grid)] = truth_through_grid(sample, grid)
        judged = {name: judge(prediction, sample, cap_m=cap_m, crop=crop) for name, prediction in given.items()}
        for name, figures in judged.items():
            if figures:
                results[name].append(ImageResult(sample.dataset, sample.scene, sample.name, figures, index))
        if not any(judged.values()):
            unjudged.append(f"{sample.dataset}/{sample.name}")
        elif sample.kind.has_zero and not any("abs_rel" in figures for figures in judged.values()):
            without_depth.append(f"{sample.dataset}/{sample.name}")
    if not any(results.values()):
        reason = (
            f"; the first: {left_out[0]}" if left_out else ": too few valid pixels within the cap, or ordinal maps only"
        )
        raise DatasetError(f"none of the {len(dataset)} images can be judged{reason}")
    fates = {
        "left out": left_out,
        "not judged, having too few valid pixels within the cap or an ordinal map": unjudged,
        "judged by order alone, having hardly any depth that is not infinite": without_depth,
    }
    return Evaluated(results, [*_fate_notes(fates, len(dataset)), *_refusal_notes(refused)])


def _fate_notes(fates: Mapping[str, Sequence[str]], count: int) -> list[str]:
    return [
        f"{len(images)} of {count} images {what}, the first: {images[0]}" for what, images in fates.items() if images
    ]


def _refusal_notes(refused: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        f"{name}: no usable output for {len(lines)} images, which count as a constant; the first: {lines[0]}"
        for name, lines in refused.items()
        if lines
    ]


def truth_name(grid: InputSpec) -> str:
    """The row of the truth through a network's grid, which tells what a figure of this network can be at most."""
    return f"truth at {grid.height_px}x{grid.width_px}"


def crop_notes(crop: str, dataset: DepthDataset) -> list[str]:
    """A line on data sets whose benchmark has another window than ``crop``."""
    if crop == "none":
        return []
    names = sorted({record.dataset for record in dataset.records})
    others = [name for name in names if not re.search(rf"(?<![a-z]){CROPPED[crop]}", name.lower())]
    if not others:
        return []
    return [f"--crop {crop} is the window of {CROPPED[crop].upper()}'s benchmark, not of {', '.join(others)}'s."]


def summary(
    results: Mapping[str, Sequence[ImageResult]], without: Sequence[str] = ()
) -> dict[str, dict[str, dict[str, float]]]:
    """group -> predictor -> figure, macro-averaged over scenes; the groups are ``all`` and each data set, one that is
    named as something else there ``data set <its name>``.

    ``without``: scenes (``scene`` or ``dataset/scene``), such as those trained on, that a further group leaves out.
    """
    names = sorted({result.dataset for some in results.values() for result in some})
    groups: dict[str, dict[str, dict[str, float]]] = {
        "all": {name: macro_average(some) for name, some in results.items()}
    }
    if without:
        kept = unseen(results, without)
        groups[f"all but {', '.join(without)}"] = {name: macro_average(some) for name, some in kept.items()}
    for dataset in names:
        taken = dataset in (*groups, "judged")  # figures.json has that beside the groups
        groups[f"data set {dataset}" if taken else dataset] = {
            name: macro_average([result for result in some if result.dataset == dataset])
            for name, some in results.items()
        }
    return groups


def unseen(results: Mapping[str, Sequence[ImageResult]], without: Sequence[str]) -> dict[str, list[ImageResult]]:
    """The results of all scenes but these (``scene`` or ``dataset/scene``)."""
    return {
        name: [r for r in some if not {r.scene, f"{r.dataset}/{r.scene}"} & set(without)]
        for name, some in results.items()
    }


def check_scenes(dataset: DepthDataset, names: Sequence[str]) -> None:
    """Raises ConfigError unless ``dataset`` has every scene of ``names`` (``scene`` or ``dataset/scene``)."""
    scenes = {(record.dataset, record.scene) for record in dataset.records}
    known = {name for pair in scenes for name in (pair[1], "/".join(pair))}
    if unknown := sorted(set(names) - known):
        there = ", ".join(sorted("/".join(pair) for pair in scenes))
        raise ConfigError(f"--without-scenes: no scene named {unknown}; there are {there}")


def table(groups: Mapping[str, Mapping[str, Mapping[str, float]]], columns: Sequence[str] = COLUMNS) -> str:
    """Plain text, a block per group; a dash where a measure does not apply."""
    width = max(26, 3 + max(len(name) for rows in groups.values() for name in rows))
    lines = []
    for group, rows in groups.items():
        lines.append(f"{group[: width - 1]:<{width}}" + "".join(f"{column:>12}" for column in columns))
        for name, figures in rows.items():
            cells = (f"{figures[c]:>12.3f}" if c in figures else f"{'-':>12}" for c in columns)
            lines.append(f"  {name:<{width - 2}}" + "".join(cells))
    return "\n".join(lines)


@command()
def main(argv: list[str] | None = None) -> int:
    """Command line of the evaluation."""
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("--weights", type=Path, nargs="+", help="checkpoints; default: the shipped one")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--reader", default="index_csv", choices=sorted(READERS))
    parser.add_argument("--options", default="{}", help="the reader's, as the training had them: {val_list: FILE}")
    parser.add_argument("--split", default="val", choices=("train", "val", "all"))
    parser.add_argument("--cap-m", type=float, help="largest depth in metres; default by data set: 10 indoors, else 80")
    parser.add_argument("--crop", default="none", choices=CROPS, help="judge NYU's (eigen) or KITTI's (garg) part only")
    parser.add_argument("--compare", type=Path, nargs="*", default=[], help="other networks: .onnx or .tflite")
    parser.add_argument(
        "--without-scenes", default="", metavar="A,B", help="an average more, without these scenes (those trained on)"
    )
    parser.add_argument(
        "--mirror", action="store_true", help="as depthnet infer computes them, too: each, and the mean"
    )
    parser.add_argument("--out", type=Path, help="folder for figures.json and report.html")
    args = parser.parse_args(argv)
    dataset = open_dataset(args.reader, args.data, args.split, reader_options(args.options))
    without = [name.strip() for name in args.without_scenes.split(",") if name.strip()]
    check_scenes(dataset, without)
    if args.cap_m is not None and not 0 < args.cap_m < math.inf:
        raise ConfigError(f"--cap-m must be positive and finite, got {args.cap_m:g}")
    if args.out:
        with writing(args.out):  # before hours are spent
            args.out.mkdir(parents=True, exist_ok=True)
    weights = args.weights or [default_weights()]
    notes = [COMPUTED_TRUTH] if args.reader == "wsvd" else []
    notes += [RANDOM_PAIRS] if args.reader in ("megadepth", "shards") else []
    notes += crop_notes(args.crop, dataset)
    predictors = make_predictors(weights, args.compare, args.mirror, notes)
    results, more = evaluate(dataset, predictors, args.cap_m, args.crop, find_network(weights[0]).spec.input)
    notes += more
    groups = summary(results, without)
    first = next(iter(predictors))
    what = {
        "images": len(results[first]), "reader": args.reader, "data": str(args.data), "split": args.split,
        "options": args.options, "crop": args.crop, "cap_m": args.cap_m or "by data set",
    }  # fmt: skip
    told = "judged: " + ", ".join(f"{name} {value}" for name, value in what.items())
    text = "\n".join([told, table(groups), *notes])
    print(text)
    if args.out:
        write_text(args.out / "figures.json", json.dumps({"judged": what, **groups}, indent=2))
        write_text(args.out / "report.html", html_report(text, dataset, results[first], predictors[first], first))
        print(f"report: {args.out / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
