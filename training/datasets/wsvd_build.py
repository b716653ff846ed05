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
_OTHER_WIDTH = "there already, made with another --max-width: to make them anew, delete their folders in the cache"


@dataclass(frozen=True)
class Note:
    """What became of one frame.

    Attributes:
        frame: number in the video.
        split: ``train`` or ``val``: which list asked for it.
        fault: "" for a kept frame, else WSVD's rule that rejected it.
        vertical_share, range_px, consistent_share: see StereoTruth.
        eye_width_px: of an eye before it was shrunk, and ``width_px`` after; 0 in caches made before they were noted.
    """

    frame: int
    split: str
    fault: str
    vertical_share: float
    range_px: float
    consistent_share: float
    eye_width_px: int = 0
    width_px: int = 0

    def fits(self, max_width_px: int) -> bool:
        """Whether the frame would be of the same width if it were made with this limit; true where none is noted."""
        return self.width_px == min(self.eye_width_px, max_width_px)


def read_notes(folder: Path) -> list[Note]:
    """Notes of one video; a last line cut short by a crash is passed over, and its frame made again.

    Raises:
        DatasetError: they are damaged.
    """
    path = folder / NOTES_NAME
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    try:
        return [Note(**json.loads(line)) for line in lines if line.endswith("\n")]
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path} is damaged ({error}): delete the folder and build it again") from error


def build_video(video: Video, source: Path, cache: Path, split: str, flow: Flow, max_width_px: int) -> Iterator[Note]:
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
                left, right = _shrunk(left, max_width_px), _shrunk(right, max_width_px)
                truth = stereo_truth(left, right, flow)
                vertical, spread, consistent = (
                    round(v, 4) for v in (truth.vertical_share, truth.range_px, truth.consistent_share)
                )
                widths = (full_width_px, left.shape[1])
                note = Note(number, split, truth.fault or "", vertical, spread, consistent, *widths)
                with writing(f"{folder}: frame {number}"):  # else it has no note, and is made again
                    if truth.fault is None:
                        _keep(folder, number, left, truth)
                    notes.write(json.dumps(asdict(note)) + "\n")
                    notes.flush()
                yield note


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


def build(
    clips: Path, videos: Path, cache: Path, split: str, flow: Flow, stride: int = 1, max_width_px: int = 1024
) -> Counter[str]:
    """Builds all videos of a list that are there. Returns how many frames had each fate, and missing videos.

    Frames that are there already stay as they are; those made with another ``max_width_px`` are counted.

    Raises:
        DatasetError: the list is not WSVD's, or none of its videos is in the folder.
    """
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
                if others := sum(not note.fits(max_width_px) for note in there):
                    fates[_OTHER_WIDTH] += others
                for note in build_video(video, path, cache, split, flow, max_width_px):
                    fates[note.fault or "kept"] += 1
                    progress.update()
            except DatasetError as error:
                fates["videos that end early, are damaged or of another frame rate"] += 1
                progress.write(str(error))
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
    flow = open_flow(args.flow)
    fates = build(args.clips, args.videos, args.cache, split, flow, args.stride, args.max_width)
    for fate, count in fates.most_common():
        print(f"{count:8d}  {fate}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
