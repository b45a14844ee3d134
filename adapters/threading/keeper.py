"""One thread a process, which stands in for threads that do not wait.

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
import math
import os
import selectors
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from wsproto_core.connection import BaseConnection

from .waiting import POLLOUT, Alarm, Waiter

__all__ = ["Kept"]

# Seconds between two looks at the connections that have been left.
PERIOD = 0.1


class Kept(BaseConnection, ABC):
    """The keeper's side of a connection. What has an underscore is called with the connection's lock."""

    transport: socket.socket
    _lock: threading.RLock
    _waiters: list[Waiter]
    _blocked: bool
    _reading_paused: bool

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._noted = False
        self._looks = 0  # how often the keeper has looked since somebody has waited
        self._left = False  # whether it is to read
        self._watched = 0  # for what it watches the socket
        self._deadline: Entry | None = None

    @abstractmethod
    def abort(self) -> None: ...

    @abstractmethod
    def _receive(self) -> None: ...

    @abstractmethod
    def _react(self) -> None: ...

    def _note(self) -> None:
        """A thread has left, and nobody waits."""
        if not self._noted and not self.closed:
            self._noted = True
            keeper().note(self)

    def _update(self) -> None:
        """Let the keeper know what it has to do."""
        deadline = self.protocol.deadline()
        if deadline is not None and (self._deadline is None or deadline < self._deadline.when):
            self._let_go()
            self._deadline = keeper().call_at(deadline, self)
        self._watch()

    def _let_go(self) -> None:
        """There is no deadline, or an earlier one."""
        if self._deadline is not None:
            self._deadline.connection = None

    def _watch(self) -> None:
        """Let the keeper watch the socket for what no thread does."""
        events = selectors.EVENT_READ if self._left and not self._reading_paused else 0
        if self._blocked and not any(waiter.events & POLLOUT for waiter in self._waiters):
            events |= selectors.EVENT_WRITE
        if events != self._watched:
            self._watched = events
            keeper().watch(self.transport, events, self)

    def look(self) -> bool:
        """See whether the connection has been left alone; return whether to look again."""
        with self._lock:
            self._looks += 1
            if self._looks == 1:
                return True
            self._noted = False
            self._left = not self._waiters
            self._watch()
            return False

    def socket_ready(self, events: int) -> None:
        """The socket can be read, or written."""
        with self._lock:
            if events & selectors.EVENT_READ and self._left:
                self._receive()
            if events & selectors.EVENT_WRITE:
                self._react()

    def deadline_reached(self) -> None:
        """The time has come to look at the deadline."""
        with self._lock:
            self._deadline = None
            deadline = self.protocol.deadline()
            if deadline is not None and deadline <= time.monotonic():
                # The peer is not to blame for what is there to be read.
                self._receive()
                self.protocol.handle_timeout()
                self._react()
            else:
                self._update()


class Entry:
    """A deadline in the heap; without a connection, it is to be ignored."""

    def __init__(self, when: float, connection: Kept) -> None:
        self.when = when
        self.connection: Kept | None = connection

    def __lt__(self, other: Entry) -> bool:
        return self.when < other.when


class Keeper:
    """Keeps the connections of this process. Its methods may be called by any thread."""

    def __init__(self) -> None:
        # Signal handlers may interrupt a thread that holds it, and close connections.
        self._lock = threading.RLock()
        self._selector = selectors.DefaultSelector()
        self._alarm = Alarm()
        self._selector.register(self._alarm.fd, selectors.EVENT_READ)
        self._rung = False
        self._deadlines: list[Entry] = []
        self._left: list[Kept] = []
        self._next_look = 0.0
        self._sleeps_until = 0.0
        threading.Thread(target=self._run, name="wsproto-core keeper", daemon=True).start()

    def watch(self, sock: socket.socket, events: int, connection: Kept) -> None:
        """Call the connection when its socket is readable or writable; with 0, no longer."""
        with self._lock:
            if not events:
                self._selector.unregister(sock)
            elif sock in self._selector.get_map():
                self._selector.modify(sock, events, connection)
            else:
                self._selector.register(sock, events, connection)

    def call_at(self, when: float, connection: Kept) -> Entry:
        """Call the connection at a time, unless the entry is emptied before."""
        entry = Entry(when, connection)
        with self._lock:
            heapq.heappush(self._deadlines, entry)
            self._wake_by(when)
        return entry

    def note(self, connection: Kept) -> None:
        """A thread has left the connection: look at it now and then."""
        with self._lock:
            if not self._left:
                self._next_look = time.monotonic() + PERIOD
                self._wake_by(self._next_look)
            self._left.append(connection)

    def _wake_by(self, when: float) -> None:
        if when < self._sleeps_until and not self._rung:
            self._rung = True
            self._alarm.ring()

    def _run(self) -> None:
        while True:
            for key, events in self._selector.select(self._patience()):
                if key.data is not None:
                    self._call(key.data, key.data.socket_ready, events)
            with self._lock:
                if self._rung:
                    self._rung = False
                    self._alarm.silence()
            if self._left and self._next_look <= time.monotonic():
                self._look()
            while (connection := self._next_due()) is not None:
                self._call(connection, connection.deadline_reached)

    def _patience(self) -> float | None:
        """Return for how long there is nothing to do; whoever has something earlier wakes us from now on."""
        with self._lock:
            self._sleeps_until = min(
                self._next_look if self._left else math.inf,
                self._deadlines[0].when if self._deadlines else math.inf,
            )
        if self._sleeps_until == math.inf:
            return None
        return max(0.0, self._sleeps_until - time.monotonic())

    def _look(self) -> None:
        with self._lock:
            left, self._left = self._left, []
        stay = [connection for connection in left if self._call(connection, connection.look)]
        with self._lock:
            self._left += stay
            self._next_look = time.monotonic() + PERIOD

    def _next_due(self) -> Kept | None:
        now = time.monotonic()
        with self._lock:
            while self._deadlines and (self._deadlines[0].when <= now or not self._deadlines[0].connection):
                entry = heapq.heappop(self._deadlines)
                if entry.connection is not None:
                    return entry.connection
        return None

    def _call(self, connection: Kept, function: Callable[..., bool | None], *arguments: int) -> bool:
        try:
            return bool(function(*arguments))
        except Exception:
            # It must not be the end of all others.
            connection.logger.exception("internal error")
            with contextlib.suppress(Exception):
                connection.abort()
            return False


_keeper: Keeper | None = None
_lock = threading.RLock()


def keeper() -> Keeper:
    """Return the keeper of this process, which begins with the first connection."""
    global _keeper
    with _lock:
        if _keeper is None:
            _keeper = Keeper()
        return _keeper


def _forget() -> None:
    # In a child process there is no thread but the one that forked, and another may have held the lock.
    global _keeper, _lock
    _keeper, _lock = None, threading.RLock()


os.register_at_fork(after_in_child=_forget)
