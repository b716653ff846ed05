from types import SimpleNamespace

import numpy as np
import pytest

from depthnet_ros.bags.frame_sources import SceneFrames
from depthnet_ros.bags.make import MakeOptions, make_bag
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.errors import BagError, ConfigError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.geometry.camera_info import camera_from_info
from depthnet_ros.simulation import Renderer, create_scene
from depthnet_ros.sources import SourceOptions, open_source
from depthnet_ros.sources.bag import calibration_of

CAMERA = PinholeCamera.from_fov(96, 72, 1.2)


def record(path, image_format="raw", frames=4):
    with BagWriter(path) as writer:
        make_bag(SceneFrames("room", CAMERA, frames, 10.0), CAMERA, writer, MakeOptions(image_format))
    return path


@pytest.mark.parametrize("name", ["drive", "drive.mcap", "drive.db3"])
def test_pictures_of_a_recording_with_their_camera_info(name, tmp_path):
    source = open_source(str(record(tmp_path / name)))
    frames = list(source)
    assert source.count == len(frames) == 4
    assert "camera_info" in source.description
    assert [frame.stamp_s for frame in frames] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert all(frame.calibration is not None and frame.calibration.camera == CAMERA for frame in frames)
    expected = Renderer(create_scene("room"), CAMERA).frame(0.2).rgb
    np.testing.assert_array_equal(frames[2].rgb(), expected)
    assert frames[2].encoded is None


@pytest.mark.parametrize("upper", [False, True], ids=["ROS 2", "ROS 1"])
@pytest.mark.parametrize("p", [(500.0, 0, 330, -50, 0, 505, 241, 0, 0, 0, 1, 0), (0.0,) * 12])
def test_what_is_replayed_is_the_camera_of_the_recorded_pictures(p, upper):
    """A recording of a part of the picture, with binning: a CameraInfo that is made of its calibration has neither."""
    matrices = {"k": (490.0, 0, 320, 0, 495, 240, 0, 0, 1), "p": p, "r": np.eye(3).ravel(), "d": (0.1, 0, 0, 0, 0)}
    roi = SimpleNamespace(x_offset=20, y_offset=8, width=600, height=400)
    info = SimpleNamespace(width=640, height=480, distortion_model="plumb_bob", binning_x=2, binning_y=4, roi=roi)
    vars(info).update({name.upper() if upper else name: value for name, value in matrices.items()})
    calibration = calibration_of(info)
    assert (calibration.width_px, calibration.height_px) == (300, 100)
    replayed = info_from_calibration(calibration)
    for rectified in (True, False):
        wanted = camera_from_info(info, 300, 100, rectified)
        found = camera_from_info(replayed, 300, 100, rectified)
        assert vars(found) == pytest.approx(vars(wanted))
    if any(p):
        assert calibration.p[3] == pytest.approx(-25.0)  # of a stereo pair: focal length times baseline


def info_from_calibration(calibration):
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0)
    size = {"width": calibration.width_px, "height": calibration.height_px}
    return SimpleNamespace(**size, k=calibration.k, p=calibration.p, binning_x=0, binning_y=0, roi=roi)


def test_compressed_pictures_are_passed_on_as_they_are(tmp_path):
    frames = list(open_source(str(record(tmp_path / "drive.mcap", "jpeg"))))
    assert frames[0].encoded is not None and frames[0].encoded[:2] == b"\xff\xd8"
    assert frames[0].rgb().shape == (72, 96, 3)


def test_the_topic_can_be_named(tmp_path):
    path = str(record(tmp_path / "drive.mcap", "both"))
    assert "/camera/image_rect," in open_source(path).description
    named = open_source(path, SourceOptions(topic="/camera/image_rect/compressed"))
    assert next(iter(named)).encoded is not None
    with pytest.raises(BagError, match="has no topic '/nothing'"):
        open_source(path, SourceOptions(topic="/nothing"))
    with pytest.raises(ConfigError, match="not an image"):
        open_source(path, SourceOptions(topic="/tf_static"))


def test_field_of_view_stands_in_where_the_recording_has_no_camera_info(tmp_path):
    from depthnet_ros.bags import messages

    with BagWriter(tmp_path / "bare.mcap") as writer:
        writer.write("/image", messages.image(np.zeros((24, 32, 3), np.uint8), "rgb8", 5, "camera"), 5)
    path = str(tmp_path / "bare.mcap")
    (frame,) = open_source(path, SourceOptions(horizontal_fov_rad=1.0))
    assert frame.calibration is not None and frame.calibration.camera == PinholeCamera.from_fov(32, 24, 1.0)
    (frame,) = open_source(path)
    assert frame.calibration is None


