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

__all__ = ["KEPT_WAITERS", "POLLIN", "POLLOUT", "RECEIVING", "SENDING", "Alarm", "Waiter", "waiters"]

KEPT_WAITERS = 64
"""How many waiters that nobody uses are kept."""

POLLIN, POLLOUT = select.POLLIN, select.POLLOUT

RECEIVING, SENDING = 1, 2
"""What a thread waits for: a message, or room to send; otherwise 0."""


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
    """What one thread waits by. Its attributes change with the connection's lock only.

    Attributes:
        ready: whether it is over, to be called with the connection's lock.
        kind: RECEIVING, SENDING or 0.
        waiting: whether the thread is in :meth:`poll`, or about to be.
        events: what it waits for at the socket.
    """

    __slots__ = ("_alarm", "_fd", "_poll", "_registered", "events", "kind", "ready", "waiting", "woken")

    ready: Callable[[], object]

    def __init__(self) -> None:
        self._alarm = Alarm()
        self._poll = select.poll()
        self._poll.register(self._alarm.fd, select.POLLIN)
        self._fd = -1
        self._registered = 0
        self.events = 0
        self.kind = 0
        self.waiting = False
        self.woken = False

    def poll(self, fd: int, until: float | None) -> int:
        """Wait, and return what has happened to a descriptor; 0 if woken, or if the time is over.

        Arguments:
            fd: the descriptor; without ``events``, it is left alone.
            until: the time at which to give up.
        """
        events = self.events
        if fd != self._fd or events != self._registered:
            # Nearly always, it is the same as the last time.
            self._register(fd, events)
        if until is None:
            happened = self._poll.poll()
        else:
            happened = self._poll.poll(max(0.0, until - time.monotonic()) * 1000)
        for ready, what in happened:
            if ready == fd:
                return what
        return 0

    def _register(self, fd: int, events: int) -> None:
        if self._registered:
            self._poll.unregister(self._fd)
        if events:
            self._poll.register(fd, events)
        self._fd = fd
        self._registered = events

    def wake(self) -> None:
        """End the waiting of a thread that waits."""
        if self.waiting and not self.woken:
            self.woken = True
            self._alarm.ring()

    def silence(self) -> None:
        """The thread that was woken is back."""
        self.woken = False
        self._alarm.silence()


waiters: list[Waiter] = []
"""Those that nobody uses."""

# The descriptors are shared with the parent process, which would be woken in the child's place.
os.register_at_fork(after_in_child=waiters.clear)
