"""Connections on runtimes with structured concurrency, trio and anyio: which task reads, and when.

There, no task of the library runs outside of the blocks of the application, and a stream has one reader at
a time. A task that waits for something, be it a message, a pong, room to send or the end, reads the stream
itself if no other task does. Otherwise it waits until the protocol has what it waits for, or until it is the
next reader. A message changes tasks nowhere, and there is no queue between the reader and the application.

While no task waits, the connection's own task reads in the background, so that pings are answered, closes
are noticed and deadlines are met. It does not read in every gap between two messages: only after a delay.

The answers to the messages of one read share a write: while there are messages in the receive queue, nothing
is written. The task that sends the answer to the last one writes them all; if it waits before, for whatever,
the connection's own task does.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Generator
from typing import Any

from wsproto_core.exceptions import ConnectionClosed
from wsproto_core.protocol import Protocol
from wsproto_core.types import CloseCode, State, StreamAction

from ..shared.asynchronous import CALL, TURN, RuntimeEvent
from ..shared.options import Logger
from ..shared.tls import TLSInfo, tls_info
from ..shared.waiting import BasePongWaiter, Waiters, Wake
from .runtime import Scope, Tasks
from .transport import READ_SIZE, Transport, os_error
from .writing import WritingConnection

__all__ = ["PongWaiter", "StructuredConnection"]

_OPEN = State.OPEN  # To look a member up in its class costs more than to compare it.

_BACKGROUND_DELAY = 0.1
"""Seconds without a reader after which the connection's own task reads in the background."""


class PongWaiter(BasePongWaiter):
    """The answer to a ping, to be awaited, any number of times: the latency in seconds."""

    def __await__(self) -> Generator[Any, Any, float]:
        return self._wait().__await__()

    async def _wait(self) -> float:
        if isinstance(self._result, ConnectionClosed):
            await self._connection._let_others_run()
        await self._connection._wait_until(self.done, self._waiters)
        return self._latency()


