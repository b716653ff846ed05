"""TensorRT through ONNX Runtime's provider: an engine built once for all shapes of input that may come, and kept."""

from __future__ import annotations

import ctypes
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ctypes.util import find_library
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from depthnet_ros.errors import BackendError
from depthnet_ros.inference.backends.base import TYPICAL_IMAGE_PX, ChoiceReason
from depthnet_ros.inference.backends.faults import failed_run, first_line
from depthnet_ros.inference.backends.graph_io import GraphIo, TensorInfo
from depthnet_ros.inference.backends.hardware import PIP_TENSORRT
from depthnet_ros.inference.backends.onnxruntime_backend import (
    CPU_PROVIDER,
    OnnxRuntimeBackend,
    Providers,
    load_gpu_libraries,
    tensor_infos,
)
from depthnet_ros.inference.cache import cache_folder, key_of, network_digest, versions
from depthnet_ros.models.spec import InputSpec

_PROVIDER = "TensorrtExecutionProvider"
_CACHE_PATH = "trt_engine_cache_path"
_LONGEST_BUILD_S = 24 * 3600.0  # of engines; far more than the hour that some take
_MOST_IMAGES = 4  # of a batch in one run
_ABOUT_TF32 = "its float32 is TF32, ten bits of fraction, unless NVIDIA_TF32_OVERRIDE=0 is set"
_WIDEST = 4.0  # times as wide as high, or as high as wide


@dataclass(frozen=True)
class Profile:
    """Shapes of input that an engine is built for; without, each shape that comes beyond those seen builds it anew."""

    least: tuple[int, ...]
    usual: tuple[int, ...]
    most: tuple[int, ...]

    @classmethod
    def of(cls, tensor: TensorInfo, spec: InputSpec) -> Profile | None:
        """For a graph's input; None where no axis of it is free."""
        if tensor.shape is None or None not in tensor.shape:
            return None
        if spec.keep_aspect:
            longest = math.sqrt(spec.height_px * spec.width_px * _WIDEST)
            longest = spec.multiple_of * math.ceil(longest / spec.multiple_of)
            height, width = spec.size_for(*TYPICAL_IMAGE_PX)
            sides = [(spec.multiple_of, height, longest), (spec.multiple_of, width, longest)]
        else:
            sides = [(spec.height_px,) * 3, (spec.width_px,) * 3]
        axes = [(1, 1, _MOST_IMAGES), *sides]
        axes.insert(3 if spec.layout == "nhwc" else 1, (3, 3, 3))
        axes = [axis if size is None else (size,) * 3 for axis, size in zip(axes, tensor.shape, strict=True)]
        return cls(*(tuple(axis[i] for axis in axes) for i in range(3)))

    def options(self, name: str) -> dict[str, str]:
        """The provider's options for an input of that name."""
        shapes = {"min": self.least, "opt": self.usual, "max": self.most}
        return {f"trt_profile_{key}_shapes": f"{name}:{'x'.join(map(str, shape))}" for key, shape in shapes.items()}

    def holds(self, shape: tuple[int, ...]) -> bool:
        """Whether an input of that shape may come."""
        return all(low <= size <= high for low, size, high in zip(self.least, shape, self.most, strict=True))


