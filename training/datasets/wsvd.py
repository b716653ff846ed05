"""WSVD: frames of stereo films with the disparity that :mod:`training.datasets.wsvd_build` made of them.

No ground truth is published, so figures on it never equal those in papers, whose authors made their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.datasets.base import DatasetError, Record, Sample, TargetKind
from training.datasets.disparity_png import read_disparity
from training.datasets.picture_file import read_rgb
from training.datasets.wsvd_build import NOTES_NAME, read_notes


class WsvdDataset:
    """Kept frames of a cache folder; the scene is the video, the target signed disparity with an arbitrary zero.

    ``split`` is the list that asked for a frame: the official test list is ``val``.

    Raises:
        DatasetError: the folder is no cache, or its notes are damaged.
    """

    def __init__(self, path: Path, split: str, *, name: str = "wsvd") -> None:
        videos = sorted(notes.parent for notes in path.glob(f"*/{NOTES_NAME}"))
        if not videos:
            raise DatasetError(
                f"{path}: no WSVD cache; make it with python -m training.datasets.wsvd_build --cache {path}"
            )
        self._name = name
        self._frames = [
            (video, note.frame)
            for video in videos
            for note in read_notes(video)
            if not note.fault and split in ("all", note.split)
        ]

    @property
    def records(self) -> Sequence[Record]:
        """One entry per kept frame."""
        return [Record(self._name, video.name) for video, _ in self._frames]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Sample:
        video, frame = self._frames[index]
        try:
            disparity, valid = read_disparity(video / f"{frame:06d}.png")
            rgb = read_rgb(video / f"{frame:06d}.jpg")
        except DatasetError as error:
            raise DatasetError(f"{error}; delete the folder {video} and build it again") from error
        name = f"{video.name}/{frame:06d}"
        return Sample(rgb, disparity, valid, TargetKind.DISPARITY_AFFINE, None, self._name, video.name, name)
