"""The command that renders worlds: what it is asked for, and no more than that."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from depthnet_ros.errors import DepthNetError
from training.synthetic import render
from training.synthetic.errors import AssetsMissingError, NoRendererError
from training.synthetic.renderer import Renderer
from training.synthetic.world import World

_WORLD = "closeup"


@pytest.fixture
def world() -> World:
    try:
        with closing(Renderer(64, 48)):
            return render.WORLDS[_WORLD]()
    except (AssetsMissingError, NoRendererError) as error:
        pytest.skip(str(error))


def _main(out: Path, *more: str) -> int:
    return render.main(["--world", _WORLD, "--out", str(out), "--size", "64x48", "--frames", "1", *more])


def test_no_scene_is_loaded_behind_the_last_frame(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A world of few large scenes was read to its last one for nothing."""
    loaded: list[str] = []
    real = type(world).load

    def noted(self: World, name: str, renderer: Renderer) -> object:
        loaded.append(name)
        return real(self, name, renderer)

    monkeypatch.setattr(type(world), "views_per_scene", None)
    monkeypatch.setattr(type(world), "load", noted)
    monkeypatch.setattr(type(world), "scene_names", lambda _: ["0000", "0001", "0002", "0003", "0004"])
    assert _main(tmp_path, "--frames", "2") == 0
    assert len(list(tmp_path.rglob("*.jpg"))) == 2
    assert loaded == ["0000", "0001"]


def test_scenes_that_are_not_there_are_told(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _main(tmp_path / "out", "--first-scene", "999999") == 1
    assert "--first-scene 999999 passes over all 10000 scenes of closeup" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_file_where_the_folder_should_be_is_told(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert _main(tmp_path / "file") == 1
    assert f"{tmp_path / 'file'} cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("error", [AssetsMissingError, NoRendererError])
def test_what_is_missing_is_one_of_the_project_s_own_errors(error: type[Exception]) -> None:
    assert issubclass(error, DepthNetError)


def test_nothing_rendered_is_no_success(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "fault_of_depth", lambda *_: "dull")
    assert _main(tmp_path) == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--frames", "0"), "--frames must be at least 1"),
        (("--frames", "-3"), "--frames must be at least 1"),
        (("--first-scene", "-1"), "--first-scene not negative"),
        (("--size", "0x0"), "--size must be 16 to 8192 px, got 0x0"),
        (("--size", "64x99999"), "--size must be 16 to 8192 px, got 64x99999"),
    ],
)
def test_numbers_out_of_range_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str
) -> None:
    assert _main(tmp_path, *arguments) == 1
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
