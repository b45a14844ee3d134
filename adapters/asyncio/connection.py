"""A connection on asyncio: reading, writing, timers, and waiting tasks.

Three choices make it fast:

1. All frames of a read are decoded before any task runs. The messages that tasks send in the read callback
   share one write, after all of these tasks have run (or at 64 KiB). So do messages that are sent one after
   the other, from the ninth on: they are written at the end of this iteration of the event loop.
2. A task that waits for a message is resumed in the read callback (:mod:`.waiting`).
3. A connection has one timer, for the next deadline of the state machine. A deadline that becomes later does
   not move the timer: it expires early, and is set again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import cast

from wsproto_core.broadcast import not_written
from wsproto_core.exceptions import ConcurrencyError, ConnectionClosed
from wsproto_core.protocol import Protocol
from wsproto_core.types import BytesLike, CloseCode, Data, State, StreamAction

from ..shared.asynchronous import CALL, TURN, AsyncConnection, wait_for_wake
from ..shared.clocks import loop_clock
from ..shared.connection import LAST_READ_LIMIT
from ..shared.logs import describe
from ..shared.memory_tls import MemoryTLS
from ..shared.options import Logger
from ..shared.sockets import prepare_socket, read_now
from ..shared.tls import TLSInfo
from ..shared.waiting import TurnQueue
from ._speedups import install, install_events
from .loops import READ_SIZE, read_buffers, reads_repeatedly, writable_descriptor
from .tls import TLSTransport
from .waiting import Wakeup

__all__ = ["Connection", "install_events"]

GATHERED = 2**16
"""Bytes in the send queue at which they are written while more messages are being delivered."""


SENDS_AT_ONCE = 8
"""Messages in a row that are each written at once; those that follow in this iteration share a write."""


class Connection(AsyncConnection, asyncio.BufferedProtocol):
    __doc__ = AsyncConnection.__doc__

    # The compiled fast path reads and writes these.
    __slots__ = (
        *("__dict__", "_broken", "_buffer", "_buffers", "_called_back", "_descriptor"),
        *("_dispatching", "_loop", "_reaction_scheduled", "_reading_paused", "_reads_repeatedly"),
        *("_sends_in_row", "_tls", "_wakeup", "_writing_paused", "transport"),
    )

    transport: asyncio.Transport
    """The byte stream. The attribute does not exist before there is a stream."""

    # Whether message_received is being called. As a class attribute, it takes no memory in connections
    # without callbacks.
    _delivering = False

    def __init__(self, protocol: Protocol, logger: Logger | None) -> None:
        # The first attribute, next to those that a broadcast reads, for the processor's cache.
        self._writing_paused = False
        super().__init__(protocol, logger)
        self._loop = loop = asyncio.get_running_loop()
        self._buffers = read_buffers(loop)
        self._buffer = self._buffers[0]
        self._dispatching = False
        # Whether writing has failed: nothing more is written.
        self._broken = False
        # The socket's, if the compiled fast path may write to it; or -1.
        self._descriptor = -1
        self._sends_in_row = 0  # without waiting for a message in between
        self._reaction_scheduled = False
        self._reading_paused = False
        self._reads_repeatedly = reads_repeatedly(loop)
        self._tls: TLSTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0  # uvloop's handles do not always tell
        self._wakeup: Wakeup | None = None
        # Whether message_received is overridden.
        self._called_back = type(self).message_received is not Connection.message_received
        if self._called_back:
            self._receiving = True

    def _clocks(self) -> tuple[Callable[[], float], Callable[[], float]]:
        return loop_clock(asyncio.get_running_loop()), time.time

    def message_received(self, message: Data) -> None:
        """Handle a message: a subclass may override this, and then must not call :meth:`recv`.

        The event loop's read callback calls it, without a task: it must not block. Use the methods ``send``
        and ``close`` of :attr:`protocol` in it. Their bytes are written when all messages that arrived
        together have been delivered (or at 64 KiB). While the send queue has more than ``write_limit``
        bytes, no message is delivered.

        If it raises an exception, this is logged, the connection fails with code 1011, and no more messages
        are delivered. :exc:`ConnectionClosed` is not logged as an error, but also ends the delivery.

        Args:
            message: ``str`` for text, ``bytes`` for binary.
        """

    def _check_not_receiving(self) -> None:
        if self._called_back:
            raise ConcurrencyError("this connection's messages go to message_received, and nowhere else")
        super()._check_not_receiving()

    @property
    def tls(self) -> TLSInfo | None:
        """The connection's TLS; ``None`` without, and before its handshake is done."""
        return None if self._tls is None else self._tls.tls.info

    # Implementation of the abstract methods

    def _make_event(self) -> asyncio.Event:
        return asyncio.Event()

    def _make_pong_waiter(self) -> asyncio.Future[float]:
        waiter: asyncio.Future[float] = self._loop.create_future()
        # No warning about an exception that was never retrieved: a ping need not be awaited.
        waiter.add_done_callback(lambda waiter: waiter.cancelled() or waiter.exception())
        return waiter

    async def _let_others_run(self) -> None:
        self._sends_left = TURN
        await asyncio.sleep(0)

    def _wait_for_input(self, pieces: bool) -> Awaitable[None]:
        if self._reading_paused or not self.protocol.receiving:
            # The demand for a message may have made the state machine read, decode or close.
            self._react()
        if not self.protocol.receiving:
            # A loop that catches the exception lets other tasks run.
            self._takes_left = 0
            raise self.protocol.close_exception()
        if not self._dispatching:
            self._flush()
        self._sends_in_row = 0
        self._receiving = True
        self._wakeup = wakeup = Wakeup(loop=self._loop)
        return wakeup

    def _stop_waiting_for_input(self) -> None:
        super()._stop_waiting_for_input()
        self._update_reading()

    async def _wait_until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            await wait_for_wake(self._waiters, ready, self._make_event())

    def _taken(self) -> None:
        if self._reading_paused:
            self._react_soon()

    def _react_soon(self) -> None:
        """React once to all that is done in this iteration: the answers to several messages share a write."""
        if not self._reaction_scheduled:
            self._reaction_scheduled = True
            self._loop.call_soon(self._react)

    def _write_soon(self) -> bool:
        """Write now, or at the end of the read callback.

        Returns:
            Whether there is room for more.
        """
        protocol = self.protocol
        self._sends_left -= CALL
        if not self._dispatching:
            self._sends_in_row += 1
            gathers = protocol.has_input or self._sends_in_row > SENDS_AT_ONCE
            if gathers and protocol.queued < GATHERED:
                self._react_soon()
            else:
                self._flush()
        return protocol.writable and not self._broken

    async def _sent(self) -> None:
        self._write_soon()
        if not self.protocol.writable:
            await self._drain()
        if self._sends_left <= 0 or self._broken:
            # A task that only sends has to notice that writing has failed.
            await self._let_others_run()

    def _abandon(self) -> None:
        """Close at once: send a close frame if that takes no waiting, then close the stream."""
        if self.protocol.state is State.OPEN:
            self.protocol.close(CloseCode.GOING_AWAY)
            self._react()
        if self._writing_paused:
            self.abort()
        elif hasattr(self, "transport"):
            self.transport.close()

    def abort(self) -> None:
        """Close the stream at once, without a closing handshake; do nothing if there is no stream."""
        if hasattr(self, "transport"):
            self.transport.abort()

    # Methods of asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)
        self.transport = transport if self._tls is None else self._tls.over(transport)
        self.local_address = transport.get_extra_info("sockname")
        self.remote_address = transport.get_extra_info("peername")
        sock = transport.get_extra_info("socket")
        if sock is not None:
            prepare_socket(sock)
            self._descriptor = writable_descriptor(transport, sock)
        # With a limit of 0, writing is paused exactly while there are unwritten bytes.
        self.transport.set_write_buffer_limits(0)
        self._react()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        protocol = self.protocol
        data: BytesLike = self._buffer[:nbytes]
        if self._tls is not None:
            data = self._tls.decrypt(data)
            if self._tls.tls.ended:
                self._loop.call_soon(self.eof_received)
            if not data:
                return
        self._dispatching = True
        try:
            protocol.receive_data(data)
            if protocol.has_events:
                self._handle_events()
            wakeup = self._wakeup
            if wakeup is not None and protocol.has_input:
                self._wakeup = None
                wakeup.wake()
            elif self._called_back:
                self._deliver()
        finally:
            self._dispatching = False
        if protocol.state is State.OPEN:
            self._flush()
            if protocol.wants_read is self._reading_paused:
                self._update_reading()
        else:
            self._react()
        if nbytes >= READ_SIZE and self._reads_repeatedly:
            self._read_next_turn()

    def _read_next_turn(self) -> None:
        """Let other streams have their turn, and this one in the next iteration."""
        if not self.transport.is_closing():
            self.transport.pause_reading()
            self._loop.call_soon(self._read_again)

    def _read_again(self) -> None:
        # Backpressure may have paused reading since.
        if not self._reading_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def eof_received(self) -> bool:
        if self._tls is not None and (rest := self._tls.decrypt(b"")):
            self.protocol.receive_data(rest)
        if self._tls is None or self._tls.error is None:
            self.protocol.receive_eof()
        self._react()
        # asyncio keeps the other half open; the state machine decides when to end it.
        return True

    def pause_writing(self) -> None:
        self._writing_paused = True
        self._update_timer()

    def resume_writing(self) -> None:
        self._writing_paused = False
        self.protocol.data_sent()
        self._flush()
        if self._called_back:
            self._deliver()

    def connection_lost(self, exc: Exception | None) -> None:
        self._writing_paused = self._broken = True
        self._descriptor = -1
        if exc is not None:
            self._read_rest()
        self.protocol.connection_lost(exc if self._tls is None else self._tls.lost(exc))
        self._react()
        self._log_closed()

    # Reactions to changes of the state machine

    def _react(self) -> None:
        protocol = self.protocol
        self._reaction_scheduled = False
        if protocol.has_events:
            self._handle_events()
        self._flush()
        if protocol.wants_read is self._reading_paused:
            self._update_reading()
        self._update_timer()
        wakeup = self._wakeup
        if wakeup is not None:
            if protocol.has_input:
                self._wakeup = None
                wakeup.wake()
        elif self._called_back:
            self._deliver()
        if self._waiters:
            self._wake_waiters()
        if self._pings and not protocol.receiving:
            self._fail_pings()

    def _deliver(self) -> None:
        """Call :meth:`message_received` for each message, while the connection is writable."""
        protocol = self.protocol
        if self._delivering:
            return
        self._delivering = True
        failed = False
        try:
            while self._has_room() and (message := protocol.next_message()) is not None:
                self.message_received(message)
        except Exception as error:
            failed = True
            if isinstance(error, ConnectionClosed) and protocol.state is not State.OPEN:
                self.logger.debug("message_received ended: %s", describe(error))
            else:
                self.logger.error("message_received failed", exc_info=error)
            if protocol.state is State.OPEN:
                protocol.fail(error)
        if not self._dispatching:
            self._react()
        self._delivering = failed

    def _has_room(self) -> bool:
        """Whether to deliver the next message; write the answers before, if there are many."""
        protocol = self.protocol
        if protocol.queued >= GATHERED or not protocol.writable:
            self._flush()
        return protocol.writable or protocol.state is not State.OPEN

    def _flush(self) -> None:
        """Write, unless writing is paused; then end the stream if the state machine asks for it."""
        protocol = self.protocol
        if not self._writing_paused and (buffers := protocol.data_to_send()):
            self._write(buffers)
        if self._waiters:
            self._wake_waiters()
        if protocol.state is State.CLOSING:
            self._end_stream()

    def _write(self, buffers: list[bytes]) -> None:
        transport = self.transport
        if len(buffers) == 1:
            transport.write(buffers[0])
        else:
            self._write_several(buffers)
        if transport.is_closing():
            # Writing has failed, and connection_lost follows.
            self._writing_paused = self._broken = True
        elif not self._writing_paused:
            self.protocol.data_sent()

    def _write_at_once(self, buffers: list[bytes]) -> None:
        self._write_several(buffers)
        if self.transport.is_closing():
            self._writing_paused = self._broken = True
        if self._writing_paused:
            left = sum(map(len, buffers)) if self._broken else self.transport.get_write_buffer_size()
            not_written(self.protocol, left)
            self._update_timer()

    def _write_several(self, buffers: list[bytes]) -> None:
        self.transport.writelines(buffers)
        if self.transport.get_write_buffer_size():
            # In Python 3.12.1 and 3.13.0, writelines does not call pause_writing, but this does.
            self.transport.set_write_buffer_limits(0)

    def _read_rest(self, limit: int = LAST_READ_LIMIT) -> None:
        protocol, tls = self.protocol, self._tls
        with suppress(OSError):
            while limit > 0 and protocol.receiving and protocol.wants_read:
                if not (data := read_now(self.transport, READ_SIZE)):
                    break
                limit -= len(data)
                if tls is None or (data := tls.decrypt(data)):
                    protocol.receive_data(data)

    def _end_stream(self) -> None:
        action = self.protocol.stream_action
        transport = self.transport
        if action is StreamAction.ABORT:
            transport.abort()
        elif action is StreamAction.KEEP or self._writing_paused:
            return
        elif action is StreamAction.SEND_EOF and transport.can_write_eof():
            try:
                transport.write_eof()
            except OSError:
                # The peer has reset the stream, and asyncio has not noticed it yet.
                transport.abort()
            else:
                self.protocol.eof_sent()
        else:
            transport.close()

    def _update_reading(self) -> None:
        wants_read = self.protocol.wants_read
        if wants_read is self._reading_paused and not self.transport.is_closing():
            self._reading_paused = not wants_read
            if wants_read:
                self.transport.resume_reading()
            else:
                self.transport.pause_reading()
            # The pong deadline is suspended while reading is paused.
            self._update_timer()

    def _update_timer(self) -> None:
        deadline = self.protocol.deadline()
        timer = self._timer
        if timer is not None:
            if deadline is not None and self._timer_at <= deadline:
                return
            timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._wait_for_reads)
            self._timer_at = deadline

    def _wait_for_reads(self) -> None:
        # Read before a timeout is handled: uvloop calls timers before it reads, so wait for two iterations.
        self._loop.call_soon(self._loop.call_soon, self._deadline_reached)

    def _deadline_reached(self) -> None:
        self._timer = None
        protocol = self.protocol
        if protocol.state is State.CLOSED:
            return
        if self._writing_paused:
            unwritten = self.transport.get_write_buffer_size()
            if unwritten < protocol.unwritten:
                protocol.data_sent(protocol.unwritten - unwritten)
        self._handle_timeout()
        self._react()


_CLASSES = Connection, TurnQueue, TLSTransport, MemoryTLS
install(*_CLASSES, turn=TURN, call=CALL, at_once=SENDS_AT_ONCE, gathered=GATHERED, read_size=READ_SIZE)
