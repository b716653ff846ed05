"""Proof that a backend computes what the network was trained to compute.

Beside the weights lies the float32 output of torch for one fixed image. Every backend must reproduce it when it is
loaded, as closely as its arithmetic allows, before anything is published.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import BackendError, WeightsError
from depthnet_ros.files import written_whole
from depthnet_ros.inference.cache import key_of, versions
from depthnet_ros.inference.preprocess import normalise
from depthnet_ros.models.spec import InputSpec, ModelSpec

if TYPE_CHECKING:
    from depthnet_ros.inference.backends.base import Backend

SUFFIX = ".parity.npz"
TOLERANCE = {"float32": 0.005, "float16": 0.02, "bfloat16": 0.1, "int8": 0.2}
"""Largest root mean square difference, as a fraction of the reference's own standard deviation, by arithmetic.

Exported files hold their weights in half precision, which alone is just under 0.005 of an earlier network's float32
output; in bfloat16 the shipped ones differ by 0.02 and 0.08, which costs neither 0.001 of AbsRel on validation scenes,
and the small one by 0.17 in 8 bits, which costs 1 % (benchmarks).
"""


def parity_image() -> NDArray[np.uint8]:
    """(240, 320, 3) RGB: a floor in perspective, a wall, two boxes. Integer arithmetic: the same on every machine."""
    rows, columns = np.mgrid[0:240, 0:320].astype(np.int64)
    below = np.maximum(rows - 96, 1)
    checks = ((columns - 160) * 6 // below + 600 // below) & 1
    floor = 90 + 60 * checks + below // 4
    wall = 150 - rows // 2 + ((columns // 40 + rows // 24) & 1) * 18
    grey = np.where(rows < 96, wall, floor)
    image = np.stack((grey, grey - 10, grey - 25), axis=-1)
    image[70:170, 40:110] = np.array((170, 60, 40)) - (columns[70:170, 40:110, None] - 40) // 2
    image[110:215, 200:290] = np.array((40, 80, 160)) + (rows[110:215, 200:290, None] - 110) // 3
    grain = (rows * 7919 + columns * 104729) % 11 - 5  # texture, without a random generator's version
    return np.clip(image + grain[..., None], 0, 255).astype(np.uint8)


def parity_batch(spec: InputSpec) -> NDArray[np.float32]:
    """(1, 3, h, w): the fixed image at the network's size.

    Resized here, not as camera images are: references that lie beside weights outlive changes of that.
    """
    image = parity_image()
    height, width = spec.size_for(*image.shape[:2])
    shrinks = height < image.shape[0] and width < image.shape[1]
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return normalise(np.asarray(resized, dtype=np.uint8), spec)[None]


def reference_key(digest: str, spec: ModelSpec) -> str:
    """A file name for what is kept of weights' output for the parity image: another input, version or spec, another."""
    return key_of(
        digest, spec.to_dict(), hashlib.sha256(parity_batch(spec.input).tobytes()).hexdigest(), versions("depthnet_ros")
    )


def save_reference(path: Path, output: NDArray[np.float32], digest: str) -> None:
    """Write the (C, h, w) reference output of the weights whose SHA-256 is ``digest``."""
    with written_whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, output=output.astype(np.float32), weights_sha256=np.array(digest))


def load_reference(path: Path, digest: str) -> NDArray[np.float32]:
    """The (C, h, w) reference output in ``path``.

    Raises:
        WeightsError: damaged, or not of the weights with this ``digest``.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            output, found = np.asarray(data["output"], dtype=np.float32), str(data["weights_sha256"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path} is damaged ({error}): run `depthnet export` on the checkpoint again") from error
    if found != digest:
        raise WeightsError(f"{path} belongs to other weights: run `depthnet export` on the checkpoint again")
    return output


def difference(output: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Root mean square difference of two (C, h, w) outputs over the reference's standard deviation, of the worst
    channel. NaN if not finite.
    """
    error = np.sqrt(np.mean((output.astype(np.float64) - reference) ** 2, axis=(1, 2)))
    spread = np.maximum(reference.std(axis=(1, 2), dtype=np.float64), 1e-12)
    return float(np.max(error / spread))


def prove_parity(backend: Backend, spec: InputSpec, reference: NDArray[np.float32] | None) -> float | None:
    """Run ``backend`` on the fixed image; returns its :func:`difference` from ``reference``, (C, h, w), or None where
    there is none.

    Raises:
        BackendError: the output is not finite, of another shape, or too far from the reference.
    """
    output = backend.infer(parity_batch(spec))[0]
    what = f"{backend.name} in {backend.precision} on {backend.device}"
    if not np.isfinite(output).all():
        mend = "use precision float32"
        if backend.precision == "float32":
            mend = "the graph itself overflows; if it computes in half precision, export it in float32"
        raise BackendError(f"{what} returned NaN or infinity for the parity image: {mend}")
    if reference is None:
        return None
    if output.shape != reference.shape:
        raise BackendError(f"{what} returned shape {output.shape}, the parity reference has {reference.shape}")
    found, allowed = difference(output, reference), TOLERANCE[backend.precision]
    if not found <= allowed:
        raise BackendError(
            f"{what} fails the parity check: it differs from the reference by {found:.3g} of its standard deviation, "
            f"allowed is {allowed:g}. Use precision float32 or another backend; if the weights were changed, run "
            "`depthnet export` again"
        )
    return found
