"""`depthnet bag` and `depthnet compare` as a user runs them: files, exit status, messages."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthnet_ros.bags import messages
from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.cli import main
from depthnet_ros.evaluation.results import VERSION, read_json
from test.bags.bag_scene import CAMERA, FRAME, scene_depth, scene_rgb, stamp_of, write_scene

Run = Callable[..., int]
SCHEMA = {
    "format": "depthnet_ros/evaluation",
    "version": 3,
    "complete": bool,
    "source": {
        "recording": str,
        "recording_bytes": int,
        "image_topic": str,
        "info_topic": str,
        "reference_topic": str,
        "reference_kind": str,
        "anchors": dict,
        "first_stamp_s": float,
        "last_stamp_s": float,
    },
    "model": dict,
    "settings": dict,
    "counts": {"images": int, "processed": int, "evaluated": int, "without_reference": int, "failed": int},
    "figures": {
        "aligned": {
            "abs_rel": float,
            "rmse": float,
            "delta1": float,
            "bias": float,
            "silog": float,
            "flicker": float,
            "bands": [
                {
                    "from_m": float,
                    "to_m": float,
                    "pixels": int,
                    "coverage": (float, type(None)),
                    "abs_rel": (float, type(None)),
                    "bias": (float, type(None)),
                    "rmse": (float, type(None)),
                    "delta1": (float, type(None)),
                }
            ],
            "sigma": (dict, type(None)),
        },
        "metric": {
            "abs_rel": float,
            "rmse": float,
            "delta1": float,
            "bias": float,
            "silog": float,
            "flicker": float,
            "coverage": float,
            "bands": list,
            "sigma": {"pixels": int, "within": list, "calibration_error": float, "median_ratio": float},
        },
        "published_share": float,
        "obstacles": {"scan": dict, "grid": dict},
        "latency_s": dict,
        "signed_error_histogram": {"from": float, "to": float, "counts": list},
    },
    "objects": (dict, type(None)),
    "notes": list,
    "frames": dict,
}
"""Version 1, key by key: who renames or drops one must raise the version."""


def check_schema(value: object, schema: object, where: str = "results") -> None:
    if isinstance(schema, dict):
        assert isinstance(value, dict), where
        assert set(schema) <= set(value), f"{where} lacks {set(schema) - set(value)}"
        for key, inner in schema.items():
            check_schema(value[key], inner, f"{where}.{key}")
    elif isinstance(schema, list):
        assert isinstance(value, list), where
        for item in value:
            check_schema(item, schema[0], where)
    elif isinstance(schema, (type, tuple)):
        assert isinstance(value, schema), f"{where} is {value!r}"
    else:
        assert value == schema, where


@pytest.fixture
def evaluate(tiny_weights: Path, scene_bag: Path, tmp_path: Path) -> Run:
    """Runs `depthnet bag evaluate` on the scene into ``tmp_path / "out"``."""

    def run(*options: str, bag: Path = scene_bag, reference: str = "/depth", out: str = "out") -> int:
        words = ["bag", "evaluate", bag, "--image-topic", "/image", "--reference", reference, "--out", tmp_path / out]
        network = ["--weights", tiny_weights, "--backend", "torch", "--precision", "float32", "--threads", "1"]
        return main([str(word) for word in (*words, *network, "--quiet", *options)])

    return run


def test_files_and_schema(evaluate: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        evaluate("--param", "scale.mode=fixed", "--param", "scale.fixed_scale=0.1", "--param", "scale.fixed_shift=0.2")
        == 0
    )
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {"results.json", "frames.csv", "report.html"}
    assert "20 of 20 images compared" in capsys.readouterr().out
    data = json.loads((out / "results.json").read_text())
    check_schema(data, SCHEMA)
    assert SCHEMA["version"] == VERSION
    assert str(tmp_path) not in json.dumps(data)
    with (out / "frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(20))
    for name in ("aligned.abs_rel", "metric.abs_rel", "latency.network"):
        assert float(rows[3][name]) == pytest.approx(data["frames"][name][3], rel=1e-4)
    assert read_json(out / "results.json").to_dict() == data


def test_exit_status_by_thresholds(evaluate: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("--fail-if", "abs_rel > 100", out="a") == 0
    assert evaluate("--fail-if", "abs_rel > 100", "--fail-if", "delta1 < 2 and rmse > 0", out="b") == 4
    assert "FAILED: delta1 < 2 and rmse > 0  (delta1 = " in capsys.readouterr().err
    # Metres were asked for but never came: a gate on them does not pass unseen.
    assert evaluate("--param", "scale.mode=anchors", "--fail-if", "abs_rel > 100", out="c") == 4
    assert evaluate("--param", "scale.mode=anchors", "--fail-if", "bands.2-5.abs_rel > 100", out="d") == 4
    assert "abs_rel = not measured" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--fail-if", "__import__('os')"), "cannot read the condition"),
        (("--fail-if", "abs_rell > 1"), "no figure is named 'abs_rell'; did you mean abs_rel"),
        (("--fail-if", "nonsense > 1"), "no figure is named 'nonsense'; there are abs_rel, aligned.abs_rel, "),
        (("--fail-if", "latency.totl.median > 1"), "no figure is named 'latency.totl.median'"),
        (("--fail-if", "counts.faild > 0"), "no figure is named 'counts.faild'"),
        (
            ("--param", "rectify=true", "--labels", "/labels"),
            "are of the pictures as they are recorded",
        ),
        (
            ("--param", "rectify=true", "--boxes", "/boxes"),
            "are of the pictures as they are recorded",
        ),
        (("--param", "scale.mod=fixed"), "unknown parameters"),
        (("--param", "nonsense"), "takes NAME=VALUE"),
        (("--anchor", "sonar=/depth"), "sonar"),
        (("--intrinsics", "1,2"), "FX,FY,CX,CY"),
        (("--intrinsics", "0,0,0,0"), "FX and FY above 0"),
        (("--param", "camera_info_file=/nowhere.yaml"), "no calibration file at /nowhere.yaml"),
        (("--param", "camera_info_file=/a.yaml", "--intrinsics", "1,1,1,1"), "leave one of the two out"),
        (("--tolerance", "-1"), "--tolerance must be 0 to 3600, got -1"),
        (("--min-depth", "nan"), "--min-depth must be"),
        (("--max-depth", "0"), "--max-depth must be"),
        (("--extrinsic", "1 2"), "x y z roll pitch yaw"),
        (("--info", "/nothing"), "no topic '/nothing'"),
        (("--labels", "/nowhere"), "label files"),
    ],
)
def test_bad_options_say_so(
    evaluate: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple, says: str
) -> None:
    assert evaluate(*options) == 1
    assert says in capsys.readouterr().err
    assert not list(tmp_path.rglob("results.json"))  # before the work, not after it


def test_a_calibration_file_goes_before_the_recording_s_camera_info(evaluate: Run, tmp_path: Path) -> None:
    """As in the node. Of a recording whose camera_info is all zero, points of a range finder fall where they belong."""
    blind = tmp_path / "blind.mcap"
    with BagWriter(blind) as writer:
        for index in range(12):
            now = stamp_of(index)
            info = messages.camera_info(CAMERA, now, FRAME)
            info.k, info.p = np.zeros(9), np.zeros(12)
            writer.write("/image", messages.image(scene_rgb(index), "rgb8", now, FRAME), now)
            writer.write("/camera_info", info, now)
            for topic in ("/depth", "/tof"):
                writer.write(topic, messages.depth_image(scene_depth(index), "32FC1", now, FRAME), now)
    file = tmp_path / "front.yaml"
    k = [CAMERA.fx_px, 0.0, CAMERA.cx_px, 0.0, CAMERA.fy_px, CAMERA.cy_px, 0.0, 0.0, 1.0]
    text = {"image_width": CAMERA.width_px, "image_height": CAMERA.height_px, "camera_matrix": {"data": k}}
    file.write_text(json.dumps(text))  # which is YAML, too
    gate = ("--anchor", "depth=/tof", "--fail-if", "published_share < 0.5")
    assert evaluate(*gate, bag=blind) == 4
    assert evaluate(*gate, "--param", f"camera_info_file={file}", bag=blind, out="with_file") == 0


def test_obstacles_that_could_not_be_measured_fail_a_gate(evaluate: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing says how the camera is mounted over that frame."""
    assert evaluate("--base-frame", "unknown", "--fail-if", "scan.false_free > 0.5") == 4
    assert "scan.false_free = not measured" in capsys.readouterr().err


