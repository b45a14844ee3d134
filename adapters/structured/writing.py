"""Writing on runtimes with structured concurrency, and where a cancellation meets a write.

Data is written in the task that sends it, as far as that takes no waiting. A task of its own writes the
rest and ends with that. It is shielded: a cancelled ``send`` cuts no frame in two, and a cancelled
connection still has a moment for its close frame.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import deque
from contextlib import suppress

from wsproto_core.broadcast import not_written
from wsproto_core.protocol import Protocol
from wsproto_core.types import State, StreamAction

from ..shared.asynchronous import AsyncConnection
from ..shared.connection import LAST_READ_LIMIT, advance
from ..shared.options import Logger
from .runtime import Runtime, Scope, Tasks
from .transport import Transport

__all__ = ["WritingConnection"]

# To look members up in their class costs more than to compare them.
_CLOSED = State.CLOSED
_KEEP = StreamAction.KEEP

_FINAL_WRITE_TIMEOUT = 0.5
"""Seconds for the close frame of a connection that is cancelled, on streams where a write waits."""

_FINAL_READ_TIMEOUT = 1.0
"""Seconds for reading the rest after a failed write, on streams where a read waits."""


class WritingConnection(AsyncConnection):
    """The half of a connection that writes.

    Attributes:
        _runtime: the runtime of the adapter.
    """

    _runtime: Runtime
    _transport: Transport

    def __init__(self, protocol: Protocol, logger: Logger | None) -> None:
        super().__init__(protocol, logger)
        self._tasks: Tasks | None = None
        self._tasks_ended = False
        self._unwritten: deque[memoryview] = deque()
        # Until there is a stream, nothing can be written: as if another task did.
        self._writing = True
        self._write_scope: Scope | None = None
        self._write_timeout = math.inf
        self._write_error: OSError | None = None
        self._clock = self._runtime.get_clock()
        self._open_scope = self._runtime.open_scope

    # The half that reads

    @abstractmethod
    def _move_deadline(self) -> None:
        """Tell the task that reads of an earlier deadline."""

    # Writing

    def _flush(self) -> None:
        if self._tasks is not None and not self._writing and not self._write() and not self._tasks_ended:
            self._writing = True
            self._tasks.start_soon(self._write_in_task)

    def _write(self) -> bool:
        """Write as far as that takes no waiting; return whether nothing is left to write or to end."""
        protocol = self.protocol
        if protocol.state is _CLOSED:
            return True
        try:
            if self._unwritten and not self._write_rest():
                return False
            # Nothing more comes while this writes.
            if (buffers := protocol.data_to_send()) and not self._write_new(buffers):
                return False
        except OSError as error:
            self._lose_connection(error)
            return True
        return protocol.stream_action is _KEEP

    def _write_new(self, buffers: list[bytes]) -> bool:
        """Write buffers when all earlier ones have been written; return whether nothing is left."""
        count = self._transport.write(buffers)
        if count == self._send_queue.unwritten:
            self.protocol.data_sent()
            return True
        self._unwritten.extend(map(memoryview, buffers))
        if not count:
            return False
        self._written(count)
        return self._write_rest()

    def _write_rest(self) -> bool:
        """Write what could not be written before; return whether nothing is left."""
        while self._unwritten:
            count = self._transport.write(self._unwritten)
            if not count:
                return False
            self._written(count)
        return True

    def _written(self, count: int) -> None:
        advance(self._unwritten, count)
        self.protocol.data_sent(count)

    def _write_at_once(self, buffers: list[bytes]) -> None:
        self._unwritten.extend(map(memoryview, buffers))
        not_written(self.protocol, sum(map(len, buffers)))
        # What cannot be written at once has a deadline, by the task that writes it.
        self._flush()

    async def _write_in_task(self) -> None:
        """Write the rest, then end the stream if ``stream_action`` says so."""
        # Many streams are of no use after a cancelled write: the shield gives it time until its deadline.
        with self._open_scope(deadline=self._clock() + self._write_timeout) as self._write_scope:
            self._write_scope.shield = True
            while not self._write():
                try:
                    await self._write_more()
                except OSError as error:
                    await self._read_after_write_error(error)
                    self._lose_connection(error)
        self._write_scope = None
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

    async def _read_after_write_error(self, error: OSError) -> None:
        """Read what the peer sent before a write failed, on a stream whose reads wait."""
        if self._transport.writes_at_once:
            return
        self._write_error = error
        with self._open_scope(deadline=self._clock() + _FINAL_READ_TIMEOUT):
            await self._wait_until(self._has_read_all)

    def _has_read_all(self) -> bool:
        return not (self.protocol.receiving and self.protocol.wants_read)

    def _lose_connection(self, error: OSError) -> None:
        """A write has failed: read what the peer sent before, such as its close frame, and end."""
        self._read_rest()
        self.protocol.connection_lost(error)
        self._react()

    def _read_rest(self, limit: int = LAST_READ_LIMIT) -> None:
        if self._tasks is None:
            # There is no stream yet.
            return
        with suppress(OSError):
            while limit > 0 and self.protocol.wants_read and (data := self._transport.read()):
                self.protocol.receive_data(data)
                limit -= len(data)

    def _limit_writing(self, at_once: bool) -> None:
        """The connection's tasks have been cancelled: limit the time of the write that is under way.

        Args:
            at_once: whether to wait for no write at all.
        """
        # The nursery starts no task any more.
        self._tasks_ended = True
        self._write_timeout = 0.0
        if not (at_once or self._transport.writes_at_once):
            # A write on other streams waits at least for a turn of the event loop.
            self._write_timeout = _FINAL_WRITE_TIMEOUT
        if self._write_scope is not None:
            self._write_scope.deadline = self._clock() + self._write_timeout
