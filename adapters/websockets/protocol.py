"""Connections of clients and servers after the opening handshake."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar, cast, overload

from wsproto_core.exceptions import ConnectionClosed, ConnectionClosedOK
from wsproto_core.protocol import Protocol
from wsproto_core.types import BytesLike, Data, Side

from ..asyncio.connection import Connection
from ..shared.asynchronous import AwaitablePong
from ..shared.connection import Sendable, fragments_of
from .calls import Called, coroutine_function
from .older_names import check_loop, deprecated, take_close_timeout, take_legacy_recv

__all__ = ["WebSocketCommonProtocol"]

_NOT_GIVEN: Any = object()

GOOD_CODES = (1000, 1001)
"""The close codes for which ``ConnectionClosedOK`` is documented."""

R = TypeVar("R")


DOCUMENTED = (
    "ping_interval",
    "ping_timeout",
    "close_timeout",
    "max_size",
    "max_queue",
    "read_limit",
    "write_limit",
)
"""The documented options of clients, servers and connections."""


def documented(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the documented options among a function's arguments, which are its ``locals()``."""
    return {name: arguments[name] for name in DOCUMENTED}


class WebSocketCommonProtocol(Connection):
    """A connection after its opening handshake. By itself it is for a stream that needs none.

    Attributes:
        is_client: whether this is the client's end, which masks what it sends.
        legacy_recv: whether :meth:`recv` returns ``None`` when the connection is closed.
    """

    is_client: ClassVar[bool] = False
    _logger_name = "websockets.protocol"

    ping_interval: float | None
    ping_timeout: float | None
    close_timeout: float
    max_size: int | None
    max_queue: int | None
    read_limit: int
    write_limit: int
    legacy_recv: bool

    def __init__(
        self,
        *,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = None,
        max_size: int | None = 2**20,
        max_queue: int | None = 2**5,
        read_limit: int = 2**16,
        write_limit: int = 2**16,
        loop: asyncio.AbstractEventLoop | None = None,
        host: str | None = None,
        port: int | None = None,
        secure: bool | None = None,
        legacy_recv: bool = False,
        timeout: float | None = None,
        **others: Any,
    ) -> None:
        """
        Args:
            ping_interval: seconds from ping to ping; ``None`` for no pings.
            ping_timeout: seconds after a ping in which bytes must be received; otherwise the
                connection fails with code 1011; ``None`` for no limit.
            close_timeout: seconds to wait for the peer's close frame, and again for the end of the TCP
                connection; ``None`` is 10.
            max_size: bytes that a received message may have; ``None`` for no limit.
            max_queue: maximum number of messages in the receive queue; ``None`` for no limit.
            read_limit: bytes in the receive queue at which reading pauses; it resumes at half of that.
            write_limit: bytes in the send queue above which ``send`` waits, until there is a quarter
                of that.
            loop: the running event loop. Deprecated, and not needed.
            host, port, secure: deprecated: the address of the server, and whether it uses TLS.
            legacy_recv: deprecated: whether ``recv`` returns ``None`` at the end of the connection.
            timeout: deprecated: the older name of ``close_timeout``.
            others: more options of :data:`adapters.shared.options.OPTIONS`.
        """
        options = self._set_up(
            documented(locals()),
            loop,
            {
                "host": host,
                "port": port,
                "secure": secure,
                "legacy_recv": legacy_recv,
                "timeout": timeout,
                **others,
            },
        )
        clock, _ = self._clocks()
        side = Side.CLIENT if self.is_client else Side.SERVER
        logger = options.pop("logger")
        super().__init__(Protocol(side, clock=clock, **options), logger)
        self.protocol.good_codes = GOOD_CODES

    def _set_up(
        self, options: dict[str, Any], loop: asyncio.AbstractEventLoop | None, others: dict[str, Any]
    ) -> dict[str, Any]:
        """Set the attributes for the arguments; return the options for the connection."""
        if loop is not None:
            deprecated("loop", "leave it out, the running event loop is used")
        check_loop(loop)
        options["close_timeout"] = take_close_timeout(others, options["close_timeout"])
        self.legacy_recv = take_legacy_recv(others)
        self._sending: set[asyncio.Task[Any]] = set()
        self._unheard = False  # whether the awaitable that would have raised ConnectionClosed was dropped
        self._place: dict[str, Any] = {}
        end = "remote_address" if self.is_client else "local_address"
        for name, replacement in (("host", f"{end}[0]"), ("port", f"{end}[1]"), ("secure", "the URI")):
            value = others.pop(name, None)
            if value is not None:
                deprecated(name, f"leave it out, {replacement} tells")
                self._place[name] = value
        for name, value in options.items():
            setattr(self, name, value)
        logger = others.pop("logger", None) or logging.getLogger(self._logger_name)
        return {"compression": None, **options, **others, "logger": logger}

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop."""
        return self._loop

    @property
    def host(self) -> Any:
        """Deprecated: the argument ``host``, or the host in the server's address."""
        return self._server_address("host", 0)

    @property
    def port(self) -> Any:
        """Deprecated: the argument ``port``, or the port in the server's address."""
        return self._server_address("port", 1)

    @property
    def secure(self) -> bool:
        """Deprecated: the argument ``secure``, or whether the stream uses TLS."""
        deprecated("secure", "the URI tells, or transport.get_extra_info('ssl_object')")
        secure = self._place.get("secure")
        if secure is not None:
            return bool(secure)
        return hasattr(self, "transport") and self.transport.get_extra_info("ssl_object") is not None

    def _server_address(self, name: str, index: int) -> Any:
        end = "remote_address" if self.is_client else "local_address"
        deprecated(name, f"use {end}[{index}]")
        if name in self._place:
            return self._place[name]
        address = getattr(self, end)
        return None if address is None else address[index]

    @overload
    async def recv(self, decode: Literal[True]) -> str: ...

    @overload
    async def recv(self, decode: Literal[False]) -> bytes: ...

    @overload
    async def recv(self, decode: bool | None = None) -> Data: ...

    async def recv(self, decode: bool | None = None) -> Data:
        try:
            return await super().recv(decode)
        except ConnectionClosed:
            if self.legacy_recv:
                return cast(Data, None)
            raise

    async def __anext__(self) -> Data:
        if not self.legacy_recv:
            return await super().__anext__()
        try:
            return await super().recv()
        except ConnectionClosedOK:
            raise StopAsyncIteration from None

    @coroutine_function
    def send(
        self,
        message: Sendable = _NOT_GIVEN,
        text: bool | None = None,
        compress: bool | None = None,
        *,
        data: Sendable = _NOT_GIVEN,
    ) -> Coroutine[Any, Any, None]:
        """Send a message: ``str`` as text, bytes-like as binary; an iterable of either in fragments.

        The message is in the send queue when the call returns. Awaiting the returned object waits while the
        send queue has more than ``write_limit`` bytes. A task sends a message in fragments, and the
        messages that are sent before it is complete, in the order of the calls.

        If the connection is closed, awaiting the returned object raises :exc:`ConnectionClosed`; if it is
        not awaited, the next call raises this exception.

        Args:
            message: the message.
            text, compress: see :meth:`adapters.asyncio.connection.Connection.send`.
            data: deprecated: the older name of ``message``.

        Raises:
            TypeError: the message has another type.
        """
        if data is not _NOT_GIVEN:
            deprecated("data", "use message")
            message = data if message is _NOT_GIVEN else message
        if message is _NOT_GIVEN:
            raise TypeError("send() needs a message")
        again = partial(super().send, message, text, compress)
        if fragments_of(message) is not None or self._senders or self._sending:
            return self._send_in_turn(again) if self._runs_here() else again()
        # It is not an iterable, so it is a message.
        send = partial(self.protocol.send, cast(Data, message), text=text, compress=compress)
        return self._act(send, again)

    def _send_in_turn(self, send: Callable[[], Coroutine[Any, Any, None]]) -> Called[None]:
        """Send by a task, after the tasks that have begun; the task runs even if it is not awaited."""
        task = self._loop.create_task(_until_closed(send()))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        return Called(_result_of(task))

    @coroutine_function
    def ping(self, data: Data | BytesLike | None = None) -> Coroutine[Any, Any, AwaitablePong]:
        """Send a ping. Awaiting the returned object gives a future that the pong completes.

        The future's value is the latency in seconds; it need not be awaited. See :meth:`send` for plain
        calls, and for closed connections.

        Args:
            data: payload, at most 125 bytes; ``str`` is encoded to UTF-8. By default, four random bytes.

        Raises:
            RuntimeError: there are ``max_pings`` unanswered pings.
            ValueError: the payload is too long, or a ping with this payload is unanswered.
        """
        return self._act(partial(self._begin_ping, data), partial(super().ping, data))

    @coroutine_function
    def pong(self, data: Data | BytesLike = b"") -> Coroutine[Any, Any, None]:
        """Send an unsolicited pong: a heartbeat in one direction (RFC 6455 section 5.5.3).

        See :meth:`send` for plain calls, and for closed connections.

        Args:
            data: payload, at most 125 bytes; ``str`` is encoded to UTF-8.

        Raises:
            ValueError: the payload is too long.
        """
        return self._act(partial(self.protocol.pong, data), partial(super().pong, data))

    def _act(
        self, act: Callable[[], R], again: Callable[[], Coroutine[Any, Any, R]]
    ) -> Coroutine[Any, Any, R]:
        """Do something at once; return a coroutine that waits until there is room in the send queue.

        Args:
            act: does it.
            again: returns a coroutine that does it.
        """
        if not self._runs_here():
            return again()
        try:
            result = act()
        except ConnectionClosed:
            if self._unheard:
                self._unheard = False
                raise
            # Awaiting the result raises it, as with every coroutine.
            return Called(again(), self._not_heard)
        self._write_soon()
        # Most calls return None, and then no result is needed after the waiting.
        return Called(cast(Any, self._sent()) if result is None else self._room_after(result))

    def _runs_here(self) -> bool:
        """Return whether the event loop runs in this thread: in other threads, nothing is done at once."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def _not_heard(self) -> None:
        self._unheard = True

    async def _room_after(self, result: R) -> R:
        await self._sent()
        return result


async def _until_closed(sending: Coroutine[Any, Any, None]) -> ConnectionClosed | None:
    """Return ``ConnectionClosed`` instead of raising it: asyncio would log it if the task is not awaited."""
    try:
        await sending
    except ConnectionClosed as error:
        return error
    return None


async def _result_of(task: asyncio.Task[ConnectionClosed | None]) -> None:
    error = await task
    if error is not None:
        raise error


def listed(value: Any) -> Any:
    """Return a list of the items if the value is an iterator, since it may be needed several times."""
    return list(value) if isinstance(value, Iterator) else value


def with_compression(extensions: Sequence[Any] | None, default: Any) -> Sequence[Any] | None:
    """Add the factory for the option ``compression``, if there is no factory of the same name."""
    if default is None or any(factory.name == default.name for factory in extensions or ()):
        return extensions
    return [*(extensions or ()), default]
