"""The prior of metric scale: how far apart near and far lie in a view, on a data set's training split.

    python -m benchmarks.view_range --data ../shared/data

For each image the network's prediction is fitted to the truth (least squares in inverse depth); printed are mean and
standard deviation of log(inverse depth of the nearest 5 % / of the farthest 5 %), as the fit has them and as the truth
has them; and what the tracker adds for views whose median lies near their far end. ``scale.view_range`` and
``scale.view_range_sigma`` are rounded from the last line, in which all data sets count alike: a robot may leave the
rooms that most images are of.

With ``--own-zero`` also how far off the range is that the network's own zero gives, for ``zero_sigma`` of weights that
were taught it (loss ``zero``): ask for ``--split val``, since it has seen the training images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.metric_scale_data import read_index
from depthnet_ros.errors import DepthNetError
from depthnet_ros.inference.estimator import DepthEstimator
from depthnet_ros.metric_scale.fit import ViewNormalisation
from depthnet_ros.metric_scale.spread import BEYOND, depth_spread
from training.datasets.picture_file import read_picture, read_rgb

DATASETS = ("nyuv2_train", "misc", "kitti_vo_sgbm", "realsense_planes", "binpick_realsense")
"""Those whose zero is real, without the recordings that ``benchmarks.metric_scale`` judges by."""
_MIN_KNOWN = 0.2
_LEAST = 0.02  # of the median: where a fit has its far end beyond infinity


def view_ranges(
    relative: NDArray[np.float32], depth_m: NDArray[np.float32]
) -> tuple[float, float, float, float] | None:
    """Depth spread of one image by its best fit and by its truth, ``ViewNormalisation.far``, and that by the network's
    own zero; None where too little is known.

    Args:
        relative: (h, w) relative inverse depth.
        depth_m: (H, W), NaN where unknown.
    """
    known = np.isfinite(depth_m)
    if known.mean() < _MIN_KNOWN:
        return None
    view = ViewNormalisation.of(relative[::4, ::4])
    resized = cv2.resize(relative, (depth_m.shape[1], depth_m.shape[0]))
    x, y = view.normalised(resized[known]), 1.0 / depth_m[known].astype(np.float64)
    gain, level = np.polyfit(x, y, 1)
    ends = np.maximum(np.array([view.far + 1.0, view.far]) * gain + level, _LEAST * abs(level))
    far, near = np.percentile(y, (5.0, 95.0))
    own = depth_spread(view, 0.0)
    own = BEYOND if own is None else min(own, BEYOND)
    return float(np.log(ends[0] / ends[1])), float(np.log(near / far)), view.far, own


def ranges_of(data: Path, dataset: str, split: str, estimator: DepthEstimator, stride: int) -> NDArray[np.float64]:
    """(4, N) what :func:`view_ranges` says of every ``stride``-th image of a data set's split."""
    rows = [row for row in read_index(data) if row["dataset"] == dataset and row["split"] == split]
    found = []
    for row in rows[::stride]:
        rgb = read_rgb(data / row["image"])
        raw = read_picture(data / row["gt"], cv2.IMREAD_UNCHANGED)
        depth = raw.astype(np.float32) * np.float32(row["scale"])
        depth[np.isin(raw, [int(value) for value in row["invalid"].split(",") if value.strip()]) | (depth <= 0)] = (
            np.nan
        )
        if row["kind"].startswith("disparity"):
            depth = 1.0 / depth  # of an unknown unit, which a ratio does without
        ranges = view_ranges(estimator.infer(rgb).inverse_depth, depth)
        if ranges is not None:
            found.append(ranges)
    return np.array(found).T


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder with index.csv (training/README.md)"
    )
    parser.add_argument(
        "--datasets", nargs="+", default=DATASETS, help=f"as the index names them; default: {' '.join(DATASETS)}"
    )
    parser.add_argument("--split", choices=("train", "val"), default="train", help="as the index has it (train)")
    parser.add_argument(
        "--own-zero", action="store_true", help="also how far off the range by the network's own zero is"
    )
    parser.add_argument("--weights", default="", help="checkpoint; empty: the default weights")
    parser.add_argument("--stride", type=int, default=4, help="every n-th image")
    arguments = parser.parse_args()
    read_index(arguments.data)  # a wrong folder is told before a network is loaded
    try:
        estimator = DepthEstimator.from_weights(arguments.weights)
        ranges = {
            dataset: ranges_of(arguments.data, dataset, arguments.split, estimator, arguments.stride)
            for dataset in arguments.datasets
        }
    except DepthNetError as error:
        raise SystemExit(str(error)) from error
    fits, off = [], []
    for dataset, found in ranges.items():
        if found.size == 0:
            print(f"{dataset}: no {arguments.split} images that can be judged")
            continue
        fitted, true, far, own = found
        fits.append(fitted)
        off.append(own - np.clip(fitted, 0.0, BEYOND))
        slope = np.polyfit(far, fitted, 1)[0] if len(fitted) > 1 else float("nan")
        print(
            f"{dataset}, {len(fitted)} images: as fitted {fitted.mean():.2f} +- {fitted.std():.2f}, in truth "
            f"{true.mean():.2f} +- {true.std():.2f}; per ViewNormalisation.far {slope:.2f} about {far.mean():.2f}"
            + (f"; by the own zero off by {off[-1].mean():+.2f} +- {off[-1].std():.2f}" if arguments.own_zero else "")
        )
    if not fits:
        raise SystemExit("no image could be judged: name --datasets and --split as the index has them")
    means = np.array([fit.mean() for fit in fits])
    sigma = np.sqrt(np.mean([fit.var() for fit in fits]) + means.var())
    print(f"all data sets weighted alike: as fitted {means.mean():.2f} +- {sigma:.2f}")
    if arguments.own_zero:
        squares = [np.mean(np.square(values)) for values in off]
        print(f"all data sets weighted alike: own zero is off by {np.sqrt(np.mean(squares)):.2f} (root mean square)")


if __name__ == "__main__":
    main()
