"""Train a network: ``python -m training.train --config training/configs/small_real.yaml``; see training/README.md.

On several GPUs or machines: ``torchrun --nproc-per-node 8 -m training.train --config ...``.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import torch
import yaml
from torch import Tensor, nn
from tqdm import tqdm

from depthnet_ros.errors import ConfigError, DepthNetError
from depthnet_ros.models.spec import ModelSpec
from training.adversary import Adversary
from training.config import TrainConfig, check_paths, load_config
from training.data import Batch, BatchSource, batches, open_sources, shared_scenes
from training.networks import check_sizes, make_network, model_spec, set_train_mode, with_provenance
from training.norms import training_norms, warn_of_norms
from training.objective import objective, split_output
from training.optim import MovingAverage, make_optimizer, set_rate
from training.outputs import writing
from training.runtime import Pace, Processes, RunLog, parts_of, to_device
from training.state import (
    STATE_NAME,
    WEIGHTS_NAME,
    load_state,
    non_finite,
    restore,
    save_state,
    save_weights,
    state_of,
)
from training.validation import macro_average, validate

_LOG = logging.getLogger("training")
LOG_EVERY = 20
MOST_SKIPPED = 10
ADVICE = "lower optim.lr, set optim.clip_norm or take run.precision float32"


class TrainingError(DepthNetError):
    """A run that cannot go on."""


class NotWrittenError(DepthNetError):
    """The end of a run is not on the disk."""


def train(config: TrainConfig, run_dir: Path, resume: bool = False, stop_at: int | None = None) -> dict[str, float]:
    """One whole run, or this process's share of it.

    Returns the last step's validation (the first process's call); nothing where the run was stopped before that step.

    ``run_dir`` gets ``state.pt`` (to resume), ``weights.safetensors`` (the moving average, for use; those of
    ``run.keep_at`` beside it), ``log.jsonl`` and TensorBoard events.
    ``stop_at`` ends after that step as a signal would.

    Raises:
        ConfigError, DatasetError, WeightsError: what was given cannot be used.
        TrainingError: the loss, the weights or ten gradients in a row are not finite: nothing of it is saved.
        NotWrittenError: the last state or weights could not be written.
    """
    with Processes(config.run) as processes:
        return _train(config, run_dir, processes, resume, stop_at)


def _train(
    config: TrainConfig, run_dir: Path, processes: Processes, resume: bool, stop_at: int | None
) -> dict[str, float]:
    torch.manual_seed(config.run.seed)
    cv2.setNumThreads(0)  # OpenCV's threads, once started, do not survive the workers' fork
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    spec = model_spec(config)
    source = BatchSource(config, spec.input, processes.rank, processes.world)
    config = source.config
    network = make_network(config.model, source)
    check_sizes(network, config, spec.input)
    network = network.to(processes.device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = MovingAverage(network, config.run.ema_decay)
    optimizer = make_optimizer(network, config.optim)
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    adversary = Adversary(processes.device) if config.run.adversarial else None
    state = load_state(run_dir) if resume else {}
    step = restore(state, config, network, average, optimizer, adversary) if resume else 0
    pace = Pace(config.run, float(state.get("spent_s", 0.0)))
    check_same_step(processes.gathered([step]))
    set_train_mode(network, config.model)
    warn_of_norms(network, processes.world, config.run.accumulate)
    parallel = processes.parallel(network, config.run)
    val = open_sources(config.data.val, "val")
    if processes.first and (seen := shared_scenes(source.pool.records, val)):
        _LOG.warning("data.val has scenes of data.train, on which its figures are too good: %s", ", ".join(seen))
    log = RunLog(run_dir, processes.first)
    figures: dict[str, float] = {}
    bar = tqdm(total=config.run.steps, initial=step, unit="step", disable=not processes.first, mininterval=5.0)
    began, counted_from = time.monotonic(), step
    skipped = 0  # steps in a row
    over = (
        resume and pace.at(step, processes) == config.run.steps
    )  # killed before the weights of its last step were there
    kept = True

    def judged() -> dict[str, float]:
        processes.same(average.network)
        results = validate(average.network, spec, val, processes.rank, processes.world)
        values = macro_average(processes.gathered(results))
        log.numbers(step, {f"val/{name}": value for name, value in values.items()})
        return values

    if over:
        kept = save(run_dir, state, average, with_provenance(spec, config, step), config, processes)
        figures = judged() if val else {}
    for cpu_batch in batches(source, config.data, step, step if over else config.run.steps):
        batch = to_device(cpu_batch, processes.device)
        if "deck" in config.loss_at(step):  # which divides by the mean colour of the whole batch
            batch["mean_colour"] = processes.mean_tensor(batch["mean_colour"])
        set_rate(optimizer, rates, pace.rate_factor(step, processes, config.optim))
        losses, shown, taken = train_step(parallel, optimizer, batch, config.loss_at(step), config, adversary)
        if taken:
            average.update(network)
        step += 1
        skipped = 0 if taken else skipped + 1
        if skipped:
            check_skipped(step, skipped)
        bar.update()
        last = pace.at(step, processes) == config.run.steps
        stopping = processes.stop_requested() or step == stop_at
        judging = bool(val) and (step % config.run.evaluate_every == 0 or last)

        if (step % LOG_EVERY == 0 or last) and not skipped:
            speed = (step - counted_from) * config.run.batch_size / (time.monotonic() - began)
            values = processes.mean(losses)
            if not math.isfinite(values["loss"]):
                raise TrainingError(f"the loss is {values['loss']} at step {step}: {ADVICE}")
            rate = {"lr": optimizer.param_groups[0]["lr"], "images_per_s": speed}
            log.numbers(step, {**values, **rate, "unusable": source.pool.unusable})
            bar.set_postfix(loss=f"{values['loss']:.4f}", images_per_s=f"{speed:.1f}")
            began, counted_from = time.monotonic(), step
        if step % config.run.picture_every == 0:
            log.pictures(step, shown[0], split_output(shown[1], config.model.log_sigma)[0])
        # Before a validation too, which may take longer than what is left between a signal and the kill.
        if step % config.run.checkpoint_every == 0 or judging or stopping or last or step in config.run.keep_at:
            state = {**state_of(step, config, network, average, optimizer, adversary), "spent_s": pace.spent_s}
            kept = save(run_dir, state, average, with_provenance(spec, config, step), config, processes)
        if judging:
            figures = judged()
            began, counted_from = time.monotonic(), step
            stopping = stopping or processes.stop_requested()
        if last:
            break
        if stopping:
            _LOG.warning("stopped after step %d of %d; go on with --resume", step, config.run.steps)
            figures = {}  # an earlier step's are not this run's result
            break

    bar.close()
    log.close()
    if not kept:
        raise NotWrittenError(f"step {step} could not be written to {run_dir}, see the log: make room and --resume")
    return figures if processes.first else {}


def save(
    run_dir: Path,
    state: dict[str, Any],
    average: MovingAverage,
    spec: ModelSpec,
    config: TrainConfig,
    processes: Processes,
) -> bool:
    """Write weights, under a name of their own too at the steps of ``run.keep_at``, then the state: where that is, its
    weights are too.

    Returns:
        False if something could not be written (disk full): what was saved before stays, and the run may go on.

    Raises:
        TrainingError: there is NaN or infinity in the state; what was saved before stays.
    """
    step: int = state["step"]
    if processes.any(bool(bad := non_finite(state))):
        raise TrainingError(
            f"not finite at step {step}: {', '.join(bad[:3]) or 'the weights of another process'}; {ADVICE}. "
            f"The state before is kept in {run_dir}"
        )
    if not processes.first:
        return True
    names = [WEIGHTS_NAME, *([f"weights_{step}.safetensors"] if step in config.run.keep_at else [])]
    written = [save_weights(run_dir, average.network, spec, name) for name in names]
    return save_state(run_dir, state) and all(written)


def train_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    weights: dict[str, float],
    config: TrainConfig,
    adversary: Adversary | None,
) -> tuple[dict[str, Tensor], tuple[Batch, Tensor], bool]:
    """Forward, backward and one optimiser step: the losses, with their sum as ``loss``, and the last part of the batch
    with the network's output for it.

    The step is not taken, and the third value false, if the gradient is not finite: one such step would end all. The
    statistics of normalisation are then as before, too.
    """
    optimizer.zero_grad(set_to_none=True)
    statistics = [(buffer, buffer.clone()) for norm in training_norms(network) for buffer in norm.buffers()]
    size, device = len(batch["image"]), batch["image"].device
    sums = {name: torch.zeros((), device=device) for name in ("loss", *weights)}
    shown = batch, torch.empty(0)
    for part, maybe_unshared in parts_of(batch, config.run.accumulate, network):
        share = len(part["image"]) / size
        with maybe_unshared:
            with torch.autocast(device.type, torch.bfloat16, enabled=config.run.precision == "bfloat16"):
                prediction = network(part["image"])
            loss, parts = objective(prediction, part, weights, config.model.log_sigma)
            if adversary is not None:
                parts["critic"] = adversary.term(split_output(prediction, config.model.log_sigma)[0], part)
                loss = loss + config.run.adversarial * parts["critic"]
            (loss * share).backward()  # type: ignore[no-untyped-call]
        shown = part, prediction
        for name, value in {"loss": loss, **parts}.items():
            sums[name] = sums.get(name, torch.zeros((), device=device)) + share * value.detach()
    # Without a limit the gradient stays as it is, and only its norm is had. All processes have the same gradient.
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), config.optim.clip_norm or math.inf)
    taken = bool(torch.isfinite(norm))
    if taken:
        optimizer.step()
    else:
        for buffer, before in statistics:
            buffer.copy_(before)
    return sums, shown, taken


def check_same_step(steps: list[int]) -> None:
    """Raises TrainingError where processes go on from different steps: each read the state of its own disk."""
    if len(set(steps)) > 1:
        raise TrainingError(
            f"the processes would go on from steps {steps}: on several machines the run's folder must be one that all "
            "share, or a copy of one state on each"
        )


def check_skipped(step: int, in_a_row: int) -> None:
    """Log that the gradient of ``step`` was not finite; raise TrainingError if that is no exception any more."""
    if in_a_row >= MOST_SKIPPED:
        raise TrainingError(f"the gradients of the last {in_a_row} steps up to {step} are not finite: {ADVICE}")
    _LOG.warning("step %d is not taken: its gradient is not finite", step)


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
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    run_dir: Path = args.out or Path("runs") / args.config.stem
    try:
        config = load_config(args.config, dict(map(read_override, args.set)))
        check_paths(config)
        there = (run_dir / STATE_NAME).exists()
        if there and args.resume == "no":
            raise ConfigError(f"{run_dir} holds a run: go on with --resume, or give another --out")
        with writing(run_dir):
            run_dir.mkdir(parents=True, exist_ok=True)
        figures = train(config, run_dir, there if args.resume == "auto" else args.resume == "yes")
    except DepthNetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if figures:
        print(json.dumps(figures, indent=2))
    return 0


def read_override(text: str) -> tuple[str, Any]:
    """``run.steps=100`` to key and value; ConfigError where the value is not YAML."""
    key, _, value = text.partition("=")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {text}: the value is not YAML: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
