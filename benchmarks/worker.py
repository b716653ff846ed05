"""One measurement in a process of its own: ``python -m benchmarks.worker JOB``, a JSON object; prints one."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import IMAGE_PX, timed
from depthnet_ros.inference.backends.hardware import usable_cores

_ROOM_M = (1.0, 8.0)


def picture(height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(H, W, 3) smooth colours with some grain."""
    import cv2

    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth.astype(np.int16) + rng.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)


def cloud_memory(height_px: int, width_px: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(height_px, width_px, 4) float32 for points, where the node has them: at no multiple of ``WHOLE_POINTS``."""
    from depthnet_ros.geometry.cloud import WHOLE_POINTS

    memory = np.empty(height_px * width_px * 4 + 1, dtype=np.float32)
    start = 1 if memory.ctypes.data % WHOLE_POINTS == 0 else 0
    return memory[start : start + height_px * width_px * 4].reshape(height_px, width_px, 4)


def room_scale(inverse_depth: np.ndarray[Any, np.dtype[np.float32]]) -> tuple[float, float]:
    """Scale and shift that make a room of a network's (h, w) output: nine tenths of it between 1 and 8 m.

    A network's unit is another after every training: with a scale that does not fit, most pixels lie beyond the
    limits, and what is then measured is no depth image and no cloud.
    """
    far, near = (float(value) for value in np.quantile(inverse_depth, (0.05, 0.95)))
    scale = (1.0 / _ROOM_M[0] - 1.0 / _ROOM_M[1]) / (near - far)
    return scale, 1.0 / _ROOM_M[1] - scale * far


def backend(
    weights: str, name: str, precision: str, batch: int = 1, size: tuple[int, int] | None = None, pause_s: float = 0.0
) -> Any:
    """The bare network: ``infer`` on a batch, back to back or with a pause between two, as a camera leaves it."""
    from depthnet_ros.inference.backends import create_backend

    made, spec = create_backend(weights, name, "cpu", precision)
    height, width = size or spec.input.size_for(*IMAGE_PX)
    data = np.random.default_rng(0).standard_normal((batch, 3, height, width)).astype(np.float32)
    seconds = timed(lambda: made.infer(data), most_s=4.0, pause_s=pause_s)
    return {"seconds": seconds, "backend": made.name, "precision": made.precision, "size": [height, width]}


def on_gpu(weights: str, name: str, precision: str, batch: int) -> Any:
    """As :func:`backend`, on CUDA, images where the estimator writes them; of torch the kernels alone, too, by the
    device's own clock."""
    from depthnet_ros.inference.backends import create_backend
    from depthnet_ros.inference.backends.base import input_memory

    made, spec = create_backend(weights, name, "cuda", precision)
    shape = (batch, 3, *spec.input.size_for(*IMAGE_PX))
    data = input_memory(made, shape)
    data[:] = np.random.default_rng(0).standard_normal(shape)
    seconds, kernel_seconds = timed(lambda: made.infer(data), most_s=4.0), []
    if name == "torch":
        from depthnet_ros.inference.backends.torch_backend import TorchBackend

        assert isinstance(made, TorchBackend)
        kernel_seconds = [made.device_seconds(shape) for _ in seconds]
    return {"seconds": seconds, "kernel_seconds": kernel_seconds, "device": made.device}


def eager(weights: str) -> Any:
    """The network as it was trained, run by torch in float32 without further ado: the baseline."""
    import torch

    from depthnet_ros.models.checkpoint import load_checkpoint

    torch.set_num_threads(usable_cores())
    torch.set_flush_denormal(True)
    network, spec = load_checkpoint(weights)
    data = torch.randn(1, 3, *spec.input.size_for(*IMAGE_PX))
    with torch.inference_mode():
        return {"seconds": timed(lambda: network(data)), "size": list(data.shape[2:])}


def estimator(weights: str, size: tuple[int, int], cameras: int = 1, stride: int = 2, backend: str = "auto") -> Any:
    """Image to cloud without ROS, as the node goes about it: pre-processing, network, metres, packing."""
    from depthnet_ros.geometry.camera import PinholeCamera
    from depthnet_ros.geometry.cloud import CloudPacker
    from depthnet_ros.inference.estimator import DepthEstimator
    from depthnet_ros.metric_scale import MetricScaleConfig, MetricScaler

    made = DepthEstimator.from_weights(weights, backend)
    images = [picture(*size) for _ in range(cameras)]
    height, width = -(-size[0] // stride), -(-size[1] // stride)
    camera = PinholeCamera.from_fov(size[1], size[0], 1.2).resized(width, height)
    scale, shift = room_scale(made.infer(images[0]).inverse_depth)
    scalers = [MetricScaler(MetricScaleConfig(mode="fixed", fixed_scale=scale, fixed_shift=shift)) for _ in images]
    clouds = [(CloudPacker(), cloud_memory(height, width)) for _ in images]

    def frame() -> None:
        predictions = made.infer_batch(images)
        for image, scaler, (packer, points), prediction in zip(images, scalers, clouds, predictions, strict=True):
            depth_m = scaler.update(prediction, 0.0).depth_m(height, width)
            packer.pack(depth_m, camera, points, rgb=prediction.colours_at(image, height, width))

    return {"seconds": timed(frame), "backend": made.backend.name, "precision": made.backend.precision}


def first_depth(weights: str, backend: str = "auto") -> Any:
    """Seconds from the start of this process, imports included, to the first depth; the second frame tells the rest."""
    import psutil

    from depthnet_ros.inference.estimator import DepthEstimator

    made = DepthEstimator.from_weights(weights, backend)
    image = picture(*IMAGE_PX)
    made.infer(image)
    ready_s = time.time() - psutil.Process().create_time()
    megabytes = psutil.Process().memory_info().rss / 1e6
    return {"seconds": [ready_s], "backend": made.backend.name, "memory_mb": megabytes, "torch": "torch" in sys.modules}


def fixed_scale(weights: str, size: tuple[int, int]) -> Any:
    """:func:`room_scale` of the picture that cameras show."""
    from depthnet_ros.inference.estimator import DepthEstimator

    return {"scale": room_scale(DepthEstimator.from_weights(weights).infer(picture(*size)).inverse_depth)}


def tflite(path: str) -> Any:
    """A TFLite network on its own input size."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=usable_cores())
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    interpreter.set_tensor(entry["index"], np.full(entry["shape"], 0.5, np.float32))
    return {"seconds": timed(interpreter.invoke), "size": [int(n) for n in entry["shape"][1:3]]}


_ALL = (backend, eager, estimator, first_depth, fixed_scale, on_gpu, tflite)
JOBS = {function.__name__: function for function in _ALL}


def main() -> None:
    """Run the job and print its answer."""
    job = json.loads(sys.argv[1])
    answer = JOBS[job.pop("job")](**job)
    print(json.dumps(answer, default=lambda value: str(value) if isinstance(value, Path) else float(value)))


if __name__ == "__main__":
    main()
