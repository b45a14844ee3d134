"""The background thread of a process: it works for connections that no thread waits for.

It reads the connections that no thread has waited for lately, so that pings are answered and the end is
seen; it writes what did not fit into a socket; and it meets the deadlines of all connections.

It costs little while threads wait themselves, because it does not look at each message: a connection that
a thread leaves is looked at some time later, and read from the second look on. It stops to read as soon as
a thread comes back. The times at which something is to be done are in a heap: a connection adds its
deadline only if that is nearer than the one that is there already.

One connection never holds up another. The background thread waits for no connection's lock: if a thread
has that, it does the work itself or the background thread tries again. It takes a bounded amount of bytes
from each connection, and looks at the deadlines of all in between. Nor does any thread wait for the
background thread: requests to it are in a queue without a lock.
"""

from __future__ import annotations

import heapq
import itertools
import math
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable

from .wakeups import Wakeup, shared_wakeup

__all__ = ["READ", "WRITE", "BackgroundReader", "Entry", "background_reader"]

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

# Seconds after which a socket is looked at again whose connection a thread works on.
BUSY_PERIOD = 0.001

# Seconds after which a call is made again that a thread was in the way of.
RETRY = 0.1


class Entry:
    """A call at a time.

    Attributes:
        when: the time, in seconds.
        call: what to call; returns whether that was possible; ``None`` once it is cancelled.
    """

    __slots__ = ("call", "when")

    def __init__(self, when: float, call: Callable[[], bool]) -> None:
        self.when = when
        self.call: Callable[[], bool] | None = call


class BackgroundReader:
    """The background thread. Its methods without underscore may be called by any thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wakeup = Wakeup()
        self._selector.register(self._wakeup.fd, READ)
        # Later there may be no descriptors left, and each thread that waits needs one of these.
        shared_wakeup()
        self._requests: deque[Entry] = deque()  # entries to add, or, if they are cancelled, to remove
        # To compare numbers calls nothing that a signal can interrupt.
        self._entries: list[tuple[float, int, Entry]] = []
        self._numbers = itertools.count()
        self._cancelled = 0  # how many of the entries, about
        self._sleeps_until = 0.0
        threading.Thread(target=self._run, name="wsproto-core background reader", daemon=True).start()

    # A selector's methods for one socket touch nothing of another one's.

    def watch(self, fd: int, before: int, events: int, call: Callable[[int], bool]) -> None:
        """Call a function with the events of a socket when there are any.

        Args:
            fd: the socket's descriptor.
            before, events: READ, WRITE, both or 0: what was watched before, and from now on.
            call: returns whether it could do its work.
        """
        if not events:
            self._selector.unregister(fd)
        elif before:
            self._selector.modify(fd, events, call)
        else:
            self._selector.register(fd, events, call)

    def forget(self, fd: int, call: Callable[[int], bool]) -> None:
        """The socket is about to be closed."""
        key = self._selector.get_map().get(fd)
        if key is not None and key.data == call:
            self._selector.unregister(fd)

    def call_at(self, when: float, call: Callable[[], bool]) -> Entry:
        """Call a function at a time, and again after a while if it returns false."""
        entry = Entry(when, call)
        self._requests.append(entry)
        # The thread looks at the requests after it has set until when it sleeps.
        if when < self._sleeps_until:
            self._wakeup.set()
        return entry

    def cancel(self, entry: Entry) -> None:
        """Do not make a call."""
        entry.call = None
        self._requests.append(entry)

    # In the background thread

    def _run(self) -> None:
        while True:
            busy = False
            for key, events in self._selector.select(self._timeout()):
                if key.data is None:
                    self._wakeup.clear()
                elif not key.data(events):
                    busy = True
                self._make_calls()
            if busy:
                time.sleep(BUSY_PERIOD)
            self._make_calls()

    def _timeout(self) -> float | None:
        """Return for how long there is nothing to do; an earlier request wakes the thread from now on."""
        self._take_requests()
        self._sleeps_until = self._entries[0][0] if self._entries else math.inf
        if self._requests:
            return 0.0
        return max(0.0, self._sleeps_until - time.monotonic()) if self._entries else None

    def _take_requests(self) -> None:
        while self._requests:
            entry = self._requests.popleft()
            if entry.call is None:
                self._cancelled += 1
            else:
                heapq.heappush(self._entries, (entry.when, next(self._numbers), entry))
            # Most are cancelled long before their time.
            if self._cancelled > len(self._entries) // 2:
                self._entries = [each for each in self._entries if each[2].call is not None]
                heapq.heapify(self._entries)
                self._cancelled = 0

    def _make_calls(self) -> None:
        self._take_requests()
        now = time.monotonic()
        while self._entries and self._entries[0][0] <= now:
            _, _, entry = heapq.heappop(self._entries)
            call = entry.call
            if call is not None and not call():
                entry.when = now + RETRY
                self._requests.append(entry)


_background_reader: BackgroundReader | None = None
_lock = threading.RLock()


def background_reader() -> BackgroundReader:
    """Return the background thread of this process, which begins with the first connection."""
    global _background_reader
    if _background_reader is None:
        with _lock:
            if _background_reader is None:
                _background_reader = BackgroundReader()
    return _background_reader


def _forget() -> None:
    # In a child process there is no thread but the one that forked, and another may have held the lock.
    global _background_reader, _lock
    _background_reader, _lock = None, threading.RLock()


os.register_at_fork(after_in_child=_forget)
