"""Search over a configuration's named ranges: ``python -m training.search --config CONFIG --trials 20 --steps 400``.

``search`` in the configuration maps dotted keys to ``{low, high, log}`` (float; int if both ends are) or ``{choices}``.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from depthnet_ros.errors import ConfigError
from training.changes import changed, settings_of, told
from training.command import command
from training.config import TrainConfig, check_paths, load_config
from training.data import open_sources, without_opencv_threads
from training.datasets.base import DatasetError
from training.outputs import OutputError, writing
from training.ranges import ends
from training.step import TrainingError
from training.train import train
from training.typed import read_override
from training.validation import judge, usable_samples

_LOG = logging.getLogger(__name__)
_LARGER_IS_BETTER = {"delta1", "delta2", "delta3", "spearman", "boundary_f1"}
_RANGES = ("search.",)  # of settings; check_same_kind_of_ranges compares them
_NO_AIM = {"bias"}  # best at 0, neither small nor large


def suggest(trial: Any, ranges: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A value for each range, as a configuration has them, from an Optuna trial."""
    values: dict[str, Any] = {}
    for key, span in ranges.items():
        if "choices" in span:
            values[key] = trial.suggest_categorical(key, span["choices"])
            continue
        whole = isinstance(span["low"], int) and isinstance(span["high"], int)
        suggest_number = trial.suggest_int if whole else trial.suggest_float
        values[key] = suggest_number(key, span["low"], span["high"], log=bool(span.get("log", False)))
    return values


def search(
    path: Path,
    out: Path,
    trials: int,
    steps: int,
    figure: str,
    overrides: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], float]:
    """Best values and their figure: the largest one where larger is better, as with ``delta1``, else the smallest.

    Trials are kept in ``out`` and a stopped search goes on where it was.

    ``overrides``: settings of every trial that are not the configuration's, as :func:`load_config` takes them.

    Raises:
        ConfigError: no trials, no ranges, no validation data, Optuna is not installed, ``figure`` is not among the
            results or has no better and worse, one of ``overrides`` is searched over, or ``out`` holds trials that
            these cannot be compared with or whose ranges are of another kind.
        TrainingError: every trial diverged; one that did is passed over else.
        OutputError: the trials cannot be kept in ``out``.
    """
    if trials < 1 or steps < 0:
        raise ConfigError(f"--trials must be at least 1 and --steps at least 0, got {trials} and {steps}")
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("the search needs: pip install optuna") from error
    given = dict(overrides or {})
    base = searchable(path, given, figure)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)

    def run(trial: Any) -> float:
        config = shortened(load_config(path, {**given, **suggest(trial, base.search)}), steps)
        return run_trial(config, out / f"trial{trial.number:04d}", figure)

    database = out / "search.db"
    with _kept(database):
        study = open_study(database, figure, {**settings_of(base), "--steps": steps}, base.run.seed)
        check_same_kind_of_ranges(study, base.search, out)
        study.optimize(run, n_trials=trials)
    if not study.get_trials(states=[optuna.trial.TrialState.COMPLETE]):
        raise TrainingError(f"not one of {len(study.trials)} trials came to a finite end: search smaller values")
    return dict(study.best_params), float(study.best_value)


def searchable(path: Path, overrides: Mapping[str, Any], figure: str) -> TrainConfig:
    """The configuration at ``path`` with ``overrides``, which can be searched over for the best ``figure``.

    Raises:
        ConfigError: no ranges, no validation data, one of ``overrides`` is searched over, or no such figure.
        DatasetError: not one image of the validation data can be judged.
    """
    base = load_config(path, overrides)
    check_paths(base)
    if not base.search or not base.data.val:
        raise ConfigError(f"{path}: a search needs `search` with ranges, and data.val to judge by")
    if both := sorted(set(overrides) & set(base.search)):
        raise ConfigError(f"--set {both[0]}: the search tries values of it: take it out of `search`")
    without_opencv_threads()
    there = [name for name in figures_of(base) if name not in _NO_AIM]
    if figure not in there:
        raise ConfigError(
            f"data.val gives no figure to compare by named {figure!r}; there are {', '.join(there)}: choose by --figure"
        )
    return base


def run_trial(config: TrainConfig, folder: Path, figure: str) -> float:
    """Train in ``folder``; the ``figure`` of the last validation.

    Raises:
        optuna.TrialPruned: the run diverged. A bad value is a result: the sampler keeps away from it.
        KeyboardInterrupt: it was asked to stop before its end.
        OutputError: ``folder`` cannot be made.
    """
    import optuna

    with writing(folder):
        folder.mkdir(exist_ok=True)
    try:
        figures = train(config, folder)
    except TrainingError as error:
        _LOG.warning("%s: %s", folder.name, error)
        raise optuna.TrialPruned(str(error)) from error
    if not figures:
        raise KeyboardInterrupt
    return figures[figure]


