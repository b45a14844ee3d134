"""A connection's methods that wait, as all asynchronous adapters have them.

They are written in terms of a few things that an adapter provides, and depend on no event loop:
what is decided here is who may receive and send, in which order, and what a cancellation leaves.
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

from wsproto_core.decoding import PieceConverter, check_decode, convert_message
from wsproto_core.events import Fragment
from wsproto_core.exceptions import ConnectionClosed, ConnectionClosedOK
from wsproto_core.protocol import Protocol
from wsproto_core.types import BytesLike, CloseCode, Data, State

from .blocks import keep_exception
from .connection import DATA_TYPES, BaseConnection, PongResult, Sendable, fragments_of, payload_size
from .options import Logger
from .waiting import Line, Waiters

__all__ = ["CALL", "TURN", "AsyncConnection", "AwaitablePong", "Pieces", "RuntimeEvent"]

TURN = 2**16
"""Bytes that are received, or sent, without a wait, before other tasks get a turn: see :data:`CALL`."""

CALL = TURN // 64
"""Bytes that a call counts for, beside those of its message."""


DataT = TypeVar("DataT", bound=Data)


class RuntimeEvent(Interface):
    """Something that can be waited for once: the ``Event`` of asyncio, trio and anyio."""

    def set(self) -> object:
        """Wake who waits."""

    async def wait(self) -> Any:
        """Wait until it is set."""


class AwaitablePong(PongResult, Awaitable[float], Interface):
    """What ``ping`` returns."""


class Pieces(AsyncIterator[DataT]):
    """The pieces of one message, as they arrive: what ``recv_streaming`` returns.

    It is no generator, so that there is nothing to clean up when it is given up: runtimes complain
    about generators of which that is left to the garbage collector.
    """

    def __init__(self, connection: AsyncConnection, decode: bool | None) -> None:
        self._connection = connection
        self._converter = PieceConverter(decode)
        self._final = False

    async def __anext__(self) -> DataT:
        while not self._final:
            fragment = await self._connection._next_fragment()
            self._final = fragment.final
            piece = self._converter.convert(fragment.data, fragment.final)
            if piece:
                return cast(DataT, piece)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Give up the iteration; for those who are used to close generators."""
        self._final = True


