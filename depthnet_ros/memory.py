"""The C library's allocator, set for a process that allocates and frees images at camera rate."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3) in glibc
_KEEP_BYTES = 64 << 20
_LARGEST_BYTES = 32 << 20  # glibc takes no more


def keep_freed_memory() -> bool:
    """Let freed images be used again instead of going back to the system, frame by frame.

    By default glibc maps every block of more than 128 KB anew and gives it back when it is freed; each of its pages is
    then zeroed and faulted in again for the next image, which takes longer than filling it. Threads that allocate
    later profit as well. Call it once, early. Returns whether it took effect; elsewhere than on glibc it does nothing.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_BYTES)) and bool(mallopt(_TRIM_THRESHOLD, _KEEP_BYTES))
