"""Work as a number that is the same on any machine: how many Python functions are called."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Calls:
    """How many functions have been called.

    Attributes:
        count: their number.
    """

    def __init__(self) -> None:
        self.count = 0

    def _called(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self.count += 1


@contextmanager
def counting() -> Iterator[Calls]:
    """Count the functions that this thread calls within the block, whatever its tasks do meanwhile."""
    calls = Calls()
    sys.setprofile(calls._called)
    try:
        yield calls
    finally:
        sys.setprofile(None)
