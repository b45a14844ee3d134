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

__all__ = ["POLLIN", "POLLOUT", "RECEIVING", "SENDING", "SPARE", "Alarm", "Waiter", "spare"]

POLLIN, POLLOUT = select.POLLIN, select.POLLOUT

# What a thread waits for: a message, or room to send. Otherwise 0.
RECEIVING, SENDING = 1, 2

# How many waiters are kept that nobody uses.
SPARE = 64


class Alarm:
    """A descriptor that becomes readable when somebody rings."""

    def __init__(self) -> None:
        if hasattr(os, "eventfd"):
            self.fd = self._write = os.eventfd(0)
        else:
            self.fd, self._write = os.pipe()

    def ring(self) -> None:
        """Make it readable; not to be called again before :meth:`silence`."""
        os.write(self._write, b"\1\0\0\0\0\0\0\0")

    def silence(self) -> None:
        """Make it unreadable again."""
        os.read(self.fd, 8)

    def __del__(self) -> None:
        for fd in {self.fd, self._write}:
            os.close(fd)


class Waiter:
    """What one thread waits by. All but :meth:`poll` happens with the connection's lock.

    Attributes:
        ready: whether what the thread waits for is so.
        kind: RECEIVING, SENDING or 0.
        waiting: whether the thread is in :meth:`poll`, or about to be.
        events: what it waits for at the socket.
    """

    __slots__ = ("_alarm", "_fd", "_poll", "_registered", "events", "kind", "ready", "waiting", "woken")

    ready: Callable[[], object]

    def __init__(self) -> None:
        self._alarm = Alarm()
        self._poll = select.poll()
        self._poll.register(self._alarm.fd, POLLIN)
        self._fd = self._registered = self.events = self.kind = 0
        self.waiting = self.woken = False

    def poll(self, fd: int, until: float | None) -> int:
        """Wait, and return what has happened to a socket; 0 if woken, or if the time is over.

        Arguments:
            fd: the socket; without ``events``, it is left alone.
            until: the time at which to give up.
        """
        if fd != self._fd or self.events != self._registered:
            # Mostly it is the same as the last time.
            if self._registered:
                self._poll.unregister(self._fd)
            if self.events:
                self._poll.register(fd, self.events)
            self._fd, self._registered = fd, self.events
        timeout = None if until is None else max(0.0, until - time.monotonic()) * 1000
        for ready, happened in self._poll.poll(timeout):
            if ready == fd:
                return happened
        return 0

    def wake(self) -> None:
        """End the waiting of a thread that waits."""
        if self.waiting and not self.woken:
            self.woken = True
            self._alarm.ring()

    def silence(self) -> None:
        """The thread that was woken is back."""
        self.woken = False
        self._alarm.silence()


spare: list[Waiter] = []

# A child process shares the descriptors: it could be woken in its parent's place.
os.register_at_fork(after_in_child=spare.clear)
