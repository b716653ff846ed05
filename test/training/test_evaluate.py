"""Evaluation: its averages, its baselines, foreign networks, and the command with its report."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depthnet_ros.errors import ConfigError
from depthnet_ros.models.checkpoint import save_checkpoint
from depthnet_ros.models.registry import build
from depthnet_ros.models.spec import InputSpec, ModelSpec
from test.training.conftest import sample
from training.datasets.base import DatasetError, Sample, TargetKind, open_dataset
from training.datasets.disparity_png import write_disparity
from training.datasets.wsvd_build import NOTES_NAME, Note
from training.evaluate import check_scenes, constant, evaluate, main, ramp, summary, table, unique_names
from training.report import html_report, ranked
from training.validation import (
    ImageResult,
    judge,
    judge_all,
    judgeable,
    judged_window,
    macro_average,
    network_predictor,
    usable_samples,
    validate,
)

ROOT = Path(__file__).parents[2]


def test_the_truth_itself_is_perfect_whatever_its_scale_and_shift():
    for kind in (TargetKind.DEPTH, TargetKind.DISPARITY):
        truth = sample(kind)
        figures = judge(3 * truth.inverse_depth() - 7, truth)
        assert figures["abs_rel"] == pytest.approx(0.0, abs=1e-5)
        assert figures["delta1"] == 1.0
        assert figures["boundary_f1"] == pytest.approx(1.0, abs=1e-3)  # float32 at the very thresholds
        assert figures["whdr"] == figures["sdr"] == 0.0


def test_a_zero_that_is_arbitrary_gives_measures_of_order_only():
    assert set(judge(sample(TargetKind.RANK).target, sample(TargetKind.RANK))) == {"spearman", "whdr"}
    assert set(judge(sample(TargetKind.RANK).target, sample(TargetKind.DISPARITY_AFFINE))) == {"spearman", "whdr"}
    assert not judgeable(sample(TargetKind.ORDINAL))


def test_what_a_network_does_not_know_counts_as_a_constant():
    truth = sample(TargetKind.DEPTH)
    whole = truth.inverse_depth()
    holed = whole.copy()
    holed[:20] = np.nan
    filled = np.where(np.isnan(holed), np.nanmedian(holed), holed)
    assert judge(holed, truth) == judge(filled, truth)
    assert judge(holed, truth)["abs_rel"] > judge(whole, truth)["abs_rel"] + 0.01
    assert judge(np.full_like(whole, np.nan), truth) == judge(np.zeros_like(whole), truth)


def test_baselines_know_what_they_should():
    truth = sample(TargetKind.DEPTH)
    of_ramp, of_constant = judge(ramp(truth.rgb), truth), judge(constant(truth.rgb), truth)
    assert of_ramp["spearman"] > 0.9 and of_constant["spearman"] == 0.0
    assert of_ramp["abs_rel"] < 0.5 * of_constant["abs_rel"]


def test_macro_average_counts_scenes_not_images():
    def result(scene: str, value: float) -> ImageResult:
        return ImageResult("set", scene, "", {"abs_rel": value, "boundary_f1": float("nan")})

    results = [result("a", 0.1)] * 9 + [result("a", 0.2), result("b", 0.51)]
    assert macro_average(results) == {"abs_rel": pytest.approx((0.11 + 0.51) / 2)}


def test_scenes_of_one_name_in_two_data_sets_are_two():
    results = [ImageResult("one", "a", "", {"abs_rel": 0.1})] * 3 + [ImageResult("two", "a", "", {"abs_rel": 0.3})]
    assert macro_average(results) == {"abs_rel": pytest.approx(0.2)}


def test_infinitely_far_pixels_have_an_order_and_no_depth():
    """Inverse depth 0, as a sky has it: AbsRel is that of the rest."""
    sky = sample(TargetKind.DISPARITY)
    target = sky.target.copy()
    target[:20] = 0.0
    ramp_like = np.linspace(0.0, 4.0, 60, dtype=np.float32)[:, None].repeat(80, axis=1)
    with_sky = judge(ramp_like, replace(sky, target=target))
    without = judge(ramp_like, replace(sky, target=target, valid_mask=sky.valid_mask & (target > 0)))
    assert with_sky["abs_rel"] == pytest.approx(without["abs_rel"])
    assert with_sky["spearman"] != pytest.approx(without["spearman"])


def test_truth_beyond_the_cap_is_not_looked_at_by_any_measure():
    """A sensor's noise out there has no order to be told right."""
    near = replace(sample(TargetKind.DEPTH), dataset="nyu")
    target, guess = near.target.copy(), near.inverse_depth()
    target[:20] = np.random.default_rng(0).uniform(11.0, 40.0, (20, 80))
    within = near.valid_mask.copy()
    within[:20] = False
    noisy = replace(near, target=target)
    assert judge(guess, noisy) == judge(guess, replace(near, valid_mask=within))
    assert judge(guess, noisy, cap_m=80.0)["spearman"] < judge(guess, noisy)["spearman"] - 0.01


