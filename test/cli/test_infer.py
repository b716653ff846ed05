"""`depthnet infer` as a user runs it, in a process where rclpy cannot be imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthnet_ros.cli import COMMANDS, main
from depthnet_ros.errors import BackendError
from depthnet_ros.inference.ensemble import consensus
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.inference.weights import ENSEMBLE
from depthnet_ros.visualization.color import colorize

WITHOUT_ROS = """
import sys
for name in ("rclpy", "sensor_msgs", "std_msgs", "builtin_interfaces", "cv_bridge"):
    sys.modules[name] = None
from depthnet_ros.cli import main
sys.exit(main(sys.argv[1:]))
"""


def depthnet(*arguments: object) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_ROS, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
    )


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(5)
    for name, size in (("a.jpg", (90, 120)), ("b.v2.png", (64, 100)), ("grey.png", (48, 64))):
        coarse = rng.integers(0, 255, (5, 6, 3), dtype=np.uint8)
        picture = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
        assert cv2.imwrite(str(folder / name), picture if name != "grey.png" else picture[..., 0])
    assert cv2.imwrite(str(folder / "a.depth.png"), np.full((90, 120), 1500, np.uint16))
    return folder


@pytest.mark.parametrize("once", [False, True])
def test_npy_is_relative_inverse_depth_at_the_source_size(pictures, tiny_weights, tmp_path, once):
    more = ["--once"] if once else []
    result = depthnet("infer", pictures, "--out", tmp_path / "out", "--npy", "--weights", tiny_weights, *more)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.npy", "b.v2.npy", "grey.npy"]
    assert "3 of 3 pictures" in result.stdout
    estimator = DepthEstimator.from_weights(tiny_weights, precision="auto" if once else "float32")
    for name, size in (("a.jpg", (90, 120)), ("b.v2.png", (64, 100))):
        array = np.load(tmp_path / "out" / f"{Path(name).stem}.npy")
        assert array.dtype == np.float32 and array.shape == size
        rgb = cv2.cvtColor(cv2.imread(str(pictures / name)), cv2.COLOR_BGR2RGB)
        expected = (estimator.infer if once else estimator.infer_with_mirror)(rgb).at_source()
        np.testing.assert_allclose(array, expected, rtol=1e-3, atol=1e-3 * array.std())


def test_what_is_written_is_the_mean_of_the_shipped_networks(pictures, tmp_path):
    result = depthnet("infer", pictures / "a.jpg", "--out", tmp_path / "out", "--npy")
    assert result.returncode == 0, result.stderr
    rgb = cv2.cvtColor(cv2.imread(str(pictures / "a.jpg")), cv2.COLOR_BGR2RGB)
    members = [DepthEstimator.from_weights(name) for name in ENSEMBLE]
    single = [member.infer_with_mirror(rgb).at_source() for member in members]
    written = np.load(tmp_path / "out" / "a.npy")
    wanted, _ = consensus(single)
    to_mean, *to_one = (np.corrcoef(written.ravel(), one.ravel())[0, 1] for one in (wanted, *single))
    assert to_mean > 0.999 and to_mean > max(to_one)
    for member in members:
        member.close()


def test_color_and_ply_of_one_picture(pictures, tiny_weights, tmp_path):
    out = tmp_path / "deep" / "out"
    result = depthnet(
        "infer", pictures / "a.jpg", "--out", out, "--color", "--ply", "--npy", "--fov", 70, "--weights", tiny_weights
    )
    assert result.returncode == 0, result.stderr
    picture = cv2.cvtColor(cv2.imread(str(out / "a.depth.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(picture, colorize(np.load(out / "a.npy")))
    header, _, body = (out / "a.ply").read_bytes().partition(b"end_header\n")
    assert b"unit: arbitrary" in header and f"element vertex {90 * 120}".encode() in header
    x, _, z = np.frombuffer(body, [("xyz", "<f4", 3), ("rgb", "u1", 3)])["xyz"][119]
    assert x / z == pytest.approx(np.tan(np.radians(35)) * 119 / 120, rel=1e-4)


def test_colours_are_the_default_and_a_limit_ends_an_endless_source(tiny_weights, tmp_path):
    out = tmp_path / "out"
    result = depthnet("infer", "scene:room", "--out", out, "--limit", 2, "--weights", tiny_weights)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in out.iterdir()) == ["room_000000.depth.png", "room_000001.depth.png"]


def test_unreadable_pictures_are_named_and_the_rest_is_done(pictures, tiny_weights, tmp_path):
    (pictures / "broken.jpg").write_bytes((pictures / "a.jpg").read_bytes()[:300])
    (pictures / "empty.png").touch()
    result = depthnet("infer", pictures, "--out", tmp_path / "out", "--npy", "--weights", tiny_weights)
    assert result.returncode == 1
    assert "broken.jpg" in result.stderr and "empty.png" in result.stderr
    assert "Traceback" not in result.stderr
    assert "3 of 5 pictures" in result.stdout and len(list((tmp_path / "out").iterdir())) == 3


def test_pictures_of_one_stem_do_not_overwrite_each_other(pictures, tiny_weights, tmp_path):
    assert cv2.imwrite(str(pictures / "a.png"), np.full((10, 12, 3), 9, np.uint8))
    result = depthnet("infer", pictures, "--out", tmp_path / "out", "--npy", "--weights", tiny_weights)
    assert result.returncode == 0, result.stderr
    shapes = sorted(np.load(path).shape for path in (tmp_path / "out").glob("a*.npy"))
    assert shapes == [(10, 12), (90, 120)]


def test_no_name_is_given_twice(pictures, tiny_weights, tmp_path):
    for name, size in (("a.png", (10, 12)), ("a_2.jpg", (20, 24))):
        assert cv2.imwrite(str(pictures / name), np.full((*size, 3), 9, np.uint8))
    result = depthnet("infer", pictures, "--out", tmp_path / "out", "--npy", "--weights", tiny_weights)
    assert result.returncode == 0, result.stderr
    shapes = sorted(np.load(path).shape for path in (tmp_path / "out").glob("a*.npy"))
    assert shapes == [(10, 12), (20, 24), (90, 120)]
    assert "1 taken for depth images or masks" in result.stderr


def test_photos_are_upright_as_they_are_seen(tiny_weights, tmp_path):
    """EXIF orientation 6: the camera was held upright; not where intrinsics are used, which are the sensor's."""
    photo = tmp_path / "in" / "photo.jpg"
    photo.parent.mkdir()
    data = cv2.imencode(".jpg", np.full((60, 80, 3), 99, np.uint8))[1].tobytes()
    tiff = b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"
    exif = b"Exif\x00\x00" + tiff
    photo.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    assert main(["infer", str(photo), "--out", str(tmp_path / "out"), "--npy", "--weights", str(tiny_weights)]) == 0
    assert np.load(tmp_path / "out" / "photo.npy").shape == (80, 60)

    (photo.parent / "camera-intrinsics.txt").write_text("70 0 40 0 70 30 0 0 1")
    out = str(tmp_path / "with_camera")
    assert main(["infer", str(photo), "--out", out, "--npy", "--ply", "--weights", str(tiny_weights)]) == 0
    assert np.load(tmp_path / "with_camera" / "photo.npy").shape == (60, 80)
    assert main(["infer", str(photo), "--out", out, "--ply", "--fov", "60", "--weights", str(tiny_weights)]) == 0


