"""The background thread of a process: it works for connections that no thread receives from.

It reads the connections that no thread receives from, so that pings are answered and the end is seen; it
writes what did not fit into a socket; and it meets the deadlines of all connections.

It costs little while threads receive, because no message wakes it: it checks a connection some time after
the last thread has stopped to receive, and reads from the second check on. It stops to read as soon as a
thread receives again. Calls at a given time are in a heap: a connection adds its deadline only if the
deadline is nearer than the one in the heap.

One connection never delays another. The background thread waits for no connection's lock: if another
thread has the lock, the other thread does the work, or the background thread tries again. It reads a
limited number of bytes from each connection, and meets the deadlines of all connections in between. No
thread waits for the background thread either: requests to it are in a queue without a lock.
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

from .wakeups import Wakeup

__all__ = ["READ", "WAKEUPS", "WRITE", "BackgroundReader", "Entry", "background_reader"]

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

# Seconds until a socket is polled again while another thread has the lock of its connection.
BUSY_PERIOD = 0.001

# Seconds until a call is tried again while another thread has the lock.
RETRY = 0.1

# Number of wakeup descriptors of a process for threads that receive.
WAKEUPS = 8


class Entry:
    """A call at a time.

    Attributes:
        when: the time, in seconds.
        call: the function, which returns whether it could do its work; ``None`` once it is cancelled.
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
        # Now, because the process may have no descriptors left later.
        self._wakeups = itertools.cycle([Wakeup() for _ in range(WAKEUPS)])
        self._requests: deque[Entry] = deque()  # entries to add, or, if they are cancelled, to remove
        # The heap compares numbers, which calls no function of Python: no signal interrupts it.
        self._entries: list[tuple[float, int, Entry]] = []
        self._numbers = itertools.count()
        self._cancelled = 0  # about how many of the entries are cancelled
        self._sleeps_until = 0.0
        threading.Thread(target=self._run, name="wsproto-core background reader", daemon=True).start()

    # A selector's methods for one socket do not change the data of another socket.

    def watch(self, fd: int, events: int, call: Callable[[int], bool]) -> None:
        """Call a function with the events of a socket when there are any.

        Args:
            fd: the socket's descriptor.
            events: the events to watch from now on: READ, WRITE or both; 0 for none, as before the socket is
                closed.
            call: the function, which returns whether it could do its work.
        """
        if fd in self._selector.get_map():
            self._selector.unregister(fd)
        if events:
            self._selector.register(fd, events, call)

    def shared_wakeup(self) -> Wakeup:
        """Return one of the wakeup descriptors of the process; with few receivers, each has its own."""
        return next(self._wakeups)

    def call_at(self, when: float, call: Callable[[], bool]) -> Entry:
        """Call a function at a time in seconds, and again after ``RETRY`` seconds while it returns false."""
        entry = Entry(when, call)
        self._requests.append(entry)
        # The background thread sets ``_sleeps_until`` first, and takes the requests afterwards.
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
        """Return the seconds until the next call. From now on, an earlier request wakes the thread."""
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
            # Most entries are cancelled long before their time.
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
    """Return the background thread of this process; the first call starts it."""
    global _background_reader
    if _background_reader is None:
        with _lock:
            if _background_reader is None:
                _background_reader = BackgroundReader()
    return _background_reader


def _forget() -> None:
    # A child process has only the thread that forked, and another thread may have held the lock.
    global _background_reader, _lock
    _background_reader, _lock = None, threading.RLock()


os.register_at_fork(after_in_child=_forget)
