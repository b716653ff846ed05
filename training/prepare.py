"""Checks a folder in MegaDepth's layout once, before training: ``python -m training.prepare --path DIR``.

Every pair is opened and judged; what cannot be used is counted and listed, never trained on. The result is the index
``depthnet_index.jsonl`` in the data folder, which the ``megadepth`` reader finds by itself. Interrupt it freely: a
second run continues, and checks again what has changed since. With ``--shards`` the usable pairs are also written
shrunk, for reading at speed (``shards``).
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import tqdm

from depthnet_ros.errors import ConfigError
from depthnet_ros.signals import ended_in_order
from training.command import command
from training.datasets.base import DatasetError, TargetKind, checked_options, open_dataset, reader_options
from training.datasets.depth_h5 import OFFICIAL_PERCENTILES, DepthFileError, read_depth_h5, without_outliers
from training.datasets.megadepth import MIN_VALID_SHARE, SPARSE_OPTIONS, check_options, valid_share
from training.datasets.megadepth_files import Pair, data_root, find_pairs, lonely_depths
from training.datasets.megadepth_index import INDEX_NAME, Entry, read_index
from training.datasets.picture_file import read_rgb
from training.datasets.shards import write_shards
from training.outputs import alone_in, write_text, writing
from training.workers import mapped

FAULTS_NAME = "depthnet_faults.txt"
# The reader finds the index beside the scenes, so it can be nowhere else.
_ADVICE = "make room there or make it writable, or prepare a folder of your own with links to the scenes"


def check_pair(pair: Pair, root: Path) -> Entry:
    """What a pair is; every damage that a file can have ends up as a fault of the entry, not as an exception."""
    files = pair.files(root)  # before they are read: one that is written meanwhile is checked again by the next run
    return replace(_checked(pair, root), files=files)


def _checked(pair: Pair, root: Path) -> Entry:
    try:
        return _judge(pair, root)
    except DepthFileError as error:
        return Entry(pair.image, fault=error.fault, detail=str(error))
    except Exception as error:  # a damaged file must not end a run of hours
        return Entry(pair.image, fault="unexpected error", detail=f"{pair.image}: {type(error).__name__}: {error}")


def _judge(pair: Pair, root: Path) -> Entry:
    if not (root / pair.depth).is_file():
        raise DepthFileError("missing depth", f"{pair.image}: no depth file {pair.depth}")
    depth = read_depth_h5(root / pair.depth)
    height, width = depth.values.shape
    if depth.kind is TargetKind.ORDINAL:
        unfiltered = valid = depth.values != 0
    else:
        unfiltered, valid = depth.values > 0, without_outliers(depth.values, *OFFICIAL_PERCENTILES) > 0
        if not valid.any():
            raise DepthFileError("empty depth", f"{pair.depth}: no pixel has depth")
    # Whole: decoded at a fraction of its size, as in training, it may be damaged or a few pixels larger unnoticed.
    try:
        size = read_rgb(root / pair.image).shape[:2]
    except DatasetError as error:
        raise DepthFileError("unreadable image", str(error)) from error
    if size != (height, width):
        raise DepthFileError(
            "image and depth differ in size",
            f"{pair.image}: image ({size[0]} x {size[1]}) and depth ({height} x {width}) differ in size: write the "
            "depth on the image's grid",
        )
    share, of_all = (round(valid_share(mask, depth.sky), 4) for mask in (valid, unfiltered))
    return Entry(pair.image, depth.kind.value, "", "", share, height, width, unfiltered_share=of_all)


def check_folder(root: Path, workers: int) -> list[Entry]:
    """Checks every pair that has no good entry yet or whose files have changed since, and leaves the index behind.

    Entries are appended to ``<index>.part`` as they come; the index takes its place only when all are there.

    Raises:
        OutputError: the index cannot be written; what was checked stays in ``<index>.part``.
    """
    index = root / INDEX_NAME
    unfinished = index.with_name(f"{INDEX_NAME}.part")
    pairs = list(find_pairs(root))
    files = {pair.image: pair.files(root) for pair in pairs}
    entries = {
        entry.image: entry
        for path in (index, unfinished)
        if path.is_file()
        for entry in read_index(path)
        if not entry.fault and entry.files == files.get(entry.image)
    }
    todo = [pair for pair in pairs if pair.image not in entries]
    write_text(unfinished, "".join(entry.line() for entry in entries.values()), _ADVICE)
    with writing(index, _ADVICE):
        with unfinished.open("a", encoding="utf-8") as file:
            checked = mapped(partial(check_pair, root=root), todo, workers, crashed)
            for entry in tqdm(checked, total=len(todo), desc="checking", unit="pair"):
                file.write(entry.line())
                file.flush()
                entries[entry.image] = entry
        unfinished.replace(index)
    return [entries[pair.image] for pair in pairs]


def crashed(pair: Pair) -> Entry:
    """The entry of a pair at which the process that checked it died."""
    return Entry(
        pair.image,
        fault="reader crashed",
        detail=f"{pair.depth} or its image: the process that read it died (damaged, or too large for the memory); "
        "copy it again",
    )


def report(entries: Sequence[Entry], orphans: Sequence[Path], root: Path) -> str:
    """A summary for people; the full list of faults goes to ``depthnet_faults.txt`` in the data folder."""
    faults = [entry for entry in entries if entry.fault]
    lines = [f"{entry.fault}\t{entry.detail}" for entry in faults]
    lines += [f"missing image\t{path}: no image beside it" for path in orphans]
    write_text(root / FAULTS_NAME, "".join(f"{line}\n" for line in lines), _ADVICE)
    kinds = Counter(entry.kind for entry in entries if not entry.fault)
    scenes = {entry.image.split("/")[0] for entry in entries if not entry.fault}
    shares = [entry.valid_share for entry in entries if entry.kind == TargetKind.DEPTH.value]
    out = [
        f"{len(entries)} images: {kinds['depth']} with depth, {kinds['ordinal']} with an ordinal map, "
        f"in {len(scenes)} scenes; {len(faults) + len(orphans)} left out"
    ]
    if shares:
        low, middle, high = np.percentile(shares, (10, 50, 90))
        out.append(f"pixels with depth: 10 % of images under {low:.0%}, median {middle:.0%}, 10 % over {high:.0%}")
    if sparse := sum(share < MIN_VALID_SHARE for share in shares):
        out.append(
            f"{sparse} of {len(shares)} have depth on less than {MIN_VALID_SHARE:.0%} of their pixels: the reader "
            f"leaves them out unless it has the options {SPARSE_OPTIONS}"
        )
    counts = Counter(entry.fault for entry in faults) + Counter({"missing image": len(orphans)})
    out += [f"  {count:7d}  {fault}" for fault, count in counts.most_common()]
    out += [f"    {line}" for line in islice((entry.detail for entry in faults), 10)]
    if lines:
        out.append(f"all of them: {root / FAULTS_NAME}")
    return "\n".join(out)


@command(continues=True)
def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, required=True, help="folder of the scenes, or one above MegaDepth_v1")
    parser.add_argument("--workers", type=int, default=1, help="processes that check")
    parser.add_argument("--shards", type=Path, help="also write the usable pairs, shrunk, to this folder")
    parser.add_argument("--short-side", type=int, default=288, help="of the images in shards, in pixels")
    parser.add_argument("--ordinal", action="store_true", help="put ordinal maps into the shards too")
    parser.add_argument("--options", default="{}", help="the reader's, for the shards: {min_valid_share: 0.1}")
    args = parser.parse_args(arguments)
    if args.workers < 1:
        raise ConfigError(f"--workers must be at least 1, got {args.workers}")
    chosen = {"ordinal": args.ordinal, "short_side_px": args.short_side, **reader_options(args.options)}
    options = checked_options("megadepth", chosen)  # before hours are spent
    check_options(**options)
    root = data_root(args.path)
    if args.shards is not None and args.shards.resolve() == root.resolve():
        raise ConfigError(f"--shards must be a folder of its own, got that of the scenes, {root}")
    with ended_in_order(), ExitStack() as held:
        held.enter_context(alone_in(root, _ADVICE))
        if args.shards is not None:
            held.enter_context(alone_in(args.shards))
        entries = check_folder(root, args.workers)
        print(report(entries, lonely_depths(root), root))
        if not any(entry.kind for entry in entries):
            raise DatasetError(f"{root}: not one pair can be used")
        if args.shards is not None:
            dataset = open_dataset("megadepth", root, "all", options)
            with writing(args.shards):
                left_out = write_shards(dataset, args.shards)
            print(f"shards in {args.shards}: {len(dataset) - len(left_out)} samples, {len(left_out)} left out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
