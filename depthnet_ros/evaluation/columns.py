"""A table of numbers that grows by rows: columns as packed doubles, NaN for "not measured"."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Columns:
    """Rows of named numbers; a name may appear late or be missing in a row. Eight bytes a number."""

    def __init__(self) -> None:
        self._data: dict[str, array[float]] = {}
        self._rows = 0

    @classmethod
    def from_lists(cls, lists: Mapping[str, list[float | None]]) -> Columns:
        """Inverse of :meth:`to_lists`.

        Raises:
            ValueError: the lists differ in length.
        """
        table = cls()
        lengths = {len(values) for values in lists.values()}
        if len(lengths) > 1:
            raise ValueError(f"columns of different lengths: {sorted(lengths)}")
        table._rows = lengths.pop() if lengths else 0
        for name, values in lists.items():
            table._data[name] = array("d", (math.nan if value is None else value for value in values))
        return table

    def __len__(self) -> int:
        return self._rows

    @property
    def names(self) -> list[str]:
        """Column names in the order of their first appearance."""
        return list(self._data)

    def append(self, row: Mapping[str, float | None]) -> None:
        """Add a row."""
        for name, value in row.items():
            if name not in self._data:
                self._data[name] = array("d", [math.nan]) * self._rows
            self._data[name].append(math.nan if value is None else value)
        self._rows += 1
        for column in self._data.values():
            if len(column) < self._rows:
                column.append(math.nan)

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """(rows,) values of a column; all NaN if there is none of that name."""
        if name not in self._data:
            return np.full(self._rows, np.nan)
        return np.array(self._data[name])

    def mean(self, name: str) -> float | None:
        """Mean of what was measured, None without any."""
        values = self[name]
        values = values[np.isfinite(values)]
        return float(values.mean()) if values.size else None

    def to_lists(self) -> dict[str, list[float | None]]:
        """Plain lists for JSON, None for what was not measured."""
        return {
            name: [value if math.isfinite(value) else None for value in column] for name, column in self._data.items()
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """Row by row, None for what was not measured."""
        for index in range(self._rows):
            values = ((name, column[index]) for name, column in self._data.items())
            yield {name: value if math.isfinite(value) else None for name, value in values}
