"""The index that ``python -m training.prepare`` leaves in a data folder: what each pair is, or its fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from training.datasets.base import DatasetError
from training.datasets.depth_h5 import OFFICIAL_PERCENTILES

INDEX_NAME = "depthnet_index.jsonl"
_ROUNDING = 1e-3


@dataclass(frozen=True)
class Entry:
    """One checked pair.

    Attributes:
        image: path relative to the root, the entry's identity.
        kind: ``depth`` or ``ordinal``; "" for a pair that cannot be used.
        fault: why it cannot be used; "" for a good pair.
        detail: the whole message of the fault.
        valid_share: share of pixels with depth (or in an ordinal region), sky left out of the count; of depth only what
            is within OFFICIAL_PERCENTILES.
        height_px: of the image.
        width_px: of the image.
        unfiltered_share: as ``valid_share``, of all depth; None in indexes made before it was kept.
        files: sizes and times of change of both files when they were checked, as :meth:`Pair.files` has them; "" in
            indexes made before they were kept.
    """

    image: str
    kind: str = ""
    fault: str = ""
    detail: str = ""
    valid_share: float = 0.0
    height_px: int = 0
    width_px: int = 0
    unfiltered_share: float | None = None
    files: str = ""

    def share_within(self, percentiles: tuple[float, float] | None) -> float:
        """The largest ``valid_share`` that depth within these percentiles (None: all) can have."""
        if percentiles == OFFICIAL_PERCENTILES:
            return self.valid_share
        if self.unfiltered_share is not None:
            return self.unfiltered_share
        kept = (OFFICIAL_PERCENTILES[1] - OFFICIAL_PERCENTILES[0]) / 100
        return min(1.0, self.valid_share / kept + _ROUNDING)

    def line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self)) + "\n"


def read_index(path: Path) -> Iterator[Entry]:
    """Entries of an index. A last line cut short by a crash is passed over: its pair is checked again.

    Raises:
        DatasetError: a line in the middle is damaged.
    """
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if number == len(lines) and not line.endswith("\n"):
            return
        try:
            yield Entry(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise DatasetError(
                f"{path}, line {number} is damaged ({error}): delete the index and prepare again"
            ) from error