class AsyncConnection(BaseConnection, ABC):
    """A WebSocket connection.

    It is an asynchronous iterator over messages, which ends when the connection is closed with code
    1000, 1001 or 1005 and raises :exc:`ConnectionClosedError` when it is closed otherwise. As an
    asynchronous context manager it is closed on exit: with code 1000; with 1011 when an exception
    leaves the block; at once, with 1001, when the block is cancelled.
    """

    def __init__(self, protocol: Protocol, logger: Logger | None) -> None:
        super().__init__(protocol, logger)
        self._waiters = Waiters()
        self._senders = Line()
        self._takes_left = self._sends_left = TURN

    # What an adapter provides

    @abstractmethod
    def _make_event(self) -> RuntimeEvent:
        """Make an event of the runtime."""

    @abstractmethod
    def _make_pong_waiter(self) -> AwaitablePong:
        """Make what :meth:`ping` returns."""

    @abstractmethod
    async def _let_others_run(self) -> None:
        """Give every other task a turn, and the event loop the time to look at all streams."""

    @abstractmethod
    def _wait_for_input(self, pieces: bool) -> Awaitable[None]:
        """Wait until there is a message, or a piece of one; if none will be, :meth:`_refuse`.

        :attr:`_receiving` is true meanwhile.
        """

    def _stop_waiting_for_input(self) -> None:
        """Withdraw the demand of :meth:`_wait_for_input`, which was cancelled or has failed."""
        self.protocol.stop_waiting()

    @abstractmethod
    async def _wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until something is true, which is looked at whenever anything has changed.

        A method of the connection is better than a function made for the purpose: see :class:`.Waiters`.
        """

    def _write_soon(self) -> bool:
        """Write now or soon; return whether that is all, or :meth:`_sent` is to be called."""
        return False

    @abstractmethod
    async def _sent(self) -> None:
        """Write now or soon; wait if more than ``write_limit`` bytes are unwritten."""

    @abstractmethod
    def _flush(self) -> None:
        """Write what takes no waiting, and see that the rest is."""

    @abstractmethod
    def _write_at_once(self, buffers: list[bytes]) -> None:
        """Write what :func:`.broadcast.deliver` returned; tell by :func:`.broadcast.not_written`."""

    @abstractmethod
    def _react(self) -> None:
        """Do what follows from any change of the state machine."""

    @abstractmethod
    def _taken(self) -> None:
        """A message or a piece of one has been taken: see whether reading has to be resumed."""

    @abstractmethod
    def _abandon(self) -> None:
        """Close at once: send a close frame if that takes no waiting, then close the stream."""

    async def _refuse(self) -> NoReturn:
        """Raise :exc:`ConnectionClosed`, after others have run: a loop that swallows it stops nobody."""
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
        """Receive the next message: ``str`` for text, ``bytes`` for binary.

        Cancelling it loses no message. After the connection is closed, messages that were received
        before are still returned.

        Args:
            decode: ``True`` for ``str`` and ``False`` for ``bytes``, whatever the message is.

        Raises:
            ConnectionClosed: the connection is closed and there are no more messages.
            ConcurrencyError: another task receives, or a message is being received in pieces.
            UnicodeDecodeError: ``decode`` is ``True`` and a binary message is not UTF-8.
        """
        return await self._receive(decode, iterating=False)

    async def _receive(self, decode: bool | None, *, iterating: bool) -> Data:
        """Receive the next message. An iteration ends when the connection has been closed in order."""
        if decode is not None:
            check_decode(decode)
        if self._takes_left <= 0:
            self._takes_left = TURN
            await self._let_others_run()
        if self._receiving:
            self._check_not_receiving()
        protocol = self.protocol
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
            self._takes_left = TURN
        self._takes_left -= CALL + len(message)
        if not wanted:
            self._taken()
        return message if decode is None else convert_message(message, decode)

    @overload
    def recv_streaming(self, decode: Literal[True]) -> Pieces[str]: ...

    @overload
    def recv_streaming(self, decode: Literal[False]) -> Pieces[bytes]: ...

    @overload
    def recv_streaming(self, decode: bool | None = None) -> Pieces[Data]: ...

    def recv_streaming(self, decode: bool | None = None) -> Pieces[Any]:
        """Receive the next message in pieces, as they arrive: an asynchronous iterator.

        Memory is bounded by ``read_limit``, whatever the size of the message and of its frames. If
        the iteration is given up, the next call goes on with the same message; until its last piece
        has been received, :meth:`recv` raises :exc:`ConcurrencyError`.

        Args:
            decode: ``True`` for ``str`` and ``False`` for ``bytes``, whatever the message is.

        Raises:
            ConnectionClosed: the connection is closed and the message is not complete.
            ConcurrencyError: another task receives.
            UnicodeDecodeError: ``decode`` is ``True`` and a binary message is not UTF-8.
        """
        return Pieces(self, decode)

    async def _next_fragment(self) -> Fragment:
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
            self._takes_left = TURN
        self._takes_left -= CALL + len(fragment.data)
        self._react()
        return fragment

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[Any, Any, Data]:
        return self._receive(None, iterating=True)

    # Sending

    async def send(self, message: Sendable, text: bool | None = None, compress: bool | None = None) -> None:
        """Send a message: ``str`` as text, bytes-like as binary.

        An iterable or asynchronous iterable of either is sent as one message, a fragment for each
        item and an empty last one; other messages wait until it is complete.

        Waits while more than ``write_limit`` bytes are on their way. If it is cancelled, the message
        has not been sent or will be sent whole; within an iterable, a cancellation or an error fails
        the connection with code 1011.

        Args:
            text: ``True`` or ``False`` forces text (bytes must be UTF-8) or binary.
            compress: ``True`` or ``False`` compresses this message or does not, if compression was
                negotiated.

        Raises:
            ConnectionClosed: the connection is closed, or closing.
            TypeError: the message, or an item of it, has another type.
        """
        protocol = self.protocol
        try:
            if not isinstance(message, DATA_TYPES):
                await self._send_fragments(fragments_of(message), text, compress)
                return
            if self._senders.last is not None or not protocol.writable:
                async with self._turn():
                    await self._drain()
            protocol.send(cast(str | bytes, message), text=text, compress=compress)
        except ConnectionClosed:
            await self._let_others_run()
            raise
        self._sends_left -= len(message) if isinstance(message, str | bytes) else payload_size(message)
        if not self._write_soon():
            await self._sent()

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
                    # Nothing else could follow on this connection.
                    protocol.fail(error, CloseCode.INTERNAL_ERROR, "error in a fragmented message")
                    self._react()
                raise
            finally:
                if isinstance(fragments, AsyncGenerator):
                    await fragments.aclose()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until nobody else is sending, in the order of arrival, and be the one who does."""
        event = self._make_event()
        place = self._senders.join(event.set)
        try:
            if not place.first:
                # Whoever is sending may not get to know for long that there is nothing more to be sent.
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
        """Write, and wait until there is room for more."""
        protocol = self.protocol
        while protocol.receiving:
            self._flush()
            if protocol.writable:
                return
            await self._wait_until(self._may_write)
        raise protocol.close_exception()

    async def ping(self, data: Data | BytesLike | None = None) -> AwaitablePong:
        """Send a ping.

        Returns a second awaitable that is completed by the pong, its value the latency in seconds;
        it may be ignored. It proves that the peer has received everything that was sent before.
        Cancelling it has no effect. It raises :exc:`ConnectionClosed` if there will be no pong.

        Args:
            data: payload, at most 125 bytes; ``str`` is encoded to UTF-8. By default, four random bytes.

        Raises:
            ConnectionClosed: the connection is closed, or closing.
            RuntimeError: too many pings wait for their pong (``max_pings``).
            ValueError: a ping with this payload waits for its pong, or it is too long.
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
        self._pings[payload] = waiter
        return waiter

    async def pong(self, data: Data | BytesLike = b"") -> None:
        """Send a pong that nobody asked for, as a heartbeat in one direction.

        Args:
            data: payload, at most 125 bytes; ``str`` is encoded to UTF-8.

        Raises:
            ConnectionClosed: the connection is closed, or closing.
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

        Does nothing but wait if the connection is closing already.

        Args:
            code: 1000 to 1003, 1007 to 1014 or 3000 to 4999.
            reason: at most 123 bytes in UTF-8.

        Raises:
            TypeError: the code is not an ``int``, or the reason is not a ``str``.
            ValueError: the code or the reason is not allowed.
        """
        self.protocol.close(code, reason)
        self._react()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed, TCP included."""
        await self._wait_until(self._is_closed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        if not isinstance(exc, Exception | None):
            # Cancelled, or the program ends: this is not the time to wait.
            self._abandon()
            return
        with keep_exception(exc, self.logger):
            try:
                await (self.close() if exc is None else self.close(CloseCode.INTERNAL_ERROR))
            except BaseException:
                self._abandon()
                raise

    # Waiting

    def _is_closed(self) -> bool:
        return self.protocol.state is State.CLOSED

    def _has_ended(self) -> bool:
        return not self.protocol.receiving

    def _may_write(self) -> bool:
        return self.protocol.writable or not self.protocol.receiving

    async def _park(self, ready: Callable[[], bool]) -> None:
        """Wait until :meth:`_wake_waiters` finds that something is true."""
        event = self._make_event()
        self._waiters.add(ready, event.set)
        try:
            await event.wait()
        finally:
            self._waiters.remove(ready, event.set)

    def _wake_waiters(self) -> None:
        """Something has changed: wake those who waited for it."""
        self._waiters.wake()


async def _asynchronous(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item
