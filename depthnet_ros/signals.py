"""What ends a command ends it in order, with what it has unpacked and what it is writing put away."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM and SIGHUP (a terminal that is closed; not under nohup) end the block as Ctrl-C does, by
    KeyboardInterrupt. For the main thread.
    """
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def held_back() -> Iterator[None]:
    """What would raise KeyboardInterrupt in the block raises it at its end: of one within its conversion of a message
    rclpy makes some RuntimeError. For the main thread.
    """
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    interrupting = [n for n in numbers if signal.getsignal(n) is signal.default_int_handler]
    try:
        for number in interrupting:
            signal.signal(number, lambda number, frame: came.append(number))
        yield
    finally:
        for number in interrupting:
            signal.signal(number, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt
