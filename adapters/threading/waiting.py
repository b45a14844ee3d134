"""Waiting for a socket and for other threads, and the choice of the thread that reads the socket.

A thread that waits reads the socket. If several threads wait, one of them reads for all: the *reader*. A
thread that waits for a message is preferred. When the reader stops to wait, another thread takes its place.
While no thread waits, the background thread reads (:mod:`.background`); it also writes what a socket did not
take at once.

A thread that receives one message after the other stays the receiver in between, unless another thread
comes: then it needs no lock to fall asleep again, and one call with the lock to read and to take a message.

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
from typing import Any

from wsproto_core.events import Fragment
from wsproto_core.exceptions import ConcurrencyError
from wsproto_core.types import Data, State

from .background import READ, WRITE, Entry, background_reader
from .locking import Guarded
from .streams import Stream, TLSStream
from .wakeups import MESSAGE, OTHER, POLLIN, ROOM, TURN, Waiter

__all__ = ["PongWaiter", "Waiting", "deadline"]

# Bytes that a waiting thread, and the background thread, read at once.
READ_SIZE, BACKGROUND_READ_SIZE = 2**16, 2**14

# Seconds between two checks whether no thread waits for a connection: the background thread reads the
# connection from the second check on.
IDLE_CHECK_PERIOD = 0.1

SECOND_RECEIVER = (
    "another thread is receiving from this connection already: only one at a time may do so; let one thread "
    "receive, and hand the messages to the others by a queue.Queue"
)


class Waiting(Guarded):
    """A connection for which threads wait.

    All methods that begin with an underscore are called with the lock, except for the ones that wait:
    ``_until`` and ``_wait_for``.
    """

    transport: socket.socket

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._stream: Stream | None = None
        self._tls: TLSStream | None = None
        self._fd = -1
        self._unwritten: deque[memoryview] = deque()
        self._blocked = False  # whether the socket's send buffer is full
        self._sending = 0  # the thread that sends a message in parts, for which other messages wait
        self._gathering_thread = 0  # the thread that has more messages to answer, so that its answers wait
        self._gathers = (
            True  # whether answers wait for others: not if the thread was slow since the last read
        )
        self._returned: deque[Data] = deque()  # messages that were taken and not returned to the caller
        self._waiters: OrderedDict[Waiter, None] = OrderedDict()
        self._turns: OrderedDict[Waiter, None] = OrderedDict()  # those that wait for their turn to send
        self._turn_threads: set[int] = set()  # their threads
        self._rooms: dict[Waiter, None] = {}  # those that wait for room in the send queue
        self._when_ready: deque[Callable[[Any], object]] = deque()
        self._reader: Waiter | None = None
        self._receiver: Waiter | None = None
        # The waiter of the thread that has received the last message, and will be back: it is not asleep.
        self._last_receiver: Waiter | None = None
        self._notified: tuple[State, bool] = (State.CONNECTING, True)
        # For the background thread
        self._idle_check_scheduled = False  # whether the background thread will check whether no thread waits
        self._idle_checks = 0  # checks since a thread has waited; from 2 on, the background thread reads
        self._watched = 0  # the events of the socket that the background thread watches
        self._deadline: Entry | None = None

    @abstractmethod
    def _react(self) -> None: ...

    @abstractmethod
    def _fail_stream(self, error: OSError) -> None: ...

    @abstractmethod
    def _close_socket(self) -> None: ...

    @abstractmethod
    def _write_gathered(self) -> None: ...

    # Threads that wait

    def _until(
        self, attempt: Callable[..., Any], kind: int, until: float | None = None, late: str = ""
    ) -> Any:
        """Call a function with the lock, and wait, until its result is not ``None``; return the result.

        While it waits, this thread reads if no other thread reads.

        Args:
            attempt: the function, which is given the waiter, or nothing if the thread waits for a message; a
                call that returns ``None`` can be repeated.
            kind: the kind of condition: MESSAGE, TURN, ROOM or OTHER.
            until: the time in seconds at which to give up; ``None`` for no limit.
            late: the text of the error after this time.

        Raises:
            TimeoutError: the condition was not met in time.
        """
        waiter = self._last_receiver if kind == MESSAGE else None
        sleeps = waiter is not None and waiter.thread == threading.get_ident()
        if waiter is None or not sleeps:
            waiter = Waiter(kind)
        ready = 0
        expired = False
        try:
            if sleeps:
                # No other thread has received since: this thread falls asleep without the lock. A thread that
                # changes the connection does so before it looks for threads that are asleep.
                self._last_receiver = None
                self._receiver = self._reader = waiter
                self._idle_checks = 0
                waiter.asleep = True
                sleeps = waiter in self._waiters and self.protocol.wants_read and not self.protocol.has_input
                # Answers that wait for others are written first.
                sleeps = sleeps and not self._send_queue.queued
            while True:
                if not sleeps:
                    self._locked(self._step, attempt, waiter, ready)
                    if waiter.result is not None:
                        break
                    if expired:
                        raise TimeoutError(late)
                sleeps = False
                if until is None and waiter.polls:
                    happened = waiter.poll(waiter.limit)
                    ready = POLLIN if happened == waiter.readable else waiter.look(happened)
                else:
                    ready = waiter.sleep(until)
                    expired = until is not None and until <= time.monotonic()
        except BaseException:
            # If a signal interrupts the first call, the second call follows.
            try:
                self._locked(self._give_up, waiter)
            except BaseException:
                self._locked(self._give_up, waiter)
                raise
            raise
        result, waiter.result = waiter.result, None
        return result

    def _wait_for(self, condition: Callable[[], object], until: float | None = None, late: str = "") -> None:
        """Wait until a condition is met; see :meth:`_until`."""
        self._until(lambda _: condition() or None, OTHER, until, late)

    def _step(self, attempt: Callable[..., Any] | None, waiter: Waiter | None, ready: int) -> None:
        """Read what has arrived; then call a function, and prepare to sleep if its result is ``None``.

        This is one function because each message goes through it.

        Args:
            attempt: the function: see :meth:`_until`.
            waiter: the waiter of the calling thread; ``None`` only reads.
            ready: the events of the socket.
        """
        protocol = self.protocol
        if waiter is not None:
            waiter.asleep = False
            if waiter.woken:
                waiter.answer()
        reads = ready and protocol.wants_read and (waiter is None or waiter is self._reader)
        if reads and (stream := self._stream) is not None:
            tls = self._tls
            try:
                data = stream.recv(BACKGROUND_READ_SIZE if waiter is None else READ_SIZE)
                if data:
                    protocol.receive_data(data)
                    self._gathers = True
                # The end of TLS may arrive with the data, and does not make the socket readable again.
                if not data or (tls is not None and tls.ended and not stream.recv(READ_SIZE)):
                    protocol.receive_eof()
            except BlockingIOError:
                pass
            except OSError as error:
                self._fail_stream(error)
            if (
                protocol.has_events
                # Who receives comes back for more; the background thread may have to stop to read.
                or not (protocol.wants_read or (waiter is not None and waiter.kind == MESSAGE))
                # The head of a refusal brings a nearer deadline for its body.
                or protocol.state is State.CONNECTING
                # The bytes may have completed TLS's handshake, before which nothing can be written.
                or (tls is not None and tls.unsent)
                or (self._unwritten and not self._blocked)
            ):
                self._react()
            # Other threads may wait for these bytes.
            for other in (self._receiver, self._reader):
                if other is not None and other is not waiter:
                    other.wake()
        if waiter is None or attempt is None:
            return
        if waiter.kind != MESSAGE:
            result = attempt(waiter)
        else:
            if self._receiver is not waiter:
                self._begin_to_receive(waiter)
            paused = not protocol.wants_read
            result = self._returned.popleft() if self._returned else attempt()
            if protocol.wants_read is paused or (paused and result is None):
                # The receive queue may have room now, and bytes may have been decoded that had waited for it.
                self._resume_reading(waiter)
                if result is None:
                    result = attempt()
            self._gathering_thread = waiter.thread if protocol.has_input and self._gathers else 0
            if result is None:
                self._write_gathered()
                if not protocol.receiving:
                    raise protocol.close_exception()
        if result is None:
            self._prepare_to_sleep(waiter)
            return
        waiter.result = result
        alone = waiter in self._waiters and len(self._waiters) == 1
        if (
            alone
            and self._receiver is self._reader is waiter
            # It may have slept on its lock, while the receive queue had no room.
            and waiter.polls
            # Until its last piece, no other call may receive.
            and not isinstance(result, Fragment)
        ):
            self._receiver = self._reader = None
            self._last_receiver = waiter
            if not self._idle_check_scheduled:
                self._check_idle_later()
        else:
            self._leave(waiter)

    def _resume_reading(self, waiter: Waiter) -> None:
        if self.protocol.has_events or not self.protocol.wants_read or set(self._waiters) - {waiter}:
            self._react()
        else:
            # There is nothing to write or to tell, but deadlines run again.
            self._update()

    def _begin_to_receive(self, waiter: Waiter) -> None:
        if self._receiver is not None:
            raise ConcurrencyError(SECOND_RECEIVER)
        self._receiver = waiter
        self._forget_last_receiver()

    def _forget_last_receiver(self) -> None:
        waiter, self._last_receiver = self._last_receiver, None
        if waiter is not None:
            self._waiters.pop(waiter, None)
            if waiter.asleep:
                # It is back, without the lock.
                self._waiters[waiter] = None

    def _prepare_to_sleep(self, waiter: Waiter) -> None:
        """Register a waiter, and choose whether it polls the socket."""
        if waiter not in self._waiters:
            self._waiters[waiter] = None
            self._idle_checks = 0
            if waiter.kind == ROOM:
                self._rooms[waiter] = None
            elif waiter.kind == TURN:
                self._turns[waiter] = None
                if waiter.thread in self._turn_threads:
                    # This is a signal handler. The interrupted call may be the first in the queue, and cannot
                    # continue before the signal handler returns.
                    self._turns.move_to_end(waiter, last=False)
                self._turn_threads.add(waiter.thread)
        reader = self._reader
        if (
            reader is None
            # This is a signal handler: the interrupted call cannot read meanwhile.
            or reader.thread == waiter.thread
            or (waiter.kind == MESSAGE and reader.kind != MESSAGE)
        ):
            self._reader = waiter
        waiter.watch(self._fd if waiter is self._reader and self.protocol.wants_read else -1)
        waiter.asleep = True
        self._watch()

    def _leave(self, waiter: Waiter) -> None:
        """Remove a waiter; let another thread, or the background thread, read in its place."""
        waiter.answer()
        # A signal may interrupt this: each step can be repeated.
        self._waiters.pop(waiter, None)
        self._rooms.pop(waiter, None)
        if waiter is self._last_receiver:
            self._last_receiver = None
        if waiter is self._receiver:
            self._receiver = None
        if waiter is self._reader:
            self._reader = None
            self._pass_reading_on()
        if waiter.kind == TURN:
            self._turns.pop(waiter, None)
            self._turn_threads.discard(waiter.thread)
            self._pass_turn_on()
        if self.protocol.state is State.CLOSED:
            self._close_socket()
        else:
            if not self._idle_check_scheduled:
                self._check_idle_later()
            self._watch()

    def _give_up(self, waiter: Waiter) -> None:
        """Remove a waiter that has been interrupted, or whose condition was not met."""
        receives = waiter is self._receiver
        self._leave(waiter)
        if waiter.kind != MESSAGE:
            return
        result, waiter.result = waiter.result, None
        if isinstance(result, Fragment):
            # A piece is lost: no other piece may follow.
            self.abort()
        elif result is not None:
            # The interruption came after the message was taken and before it was returned.
            self._returned.append(result)
        elif receives:
            self.protocol.stop_waiting()
            self._react()

    def _pass_reading_on(self) -> None:
        asleep = (waiter for waiter in reversed(self._waiters) if waiter.asleep)
        receiver = self._receiver
        successor = receiver if receiver is not None and receiver.asleep else next(asleep, None)
        if successor is not None and self.protocol.wants_read:
            self._reader = successor
            if not successor.polls:
                successor.wake()

    def _must_wait_to_send(self) -> bool:
        """Whether a message has to wait for its turn; if the connection is not open, it is refused."""
        protocol = self.protocol
        return protocol.state is State.OPEN and bool(self._sending or not protocol.writable)

    def _pass_turn_on(self) -> None:
        if (self._turns or self._when_ready) and not self._must_wait_to_send():
            for waiter in self._turns:
                # Those that come later follow when this thread has sent, or has stopped to wait.
                waiter.wake()
                return
            while self._when_ready:
                self._when_ready.popleft()(self)

    def _call_when_ready(self, function: Callable[[Any], object]) -> None:
        """Call a function with this connection, once, when a message can be sent or never again."""
        self._when_ready.append(function)
        self._locked_or_deferred(self._pass_turn_on)

    def _notify(self) -> None:
        """Wake the threads whose conditions may be met."""
        if not self._waiters and not self._when_ready:
            return
        protocol = self.protocol
        notified = (protocol.state, protocol.receiving)
        if notified != self._notified:
            self._notified = notified
            self._wake_all()
        if self._receiver is not None and protocol.has_input:
            self._receiver.wake()
        if self._rooms and protocol.writable:
            # A waiter that is no longer among these has had room, even if others send before it is awake.
            rooms, self._rooms = self._rooms, {}
            for waiter in rooms:
                waiter.wake()
        self._pass_turn_on()
        reader = self._reader
        if protocol.wants_read and (reader is None or not reader.polls):
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
        if self._blocked:
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
        self._idle_check_scheduled = True
        # A multiple of the period, so that many connections are checked together.
        self._call_at((time.monotonic() // IDLE_CHECK_PERIOD + 1) * IDLE_CHECK_PERIOD, self._check_idle)

    def _check_idle(self) -> None:
        """Check whether no thread waits for the connection."""
        self._idle_checks += 1
        if self._idle_checks < 2:
            self._check_idle_later()
            return
        self._idle_check_scheduled = False
        if any(waiter.asleep for waiter in self._waiters):
            self._idle_checks = 0
        else:
            self._forget_last_receiver()
            self._watch()

    def _socket_ready(self, events: int) -> bool:
        """Read or write the socket, which is ready; return ``False`` if another thread has the lock."""
        return self._locked_or_left(self._use_socket, events)

    def _use_socket(self, events: int) -> None:
        if events & READ and self._idle_checks > 1:
            self._step(None, None, POLLIN)
        if events & WRITE:
            self._react()

    def _meet_deadline(self) -> None:
        self._cancel_deadline()
        deadline = self.protocol.deadline()
        if deadline is not None and deadline <= time.monotonic():
            # Bytes that have arrived in time count, also if they were not read.
            self._step(None, None, POLLIN)
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
            return True
        self._waiters = {each for each in self._waiters if each.asleep} | {waiter}
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