def test_a_calibration_is_asked_for_clouds_alone_and_fov_goes_before_it(pictures, tiny_weights, tmp_path, capsys):
    (pictures / "camera_info.yaml").write_text("foo: 1")
    command = ["infer", str(pictures / "a.jpg"), "--out", str(tmp_path / "out"), "--weights", str(tiny_weights)]
    assert main([*command, "--npy"]) == 0
    assert main([*command, "--ply", "--fov", "60"]) == 0
    assert main([*command, "--ply"]) == 1
    assert "not a ROS camera_info YAML" in capsys.readouterr().err


@pytest.mark.parametrize(("bent", "noted"), [(-0.3, 1), (0.0, 0)])
def test_a_lens_that_bends_is_told_to_who_wants_clouds(pictures, tiny_weights, tmp_path, capsys, bent, noted):
    (pictures / "camera_info.yaml").write_text(
        "image_width: 120\nimage_height: 90\ncamera_matrix: {data: [100, 0, 60, 0, 100, 45, 0, 0, 1]}\n"
        f"distortion_model: plumb_bob\ndistortion_coefficients: {{data: [{bent}, 0, 0, 0, 0]}}\n"
    )
    command = ["infer", str(pictures / "a.jpg"), "--out", str(tmp_path / "out"), "--weights", str(tiny_weights)]
    assert main([*command, "--ply"]) == 0
    assert capsys.readouterr().err.count("clouds of raw pictures come out bent") == noted
    assert main([*command, "--npy"]) == 0
    assert "bent" not in capsys.readouterr().err


