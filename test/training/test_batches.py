"""Batches: what is drawn into them, at which size, and which losses judge it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from depthnet_ros.models.spec import InputSpec
from test.training.conftest import written
from training import data, losses
from training.config import load_config
from training.data import Batch, BatchSource, batches
from training.datasets.base import DatasetError, Sample
from training.datasets.index_csv import IndexCsvDataset
from training.networks import model_spec
from training.objective import objective

REAL = Path(__file__).parents[3] / "shared" / "data" / "index.csv"


def test_batches_follow_from_the_step_alone_and_are_shared_by_processes(settings: dict[str, Any], tmp_path: Path):
    config = load_config(written(settings, tmp_path))
    spec = model_spec(config).input
    whole = BatchSource(config, spec)
    later = next(iter(batches(whole, config.data, 3, config.run.steps)))
    torch.testing.assert_close(dict(BatchSource(config, spec)[3]), dict(later))
    halves = [BatchSource(config, spec, rank, 2)[3] for rank in (0, 1)]
    torch.testing.assert_close(torch.cat([half["image"] for half in halves]), later["image"])
    torch.testing.assert_close(torch.cat([half["target"] for half in halves]), later["target"])
    with pytest.raises(DatasetError, match="batch_size 4 cannot be shared by 3 processes"):
        BatchSource(config, spec, 0, 3)


def test_edges_are_learnt_from_the_data_sets_that_have_them_exact(settings: dict[str, Any], tmp_path: Path):
    settings["data"]["exact_edges"] = ["street"]
    settings["data"]["dataset_weights"] = {"street": 3.0}
    config = load_config(written(settings, tmp_path))
    source = BatchSource(config, model_spec(config).input)
    batch = next(b for b in (source[step] for step in range(6)) if 0 < b["exact_edges"].sum() < 4)
    assert torch.equal(batch["exact_edges"], ~batch["has_zero"])  # streets are disparities whose zero is arbitrary
    prediction = torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    total, parts = objective(prediction, batch, {"edges": 0.5})
    exact = {key: value[batch["exact_edges"]] if value.ndim else value for key, value in batch.items()}
    _, alone = objective(prediction[batch["exact_edges"]], Batch(**exact), {"gradient": 1.0})  # type: ignore[typeddict-item]
    torch.testing.assert_close(parts["edges"], alone["gradient"] * batch["exact_edges"].float().mean())
    torch.testing.assert_close(total, 0.5 * parts["edges"])
    settings["data"]["exact_edges"] = ["kitchen"]
    with pytest.raises(DatasetError, match=r"exact_edges: no data set named \['kitchen'\]"):
        BatchSource(load_config(written(settings, tmp_path)), model_spec(config).input)


def test_a_part_that_no_loss_applies_to_has_a_gradient_of_0(settings: dict[str, Any], tmp_path: Path):
    config = load_config(written(settings, tmp_path))
    batch = BatchSource(config, model_spec(config).input)[0]
    batch["has_zero"][:] = False
    prediction = torch.rand(4, 1, 128, 128, requires_grad=True)
    total, _ = objective(prediction, batch, {"relative": 1.0})
    total.backward()
    assert prediction.grad is not None and not prediction.grad.any()


def drawn_with(settings: dict[str, Any], tmp_path: Path, change: dict[str, Any], steps: range) -> list[Batch]:
    half = (0.5, 0.5, 0.5)
    source = BatchSource(load_config(written(settings, tmp_path), change), InputSpec(128, 128, half, half))
    return [source[step] for step in steps]


def test_the_seed_and_the_step_choose_images_and_sizes(settings: dict[str, Any], tmp_path: Path):
    crops = [{"height_px": 128, "width_px": 128}, {"height_px": 96, "width_px": 160}]
    change = {"run.stages": [{"crops": crops}], "run.steps": 64}
    first = drawn_with(settings, tmp_path, change, range(64))
    other = drawn_with(settings, tmp_path, {**change, "run.seed": 1}, range(64))
    sizes = [[tuple(batch["image"].shape[2:]) for batch in some] for some in (first, other)]
    assert 16 < sizes[0].count((96, 160)) < 48
    assert sizes[0] != sizes[1]
    assert not any(
        a["image"].shape == b["image"].shape and torch.equal(a["image"], b["image"])
        for a, b in zip(first, other, strict=True)
    )


def test_each_place_in_a_batch_has_every_data_set_at_every_size(settings: dict[str, Any], tmp_path: Path):
    """The first too: the generator that draws the size must not be the one that draws its image."""
    crops = [{"height_px": 128, "width_px": 128}, {"height_px": 96, "width_px": 160}]
    batches = drawn_with(settings, tmp_path, {"run.stages": [{"crops": crops}], "run.steps": 80}, range(80))
    for member in range(4):
        seen = {(batch["image"].shape[2], bool(batch["has_zero"][member])) for batch in batches}
        assert len(seen) == 4, member


def test_pixels_without_a_measurement_are_masked_and_the_mean_colour_is_a_share(
    settings: dict[str, Any], tmp_path: Path
):
    """The four topmost rows of 96 have none."""
    settings["augment"] = dict.fromkeys(("flip", "rotate", "colour", "grey", "blur", "noise", "jpeg"), 0.0)
    settings["augment"] |= {"smallest_crop": 1.0, "aspect_jitter": 0.0}
    (batch,) = drawn_with(settings, tmp_path, {}, range(1))
    assert not batch["mask"][:, :5].any()
    assert batch["mask"][:, 6:].all()
    assert float(batch["mean_colour"]) == pytest.approx(float(batch["image"].mean()) * 0.5 + 0.5, abs=0.01)


def test_what_has_no_zero_is_not_tilted_in_a_batch(settings: dict[str, Any], tmp_path: Path, monkeypatch):
    asked: list[bool] = []
    real = data.augment

    def noted(rgb: Any, target: Any, crop: Any, config: Any, rng: Any, has_zero: bool = True) -> Any:
        asked.append(has_zero)
        return real(rgb, target, crop, config, rng, has_zero)

    monkeypatch.setattr(data, "augment", noted)
    batches = drawn_with(settings, tmp_path, {}, range(6))
    assert asked == [bool(value) for batch in batches for value in batch["has_zero"]]
    assert 0 < sum(asked) < len(asked)


def test_ordinal_maps_and_depth_go_to_their_own_losses(settings: dict[str, Any], tmp_path: Path):
    (batch,) = drawn_with(settings, tmp_path, {}, range(1))
    batch["has_zero"][:] = True
    torch.manual_seed(2)
    prediction = torch.rand(4, 1, 128, 128)
    sign = torch.where(torch.arange(128)[:, None] < 64, 1.0, -1.0).expand(128, 128)
    batch["target"][1], batch["mask"][1] = sign, True
    batch["ordinal"] = torch.tensor((False, True, False, False))
    _, parts = objective(prediction, batch, {"ssimae": 1.0, "ordinal": 1.0})
    each = [losses.ssimae(prediction[:, 0], batch["target"], batch["mask"])[i] for i in (0, 2, 3)]
    assert float(parts["ssimae"]) == pytest.approx(float(sum(each)) / 4, rel=1e-5)
    alone = losses.ordinal(prediction[1], batch["target"][1:2], batch["mask"][1:2])
    assert float(parts["ordinal"]) == pytest.approx(float(alone) / 4, rel=1e-5)


def test_an_image_is_read_once_for_a_batch(settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without a cache, as MegaDepth's configuration has none, reading is most of the work."""
    source = BatchSource(load_config(written(settings, tmp_path), {"data.cache_gib": 0.0}), InputSpec(128, 128))
    read, reads = IndexCsvDataset.__getitem__, []

    def counted(self: IndexCsvDataset, index: int) -> Sample:
        reads.append(index)
        return read(self, index)

    monkeypatch.setattr(IndexCsvDataset, "__getitem__", counted)
    batch = source[0]
    assert len(reads) == len(batch["image"])
