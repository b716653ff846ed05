"""Reads the pickles that data sets publish, without running code from them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from training.datasets.base import DatasetError

# What lists, numbers and NumPy arrays need; written by old and new NumPy and by Python 2.
_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "scalar"),
    ("_codecs", "encode"),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it wants to load {module}.{name}, which plain data never does")
        return super().find_class(module, name)


def load_pickle(path: Path) -> Any:
    """The object in a pickle of plain data (lists, dicts, text, numbers, NumPy arrays).

    Raises:
        DatasetError: no such file, damaged, or it holds anything else.
    """
    try:
        with path.open("rb") as file:
            return _Unpickler(file, encoding="latin1").load()
    except OSError as error:
        raise DatasetError(f"cannot open {path}: {error}") from error
    except Exception as error:  # a damaged pickle may raise nearly anything
        raise DatasetError(f"{path} is not a pickle of plain lists and arrays: {error}") from error
