"""Sleeping until a socket is ready or another thread wakes the sleeping thread.

``poll`` has no limit on the numbers of descriptors, as ``select`` has. Beside the socket, a thread polls a
wakeup descriptor, by which other threads wake it. A process has a small number of wakeup descriptors: when
more threads poll, threads share descriptors and are woken together. A thread that does not poll the socket
sleeps on a lock of its own.
"""

from __future__ import annotations

import itertools
import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

if not hasattr(select, "poll"):
    raise ImportError(
        "adapters.threading needs select.poll(), which this platform does not have (Windows, for example): "
        "use adapters.asyncio, adapters.trio or adapters.anyio"
    )

__all__ = ["MESSAGE", "OTHER", "POLLIN", "ROOM", "TURN", "Waiter", "Wakeup", "shared_wakeup"]

POLLIN = select.POLLIN

# The conditions of waiting threads: a message; the turn to send; room in the send queue; any other.
MESSAGE, TURN, ROOM, OTHER = range(4)

# Maximum number of wakeup descriptors of a process for its waiters.
WAKEUPS = 32

# Seconds for which a thread that was woken in the place of another thread leaves the descriptor to it.
SHARED_PAUSE = 0.001

# Milliseconds for which the main thread, and other threads, sleep at most before they check their conditions.
#
# A signal just before the main thread falls asleep does not wake it. For other threads, the limit is that of
# ``poll``.
SECOND, DAY = 1e3, 86400e3


class Wakeup:
    """A descriptor that becomes readable to wake threads; several waiters may share it.

    Attributes:
        fd: the descriptor to poll.
        called: the waiters that were called and have not answered yet.

    Raises:
        OSError: the process has no descriptors left.
    """

    fd = _write_fd = -1

    def __init__(self) -> None:
        self.called: set[Waiter] = set()
        if hasattr(os, "eventfd"):
            self.fd = self._write_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        else:
            self.fd, self._write_fd = os.pipe()
            os.set_blocking(self.fd, False)
            os.set_blocking(self._write_fd, False)

    def set(self) -> None:
        """Make the descriptor readable."""
        with suppress(BlockingIOError):  # it is readable already
            os.write(self._write_fd, b"\1\0\0\0\0\0\0\0")

    def clear(self) -> None:
        """Make the descriptor unreadable."""
        with suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def call(self, waiter: Waiter) -> None:
        """Wake a waiter."""
        self.called.add(waiter)
        self.set()

    def answer(self, waiter: Waiter) -> None:
        """Note that a waiter is awake. The descriptor stays readable for other waiters that were called."""
        self.called.discard(waiter)
        for other in tuple(self.called):
            if not other.asleep:
                self.called.discard(other)
        self.clear()
        if self.called:
            self.set()

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # At the end of the interpreter, modules lose their names before their objects go.
        for fd in {self.fd, self._write_fd} - {-1}:
            close(fd)


_wakeups: list[Wakeup] = []
_numbers = itertools.count()


def shared_wakeup() -> Wakeup:
    """Return one of the wakeup descriptors of the process; with few waiters, each has its own.

    Raises:
        OSError: there is none yet, and none can be made.
    """
    number = next(_numbers) % WAKEUPS
    if number >= len(_wakeups):
        try:
            _wakeups.append(Wakeup())
        except OSError:
            # The process has no descriptors left: waiters share the existing ones.
            if not _wakeups:
                raise
    return _wakeups[number % len(_wakeups)]


class Waiter:
    """A waiting thread. Its methods are called with the connection's lock, but for ``sleep`` and ``look``.

    Attributes:
        kind: MESSAGE, TURN, ROOM or OTHER.
        thread: the thread's identifier.
        polls: whether the thread polls the socket for bytes to read; otherwise it sleeps on a lock.
        asleep: whether the thread sleeps, or is about to.
        woken: whether the thread has been woken since it fell asleep.
        result: the result of the wait; ``None`` before there is one.
        poll: wait, at most a number of milliseconds, if :attr:`polls`.
        limit: the most milliseconds to sleep before the thread checks its condition.
        readable: the result of :attr:`poll` if the socket is readable, and nothing else is so.
    """

    def __init__(self, kind: int = OTHER) -> None:
        self._wakeup = shared_wakeup()
        self._poll = select.poll()
        self._poll.register(self._wakeup.fd, POLLIN)
        self.poll = self._poll.poll
        self._gate = threading.Lock()
        self._gate.acquire()
        self._fd = -1
        self.kind = kind
        self.thread = threading.get_ident()
        self.limit = SECOND if self.thread == _main_thread else DAY
        self.polls = self.asleep = self.woken = False
        self.result: Any = None
        self.readable: list[tuple[int, int]] = []

    def watch(self, fd: int) -> None:
        """Poll a socket from now on; -1 for none."""
        self.polls = fd >= 0
        if self.polls and fd != self._fd:
            if self._fd >= 0:
                self._poll.unregister(self._fd)
            self._poll.register(fd, POLLIN)
            self._fd = fd
            self.readable = [(fd, POLLIN)]

    def sleep(self, until: float | None) -> int:
        """Wait until woken, at most until a time in seconds; return the events of the socket, or 0."""
        limit = self.limit
        if until is not None:
            limit = max(0.0, min((until - time.monotonic()) * 1000, limit))
        if self.polls:
            return self.look(self.poll(limit))
        self._gate.acquire(timeout=limit / 1000)
        return 0

    def look(self, happened: list[tuple[int, int]]) -> int:
        """Return the events of the socket in a result of :attr:`poll`, or 0."""
        for ready, events in happened:
            if ready == self._fd:
                return events
            if not self.woken:
                self._wakeup.answer(self)
                if self._wakeup.called:
                    time.sleep(SHARED_PAUSE)
        return 0

    def wake(self) -> None:
        """End the sleep of the thread."""
        # ``woken`` is set last: an interruption before it only causes a second call.
        if self.asleep and not self.woken:
            if self.polls:
                self._wakeup.call(self)
            elif self._gate.locked():
                self._gate.release()
            self.woken = True

    def answer(self) -> None:
        """Note that the thread is awake, or stops to wait."""
        self.asleep = False
        if self.woken:
            if self.polls:
                self._wakeup.answer(self)
            else:
                self._gate.acquire(blocking=False)
            self.woken = False


_main_thread = threading.main_thread().ident


def _forget() -> None:
    global _main_thread
    _main_thread = threading.get_ident()
    # A child process shares the descriptors, and would be woken in the place of its parent.
    _wakeups.clear()


os.register_at_fork(after_in_child=_forget)
