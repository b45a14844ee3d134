"""WebSocket clients on trio."""

from __future__ import annotations

from typing import Unpack

import trio
from adapters.shared.stream_options import check_path
from adapters.structured.client import (
    StructuredClientConnection,
    StructuredConnect,
    StructuredConnectOptions,
    StructuredReconnect,
)
from wsproto_core.types import SocketPath

from .streams import RUNTIME

__all__ = ["ClientConnection", "Connect", "Reconnect", "connect", "reconnect", "unix_connect"]


class TrioConnectOptions(StructuredConnectOptions[trio.abc.Stream], total=False):
    """Options of :func:`connect`: ours, and those of the stream."""


class ClientConnection(StructuredClientConnection):
    """A client's connection."""

    runtime = RUNTIME


class Connect(StructuredConnect[ClientConnection]):
    """What :func:`connect` returns: an asynchronous context manager; awaitable, if it has a nursery."""

    runtime = RUNTIME
    create = ClientConnection
    tasks_name = "nursery"


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

    Args:
        uri: a WebSocket URI: ``ws://host:port/path?query`` or ``wss://...``.
        nursery: where the connection lives, if it is awaited.
        options: those of :data:`wsproto_core.OPTIONS` that a client has, and: ``ssl`` (for
            ``wss:``, the default context if it is not given) and ``server_hostname``; ``sock``, a
            connected socket; ``stream``, any stream of trio that leads to the server;
            ``local_address``, an IP address; ``happy_eyeballs_delay``, seconds until the next address
            of the host is tried (0.25);
            ``proxy_ssl``, the TLS context for a proxy whose URL begins with ``https:``, and
            ``proxy_server_hostname``, the name that its certificate must have (that in the URL).

    Raises:
        InvalidURI: it is not a WebSocket URI.
        TypeError, ValueError: an option is unknown or not allowed.
        OSError: there is no connection to the host.
        InvalidHandshake: the opening handshake failed; in particular,
            :exc:`InvalidStatusCode` when the server answered with another status than 101, and
            :exc:`ProxyError` when there is no way through the proxy.
        HandshakeTimeout: all of this took longer than ``open_timeout``.
    """
    return Connect(uri, None, nursery, options)


def unix_connect(
    path: SocketPath,
    uri: str = "ws://localhost/",
    *,
    nursery: trio.Nursery | None = None,
    **options: Unpack[TrioConnectOptions],
) -> Connect:
    """Connect to a WebSocket server that listens on a Unix socket.

    Args:
        path: the socket's path.
        uri: for the opening handshake and TLS.
        nursery: see :func:`connect`.
        options: see :func:`connect`.
    """
    return Connect(uri, check_path(path), nursery, options)


class Reconnect(StructuredReconnect[ClientConnection]):
    """What :func:`reconnect` returns: an asynchronous context manager that gives an iterator."""


def reconnect(uri: str, **options: Unpack[TrioConnectOptions]) -> Reconnect:
    """Connect again and again.

    ::

        async with reconnect("ws://localhost:8765") as connections:
            async for websocket in connections:
                try:
                    async for message in websocket:
                        ...
                except ConnectionClosed:
                    continue

    Which connection follows which, and when, is said at :class:`wsproto_core.reconnecting.Attempts`.

    Args:
        uri: see :func:`connect`.
        options: see :func:`connect`; ``reconnect_delays`` and ``reconnect_fatal`` are for this.

    Raises:
        InvalidURI, TypeError, ValueError: see :func:`connect`.
    """
    return Reconnect(Connect(uri, None, None, options))
