"""How good is the disparity that training makes for WSVD? ``python -m benchmarks.wsvd_truth [--data ../shared/data]``.

A street sequence filmed with a stereo rig is encoded as a side-by-side video, goes through ``wsvd_build`` with a clip
list of the official form, and what comes out is compared with the sequence's own semi-global disparity. Then the same
flow and rules on stereo photographs by strangers, against the disparity of the rectified pairs.
"""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from training.datasets import wsvd_build
from training.datasets.base import open_dataset
from training.datasets.flow import DisFlow
from training.datasets.stereo_truth import stereo_truth

_STREET, _PHOTOGRAPHS = "kitti_stereo_sgbm", "stereo_web"
_SEQUENCES = ("s1", "s2")
_STEP = 7  # every so many pixels enter the rank correlation
_FIT_ROUNDS = 5


def compare(
    disparity: NDArray[np.floating], truth: NDArray[np.floating], both: NDArray[np.bool_]
) -> tuple[float, float, float, float]:
    """Spearman's rho; then slope, median error (pixels) and share under 2 px after a robust affine fit to ``truth``."""
    x, y = disparity[both].astype(np.float64), truth[both].astype(np.float64)
    rho = float(spearmanr(x[::_STEP], y[::_STEP]).statistic)
    design = np.stack((x, np.ones_like(x)), axis=1)
    inliers: NDArray[np.bool_] = np.ones(len(x), np.bool_)
    for _ in range(_FIT_ROUNDS):
        solution = np.linalg.lstsq(design[inliers], y[inliers], rcond=None)[0]
        error = np.abs(y - design @ solution)
        inliers = error < max(1.0, 2.5 * float(np.median(error)))
    return rho, float(solution[0]), float(np.median(error)), float((error < 2).mean())


def film(lefts: list[Path], path: Path) -> None:
    """Stereo pairs as a half-width side-by-side MPEG-4 video."""
    writer: Any = None
    for left in lefts:
        eyes = [_rgb(file)[..., ::-1] for file in (left, Path(str(left).replace(".left.", ".right.")))]
        height, width = eyes[0].shape[0] // 2 * 2, eyes[0].shape[1] // 4 * 4
        half = [cv2.resize(eye[:height, :width], (width // 2, height), interpolation=cv2.INTER_AREA) for eye in eyes]
        writer = writer or cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (width, height))
        writer.write(np.hstack(half))
    writer.release()


def street_sequences(data: Path, work: Path) -> dict[str, Any]:
    """The whole way, from a clip list and videos to the reader."""
    (work / "videos").mkdir()
    pairs = {name: sorted((data / _STREET).glob(f"{name}_*.left.jpg")) for name in _SEQUENCES}
    content: list[dict[str, Any]] = []
    for name, lefts in pairs.items():
        film(lefts, work / "videos" / f"{name}.mp4")
        clip = {"frames": np.arange(len(lefts), dtype=np.int32), "label": np.int32(1)}
        content.append({"name": name, "clips": [clip]})
    clips = work / "wsvd_test_clip_frame_ids.pkl"
    clips.write_bytes(pickle.dumps(content, protocol=2))
    cache = work / "cache"
    fates = wsvd_build.build(clips, work / "videos", cache, wsvd_build.Recipe("val", max_width_px=4096))
    dataset = open_dataset("wsvd", cache, "val")
    figures = []
    for index in range(len(dataset)):
        sample = dataset[index]
        left = pairs[sample.scene][int(sample.name[-6:])]
        height, width = sample.target.shape
        truth = _png(Path(str(left).replace(".left.jpg", ".disp.png")))[:height, :width] / 16
        figures.append(compare(sample.target, truth, sample.valid_mask & (truth > 0)))
    return {"frames": dict(+fates), **_summary(figures)}


def photographs(data: Path) -> dict[str, Any]:
    """Pairs of unknown origin: which eye comes first is not known, so the sign of the correlation is not judged."""
    fates: Counter[str] = Counter()
    figures = []
    for reference in sorted((data / _PHOTOGRAPHS).glob("*.ref.jpg")):
        made = stereo_truth(_rgb(reference), _rgb(Path(str(reference).replace(".ref.", ".other."))), DisFlow())
        fates[made.fault or "kept"] += 1
        truth = _png(Path(str(reference).replace(".ref.jpg", ".disp.png")))
        if made.fault is None:
            figures.append(compare(made.disparity_px, truth, made.valid_mask & (truth > 0)))
    turned = float(np.mean([figure[0] < 0 for figure in figures]))
    order = _summary([(abs(figure[0]), *figure[1:]) for figure in figures])
    return {
        "pairs": dict(fates),
        "share with the right eye first": round(turned, 3),
        **{name: value for name, value in order.items() if name.startswith("spearman")},
    }


def _rgb(path: Path) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _png(path: Path) -> NDArray[np.float32]:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), dtype=np.float32)


def _summary(figures: list[tuple[float, float, float, float]]) -> dict[str, float]:
    columns = ("spearman median", "slope median", "error px median", "share under 2 px median")
    medians = np.median(np.array(figures), axis=0)
    worst = min(figure[0] for figure in figures)
    named = dict(zip(columns, medians.tolist(), strict=True))
    return {name: round(value, 3) for name, value in {**named, "spearman worst": worst}.items()}


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Judge the disparity that is made for WSVD.")
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help=f"folder with {_STREET} and {_PHOTOGRAPHS}"
    )
    parser.add_argument("--out", type=Path, help="also write the figures as JSON here")
    arguments = parser.parse_args()
    lacking = [name for name in (_STREET, _PHOTOGRAPHS) if not (arguments.data / name).is_dir()]
    if lacking:
        raise SystemExit(f"no folder {' nor '.join(lacking)} in {arguments.data}: --data is one with both")
    with tempfile.TemporaryDirectory(prefix="depthnet_wsvd_") as work:
        results = {
            "street sequence as side-by-side video": street_sequences(arguments.data, Path(work)),
            "stereo photographs": photographs(arguments.data),
        }
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
