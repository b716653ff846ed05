"""What a sigma is worth, beside what needs no network; images that say nothing of it."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depthnet_ros.models.checkpoint import save_checkpoint
from depthnet_ros.models.registry import build
from depthnet_ros.models.spec import InputSpec, ModelSpec
from test.training.conftest import sample
from training import uncertainty
from training.datasets.base import TargetKind


def test_sigma_is_judged_beside_what_needs_no_network(index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    weights = tmp_path / "mine.safetensors"
    arguments = {"size": "small", "log_sigma": True}
    torch.manual_seed(0)
    network, shape = build("depthnet", **arguments).eval(), InputSpec(64, 96, keep_aspect=True)
    save_checkpoint(weights, network, ModelSpec("depthnet", shape, log_sigma=True, arguments=arguments))
    assert uncertainty.main(["--weights", str(weights), "--data", str(index)]) == 0
    rows = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert set(rows) == {"network", "inverse depth", "edges", "constant"}
    assert all(0 < float(value) < 1 for value in rows.values())
    without = tmp_path / "without.safetensors"
    save_checkpoint(without, build("depthnet").eval(), ModelSpec("depthnet", shape))
    assert uncertainty.main(["--weights", str(without), "--data", str(index)]) == 1
    assert "no log_sigma channel" in capsys.readouterr().err
    assert uncertainty.main(["--weights", str(weights), str(without), "--data", str(index)]) == 0
    rows = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert set(rows) == {"disagreement", "inverse depth", "edges", "constant"}


def test_no_sigma_is_judged_where_no_image_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    weights = tmp_path / "mine.safetensors"
    save_checkpoint(weights, build("depthnet_deck"), ModelSpec("depthnet_deck", InputSpec(128, 128)))
    row = "room,a.jpg,a.png,depth,0.001,0,scene,val"
    (tmp_path / "index.csv").write_text(f"dataset,image,gt,kind,scale,invalid,scene,split\n{row}\n")
    arguments = ["--weights", str(weights), str(weights), "--data", str(tmp_path)]
    assert uncertainty.main(arguments) == 1
    assert "none of the 1 images can be judged; the first: cannot read" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [TargetKind.DEPTH, TargetKind.DISPARITY_AFFINE])
def test_a_sigma_that_is_the_error_itself_is_perfect(monkeypatch: pytest.MonkeyPatch, kind: TargetKind):
    """Whatever unit and zero the network's inverse depth has: the error is what is left after both are fitted."""
    judged = sample(kind)
    rng = np.random.default_rng(0)
    truth = judged.inverse_depth()
    seen = 7 * (truth + rng.normal(scale=0.2 * truth.std(), size=truth.shape)) - 3
    known = np.zeros_like(judged.valid_mask)
    known[::3, ::3] = judged.valid_mask[::3, ::3]  # what is judged
    error = np.abs(np.polyval(np.polyfit(seen[known], truth[known], 1), seen) - truth)
    sigmas = {"error": error, "turned round": -error}
    monkeypatch.setattr(uncertainty, "with_sigma", lambda *_: (seen.astype(np.float32), dict(sigmas)))
    figures = uncertainty.judge_sigma([], judged, rng)
    assert figures["error"] < 0.02
    assert figures["turned round"] > figures["constant"] > 0.2


@pytest.mark.parametrize("value_mm", [2000, 3000])  # the second leaves an error of rounding
def test_an_image_of_one_depth_is_counted_and_takes_no_other_with_it(
    index: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    value_mm: int,
):
    caplog.set_level(logging.WARNING, logger="training")
    weights, data, arguments = tmp_path / "mine.safetensors", tmp_path / "data", {"size": "small", "log_sigma": True}
    network, shape = build("depthnet", **arguments).eval(), InputSpec(64, 96, keep_aspect=True)
    save_checkpoint(weights, network, ModelSpec("depthnet", shape, log_sigma=True, arguments=arguments))
    data.mkdir()
    for path in index.parent.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    command = ["--weights", str(weights), "--data", str(data)]
    cv2.imwrite(str(data / "8.png"), np.full((96, 128), value_mm, np.uint16))
    assert uncertainty.main(command) == 0
    rows = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert set(rows) == {"network", "inverse depth", "edges", "constant"}
    (told,) = caplog.messages
    assert told.startswith("1 of 2 images not judged (too few valid pixels, ordinal maps only, or no error at all), ")
    cv2.imwrite(str(data / "9.png"), np.full((96, 128), value_mm, np.uint16))
    assert uncertainty.main(command) == 1
    assert "none of the 2 images can be judged: too few valid pixels" in capsys.readouterr().err
