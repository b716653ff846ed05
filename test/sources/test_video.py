import struct

import cv2
import numpy as np
import pytest

from depthnet_ros.errors import ConfigError
from depthnet_ros.sources import SourceOptions, open_source
from depthnet_ros.sources.video import VideoDevice


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "drive.avi")


def write_video(path):
    """Ten pictures, 80 ms apart."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 12.5, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no MJPEG")
    for index in range(10):
        writer.write(np.full((48, 64, 3), (0, 0, 20 * index), np.uint8))
    writer.release()
    return path


def test_pictures_rate_and_colours(video):
    source = open_source(str(video), SourceOptions(horizontal_fov_rad=1.0))
    frames = list(source)
    assert source.count == 10 and source.rate_hz == pytest.approx(12.5)
    assert [frame.stamp_s for frame in frames] == pytest.approx(np.arange(10) / 12.5)
    assert frames[3].name == "drive_000003"
    red, green, _ = frames[8].rgb()[24, 32]
    assert abs(int(red) - 160) < 12 and green < 12
    assert frames[0].calibration is not None and frames[0].calibration.width_px == 64
    assert len(list(source)) == 10, "it can be read again"


def test_damaged_video_says_so(tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"\x00" * 4000)
    with pytest.raises(ConfigError, match="cannot be opened as a video"):
        open_source(str(path))


def test_a_device_that_is_no_camera_says_so(tmp_path):
    (tmp_path / "video0").touch()
    with pytest.raises(ConfigError, match="does not open"):
        VideoDevice(tmp_path / "video0", SourceOptions())


def test_video_cut_short_gives_what_it_has(video, tmp_path):
    path = tmp_path / "short.avi"
    data = video.read_bytes()
    path.write_bytes(data[: len(data) * 75 // 100])
    source = open_source(str(path))
    read = len(list(source))
    assert 1 <= read < 8, read
    assert source.losses == [f"{path} ends early, after {read} of 10 pictures: damaged or cut short"]
    whole = open_source(str(video))
    assert len(list(whole)) == 10 and not whole.losses


@pytest.mark.parametrize(
    ("times_ms", "played_ms"),
    [
        ([0, 80, 160, 240, 320, 640, 960, 1280, 1600, 1920], [0, 80, 160, 240, 320, 640, 960, 1280, 1600, 1920]),
        ([0, 80, 160, 240, 240, 400, 480, 560, 640, 720], [0, 80, 160, 240, 320, 400, 480, 560, 640, 720]),
        ([0, 80, 160, 15160, 15240, 15320, 15400, 15480, 15560, 15640], [80 * index for index in range(10)]),
    ],
    ids=["slower in the dark", "a time twice", "after a long gap"],
)
def test_a_video_s_own_times_are_kept(times_ms, played_ms, tmp_path):
    """Matroska has them in each block, as 16 bits behind the number of the track."""
    path = write_video(tmp_path / "phone.mkv")
    data = path.read_bytes()
    blocks = [b"\x81" + struct.pack(">h", 80 * index) for index in range(1, 10)]
    assert [data.count(block) for block in blocks] == [1] * 9
    changed = bytearray(data)
    for block, time_ms in zip(blocks, times_ms[1:], strict=True):
        struct.pack_into(">h", changed, data.index(block) + 1, time_ms)
    path.write_bytes(changed)
    stamps = [frame.stamp_s for frame in open_source(str(path))]
    assert stamps == pytest.approx([1e-3 * time for time in played_ms], abs=2e-3)
