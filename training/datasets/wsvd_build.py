"""Makes WSVD's ground truth, which is not published, from its clip list and a folder of videos.

``python -m training.datasets.wsvd_build --clips wsvd_test_clip_frame_ids.pkl --videos DIR --cache DIR``

For every frame of the list the left eye's picture and its signed disparity are kept in ``<cache>/<video>``; frames that
WSVD's rules reject are only noted. A second run continues where the first was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from depthnet_ros.errors import ConfigError
from depthnet_ros.files import written_whole
from training.command import command
from training.datasets.base import DatasetError
from training.datasets.disparity_png import write_disparity
from training.datasets.flow import Flow, open_flow
from training.datasets.picture_file import write_picture
from training.datasets.stereo_truth import StereoTruth, split_side_by_side, stereo_truth
from training.datasets.wsvd_clips import Video, check_rate, find_video, read_clips, read_frames
from training.outputs import writing

NOTES_NAME = "frames.jsonl"
_JPEG_QUALITY = 92
# OpenCV's flow cannot take much less, and no disparity in it spans the 10 px that WSVD's rules ask for.
_MIN_WIDTH_PX = 64
_OTHER = "there already, made with another {}: to make them anew, delete their folders in the cache"


@dataclass(frozen=True)
class Recipe:
    """How frames are made.

    Attributes:
        split: ``train`` or ``val``: which list asks for them.
        flow: its name, as :func:`open_flow` has it.
        max_width_px: eyes wider than this are shrunk to it.
    """

    split: str
    flow: str = "dis"
    max_width_px: int = 1024

    def __post_init__(self) -> None:
        if self.max_width_px < _MIN_WIDTH_PX:
            raise ConfigError(f"--max-width must be at least {_MIN_WIDTH_PX} px, got {self.max_width_px}")


@dataclass(frozen=True)
class Note:
    """What became of one frame.

    Attributes:
        frame: number in the video.
        split: ``train`` or ``val``: which list asked for it.
        fault: "" for a kept frame, else WSVD's rule that rejected it.
        vertical_share, range_px, consistent_share: see StereoTruth.
        eye_width_px: of an eye before it was shrunk, and ``width_px`` after; 0 in caches made before they were noted.
        flow: name of the flow, and ``source``, size in bytes and time of change in ns of the video's file; "" in caches
            made before they were noted.
    """

    frame: int
    split: str
    fault: str
    vertical_share: float
    range_px: float
    consistent_share: float
    eye_width_px: int = 0
    width_px: int = 0
    flow: str = ""
    source: str = ""

    def misfits(self, recipe: Recipe, source: str) -> list[str]:
        """In what the frame would be another one if it were made now; what is not noted is taken to fit."""
        same = {
            "--split": self.split == recipe.split,
            "--flow": self.flow in ("", recipe.flow),
            "--max-width": self.width_px == min(self.eye_width_px, recipe.max_width_px),
            "file of the video": self.source in ("", source),
        }
        return [what for what, fits in same.items() if not fits]


def read_notes(folder: Path) -> list[Note]:
    """Notes of one video; a last line cut short by a crash is passed over, and its frame made again.

    Of a frame that two runs at once have made, the later note stands.

    Raises:
        DatasetError: they are damaged.
    """
    path = folder / NOTES_NAME
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    try:
        notes = [Note(**json.loads(line)) for line in lines if line.endswith("\n")]
        return list({note.frame: note for note in notes}.values())
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path} is damaged ({error}): delete the folder and build it again") from error


def build_video(video: Video, source: Path, cache: Path, recipe: Recipe, flow: Flow) -> Iterator[Note]:
    """Makes the frames of one video that have no note yet, and yields their notes as they come.

    Raises:
        DatasetError: the video or its notes are damaged.
        OutputError: a file of the cache cannot be written. It ends the work, which goes on where it was.
    """
    folder = cache / video.name
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        done = {note.frame for note in read_notes(folder)}
        missing = [number for number in video.frames if number not in done]
        if not missing:
            return
        _drop_cut_line(folder / NOTES_NAME)
        with (folder / NOTES_NAME).open("a", encoding="utf-8") as notes:
            for number, picture in read_frames(source, missing):
                left, right = split_side_by_side(picture)
                if video.frames[number]:
                    left, right = right, left
                full_width_px = left.shape[1]
                left, right = (_shrunk(eye, recipe.max_width_px) for eye in (left, right))
                truth = stereo_truth(left, right, flow)
                vertical, spread, consistent = (
                    round(v, 4) for v in (truth.vertical_share, truth.range_px, truth.consistent_share)
                )
                made = (full_width_px, left.shape[1], recipe.flow, _state(source))
                note = Note(number, recipe.split, truth.fault or "", vertical, spread, consistent, *made)
                with writing(f"{folder}: frame {number}"):  # else it has no note, and is made again
                    if truth.fault is None:
                        _keep(folder, number, left, truth)
                    notes.write(json.dumps(asdict(note)) + "\n")
                    notes.flush()
                yield note


def _state(source: Path) -> str:
    stat = source.stat()
    return f"{stat.st_size} {stat.st_mtime_ns}"


def _keep(folder: Path, number: int, left: NDArray[np.uint8], truth: StereoTruth) -> None:
    write_disparity(folder / f"{number:06d}.png", truth.disparity_px, truth.valid_mask)
    bgr = cv2.cvtColor(left, cv2.COLOR_RGB2BGR)
    write_picture(folder / f"{number:06d}.jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))


def _drop_cut_line(path: Path) -> None:
    content = path.read_bytes() if path.is_file() else b""
    if content and not content.endswith(b"\n"):
        with written_whole(path) as unfinished:  # killed while it is mended, the notes are as they were
            unfinished.write_bytes(content[: content.rfind(b"\n") + 1])


def _shrunk(eye: NDArray[np.uint8], max_width_px: int) -> NDArray[np.uint8]:
    height, width = eye.shape[:2]
    if width <= max_width_px:
        return eye
    size = (max_width_px, round(height * max_width_px / width))
    return np.asarray(cv2.resize(eye, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def build(clips: Path, videos: Path, cache: Path, recipe: Recipe, stride: int = 1) -> Counter[str]:
    """Builds all videos of a list that are there. Returns how many frames had each fate, and missing videos.

    Frames that are there already stay as they are; they are counted, and those that were made in another way again.

    Raises:
        ConfigError: there is no such flow.
        DatasetError: the list is not WSVD's, or none of its videos is in the folder.
    """
    flow = open_flow(recipe.flow)
    if not videos.is_dir():
        raise DatasetError(f"no folder of videos at {videos}")
    listed = read_clips(clips, stride)
    found = [(video, path) for video in listed if (path := find_video(videos, video.name)) is not None]
    if not found:
        raise DatasetError(
            f"{videos}: none of the {len(listed)} videos of {clips.name}; expected files like {listed[0].name}.mp4"
        )
    fates = Counter({"videos missing": len(listed) - len(found)})
    with tqdm(total=sum(len(video.frames) for video, _ in found), unit="frame") as progress:
        for video, path in found:
            progress.set_description(video.name)
            try:
                check_rate(path, video.name)
                there = [note for note in read_notes(cache / video.name) if note.frame in video.frames]
                fates.update("there already" for _ in there)
                progress.update(len(there))
                fates.update(_OTHER.format(what) for note in there for what in note.misfits(recipe, _state(path)))
                for note in build_video(video, path, cache, recipe, flow):
                    fates[note.fault or "kept"] += 1
                    progress.update()
            except (DatasetError, cv2.error) as error:  # OpenCV's: pictures too small for its flow
                fates["videos that end early, are damaged, too small or of another frame rate"] += 1
                progress.write(f"{video.name}: {error}".strip())
    return fates


@command(continues=True)
def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Make WSVD's ground truth from its clip list and a folder of videos.")
    parser.add_argument("--clips", type=Path, required=True, help="official wsvd_{train,test}_clip_frame_ids.pkl")
    parser.add_argument("--videos", type=Path, required=True, help="folder of <name>.mp4 and the like")
    parser.add_argument("--cache", type=Path, required=True, help="what the reader 'wsvd' is given as its path")
    parser.add_argument("--split", choices=("train", "val"), help="default: train if the list's name has 'train' in it")
    parser.add_argument("--stride", type=int, default=1, help="take every N-th frame of a clip")
    parser.add_argument("--max-width", type=int, default=1024, help="eyes wider than this are shrunk to it")
    parser.add_argument("--flow", default="dis", help="dis, dis_full or module:attribute of a better flow")
    args = parser.parse_args(arguments)
    split = args.split or ("train" if "train" in args.clips.name else "val")
    recipe = Recipe(split, args.flow, args.max_width)
    fates = build(args.clips, args.videos, args.cache, recipe, args.stride)
    for fate, count in fates.most_common():
        print(f"{count:8d}  {fate}")
    if not fates["kept"] and not fates["there already"]:
        raise DatasetError("not one frame was kept: see above")
    return 0


if __name__ == "__main__":
    sys.exit(main())