class StructuredConnection(WritingConnection):
    """A connection that is read by a task that waits for it.

    Attributes:
        transport: the stream, once there is one.
        tls: the connection's TLS; ``None`` without, and before there is a stream.
    """

    transport: Any
    tls: TLSInfo | None = None
    _check_cancelled: Callable[[], Awaitable[object] | None]
    _waits_yield = False
    # Bytes that are read before other tasks run; more while messages are large.
    _read_size = READ_SIZE

    def __init__(self, protocol: Protocol, logger: Logger | None) -> None:
        super().__init__(protocol, logger)
        # Until there is a stream, nothing can be read: as if another task did.
        self._has_reader = True
        self._readers = 0
        # The tasks that wait and can become the reader, by the functions that wake them.
        self._next_readers: dict[Wake, None] = {}
        self._read_scope: Scope | None = None
        self._read_until: Callable[[], bool] = bool
        self._background_scope: Scope | None = None
        self._idle_scope: Scope | None = None
        # Wakes the connection's own task to write, if it is idle; and whether it has been woken.
        self._ask_to_write: Wake | None = None
        self._asked_to_write = False
        self._begin_turn()
        self._check_cancelled = self._runtime.get_check_cancelled()

    # What AsyncConnection needs

    def _clocks(self) -> tuple[Callable[[], float], Callable[[], float]]:
        return self._runtime.get_clock(), self._runtime.date

    def _make_event(self) -> RuntimeEvent:
        return self._runtime.make_event()

    def _make_pong_waiter(self) -> PongWaiter:
        return PongWaiter(self)

    async def _let_others_run(self) -> None:
        self._begin_turn()
        await self._runtime.checkpoint()

    def _begin_turn(self) -> None:
        self._takes_left = self._sends_left = TURN
        self._reads_left = self._read_size

    async def _wait_for_input(self, pieces: bool) -> None:
        protocol = self.protocol
        if protocol.has_events or not protocol.receiving:
            # Asking for a message may have decoded a ping, or made a deferred close take effect.
            self._react()
        if not protocol.receiving:
            await self._refuse()
        self._receiving = True
        if self._waiters:
            # Asking for a message may have made room for more of it.
            self._waiters.wake()
        if self._has_reader or protocol.has_input:
            await self._wait_until(self._has_input)
            return
        # The usual case of _wait_until: no other task reads.
        self._has_reader = True
        try:
            while not protocol.has_input:
                await self._read(self._has_input)
        finally:
            self._stop_reading()

    def _has_input(self) -> bool:
        return self.protocol.has_input

    def _taken(self) -> None:
        self._waiters.wake()

    def _write_soon(self) -> bool:
        protocol = self.protocol
        self._sends_left = left = self._sends_left - CALL
        if left > 0 and protocol.writable and protocol.has_input:
            # The answers to the messages of one read share a write.
            if self._asked_to_write:
                return True
            if self._ask_to_write is not None:
                self._ask_to_write()
                self._ask_to_write = None
                self._asked_to_write = True
                return True
        # If other tasks wait for room, a task writes already, and wakes them.
        self._flush()
        return protocol.writable and left > 0

    async def _sent(self) -> None:
        self._sends_left -= CALL
        self._react()
        if not self.protocol.writable:
            await self._drain()
        if self._sends_left <= 0:
            await self._let_others_run()
        elif (check := self._check_cancelled()) is not None:
            await check

    def _abandon(self) -> None:
        """Close at once: send a close frame if that takes no waiting, then close the stream."""
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    # Reading

    async def _wait_until(self, ready: Callable[[], bool], waiters: Waiters | None = None) -> None:
        self._takes_left -= CALL
        if self._takes_left <= 0:
            await self._let_others_run()
        elif (check := self._check_cancelled()) is not None:
            await check
        while self._has_reader and not ready():
            if self._background_scope is not None:
                self._background_scope.cancel()
            try:
                await self._wait_to_read(ready, self._waiters if waiters is None else waiters)
            except BaseException:
                self._wake_next_reader()
                raise
            if ready():
                self._wake_next_reader()
        if ready():
            return
        self._has_reader = True
        try:
            while not ready():
                await self._read(ready)
        finally:
            self._stop_reading()

    def _stop_reading(self) -> None:
        """Leave reading to another task that waits."""
        self._has_reader = False
        self._readers += 1
        if self._next_readers:
            self._wake_next_reader()
        if self._waiters:
            self._waiters.wake()

    async def _wait_to_read(self, ready: Callable[[], bool], waiters: Waiters) -> None:
        """Wait until a condition is true, or until this task is the next reader."""
        event = self._make_event()
        waiters.add(ready, event.set)
        self._next_readers[event.set] = None
        try:
            await event.wait()
        finally:
            waiters.remove(ready, event.set)
            self._next_readers.pop(event.set, None)

    def _wake_next_reader(self) -> None:
        """If no task reads, wake one of those that wait, so that it does."""
        if self._next_readers and not self._has_reader:
            wake, _ = self._next_readers.popitem()
            wake()

    async def _read(self, ready: Callable[[], bool]) -> None:
        """Read once, when there is something to read; meet the deadline if that comes before."""
        protocol = self.protocol
        transport = self._transport
        data: bytes | None = None
        waited = False
        first = self._reads_left == self._read_size
        try:
            # No more than up to where other tasks are to have a turn.
            if protocol.wants_read:
                data = transport.read(max(self._reads_left, CALL))
            if data is None:
                waited = True
                deadline = protocol.deadline()
                with self._open_scope(
                    deadline=math.inf if deadline is None else deadline
                ) as self._read_scope:
                    self._read_until = ready
                    try:
                        if protocol.wants_read:
                            await transport.wait_readable()
                        else:
                            await self._park(self._wants_read)
                    finally:
                        self._read_scope = None
                if transport.waits_yield:
                    self._begin_turn()
                # Also after the deadline: bytes that have come count first, or the peer is blamed for them.
                if protocol.wants_read:
                    data = transport.read(max(self._reads_left, CALL))
        except Exception as error:
            protocol.connection_lost(self._write_error or os_error(error))
            waited = True
        if data:
            self._reads_left -= CALL + len(data)
            protocol.receive_data(data)
            if len(data) >= READ_SIZE:
                # Small messages and control frames in as many bytes would take too much time.
                large = 0 < protocol.undelivered <= len(data) // CALL
                self._read_size = TURN if large else READ_SIZE
        elif data is not None:
            self._receive_end()
        # In each turn, also if there is always more to read: a peer must not postpone a deadline by sending.
        late = (waited or first) and self._is_late()
        if late:
            self._handle_timeout()
        if late or protocol.has_events or protocol.state is not _OPEN:
            self._react()
        elif self._waiters:
            # The usual case of _react: there is nothing to write, and no deadline has come nearer.
            self._waiters.wake()
        if self._reads_left <= 0:
            await self._let_others_run()

    def _receive_end(self) -> None:
        if self._write_error is None:
            self.protocol.receive_eof()
        else:
            self.protocol.connection_lost(self._write_error)

    def _wants_read(self) -> bool:
        return self.protocol.wants_read

    def _wake_waiters(self) -> None:
        # Another task may have brought about what the reader waits for.
        if self._read_scope is not None and self._read_until():
            self._read_scope.cancel()
        self._waiters.wake()

    # The connection's own task

    async def _read_in_background(self) -> None:
        """Read when no task has waited for a while, until the connection is closed."""
        clock = self._clock
        while not self._is_closed():
            readers = self._readers
            await self._stay_idle(clock() + _BACKGROUND_DELAY)
            if self._has_reader:
                if readers == self._readers:
                    # One task reads for long: this one has nothing to read until it has ended.
                    await self._stay_idle_while_another_reads()
            elif readers == self._readers or self._is_late():
                await self._read_to_the_end()

    def _is_late(self) -> bool:
        deadline = self.protocol.deadline()
        return deadline is not None and deadline <= self._clock()

    async def _stay_idle(self, until: float) -> None:
        """Wait until a time, or until the deadline if that comes before."""
        deadline = self.protocol.deadline()
        with self._open_scope(
            deadline=until if deadline is None else min(until, deadline)
        ) as self._idle_scope:
            while not self._is_closed():
                await self._write_when_asked()
        self._idle_scope = None

    async def _stay_idle_while_another_reads(self) -> None:
        with self._open_scope() as scope:
            self._waiters.add(self._can_read_or_end, scope.cancel)
            try:
                while not self._can_read_or_end():
                    await self._write_when_asked()
            finally:
                self._waiters.remove(self._can_read_or_end, scope.cancel)

    def _can_read_or_end(self) -> bool:
        return not self._has_reader or self._is_closed()

    async def _write_when_asked(self) -> None:
        """Write what :meth:`_write_soon` has left to this task."""
        event = self._make_event()
        self._ask_to_write = event.set
        try:
            await event.wait()
        finally:
            self._ask_to_write = None
            if self._asked_to_write:
                self._asked_to_write = False
                self._flush()

    async def _read_to_the_end(self) -> None:
        """Read until the end, or until another task waits and takes over."""
        try:
            with self._open_scope() as self._background_scope:
                await self._wait_until(self._is_closed)
        finally:
            self._background_scope = None

    # Both

    def _react(self) -> None:
        protocol = self.protocol
        if not self._is_closed():
            self._flush()
        self._handle_events()
        if self._is_closed() or protocol.stream_action is StreamAction.ABORT:
            self._abandon()
        if not protocol.receiving:
            self._fail_pings()
        self._move_deadline()
        self._wake_waiters()

    def _move_deadline(self) -> None:
        """Move the deadline of the reader, or of the task in the background, if an earlier one has arisen."""
        scope = self._idle_scope if self._read_scope is None else self._read_scope
        if scope is None:
            return
        if self._is_closed():
            scope.cancel()
            return
        deadline = self.protocol.deadline()
        if deadline is not None and deadline < scope.deadline:
            scope.deadline = deadline

    async def _start(self, tasks: Tasks, transport: Transport) -> None:
        """Start the connection's task.

        Args:
            tasks: a nursery or task group.
            transport: the stream, which is closed if this fails.
        """
        try:
            await tasks.start(self._run_stream, transport)
        except BaseException:
            await transport.abort(False)
            raise

    async def _run_stream(self, transport: Transport, *, task_status: Any) -> None:
        """Run the connection until it is closed; when this is cancelled, the stream is closed at once.

        Args:
            transport: the stream.
            task_status: to be told when the connection can be used.
        """
        self._transport = transport
        self.transport = transport.stream
        self.local_address = transport.local_address
        self.remote_address = transport.remote_address
        self.tls = tls_info(transport.ssl_object)
        try:
            async with self._runtime.open_tasks() as self._tasks:
                self._has_reader = self._writing = False
                try:
                    task_status.started()
                    self._react()
                    await self._read_in_background()
                finally:
                    self._close_at_once()
        finally:
            await self._close_stream()

    def _close_at_once(self) -> None:
        """Send a close frame if that takes no waiting, and limit the time for the rest."""
        protocol = self.protocol
        at_once = self._is_closed() or protocol.stream_action is StreamAction.ABORT
        if protocol.state is State.OPEN:
            protocol.close(CloseCode.GOING_AWAY)
        if not at_once:
            self._flush()
        self._limit_writing(at_once)

    async def _close_stream(self) -> None:
        """Close the stream, if it is not closed, without waiting for the peer."""
        protocol = self.protocol
        reset = protocol.stream_action is StreamAction.ABORT
        protocol.connection_lost()
        self._react()
        self._log_closed()
        await self._transport.abort(reset)