def test_a_picture_that_its_calibration_is_not_for_costs_itself_alone(pictures, tiny_weights, tmp_path, capsys):
    (pictures / "camera_info.yaml").write_text(
        "image_width: 120\nimage_height: 90\ncamera_matrix: {data: [100, 0, 60, 0, 100, 45, 0, 0, 1]}\n"
    )
    out = tmp_path / "out"
    command = ["infer", str(pictures), "--out", str(out), "--ply", "--color", "--weights", str(tiny_weights)]
    assert main(command) == 1
    assert sorted(path.name for path in out.iterdir()) == ["a.depth.png", "a.ply"]
    assert "its calibration for 120x90: give --fov" in capsys.readouterr().err
    assert main([*command, "--fov", "60"]) == 0


def test_unreadable_pictures_are_no_failures_of_the_network(pictures, tiny_weights, tmp_path, monkeypatch):
    for name in ("0.jpg", "1.jpg"):
        (pictures / name).write_bytes(b"no picture")
    infer, calls = DepthEstimator.infer_with_mirror, []

    def failing_once(self, image):
        calls.append(image)
        if len(calls) == 1:
            raise BackendError("0 for every pixel")
        return infer(self, image)

    monkeypatch.setattr(DepthEstimator, "infer_with_mirror", failing_once)
    command = ["infer", str(pictures), "--out", str(tmp_path / "out"), "--npy", "--weights", str(tiny_weights)]
    assert main(command) == 1
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_a_video_that_ends_early_is_told(tiny_weights, tmp_path, capsys):
    whole = tmp_path / "drive.avi"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter_fourcc(*"MJPG"), 12.5, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no MJPEG")
    for index in range(40):
        writer.write(np.full((48, 64, 3), 6 * index + 9, np.uint8))
    writer.release()
    short = tmp_path / "short.avi"
    short.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    command = ["--out", str(tmp_path / "out"), "--npy", "--weights", str(tiny_weights)]
    assert main(["infer", str(whole), *command]) == 0
    assert main(["infer", str(short), *command]) == 1
    assert capsys.readouterr().err.count("ends early") == 1
    assert main(["infer", str(short), *command, "--limit", "3"]) == 0


def test_a_stream_of_jpegs_is_read_to_its_end_though_nobody_knows_their_number(tiny_weights, tmp_path):
    """As a camera's web page sends them."""
    stream = tmp_path / "stream.mjpeg"
    pictures = [cv2.imencode(".jpg", np.full((48, 64, 3), 30 * i + 9, np.uint8))[1].tobytes() for i in range(5)]
    stream.write_bytes(b"".join(pictures))
    command = ["infer", str(stream), "--out", str(tmp_path / "out"), "--npy", "--weights", str(tiny_weights)]
    assert main(command) == 0
    assert len(list((tmp_path / "out").iterdir())) == 5


def test_a_picture_that_the_network_fails_on_does_not_end_the_others(pictures, tiny_weights, tmp_path, monkeypatch):
    infer = DepthEstimator.infer_with_mirror

    def failing(self, image):
        if image.shape[:2] == (90, 120):
            raise BackendError("0 for every pixel")
        return infer(self, image)

    monkeypatch.setattr(DepthEstimator, "infer_with_mirror", failing)
    command = ["infer", str(pictures), "--out", str(tmp_path / "out"), "--npy", "--weights", str(tiny_weights)]
    assert main(command) == 1
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == ["b.v2", "grey"]


def test_results_that_cannot_be_written_give_one_line(pictures, tiny_weights, tmp_path, capsys):
    (tmp_path / "out" / "a.npy").mkdir(parents=True)
    command = ["infer", str(pictures / "a.jpg"), "--out", str(tmp_path / "out"), "--weights", str(tiny_weights)]
    assert main([*command, "--npy"]) == 1
    told = capsys.readouterr().err
    assert "a.npy" in told and "disk full" not in told


