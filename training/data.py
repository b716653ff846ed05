"""Batches for the training loop. Each follows from (seed, step) alone: a resumed run sees what it would have seen."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import TypedDict

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from depthnet_ros.errors import ConfigError, DepthNetError
from depthnet_ros.inference.preprocess import normalise
from depthnet_ros.models.spec import InputSpec
from training.augment import augment, resize_pair
from training.config import TrainConfig
from training.datasets.base import READ_ERRORS, DatasetError, DepthDataset, Record, TargetKind, open_dataset
from training.sections import DataConfig, SourceConfig

_LOG = logging.getLogger(__name__)
_ATTEMPTS = 20
_DRAWS = 10_000  # among items of which nearly all are known to be of no use


class WorkerError(DepthNetError):
    """A process that read training data is gone."""


class Batch(TypedDict):
    """Tensors of a batch of B images.

    ``image`` (B, 3, h, w) normalised; ``target`` (B, h, w) inverse depth, or sign of ordinal maps, and its ``mask``;
    ``has_zero`` and ``ordinal`` (B,) bool, as TargetKind has them; ``exact_edges`` (B,) bool: of ``data.exact_edges``;
    ``mean_colour`` () mean of these images in 0..1.
    """

    image: Tensor
    target: Tensor
    mask: Tensor
    has_zero: Tensor
    ordinal: Tensor
    exact_edges: Tensor
    mean_colour: Tensor


class Sampler:
    """Draws items of several data sets: first the data set, then a scene of it, then an image of the scene."""

    def __init__(self, records: Sequence[Record], scene_power: float, weights: Mapping[str, float]) -> None:
        scenes: dict[str, dict[str, list[int]]] = {}
        for index, record in enumerate(records):
            scenes.setdefault(record.dataset, {}).setdefault(record.scene, []).append(index)
        self.datasets = sorted(scenes)
        check_names("dataset_weights", weights, self.datasets)
        self._scenes = [list(scenes[name].values()) for name in self.datasets]
        raw = np.array([len(scenes[name]) ** scene_power * weights.get(name, 1.0) for name in self.datasets])
        if raw.sum() <= 0:
            raise DatasetError("data.dataset_weights: nothing is left to draw from")
        self.probabilities = raw / raw.sum()

    def candidates(self, _: int, rng: np.random.Generator) -> Iterator[int]:
        """Indices without end, of which the first that can be used is taken, wherever in the run it is."""
        while True:
            yield self.draw(rng)

    def draw(self, rng: np.random.Generator) -> int:
        """Index of one item."""
        scenes = self._scenes[int(rng.choice(len(self._scenes), p=self.probabilities))]
        scene = scenes[int(rng.integers(len(scenes)))]
        return scene[int(rng.integers(len(scene)))]


class UniformSampler:
    """Every item once an epoch, in an order that follows from (seed, epoch) alone."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._epoch = -1
        self._order: NDArray[np.int64] = np.arange(count)

    def candidates(self, position: int, rng: np.random.Generator) -> Iterator[int]:
        """The item that is due at ``position``, counted in images from the run's start; then any, if it is of no use.

        The second are drawn by ``rng``, each with equal chance.
        """
        epoch, place = divmod(position, self._count)
        if epoch != self._epoch:
            # By spawn_key, which makes it no other generator's that follows from the seed and a step.
            shuffled = np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=(epoch,)))
            self._epoch, self._order = epoch, shuffled.permutation(self._count)
        yield int(self._order[place])
        while True:
            yield int(rng.integers(self._count))


def check_names(setting: str, names: Iterable[str], known: Sequence[str]) -> None:
    """Raises DatasetError if ``data.<setting>`` names a data set that is not there."""
    if unknown := sorted(set(names) - set(known)):
        raise DatasetError(f"data.{setting}: no data set named {unknown}; there are {list(known)}")