def test_an_image_whose_truth_is_one_number_has_no_order():
    """It would count as a guess does, whatever the network."""
    wall = replace(sample(TargetKind.DEPTH), target=np.full((60, 80), 3.0, np.float32))
    figures = judge(np.linspace(0.0, 1.0, 4800, dtype=np.float32).reshape(60, 80), wall)
    assert np.isnan(figures["spearman"]) and figures["abs_rel"] < 0.01
    known = ImageResult("set", "scene", "known", {"spearman": 0.5})
    results = [ImageResult("set", "scene", "wall", figures), known]
    assert macro_average(results)["spearman"] == 0.5
    assert ranked(results) == {"best": [1], "median": [1], "worst": [1]}


def test_the_best_comes_first_and_the_worst_last():
    order = (0.3, 0.9, 0.5, -0.2, 0.8, 0.7, 0.1, 0.6, 0.4)
    results = [ImageResult("s", "a", str(number), {"spearman": value}) for number, value in enumerate(order)]
    places = ranked(results)
    assert order[places["best"][0]] == 0.9
    assert order[places["worst"][0]] == -0.2
    assert 0.5 in [order[index] for index in places["median"]]


def test_what_is_not_judged_is_counted(index: Path):
    class Few:
        """The images of the index; every other with 50 valid pixels, the rest all but 60 beyond a cap of 3 m."""

        def __init__(self) -> None:
            self._all = open_dataset("index_csv", index, "all")
            self.records = self._all.records

        def __len__(self) -> int:
            return len(self._all)

        def __getitem__(self, number: int) -> Sample:
            whole = self._all[number]
            mask = whole.valid_mask.copy()
            if number % 2:
                mask[:] = False
                mask[50, :50] = True
            return replace(whole, valid_mask=mask)

    notes = evaluate(Few(), {"ramp": ramp}).notes
    assert [note.split(",")[0] for note in notes] == ["5 of 10 images not judged"]
    assert "having too few valid pixels within the cap or an ordinal map, the first: " in notes[0]
    notes = evaluate(open_dataset("index_csv", index, "all"), {"ramp": ramp}, cap_m=0.5).notes
    assert [note.split(",")[0] for note in notes] == ["8 of 10 images not judged"]


def test_depth_is_capped_in_metres_only_and_few_pixels_are_no_error():
    depth = np.linspace(15.0, 40.0, 60 * 80, dtype=np.float32).reshape(60, 80)
    room = replace(sample(TargetKind.DEPTH), dataset="nyu")
    far = replace(room, target=depth, valid_mask=np.ones(depth.shape, np.bool_))
    guess = 1.0 / depth + 0.01 * np.random.default_rng(0).random(depth.shape, dtype=np.float32)
    assert judge(guess, far) == {}  # nothing within 10 m
    assert judge(guess, replace(far, metric=False))["abs_rel"] < 0.3
    assert judge(guess, replace(far, dataset="field"))["abs_rel"] < 0.3
    assert judge(guess, far, 3, cap_m=80.0) == judge(guess, replace(far, dataset="field"), 3)
    mask = np.zeros(depth.shape, dtype=np.bool_)
    mask[1::3, 1] = True  # which a stride of three never meets
    assert judge(guess, replace(far, valid_mask=mask), stride=3) == {}
    assert macro_average(judge_all(lambda _: guess, [replace(far, valid_mask=mask)], stride=3)) == {}


