"""Checkpoints: what is written comes back; what does not fit is named."""

from __future__ import annotations

import json
import os
import pickle

import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import load_file, save_file

from depthnet_ros.errors import WeightsError
from depthnet_ros.models.checkpoint import load_checkpoint, read_pickle, read_spec, save_checkpoint
from depthnet_ros.models.registry import build
from depthnet_ros.models.spec import InputSpec, ModelSpec, OutputKind


def test_weights_and_specification_come_back(tmp_path):
    spec = ModelSpec(
        "depthnet_deck",
        InputSpec(128, 128, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), color_order="bgr"),
        OutputKind.DEPTH,
        arguments={"out_channels": 3},
        provenance={"data": "none", "commit": "abc"},
    )
    network = build("depthnet_deck", out_channels=3).eval()
    save_checkpoint(tmp_path / "a.safetensors", network, spec)
    again, spec_again = load_checkpoint(tmp_path / "a.safetensors")
    assert spec_again == spec == read_spec(tmp_path / "a.safetensors")
    x = torch.rand(1, 3, 128, 128)
    torch.testing.assert_close(again(x), network(x), rtol=0, atol=0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors"]


def test_two_writers_of_one_checkpoint_do_not_meet(tiny_weights, tmp_path, monkeypatch):
    """Each writes to a file of its own, and what fails half way leaves the last good one, and nothing else."""
    import safetensors.torch

    network, spec = load_checkpoint(tiny_weights)
    path, seen = tmp_path / "a.safetensors", []

    def fails(state, filename, metadata):
        seen.append(filename)
        raise OSError("no space left")

    save_checkpoint(path, network, spec)
    whole = path.read_bytes()
    monkeypatch.setattr(safetensors.torch, "save_file", fails)
    for _ in range(2):
        with pytest.raises(OSError, match="no space"):
            save_checkpoint(path, network, spec)
    assert len(set(seen)) == 2
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == whole


def _changed(tiny_weights, path, change):
    state = load_file(tiny_weights)
    change(state)
    spec = json.dumps(read_spec(tiny_weights).to_dict())
    save_file(state, path, metadata={"format": "depthnet_ros/1", "spec": spec})
    return path


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: s.pop("encoder.3.0.weight"), r"missing encoder\.3\.0\.weight"),
        (lambda s: s.update(extra=torch.zeros(1)), "unexpected extra"),
        (lambda s: s.update({"encoder.0.0.bias": torch.zeros(7)}), r"encoder\.0\.0\.bias \(7,\) \(expected \(16,\)\)"),
    ],
)
def test_loading_is_strict_and_names_what_does_not_fit(tiny_weights, tmp_path, change, complaint):
    path = _changed(tiny_weights, tmp_path / "b.safetensors", change)
    with pytest.raises(WeightsError, match=complaint):
        load_checkpoint(path)


def test_missing_truncated_foreign_and_unknown_files(tiny_weights, tmp_path):
    with pytest.raises(WeightsError, match="no weights file at"):
        load_checkpoint(tmp_path / "none.safetensors")
    whole = tiny_weights.read_bytes()
    for length in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.safetensors").write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="not a whole safetensors file"):
            load_checkpoint(tmp_path / "cut.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(WeightsError, match="expected format 'depthnet_ros/1'"):
        load_checkpoint(tmp_path / "foreign.safetensors")
    spec = {**read_spec(tiny_weights).to_dict(), "architecture": "resnet9000"}
    metadata = {"format": "depthnet_ros/1", "spec": json.dumps(spec)}
    save_file(load_file(tiny_weights), tmp_path / "unknown.safetensors", metadata=metadata)
    with pytest.raises(WeightsError, match=r"no architecture named 'resnet9000'; there are .*depthnet_deck"):
        load_checkpoint(tmp_path / "unknown.safetensors")


class _Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path, writer):
    trap, path = tmp_path / "ran", tmp_path / "evil.pt"
    if writer == "torch":
        torch.save({"state_dict": _Malicious(trap)}, path)
    else:
        path.write_bytes(pickle.dumps(_Malicious(trap)))
    with pytest.raises(WeightsError, match="refused"):
        read_pickle(path)
    assert not trap.exists()


def test_a_harmless_pickle_is_read(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(2)}}, tmp_path / "a.pt")
    assert read_pickle(tmp_path / "a.pt")["a"].tolist() == [1, 1]
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WeightsError, match="expected a dictionary of tensors"):
        read_pickle(tmp_path / "list.pt")


def test_registry_refuses_unknown_arguments():
    with pytest.raises(WeightsError, match="does not take"):
        build("depthnet_deck", colour="red")