def open_study(database: Path, figure: str, settings: Mapping[str, Any], seed: int) -> Any:
    """The study kept in ``database``, made if there is none.

    ``settings``: what all of its trials have alike, plain JSON values by name.

    Raises:
        ConfigError: what is kept there is a search by another figure, or with other settings.
    """
    import optuna

    maximise = figure in _LARGER_IS_BETTER
    aim = {"figure": figure, "maximise": maximise}
    study = optuna.create_study(
        study_name="search",
        storage=f"sqlite:///{database}",
        direction="maximize" if maximise else "minimize",
        load_if_exists=True,
    )
    if study.trials and study.user_attrs.get("aim", aim) != aim:
        raise ConfigError(
            f"{database.parent} holds a search by {study.user_attrs['aim']}, now it is {aim}: give another --out"
        )
    # A search of an earlier version has none.
    if study.trials and (others := changed(study.user_attrs.get("settings", settings), settings, _RANGES)):
        raise ConfigError(
            f"{database.parent} holds trials that new ones cannot be compared with: {told(others)}: set it back, or "
            "give another --out"
        )
    study.set_user_attr("aim", aim)
    study.set_user_attr("settings", dict(settings))
    # With the same seed again a search that goes on would try the same values again.
    study.sampler = optuna.samplers.TPESampler(seed=(seed + len(study.trials)) % 2**32)
    return study


def check_same_kind_of_ranges(study: Any, ranges: dict[str, dict[str, Any]], out: Path) -> None:
    """Raise ConfigError where ``ranges`` are of another kind than those of the trials in ``study``, kept in ``out``.

    Numbers may have another ``low`` and ``high``; choices, ``log`` and integers must stay what they were.
    """
    from optuna.distributions import check_distribution_compatibility
    from optuna.trial import FixedTrial

    probe = FixedTrial({key: ends(span)[0] for key, span in ranges.items()})
    suggest(probe, ranges)
    for key, now in probe.distributions.items():
        for was in (trial.distributions[key] for trial in study.trials if key in trial.distributions):
            try:
                check_distribution_compatibility(was, now)
            except ValueError as error:
                raise ConfigError(
                    f"{out} holds trials for which search.{key} was {was}, now it is {now}: ranges were changed: give "
                    "another --out, or set it back"
                ) from error


@contextmanager
def _kept(database: Path) -> Iterator[None]:
    """Optuna's errors of a database that cannot be written, as OutputError."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        reason = str(error.__cause__ or error).splitlines()[0]
        raise OutputError(
            f"{database} cannot be read or written ({reason}): make room or give another --out, and run it again"
        ) from error


def figures_of(config: TrainConfig) -> list[str]:
    """Names of the figures that the validation will give: what of a truth can be judged differs by data set.

    Told from the first image that can be judged of each data set in each source.

    Raises:
        DatasetError: there is none.
    """
    names: set[str] = set()
    for source in open_sources(config.data.val, "val"):
        told: set[str] = set()
        for index, record in enumerate(source.records):
            if record.dataset in told:
                continue
            for sample in usable_samples([source], [], rank=index, world=len(source)):  # this item alone
                figures = judge(np.zeros(sample.valid_mask.shape, dtype=np.float32), sample, stride=3)
                names.update(figures)
                told.update({record.dataset} if figures else set())
    if not names:
        raise DatasetError("data.val: not one image can be judged")
    return sorted(names)


def shortened(config: TrainConfig, steps: int) -> TrainConfig:
    """The same run in ``steps`` steps (0: as it is): stages and warm-up shrink with it, so that a trial has them all.

    Raises:
        DatasetError: the length is in epochs, and the training data cannot be opened.
    """
    if not steps:
        return config
    if config.run.epochs:
        config = config.with_steps(sum(len(dataset) for dataset in open_sources(config.data.train, "train")))
    share = steps / config.run.steps
    stages, least = [], 0
    for stage in config.run.stages:
        if stage.until_step:
            least = max(least + 1, round(stage.until_step * share))
            stage = replace(stage, until_step=least)
        stages.append(stage)
    optim = replace(config.optim, warmup_steps=round(config.optim.warmup_steps * share))
    return replace(config, optim=optim, run=replace(config.run, steps=steps, evaluate_every=steps, stages=stages))


@command(continues=True)
def main(argv: list[str] | None = None) -> int:
    """Command line of the search."""
    parser = argparse.ArgumentParser(prog="python -m training.search", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="default runs/search_<name of the configuration>")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--steps", type=int, default=0, help="length of a trial; 0: the configuration's")
    parser.add_argument(
        "--figure", default="abs_rel", help="of the validation; whdr where its zero is arbitrary (WSVD)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override, as run.batch_size=4")
    parser.add_argument("--maximise", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.maximise:  # of earlier versions
        print("--maximise has no effect any more: the figure tells which end of it is better", file=sys.stderr)
    out: Path = args.out or Path("runs") / f"search_{args.config.stem}"
    overrides = dict(map(read_override, args.set))
    values, best = search(args.config, out, args.trials, args.steps, args.figure, overrides)
    print(json.dumps({args.figure: best, "values": values}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
