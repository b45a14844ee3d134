"""WebSocket clients on asyncio."""

from __future__ import annotations

import asyncio
import socket
import ssl as ssl_module
from typing import Unpack

from wsproto_core.client import ClientProtocol
from wsproto_core.exceptions import HandshakeTimeout
from wsproto_core.options import ClientOptions, ConnectOptions, check_call, complete_tls, split_options
from wsproto_core.typing import State
from wsproto_core.uri import WebSocketURI, parse_uri

from .connection import Connection, clock
from .waiting import Opening

__all__ = ["ClientConnection", "Connect", "connect", "unix_connect"]


class AsyncioConnectOptions(ConnectOptions, total=False):
    """Options of :func:`connect`: ours, and those of :meth:`asyncio.loop.create_connection`."""

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


class ClientConnection(Connection):
    """A client's connection."""

    protocol: ClientProtocol

    def __init__(self, uri: str | WebSocketURI, **options: Unpack[ConnectOptions]) -> None:
        """
        Arguments:
            uri: a WebSocket URI.
            options: see :data:`wsproto_core.OPTIONS`.
        """
        loop = asyncio.get_running_loop()
        ours, _ = split_options(ClientOptions, options)
        protocol = ClientProtocol(uri, clock=clock(loop), **ours)
        super().__init__(protocol, options.get("logger"), loop)

    async def wait_opened(self) -> None:
        """Wait until the opening handshake is done.

        Raises:
            InvalidHandshake: it failed.
        """
        await self._wait_until(lambda: self.protocol.state is not State.CONNECTING)
        # The first ping may be due before the deadline that was for this.
        self._update_timer()
        if self.protocol.handshake_error is not None:
            raise self.protocol.handshake_error


class Connect(Opening[ClientConnection]):
    """What :func:`connect` returns: awaitable, and an asynchronous context manager."""

    def __init__(self, uri: str, path: str | None, options: AsyncioConnectOptions) -> None:
        self._uri = parse_uri(uri)
        self._path = path
        self._options, stream_options = split_options(ConnectOptions, options)
        self._stream_options = complete_tls(self._uri, stream_options)
        self._create_protocol = self._options.pop("create_protocol", None) or ClientConnection
        if path is None and stream_options.get("sock") is None:
            self._stream_options["host"] = self._options.get("host") or self._uri.host
            self._stream_options["port"] = self._options.get("port") or self._uri.port

    async def _open(self) -> ClientConnection:
        loop = asyncio.get_running_loop()
        call = loop.create_connection if self._path is None else loop.create_unix_connection
        check_call(call, self._stream_options)
        connection: ClientConnection = self._create_protocol(self._uri, **self._options)
        path = () if self._path is None else (self._path,)
        try:
            async with asyncio.timeout_at(connection.protocol.deadline()) as timeout:
                await call(lambda: connection, *path, **self._stream_options)
            await connection.wait_opened()
        except BaseException as error:
            connection.abort()
            if isinstance(error, TimeoutError) and timeout.expired():
                raise HandshakeTimeout(f"no stream to {self._uri.host} within open_timeout") from error
            raise
        return connection


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
