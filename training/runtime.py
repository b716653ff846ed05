"""Processes, devices, signals and logs of a run."""

from __future__ import annotations

import contextlib
import json
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.tensorboard import SummaryWriter

from depthnet_ros.errors import ConfigError
from training.data import Batch
from training.graphs import GraphedNetwork
from training.optim import rate_factor
from training.report import colour_map, finite_range, grey_levels
from training.sections import OptimConfig, RunConfig

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
_SETTLE_S = 0.5
"""Before the process group ends. Gloo's thread may still have to free the last collective's tensors, for which it waits
for Python's lock; the group's destructor holds that lock and waits for the thread, for ever.
"""
_ONE_REQUEST_S = 3.0
"""Signals that come closer together are one request: a group's, and torchrun's for the same reason."""
_NO_DEVICE = "run.device must be auto, cpu, cuda or cuda:<number>, got {!r}"


class Processes:
    """This process among those that torchrun started, or alone. Within ``with``, SIGTERM, SIGINT and SIGHUP (a terminal
    that is closed; not under nohup) ask for a stop; a second one, some seconds later, is a KeyboardInterrupt.
    """

    def __init__(self, config: RunConfig) -> None:
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0"))
        name = config.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        if self.world > 1 and name == "cuda":
            name = f"cuda:{os.environ['LOCAL_RANK']}"
        self.device = _device(name)
        if self.world > 1:
            if self.device.type == "cuda":
                torch.cuda.set_device(self.device)
            backend, patience = "nccl" if name.startswith("cuda") else "gloo", timedelta(minutes=config.timeout_min)
            dist.init_process_group(backend, timeout=patience)
        self._asked_s: float | None = None
        numbers = [signal.SIGTERM, signal.SIGINT]
        numbers += [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []
        self._handlers = {number: signal.signal(number, self._ask_stop) for number in numbers}

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self.world > 1 and kind is None:  # one that fails alone must not wait for the others: torchrun ends them
            time.sleep(_SETTLE_S)
            dist.destroy_process_group()

    @property
    def first(self) -> bool:
        """This one writes files and logs."""
        return self.rank == 0

    def parallel(self, network: nn.Module, config: RunConfig) -> nn.Module:
        """``network`` as the loop calls it: sharing its gradients where there are several processes, or as CUDA graphs.

        Raises:
            ConfigError: ``run.cuda_graphs`` without a CUDA device, with several processes, or with ``run.accumulate``.
        """
        if config.cuda_graphs and config.accumulate > 1:  # a replay writes its gradients where those before still lie
            raise ConfigError("run.cuda_graphs and run.accumulate do not go together: leave one of them out")
        if config.cuda_graphs:
            if self.device.type != "cuda" or self.world > 1:
                got = f"{self.world} on {self.device}"
                raise ConfigError(f"run.cuda_graphs needs one process on a CUDA device, got {got}: leave it out")
            return GraphedNetwork(network, config.precision)
        if self.world == 1:
            return network
        return DistributedDataParallel(network, broadcast_buffers=False)

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Mean over the processes of each value, a tensor of one number."""
        stacked = self.mean_tensor(torch.stack([value.detach().float() for value in values.values()]))
        return dict(zip(values, stacked.tolist(), strict=True))

    def mean_tensor(self, values: Tensor) -> Tensor:
        """Mean of ``values`` (any shape, the same in all) over the processes."""
        if self.world == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.world

    def same(self, network: nn.Module) -> None:
        """Give every process the first one's weights and statistics: those of normalisation differ by what each saw."""
        if self.world > 1:
            for value in network.state_dict().values():
                sent = value.contiguous()  # channels-last weights are not, and cannot be sent
                dist.broadcast(sent, 0)
                value.copy_(sent)

    def gathered(self, items: list[T]) -> list[T]:
        """The items of all processes, known to each of them."""
        if self.world == 1:
            return items
        shares: list[list[T]] = [[] for _ in range(self.world)]
        dist.all_gather_object(shares, items)
        return [item for share in shares for item in share]

    def stop_requested(self) -> bool:
        """A process was asked to stop. All get the same answer, so that none waits for one that left."""
        return self.any(self._asked_s is not None)

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process; all get the same answer."""
        if self.world == 1:
            return flag
        flags = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(flags, dist.ReduceOp.MAX)
        return bool(flags)

    def _ask_stop(self, number: int, _: object) -> None:
        if number == signal.SIGHUP:
            _let_go_of_terminal()
        now = time.monotonic()
        if self._asked_s is None:
            self._asked_s = now
        elif now - self._asked_s > _ONE_REQUEST_S:
            for worker in multiprocessing.active_children():  # one that hangs too: the end of this process waits for it
                with contextlib.suppress(RuntimeError):  # what torch's handler of SIGCHLD makes of it
                    worker.kill()
                    worker.join()
            raise KeyboardInterrupt


def _let_go_of_terminal() -> None:
    """What is written to one that is gone fails, and the state would not be saved."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        if os.isatty(stream):
            os.dup2(nowhere, stream)
    os.close(nowhere)


class Schedule:
    """How far a run is: by its steps, or by ``run.minutes`` where the clock is ahead of them.

    By the clock the processes agree on the answer: all must ask alike.
    """

    def __init__(self, run: RunConfig, optim: OptimConfig, processes: Processes) -> None:
        self._steps, self._limit_s = run.steps, 60.0 * run.minutes
        self._optim, self._processes = optim, processes
        self._began = time.monotonic()

    @property
    def spent_s(self) -> float:
        """Wall-clock time of the run up to now, its parts before this one included."""
        return time.monotonic() - self._began

    @spent_s.setter
    def spent_s(self, value: float) -> None:
        self._began = time.monotonic() - value

    def at(self, step: int) -> int:
        """The step that the learning rate is at when ``step`` are done; ``run.steps`` when the time is up."""
        if not self._limit_s:
            return step
        share = self.spent_s / self._limit_s
        if self._processes.world > 1:
            share = float(self._processes.mean_tensor(torch.tensor(share, device=self._processes.device)))
        return max(step, min(self._steps, int(self._steps * share)))

    def is_over(self, step: int) -> bool:
        """Whether ``step`` was the last one."""
        return self.at(step) >= self._steps

    def rate_factor(self, step: int) -> float:
        """What the learning rate is multiplied with: warm-up by steps, whatever the clock says, then the schedule."""
        warm_up = rate_factor(step, self._steps, self._optim) if step < self._optim.warmup_steps else 1.0
        return min(warm_up, rate_factor(max(self.at(step), self._optim.warmup_steps), self._steps, self._optim))


class Speedometer:
    """Images per second since the last :meth:`restart`."""

    def __init__(self, step: int, batch_size: int) -> None:
        self._batch_size = batch_size
        self.restart(step)

    def restart(self, step: int) -> None:
        """Count from here: what was done since the last step, logging or a validation, was no training."""
        self._step, self._began = step, time.monotonic()

    def images_per_s(self, step: int) -> float:
        """The mean over the steps since then."""
        return (step - self._step) * self._batch_size / (time.monotonic() - self._began)


def _device(name: str) -> torch.device:
    """Raises ConfigError for a device that there is not."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(_NO_DEVICE.format(name)) from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(_NO_DEVICE.format(name))
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"run.device is {name}, but there are {torch.cuda.device_count()} CUDA devices here")
    return device


def micro_batches(batch: Batch, count: int, network: nn.Module) -> Iterator[tuple[Batch, AbstractContextManager[Any]]]:
    """A batch in ``count`` parts of nearly equal size, each with a context for its backward pass: processes exchange
    their gradients with the last one only.
    """
    indices = torch.tensor_split(torch.arange(len(batch["image"])), count)
    for number, index in enumerate(indices):
        # mean_colour is one number for the whole batch
        part: Any = {name: value[index] if name != "mean_colour" else value for name, value in tensors(batch).items()}
        last = number == count - 1
        waits = isinstance(network, DistributedDataParallel) and not last
        yield (part if count > 1 else batch), (network.no_sync() if waits else contextlib.nullcontext())  # type: ignore[operator]


def tensors(batch: Batch) -> dict[str, Tensor]:
    """The batch as a plain mapping."""
    return dict(batch)  # type: ignore[arg-type]


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch where the network is; the image channels-last, as the network's weights are."""
    moved: Any = {name: value.to(device, non_blocking=True) for name, value in tensors(batch).items()}
    moved["image"] = moved["image"].contiguous(memory_format=torch.channels_last)
    return moved


class RunLog:
    """log.jsonl and TensorBoard of the first process; the others write nothing. ``with`` closes it."""

    def __init__(self, folder: Path, active: bool) -> None:
        self._active, self._path = active, folder / "log.jsonl"
        self._board: SummaryWriter | None = None
        if not active:
            return
        with self._kept_going("TensorBoard"):
            self._board = SummaryWriter(str(folder))
        with self._kept_going("the end of the line that was cut"):
            if self._path.is_file() and not self._path.read_bytes().endswith(b"\n"):
                with self._path.open("a", encoding="utf-8") as file:  # a kill cut its last line
                    file.write("\n")

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """One line, and one point per value."""
        if not self._active:
            return
        with self._kept_going(f"step {step}"):
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
            for name, value in values.items():
                if self._board is not None:
                    self._board.add_scalar(name, value, step)

    @staticmethod
    @contextlib.contextmanager
    def _kept_going(what: str) -> Iterator[None]:
        """A full disk ends no run: state.py keeps what was saved before."""
        try:
            yield
        except OSError as error:
            _LOG.error("%s is not in the log: %s", what, error)

    def pictures(self, step: int, batch: Batch, prediction: Tensor, most: int = 4) -> None:
        """Image, truth and prediction (B, h, w) of the first images of a batch, in TensorBoard."""
        if self._board is None:
            return
        rows = []
        for index in range(min(most, len(batch["image"]))):
            image = batch["image"][index].permute(1, 2, 0).float().cpu().numpy()
            mask = batch["mask"][index].cpu().numpy()
            maps = [
                batch["target"][index].float().cpu().numpy(),
                prediction[index].detach().float().cpu().numpy(),
            ]
            tiles = [grey_levels(image, *finite_range(image))]
            for values, shown in zip(maps, (mask, np.ones_like(mask)), strict=True):
                tiles.append(colour_map(values, *finite_range(values[mask], 2.0, 98.0), shown))
            rows.append(np.hstack(tiles))
        with self._kept_going(f"step {step}"):
            self._board.add_image("image, truth, prediction", np.vstack(rows), step, dataformats="HWC")

    def close(self) -> None:
        """Flush and close."""
        if self._board is not None:
            with self._kept_going("its end"):
                self._board.close()