class Pool:
    """Several data sets as one, each image decoded once and kept shrunk in memory as far as ``cache_gib`` reaches."""

    def __init__(self, datasets: Sequence[DepthDataset], cache_gib: float, cache_area_px: int) -> None:
        self._items = [(dataset, index) for dataset in datasets for index in range(len(dataset))]
        self.records = [record for dataset in datasets for record in dataset.records]
        self._cache: dict[int, tuple[NDArray[np.uint8], NDArray[np.float32], TargetKind]] = {}
        self._room, self._area = int(cache_gib * 2**30), cache_area_px
        # In shared memory, since each worker process has a copy of the pool.
        self._known_unusable = torch.zeros(len(self._items), dtype=torch.bool).share_memory_()  # type: ignore[no-untyped-call]

    @property
    def unusable(self) -> int:
        """How many items were found that cannot be used, by all workers together."""
        return int(self._known_unusable.sum())

    def read(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], TargetKind]:
        """(H, W, 3) image and (H, W) inverse depth (or ordinal sign), NaN where invalid.

        Raises:
            DatasetError, or another of READ_ERRORS: it cannot be read, or has no valid pixel.
        """
        if index in self._cache:
            return self._cache[index]
        dataset, own = self._items[index]
        sample = dataset[own]
        sample.check()
        values = sample.target if sample.kind is TargetKind.ORDINAL else sample.inverse_depth()
        target = np.where(sample.valid_mask, values, np.nan).astype(np.float32)
        if not np.isfinite(target).any():
            raise DatasetError(f"{sample.dataset}/{sample.name}: no valid pixel")
        factor = (self._area / target.size) ** 0.5
        rgb = sample.rgb
        if factor < 1:
            rgb, target = resize_pair(rgb, target, (round(target.shape[0] * factor), round(target.shape[1] * factor)))
        item = rgb, target, sample.kind
        self._room -= rgb.nbytes + target.nbytes
        if self._room > 0:
            self._cache[index] = item
        return item

    def read_first(
        self, candidates: Iterator[int]
    ) -> tuple[int, tuple[NDArray[np.uint8], NDArray[np.float32], TargetKind]]:
        """Index of the first item that can be read, and the item as :meth:`read` gives it: an unusable one is named
        once in the log and passed over.

        Raises:
            DatasetError: ``_ATTEMPTS`` in a row turn out to be unusable, or hardly any is left.
        """
        reason, attempts = "", 0
        for index in islice(candidates, _DRAWS):
            if self._known_unusable[index]:
                continue
            try:
                return index, self.read(index)
            except READ_ERRORS as error:
                reason, attempts = f"; the last: {error}", attempts + 1
                self._known_unusable[index] = True
                _LOG.warning("left out: %s", error)
            if attempts == _ATTEMPTS:
                break
        raise DatasetError(
            f"{self.unusable} of {len(self._items)} items are known to be of no use{reason}; check the data "
            "(python -m training.prepare)"
        )


