"""Train a network: ``python -m training.train --config training/configs/small_real.yaml``; see training/README.md."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import yaml
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from depthnet_ros.errors import ConfigError, DepthNetError
from depthnet_ros.models.checkpoint import load_checkpoint, save_checkpoint
from depthnet_ros.models.registry import build
from depthnet_ros.models.spec import InputSpec, ModelSpec
from training.config import ModelConfig, TrainConfig, check_paths, load_config
from training.data import Batch, BatchSource, batches, open_sources
from training.objective import objective
from training.optim import MovingAverage, make_optimizer, rate_factor, set_rate
from training.state import STATE_NAME, load_state, save_state
from training.validation import validate

_LOG = logging.getLogger("training")
LOG_EVERY = 20


def train(config: TrainConfig, run_dir: Path, resume: bool = False, stop_at: int | None = None) -> dict[str, float]:
    """One whole run, in this process's share of it (torchrun starts several). Returns the last validation's figures.

    Writes to ``run_dir``: ``config.yaml``, ``state.pt`` (to resume), ``weights.safetensors`` (the moving average, for
    use), ``log.jsonl`` and TensorBoard events. ``stop_at`` ends after that step as a signal would.

    Raises:
        ConfigError, DatasetError, WeightsError: what was given cannot be used.
    """
    rank, world, device = start_processes(config)
    torch.manual_seed(config.run.seed)
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    spec = model_spec(config)
    network = make_network(config.model).to(device=device, memory_format=torch.channels_last)
    average = MovingAverage(network, config.run.ema_decay)
    optimizer = make_optimizer(network, config.optim)
    rates = [group["lr"] for group in optimizer.param_groups]
    step = 0
    if resume:
        step = restore(load_state(run_dir), config, network, average, optimizer)
    set_train_mode(network, config.model)
    parallel = DistributedDataParallel(network, broadcast_buffers=False) if world > 1 else network
    source = BatchSource(config, spec.input, rank, world)
    val = open_sources(config.data.val, "val")
    stop = StopSignal()
    writer = RunWriter(run_dir, config, rank == 0)
    figures: dict[str, float] = {}
    bar = tqdm(total=config.run.steps, initial=step, unit="step", disable=rank > 0, mininterval=5.0, smoothing=0.05)

    def checkpoint() -> None:
        if rank == 0:
            save_state(run_dir, {"step": step, "network": network.state_dict(), "average": average.network.state_dict(),
                                 "average_updates": average.updates, "optimizer": optimizer.state_dict(),
                                 "model": config.model.architecture})  # fmt: skip
            save_checkpoint(run_dir / "weights.safetensors", average.network, with_provenance(spec, config, step))

    began = time.monotonic()
    for batch in batches(source, config.data, step, config.run.steps):
        set_rate(optimizer, rates, rate_factor(step, config.run.steps, config.optim))
        loss, parts = train_step(parallel, optimizer, to_device(batch, device), config)
        average.update(network)
        step += 1
        bar.update()
        if step % LOG_EVERY == 0:
            speed = LOG_EVERY * config.run.batch_size / (time.monotonic() - began)
            began = time.monotonic()
            writer.log(step, {"loss": loss, "lr": optimizer.param_groups[0]["lr"], "images_per_s": speed, **parts})
            bar.set_postfix(loss=f"{loss:.4f}", images_per_s=f"{speed:.1f}")
        stopping = stop.requested or step == stop_at
        if step % config.run.checkpoint_every == 0 or step == config.run.steps or stopping:
            checkpoint()
        if val and rank == 0 and (step % config.run.evaluate_every == 0 or step == config.run.steps):
            figures = validate(average.network, spec, val)
            writer.log(step, {f"val/{name}": value for name, value in figures.items()})
            began = time.monotonic()
        if stopping:
            _LOG.warning("stopped after step %d; go on with --resume", step)
            break
    bar.close()
    writer.close()
    if world > 1:
        dist.destroy_process_group()
    return figures


def train_step(
    network: nn.Module, optimizer: torch.optim.Optimizer, batch: Batch, config: TrainConfig
) -> tuple[float, dict[str, float]]:
    """Forward, backward and one optimiser step; the loss and its parts."""
    half = config.run.precision == "bfloat16"
    optimizer.zero_grad(set_to_none=True)
    count, size = config.run.accumulate, len(batch["image"])
    total, sums = 0.0, dict.fromkeys(config.loss, 0.0)
    for part in split_batch(batch, count):
        share = len(part["image"]) / size
        with torch.autocast(batch["image"].device.type, torch.bfloat16, enabled=half):
            prediction = network(part["image"])
        loss, parts = objective(prediction, part, config.loss)
        (loss * share).backward()  # type: ignore[no-untyped-call]
        total += share * float(loss.detach())
        for name, value in parts.items():
            sums[name] += share * float(value)
    if config.optim.clip_norm:
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.optim.clip_norm)
    optimizer.step()
    return total, sums


def split_batch(batch: Batch, count: int) -> list[Batch]:
    """A batch in ``count`` parts of nearly equal size."""
    if count == 1:
        return [batch]
    parts: list[Batch] = []
    for index in torch.tensor_split(torch.arange(len(batch["image"])), count):
        part: Any = {name: value if value.ndim == 0 else value[index] for name, value in batch.items()}  # type: ignore[attr-defined]
        parts.append(part)
    return parts


def make_network(config: ModelConfig) -> nn.Module:
    """The configured network: fresh, with a pretrained encoder, or from a checkpoint; frozen parts do not train."""
    network = build(config.architecture, **config.arguments)
    if config.weights:
        loaded, spec = load_checkpoint(config.weights)
        if spec.architecture != config.architecture:
            raise ConfigError(f"model.weights is a {spec.architecture}, model.architecture is {config.architecture}")
        network.load_state_dict(loaded.state_dict())
    elif config.pretrained_encoder:
        from depthnet_ros.models.depthnet import DepthNet, pretrained_encoder

        if not isinstance(network, DepthNet):
            raise ConfigError(f"model.pretrained_encoder: {config.architecture} has none")
        network.encoder.load_state_dict(pretrained_encoder(network.size))
    if config.frozen_stages:
        encoder: Any = network.encoder
        for part in [encoder.stem, *encoder.stages][: config.frozen_stages]:
            part.requires_grad_(False)
    return network


def set_train_mode(network: nn.Module, config: ModelConfig) -> None:
    """Training mode, but for the encoder's normalisation where it is frozen."""
    network.train()
    if config.freeze_norm:
        encoder: Any = network.encoder
        encoder.eval()


