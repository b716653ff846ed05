import numpy as np
import pytest

from depthnet_ros.bags.frame_sources import SceneFrames
from depthnet_ros.bags.make import MakeOptions, make_bag
from depthnet_ros.bags.writer import BagWriter
from depthnet_ros.errors import BagError, ConfigError
from depthnet_ros.geometry.camera import PinholeCamera
from depthnet_ros.simulation import Renderer, create_scene
from depthnet_ros.sources import SourceOptions, open_source

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
