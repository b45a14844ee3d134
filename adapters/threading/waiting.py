"""Waiting for a socket and for other threads, and the choice of the thread that reads the socket.

A thread that waits reads the socket. If several threads wait, one of them reads for all: the *reader*. A
thread that waits for a message is preferred. Of the threads that wait because the socket is full, one polls
the socket: the *writer*. When the reader or the writer stops to wait, another thread takes its place. While
no thread waits, the background thread reads and writes (:mod:`.background`).

The cost is linear in the number of waiting threads: a thread is woken when its condition may be met. Of the
threads that wait for their turn to send, the first one is woken.
"""

from __future__ import annotations

import functools
import socket
import threading
import time
from abc import abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, TypeVar

from wsproto_core.types import State

from .background import READ, WRITE, Entry, background_reader
from .locking import Guarded
from .wakeups import MESSAGE, OTHER, POLLIN, POLLOUT, ROOM, TURN, Waiter, spare_waiters

__all__ = ["PongWaiter", "Waiting", "deadline"]

T = TypeVar("T")

# Maximum number of unused waiters that are kept.
SPARE_WAITERS = 64

# Seconds between two checks whether no thread waits for a connection: the background thread reads the
# connection from the second check on.
IDLE_CHECK_PERIOD = 0.1

# Bytes that the background thread reads at once from a connection.
BACKGROUND_READ_SIZE = 2**14


