"""What a sigma is worth where an image says nothing of it."""

from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthnet_ros.models.checkpoint import save_checkpoint
from depthnet_ros.models.registry import build
from depthnet_ros.models.spec import InputSpec, ModelSpec
from training import uncertainty


@pytest.mark.parametrize("value_mm", [2000, 3000])  # the second leaves an error of rounding
def test_an_image_of_one_depth_is_counted_and_takes_no_other_with_it(
    index: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    value_mm: int,
):
    caplog.set_level(logging.WARNING, logger="training")
    weights, data, arguments = tmp_path / "mine.safetensors", tmp_path / "data", {"size": "small", "log_sigma": True}
    network, shape = build("depthnet", **arguments).eval(), InputSpec(64, 96, keep_aspect=True)
    save_checkpoint(weights, network, ModelSpec("depthnet", shape, log_sigma=True, arguments=arguments))
    data.mkdir()
    for path in index.parent.iterdir():
        (data / path.name).write_bytes(path.read_bytes())
    command = ["--weights", str(weights), "--data", str(data)]
    cv2.imwrite(str(data / "8.png"), np.full((96, 128), value_mm, np.uint16))
    assert uncertainty.main(command) == 0
    rows = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert set(rows) == {"network", "inverse depth", "edges", "constant"}
    (told,) = caplog.messages
    assert told.startswith("1 of 2 images not judged (too few valid pixels, ordinal maps only, or no error at all), ")
    cv2.imwrite(str(data / "9.png"), np.full((96, 128), value_mm, np.uint16))
    assert uncertainty.main(command) == 1
    assert "none of the 2 images can be judged: too few valid pixels" in capsys.readouterr().err
