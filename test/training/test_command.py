"""The commands of training say an error in one line, and their exit status is the same rule for all."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from depthnet_ros.errors import ConfigError
from training.command import FAILED, INTERRUPTED, command

ROOT = Path(__file__).parents[2]
WRONG = {
    "average": ("none.safetensors", "--out", "mean.safetensors"),
    "curves": ("none",),
    "datasets.write_megadepth": ("--reader", "nyu", "--path", "none.mat", "--out", "out"),
    "datasets.wsvd_build": ("--clips", "none.pkl", "--videos", "none", "--cache", "out"),
    "evaluate": ("--data", "none.csv"),
    "prepare": ("--path", "none"),
    "pseudo_label": ("--images", "none", "--dataset", "of me", "--out", "out"),
    "search": ("--config", "none.yaml"),
    "synthetic.render": ("--world", "street", "--out", "out", "--frames", "0"),
    "train": ("--config", "none.yaml"),
    "transplant": ("--config", "none.yaml", "--weights", "none.safetensors", "--out", "out.safetensors"),
    "uncertainty": ("--weights", "none.safetensors", "--data", "none.csv"),
}


def test_every_command_is_looked_at():
    with_main = [path for path in (ROOT / "training").rglob("*.py") if "\ndef main(" in path.read_text()]
    assert {".".join(path.relative_to(ROOT / "training").with_suffix("").parts) for path in with_main} == set(WRONG)


@pytest.mark.parametrize("name", sorted(WRONG))
def test_what_cannot_be_used_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert import_module(f"training.{name}").main(list(WRONG[name])) == FAILED
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
    with pytest.raises(SystemExit, match="2"):
        import_module(f"training.{name}").main(["--no-such-option"])


@pytest.mark.parametrize(("continues", "said"), [(True, "; run the same command again to go on"), (False, "")])
def test_the_status_is_that_of_the_work_an_error_or_an_interrupt(
    continues: bool, said: str, capsys: pytest.CaptureFixture[str]
):
    @command(continues=continues)
    def main(argv: list[str] | None = None) -> int:
        if argv:
            raise {"wrong": ConfigError("no such thing"), "stop": KeyboardInterrupt()}[argv[0]]
        return 3

    assert main() == 3
    assert main(["wrong"]) == FAILED
    assert capsys.readouterr().err == "error: no such thing\n"
    assert main(["stop"]) == INTERRUPTED
    assert capsys.readouterr().err == f"interrupted{said}\n"
