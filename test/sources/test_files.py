from pathlib import Path

import cv2
import numpy as np
import pytest

from depthnet_ros.bags.reader import BagReader
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.errors import CameraInfoError, ConfigError, DepthNetError, ImageError
from depthnet_ros.geometry.calibration import Calibration, read_calibration
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.inference.network_files import find_network
from depthnet_ros.models.checkpoint import read_spec
from depthnet_ros.sources import SourceOptions, open_source


def write(path: Path, value: int = 0, size=(24, 32), dtype=np.uint8, channels: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (*size, channels) if channels > 1 else size
    assert cv2.imwrite(str(path), np.full(shape, value, dtype))
    return path


def names(spec: Path | str, **options) -> list[str]:
    return [frame.name for frame in open_source(str(spec), SourceOptions(**options))]


def test_pictures_come_in_the_order_people_count(tmp_path):
    for number in (10, 9, 100, 1):
        write(tmp_path / f"frame{number}.jpg", number)
    source = open_source(str(tmp_path), SourceOptions(rate_hz=10.0))
    frames = list(source)
    assert [frame.name for frame in frames] == ["frame1", "frame9", "frame10", "frame100"]
    assert [frame.stamp_s for frame in frames] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert [int(frame.rgb()[0, 0, 0]) for frame in frames] == [1, 9, 10, 100]
    assert source.count == 4
    assert [frame.name for frame in source] == [frame.name for frame in frames], "it can be read again"


def test_colours_are_rgb(tmp_path):
    assert cv2.imwrite(str(tmp_path / "red.png"), np.full((4, 4, 3), (0, 0, 255), np.uint8))
    (frame,) = open_source(str(tmp_path))
    np.testing.assert_array_equal(frame.rgb()[0, 0], (255, 0, 0))
    assert frame.encoded == (tmp_path / "red.png").read_bytes()


def test_depth_images_beside_pictures_are_left_out(tmp_path):
    write(tmp_path / "a.color.jpg")
    write(tmp_path / "a.depth.png", dtype=np.uint16, channels=1)
    write(tmp_path / "b.png", dtype=np.uint16, channels=1)  # 16-bit grey: depth, whatever its name
    write(tmp_path / "c_disp.png", channels=1)
    write(tmp_path / "c.png", channels=1)  # 8-bit grey is a picture
    write(tmp_path / "depth_of_field.jpg")  # a JPEG is never depth
    (tmp_path / "notes.txt").write_text("no picture")
    assert names(tmp_path) == ["a.color", "c", "depth_of_field"]
    assert "3 taken for depth images or masks" in open_source(str(tmp_path)).description


def test_a_folder_with_a_number_for_a_name_is_no_camera(tmp_path, monkeypatch):
    write(tmp_path / "00" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert names("00") == ["a"]


def test_a_folder_without_pictures_says_what_there_is(tmp_path):
    write(tmp_path / "a.depth.png", dtype=np.uint16, channels=1)
    write(tmp_path / "left" / "a.jpg")
    with pytest.raises(ConfigError, match=r"1 depth images or masks were left out.*pictures in its folders left"):
        open_source(str(tmp_path))


def test_a_named_picture_is_taken_whatever_it_is(tmp_path):
    path = write(tmp_path / "a.depth.png", 65535, dtype=np.uint16, channels=1)
    (frame,) = open_source(str(path))
    assert frame.rgb().shape == (24, 32, 3)


def test_patterns(tmp_path):
    for name in ("1.left.jpg", "1.right.jpg", "2.left.jpg"):
        write(tmp_path / name)
    assert names(f"{tmp_path}/*.left.jpg") == ["1.left", "2.left"]
    with pytest.raises(ConfigError, match="no picture matches"):
        open_source(f"{tmp_path}/*.middle.jpg")


@pytest.mark.parametrize("spec", ["**.png", "n" * 300, "*" + "n" * 300])
def test_names_and_patterns_that_nothing_can_have_are_refused(tmp_path, spec):
    """Newer Pythons take them for such as match nothing."""
    with pytest.raises(ConfigError, match=r"is no pattern|File name too long|no picture matches|no file"):
        open_source(f"{tmp_path}/{spec}")


def test_links_to_nothing_are_named_and_no_masks(tmp_path):
    """As of git-annex, before the files are fetched."""
    write(tmp_path / "a.png")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "c.jpg").mkdir()
    source = open_source(str(tmp_path))
    assert "left out" not in source.description
    first, second = source
    assert first.rgb().shape == (24, 32, 3)
    with pytest.raises(ImageError, match=r"b\.jpg is a link to nothing"):
        second.rgb()


def test_a_damaged_picture_names_its_file_and_does_not_stop_the_others(tmp_path):
    write(tmp_path / "1.jpg")
    (tmp_path / "2.jpg").write_bytes(write(tmp_path / "3.jpg").read_bytes()[:200])
    (tmp_path / "4.png").write_bytes(b"garbage")
    (tmp_path / "5.png").write_bytes(b"")
    good, faults = [], []
    for frame in open_source(str(tmp_path), SourceOptions(horizontal_fov_rad=1.0)):
        try:
            good.append(frame.rgb())
        except ImageError as error:
            faults.append(str(error))
    assert len(good) == 2
    assert [Path(fault.split(":")[0]).name for fault in faults] == ["2.jpg", "4.png", "5.png"]


def test_the_home_of_nobody_is_told(tmp_path):
    for read in (open_source, read_calibration, BagReader, BagWriter, find_network, read_spec):
        with pytest.raises(ConfigError, match=r"~nobody_here/x\.mcap: nobody of that name"):
            read("~nobody_here/x.mcap")


@pytest.mark.parametrize("spec", ["nowhere", "/dev/video93", "scene:moon", ""])
def test_what_does_not_exist_says_what_would_be_taken(spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if spec == "":
        assert "room" in open_source(spec).description
        return
    with pytest.raises(ConfigError, match=r"expected|cameras on this machine|there are"):
        open_source(spec)


def test_unknown_kind_of_file(tmp_path):
    path = tmp_path / "scan.xyz"
    path.write_text("1 2 3")
    with pytest.raises(ConfigError, match="none of the kinds"):
        open_source(str(path))


CALIBRATION = """
image_width: 32
image_height: 24
camera_name: front
distortion_model: plumb_bob
camera_matrix: {rows: 3, cols: 3, data: [30, 0, 15.5, 0, 31, 11.5, 0, 0, 1]}
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, -0.2, 0, 0, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [28, 0, 15, 0, 0, 29, 11, 0, 0, 0, 1, 0]}
"""


class TestCalibration:
    def test_ros_yaml(self, tmp_path):
        path = tmp_path / "camera_info.yaml"
        path.write_text(CALIBRATION)
        calibration = read_calibration(path)
        assert calibration.k[0] == 30 and calibration.d[:2] == (0.1, -0.2)
        assert calibration.camera == PinholeCamera(32, 24, 28.0, 29.0, 15.0, 11.0)

    def test_it_goes_with_the_pictures_of_its_folder(self, tmp_path):
        (tmp_path / "camera_info.yaml").write_text(CALIBRATION)
        write(tmp_path / "a.jpg")
        (frame,) = open_source(str(tmp_path))
        assert frame.calibration is not None and frame.calibration.k[4] == 31

    def test_pictures_of_several_folders_have_each_that_of_their_own(self, tmp_path):
        for folder, text in (("a", CALIBRATION), ("b", CALIBRATION.replace("[30,", "[33,")), ("c", None)):
            write(tmp_path / folder / "1.jpg")
            if text:
                (tmp_path / folder / "camera_info.yaml").write_text(text)
        found = [frame.calibration for frame in open_source(f"{tmp_path}/*/*.jpg")]
        assert [calibration and calibration.k[0] for calibration in found] == [30, 33, None]
        options = SourceOptions(horizontal_fov_rad=1.0)
        last = list(open_source(f"{tmp_path}/*/*.jpg", options))[-1]
        assert last.calibration == Calibration.of(PinholeCamera.from_fov(32, 24, 1.0))

    def test_matrix_as_text(self, tmp_path):
        (tmp_path / "camera-intrinsics.txt").write_text("5.85e2 0 3.2e2\n0 5.85e2 2.4e2\n0 0 1\n")
        write(tmp_path / "a.jpg", size=(480, 640))
        (frame,) = open_source(str(tmp_path))
        assert frame.calibration is not None
        assert frame.calibration.camera == PinholeCamera(640, 480, 585.0, 585.0, 320.0, 240.0)

    def test_field_of_view_stands_in_where_there_is_none(self, tmp_path):
        for name in ("a.jpg", "b.png", "c.bmp"):
            write(tmp_path / name)
        for frame in open_source(str(tmp_path), SourceOptions(horizontal_fov_rad=1.0)):
            assert frame.calibration == Calibration.of(PinholeCamera.from_fov(32, 24, 1.0))
        for frame in open_source(str(tmp_path)):
            assert frame.calibration is None

    @pytest.mark.parametrize(
        "text", ["image_width: 32", "[1, 2]", "image_width: {", CALIBRATION.replace("31, 11.5, 0, 0, 1", "31")]
    )
    def test_what_is_no_calibration_is_refused(self, text, tmp_path):
        path = tmp_path / "camera_info.yaml"
        path.write_text(text)
        with pytest.raises(CameraInfoError, match=r"not a ROS camera_info YAML|needs 9 numbers"):
            read_calibration(path)

    @pytest.mark.parametrize(
        ("line", "changed", "reason"),
        [
            ("width: 32", "width: -32", "must be 1 to 65536"),
            ("width: 32", "width: 1099511627776", "must be 1 to 65536"),
            ("height: 24", "height: .inf", "whole number of pixels, got inf"),
            ("height: 24", "height: 24.5", "whole number of pixels, got 24.5"),
            ("data: [30,", "data: [.nan,", "K must be finite"),
            ("data: [0.1,", "data: [.inf,", "D must be finite"),
            ("30, 0, 15.5, 0, 31, 11.5, 0, 0, 1", "0, 0, 0, 0, 0, 0, 0, 0, 0", "focal lengths .* must be positive"),
            ("30, 0, 15.5, 0, 31, 11.5, 0, 0, 1", "30, 0, 15.5", "K of a calibration needs 9 numbers, got 3"),
            ("data: [28,", "data: [28, 1,", "P of a calibration needs 12 numbers, got 13"),
            ("data: [28,", "data: [-28,", "focal lengths .* must be positive"),
        ],
    )
    def test_numbers_that_no_camera_has_are_refused(self, line, changed, reason, tmp_path):
        path = tmp_path / "camera_info.yaml"
        assert CALIBRATION.count(line) == 1
        path.write_text(CALIBRATION.replace(line, changed))
        with pytest.raises(CameraInfoError, match=f"camera_info.yaml: .*{reason}"):
            read_calibration(path)

    def test_a_projection_of_zeros_is_none(self, tmp_path):
        path = tmp_path / "camera_info.yaml"
        path.write_text(CALIBRATION.replace("28, 0, 15, 0, 0, 29, 11, 0, 0, 0, 1, 0", ", ".join(["0"] * 12)))
        assert read_calibration(path).k[0] == 30

    def test_missing_file(self, tmp_path):
        with pytest.raises(CameraInfoError, match="no calibration file"):
            read_calibration(tmp_path / "nothing.yaml")

    def test_uncalibrated_is_refused_where_a_camera_is_needed(self):
        with pytest.raises(CameraInfoError, match="calibrated"):
            _ = Calibration(4, 4, (0.0,) * 9, p=(0.0,) * 12).camera


def test_real_rgbd_folder_gives_its_colour_pictures_and_camera(shared):
    folder = shared / "data" / "rgbd_7scenes_redkitchen"
    source = open_source(str(folder))
    first = next(iter(source))
    assert source.count == len(list(folder.glob("*.color.jpg")))
    assert first.name == "frame-000000.color"
    assert first.rgb().shape == (480, 640, 3)
    assert first.calibration is not None and first.calibration.camera.fx_px == 585.0


def test_a_pattern_in_a_folder_whose_name_has_brackets(tmp_path):
    folder = tmp_path / "run[1]" / "left"
    folder.mkdir(parents=True)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(folder / name), np.zeros((8, 8, 3), np.uint8))
    assert open_source(f"{tmp_path}/run[1]/*/*.png", SourceOptions()).count == 2


def test_every_picture_has_a_name_of_its_own(tmp_path):
    for name in ("a.jpg", "a.png", "a_2.jpg"):
        write(tmp_path / "one" / name)
    assert names(tmp_path / "one") == ["a.jpg", "a.png", "a_2"]
    for name in ("right/000.png", "left/000.png", "left/001.png"):
        write(tmp_path / "two" / name)
    assert names(tmp_path / "two" / "*" / "*.png") == ["left/000", "right/000", "left/001"]
    for name in ("x/a.jpg", "x/a.png", "y/a.png", "y/a.png.jpg"):
        write(tmp_path / "three" / name)
    several = names(tmp_path / "three" / "*" / "*")
    assert sorted(several) == ["x/a.jpg", "x/a.png", "y/a", "y/a.png"]


def test_names_with_unusual_numbers_are_sorted_too(tmp_path):
    for name in ("plan_5\u00b23.png", "\u24601.png", "2.png"):
        write(tmp_path / "x.png").rename(tmp_path / name)
    assert len(names(tmp_path)) == 3


def test_pictures_in_folders_below_are_told(tmp_path):
    write(tmp_path / "a.jpg")
    write(tmp_path / "more" / "b.jpg")
    assert "not those in its folders more" in open_source(str(tmp_path)).description


def test_a_data_set_s_metadata_makes_no_recording(tmp_path):
    write(tmp_path / "a.jpg")
    (tmp_path / "metadata.yaml").write_text("name: rooms\n")
    assert names(tmp_path) == ["a"]
    (tmp_path / "metadata.yaml").write_text("rosbag2_bagfile_information: {version: 99}\n")
    with pytest.raises(DepthNetError, match="is no recording"):
        open_source(str(tmp_path))


def test_a_cut_png_is_called_one(tmp_path):
    path = write(tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[:-30])
    (frame,) = open_source(str(path))
    with pytest.raises(ImageError, match=r"PNG of .* cut short"):
        frame.rgb()