class BatchSource(Dataset[Batch]):
    """Item ``step`` is the share of process ``rank`` of ``world`` in the batch of that step.

    The images of a step do not depend on how many processes share it. ``config`` is the given one, its length in steps.
    """

    def __init__(self, config: TrainConfig, spec: InputSpec, rank: int = 0, world: int = 1) -> None:
        if config.run.batch_size % world:
            raise DatasetError(f"run.batch_size {config.run.batch_size} cannot be shared by {world} processes")
        data = config.data
        self.pool = Pool(open_sources(data.train, "train"), data.cache_gib, data.cache_area_px)
        check_names("exact_edges", data.exact_edges, sorted({record.dataset for record in self.pool.records}))
        self._sampler: Sampler | UniformSampler
        if data.sampling == "uniform":
            self._sampler = UniformSampler(len(self.pool.records), config.run.seed)
        else:
            self._sampler = Sampler(self.pool.records, data.scene_power, data.dataset_weights)
        self.config, self._spec = config.with_steps(len(self.pool.records)), spec
        share = config.run.batch_size // world
        if config.run.accumulate > share:
            raise ConfigError(
                f"run.accumulate is {config.run.accumulate}, each process's share has {share} images only"
            )
        self._members = range(rank * share, (rank + 1) * share)

    def __len__(self) -> int:
        return self.config.run.steps

    def __getitem__(self, step: int) -> Batch:
        config, seed = self.config, self.config.run.seed
        crops = config.stage_at(step).crops
        weights = np.array([crop.weight for crop in crops])
        crop = crops[int(np.random.default_rng((seed, step)).choice(len(crops), p=weights / weights.sum()))]
        images, targets, kinds, exact, colour = [], [], [], [], 0.0
        for member in self._members:
            # From 1 on: (seed, step, 0) is the same generator as (seed, step), which drew the size.
            rng = np.random.default_rng((seed, step, 1 + member))
            due = self._sampler.candidates(step * config.run.batch_size + member, rng)
            index, (rgb, target, kind) = self.pool.read_first(due)
            rgb, target = augment(rgb, target, crop, config.augment, rng, kind.has_zero)
            images.append(normalise(rgb, self._spec))
            targets.append(target)
            kinds.append(kind)
            exact.append(self.pool.records[index].dataset in config.data.exact_edges)
            colour += float(rgb.mean()) / 255.0
        target_maps = torch.from_numpy(np.stack(targets))
        return Batch(
            image=torch.from_numpy(np.stack(images)),
            target=torch.nan_to_num(target_maps),
            mask=torch.isfinite(target_maps),
            has_zero=torch.tensor([kind.has_zero for kind in kinds]),
            ordinal=torch.tensor([kind is TargetKind.ORDINAL for kind in kinds]),
            exact_edges=torch.tensor(exact),
            mean_colour=torch.tensor(colour / len(images)),
        )


def open_sources(sources: Sequence[SourceConfig], split: str) -> list[DepthDataset]:
    """Every source of a configuration; a source's ``split`` option, where given, goes before ``split``."""
    opened = []
    for source in sources:
        options = dict(source.options)
        opened.append(open_dataset(source.reader, source.path, str(options.pop("split", split)), options))
    return opened


def shared_scenes(train: Iterable[Record], val: Sequence[DepthDataset]) -> list[str]:
    """``dataset/scene`` of every scene that ``val`` judges on and ``train`` has too, sorted."""
    judged = {record for dataset in val for record in dataset.records}
    return sorted(f"{record.dataset}/{record.scene}" for record in judged & set(train))


class _Told(Dataset[Batch | DepthNetError]):
    """``source``, whose errors are items: raised in a worker, one reaches the main process as a traceback."""

    def __init__(self, source: BatchSource) -> None:
        self._source = source

    def __getitem__(self, step: int) -> Batch | DepthNetError:
        try:
            return self._source[step]
        except DepthNetError as error:
            return error


def batches(source: BatchSource, data: DataConfig, start_step: int, steps: int) -> Iterator[Batch]:
    """Batches of steps ``start_step`` to ``steps`` - 1, in order.

    Raises:
        DatasetError: hardly anything of the data can be read.
    """
    loader = DataLoader(
        _Told(source),
        batch_size=None,
        sampler=range(start_step, steps),
        num_workers=data.workers,
        prefetch_factor=4 if data.workers else None,
        worker_init_fn=_quiet_worker,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # else it draws from the global one, and a resumed run is not the same
    )
    for item in loader:
        if isinstance(item, DepthNetError):
            raise item
        yield item


@contextmanager
def lost_workers_named() -> Iterator[None]:
    """Raise WorkerError where a worker of :func:`batches` dies, which interrupts the main process wherever it is."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise WorkerError(
            f"{error}: where memory is short, lower data.cache_gib, which each worker has for itself, or data.workers"
        ) from error


def without_opencv_threads() -> None:
    """Keep OpenCV from starting threads, which do not survive the fork of the workers: they would wait for them for
    ever. To be called before the first picture is decoded.
    """
    cv2.setNumThreads(0)


def _quiet_worker(_: int) -> None:
    """One thread each; and the main process alone answers signals, so that it can still save."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
