"""Sleeping until another thread wakes the sleeping thread, or until a socket is readable.

A thread that waits for its turn, for room or for an end sleeps on a lock of its own, which is a
:class:`Gate`. The thread that receives polls the socket (:class:`Receiver`): ``poll`` has no limit on the
numbers of descriptors, as ``select`` has. Beside the socket it polls a wakeup descriptor, by which other
threads wake it, which is rare. Therefore a process has a small number of wakeup descriptors, and receivers
that share one are woken together.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress

if not hasattr(select, "poll"):
    raise ImportError(
        f"{__package__} needs select.poll(), which this platform does not have (Windows, for example): "
        "use adapters.asyncio, adapters.trio or adapters.anyio"
    )

__all__ = ["POLLIN", "Gate", "Receiver", "Wakeup", "deadline", "time_left"]

POLLIN = select.POLLIN

# Seconds for which a thread that was woken in the place of another thread leaves the descriptor to it.
SHARED_PAUSE = 0.001

# Seconds for which the main thread, and other threads, sleep at most before they check their conditions.
#
# A signal just before the main thread falls asleep does not wake it. For other threads, the limit is that of
# ``poll``.
SECOND, DAY = 1.0, 86400.0


class Wakeup:
    """A descriptor that becomes readable to wake threads; several receivers may share it.

    Attributes:
        fd: the descriptor to poll.
        called: the receivers that were called and have not answered yet.

    Raises:
        OSError: the process has no descriptors left.
    """

    fd = _write_fd = -1

    def __init__(self) -> None:
        self.called: set[Receiver] = set()
        self.fd, self._write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_fd, False)

    def set(self) -> None:
        """Make the descriptor readable."""
        with suppress(BlockingIOError):  # it is readable already
            os.write(self._write_fd, b"\0")

    def clear(self) -> None:
        """Make the descriptor unreadable."""
        with suppress(BlockingIOError):
            os.read(self.fd, 4096)

    def call(self, receiver: Receiver) -> None:
        """Wake a receiver."""
        self.called.add(receiver)
        self.set()

    def answer(self, receiver: Receiver) -> None:
        """Note that a receiver is awake. The descriptor stays readable for others that were called."""
        self.called.discard(receiver)
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


class Gate:
    """A thread that sleeps until it is woken, once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def open(self) -> None:
        """Wake the thread, or keep it from falling asleep."""
        with suppress(RuntimeError):  # it is open already
            self._lock.release()

    def sleep(self, until: float | None) -> bool:
        """Sleep until woken, at most until a time in seconds; return whether the thread was woken."""
        while not self._lock.acquire(timeout=time_left(until)):
            if until is not None and until <= time.monotonic():
                return False
        return True


class Receiver:
    """A thread that receives. :attr:`poll` and :meth:`look` are called without the connection's lock.

    Attributes:
        thread: the thread's identifier.
        asleep: whether the thread sleeps, or is about to.
        woken: whether the thread has been woken since it fell asleep.
        returns: whether the thread has received a whole message, and need not have the lock to sleep again.
        poll: wait, at most a number of milliseconds.
        limit: the most milliseconds to sleep before the thread checks for input.
        fd: the socket that is polled; -1 for none.
        readable: the result of :attr:`poll` if the socket is readable, and nothing else is so.
    """

    def __init__(self, wakeup: Wakeup) -> None:
        self._wakeup = wakeup
        self._poll = select.poll()
        self._poll.register(wakeup.fd, POLLIN)
        self.poll = self._poll.poll
        self.thread = threading.get_ident()
        self.limit = time_left(None) * 1000
        self.asleep = self.woken = self.returns = False
        self.fd = -1
        self.readable: list[tuple[int, int]] = []

    def watch(self, fd: int) -> None:
        """Poll a socket from now on; -1 for none."""
        if fd != self.fd:
            if self.fd >= 0:
                self._poll.unregister(self.fd)
            if fd >= 0:
                self._poll.register(fd, POLLIN)
            self.fd = fd
            self.readable = [(fd, POLLIN)]

    def look(self, happened: list[tuple[int, int]]) -> int:
        """Return the events of the socket in a result of :attr:`poll`, or 0."""
        for ready, events in happened:
            if ready == self.fd:
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
            self._wakeup.call(self)
            self.woken = True

    def answer(self) -> None:
        """Note that the thread is awake."""
        self.asleep = False
        if self.woken:
            self._wakeup.answer(self)
            self.woken = False


def time_left(until: float | None) -> float:
    """Return the seconds for which this thread may sleep: until a time, or for ever if that is ``None``."""
    limit = SECOND if threading.get_ident() == threading.main_thread().ident else DAY
    return limit if until is None else max(0.0, min(until - time.monotonic(), limit))


def deadline(timeout: float | None) -> float | None:
    """Return the time at which a timeout in seconds ends; ``None`` without a timeout."""
    return None if timeout is None else time.monotonic() + timeout
