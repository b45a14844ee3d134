"""Interrupts a program at each place where CPython looks for signals.

That is where a call of a built-in function has returned and where a function of Python begins (and
where a loop goes round, which is never far from one of these). ``sys.setprofile`` tells of both, and
an exception that it raises comes out at that place, as one that a signal handler raises would.
"""

from __future__ import annotations

import contextlib
import enum
import selectors
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Self

import adapters.session
import adapters.shared
import adapters.threading
import wsproto_core

# What is interrupted, with what it calls of the standard library; not threads' own locks, nor logging.
PLACES = tuple(
    f"{Path(package.__file__ or '').parent}/"
    for package in (adapters.threading, adapters.session, adapters.shared, wsproto_core)
)
CALLED = tuple(str(module.__file__) for module in (contextlib, enum, selectors, socket, ssl))


def is_place(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename.startswith(CALLED):
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(PLACES)


class Interruption:
    """A block that is interrupted once, in this thread.

    Attributes:
        happened: whether the block has had so many places.
    """

    def __init__(self, number: int, handler: Callable[[], Any]) -> None:
        """
        Args:
            number: of the place, from 0 on.
            handler: what is done there, like a signal handler; it may raise.
        """
        self._number = number
        self._handler = handler
        self.happened = False

    def __enter__(self) -> Self:
        self._thread = threading.get_ident()
        sys.setprofile(self._look)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.setprofile(None)

    def _look(self, frame: FrameType, event: str, argument: Any) -> None:
        if event not in ("call", "c_return") or not is_place(frame):
            return
        if self._number == 0:
            sys.setprofile(None)
            self.happened = True
            self._number = -1
            self._handler()
        else:
            self._number -= 1


def interrupt(*args: object) -> None:
    """Do as Ctrl-C does."""
    raise KeyboardInterrupt
