"""What the commands of training have in common: an error is one line, Ctrl-C no traceback, and warnings are shown."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable

from depthnet_ros.errors import DepthNetError

FAILED = 1
INTERRUPTED = 130
"""What a shell reports of a command that SIGINT ended."""


def command(continues: bool = False) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Decorator of a ``main(argv)`` that returns its exit status.

    A DepthNetError is printed to standard error and gives ``FAILED``; Ctrl-C gives ``INTERRUPTED``. A wrong command
    line ends in argparse, with status 2. ``continues``: the same command goes on where it was, which is said at Ctrl-C.
    """

    def decorate(main: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(main)
        def guarded(argv: list[str] | None = None) -> int:
            logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
            try:
                return main(argv)
            except DepthNetError as error:
                print(f"error: {error}", file=sys.stderr)
                return FAILED
            except KeyboardInterrupt:
                advice = "; run the same command again to go on" if continues else ""
                print(f"interrupted{advice}", file=sys.stderr)
                return INTERRUPTED

        return guarded

    return decorate
