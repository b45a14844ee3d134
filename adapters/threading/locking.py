"""The lock of a connection, which is safe from signal handlers.

Python runs signal handlers in the main thread, between two instructions, wherever that thread is. A
handler may call the methods of a connection, and it may raise, as Ctrl-C does. Therefore:

1. Every change of a connection is made by :meth:`Guarded._locked`, which has three conditions. FREE: no
   thread has the lock. BUSY: a thread has the lock. If that is the calling thread, a signal handler has
   interrupted the thread, and the call of the handler is done when the thread has released the lock.
   BROKEN: an exception came in the middle of a change. It is not known then how far the state machine
   has got and which bytes were written. So the stream is closed, and nothing is written any more.
2. The lock is taken by ``with`` only. CPython looks for signals when a call of a function has returned,
   when a function begins, and when a loop goes round, but not between a built-in ``__enter__`` and the
   block. So no lock stays held.
3. Assignments to attributes need no lock against signals, if no call is between them.

A thread that waits does not have the lock, and an interruption does no harm to the connection.
"""

from __future__ import annotations

import sys
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from wsproto_core.exceptions import ConcurrencyError, WebSocketException

from ..shared.connection import BaseConnection
from ..shared.logs import describe

__all__ = ["REFUSALS", "Guarded", "Interrupted", "interrupts_a_change"]

T = TypeVar("T")

# Exceptions of a call that was refused and has changed nothing. Others are an interruption or a bug.
REFUSALS = (WebSocketException, TypeError, ValueError, RuntimeError)

FREE, BUSY, BROKEN = range(3)

# Seconds for which a thread may take the lock again and again while other threads wait for it.
PATIENCE = 0.005

# Seconds for which the thread then leaves the lock to other threads.
PAUSE = 0.001


class Interrupted(ConcurrencyError):
    """A signal handler has interrupted its own thread in the middle of a change."""

    def __init__(self) -> None:
        super().__init__(
            "a signal handler cannot wait for a connection while it interrupts a call that is at work on it: "
            "set a flag in the handler, and wait outside of it"
        )


class Guarded(BaseConnection, ABC):
    """A connection whose lock is safe from interruptions: see the beginning of this module."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # A signal handler may interrupt a thread that has the lock.
        self._lock = threading.RLock()
        self._condition = FREE
        self._interruption = ""  # the class of the exception that has broken the connection
        self._deferred: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._contenders: deque[float] = deque()  # when the threads that wait for the lock began to wait

    @abstractmethod
    def _tear_down(self) -> None:
        """Close the stream of a broken connection, without use of its state; may be called more than once."""

    @abstractmethod
    def abort(self) -> None: ...

    def _locked(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function of this connection with its lock.

        Raises:
            Interrupted: this thread is in such a call already, which a signal handler has interrupted.
        """
        since = 0.0
        entered = False
        try:
            if self._condition:
                since = time.monotonic()
                self._contenders.append(since)
            with self._lock:
                if self._condition == BUSY:
                    raise Interrupted
                if self._condition:
                    # It stays broken until this is done.
                    self._tear_down()
                entered = True
                self._condition = BUSY
                try:
                    result = function(*arguments)
                except REFUSALS:
                    self._condition = FREE
                    raise
                except BaseException as error:
                    self._condition = BROKEN
                    self._interruption = type(error).__name__
                    raise
                self._condition = FREE
        finally:
            if since:
                self._contenders.remove(since)
            # After the lock: calls that were deferred until then were made, or are seen here.
            if entered and (self._condition or self._deferred or self._contenders):
                self._after_unlocking()
        return result

    def _after_unlocking(self) -> None:
        """Make the calls that were deferred, and leave the lock to other threads."""
        while self._deferred or self._condition == BROKEN:
            self._locked(self._call_deferred)
        # Python's locks have no queue: a thread that is running gets the lock before threads that sleep.
        with suppress(IndexError):
            if not self._condition and time.monotonic() - self._contenders[0] > PATIENCE:
                time.sleep(PAUSE)

    def _call_deferred(self) -> None:
        while self._deferred:
            function, arguments = self._deferred.popleft()
            try:
                function(*arguments)
            except REFUSALS as error:
                self.logger.debug("a call was refused that had been put off: %s", describe(error))

    def _locked_or_deferred(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function with the lock: at once, or when the interrupted call has released the lock."""
        try:
            self._locked(function, *arguments)
        except Interrupted:
            self._deferred.append((function, arguments))

    def _locked_or_left(self, function: Callable[..., object], *arguments: Any) -> bool:
        """Call a function with the lock, or leave the call to the thread that has the lock.

        This is for the background thread, which no signal interrupts. An error ends this connection only.

        Returns:
            Whether the function was called. If not, the caller has to try again: the other thread may have
            been about to release the lock.
        """
        if not self._lock.acquire(blocking=False):
            if not self._deferred:
                self._deferred.append((function, arguments))
            return False
        try:
            self._locked(function, *arguments)
        except Exception:
            self.logger.exception("internal error")
            with suppress(Exception):
                self.abort()
        finally:
            self._lock.release()
        return True


def interrupts_a_change() -> bool:
    """Whether the caller is a signal handler that has interrupted a call with the lock of any connection."""
    frame = sys._getframe().f_back
    while frame is not None and frame.f_code is not Guarded._locked.__code__:
        frame = frame.f_back
    return frame is not None
