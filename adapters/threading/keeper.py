"""One thread a process, which stands in for those who do not wait.

It reads connections that nobody has waited for lately, so that pings are answered and the end is
seen; writes what did not fit into a socket; and meets the deadlines of all connections.

It costs little while threads wait themselves, because it does not look at each message. A
connection that a thread leaves is noted once; only while some are noted does the keeper wake
now and then to see which of them have been left alone. It steps aside as soon as a thread comes
back. Deadlines are in a heap, one a connection, and lie there until their time: only a nearer one
than all before makes a connection call.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .waiting import Alarm

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Entry", "Keeper", "keeper"]

PERIOD = 0.1
"""Seconds between two looks at the connections that have been left."""


class Entry:
    """A deadline in the heap. Without a connection, it is to be ignored."""

    __slots__ = ("connection", "when")

    def __init__(self, when: float, connection: Connection) -> None:
        self.when = when
        self.connection: Connection | None = connection

    def __lt__(self, other: Entry) -> bool:
        return self.when < other.when


class Keeper:
    """Keeps the connections of this process. All but :meth:`_run` may be called by any thread."""

    def __init__(self) -> None:
        # Signal handlers may interrupt a thread that holds it, and close connections.
        self._lock = threading.RLock()
        self._selector = selectors.DefaultSelector()
        self._alarm = Alarm()
        self._selector.register(self._alarm.fd, selectors.EVENT_READ)
        self._rung = False
        self._deadlines: list[Entry] = []
        self._left: list[Connection] = []
        self._next_look = 0.0
        self._sleeps_until = 0.0
        threading.Thread(target=self._run, name="wsproto-core keeper", daemon=True).start()

    def watch(self, sock: socket.socket, events: int, connection: Connection) -> None:
        """Call the connection when its socket is readable or writable; with 0, no longer."""
        with self._lock:
            if not events:
                self._selector.unregister(sock)
                return
            try:
                self._selector.modify(sock, events, connection)
            except KeyError:
                self._selector.register(sock, events, connection)

    def call_at(self, when: float, connection: Connection) -> Entry:
        """Call the connection when its deadline has come; until then, this can be taken back."""
        entry = Entry(when, connection)
        with self._lock:
            heapq.heappush(self._deadlines, entry)
            if when < self._sleeps_until:
                self._wake()
        return entry

    def note(self, connection: Connection) -> None:
        """A thread has left the connection: see whether it comes back."""
        with self._lock:
            self._left.append(connection)
            if len(self._left) == 1:
                self._next_look = time.monotonic() + PERIOD
                if self._next_look < self._sleeps_until:
                    self._wake()

    def _wake(self) -> None:
        if not self._rung:
            self._rung = True
            self._alarm.ring()

    def _run(self) -> None:
        while True:
            for key, events in self._selector.select(self._patience()):
                if key.data is None:
                    with self._lock:
                        self._rung = False
                        self._alarm.silence()
                else:
                    self._call(key.data, key.data.socket_ready, events)
            if self._left and self._next_look <= time.monotonic():
                self._look()
            while (connection := self._next_due()) is not None:
                self._call(connection, connection.deadline_reached)

    def _patience(self) -> float | None:
        """Return how long nothing has to be done; from now on, whoever has a nearer deadline wakes us."""
        with self._lock:
            times = [self._next_look] if self._left else []
            if self._deadlines:
                times.append(self._deadlines[0].when)
            self._sleeps_until = min(times, default=float("inf"))
            return max(0.0, self._sleeps_until - time.monotonic()) if times else None

    def _look(self) -> None:
        with self._lock:
            left, self._left = self._left, []
        stay = [connection for connection in left if self._call(connection, connection.look)]
        with self._lock:
            self._left += stay
            self._next_look = time.monotonic() + PERIOD

    def _next_due(self) -> Connection | None:
        with self._lock:
            while self._deadlines:
                entry = self._deadlines[0]
                if entry.connection is not None and entry.when > time.monotonic():
                    break
                heapq.heappop(self._deadlines)
                if entry.connection is not None:
                    return entry.connection
        return None

    def _call(self, connection: Connection, function: Callable[..., object], *arguments: Any) -> object:
        """Call a connection, whose errors must not be those of all others."""
        try:
            return function(*arguments)
        except Exception:
            connection.logger.exception("internal error")
            with contextlib.suppress(Exception):
                connection.abort()
            return None


_keeper: Keeper | None = None
_lock = threading.RLock()


def keeper() -> Keeper:
    """Return the keeper of this process, which begins with the first connection."""
    global _keeper
    if _keeper is None:
        with _lock:
            if _keeper is None:
                _keeper = Keeper()
    return _keeper


def _forget() -> None:
    # In a child process there are no threads but the one that forked; perhaps another held the lock.
    global _keeper, _lock
    _keeper = None
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_forget)
