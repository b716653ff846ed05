"""Real images with depth, made into recordings and judged by the shipped network; skipped where there are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from depthnet_ros.cli import main
from depthnet_ros.errors import WeightsError
from depthnet_ros.inference.weights import default_weights

SOURCES = {
    "redkitchen": (
        "rgbd_7scenes_redkitchen", "--intrinsics=585,585,320,240", "--image-format=jpeg", "--depth-format=16UC1",
    ),
    "pioneer": ("rgbd_tum_pioneer", "--intrinsics=520.9,521.0,325.1,249.7", "--unit=0.0002", "--invalid=0"),
    "kitti": (
        "kitti_stereo_sgbm", "--images=s2_*.left.jpg", "--depths=s2_*.disp.png", "--unit=0.0625", "--baseline-m=0.5371",
        "--invalid=0", "--rate=10", "--intrinsics=718.856,718.856,607.19,185.22", "--camera-height-m=1.65",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_evaluate(shared: Path, tmp_path: Path, name: str) -> None:
    try:
        default_weights()
    except WeightsError:
        pytest.skip("the shipped weights are not here")
    folder, *options = SOURCES[name]
    bag = tmp_path / f"{name}.mcap"
    assert (
        main(["bag", "make", "--folder", str(shared / "data" / folder), "--out", str(bag), "--frames=10", *options])
        == 0
    )
    image = "/camera/image_rect/compressed" if name == "redkitchen" else "/camera/image_rect"
    words = ["bag", "evaluate", str(bag), "--image-topic", image, "--reference", "/reference/depth", "--quiet"]
    words += ["--anchor", "points=/reference/points", "--param", "scale.max_depth_m=80.0", "--threads=1"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    data = json.loads((tmp_path / "out" / "results.json").read_text())
    assert data["counts"]["evaluated"] == 10
    assert data["figures"]["aligned"]["abs_rel"] < 0.35
    assert data["figures"]["published_share"] >= 0.5
    assert data["figures"]["metric"]["abs_rel"] < 0.5
