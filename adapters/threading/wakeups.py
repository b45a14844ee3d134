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

if not hasattr(select, "poll"):
    raise ImportError(
        "adapters.threading needs select.poll(), which this platform does not have (Windows, for example): "
        "use adapters.asyncio, adapters.trio or adapters.anyio"
    )

__all__ = [
    "MESSAGE",
    "OTHER",
    "POLLIN",
    "POLLOUT",
    "ROOM",
    "TURN",
    "Waiter",
    "Wakeup",
    "shared_wakeup",
    "spare_waiters",
]

POLLIN, POLLOUT = select.POLLIN, select.POLLOUT

# The conditions of waiting threads: a message; the turn to send; room in the send queue; any other.
MESSAGE, TURN, ROOM, OTHER = range(4)

# Maximum number of wakeup descriptors of a process for its waiters.
WAKEUPS = 32

# Seconds for which a thread that was woken in the place of another thread leaves the descriptor to it.
SHARED_PAUSE = 0.001

# Seconds for which the main thread, and other threads, sleep at most before they check their conditions.
#
# A signal just before the main thread falls asleep does not wake it. For other threads, the limit is that of
# ``poll``.
SECOND, DAY = 1.0, 86400.0


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
            if other.gone:
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
    """A waiting thread. All methods except :meth:`sleep` are called with the connection's lock.

    Attributes:
        kind: MESSAGE, TURN, ROOM or OTHER.
        thread: the thread's identifier.
        events: the events of the socket to wait for: POLLIN, POLLOUT, both, or 0 to sleep on a lock.
        asleep: whether the thread is in :meth:`sleep`, or about to call it.
        woken: whether the thread has been woken since it fell asleep.
        gone: whether the thread has stopped to wait.
    """

    def __init__(self) -> None:
        self._wakeup = shared_wakeup()
        self._poll = select.poll()
        self._poll.register(self._wakeup.fd, POLLIN)
        self._gate = threading.Lock()
        self._gate.acquire()
        self._fd = self._registered = 0
        self.kind = OTHER
        self.thread = threading.get_ident()
        self.events = 0
        self.asleep = self.woken = self.gone = False

    def sleep(self, fd: int, until: float | None) -> int:
        """Wait until woken.

        Args:
            fd: the socket's descriptor; without ``events``, it is not polled.
            until: the time in seconds at which to give up; ``None`` for no limit.

        Returns:
            The events of the socket, or 0.
        """
        timeout = SECOND if self.thread == _main_thread else DAY
        if until is not None:
            timeout = max(0.0, min(until - time.monotonic(), timeout))
        if not self.events:
            self._gate.acquire(timeout=timeout)
            return 0
        if fd != self._fd or self.events != self._registered:
            # Mostly, descriptor and events are the same as the last time.
            if self._registered:
                self._poll.unregister(self._fd)
            self._poll.register(fd, self.events)
            self._fd, self._registered = fd, self.events
        for ready, happened in self._poll.poll(timeout * 1000):
            if ready == fd:
                return happened
            if not self.woken:
                self._wakeup.answer(self)
                if self._wakeup.called:
                    time.sleep(SHARED_PAUSE)
        return 0

    def wake(self) -> None:
        """End the sleep of the thread."""
        # ``woken`` is set last: an interruption before it only causes a second call.
        if self.asleep and not self.woken:
            if self.events:
                self._wakeup.call(self)
            elif self._gate.locked():
                self._gate.release()
            self.woken = True

    def answer(self) -> None:
        """Note that the thread is awake, or stops to wait."""
        self.asleep = False
        if self.woken:
            if self.events:
                self._wakeup.answer(self)
            else:
                self._gate.acquire(blocking=False)
            self.woken = False


# Waiters that no thread uses.
spare_waiters: list[Waiter] = []

_main_thread = threading.main_thread().ident


def _forget() -> None:
    global _main_thread
    _main_thread = threading.get_ident()
    # A child process shares the descriptors, and would be woken in the place of its parent.
    _wakeups.clear()
    spare_waiters.clear()


os.register_at_fork(after_in_child=_forget)
