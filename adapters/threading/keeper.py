"""One thread a process, which stands in for threads that do not wait.

It reads connections that nobody has waited for lately, so that pings are answered and the end is
seen; writes what did not fit into a socket; and meets the deadlines of all connections.

It costs little while threads wait themselves, because it does not look at each message. A
connection that a thread leaves is noted once; only while some are noted does the keeper wake
now and then to see which of them have been left alone. It steps aside as soon as a thread comes
back. Deadlines are in a heap, one a connection, and lie there until their time: only a nearer one
than all before makes a connection call.

One connection never holds up another. The keeper waits for nobody's lock: what it wants of a
connection that somebody works on is done by that one, or tried again. It takes a bounded amount of
bytes from each, and looks at the deadlines of all in between. Nor does anybody wait for the keeper:
what others want of it is in a queue to which they add, and has no lock.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import math
import os
import selectors
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from .waiting import Alarm, Waiter, Waiting, shared_alarm

__all__ = ["Kept"]

# Seconds between two looks at the connections that have been left.
PERIOD = 0.1

# Seconds after which a connection is tried again that somebody works on.
BUSY_PERIOD = 0.001

# Seconds for which answers wait for others that are to be written with them.
GATHERING = 0.01

# Bytes read at once for a connection that nobody waits for.
SHARE = 2**14


class Kept(Waiting, ABC):
    """The keeper's side of a connection. What has an underscore is called with the connection's lock."""

    transport: socket.socket

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._noted = False
        self._looks = 0  # how often the keeper has looked since somebody has waited
        self._left = False  # whether it is to read
        self._watched = 0  # for what it watches the socket
        self._deadline: Entry | None = None
        self._writes_soon = False  # whether it is to write what waits for more

    @abstractmethod
    def abort(self) -> None: ...

    @abstractmethod
    def _write_gathered(self) -> None: ...

    @abstractmethod
    def _receive(self, waiter: Waiter | None = None, size: int = ...) -> None: ...

    def _note(self) -> None:
        """A thread has left, and nobody waits."""
        if not self._noted and not self.closed:
            self._noted = True
            keeper().note(self)

    def _come_back(self) -> None:
        """A thread waits again."""
        self._looks = 0
        self._left = False

    def _update(self) -> None:
        """Let the keeper know what it has to do."""
        deadline = self.protocol.deadline()
        if deadline is not None and (self._deadline is None or deadline < self._deadline.when):
            self._let_go()
            self._deadline = keeper().call_at(deadline, self)
        self._watch()

    def _write_soon(self) -> None:
        """Let the keeper write what waits for more, unless that is done before."""
        if not self._writes_soon:
            self._writes_soon = True
            keeper().call_at(time.monotonic() + GATHERING, self)

    def _let_go(self) -> None:
        """There is no deadline, or an earlier one."""
        entry, self._deadline = self._deadline, None
        if entry is not None:
            keeper().drop(entry)

    def _watch(self) -> None:
        """Let the keeper watch the socket for what no thread does."""
        events = selectors.EVENT_READ if self._left and not self._reading_paused else 0
        if self._blocked and self._writer is None:
            events |= selectors.EVENT_WRITE
        if events != self._watched:
            before, self._watched = self._watched, events
            keeper().watch(self._fd, before, events, self)

    def _unwatch(self) -> None:
        """The socket is about to be closed."""
        # After an interruption it may be watched, whatever is noted here.
        self._watched = 0
        keeper().forget(self._fd, self)

    def look(self) -> bool:
        """See whether the connection has been left alone; return whether to look again."""
        return not self._locked_or_left(self._look) or self._noted

    def _look(self) -> None:
        self._looks += 1
        if self._looks > 1:
            self._noted = False
            self._left = not self._waiters
            self._watch()

    def socket_ready(self, events: int) -> bool:
        """The socket can be read, or written; return whether nobody works on the connection."""
        return self._locked_or_left(self._socket_ready, events)

    def _socket_ready(self, events: int) -> None:
        if events & selectors.EVENT_READ and self._left:
            self._receive(None, SHARE)
        if events & selectors.EVENT_WRITE:
            self._react()

    def deadline_reached(self) -> bool:
        """The time has come to look at the deadline; return whether to come again."""
        return not self._locked_or_left(self._meet_deadline)

    def _meet_deadline(self) -> None:
        if self._writes_soon:
            self._writes_soon = False
            self._write_gathered()
        self._let_go()
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

    __slots__ = ("connection", "when")

    def __init__(self, when: float, connection: Kept) -> None:
        self.when = when
        self.connection: Kept | None = connection


class Keeper:
    """Keeps the connections of this process. Its methods without underscore may be called by any thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._alarm = Alarm()
        self._selector.register(self._alarm.fd, selectors.EVENT_READ)
        # Later there may be no descriptors left, and whoever waits needs one of these.
        shared_alarm()
        self._requests: deque[tuple[Callable[..., None], Any]] = deque()
        # Comparing numbers calls nothing that is interrupted.
        self._deadlines: list[tuple[float, int, Entry]] = []
        self._numbers = itertools.count()
        self._dropped = 0  # entries in the heap that are to be ignored
        self._left: list[Kept] = []
        self._next_look = 0.0
        self._sleeps_until = 0.0
        threading.Thread(target=self._run, name="wsproto-core keeper", daemon=True).start()

    # A selector's methods for one socket touch nothing of another one's.

    def watch(self, fd: int, before: int, events: int, connection: Kept) -> None:
        """Call the connection when its socket is readable or writable; with 0, no longer."""
        if not events:
            self._selector.unregister(fd)
        elif before:
            self._selector.modify(fd, events, connection)
        else:
            self._selector.register(fd, events, connection)

    def forget(self, fd: int, connection: Kept) -> None:
        """The socket is about to be closed."""
        key = self._selector.get_map().get(fd)
        if key is not None and key.data is connection:
            self._selector.unregister(fd)

    def call_at(self, when: float, connection: Kept) -> Entry:
        """Call the connection at a time, unless the entry is dropped before."""
        entry = Entry(when, connection)
        self._request(when, self._push, entry)
        return entry

    def drop(self, entry: Entry) -> None:
        """Ignore an entry."""
        entry.connection = None
        self._requests.append((self._drop, entry))

    def note(self, connection: Kept) -> None:
        """A thread has left the connection: look at it now and then."""
        self._request(time.monotonic() + PERIOD, self._add, connection)

    def _request(self, when: float, function: Callable[..., None], argument: Any) -> None:
        self._requests.append((function, argument))
        # It looks at the requests after it has said until when it sleeps.
        if when < self._sleeps_until:
            self._alarm.ring()

    # In the keeper's thread

    def _run(self) -> None:
        while True:
            busy = False
            for key, events in self._selector.select(self._patience()):
                if key.data is None:
                    self._alarm.silence()
                elif not self._call(key.data, key.data.socket_ready, events):
                    busy = True
                self._meet_deadlines()
            if busy:
                time.sleep(BUSY_PERIOD)
            if self._left and self._next_look <= time.monotonic():
                self._left = [each for each in self._left if self._call(each, each.look)]
                self._next_look = time.monotonic() + PERIOD
            self._meet_deadlines()

    def _patience(self) -> float | None:
        """Return for how long there is nothing to do; whoever has something earlier wakes us from now on."""
        self._take_requests()
        self._sleeps_until = min(
            self._next_look if self._left else math.inf,
            self._deadlines[0][0] if self._deadlines else math.inf,
        )
        if self._requests:
            return 0.0
        if self._sleeps_until == math.inf:
            return None
        return max(0.0, self._sleeps_until - time.monotonic())

    def _take_requests(self) -> None:
        while self._requests:
            function, argument = self._requests.popleft()
            function(argument)

    def _push(self, entry: Entry) -> None:
        heapq.heappush(self._deadlines, (entry.when, next(self._numbers), entry))

    def _drop(self, entry: Entry) -> None:
        # Most are dropped long before their time.
        self._dropped += 1
        if self._dropped > len(self._deadlines) // 2:
            self._deadlines = [each for each in self._deadlines if each[2].connection is not None]
            heapq.heapify(self._deadlines)
            self._dropped = 0

    def _add(self, connection: Kept) -> None:
        if not self._left:
            self._next_look = time.monotonic() + PERIOD
        self._left.append(connection)

    def _meet_deadlines(self) -> None:
        self._take_requests()
        now = time.monotonic()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, entry = heapq.heappop(self._deadlines)
            connection = entry.connection
            if connection is not None and self._call(connection, connection.deadline_reached):
                entry.when = now + PERIOD
                self._push(entry)

    def _call(self, connection: Kept, function: Callable[..., bool], *arguments: int) -> bool:
        try:
            return function(*arguments)
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
    if _keeper is None:
        with _lock:
            if _keeper is None:
                _keeper = Keeper()
    return _keeper


def _forget() -> None:
    # In a child process there is no thread but the one that forked, and another may have held the lock.
    global _keeper, _lock
    _keeper, _lock = None, threading.RLock()


os.register_at_fork(after_in_child=_forget)
