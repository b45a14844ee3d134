"""Who reads and who writes, on runtimes with structured concurrency: trio and anyio.

There, no task of the library runs behind the user's back. Whoever waits for something, be it a
message, a pong, room or the end, reads the stream in their own task: one at a time, as if a baton
was handed over. The others wait until the state machine has what they want, or the baton is free.

While nobody waits, a keeper stands in, so that pings are answered, closes are seen and deadlines
are met. It does not run for every gap between two messages: only when nobody has come for a while.

What has to be written is written where it arises, as far as that takes no waiting. The rest is left
to a task that ends when everything is written, so that a cancelled ``send`` cuts nothing in two.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

from adapters.shared.asynchronous import CALL, TURN, AsyncConnection, RuntimeEvent
from adapters.shared.connection import advance
from adapters.shared.options import Logger
from adapters.shared.tls import TLSInfo, tls_info
from adapters.shared.waiting import Waiters, Wake
from wsproto_core.broadcast import not_written
from wsproto_core.exceptions import ConnectionClosed
from wsproto_core.protocol import Protocol
from wsproto_core.types import CloseCode, State, StreamAction

from .runtime import Runtime, Scope, Tasks
from .transport import Transport, os_error

__all__ = ["PongWaiter", "StructuredConnection"]

_OPEN = State.OPEN  # To look a member up in its class costs more than to compare it.

PATIENCE = 0.1
"""Seconds without a reader after which the keeper stands in."""

LAST_WORDS = 0.05
"""Seconds that writing may go on when there is no more time, on streams that must not be cut short."""


LAST_READS = 1.0
"""Seconds that reading may go on when writing has failed, on streams that have to be waited for."""


class PongWaiter:
    """The answer to a ping, to be awaited, any number of times: the latency in seconds."""

    def __init__(self, connection: StructuredConnection) -> None:
        self._connection = connection
        self._result: float | Exception | None = None
        # Apart from those of the connection: else a pong would be looked at whenever another one comes.
        self._waiters = Waiters()

    def done(self) -> bool:
        """Whether awaiting it would not wait."""
        return self._result is not None

    def set_result(self, latency: float) -> None:
        self._result = latency
        self._waiters.wake()

    def set_exception(self, error: Exception) -> None:
        self._result = error
        self._waiters.wake()

    def __await__(self) -> Generator[Any, Any, float]:
        return self._wait().__await__()

    async def _wait(self) -> float:
        if isinstance(self._result, ConnectionClosed):
            await self._connection._let_others_run()
        await self._connection._wait_until(self.done, self._waiters)
        if isinstance(self._result, Exception):
            raise self._result
        assert self._result is not None
        return self._result


class StructuredConnection(AsyncConnection):
    """A connection that whoever waits for it reads.

    Attributes:
        runtime: the adapter's.
        transport: the stream, once there is one.
        tls: the connection's TLS; ``None`` without, and before there is a stream.
    """

    runtime: Runtime
    transport: Any
    tls: TLSInfo | None = None
    _transport: Transport

    def __init__(self, protocol: Protocol, logger: Logger | None) -> None:
        super().__init__(protocol, logger)
        self._tasks: Tasks | None = None
        # As long as there is no stream, it is as if somebody else read and wrote it.
        self._held = True
        self._holds = 0
        # Those who wait and could read in the place of who does.
        self._successors: dict[Wake, None] = {}
        self._reading: Scope | None = None
        self._awaited: Callable[[], bool] = bool
        self._standing_in: Scope | None = None
        self._napping: Scope | None = None
        self._reads_left = TURN
        self._unwritten: deque[memoryview] = deque()
        self._writing = True
        self._writing_rest: Scope | None = None
        self._stop_writing = math.inf
        self._write_error: OSError | None = None
        self._ending = False
        self._check_cancelled = self.runtime.checkpoint_if_cancelled
        self._clock = self.runtime.get_clock()
        self._open_scope = self.runtime.open_scope

    # What the methods that wait are made of

    def _make_event(self) -> RuntimeEvent:
        return self.runtime.make_event()

    def _make_pong_waiter(self) -> PongWaiter:
        return PongWaiter(self)

    async def _let_others_run(self) -> None:
        self._sends_left = self._reads_left = TURN
        await self.runtime.checkpoint()

    async def _wait_for_input(self, pieces: bool) -> None:
        protocol = self.protocol
        if not protocol.receiving:
            # To have asked for a message may have let a deferred close take effect.
            self._react()
            await self._refuse()
        self._receiving = True
        if self._waiters:
            # To have asked for a message may have made room for more of it.
            self._waiters.wake()
        if self._held or protocol.has_input:
            await self._wait_until(self._has_input)
            return
        # The usual case of _wait_until: nobody else reads.
        self._held = True
        try:
            while not protocol.has_input:
                await self._read(self._has_input)
        finally:
            self._release()

    def _has_input(self) -> bool:
        return self.protocol.has_input

    def _taken(self) -> None:
        self._waiters.wake()

    def _write_soon(self) -> bool:
        self._sends_left -= CALL
        self._flush()
        protocol = self.protocol
        if self._reading is not None or self._waiters:
            self._wake_waiters()
        if protocol.has_events or protocol.state is not _OPEN:
            self._react()
        return protocol.writable and self._sends_left > 0

    async def _sent(self) -> None:
        self._sends_left -= CALL
        self._react()
        if not self.protocol.writable:
            await self._drain()
        if self._sends_left > 0:
            await self.runtime.checkpoint_if_cancelled()
        else:
            await self._let_others_run()

    def _abandon(self) -> None:
        """Close at once: send a close frame if that takes no waiting, then close the stream."""
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    # Reading

    async def _wait_until(self, ready: Callable[[], bool], waiters: Waiters | None = None) -> None:
        if ready():
            await self._read_more()
            return
        while self._held:
            if self._standing_in is not None:
                self._standing_in.cancel()
            try:
                await self._stand_by(ready, self._waiters if waiters is None else waiters)
            except BaseException:
                self._pass_on()
                raise
            if ready():
                self._pass_on()
                return
        self._held = True
        try:
            await self._read(ready)
            while not ready():
                await self._read(ready)
        finally:
            self._release()

    def _release(self) -> None:
        """Read no more, and leave that to another task that waits."""
        self._held = False
        self._holds += 1
        if self._successors:
            self._pass_on()
        if self._waiters:
            self._waiters.wake()

    async def _stand_by(self, ready: Callable[[], bool], waiters: Waiters) -> None:
        """Wait until something is true, or one is the next to read."""
        event = self._make_event()
        waiters.add(ready, event.set)
        self._successors[event.set] = None
        try:
            await event.wait()
        finally:
            waiters.remove(ready, event.set)
            self._successors.pop(event.set, None)

    def _pass_on(self) -> None:
        """If nobody reads, see that one of those who wait does; nobody else is woken for that."""
        if self._successors and not self._held:
            wake, _ = self._successors.popitem()
            wake()

    async def _read(self, ready: Callable[[], bool]) -> None:
        """Read once, as soon as there is something to read; meet the deadline if that comes before."""
        protocol = self.protocol
        data: bytes | None = None
        waited = False
        try:
            # No more than up to where other tasks are to have a turn.
            if protocol.wants_read:
                data = self._transport.read(max(self._reads_left, CALL))
            if data is None:
                waited = True
                deadline = protocol.deadline()
                with self._open_scope(deadline=math.inf if deadline is None else deadline) as self._reading:
                    self._awaited = ready
                    try:
                        if protocol.wants_read:
                            await self._transport.wait_readable()
                        else:
                            await self._park(self._wants_read)
                    finally:
                        self._reading = None
                # Also after the deadline: what is there goes first, or the peer is blamed for it.
                if protocol.wants_read:
                    data = self._transport.read(max(self._reads_left, CALL))
        except Exception as error:
            protocol.connection_lost(self._write_error or os_error(error))
            waited = True
        if data:
            # Also a stream on which one has to wait may have it all at once, and for long.
            self._reads_left -= len(data)
            protocol.receive_data(data)
        elif data is not None:
            self._receive_end()
        # Also if there is always more to read: a peer must not put off the deadline by sending.
        deadline = protocol.deadline()
        if deadline is not None and deadline <= self._clock():
            protocol.handle_timeout()
        if protocol.has_events or protocol.state is not _OPEN:
            self._react()
        else:
            # The usual case of _react: only pongs may be due.
            self._flush()
            if self._waiters:
                self._waiters.wake()
            if self._napping is not None and deadline is not None and deadline < self._napping.deadline:
                self._napping.deadline = deadline
        if not waited or self._reads_left <= 0:
            await self._read_more()

    def _receive_end(self) -> None:
        if self._write_error is None:
            self.protocol.receive_eof()
        else:
            self.protocol.connection_lost(self._write_error)

    async def _read_more(self) -> None:
        """Notice a cancellation; after so many calls, or so much that was read, let other tasks run."""
        self._reads_left -= CALL
        if self._reads_left >= CALL:
            await self.runtime.checkpoint_if_cancelled()
        else:
            await self._let_others_run()

    def _wants_read(self) -> bool:
        return self.protocol.wants_read

    def _wake_waiters(self) -> None:
        # What others do may be what the one who reads waits for.
        if self._reading is not None and self._awaited():
            self._reading.cancel()
        self._waiters.wake()

    async def _keep(self) -> None:
        """Stand in when nobody waits for a while, until the connection is closed."""
        clock = self._clock
        while not self._is_closed():
            holds = self._holds
            deadline = self.protocol.deadline()
            nap = clock() + PATIENCE
            with self._open_scope(deadline=math.inf if deadline is None else deadline) as self._napping:
                await self.runtime.sleep_until(nap)
            self._napping = None
            if not self._held:
                if holds == self._holds or clock() < nap:
                    await self._stand_in()
            elif holds == self._holds:
                # Somebody waits for long: what follows has time until they have left.
                await self._park(lambda: not self._held or self._is_closed())

    async def _stand_in(self) -> None:
        """Wait for nothing but the end, until somebody else comes to wait."""
        try:
            with self._open_scope() as self._standing_in:
                await self._wait_until(self._is_closed)
        finally:
            self._standing_in = None

    # Writing

    def _flush(self) -> None:
        if self._tasks is not None and not self._writing and not self._write() and not self._ending:
            self._writing = True
            self._tasks.start_soon(self._write_rest)

    def _write(self) -> bool:
        """Write what takes no waiting; return whether that was all there is to do."""
        protocol = self.protocol
        unwritten = self._unwritten
        if protocol.state is State.CLOSED:
            return True
        taken = False
        try:
            while True:
                if not unwritten:
                    # Nothing more comes while this writes.
                    buffers = None if taken else protocol.data_to_send()
                    if not buffers:
                        return protocol.stream_action is StreamAction.KEEP
                    unwritten.extend(map(memoryview, buffers))
                    taken = True
                count = self._transport.write(unwritten)
                if not count:
                    return False
                if len(unwritten) == 1 and count == len(unwritten[0]):
                    unwritten.clear()
                else:
                    advance(unwritten, count)
                protocol.data_sent(count)
        except OSError as error:
            self._lose(error)
        return True

    def _write_at_once(self, buffers: list[bytes]) -> None:
        self._unwritten.extend(map(memoryview, buffers))
        not_written(self.protocol, sum(map(len, buffers)))
        # What cannot be written at once has a deadline, by the task that writes it.
        self._flush()

    async def _write_rest(self) -> None:
        """Write the rest, then end the stream if it is time."""
        # Many a stream is of no use after a write that was cancelled: it gets a moment.
        with self._open_scope(deadline=self._stop_writing) as self._writing_rest:
            self._writing_rest.shield = True
            while not self._write():
                try:
                    await self._write_more()
                except OSError as error:
                    await self._read_rest(error)
                    self._lose(error)
        self._writing_rest = None
        self._writing = False
        self._react()

    async def _write_more(self) -> None:
        transport = self._transport
        if self._unwritten:
            # This has a deadline from now on.
            self._move_deadline()
            await transport.wait_writable()
            self._wake_waiters()
        elif self.protocol.stream_action is StreamAction.SEND_EOF and transport.has_halves:
            transport.send_eof()
            self.protocol.eof_sent()
        else:
            await transport.aclose()
            self.protocol.connection_lost()

    async def _read_rest(self, error: OSError) -> None:
        """Writing has failed: read what has come before, on a stream that has to be waited for."""
        if self._transport.writes_at_once:
            return
        self._write_error = error
        with self._open_scope(deadline=self._clock() + LAST_READS):
            await self._wait_until(self._has_read_all)

    def _has_read_all(self) -> bool:
        return not (self.protocol.receiving and self.protocol.wants_read)

    def _lose(self, error: OSError) -> None:
        """Nothing can be written any more. What came before may say more than the error does."""
        with suppress(OSError):
            while self.protocol.wants_read and (data := self._transport.read()):
                self.protocol.receive_data(data)
        self.protocol.connection_lost(error)
        self._react()

    # Both

    def _react(self) -> None:
        protocol = self.protocol
        if not self._is_closed():
            self._flush()
        for event in protocol.events(messages=False):
            self._handle_event(event)
        if self._is_closed() or protocol.stream_action is StreamAction.ABORT:
            self._abandon()
        if not protocol.receiving:
            self._fail_pings()
        self._move_deadline()
        self._wake_waiters()

    def _move_deadline(self) -> None:
        """See that who reads, or the keeper, meets a deadline that has come nearer."""
        scope = self._napping if self._reading is None else self._reading
        if scope is None:
            return
        if self._is_closed():
            scope.cancel()
            return
        deadline = self.protocol.deadline()
        if deadline is not None and deadline < scope.deadline:
            scope.deadline = deadline

    async def start(self, tasks: Tasks, transport: Transport) -> None:
        """Begin to live among these tasks.

        Args:
            tasks: a nursery or task group.
            transport: the stream, which is closed if this fails.
        """
        try:
            await tasks.start(self.live, transport)
        except BaseException:
            await transport.abort(False)
            raise

    async def live(self, transport: Transport, *, task_status: Any) -> None:
        """Keep the connection until it is closed; when this is cancelled, the stream is closed at once.

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
            async with self.runtime.open_tasks() as self._tasks:
                self._held = self._writing = False
                try:
                    task_status.started()
                    self._react()
                    await self._keep()
                finally:
                    self._part()
        finally:
            await self._end()

    def _part(self) -> None:
        """Say goodbye, if that takes no waiting."""
        protocol = self.protocol
        at_once = self._is_closed() or protocol.stream_action is StreamAction.ABORT
        if protocol.state is State.OPEN:
            protocol.close(CloseCode.GOING_AWAY)
        if not at_once:
            self._flush()
        # From now on, no task would be let in any more.
        self._ending = True
        self._stop_writing = self._clock()
        if not (at_once or self._transport.writes_at_once):
            # What other streams write takes a turn, at least.
            self._stop_writing += LAST_WORDS
        if self._writing_rest is not None:
            self._writing_rest.deadline = self._stop_writing

    async def _end(self) -> None:
        """Close the stream, if it is not closed, without waiting for the peer."""
        protocol = self.protocol
        reset = protocol.stream_action is StreamAction.ABORT
        protocol.connection_lost()
        self._react()
        self._log_closed()
        await self._transport.abort(reset)
