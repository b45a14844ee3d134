"""The connection's methods that wait, for all asynchronous adapters: ``recv``, ``send``, ``ping``, ``close``.

They use a few abstract methods, which an adapter implements, and depend on no event loop. This module
decides which task may receive and send, in which order, and the state after a cancellation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
)
from contextlib import asynccontextmanager
from typing import Any, Literal, NoReturn, Self, TypeVar, cast, overload
from typing import Protocol as Interface

from wsproto_core.events import Fragment
from wsproto_core.exceptions import ConnectionClosed, ConnectionClosedOK
from wsproto_core.protocol import Protocol
from wsproto_core.types import BytesLike, CloseCode, Data, State

from .blocks import keep_exception
from .connection import DATA_TYPES, BaseConnection, PongResult, Sendable, fragments_of, payload_size
from .decoding import PieceConverter, check_decode, convert_message
from .options import Logger
from .waiting import TurnQueue, Waiters

__all__ = ["CALL", "TURN", "AsyncConnection", "AwaitablePong", "Pieces", "RuntimeEvent", "wait_for_wake"]

TURN = 2**18
"""Bytes that are received, or sent, without waiting, before other tasks run: see :data:`CALL`."""

CALL = TURN // 64
"""Bytes that are counted for a call at least: a message counts for as many, or for its size.

