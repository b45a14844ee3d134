"""The command ``bench``: the rate and the latencies of a server that echoes."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .arguments import connect_options
from .event_loop import log_to_stderr, run_coroutine
from .failures import CommandFailure, needs_extra
from .load import Load, run_load
from .report import make_report, render

__all__ = ["run_bench"]


def run_bench(parsed: argparse.Namespace) -> int:
    """Run the command; return the exit status.

    Raises:
        CommandFailure: an argument cannot be used, something is not installed, or the server does not echo.
        WebSocketException, OSError: connecting failed.
    """
    log_to_stderr(logging.DEBUG if parsed.verbose else logging.WARNING)
    options = connect_options(parsed)
    load = Load(
        connections=parsed.connections,
        depth=parsed.depth,
        size=parsed.size,
        binary=parsed.binary,
        duration=parsed.duration,
        warmup=parsed.warmup,
        answer_timeout=parsed.answer_timeout,
    )
    if parsed.plot is not None:
        # Before minutes of measuring.
        with needs_extra("--plot"):
            from .plot import write_plot
    with _progress(load, shown=sys.stderr.isatty() and not parsed.json) as progress:
        result = run_coroutine(run_load(parsed.uri, options, load, progress), uvloop=parsed.uvloop)
    if not result.latencies.count:
        raise CommandFailure("no message came back while it was measured: a longer --duration may help")
    report = make_report(parsed.uri, load, result)
    if parsed.plot is not None:
        write_plot(parsed.plot, report, result.latencies)
    print(json.dumps(report) if parsed.json else render(report, result.latencies))
    sys.stdout.flush()
    return 0


@contextmanager
def _progress(load: Load, *, shown: bool) -> Iterator[Callable[[float, int], None]]:
    """A progress bar on standard error; yields the function that moves it."""
    if not shown:
        yield lambda seconds, messages: None
        return
    with needs_extra("the progress bar of bench"):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("warm-up", total=load.warmup + load.duration)

        def progress(seconds: float, messages: int) -> None:
            measured = seconds - load.warmup
            rate = f"{messages / measured:,.0f} messages/s" if measured > 0 else "warm-up"
            bar.update(task, completed=seconds, description=rate)

        yield progress