class TensorRtBackend(OnnxRuntimeBackend):
    """Runs float16 or float32. Engines are cached by weights, precision, shapes, device and version.

    An engine that cannot be used, a damaged one say, is built again, and thrown away once that worked: it may have been
    the GPU that was full. Where none can be built for a range of shapes (an operation that TensorRT leaves to CUDA),
    one is built for each shape as it comes.
    """

    name = "tensorrt"
    _may_run_on_cpu = False
    _pip = PIP_TENSORRT
    _profile: Profile | None = None

    def infer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, h, w) to (N, C, h, w); see :meth:`Backend.infer`."""
        if self._profile is None or len(batch) <= _MOST_IMAGES:
            return super().infer(batch)
        parts = [batch[start : start + _MOST_IMAGES] for start in range(0, len(batch), _MOST_IMAGES)]
        return np.concatenate([super(TensorRtBackend, self).infer(part) for part in parts])

    def _run(self, feed: NDArray[np.floating]) -> NDArray[np.floating]:
        if self._profile is not None and not self._profile.holds(feed.shape):
            raise BackendError(
                f"tensorrt was built for inputs of {self._profile.least} to {self._profile.most}, this is "
                f"{feed.shape}: use backend onnxruntime or torch"
            )
        return super()._run(feed)

    def _providers(self) -> Providers:
        request = self._request
        if _PROVIDER not in ort.get_available_providers():
            raise BackendError(
                f"tensorrt needs an onnxruntime with its provider and the TensorRT libraries: {PIP_TENSORRT}"
            )
        if request.device == "cpu":
            raise BackendError("tensorrt runs on NVIDIA GPUs only: use device cuda, or another backend")
        self._choose_precision(request.precision, on_cpu=False)  # raises what is to be said before anything is built
        tensorrt = {
            "device_id": request.cuda_index,
            "trt_fp16_enable": request.precision in ("auto", "float16"),
            **engine_cache(self._path, request.precision),
        }
        cuda = {"device_id": request.cuda_index, "use_tf32": 0}
        return [(_PROVIDER, tensorrt), ("CUDAExecutionProvider", cuda), (CPU_PROVIDER, {})]

    def _start(self, providers: Providers) -> ort.InferenceSession:
        if providers[0][0] != _PROVIDER:
            return super()._start(providers)
        graph = super()._start([(CPU_PROVIDER, {})])
        inputs, outputs = tensor_infos(graph.get_inputs()), tensor_infos(graph.get_outputs())
        tensor = GraphIo(self._spec, inputs, outputs, self._path).input
        first: BackendError | None = None
        for profile, tried in self._attempts(tensor, providers):
            try:
                session = super()._start(tried)
                self._try(session, tensor, profile)
            except BackendError as error:
                first = first or error
                continue
            self._profile = profile
            used, folder = (options[0][1].get(_CACHE_PATH) for options in (tried, providers))
            if used and folder and used != folder:
                with suppress(OSError):  # they are built again at the next start
                    _take_over(Path(used), Path(folder))
            is_tf32 = self._request.precision == "float32" and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0"
            tf32 = _ABOUT_TF32 if is_tf32 else ""
            second = f"at the second try: {first}" if first is not None else ""
            self.choice_reason = ChoiceReason(setup="; ".join(filter(None, (tf32, second))))
            return session
        assert first is not None
        raise first

    def _attempts(self, tensor: TensorInfo, providers: Providers) -> Iterator[tuple[Profile | None, Providers]]:
        """As asked; with engines built anew, if there were any; for each shape as it comes."""
        (name, options), *others = providers
        profile = Profile.of(tensor, self._spec.input)
        ranged = [(name, {**options, **(profile.options(tensor.name) if profile else {})}), *others]
        yield profile, ranged
        if folder := options.get(_CACHE_PATH):
            with suppress(OSError):
                if any(Path(folder).iterdir()):
                    with _second_folder(Path(folder)) as second:
                        yield profile, [(name, {**ranged[0][1], _CACHE_PATH: str(second)}), *others]
        if profile is not None:
            yield None, providers

    def _try(self, session: ort.InferenceSession, tensor: TensorInfo, profile: Profile | None) -> None:
        """Run it once: engines are built and read at the first run, and fail there."""
        if profile is None:
            return
        try:
            session.run(None, {tensor.name: np.zeros(profile.usual, tensor.dtype)})
        except Exception as error:  # as in _start
            what = f"{self.name}, building an engine for inputs of {profile.least} to {profile.most},"
            raise failed_run(what, f"cuda:{self._request.cuda_index}", error, first_line(error)) from error


@contextmanager
def _second_folder(folder: Path) -> Iterator[Path]:
    """An empty folder beside that of engines, to build them anew: until that has worked those that are there stay,
    whether this process is killed meanwhile or another one starts. It goes afterwards.

    Raises:
        OSError: it cannot be made.
    """
    for leftover in folder.parent.glob(f"new-{folder.name}-*"):  # of a start that was killed
        with suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _LONGEST_BUILD_S:
                shutil.rmtree(leftover)
    second = Path(tempfile.mkdtemp(prefix=f"new-{folder.name}-", dir=folder.parent))
    try:
        yield second
    finally:
        shutil.rmtree(second, ignore_errors=True)


def _take_over(second: Path, folder: Path) -> None:
    """The engines in ``second`` take the place of all in ``folder``, each at once: nobody finds half of one."""
    before = set(folder.iterdir())
    made = {path.replace(folder / path.name) for path in second.iterdir()}
    for path in before - made:
        path.unlink(missing_ok=True)


def engine_cache(path: Path, precision: str) -> dict[str, Any]:
    """The provider's options for a folder of engines of these very weights.

    It names an engine by the file's name, the graph's inputs and nodes, shape and device, but not by what is in the
    weights: in a common folder a network trained further would run as it was before.
    """
    load_gpu_libraries()
    made_by = (ort.__version__, versions("onnxruntime-gpu"), _tensorrt_version())
    try:
        folder = cache_folder(f"tensorrt-{key_of(network_digest(path), precision, *made_by)}")
    except OSError:  # engines are built anew at each start
        return {}
    return {"trt_engine_cache_enable": True, _CACHE_PATH: str(folder), "trt_timing_cache_enable": True}


def _tensorrt_version() -> int:
    """As the library says, whichever way it was installed; 0 where it cannot be found."""
    for name in ("libnvinfer.so.10", find_library("nvinfer")):
        with suppress(OSError, AttributeError, TypeError):
            return int(ctypes.CDLL(name).getInferLibVersion())
    return 0
