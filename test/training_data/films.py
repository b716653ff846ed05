"""Side-by-side films and lists of their frames as WSVD has them."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np

from test.training_data.test_stereo_truth import stereo_pair


def write_video(path: Path, frames: list[np.ndarray], codec: str = "mp4v") -> None:
    """Side-by-side frames (RGB) as a video file."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()


def side_by_side(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    size = (left.shape[1] // 2, left.shape[0])
    return np.hstack([cv2.resize(eye, size, interpolation=cv2.INTER_AREA) for eye in (left, right)])


def write_clips(path: Path, videos: dict[str, list[tuple[list[int], int]]]) -> Path:
    """A pickle as the official ones: NumPy int32 frames, labels of NumPy type."""
    content = [
        {"name": name, "clips": [{"frames": np.array(f, np.int32), "label": np.int32(label)} for f, label in clips]}
        for name, clips in videos.items()
    ]
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path


def make_film(tmp_path: Path) -> tuple[Path, Path]:
    """A list and a folder with one of its two videos: six frames, of which number 2 is flat."""
    videos = tmp_path / "videos"
    videos.mkdir()
    frames = [side_by_side(*stereo_pair(near_px=14 + 2 * n)) for n in range(6)]
    frames[2] = side_by_side(*stereo_pair(near_px=0, far_px=0))
    write_video(videos / "abcdefghijk.mp4", frames)
    listed = {"abcdefghijk.f137": [([0, 1, 2], 1), ([4], -1)], "gone0000000": [([5, 6], 1)]}
    return write_clips(tmp_path / "wsvd_test_clip_frame_ids.pkl", listed), videos
