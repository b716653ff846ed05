"""depthnet convert: a .pt state dict becomes a checkpoint, or the reason why not is given."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

torch = pytest.importorskip("torch")

from depthnet_ros.cli import main
from depthnet_ros.models.checkpoint import load_checkpoint
from depthnet_ros.models.registry import build

SHIPPED = Path(__file__).parents[2] / "weights" / "depthnet_small.yaml"


def test_a_state_dict_becomes_a_checkpoint(tmp_path):
    network = build("depthnet_deck", out_channels=3)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "a.pt")
    spec = {
        "architecture": "depthnet_deck",
        "arguments": {"out_channels": 3},
        "input": {"height_px": 128, "width_px": 128},
    }
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(spec))
    command = ["convert", str(tmp_path / "a.pt"), str(tmp_path / "a.yaml"), "-o", str(tmp_path / "a.safetensors")]
    assert main(command) == 0
    again, _ = load_checkpoint(tmp_path / "a.safetensors")
    for name, value in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value)


def test_what_does_not_fit_is_named(tmp_path, capsys):
    torch.save({"odd": torch.zeros(1)}, tmp_path / "a.pt")
    (tmp_path / "a.yaml").write_text("{architecture: depthnet_deck, input: {height_px: 128, width_px: 128}}")
    command = ["convert", str(tmp_path / "a.pt"), str(tmp_path / "a.yaml"), "-o", str(tmp_path / "a.safetensors")]
    assert main(command) != 0
    assert "unexpected odd" in capsys.readouterr().err
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"input": {"height_px": 256, "width_px": 256}}, "does not take input of shape (1, 3, 256, 256)"),
        ({"architecture": "depthnet", "arguments": {"size": "huge"}}, "size must be one of small, base"),
        ({"log_sigma": True}, "log_sigma needs two output channels, the network gives 1"),
    ],
)
def test_a_specification_that_cannot_be_run_is_refused(tmp_path, capsys, changes, told):
    torch.save(build("depthnet_deck", out_channels=1).state_dict(), tmp_path / "a.pt")
    spec = {
        "architecture": "depthnet_deck",
        "arguments": {"out_channels": 1},
        "input": {"height_px": 128, "width_px": 128},
    }
    (tmp_path / "a.yaml").write_text(yaml.safe_dump({**spec, **changes}))
    command = ["convert", str(tmp_path / "a.pt"), str(tmp_path / "a.yaml"), "-o", str(tmp_path / "a.safetensors")]
    assert main(command) != 0
    assert told in capsys.readouterr().err
    assert not (tmp_path / "a.safetensors").exists()


def test_a_missing_file_is_asked_for_by_what_convert_reads(tmp_path, capsys):
    (tmp_path / "a.yaml").write_text("{architecture: depthnet_deck, input: {height_px: 128, width_px: 128}}")
    command = ["convert", str(tmp_path / "a.pt"), str(tmp_path / "a.yaml"), "-o", str(tmp_path / "a.safetensors")]
    assert main(command) == 1
    assert "a.pt: give the path of a .pt file" in capsys.readouterr().err


DECK = "{architecture: depthnet_deck, arguments: {out_channels: 3}, input: {height_px: 128, width_px: 128}}"


@pytest.fixture
def deck(tmp_path):
    """The words of a command that works, but for where it writes to."""
    torch.save(build("depthnet_deck", out_channels=3).state_dict(), tmp_path / "a.pt")
    (tmp_path / "a.yaml").write_text(DECK)
    return ["convert", str(tmp_path / "a.pt"), str(tmp_path / "a.yaml"), "-o"]


def test_the_specifications_that_the_help_names_can_be_used(tmp_path, deck, capsys):
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert DECK in told and "weights/depthnet_small.yaml" in told and "config/models" not in told
    assert main([*deck, str(tmp_path / "deck.safetensors")]) == 0
    shipped, _ = load_checkpoint(SHIPPED.with_suffix(".safetensors"))
    torch.save(shipped.state_dict(), tmp_path / "small.pt")
    small = str(tmp_path / "small.safetensors")
    assert main(["convert", str(tmp_path / "small.pt"), str(SHIPPED), "-o", small]) == 0


def test_networks_of_others_are_sent_to_onnx(tmp_path, deck, capsys):
    assert main([*deck[:2], str(SHIPPED.parents[1] / "config/models/dpt_hybrid.yaml"), "-o", "a.safetensors"]) == 1
    assert "depthnet or depthnet_deck, got 'dpt_hybrid': export that network to ONNX" in capsys.readouterr().err


def test_a_checkpoint_is_not_written_under_another_kinds_name(tmp_path, deck, capsys):
    assert main([*deck, str(tmp_path / "conv.onnx")]) == 1
    assert "--output must end in .safetensors" in capsys.readouterr().err
    assert not (tmp_path / "conv.onnx").exists()


def test_the_folder_to_write_to_is_made(tmp_path, deck):
    assert main([*deck, str(tmp_path / "new" / "deck.safetensors")]) == 0
    assert (tmp_path / "new" / "deck.safetensors").is_file()