Messages of this size and more are large: more bytes are read at once.
"""


DataT_co = TypeVar("DataT_co", bound=Data, covariant=True)


class RuntimeEvent(Interface):
    """The ``Event`` of asyncio, trio and anyio."""

    def set(self) -> object:
        """Wake the waiting tasks."""

    async def wait(self) -> Any:
        """Wait until it is set."""


class AwaitablePong(PongResult, Awaitable[float], Interface):
    """The result of ``ping``: an awaitable of the latency in seconds."""


class Pieces(AsyncIterator[DataT_co]):
    """The result of ``recv_streaming``: an asynchronous iterator over the pieces of one message.

    It is not a generator, so that an unfinished iteration needs no cleanup: runtimes warn about
    generators that the garbage collector closes.
    """

    def __init__(self, connection: AsyncConnection, decode: bool | None) -> None:
        self._connection = connection
        self._converter = PieceConverter(decode)
        self._final = False

    async def __anext__(self) -> DataT_co:
        while not self._final:
            fragment = await self._connection._next_fragment()
            self._final = fragment.final
            piece = self._converter.convert(fragment.data, fragment.final)
            if piece:
                return cast(DataT_co, piece)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """End the iteration, as the method of this name ends an asynchronous generator."""
        self._final = True


class AsyncConnection(BaseConnection, ABC):
    """A WebSocket connection.

    It is an asynchronous iterator over messages. The iteration ends when the connection is closed with
    code 1000, 1001 or 1005, and raises :exc:`ConnectionClosedError` for other codes and for lost
    connections. It is an asynchronous context manager, which closes the connection at the end of the
    block: with code 1000; with 1011 if an exception leaves the block; at once, with 1001, if the block is
    cancelled.
    """

    __slots__ = ("_senders", "_sends_left", "_takes_left", "_waiters")

    _check_cancelled: Callable[[], Awaitable[object] | None] | None = None
    """Raise the runtime's exception if the caller has been cancelled, where calls that do not wait do so.

    There is nothing to await if it returns ``None``.
    """

    _waits_yield = True
    """Whether other tasks always run in :meth:`_wait_for_input`: then this task has a new turn after it."""

    def __init__(self, protocol: Protocol, logger: Logger | None) -> None:
        super().__init__(protocol, logger)
        self._waiters = Waiters()
        self._senders = TurnQueue()
        self._takes_left = self._sends_left = TURN

    # Abstract methods, for adapters

    @abstractmethod
    def _make_event(self) -> RuntimeEvent:
        """Make an event of the runtime."""

    @abstractmethod
    def _make_pong_waiter(self) -> AwaitablePong:
        """Make the result of :meth:`ping`."""

    @abstractmethod
    async def _let_others_run(self) -> None:
        """Let all other tasks run, and the event loop poll all streams."""

    @abstractmethod
    def _wait_for_input(self, pieces: bool) -> Awaitable[None]:
        """Wait for a message, or for a piece of one; raise by :meth:`_refuse` if the connection has ended.

        :attr:`_receiving` is set to true while it waits; the caller resets it.
        """

    def _stop_waiting_for_input(self) -> None:
        """Withdraw the demand of :meth:`_wait_for_input`, which was cancelled or has failed."""
        self.protocol.stop_waiting()

    @abstractmethod
    async def _wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until a condition is true, which is tested whenever the connection has changed.

        A method of the connection costs less than a new function: see :class:`.Waiters`.
        """

    def _write_soon(self) -> bool:
        """Write now or soon; return false if :meth:`_sent` has to be called in addition."""
        return False

    @abstractmethod
    async def _sent(self) -> None:
        """Write now or soon; wait if more than ``write_limit`` bytes are unwritten."""

    @abstractmethod
    def _flush(self) -> None:
        """Write as far as that does not wait, and have the rest written later."""

    @abstractmethod
    def _write_at_once(self, buffers: list[bytes]) -> None:
        """Write buffers of a broadcast at once; call :func:`.broadcast.not_written` for the rest."""

    @abstractmethod
    def _react(self) -> None:
        """Handle events, write, and wake tasks, after a change of the state machine."""

    @abstractmethod
    def _taken(self) -> None:
        """Resume reading: the receive queue has come down to its low watermark."""

    @abstractmethod
    def _abandon(self) -> None:
        """Close at once: send a close frame if this is possible without waiting, then close the stream."""

    async def _refuse(self) -> NoReturn:
        """Raise :exc:`ConnectionClosed` after other tasks have run: a loop that catches it blocks none."""
        await self._let_others_run()
        raise self.protocol.close_exception()

    # Receiving

    @overload
    async def recv(self, decode: Literal[True]) -> str: ...

    @overload
    async def recv(self, decode: Literal[False]) -> bytes: ...

    @overload
    async def recv(self, decode: bool | None = None) -> Data: ...

    async def recv(self, decode: bool | None = None) -> Data:
        """Receive the next message.

        A cancelled call loses no message. After the close, messages that were received before are
        returned first, then :exc:`ConnectionClosed` is raised.

        Args:
            decode: the type of the result: ``True`` for ``str``, ``False`` for ``bytes``; by default
                ``str`` for a text message and ``bytes`` for a binary message.

        Returns:
            The message: ``str`` for text, ``bytes`` for binary, unless ``decode`` is given.

        Raises:
            ConnectionClosed: the connection is closed, and all received messages have been returned.
            ConcurrencyError: another task is receiving, or a message is being received in pieces.
            UnicodeDecodeError: ``decode`` is ``True`` and a binary message is not UTF-8.
        """
        return await self._receive(decode, iterating=False)

    async def _receive(self, decode: bool | None, *, iterating: bool) -> Data:
        """Receive the next message. An iteration ends at a :exc:`ConnectionClosedOK`."""
        if decode is not None:
            check_decode(decode)
        if self._check_cancelled is not None and (check := self._check_cancelled()) is not None:
            await check
        protocol = self.protocol
        if self._takes_left <= 0 and protocol.has_input:
            self._takes_left = TURN
            await self._let_others_run()
        if self._receiving:
            self._check_not_receiving()
        wanted = protocol.wants_read
        while (message := protocol.next_message()) is None:
            try:
                await self._wait_for_input(False)
            except ConnectionClosedOK:
                if iterating:
                    raise StopAsyncIteration from None
                raise
            except BaseException:
                self._stop_waiting_for_input()
                raise
            finally:
                self._receiving = False
            wanted = protocol.wants_read
            if self._waits_yield:
                self._takes_left = self._sends_left = TURN
        self._takes_left -= max(CALL, len(message))
        if not wanted and protocol.wants_read:
            self._taken()
        return message if decode is None else convert_message(message, decode)

    @overload
    def recv_streaming(self, decode: Literal[True]) -> Pieces[str]: ...

    @overload
    def recv_streaming(self, decode: Literal[False]) -> Pieces[bytes]: ...

    @overload
    def recv_streaming(self, decode: bool | None = None) -> Pieces[Data]: ...

    def recv_streaming(self, decode: bool | None = None) -> Pieces[Any]:
        """Receive the next message in pieces, as they arrive.

        The memory is limited by ``read_limit``, whatever the size of the message and of its frames. If
        the iteration ends before the last piece, the next call continues with the same message; until
        its last piece has been received, :meth:`recv` raises :exc:`ConcurrencyError`.

        Args:
            decode: the type of the result: ``True`` for ``str``, ``False`` for ``bytes``; by default
                ``str`` for a text message and ``bytes`` for a binary message.

        Returns:
            An asynchronous iterator over the pieces of one message. The iterator may raise:

        Raises:
            ConnectionClosed: the connection is closed, and the message is not complete.
            ConcurrencyError: another task is receiving.
            UnicodeDecodeError: ``decode`` is ``True`` and a binary message is not UTF-8.
        """
        return Pieces(self, decode)

    async def _next_fragment(self) -> Fragment:
        if self._check_cancelled is not None and (check := self._check_cancelled()) is not None:
            await check
        if self._takes_left <= 0:
            self._takes_left = TURN
            await self._let_others_run()
        if self._receiving:
            self._check_not_receiving()
        while (fragment := self.protocol.next_fragment()) is None:
            try:
                await self._wait_for_input(True)
            except BaseException:
                self._stop_waiting_for_input()
                raise
            finally:
                self._receiving = False
            if self._waits_yield:
                self._takes_left = self._sends_left = TURN
        self._takes_left -= max(CALL, len(fragment.data))
        self._react()
        return fragment

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[Any, Any, Data]:
        return self._receive(None, iterating=True)

    # Sending

    async def send(self, message: Sendable, text: bool | None = None, compress: bool | None = None) -> None:
        """Send a message.

        The call waits while the send queue has more than ``write_limit`` bytes (backpressure). If it is
        cancelled, nothing has been sent, or the whole message will be sent. If it is cancelled, or an
        exception is raised, within an iterable, the connection fails with code 1011.

        Args:
            message: ``str`` is sent as text, bytes-like as binary, a prepared message as it was
                prepared. An iterable or asynchronous iterable of ``str`` or bytes-like is sent as one
                message with a fragment for each item; other messages wait until it is complete.
            text: ``True`` sends bytes-like as text (it must be UTF-8), ``False`` sends ``str`` as
                binary (in UTF-8); by default the type of the message decides.
            compress: whether to compress this message, if compression was negotiated; by default the
                size of the message decides.

        Raises:
            ConnectionClosed: the connection is closed or closing.
            TypeError: the message, or an item of it, has another type.
            UnicodeDecodeError: ``text`` is ``True`` and the bytes are not UTF-8.
        """
        protocol = self.protocol
        try:
            if not isinstance(message, DATA_TYPES):
                await self._send_fragments(fragments_of(message), text, compress)
                return
            if self._senders.last is not None or not protocol.writable or self._sends_left <= 0:
                async with self._turn():
                    if self._sends_left <= 0:
                        await self._let_others_run()
                    await self._drain()
            protocol.send(message, text=text, compress=compress)
        except ConnectionClosed:
            await self._let_others_run()
            raise
        # Not `str | bytes`, which would be built at each call.
        size = len(message) if isinstance(message, (str, bytes)) else payload_size(message)
        if size > CALL:
            # _write_soon counts the call.
            self._sends_left -= size - CALL
        if not self._write_soon():
            await self._sent()
        elif self._check_cancelled is not None and (check := self._check_cancelled()) is not None:
            await check

    async def _send_fragments(self, fragments: Any, text: bool | None, compress: bool | None) -> None:
        if not isinstance(fragments, AsyncIterable):
            fragments = _asynchronous(fragments)
        fragments = aiter(fragments)
        protocol = self.protocol
        async with self._turn():
            begun = False
            try:
                async for fragment in fragments:
                    await self._drain()
                    protocol.send(fragment, text=text, fin=False, compress=compress)
                    self._sends_left -= payload_size(fragment)
                    begun = True
                    await self._sent()
                if begun:
                    protocol.end_message()
                    await self._sent()
            except BaseException as error:
                if begun and protocol.state is State.OPEN:
                    # No other message can follow an incomplete one.
                    protocol.fail(error, CloseCode.INTERNAL_ERROR, "error in a fragmented message")
                    self._react()
                raise
            finally:
                if isinstance(fragments, AsyncGenerator):
                    await fragments.aclose()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until no other task is sending, first in first out, and keep others waiting."""
        event = self._make_event()
        place = self._senders.join(event.set)
        try:
            if not place.first:
                # A sender of fragments may notice late that the connection has ended.
                self._waiters.add(self._has_ended, event.set)
                try:
                    await event.wait()
                finally:
                    self._waiters.remove(self._has_ended, event.set)
                if not place.first:
                    await self._refuse()
            yield
        finally:
            place.leave()

    async def _drain(self) -> None:
        """Write, and wait until the connection is writable."""
        protocol = self.protocol
        while protocol.receiving:
            self._flush()
            if protocol.writable:
                return
            await self._wait_until(self._may_write)
        raise protocol.close_exception()

    async def ping(self, data: Data | BytesLike | None = None) -> AwaitablePong:
        """Send a ping.

        A pong shows that the peer has received all messages that were sent before the ping.

        Args:
            data: the payload, at most 125 bytes; ``str`` is encoded to UTF-8. By default, four random bytes.

        Returns:
            A second awaitable, which is completed by the pong; its value is the latency in seconds. It
            need not be awaited, and cancelling it has no effect. It raises :exc:`ConnectionClosed` if
            the connection ends without a pong.

        Raises:
            ConnectionClosed: the connection is closed or closing.
            RuntimeError: there are ``max_pings`` unanswered pings.
            ValueError: the payload is too long, or a ping with this payload is unanswered.
        """
        try:
            waiter = self._begin_ping(data)
        except ConnectionClosed:
            await self._let_others_run()
            raise
        await self._sent()
        return waiter

    def _begin_ping(self, data: Data | BytesLike | None) -> AwaitablePong:
        payload = self.protocol.ping(data)
        waiter = self._make_pong_waiter()
        self._expect_pong(payload, waiter)
        return waiter

    async def pong(self, data: Data | BytesLike = b"") -> None:
        """Send an unsolicited pong: a heartbeat in one direction (RFC 6455 section 5.5.3).

        Args:
            data: the payload, at most 125 bytes; ``str`` is encoded to UTF-8.

        Raises:
            ConnectionClosed: the connection is closed or closing.
            ValueError: the payload is too long.
        """
        try:
            self.protocol.pong(data)
        except ConnectionClosed:
            await self._let_others_run()
            raise
        await self._sent()

    # Closing

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Perform the closing handshake, and wait until TCP is closed: at most twice ``close_timeout``.

        If the connection is closing already, the call only waits. If it is closed, the call returns at
        once.

        Args:
            code: the close code: 1000 to 1003, 1007 to 1014 or 3000 to 4999; by default 1000.
            reason: the reason, at most 123 bytes in UTF-8; by default empty.

        Raises:
            TypeError: the code is not an ``int``, or the reason is not a ``str``.
            ValueError: the code or the reason is not allowed.
        """
        self.protocol.close(code, reason)
        self._react()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the closing handshake is done and TCP is closed; this does not close the connection."""
        await self._wait_until(self._is_closed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        if not isinstance(exc, Exception | None):
            # The task is cancelled, or the program ends: do not wait.
            self._abandon()
            return
        with keep_exception(exc, self.logger):
            try:
                await (self.close() if exc is None else self.close(CloseCode.INTERNAL_ERROR))
            except BaseException:
                self._abandon()
                raise

    # Waiting

    async def _park(self, ready: Callable[[], bool]) -> None:
        """Wait until :meth:`_wake_waiters` finds that a condition is true."""
        await wait_for_wake(self._waiters, ready, self._make_event())

    def _wake_waiters(self) -> None:
        """Wake the tasks whose condition has become true."""
        self._waiters.wake()


async def wait_for_wake(waiters: Waiters, ready: Callable[[], bool], event: RuntimeEvent) -> None:
    """Wait until :meth:`.Waiters.wake` finds that a condition is true.

    Args:
        waiters: the waiting tasks, to which this one is added.
        ready: the condition.
        event: an event of the runtime that is not set.
    """
    waiters.add(ready, event.set)
    try:
        await event.wait()
    finally:
        waiters.remove(ready, event.set)


async def _asynchronous(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item
