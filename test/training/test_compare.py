"""TFLite networks that are compared with: what they take and give is in a specification beside them, or is said."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from depthnet_ros.errors import WeightsError
from depthnet_ros.models.checkpoint import save_checkpoint
from depthnet_ros.models.registry import build
from depthnet_ros.models.spec import InputSpec, ModelSpec
from training import evaluate
from training.compare import tflite_predictor
from training.datasets.base import open_dataset
from training.validation import judge

pytest.importorskip("ai_edge_litert")
SHARED = Path(__file__).parents[3] / "shared"
TFLITE = SHARED / "models" / "pydnet_pp_optimized.tflite"
PYDNET: dict[str, Any] = {
    "architecture": "pydnet",
    "input": {"height_px": 448, "width_px": 640, "layout": "nhwc"},
    "output_kind": "depth",
}


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """PyDNet++ (448 x 640, RGB in 0..1 to depth) without a specification."""
    if not TFLITE.is_file():
        pytest.skip("the network to compare with is not here")
    copy = tmp_path / "pydnet.tflite"
    copy.write_bytes(TFLITE.read_bytes())
    return copy


def _with_spec(network: Path, **changes: Any) -> Path:
    network.with_suffix(".yaml").write_text(yaml.safe_dump({**PYDNET, **changes}))
    return network


def _picture() -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (640, 448), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def test_one_without_a_specification_is_taken_for_depth_of_rgb_and_that_is_said(
    network: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="training.compare")
    notes: list[str] = []
    predict = tflite_predictor(network, notes)
    assert notes == caplog.messages and "no pydnet.yaml beside it" in notes[0]
    index = SHARED / "data" / "index.csv"
    if not index.is_file():
        pytest.skip("the real images are not here")
    dataset = open_dataset("index_csv", index, "val", {"include": ["kitti_vo_sgbm"]})
    assert judge(predict(dataset[0].rgb), dataset[0])["spearman"] > 0.3


def test_the_report_says_what_was_assumed(
    network: Path, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, out = tmp_path / "mine.safetensors", tmp_path / "report"
    save_checkpoint(weights, build("depthnet_deck").eval(), ModelSpec("depthnet_deck", InputSpec(128, 128)))
    command = ["--weights", str(weights), "--data", str(index), "--compare", str(network), "--out", str(out)]
    assert evaluate.main(command) == 0
    for text in (capsys.readouterr().out, (out / "report.html").read_text()):
        assert "no pydnet.yaml beside it (docs/networks.md), so it is taken for" in text


def test_the_specification_says_what_it_takes_and_gives(network: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="training.compare")
    image = _picture()
    plain = tflite_predictor(network)(image)
    caplog.clear()
    same = tflite_predictor(_with_spec(network))(image)
    assert not caplog.records
    assert np.median(np.abs(same / plain - 1)) < 0.1  # the last bit of its input moves its output by some .03
    disparity = tflite_predictor(_with_spec(network, output_kind="inverse_depth"))(image)
    np.testing.assert_allclose(disparity, 1 / same, rtol=1e-4)
    swapped = tflite_predictor(_with_spec(network, input={**PYDNET["input"], "color_order": "bgr"}))(image)
    np.testing.assert_allclose(swapped, tflite_predictor(_with_spec(network))(image[..., ::-1]), rtol=1e-4)
    assert np.median(np.abs(swapped / same - 1)) > 0.1
    other = {"output": "PSD/resize_images_1/ResizeBilinear"}
    assert not np.allclose(tflite_predictor(_with_spec(network, arguments=other))(image), same, rtol=1e-2)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"input": {"height_px": 256, "width_px": 256, "layout": "nhwc"}}, "set height_px and width_px"),
        ({"input": {"height_px": 448, "width_px": 640}}, "is it layout nhwc"),
        ({"arguments": {"output": "none"}}, "no output named 'none'"),
        ({"output_kind": "colour"}, "output_kind must be one of"),
    ],
)
def test_one_that_does_not_fit_its_specification_is_refused(network: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(WeightsError, match=told):
        tflite_predictor(_with_spec(network, **changes))


def test_a_missing_or_damaged_one_is_told_in_one_line(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WeightsError, match="no network at"):
        tflite_predictor(tmp_path / "none.tflite")
    content = network.read_bytes()
    for damaged in (b"", b"not a network", content[: len(content) // 2], content[:20_000] + bytes(20_000)):
        network.write_bytes(damaged)
        with pytest.raises(WeightsError, match=r"pydnet\.tflite is no TFLite network that can be read"):
            tflite_predictor(network)
    (tmp_path / "index.csv").write_text(
        "dataset,image,gt,kind,scale,invalid,scene,split\nroom,a.jpg,a.png,depth,0.001,0,scene,val\n"
    )
    assert evaluate.main(["--data", str(tmp_path), "--compare", str(network)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
