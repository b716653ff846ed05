"""Percentiles of the last few latencies. Bounded memory."""

from __future__ import annotations

from collections import deque

import numpy as np

PERCENTILES = (50, 90, 99)
_WINDOW = 512


class RollingPercentiles:
    """Percentiles over the last ``window`` values."""

    def __init__(self, window: int = _WINDOW) -> None:
        self._values: deque[float] = deque(maxlen=window)

    def add(self, value: float) -> None:
        """Take one value in."""
        self._values.append(value)

    def __len__(self) -> int:
        return len(self._values)

    def percentiles(self) -> dict[int, float]:
        """50th, 90th and 99th percentile; empty without values."""
        if not self._values:
            return {}
        values = np.percentile(np.fromiter(self._values, dtype=np.float64), PERCENTILES)
        return {p: float(value) for p, value in zip(PERCENTILES, values, strict=True)}
