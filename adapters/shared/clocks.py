"""The clock of an event loop of asyncio, for adapters that run on one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["loop_clock"]


def loop_clock(loop: Any) -> Callable[[], float]:
    """Return a clock that shows the time of the loop's timers and is precise enough for latencies.

    Args:
        loop: an event loop of asyncio or uvloop.
    """
    # No module here imports a runtime; there is no loop without this one.
    base: Any = sys.modules["asyncio"].BaseEventLoop
    # uvloop's clock has milliseconds, and stands still while callbacks run. It shows the same time.
    if not isinstance(loop, base):
        return time.monotonic
    # A loop may have a clock of its own, such as that of virtual time.
    return time.monotonic if getattr(loop.time, "__func__", None) is base.time else loop.time
