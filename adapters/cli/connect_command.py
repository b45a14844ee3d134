"""The command ``connect``: on a terminal, or in a pipe."""

from __future__ import annotations

import argparse
import logging
import os

from .event_loop import log_to_stderr, run_coroutine
from .failures import needs_extra
from .piped import run_piped

__all__ = ["run_connect"]


def run_connect(parsed: argparse.Namespace) -> int:
    """Run the command; return the exit status.

    Raises:
        CommandFailure: an argument cannot be used, or something is not installed.
        WebSocketException, OSError: connecting failed, or the connection did.
    """
    run = run_piped
    # With --binary, input is data and not typed.
    if os.isatty(0) and os.isatty(1) and not parsed.binary:
        with needs_extra("connect on a terminal"):
            from .terminal import run_terminal as run
    log_to_stderr(logging.DEBUG if parsed.verbose else logging.WARNING)
    run_coroutine(run(parsed))
    return 0
