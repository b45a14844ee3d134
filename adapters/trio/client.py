"""WebSocket clients on trio."""

from __future__ import annotations

import socket
import ssl as ssl_module
from typing import Any, Unpack

import trio
from wsproto_core.options import ConnectOptions
from wsproto_core.structured.client import StructuredClientConnection, StructuredConnect

from .transports import RUNTIME, SocketTransport, StreamTransport, handshake, make_transport

__all__ = ["ClientConnection", "Connect", "connect", "unix_connect"]


class TrioConnectOptions(ConnectOptions, total=False):
    """Options of :func:`connect`: ours, and what a stream is opened with."""

    ssl: bool | ssl_module.SSLContext | None
    server_hostname: str | None
    sock: socket.socket | None
    stream: trio.abc.Stream | None
    local_address: str | None
    happy_eyeballs_delay: float | None


class ClientConnection(StructuredClientConnection):
    """A client's connection."""

    runtime = RUNTIME


class Connect(StructuredConnect[ClientConnection]):
    """What :func:`connect` returns: an asynchronous context manager; awaitable, if it has a nursery."""

    runtime = RUNTIME
    create = ClientConnection
    option_names = TrioConnectOptions.__annotations__
    missing_tasks = "connect() is to be entered by 'async with', or awaited with nursery="

    async def _open_transport(self) -> SocketTransport | StreamTransport:
        options = dict(self.stream_options)
        context = options.pop("ssl", None)
        server_hostname = options.pop("server_hostname", None)
        stream = await self._open_stream(**options)
        if not context:
            return make_transport(stream)
        if context is True:
            context = ssl_module.create_default_context()
        return await handshake(trio.SSLStream(stream, context, server_hostname=server_hostname))

    async def _open_stream(
        self, sock: socket.socket | None = None, stream: trio.abc.Stream | None = None, **options: Any
    ) -> trio.abc.Stream:
        if stream is not None:
            return stream
        if sock is not None:
            sock.setblocking(False)
            return trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        if self.path is not None:
            return await trio.open_unix_socket(self.path)
        return await trio.open_tcp_stream(self.host, self.port, **options)


def connect(
    uri: str, *, nursery: trio.Nursery | None = None, **options: Unpack[TrioConnectOptions]
) -> Connect:
    """Connect to a WebSocket server.

    ::

        async with connect("ws://localhost:8765") as websocket:
            await websocket.send("Hello")
            print(await websocket.recv())

    ``await connect(..., nursery=nursery)`` returns the connection as well, which lives in that
    nursery and has to be closed. When a connection's block, or its nursery, is cancelled, it is
    closed at once.

    Arguments:
        uri: a WebSocket URI: ``ws://host:port/path?query`` or ``wss://...``.
        nursery: where the connection lives, if it is awaited.
        options: those of :data:`wsproto_core.OPTIONS` that a client has, and: ``ssl`` (for
            ``wss:``, the default context if it is not given) and ``server_hostname``; ``sock``, a
            connected socket; ``stream``, any stream of trio that leads to the server;
            ``local_address`` and ``happy_eyeballs_delay`` of :func:`trio.open_tcp_stream`.

    Raises:
        InvalidURI: it is not a WebSocket URI.
        TypeError, ValueError: an option is unknown or not allowed.
        OSError: there is no connection to the host.
        InvalidHandshake: the opening handshake failed; in particular,
            :exc:`InvalidStatusCode` when the server answered with another status than 101.
        HandshakeTimeout: all of this took longer than ``open_timeout``.
    """
    return Connect(uri, None, nursery, options)


def unix_connect(
    path: str,
    uri: str = "ws://localhost/",
    *,
    nursery: trio.Nursery | None = None,
    **options: Unpack[TrioConnectOptions],
) -> Connect:
    """Connect to a WebSocket server that listens on a Unix socket.

    Arguments:
        path: the socket's path.
        uri: for the opening handshake and TLS.
        nursery: see :func:`connect`.
        options: see :func:`connect`.
    """
    return Connect(uri, path, nursery, options)