def test_a_network_is_judged_through_the_processing_of_use(index: Path):
    spec = ModelSpec("depthnet_deck", InputSpec(128, 128))
    network = build("depthnet_deck").eval()
    dataset = open_dataset("index_csv", index, "val")
    results = judge_all(network_predictor(network, spec), (dataset[i] for i in range(len(dataset))))
    assert [result.scene for result in results] == ["room0", "road"]
    assert all(np.isfinite(result.figures["spearman"]) for result in results)
    groups = summary(evaluate(dataset, {"ramp": ramp, "constant": constant}).results)
    assert set(groups) == {"all", "room", "street"}
    assert "abs_rel" not in groups["street"]["ramp"]
    assert "ramp" in table(groups) and " - " in table(groups)


def test_the_command_writes_a_table_json_and_a_page_that_needs_nothing_else(index: Path, tmp_path: Path):
    torch.manual_seed(0)
    weights = tmp_path / "mine.safetensors", tmp_path / "other.safetensors"
    for path in weights:
        network = build("depthnet", size="small").eval()
        save_checkpoint(path, network, ModelSpec("depthnet", InputSpec(64, 96, keep_aspect=True)))
    command = [sys.executable, "-m", "training.evaluate", "--weights", *map(str, weights), "--mirror"]
    command += ["--data", str(index), "--out", str(tmp_path / "report")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads((tmp_path / "report" / "figures.json").read_text())
    names = ("mine", "other", "mine + mirror", "other + mirror", "mean of these 2")
    assert {*names, "constant", "ramp"} <= set(figures["all"])
    assert len({figures["all"][name]["abs_rel"] for name in names}) == len(names)
    assert f"{figures['all']['mine']['abs_rel']:.3f}" in done.stdout
    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") >= 6
    assert "http" not in page.replace("http-equiv", "")


def test_a_data_set_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]):
    assert main(["--data", "none.csv"]) == 1
    assert "no data at none.csv" in capsys.readouterr().err


def test_one_damaged_image_or_dead_output_ends_nothing(index: Path, tmp_path: Path):
    for path in index.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "8.jpg").write_bytes(b"not a picture")
    dataset = open_dataset("index_csv", tmp_path, "all")
    network = build("depthnet").eval()
    torch.nn.init.zeros_(network.head[-1].weight)  # one number everywhere
    spec = ModelSpec("depthnet", InputSpec(64, 96, keep_aspect=True))
    dead = network_predictor(network, spec)
    results, notes = evaluate(dataset, {"dead": dead, "constant": constant})
    assert [r.figures for r in results["dead"]] == [r.figures for r in results["constant"]]
    assert len(results["dead"]) == 9
    assert [note.split(";")[0].split(",")[0] for note in notes] == [
        "1 of 10 images left out",
        "dead: no usable output for 9 images",
    ]
    assert html_report("", dataset, results["dead"], dead, "dead").count("<img") == 12
    assert [r.figures for r in validate(network, spec, [dataset])] == [
        r.figures for r in judge_all(constant, usable_samples([dataset], []), stride=3)
    ]
    for number in range(10):
        (tmp_path / f"{number}.jpg").write_bytes(b"not a picture")
    with pytest.raises(DatasetError, match=r"none of the 10 images can be judged; the first: cannot read .*0\.jpg"):
        evaluate(dataset, {"constant": constant})


