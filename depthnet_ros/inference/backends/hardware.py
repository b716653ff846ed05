"""What the processor offers to this process."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from ctypes.util import find_library
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

PIP_ONNXRUNTIME_GPU = 'pip uninstall onnxruntime; pip install "onnxruntime-gpu[cuda,cudnn]"'
PIP_TENSORRT = f'{PIP_ONNXRUNTIME_GPU} "tensorrt-cu13<11"'
"""onnxruntime-gpu of PyPI, 1.31, is linked with CUDA 13 and version 10 of TensorRT."""


def usable_cores() -> int:
    """Physical cores that this process may use: its affinity, without second threads of a core, within its quota."""
    if not hasattr(os, "sched_getaffinity"):  # not on Linux
        return os.cpu_count() or 1
    logical = os.sched_getaffinity(0)
    physical = {core_of(cpu) for cpu in logical}
    quota = quota_of(_readable(Path("/proc/self/cgroup")))
    return max(1, min(len(physical), math.ceil(quota) if quota < len(logical) else len(logical)))


def core_of(cpu: int, devices: Path = Path("/sys/devices/system/cpu")) -> str:
    """The CPUs of this one's core; its number would not tell: on ARM each cluster counts its cores from zero."""
    return _readable(devices / f"cpu{cpu}/topology/thread_siblings_list").strip() or str(cpu)


def quota_of(groups: str, root: Path = Path("/sys/fs/cgroup")) -> float:
    """CPUs that control groups grant (Docker's ``--cpus``, systemd's ``CPUQuota``); infinite without a limit.

    Args:
        groups: what ``/proc/self/cgroup`` says: a group of version 2 has number 0, those of version 1 have names.
        root: where they are mounted.
    """
    granted = math.inf
    for line in groups.splitlines():
        number, names, path = line.split(":", 2)
        if number != "0" and "cpu" not in names.split(","):
            continue
        top = root if number == "0" else root / "cpu"
        group = top / path.strip("/")
        for folder in (group, *(above for above in group.parents if above.is_relative_to(top))):
            both = _readable(folder / "cpu.max") if number == "0" else _version_1(folder)
            with suppress(ValueError):  # "max", or -1: no limit here
                quota, period = (int(value) for value in both.split())
                granted = min(granted, quota / period) if quota > 0 else granted
    return granted


def _version_1(folder: Path) -> str:
    return " ".join(_readable(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))


@lru_cache(maxsize=1)
def _cpuinfo() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def cpu_name() -> str:
    """The processor's name as it gives it."""
    info = _cpuinfo()
    return info.get("model name") or info.get("Model") or info.get("CPU part") or "unknown CPU"


def cpu_has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16 itself; without, bfloat16 is slower than float32."""
    return bool(_cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"})


def cpu_has_int8_tiles() -> bool:
    """Whether the processor multiplies 8-bit matrices in units of their own (AMX)."""
    return "amx_int8" in _cpu_flags()


def _cpu_flags() -> set[str]:
    return set((_cpuinfo().get("flags") or _cpuinfo().get("Features") or "").split())


def nvidia_gpus() -> str:
    """The NVIDIA GPUs that this process may use, as the driver names them; empty where there is none."""
    if not has_nvidia_gpu():
        return ""
    sheets = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    names = [line for sheet in sheets for line in _readable(sheet).splitlines() if line.startswith("Model:")]
    return "; ".join((*names, f"visible: {os.environ.get('CUDA_VISIBLE_DEVICES', 'all')}"))


def _readable(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def has_tensorrt() -> bool:
    """Whether TensorRT's libraries are installed: by pip, by the system, or where LD_LIBRARY_PATH says."""
    if find_spec("tensorrt") or find_spec("tensorrt_libs") or find_library("nvinfer"):
        return True
    folders = filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":"))
    return any(path for folder in folders for path in Path(folder).glob("libnvinfer.so*"))


def has_nvidia_gpu() -> bool:
    """Whether an NVIDIA driver is loaded; cheap, and loads no library."""
    return Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidia0").exists() or Path("/dev/nvmap").exists()
