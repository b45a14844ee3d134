"""How a thread waits for a socket, in such a way that another thread can end it.

``poll`` knows no bound on descriptors, as ``select`` does. Beside the socket, a thread polls a
descriptor of its own, by which it is woken. So there are as many of these as threads that wait, not
as connections; they are used again.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable

__all__ = ["Alarm", "Waiter", "give_back", "take_waiter"]

KEPT = 64
"""Waiters that are kept for later."""


class Alarm:
    """A descriptor that becomes readable when somebody rings."""

    __slots__ = ("_write", "fd")

    def __init__(self) -> None:
        if hasattr(os, "eventfd"):
            self.fd = self._write = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        else:
            self.fd, self._write = os.pipe()

    def ring(self) -> None:
        """Make it readable. Not to be called again before :meth:`silence`."""
        os.write(self._write, b"\1\0\0\0\0\0\0\0")

    def silence(self) -> None:
        """Make it unreadable; it must have been rung."""
        os.read(self.fd, 8)

    def __del__(self) -> None:
        os.close(self.fd)
        if self._write != self.fd:
            os.close(self._write)


class Waiter:
    """What one thread waits by.

    Attributes:
        ready: whether it is over, to be called with the connection's lock.
        receiving: whether it is for a message: then it is best if the same thread reads.
        events: what the thread waits for at the socket.
    """

    __slots__ = ("_alarm", "_fd", "_poll", "_waiting", "_woken", "events", "ready", "receiving")

    ready: Callable[[], object]

    def __init__(self) -> None:
        self._alarm = Alarm()
        self._poll = select.poll()
        self._poll.register(self._alarm.fd, select.POLLIN)
        self._fd = -1
        self.events = 0
        self._waiting = False
        self._woken = False
        self.receiving = False

    def poll(self, fd: int, events: int, until: float | None) -> int:
        """Wait, and return what has happened to a descriptor; 0 if woken, or if the time is over.

        Arguments:
            fd: the descriptor.
            events: what to wait for; with 0, the descriptor is left alone.
            until: the time at which to give up.
        """
        if fd != self._fd or events != self.events:
            # Nearly always, it is the same as the last time.
            if self.events:
                self._poll.unregister(self._fd)
            if events:
                self._poll.register(fd, events)
            self._fd = fd
            self.events = events
        timeout = None if until is None else max(0.0, until - time.monotonic()) * 1000
        for ready, happened in self._poll.poll(timeout):
            if ready == fd:
                return happened
        return 0

    def begin(self) -> None:
        """The thread is about to wait. Called with the connection's lock, like what follows."""
        self._waiting = True

    def wake(self) -> None:
        """End the waiting of a thread that waits."""
        if self._waiting and not self._woken:
            self._woken = True
            self._alarm.ring()

    def end(self) -> None:
        """The thread is back."""
        self._waiting = False
        if self._woken:
            self._woken = False
            self._alarm.silence()


_waiters: list[Waiter] = []


def take_waiter(ready: Callable[[], object], receiving: bool) -> Waiter:
    """Return a waiter that nobody uses."""
    try:
        waiter = _waiters.pop()
    except IndexError:
        waiter = Waiter()
    waiter.ready = ready
    waiter.receiving = receiving
    return waiter


def give_back(waiter: Waiter) -> None:
    """Let others use a waiter."""
    del waiter.ready
    if len(_waiters) < KEPT:
        _waiters.append(waiter)


# The descriptors are shared with the parent process, which would be woken in the child's place.
os.register_at_fork(after_in_child=_waiters.clear)
