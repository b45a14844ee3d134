"""Running a coroutine to its end, on asyncio or on uvloop; and what is logged meanwhile."""

from __future__ import annotations

import asyncio
import io
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from .failures import needs_extra

__all__ = ["INTERRUPTED", "log_to_stderr", "run_coroutine", "stop_signals"]

INTERRUPTED = 128 + signal.SIGINT
"""The exit status after Ctrl-C, as shells report the signal."""

T = TypeVar("T")


def run_coroutine(coroutine: Coroutine[Any, Any, T], *, uvloop: bool = False) -> T:
    """Run a coroutine.

    Args:
        coroutine: what to run.
        uvloop: whether uvloop runs it.

    Raises:
        CommandFailure: uvloop is not installed.
    """
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if uvloop:
        try:
            with needs_extra("--uvloop", "speed"):
                from uvloop import new_event_loop
            factory = new_event_loop
        except BaseException:
            coroutine.close()
            raise
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(coroutine)


def log_to_stderr(level: int, form: str = "%(message)s") -> None:
    """Write the library's log to standard error: its lines are escaped already.

    Args:
        level: the lowest level to write.
        form: the format of a line, as for :func:`logging.basicConfig`.
    """
    logging.basicConfig(stream=_CurrentStderr(), level=level, format=form, force=True)


class _CurrentStderr(io.TextIOBase):
    """Standard error as it is when something is written: a prompt replaces it, to stay the last line."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


@contextmanager
def stop_signals() -> Iterator[asyncio.Future[int]]:
    """Make SIGTERM or SIGINT the result of a future, the exit status; the next SIGINT interrupts."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()

    def stop(status: int) -> None:
        if not stopped.done():
            stopped.set_result(status)
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGTERM, stop, 0)
    loop.add_signal_handler(signal.SIGINT, stop, INTERRUPTED)
    try:
        yield stopped
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)