def test_cut_recording_is_judged_but_exits_as_incomplete(
    evaluate: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = tmp_path / "cut.mcap"
    with BagWriter(cut) as writer:
        write_scene(writer, 40)
    cut.write_bytes(cut.read_bytes()[:-1_500_000])
    assert evaluate(bag=cut) == 3
    assert "cannot be read" in capsys.readouterr().out
    data = json.loads((tmp_path / "out" / "results.json").read_text())
    assert data["complete"] is False
    assert "Incomplete" in (tmp_path / "out" / "report.html").read_text()


def test_images_that_cannot_be_used_leave_it_incomplete(
    evaluate: Run, tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "damaged.mcap"
    with BagWriter(path) as writer:
        write_scene(writer, 4)
        broken = messages.image(scene_rgb(4), "rgb8", stamp_of(4), FRAME)
        broken.data = broken.data[:-7]
        writer.write("/image", broken, stamp_of(4))
    assert evaluate(bag=path) == 3
    assert "1 of 5 images got no depth" in capsys.readouterr().out
    network = ["--weights", str(tiny_weights), "--backend", "torch", "--precision", "float32", "--threads", "1"]
    command = ["bag", "annotate", str(path), "--image-topic", "/image", "--out", str(tmp_path / "new.mcap"), *network]
    assert main(command) == 3
    assert "1 of 5 images got no depth" in capsys.readouterr().err


def test_parameter_file_of_the_node(evaluate: Run, tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text(
        "/**:\n  depthnet_node:\n    ros__parameters:\n      use_sim_time: true\n"
        "      scale:\n        mode: fixed\n        fixed_scale: 0.5\n      scale.max_depth_m: 33.0\n"
    )
    assert evaluate("--params", str(file)) == 0
    scale = json.loads((tmp_path / "out" / "results.json").read_text())["settings"]["scale"]
    assert (scale["mode"], scale["fixed_scale"], scale["max_depth_m"]) == ("fixed", 0.5, 33.0)


def test_kitti_labels(evaluate: Run, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    for index in range(20):
        near = 6.0 - 0.05 * index
        text = f"Car 0 0 0 20 10 60 50 1.5 1.8 0 0 1.6 {near} 0\nDontCare -1 -1 -10 1 1 9 9 -1 -1 -1 -1 -1 -1 -1\n"
        (labels / f"{index:06}.txt").write_text(text)
    assert evaluate("--labels", str(labels)) == 0
    objects = json.loads((tmp_path / "out" / "results.json").read_text())["objects"]
    assert sum(row["count"] for row in objects["classes"]) == 20
    assert {row["name"] for row in objects["classes"]} == {"Car"}
    assert "Car" in (tmp_path / "out" / "report.html").read_text()


def test_compare_tells_a_difference_from_none(
    evaluate: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = ("--param", "scale.mode=fixed", "--param", "scale.fixed_shift=0.2", "--param")
    assert evaluate(*fixed, "scale.fixed_scale=0.1", out="a") == 0
    assert evaluate(*fixed, "scale.fixed_scale=0.001", out="b") == 0
    a, b = (str(tmp_path / name / "results.json") for name in "ab")
    capsys.readouterr()
    assert main(["compare", a, b, "--json", str(tmp_path / "c.json")]) == 0
    found = {item["name"]: item for item in json.loads((tmp_path / "c.json").read_text())["differences"]}
    assert found["metric.abs_rel"]["verdict"] in ("better", "worse")
    assert found["aligned.abs_rel"]["verdict"] == "same"
    worse = a if found["metric.abs_rel"]["verdict"] == "better" else b
    better = b if worse == a else a
    assert main(["compare", better, worse, "--fail-if-worse", "metric.abs_rel"]) == 4
    assert main(["compare", worse, better, "--fail-if-worse", "metric.abs_rel"]) == 0
    assert main(["compare", a, str(tmp_path / "nothing.json")]) == 1
    assert "cannot read" in capsys.readouterr().err


def test_make_from_a_folder_and_from_a_scene(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "rgbd"
    folder.mkdir()
    for index in range(4):
        cv2.imwrite(str(folder / f"{index}.color.png"), scene_rgb(index)[..., ::-1])
        cv2.imwrite(str(folder / f"{index}.depth.png"), np.rint(scene_depth(index) * 5000).astype(np.uint16))
    words = ["--unit", "0.0002", "--invalid", "0", "--intrinsics", "140,140,79.5,59.5", "--rate", "10"]
    assert main(["bag", "make", "--folder", str(folder), "--out", str(tmp_path / "a.mcap"), *words]) == 0
    assert "4 frames of 160x120" in capsys.readouterr().out
    with BagReader(tmp_path / "a.mcap") as bag:
        message = next(bag.messages(["/reference/depth"])).message
        np.testing.assert_allclose(message.data.view(np.float32).reshape(120, 160), scene_depth(0), atol=2e-4)
    scene = ["--scene", "street", "--frames", "2", "--size", "96x64", "--depth-format", "compressed"]
    assert main(["bag", "make", *scene, "--out", str(tmp_path / "b"), "--storage", "sqlite3"]) == 0
    with BagReader(tmp_path / "b") as bag:
        assert {name for name in bag.topics if bag.topics[name].message_count == 2} == {
            "/camera/camera_info", "/camera/image_rect", "/range", "/reference/depth/compressedDepth",
            "/reference/points", "/reference/scan", "/tf",
        }  # fmt: skip
    assert main(["bag", "make", "--folder", str(tmp_path), "--out", str(tmp_path / "c.mcap")]) == 1
    assert "no image matches" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--fov-deg", "0"),
        ("--fov-deg", "180"),
        ("--rate", "nan"),
        ("--camera-height-m", "nan"),
        ("--frames", "-5"),
        *(("--baseline-m", value) for value in ("-0.54", "0", "nan", "inf")),
    ],
)
def test_make_names_options_out_of_range(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bag", "make", "--scene", "room", "--out", str(tmp_path / "a.mcap"), option, value]) == 1
    assert f"{option} must be" in capsys.readouterr().err
    assert not (tmp_path / "a.mcap").exists()


def test_make_sends_as_jpeg_only_what_is_one(tmp_path: Path) -> None:
    (tmp_path / "0.color.jpg").write_bytes(cv2.imencode(".bmp", scene_rgb(0))[1].tobytes())
    command = ["bag", "make", "--folder", str(tmp_path), "--out", str(tmp_path / "a.mcap"), "--image-format", "jpeg"]
    assert main(command) == 0
    with BagReader(tmp_path / "a.mcap") as bag:
        (item,) = bag.messages(["/camera/image_rect/compressed"])
        assert bytes(item.message.data[:2]) == b"\xff\xd8"


def test_make_takes_patterns_below_the_folder_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bag", "make", "--folder", str(tmp_path), "--images", str(tmp_path / "*.jpg"), "--out"]
    assert main([*command, str(tmp_path / "a.mcap")]) == 1
    assert "is no pattern of files below" in capsys.readouterr().err


def test_make_wants_images_of_one_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index, size in enumerate(((48, 64), (48, 80))):
        cv2.imwrite(str(tmp_path / f"{index}.color.png"), np.full((*size, 3), 99, np.uint8))
    words = ["--depths", "", "--extras", "", "--out", str(tmp_path / "a.mcap")]
    assert main(["bag", "make", "--folder", str(tmp_path), *words]) == 1
    assert "1.color.png is 80x48, the first image 64x48" in capsys.readouterr().err


def test_annotate(tiny_weights: Path, scene_bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bag", "annotate", scene_bag, "--image-topic", "/image", "--out", tmp_path / "new.mcap"]
    network = ["--weights", tiny_weights, "--backend", "torch", "--precision", "float32", "--quiet"]
    assert main([str(word) for word in (*words, *network, "--prefix", "/mine")]) == 0
    assert "/mine/inverse_depth/image  20" in capsys.readouterr().out
    with BagReader(tmp_path / "new.mcap") as bag:
        assert bag.topic("/mine/inverse_depth/image").message_count == 20


def test_options_in_the_documentation_exist(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "bags.md").read_text()
    sections = re.split(r"^## `depthnet (.*?)`$", text, flags=re.MULTILINE)
    assert len(sections) == 9
    for title, body in zip(sections[1::2], sections[2::2], strict=True):
        words = [word for word in title.split() if word.islower()]
        with pytest.raises(SystemExit):
            main([*words, "--help"])
        known = capsys.readouterr().out
        documented = set(re.findall(r"--[a-z][a-z-]+", body))
        assert documented
        assert {option for option in documented if option not in known} == set(), title