def model_spec(config: TrainConfig) -> ModelSpec:
    """The specification that the run's checkpoints carry."""
    model = config.model
    mean, std = (model.mean[0], model.mean[1], model.mean[2]), (model.std[0], model.std[1], model.std[2])
    spec = InputSpec(
        model.height_px, model.width_px, mean, std, keep_aspect=model.keep_aspect, multiple_of=model.multiple_of
    )
    return ModelSpec(model.architecture, spec, arguments=model.arguments)


def with_provenance(spec: ModelSpec, config: TrainConfig, step: int) -> ModelSpec:
    """``spec`` with where the weights come from: data, recipe, commit and step."""
    data = {key: value for key, value in spec.to_dict().items() if key != "provenance"}
    sources = [f"{source.reader}:{Path(source.path).name}" for source in config.data.train]
    provenance = {
        "data": sources,
        "licence": "research use",
        "recipe": {
            "loss": config.loss,
            "lr": config.optim.lr,
            "batch_size": config.run.batch_size,
            "seed": config.run.seed,
        },
        "steps": step,
        "commit": git_commit(),
        "torch": torch.__version__,
    }
    return ModelSpec.from_dict({**data, "provenance": provenance})


def git_commit() -> str:
    """Commit of the source tree, or ``unknown``."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def restore(
    state: dict[str, Any],
    config: TrainConfig,
    network: nn.Module,
    average: MovingAverage,
    optimizer: torch.optim.Optimizer,
) -> int:
    """Put a saved state back; the step it was saved at."""
    if state["model"] != config.model.architecture:
        raise ConfigError(
            f"the state to resume is of {state['model']}, the configuration says {config.model.architecture}"
        )
    network.load_state_dict(state["network"])
    average.network.load_state_dict(state["average"])
    average.updates = int(state["average_updates"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def start_processes(config: TrainConfig) -> tuple[int, int, torch.device]:
    """(rank, number of processes, device); joins the group that torchrun made, if it did."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    name = config.run.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if world > 1:
        dist.init_process_group("nccl" if name == "cuda" else "gloo")
        if name == "cuda":
            name = f"cuda:{os.environ['LOCAL_RANK']}"
            torch.cuda.set_device(name)
        return dist.get_rank(), world, torch.device(name)
    return 0, 1, torch.device(name)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch where the network is; the image channels-last, as the network's weights are."""
    moved: Any = {name: value.to(device, non_blocking=True) for name, value in batch.items()}  # type: ignore[attr-defined]
    moved["image"] = moved["image"].contiguous(memory_format=torch.channels_last)
    return moved


class StopSignal:
    """SIGTERM and SIGINT ask for a clean stop after the step in progress."""

    def __init__(self) -> None:
        self.requested = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.requested = True


class RunWriter:
    """log.jsonl and TensorBoard of the first process; the others write nothing."""

    def __init__(self, folder: Path, config: TrainConfig, active: bool) -> None:
        self._board = SummaryWriter(str(folder)) if active else None  # type: ignore[no-untyped-call]
        self._lines = (folder / "log.jsonl").open("a", encoding="utf-8") if active else None

    def log(self, step: int, values: dict[str, float]) -> None:
        """One line and one point per value."""
        if self._lines is None or self._board is None:
            return
        self._lines.write(json.dumps({"step": step, **values}) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Flush and close."""
        if self._lines is not None and self._board is not None:
            self._lines.close()
            self._board.close()  # type: ignore[no-untyped-call]


def main(argv: list[str] | None = None) -> int:
    """Command line of training."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("--config", required=True, type=Path)
    parser.add_argument("--run", type=Path, help="folder of the run; default runs/<name of the configuration>")
    parser.add_argument("--resume", action="store_true", help="go on from the run folder's state")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override, such as run.steps=100"
    )
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    run_dir: Path = args.run or Path("runs") / args.config.stem
    try:
        overrides = {key: yaml.safe_load(value) for key, _, value in (item.partition("=") for item in args.set)}
        config = load_config(args.config, overrides)
        check_paths(config)
        if (run_dir / STATE_NAME).exists() and not args.resume:
            raise ConfigError(f"{run_dir} holds a run: go on with --resume, or give another --run")
        run_dir.mkdir(parents=True, exist_ok=True)
        figures = train(config, run_dir, args.resume)
    except DepthNetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if figures:
        print(json.dumps(figures, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