@pytest.mark.parametrize(
    ("crop", "size", "cut", "wanted"),
    [
        ("eigen", (464, 624), (8, 8, 480, 640), (45, 471, 41, 601)),
        ("garg", (352, 1216), (23, 13, 375, 1242), (153, 371, 44, 1197)),
    ],
)
def test_a_benchmark_s_window_is_that_of_the_whole_picture(crop, size, cut, wanted):
    """Eigen's and Garg's own pixels, though the readers of NYU and KITTI have cut a border off."""
    mask = np.ones(size, bool)
    target = np.ones(size, np.float32)
    rgb = np.zeros((*size, 3), np.uint8)
    judged = judged_window(crop, Sample(rgb, target, mask, TargetKind.DEPTH, None, "a", "b", "c", cut=cut))
    rows, columns = (range(*window.indices(length)) for window, length in zip(judged, size, strict=True))
    assert (rows[0] + cut[0], rows[-1] + 1 + cut[0]) == (wanted[0], min(wanted[1], size[0] + cut[0]))
    assert (columns[0] + cut[1], columns[-1] + 1 + cut[1]) == wanted[2:]


def test_a_crop_leaves_the_rest_out():
    truth = sample(TargetKind.DEPTH)
    guess = truth.inverse_depth().copy()
    guess[:5] = guess[-2:] = guess[:, :4] = guess[:, -5:] = 0.0  # the frame that NYU's crop leaves out
    assert judge(guess, truth)["abs_rel"] > 0.05
    assert judge(guess, truth, crop="eigen")["abs_rel"] == pytest.approx(0.0, abs=1e-5)


def test_rmse_is_of_metres_only():
    assert "rmse" in judge(constant(sample(TargetKind.DEPTH).rgb), sample(TargetKind.DEPTH))
    for other in (sample(TargetKind.DISPARITY), replace(sample(TargetKind.DEPTH), metric=False)):
        figures = judge(constant(other.rgb), other)
        assert "abs_rel" in figures and "rmse" not in figures


def test_every_network_has_a_name_of_its_own():
    paths = [Path(name) for name in ("a/weights.pt", "b/weights.pt", "c/small.pt", "c/small.onnx", "ramp.pt", "x.pt")]
    names = list(unique_names(paths).values())
    assert names == ["a/weights", "b/weights", "small.pt", "small.onnx", "ramp.pt", "x"]
    groups = {"all": {name: {"abs_rel": 0.1} for name in ("a" * 30, "a" * 30 + "b")}}
    assert "a" * 30 + "b " in table(groups)


def test_figures_on_a_truth_that_was_computed_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    video = tmp_path / "wsvd" / "video"
    video.mkdir(parents=True)
    disparity = np.linspace(-9, 9, 64 * 96, dtype=np.float32).reshape(64, 96)
    write_disparity(video / "000000.png", disparity, np.ones(disparity.shape, np.bool_))
    rng = np.random.default_rng(0)
    cv2.imwrite(str(video / "000000.jpg"), rng.integers(0, 255, (64, 96, 3), dtype=np.uint8))
    (video / NOTES_NAME).write_text(json.dumps(asdict(Note(0, "val", "", 0.0, 50.0, 1.0))) + "\n")
    weights = tmp_path / "mine.safetensors"
    save_checkpoint(weights, build("depthnet_deck").eval(), ModelSpec("depthnet_deck", InputSpec(128, 128)))
    arguments = ["--weights", str(weights), "--reader", "wsvd", "--data", str(video.parent), "--out", str(tmp_path)]
    assert main(arguments) == 0
    for text in (capsys.readouterr().out, (tmp_path / "report.html").read_text()):
        assert "this truth is computed from optical flow" in text


def test_an_average_more_leaves_out_the_scenes_that_were_trained_on(index: Path):
    results = {"mine": [ImageResult("a", "old", "", {"abs_rel": 0.1}), ImageResult("a", "new", "", {"abs_rel": 0.3})]}
    for name in ("old", "a/old"):
        groups = summary(results, [name])
        assert list(groups) == ["all", f"all but {name}", "a"]
        assert groups[f"all but {name}"]["mine"] == {"abs_rel": 0.3}
        assert groups["all"]["mine"]["abs_rel"] == pytest.approx(0.2)
    with pytest.raises(ConfigError, match=r"no scene named \['older'\]; there are room/room0, street/road"):
        check_scenes(open_dataset("index_csv", index, "val"), ["room0", "street/road", "older"])
