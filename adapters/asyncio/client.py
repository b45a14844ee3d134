"""WebSocket clients on asyncio."""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl as ssl_module
from collections.abc import Generator
from types import TracebackType
from typing import Any, TypedDict, Unpack

from wsproto_core.client import ClientProtocol
from wsproto_core.events import Event
from wsproto_core.exceptions import HandshakeTimeout
from wsproto_core.options import ClientOptions, ConnectOptions, resolve, split_options, unknown_option
from wsproto_core.typing import State
from wsproto_core.uri import WebSocketURI, parse_uri

from .connection import Connection, clock

__all__ = ["ClientConnection", "Connect", "connect", "unix_connect"]


class StreamOptions(TypedDict, total=False):
    """Options of :meth:`asyncio.loop.create_connection` and ``create_unix_connection``."""

    ssl: bool | ssl_module.SSLContext | None
    server_hostname: str | None
    sock: socket.socket | None
    family: int
    proto: int
    flags: int
    local_addr: tuple[str, int] | None
    ssl_handshake_timeout: float | None
    ssl_shutdown_timeout: float | None
    happy_eyeballs_delay: float | None
    interleave: int | None
    all_errors: bool


class AsyncioConnectOptions(ConnectOptions, StreamOptions, total=False):
    """Options of :func:`connect`."""


class ClientConnection(Connection):
    """A client's connection."""

    protocol: ClientProtocol

    def __init__(self, uri: str | WebSocketURI, **options: Unpack[ClientOptions]) -> None:
        """
        Arguments:
            uri: a WebSocket URI.
            options: see :data:`wsproto_core.OPTIONS`.
        """
        loop = asyncio.get_running_loop()
        protocol = ClientProtocol(uri, clock=clock(loop), **options)
        super().__init__(protocol, options.get("logger"), loop)
        self._opened: asyncio.Future[None] = loop.create_future()

    async def wait_opened(self) -> None:
        """Wait until the opening handshake is done.

        Raises:
            InvalidHandshake: it failed.
        """
        await self._opened
        if self.protocol.handshake_error is not None:
            raise self.protocol.handshake_error

    def _handle_event(self, event: Event) -> None:
        super()._handle_event(event)
        if self.protocol.state is not State.CONNECTING and not self._opened.done():
            self._opened.set_result(None)
            # The first ping may be due before the deadline that was for this.
            self._update_timer()


class Connect:
    """What :func:`connect` returns: awaitable, and an asynchronous context manager."""

    def __init__(self, uri: str, path: str | None, options: AsyncioConnectOptions) -> None:
        self._uri = parse_uri(uri)
        self._path = path
        given, self._stream_options = split_options(ConnectOptions, options)
        resolve(ConnectOptions, given)
        self._create_protocol = given.pop("create_protocol", None) or ClientConnection
        self._host = given.pop("host", None) or self._uri.host
        self._port = given.pop("port", None) or self._uri.port
        self._options = given

    def __await__(self) -> Generator[Any, None, ClientConnection]:
        return self._open().__await__()

    async def __aenter__(self) -> ClientConnection:
        self._connection = await self._open()
        return self._connection

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._connection.__aexit__(exc_type, exc_value, traceback)

    async def _open(self) -> ClientConnection:
        stream_options = self._complete_stream_options()
        connection: ClientConnection = self._create_protocol(self._uri, **self._options)
        deadline = connection.protocol.deadline()
        try:
            async with asyncio.timeout_at(deadline) as timeout:
                await self._open_stream(connection, stream_options)
            await connection.wait_opened()
        except BaseException as error:
            if connection.local_address is not None:
                connection.transport.abort()
            if isinstance(error, TimeoutError) and timeout.expired():
                raise HandshakeTimeout(
                    f"no connection to {self._host}:{self._port} within open_timeout"
                ) from error
            raise
        return connection

    async def _open_stream(self, connection: ClientConnection, options: dict[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        if self._path is not None:
            await loop.create_unix_connection(lambda: connection, self._path, **options)
        elif options.get("sock") is not None:
            await loop.create_connection(lambda: connection, **options)
        else:
            await loop.create_connection(lambda: connection, self._host, self._port, **options)

    def _complete_stream_options(self) -> dict[str, Any]:
        """Check the options of the event loop's own call, and add those that TLS needs."""
        loop = asyncio.get_running_loop()
        call = loop.create_connection if self._path is None else loop.create_unix_connection
        check_stream_options(call, self._stream_options)
        options = dict(self._stream_options)
        if self._uri.secure:
            if options.setdefault("ssl", True) is None:
                raise ValueError("ssl must not be None for a wss:// URI")
            options.setdefault("server_hostname", self._uri.host)
        elif options.get("ssl"):
            raise ValueError("ssl must not be given for a ws:// URI: use wss://")
        return options


def check_stream_options(call: Any, options: dict[str, Any]) -> None:
    """Refuse keyword arguments that neither this library nor the event loop knows.

    Raises:
        TypeError: there is one.
    """
    known = set(inspect.signature(call).parameters) - {"protocol_factory", "host", "port", "path"}
    for name in options:
        if name not in known:
            raise TypeError(unknown_option(name, [*known, *ConnectOptions.__annotations__]))


def connect(uri: str, **options: Unpack[AsyncioConnectOptions]) -> Connect:
    """Connect to a WebSocket server.

    ::

        async with connect("ws://localhost:8765") as websocket:
            await websocket.send("Hello")
            print(await websocket.recv())

    ``await connect(...)`` returns the connection as well; it then has to be closed.

    Arguments:
        uri: a WebSocket URI: ``ws://host:port/path?query`` or ``wss://...``.
        options: those of :data:`wsproto_core.OPTIONS` that a client has, and those of
            :meth:`asyncio.loop.create_connection`: ``ssl`` (for ``wss:``, the default context if it
            is not given), ``server_hostname``, ``sock``, ``family``, ...

    Raises:
        InvalidURI: it is not a WebSocket URI.
        TypeError, ValueError: an option is unknown or not allowed.
        OSError: there is no connection to the host.
        InvalidHandshake: the opening handshake failed; in particular,
            :exc:`InvalidStatusCode` when the server answered with another status than 101.
        HandshakeTimeout: all of this took longer than ``open_timeout``.
    """
    return Connect(uri, None, options)


def unix_connect(
    path: str, uri: str = "ws://localhost/", **options: Unpack[AsyncioConnectOptions]
) -> Connect:
    """Connect to a WebSocket server that listens on a Unix socket.

    Arguments:
        path: the socket's path.
        uri: for the opening handshake and TLS.
        options: see :func:`connect`.
    """
    return Connect(uri, path, options)
