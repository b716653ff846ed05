"""Train a network: ``python -m training.train --config training/configs/small_real.yaml``; see training/README.md.

On several GPUs or machines: ``torchrun --nproc-per-node 8 -m training.train --config ...``.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from depthnet_ros.errors import ConfigError, DepthNetError
from training.adversary import Adversary
from training.command import command
from training.config import TrainConfig, check_paths, load_config
from training.data import (
    Batch,
    BatchSource,
    batches,
    lost_workers_named,
    open_sources,
    shared_scenes,
    without_opencv_threads,
)
from training.datasets.base import DepthDataset
from training.networks import at_step, check_sizes, make_network, model_spec, set_train_mode, with_provenance
from training.norms import warn_of_norms
from training.objective import split_output
from training.optim import MovingAverage, make_optimizer, set_rate
from training.run_folder import held
from training.runtime import Processes, RunLog, Schedule, Speedometer, to_device
from training.state import (
    STATE_NAME,
    WEIGHTS_NAME,
    Run,
    how_to_resume,
    load_state,
    non_finite,
    restore,
    save_state,
    save_weights,
    state_of,
)
from training.step import ADVICE, StepResult, TrainingError, check_loss, check_skipped, train_step
from training.typed import read_override
from training.validation import macro_average, validate

_LOG = logging.getLogger("training")
LOG_EVERY = 20
"""Steps between two lines of the log. Each step waits for its gradient's norm; a line, for the losses of all, too."""


class NotWrittenError(DepthNetError):
    """The end of a run is not on the disk."""


def train(config: TrainConfig, run_dir: Path, resume: bool = False, stop_at: int | None = None) -> dict[str, float]:
    """One whole run, or this process's share of it.

    Returns the last step's validation (the first process's call); nothing where the run was stopped before that step.

    ``run_dir``, made if it is not there, gets ``state.pt`` (to resume), ``weights.safetensors`` (the moving average,
    for use; those of ``run.keep_at`` beside it), ``log.jsonl`` and TensorBoard events.
    ``stop_at`` ends after that step as a signal would.

    Raises:
        ConfigError, DatasetError, WeightsError: what was given cannot be used, or another run writes to ``run_dir``.
        OutputError: ``run_dir`` cannot be written to.
        TrainingError: the loss, the weights or ten gradients in a row are not finite: nothing of it is saved.
        NotWrittenError: the last state or weights could not be written.
        WorkerError: a process that reads training data was killed.
        KeyboardInterrupt: a second signal came, some time after the one that asked for a stop.
    """
    with Processes(config.run) as processes, held(run_dir) if processes.first else nullcontext():
        torch.manual_seed(config.run.seed)
        without_opencv_threads()
        if config.run.threads:
            torch.set_num_threads(config.run.threads)
        source = BatchSource(config, model_spec(config).input, processes.rank, processes.world)
        run = prepare_run(source, run_dir, processes)
        if resume:
            restore(run, load_state(run_dir))
        check_same_step(processes.gathered([run.step]))
        parallel = processes.parallel(run.network, config.run)
        val = open_sources(config.data.val, "val")
        if processes.first and (seen := shared_scenes(source.pool.records, val)):
            _LOG.warning("data.val has scenes of data.train, on which its figures are too good: %s", ", ".join(seen))
        if processes.first and (beyond := [step for step in config.run.keep_at if step > run.config.run.steps]):
            _LOG.warning("run.keep_at: the run has %d steps: nothing is kept at %s", run.config.run.steps, beyond)
        with RunLog(run_dir, processes.first) as log:
            if resume and run.schedule.is_over(run.step):  # killed before the weights of its last step were there
                saved = save(run)
                figures = validate_average(run, val, log) if val else {}
                check_written(run, saved)
            else:
                figures = train_steps(run, parallel, source, val, log, stop_at)
        return figures if processes.first else {}