def test_a_full_disk_is_told_with_the_file(pictures, tiny_weights, tmp_path, capsys, monkeypatch):
    def full(file, array):
        raise OSError("76800 requested and 60384 written")  # numpy's words

    monkeypatch.setattr(np, "save", full)
    command = ["infer", str(pictures / "a.jpg"), "--out", str(tmp_path / "out"), "--weights", str(tiny_weights)]
    assert main([*command, "--npy"]) == 1
    told = capsys.readouterr().err
    assert "a.npy: 76800 requested" in told
    assert "is the disk full?" in told


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["infer", "/nowhere", "--out", "o"], 1, "no file, folder or camera"),
        (["infer", "scene:room", "--out", "o"], 1, "has no end"),
        (["infer", "scene:room", "--out", "o", "--limit", "1", "--weights", "/nowhere.safetensors"], 1, "weights"),
        (["infer", "scene:room", "--out", "o", "--limit", "1", "--device", "toaster"], 1, "device"),
        (["infer", "scene:room", "--out", "o", "--fov", "200"], 1, "--fov"),
        (["infer", "scene:room", "--out", "o", "--limit", "1", "--once", "--weights", "a", "b"], 1, "with one network"),
        (["infer", "scene:room", "--out", "/dev/null/x", "--limit", "1"], 1, "cannot make the folder"),
        (["infer", "scene:room"], 2, "--out"),
        (["fly"], 2, "invalid choice"),
        ([], 2, "COMMAND"),
    ],
)
def test_wrong_use_gives_one_line_and_a_status(arguments, status, reason, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        result = main(arguments)
    except SystemExit as leaving:  # argparse's way
        result = leaving.code
    assert result == status
    assert reason in capsys.readouterr().err


def test_help_names_every_command_and_imports_nothing_heavy():
    heavy = "print([name for name in ('torch', 'onnxruntime', 'openvino', 'rosbags', 'cv2') if name in sys.modules])"
    program = f"import sys\nfrom depthnet_ros.cli import main\ntry: main(['--help'])\nfinally: {heavy}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout.endswith("[]\n"), result.stdout
    assert all(name in result.stdout for name in COMMANDS)


def test_real_pictures(shared, tiny_weights, tmp_path):
    folder = shared / "data" / "rgbd_misc"
    pattern = f"{folder}/cho_0000000*.color.jpg"
    result = depthnet("infer", pattern, "--out", tmp_path, "--npy", "--weights", tiny_weights)
    assert result.returncode == 0, result.stderr
    for path in folder.glob("cho_0000000*.color.jpg"):
        assert np.load(tmp_path / f"{path.stem}.npy").shape == cv2.imread(str(path)).shape[:2]


def test_a_name_that_results_cannot_have_leaves_one_picture_out(pictures, tiny_weights, tmp_path):
    (pictures / "a.jpg").rename(pictures / ("x" * 250 + ".jpg"))
    result = depthnet("infer", pictures, "--out", tmp_path / "out", "--npy", "--weights", tiny_weights)
    assert result.returncode == 1 and "names would have 260 bytes" in result.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.v2.npy", "grey.npy"]


def test_results_of_a_picture_that_is_left_out_do_not_stay(pictures, tiny_weights, tmp_path):
    command = ["infer", pictures, "--out", tmp_path / "out", "--npy", "--weights", tiny_weights]
    assert depthnet(*command).returncode == 0
    (pictures / "a.jpg").write_bytes(b"no picture")
    (tmp_path / "out" / "a.ply").touch()  # somebody else's: this run writes none
    assert depthnet(*command).returncode == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.ply", "b.v2.npy", "grey.npy"]


def test_what_computed_is_told_and_folders_keep_their_names(pictures, tiny_weights, tmp_path):
    for name in ("left", "right"):
        (pictures / name).mkdir()
        shutil.copy(pictures / "a.jpg", pictures / name / "000.jpg")
    out = tmp_path / "out"
    result = depthnet("infer", pictures / "*" / "*.jpg", "--out", out, "--npy", "--weights", tiny_weights)
    assert result.returncode == 0 and " in float32 on cpu" in result.stderr
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.npy")) == ["left/000.npy", "right/000.npy"]


def test_a_picture_of_hardly_any_greys_is_told(tiny_weights, tmp_path):
    twelve_bits = np.linspace(0, 4095, 60 * 80).reshape(60, 80).astype(np.uint16)
    assert cv2.imwrite(str(tmp_path / "dark.tif"), twelve_bits)
    assert cv2.imwrite(str(tmp_path / "well.tif"), twelve_bits * 16)
    result = depthnet("infer", tmp_path, "--out", tmp_path / "out", "--npy", "--weights", tiny_weights)
    assert "dark: it has 16 greys of 256 (0 to 15)" in result.stderr and "well: " not in result.stderr
