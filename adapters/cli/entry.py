"""The way in and out: which command runs, and its exit status.

===  ======================================================
  0  success: the connection was closed normally
  1  failure, with one line on standard error
  2  wrong usage
130  interrupted (Ctrl-C), as a shell reports SIGINT
141  nobody reads the output, as a shell reports SIGPIPE
===  ======================================================
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from wsproto_core.exceptions import WebSocketException

from .arguments import make_parser
from .event_loop import INTERRUPTED
from .failures import CommandFailure, describe

__all__ = ["main"]

NOBODY_READS = 128 + 13
"""Windows has no SIGPIPE."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the arguments of the command line; ``None`` for those of the process.

    Returns:
        The exit status.

    Raises:
        SystemExit: wrong usage (2), or help was asked for (0).
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    parsed = make_parser().parse_args(arguments)
    try:
        return _run(parsed, arguments)
    except BrokenPipeError:
        # What Python still has to write at its end goes nowhere, without another error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return NOBODY_READS
    except (CommandFailure, WebSocketException, OSError) as error:
        print(f"wsproto-core {parsed.command}: {describe(error)}", file=sys.stderr)
        return error.status if isinstance(error, CommandFailure) else 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(parsed: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Import a command, and nothing of the others, and run it."""
    if parsed.command == "connect":
        from .connect_command import run_connect

        return run_connect(parsed)
    if parsed.command == "bench":
        from .bench_command import run_bench

        return run_bench(parsed)
    from .serve_command import run_serve

    return run_serve(parsed, arguments)