def test_a_field_of_view_goes_before_the_recording_s_camera_info_where_that_is_not_asked_for(tmp_path):
    path = str(record(tmp_path / "drive.mcap"))
    frames = list(open_source(path, SourceOptions(horizontal_fov_rad=1.0, calibrated=False)))
    assert all(frame.calibration.camera == PinholeCamera.from_fov(96, 72, 1.0) for frame in frames)


def test_a_recording_without_pictures_says_what_it_has(tmp_path):
    with BagWriter(tmp_path / "drive.mcap") as writer:
        make_bag(SceneFrames("room", CAMERA, 1), CAMERA, writer, MakeOptions("raw"))
    source = open_source(str(tmp_path / "drive.mcap"))
    assert source.count == 1
    from depthnet_ros.bags import messages

    with BagWriter(tmp_path / "still.mcap") as writer:
        writer.write("/tf", messages.transforms([("a", "b", np.eye(4))], 5), 5)
    with pytest.raises(ConfigError, match=r"no camera image.*/tf"):
        open_source(str(tmp_path / "still.mcap"))


def recorded(path, stamps_ns, info_stamps_ns=()):
    """Small grey pictures with these stamps, and camera_infos of focal lengths 1, 2, ... after them all."""
    from depthnet_ros.bags import messages

    with BagWriter(path) as writer:
        for logged, stamp in enumerate(stamps_ns, start=1):
            grey = messages.image(np.zeros((24, 32, 3), np.uint8), "rgb8", stamp, "camera")
            writer.write("/image", grey, logged)
        for index, stamp in enumerate(info_stamps_ns, start=1):
            info = messages.camera_info(PinholeCamera(32, 24, float(index), float(index), 16.0, 12.0), stamp, "camera")
            writer.write("/camera_info", info, len(stamps_ns) + index)
    return open_source(str(path))


@pytest.mark.parametrize(
    ("stamps_s", "wanted_s"),
    [
        ([0, 100.0, 100.1, 100.2], [0, 1 / 30, 4 / 30, 7 / 30]),  # the first has none
        ([0, 0, 0], [0, 1 / 30, 2 / 30]),
        ([50.0, 50.1, 3650.2, 3650.3], [0, 0.1, 0.2, 0.3]),  # the clock was set forward,
        ([5000.0, 5000.1, 1.0, 1.1], [0, 0.1, 0.2, 0.3]),  # back,
        ([50.0, 50.1, 0, 50.3], [0, 0.1, 0.2, 0.3]),  # and one in the middle has none
    ],
)
def test_stamps_that_jump_or_are_missing_keep_nobody_waiting(tmp_path, stamps_s, wanted_s):
    source = recorded(tmp_path / "jump.mcap", [round(1e9 * stamp) for stamp in stamps_s])
    assert [frame.stamp_s for frame in source] == pytest.approx(wanted_s, abs=1e-6)
    assert not source.losses
    assert len(source.notes) == 1
    assert "stamps are missing or jump" in source.notes[0]


def test_pauses_and_pictures_that_overtook_each_other_keep_their_time(tmp_path):
    stamps_s = [50.0, 50.2, 50.1, 59.0]
    source = recorded(tmp_path / "pause.mcap", [round(1e9 * stamp) for stamp in stamps_s])
    assert [frame.stamp_s for frame in source] == pytest.approx([0, 0.2, 0.1, 9.0])
    assert not source.losses
    assert not source.notes


def test_camera_info_may_go_on_long_after_the_last_picture(tmp_path):
    source = recorded(tmp_path / "long.mcap", [5_000_000_000], [5_000_000_000 + 33_000_000 * n for n in range(300)])
    (frame,) = source
    assert frame.calibration is not None
    assert frame.calibration.k[0] == 1.0


@pytest.mark.parametrize(
    ("stamps", "names"),
    [
        ([0, 0, 0], ["image_0_0", "image_0_1", "image_0_2"]),
        ([7, 8, 8, 7], ["image_7", "image_8", "image_8_2", "image_7_3"]),
    ],
)
def test_no_two_pictures_have_one_name_whatever_their_stamps(tmp_path, stamps, names):
    source = recorded(tmp_path / "drive.mcap", stamps)
    assert [frame.name for frame in source] == names
    assert [frame.name for frame in source] == names, "the same at the next pass"


def test_pictures_before_the_first_camera_info_have_that_one(tmp_path):
    """A driver that latches it, or is slow to begin: without any, camera_replay would publish none at all."""
    frames = list(recorded(tmp_path / "late.mcap", [10, 20, 30], [30]))
    assert [frame.calibration.k[0] for frame in frames] == [1.0, 1.0, 1.0]


def test_a_camera_info_that_is_not_asked_for_is_not_called_missing(tmp_path):
    path = str(record(tmp_path / "drive.mcap"))
    said = open_source(path, SourceOptions(calibrated=False)).description.removeprefix(path)
    assert said == ": 4 pictures of /camera/image_rect"
    assert "with /camera/camera_info" in open_source(path).description
