"""Foreign networks to compare with, that carry no specification of this project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depthnet_ros.errors import BackendError, WeightsError
from training.validation import Predictor

_SMALL = 1e-6


def tflite_predictor(path: Path, threads: int = 2, output_is_depth: bool = True) -> Predictor:
    """A TFLite network with one 1 x H x W x 3 input, RGB in 0..1, and one map as output.

    ``output_is_depth``: the map grows with depth (mobilePydnet), and is inverted; otherwise it is inverse depth.

    Raises:
        BackendError: ai-edge-litert is not installed.
        WeightsError: no such file.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise BackendError("a .tflite network needs: pip install ai-edge-litert") from error
    if not path.is_file():
        raise WeightsError(f"no network at {path}")
    interpreter: Any = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    entry, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    _, height, width, _ = entry["shape"]

    def predict(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        resized = cv2.resize(image, (int(width), int(height)), interpolation=cv2.INTER_AREA)
        interpreter.set_tensor(entry["index"], (resized.astype(np.float32) / 255.0)[None])
        interpreter.invoke()
        raw = np.squeeze(interpreter.get_tensor(result["index"])).astype(np.float32)
        inverse = 1.0 / np.maximum(raw, _SMALL) if output_is_depth else raw
        return np.asarray(cv2.resize(inverse, image.shape[1::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)

    return predict