def prepare_run(source: BatchSource, folder: Path, processes: Processes) -> Run:
    """The run of ``source.config`` before its first step, on this process's device.

    Raises:
        ConfigError, WeightsError: the configured network cannot be made or read, or does not take the run's pictures.
    """
    config = source.config
    spec = model_spec(config)
    network = make_network(config.model, source)
    check_sizes(network, config, spec.input)
    network = network.to(processes.device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    set_train_mode(network, config.model)
    warn_of_norms(network, processes.world, config.run.accumulate)
    optimizer = make_optimizer(network, config.optim)
    return Run(
        config=config,
        folder=folder,
        processes=processes,
        spec=with_provenance(spec, config),
        network=network,
        average=MovingAverage(network, config.run.ema_decay),
        optimizer=optimizer,
        base_rates=[float(group["lr"]) for group in optimizer.param_groups],
        adversary=Adversary(processes.device) if config.run.adversarial else None,
        schedule=Schedule(config.run, config.optim, processes),
    )


def train_steps(
    run: Run,
    parallel: nn.Module,
    source: BatchSource,
    val: Sequence[DepthDataset],
    log: RunLog,
    stop_at: int | None = None,
) -> dict[str, float]:
    """The steps from ``run.step`` to the end; returns and raises as :func:`train`.

    ``parallel``: ``run.network`` as :meth:`Processes.parallel` wraps it.
    """
    config, processes = run.config, run.processes
    speed = Speedometer(run.step, config.run.batch_size)
    figures: dict[str, float] = {}
    skipped = 0  # steps in a row
    bar = tqdm(total=config.run.steps, initial=run.step, unit="step", disable=not processes.first, mininterval=5.0)
    with bar, lost_workers_named():
        for cpu_batch in batches(source, config.data, run.step, config.run.steps):
            result = take_step(run, parallel, cpu_batch)
            skipped = 0 if result.taken else skipped + 1
            last = run.schedule.is_over(run.step)
            check_skipped(run.step, skipped, last)
            bar.update()

            stopping = processes.stop_requested() or run.step == stop_at
            validating = bool(val) and (run.step % config.run.evaluate_every == 0 or last)
            if (run.step % LOG_EVERY == 0 or last) and result.taken:
                told = log_step(run, result, speed, source.pool.unusable, log)
                bar.set_postfix({name: f"{told[name]:.4g}" for name in ("loss", "images_per_s")})
            if run.step % config.run.picture_every == 0:
                log.pictures(run.step, result.part, split_output(result.prediction, config.model.log_sigma)[0])
            # Before a validation too, which may take longer than what is left between a signal and the kill.
            due = run.step % config.run.checkpoint_every == 0 or run.step in config.run.keep_at
            if due or validating or stopping or last:
                saved = save(run, sound=last or not skipped)
            if validating:
                figures = validate_average(run, val, log)
                stopping = stopping or processes.stop_requested()
                speed.restart(run.step)
            if last or stopping:
                if not last and processes.first:
                    _LOG.warning("stopped after step %d of %d; %s", run.step, config.run.steps, how_to_resume(run))
                check_written(run, saved)
                return figures if last else {}  # an earlier step's are not this run's result
    raise AssertionError("the last batch is of the last step")


def take_step(run: Run, parallel: nn.Module, cpu_batch: Batch) -> StepResult:
    """The step of ``run`` that is next, on this process's share of its batch."""
    batch = to_device(cpu_batch, run.processes.device)
    batch["mean_colour"] = run.processes.mean_tensor(batch["mean_colour"])  # of the whole batch, not of a share
    set_rate(run.optimizer, run.base_rates, run.schedule.rate_factor(run.step))
    result = train_step(parallel, run.optimizer, batch, run.config.loss_at(run.step), run.config, run.adversary)
    run.step += 1
    if result.taken:
        run.average.update(run.network)
    return result


def log_step(run: Run, result: StepResult, speed: Speedometer, unusable: int, log: RunLog) -> dict[str, float]:
    """Mean losses over the processes, rate and speed, logged; the speed is counted anew from here.

    Raises:
        TrainingError: the loss is not finite.
    """
    images_per_s = speed.images_per_s(run.step)
    losses = run.processes.mean(result.losses)
    check_loss(run.step, losses["loss"])
    told = {**losses, "lr": run.optimizer.param_groups[0]["lr"], "images_per_s": images_per_s, "unusable": unusable}
    log.numbers(run.step, told)
    speed.restart(run.step)
    return told


def validate_average(run: Run, val: Sequence[DepthDataset], log: RunLog) -> dict[str, float]:
    """Figures of the moving average on ``val``, logged: the same in all processes, each of which judges its share."""
    processes = run.processes
    processes.same(run.average.network)
    results = validate(run.average.network, run.spec, val, processes.rank, processes.world)
    figures = macro_average(processes.gathered(results))
    log.numbers(run.step, {f"val/{name}": value for name, value in figures.items()})
    return figures


def save(run: Run, sound: bool = True) -> bool:
    """Write weights, under a name of their own too at the steps of ``run.keep_at``, then the state: where that is, its
    weights are too. Where it is not ``sound`` (steps are not being taken, and it may be that none will be any more)
    only what takes nothing's place, that of ``run.keep_at``.

    Returns:
        False if something could not be written (disk full): what was saved before stays, and the run may go on.

    Raises:
        TrainingError: there is NaN or infinity in the state; what was saved before stays.
    """
    state = state_of(run)
    if run.processes.any(bool(bad := non_finite(state))):
        raise TrainingError(
            f"not finite at step {run.step}: {', '.join(bad[:3]) or 'the weights of another process'}; {ADVICE}. "
            f"The state before is kept in {run.folder}"
        )
    if not run.processes.first:
        return True
    spec = at_step(run.spec, run.step)
    names = [
        *([WEIGHTS_NAME] if sound else []),
        *([f"weights_{run.step}.safetensors"] if run.step in run.config.run.keep_at else []),
    ]
    written = [save_weights(run.folder, run.average.network, spec, name) for name in names]
    if sound and save_state(run.folder, state):
        run.saved_step = run.step
    return (not sound or run.saved_step == run.step) and all(written)


def check_same_step(steps: list[int]) -> None:
    """Raises TrainingError where processes go on from different steps: each read the state of its own disk."""
    if len(set(steps)) > 1:
        raise TrainingError(
            f"the processes would go on from steps {steps}: on several machines the run's folder must be one that all "
            "share, or a copy of one state on each"
        )


def check_written(run: Run, saved: bool) -> None:
    """Raise NotWrittenError where the end of a run was not ``saved``."""
    if not saved:
        raise NotWrittenError(
            f"step {run.step} could not be written to {run.folder}, see the log: make room and --resume"
        )


@command()
def main(argv: list[str] | None = None) -> int:
    """Command line of training."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("--config", required=True, type=Path)
    parser.add_argument("--out", type=Path, help="folder of the run; default runs/<name of the configuration>")
    parser.add_argument(
        "--resume", nargs="?", const="yes", choices=("yes", "auto"), default="no",
        help="go on from the run folder's state; auto: if there is one",
    )  # fmt: skip
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override, as run.steps=100")
    args = parser.parse_args(argv)
    run_dir: Path = args.out or Path("runs") / args.config.stem
    config = load_config(args.config, dict(map(read_override, args.set)))
    check_paths(config)
    there = (run_dir / STATE_NAME).exists()
    if there and args.resume == "no":
        raise ConfigError(f"{run_dir} holds a run: go on with --resume, or give another --out")
    figures = train(config, run_dir, there if args.resume == "auto" else args.resume == "yes")
    if figures:
        print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
