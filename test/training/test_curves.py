"""Learning curves are drawn of what is whole in a log; what cannot be drawn is one line."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
from training.curves import main, read_log

LINES = '{"step": 20, "loss": 2.0}\n5\n"text"\n{"loss": 1.0}\n[20]\n{"step": null}\n{"step": 40, "loss": 1.5}\n{"step'


def test_lines_that_are_none_are_passed_over(tmp_path: Path):
    (tmp_path / "log.jsonl").write_bytes(LINES.encode() + b"\xff\xfe")
    assert read_log(tmp_path) == [{"step": 20, "loss": 2.0}, {"step": 40, "loss": 1.5}]
    assert main([str(tmp_path), "--out", str(tmp_path / "c.PNG")]) == 0
    assert (tmp_path / "c.PNG").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("c.foo", "--out must end in one of "),
        ("curves", "--out must end in one of "),
        ("none/c.png", "none/c.png cannot be written ("),
    ],
)
def test_a_picture_that_cannot_be_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], out: str, message: str
):
    (tmp_path / "log.jsonl").write_text(LINES)
    assert main([str(tmp_path), "--out", str(tmp_path / out)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and message in said and said.count("\n") == 1