class Waiting(Guarded):
    """A connection for which threads wait.

    All methods that begin with an underscore are called with the lock, except for the ones that wait:
    ``_until`` and ``_wait_for``.
    """

    transport: socket.socket

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._fd = -1
        self._blocked = False  # whether the socket's send buffer is full
        self._sending = 0  # the thread that sends a message in parts, for which other messages wait
        self._waiters: OrderedDict[Waiter, None] = OrderedDict()
        self._threads: set[int] = set()  # the threads of the waiters
        self._queues: list[OrderedDict[Waiter, None]] = [OrderedDict() for _ in range(4)]  # by kind of waiter
        self._when_ready: deque[Callable[[Any], object]] = deque()
        self._reader: Waiter | None = None
        self._writer: Waiter | None = None
        self._receiver: Waiter | None = None
        self._notified: tuple[State, bool] = (State.CONNECTING, True)
        # For the background thread
        self._idle_check_scheduled = False  # whether the background thread will check whether no thread waits
        self._idle_checks = 0  # checks since a thread has waited; from 2 on, the background thread reads
        self._watched = 0  # the events of the socket that the background thread watches
        self._deadline: Entry | None = None

    @abstractmethod
    def _receive(self, waiter: Waiter | None = None, size: int = ...) -> None: ...

    @abstractmethod
    def _react(self) -> None: ...

    @abstractmethod
    def _close_socket(self) -> None: ...

    # Threads that wait

    def _until(
        self, attempt: Callable[[Waiter], T | None], kind: int, until: float | None = None, late: str = ""
    ) -> T:
        """Call a function with the lock, and wait, until its result is not ``None``; return the result.

        While it waits, this thread reads if no other thread reads, and writes if it waits for room.

        Args:
            attempt: the function; a call that returns ``None`` can be repeated.
            kind: the kind of condition: MESSAGE, TURN, ROOM or OTHER.
            until: the time in seconds at which to give up; ``None`` for no limit.
            late: the text of the error after this time.

        Raises:
            TimeoutError: the condition was not met in time.
        """
        try:
            waiter = spare_waiters.pop()
        except IndexError:
            waiter = Waiter()
        waiter.kind, waiter.thread, waiter.gone = kind, threading.get_ident(), False
        happened = 0
        expired = False
        try:
            result: T | None = self._locked(self._again, attempt, waiter, happened)
            while result is None:
                if expired:
                    raise TimeoutError(late)
                happened = waiter.sleep(self._fd, until)
                expired = until is not None and until <= time.monotonic()
                result = self._locked(self._again, attempt, waiter, happened)
        finally:
            if not waiter.gone:
                # If a signal interrupts the first call, the second call follows.
                try:
                    self._locked(self._give_up, waiter)
                except BaseException:
                    self._locked(self._give_up, waiter)
                    raise
        if len(spare_waiters) < SPARE_WAITERS:
            spare_waiters.append(waiter)
        return result

    def _wait_for(self, condition: Callable[[], object], until: float | None = None, late: str = "") -> None:
        """Wait until a condition is met; see :meth:`_until`."""
        self._until(lambda _: condition() or None, OTHER, until, late)

    def _again(self, attempt: Callable[[Waiter], T | None], waiter: Waiter, happened: int) -> T | None:
        """Call the function again, after the socket was polled; prepare to sleep if it returns ``None``."""
        waiter.asleep = False
        if waiter.woken:
            waiter.answer()
        if happened:
            if waiter is self._reader:
                self._receive(waiter)
            if happened != POLLIN:
                self._react()
        result: T | None = attempt(waiter)
        if result is not None:
            self._leave(waiter)
            return result
        # The thread is about to sleep: register it, and choose the events of the socket that it polls.
        kind = waiter.kind
        if waiter not in self._waiters:
            self._waiters[waiter] = None
            self._idle_checks = 0
            self._queues[kind][waiter] = None
            if kind == MESSAGE:
                self._receiver = waiter
            elif waiter.thread in self._threads:
                # This is a signal handler. The interrupted call may be the first in the queue, and cannot
                # continue before the signal handler returns.
                self._queues[kind].move_to_end(waiter, last=False)
            self._threads.add(waiter.thread)
        reader = self._reader
        if (
            reader is None
            # This is a signal handler: the interrupted call can neither read nor write meanwhile.
            or reader.thread == waiter.thread
            or (kind == MESSAGE and reader.kind != MESSAGE)
        ):
            self._reader = reader = waiter
        events = POLLIN if waiter is reader and self.protocol.wants_read else 0
        writer = self._writer
        suspended = writer is not None and writer.thread == waiter.thread
        if self._blocked and (suspended or (writer is None and kind in (TURN, ROOM))):
            self._writer = waiter
            events |= POLLOUT
        elif waiter is writer:
            self._writer = None
        waiter.events = events
        waiter.asleep = True
        if self._watched or self._blocked:
            self._watch()
        return None

    def _leave(self, waiter: Waiter) -> None:
        """Remove a waiter; let another thread, or the background thread, read and write in its place."""
        waiter.asleep = False
        if waiter.woken:
            waiter.answer()
        # A signal may interrupt this: each step can be repeated.
        self._waiters.pop(waiter, None)
        self._threads.discard(waiter.thread)
        self._queues[waiter.kind].pop(waiter, None)
        if waiter is self._receiver:
            self._receiver = None
        if waiter is self._writer:
            self._writer = None
            self._wake_first(self._queues[ROOM] or self._queues[TURN])
        if waiter is self._reader:
            self._reader = None
            if self._waiters:
                self._pass_reading_on()
        if waiter.kind == TURN:
            self._pass_turn_on()
        closed = self.protocol.state is State.CLOSED
        if not (self._waiters or self._idle_check_scheduled or closed):
            self._idle_check_scheduled = True
            self._check_idle_later()
        if self._watched or self._blocked:
            self._watch()
        if closed and self._fd >= 0:
            self._close_socket()
        waiter.gone = True

    def _give_up(self, waiter: Waiter) -> None:
        """Remove a waiter whose condition was not met."""
        self._leave(waiter)
        if waiter.kind == MESSAGE:
            self.protocol.stop_waiting()
            self._react()

    def _pass_reading_on(self) -> None:
        successor = self._receiver or next(reversed(self._waiters), None)
        if successor is not None and self.protocol.wants_read:
            self._reader = successor
            if not successor.events & POLLIN:
                successor.wake()

    def _must_wait_to_send(self) -> bool:
        """Whether a message has to wait for its turn; if the connection is not open, it is refused."""
        protocol = self.protocol
        return protocol.state is State.OPEN and bool(self._sending or not protocol.writable)

    def _pass_turn_on(self) -> None:
        turns = self._queues[TURN]
        if (turns or self._when_ready) and not self._must_wait_to_send():
            self._wake_first(turns)
            while self._when_ready:
                self._when_ready.popleft()(self)

    def _call_when_ready(self, function: Callable[[Any], object]) -> None:
        """Call a function with this connection, once, when a message can be sent or never again."""
        self._when_ready.append(function)
        self._locked_or_deferred(self._pass_turn_on)

    def _wake_first(self, waiters: OrderedDict[Waiter, None]) -> None:
        if waiters:
            next(iter(waiters)).wake()

    def _notify(self) -> None:
        """Wake the threads whose conditions may be met."""
        if not self._waiters and not self._when_ready:
            return
        protocol = self.protocol
        notified = (protocol.state, protocol.receiving)
        if notified != self._notified:
            self._notified = notified
            self._wake_all()
        if self._receiver is not None and protocol.undelivered:
            self._receiver.wake()
        if self._queues[ROOM] and protocol.writable:
            # A waiter that is no longer in this queue has had room, even if others send before it is awake.
            rooms, self._queues[ROOM] = self._queues[ROOM], OrderedDict()
            for waiter in rooms:
                waiter.wake()
        self._pass_turn_on()
        reader = self._reader
        if protocol.wants_read and (reader is None or not reader.events & POLLIN):
            self._pass_reading_on()

    def _wake_all(self) -> None:
        for waiter in self._waiters:
            waiter.wake()

    # The background thread

    def _update(self) -> None:
        """Tell the background thread the nearest deadline and the events to watch."""
        deadline = self.protocol.deadline()
        if deadline is not None and (self._deadline is None or deadline < self._deadline.when):
            self._cancel_deadline()
            self._deadline = self._call_at(deadline, self._meet_deadline)
        self._watch()

    def _call_at(self, when: float, function: Callable[[], None]) -> Entry:
        return background_reader().call_at(when, functools.partial(self._locked_or_left, function))

    def _cancel_deadline(self) -> None:
        """Cancel the call at the deadline: there is no deadline any more, or an earlier one."""
        entry, self._deadline = self._deadline, None
        if entry is not None:
            background_reader().cancel(entry)

    def _watch(self) -> None:
        """Let the background thread watch the socket for events that no thread polls."""
        events = READ if self._idle_checks > 1 and self.protocol.wants_read else 0
        if self._blocked and self._writer is None:
            events |= WRITE
        if events != self._watched:
            before, self._watched = self._watched, events
            background_reader().watch(self._fd, before, events, self._socket_ready)

    def _unwatch(self) -> None:
        """Stop to watch the socket, which is about to be closed."""
        # After an interruption, the socket may be watched even if ``_watched`` is 0.
        self._watched = 0
        background_reader().forget(self._fd, self._socket_ready)

    def _check_idle_later(self) -> None:
        # A multiple of the period, so that many connections are checked together.
        self._call_at((time.monotonic() // IDLE_CHECK_PERIOD + 1) * IDLE_CHECK_PERIOD, self._check_idle)

    def _check_idle(self) -> None:
        """Check whether no thread waits for the connection."""
        self._idle_checks += 1
        if self._idle_checks < 2:
            self._check_idle_later()
            return
        self._idle_check_scheduled = False
        if self._waiters:
            self._idle_checks = 0
        else:
            self._watch()

    def _socket_ready(self, events: int) -> bool:
        """Read or write the socket, which is ready; return ``False`` if another thread has the lock."""
        return self._locked_or_left(self._use_socket, events)

    def _use_socket(self, events: int) -> None:
        if events & READ and self._idle_checks > 1:
            self._receive(None, BACKGROUND_READ_SIZE)
        if events & WRITE:
            self._react()

    def _meet_deadline(self) -> None:
        self._cancel_deadline()
        deadline = self.protocol.deadline()
        if deadline is not None and deadline <= time.monotonic():
            # Bytes that have arrived in time count, also if they were not read.
            self._receive()
            self.protocol.handle_timeout()
            self._react()
        else:
            self._update()


def deadline(timeout: float | None) -> float | None:
    """Return the time at which a timeout in seconds ends; ``None`` without a timeout."""
    return None if timeout is None else time.monotonic() + timeout


class PongWaiter:
    """The result of :meth:`.Connection.ping`: it waits for the pong."""

    def __init__(self, connection: Waiting) -> None:
        self._connection = connection
        self._result: float | Exception | None = None
        self._waiters: set[Waiter] = set()

    def done(self) -> bool:
        """Return whether the pong has been received, or the connection has ended without it."""
        return self._result is not None

    def set_result(self, result: float | Exception) -> None:
        """Store the latency in seconds, or the error if no pong will arrive; the connection calls it."""
        self._result = result
        for waiter in self._waiters:
            waiter.wake()

    set_exception = set_result

    def _is_done(self, waiter: Waiter) -> bool | None:
        if self.done():
            self._waiters.discard(waiter)
            return True
        self._waiters = {each for each in self._waiters if not each.gone} | {waiter}
        return None

    def wait(self, timeout: float | None = None) -> float:
        """Wait for the pong.

        Args:
            timeout: seconds to wait; ``None`` for no limit.

        Returns:
            The latency in seconds.

        Raises:
            ConnectionClosed: the connection has ended without a pong.
            TimeoutError: there is no pong yet.
        """
        if not self.done():
            self._connection._until(self._is_done, OTHER, deadline(timeout), "no pong yet")
        if isinstance(self._result, Exception):
            raise self._result
        assert self._result is not None
        return self._result
