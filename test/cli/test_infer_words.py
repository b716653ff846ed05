"""What `depthnet infer` makes of words in another order, and of numbers that mean nothing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from depthnet_ros.cli import main


@pytest.fixture
def picture(tmp_path: Path, rng: np.random.Generator) -> Path:
    path = tmp_path / "one.jpg"
    coarse = rng.integers(0, 255, (5, 6, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_CUBIC))
    return path


def test_a_picture_after_weights_is_the_picture(picture: Path, tiny_weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["infer", "--out", str(out), "--npy", "--weights", str(tiny_weights), str(picture)]) == 0
    assert [path.name for path in out.iterdir()] == ["one.npy"]


def test_where_no_picture_is_named_that_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--weights", "depthnet_base"]):
        with pytest.raises(SystemExit) as raised:
            main(["infer", "--out", str(tmp_path), *words])
        assert raised.value.code == 2
        assert "IMAGE|FOLDER|VIDEO is required; --weights takes all words" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--fov", "0"], "--fov must lie between 0 and 180 degrees, got 0"),
        (["--fov", "nan"], "--fov must lie between"),
        (["--limit", "0"], "--limit must be 1 picture or more, got 0"),
        (["--limit", "-3"], "--limit must be 1 picture or more, got -3"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(
    picture: Path, tmp_path: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["infer", str(picture), "--out", str(tmp_path / "out"), "--ply", *words]) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_precision_that_one_of_the_default_networks_lacks_names_it(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["infer", str(picture), "--out", str(tmp_path / "out"), "--backend", "onnxruntime", "--precision", "int8"]
    assert main([*command, "--threads", "1"]) == 1
    told = capsys.readouterr().err
    assert "beside" in told and "depthnet_base.safetensors: run" in told and "--once runs depthnet_small alone" in told
    assert main([*command, "--threads", "1", "--once"]) == 0


@pytest.mark.parametrize("once", [[], ["--once"]])
def test_what_both_default_networks_lack_is_not_mended_by_one(
    picture: Path, tmp_path: Path, once: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["infer", str(picture), "--out", str(tmp_path / "out"), "--device", "gpu", *once]) == 1
    told = capsys.readouterr().err
    assert "'gpu'" in told and "--once runs" not in told


@pytest.mark.parametrize("words", [["--weights", "nowhere.onnx"], ["--precision", "int8", "--backend", "torch"]])
def test_a_network_that_is_not_there_leaves_no_folder(picture: Path, tmp_path: Path, words: list[str]) -> None:
    assert main(["infer", str(picture), "--out", str(tmp_path / "new"), *words]) != 0
    assert not (tmp_path / "new").exists()
