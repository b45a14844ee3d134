"""WebSocket clients on anyio, whatever it runs on."""

from __future__ import annotations

from typing import Unpack

from anyio.abc import ByteStream, TaskGroup
from wsproto_core.types import SocketPath

from ..shared.signatures import show_options
from ..shared.stream_options import check_path
from ..structured.client import (
    StructuredClientConnection,
    StructuredConnect,
    StructuredConnectOptions,
    StructuredReconnect,
)
from .streams import RUNTIME

__all__ = [
    "AnyioConnectOptions",
    "ClientConnection",
    "Connect",
    "Reconnect",
    "connect",
    "reconnect",
    "unix_connect",
]


class AnyioConnectOptions(StructuredConnectOptions[ByteStream], total=False):
    """Options of :func:`connect`: ours, and those of the stream."""


class ClientConnection(StructuredClientConnection):
    """A client's connection, which :func:`connect` opens.

    ``async for`` iterates over its messages, and ``async with`` closes it at the end of the block: see
    :class:`Connection`.
    """

    _runtime = RUNTIME


class Connect(StructuredConnect[ClientConnection]):
    """The result of :func:`connect`: an asynchronous context manager; awaitable with ``task_group=``."""

    _runtime = RUNTIME
    _create = ClientConnection
    _tasks_name = "task_group"


@show_options(AnyioConnectOptions)
def connect(
    uri: str, *, task_group: TaskGroup | None = None, **options: Unpack[AnyioConnectOptions]
) -> Connect:
    """Connect to a WebSocket server.

    ::

        async with connect("ws://localhost:8765") as websocket:
            await websocket.send("Hello")
            print(await websocket.recv())

    ``await connect(..., task_group=task_group)`` returns the connection as well, which lives in that
    task group and has to be closed. When a connection's block, or its task group, is cancelled, it is
    closed at once.

    Args:
        uri: a WebSocket URI: ``ws://host:port/path?query`` or ``wss://...``.
        task_group: where the connection lives, if it is awaited.

    Keyword Args:
        open_timeout: Deadline for opening the connection. Default: 10 seconds.
        close_timeout: Deadline for the peer's close frame, and again for the end of the TCP connection.
            Default: 10 seconds.
        ping_interval: Interval between pings (keepalive). Default: 20 seconds.
        ping_timeout: Deadline for input after a ping, and for progress in writing. Default: 20 seconds.
        max_size: Limit on a received message; a pair also limits a single fragment. Default: 1048576 bytes.
        max_queue: High watermark of the receive queue in messages, at which reading stops (backpressure).
            Default: 32 messages.
        read_limit: High watermark of the receive queue in bytes, at which reading stops (backpressure).
            Default: 65536 bytes.
        write_limit: High watermark of the send queue in bytes, above which send waits (backpressure).
            Default: 65536 bytes.
        max_fragments: Limit on the fragments of a received message, with one more for each 64 bytes of its
            payload. Default: 16384 fragments.
        max_pings: Limit on pings without an answer. Default: 1024 pings.
        max_headers: Limit on the headers of the request or response. Default: 128 headers.
        max_header_line: Limit on a line of the request or response. Default: 8192 bytes.
        max_header_bytes: Limit on the whole head of the request or response. Default: 32768 bytes.
        compression: Shortcut for the extension permessage-deflate (RFC 7692) with settings that save memory,
            or None. Default: 'deflate'.
        subprotocols: Subprotocols in order of preference: a client offers them, a server chooses among them.
            Default: None.
        origin: The Origin header that a client sends; None for none. Default: None.
        extensions: Extension factories in order of preference. Default: None.
        extra_headers: HTTP headers to add to the handshake: a mapping, pairs or Headers. Default: None.
        user_agent_header: The User-Agent header that a client sends; None for none. Default: library and
            Python version.
        logger: Logger of openings, closings and errors; None for wsproto_core.client or wsproto_core.server.
            Default: None.
        create_protocol: A class or function that makes the connection object; None for the adapter's class.
            Default: None.
        host: The host to connect to by TCP; None for the URI's. Default: None.
        port: The TCP port to connect to; None for the URI's. Default: None.
        proxy: The proxy to connect through: its URL, True for that of the environment, None for none.
            Default: True.
        max_redirects: Limit on the redirects that a client follows; 0 for none, None for any number. Default:
            10 redirects.
        reconnect_delays: Delays between attempts to reconnect: an iterable, or a function that returns one.
            Default: None.
        reconnect_fatal: A function of an error that returns whether reconnecting ends with it; None for
            is_fatal. Default: None.
        ssl: TLS context; on a client, the default context for a wss: URI if it is left out. Default: None.
        server_hostname: Name that the server's certificate must have; None for the URI's host. Default: None.
        sock: A socket in the place of host and port: connected on a client, bound on a server. Default: None.
        happy_eyeballs_delay: Delay until the next address of the host is tried as well (RFC 8305); None waits
            for failure. Default: 0.25 seconds.
        proxy_ssl: TLS context for an https: proxy; None for the default context. Default: None.
        proxy_server_hostname: Name that the proxy's certificate must have; None for the host in its URL.
            Default: None.
        stream: A stream of the runtime that leads to the server. Default: None.
        local_address: IP address to connect from. Default: None.

    Raises:
        InvalidURI: it is not a WebSocket URI.
        TypeError, ValueError: an option is unknown or not allowed.
        OSError: there is no connection to the host.
        InvalidHandshake: the opening handshake failed; in particular,
            :exc:`InvalidStatusCode` when the server answered with another status than 101, and
            :exc:`ProxyError` when there is no way through the proxy.
        HandshakeTimeout: all of this took longer than ``open_timeout``.
    """
    return Connect(uri, None, task_group, options)


@show_options(AnyioConnectOptions)
def unix_connect(
    path: SocketPath,
    uri: str = "ws://localhost/",
    *,
    task_group: TaskGroup | None = None,
    **options: Unpack[AnyioConnectOptions],
) -> Connect:
    """Connect to a WebSocket server that listens on a Unix socket.

    Args:
        path: the socket's path.
        uri: for the opening handshake and TLS.
        task_group: see :func:`connect`.

    Keyword Args:
        open_timeout: Deadline for opening the connection. Default: 10 seconds.
        close_timeout: Deadline for the peer's close frame, and again for the end of the TCP connection.
            Default: 10 seconds.
        ping_interval: Interval between pings (keepalive). Default: 20 seconds.
        ping_timeout: Deadline for input after a ping, and for progress in writing. Default: 20 seconds.
        max_size: Limit on a received message; a pair also limits a single fragment. Default: 1048576 bytes.
        max_queue: High watermark of the receive queue in messages, at which reading stops (backpressure).
            Default: 32 messages.
        read_limit: High watermark of the receive queue in bytes, at which reading stops (backpressure).
            Default: 65536 bytes.
        write_limit: High watermark of the send queue in bytes, above which send waits (backpressure).
            Default: 65536 bytes.
        max_fragments: Limit on the fragments of a received message, with one more for each 64 bytes of its
            payload. Default: 16384 fragments.
        max_pings: Limit on pings without an answer. Default: 1024 pings.
        max_headers: Limit on the headers of the request or response. Default: 128 headers.
        max_header_line: Limit on a line of the request or response. Default: 8192 bytes.
        max_header_bytes: Limit on the whole head of the request or response. Default: 32768 bytes.
        compression: Shortcut for the extension permessage-deflate (RFC 7692) with settings that save memory,
            or None. Default: 'deflate'.
        subprotocols: Subprotocols in order of preference: a client offers them, a server chooses among them.
            Default: None.
        origin: The Origin header that a client sends; None for none. Default: None.
        extensions: Extension factories in order of preference. Default: None.
        extra_headers: HTTP headers to add to the handshake: a mapping, pairs or Headers. Default: None.
        user_agent_header: The User-Agent header that a client sends; None for none. Default: library and
            Python version.
        logger: Logger of openings, closings and errors; None for wsproto_core.client or wsproto_core.server.
            Default: None.
        create_protocol: A class or function that makes the connection object; None for the adapter's class.
            Default: None.
        proxy: The proxy to connect through: its URL, True for that of the environment, None for none.
            Default: True.
        max_redirects: Limit on the redirects that a client follows; 0 for none, None for any number. Default:
            10 redirects.
        reconnect_delays: Delays between attempts to reconnect: an iterable, or a function that returns one.
            Default: None.
        reconnect_fatal: A function of an error that returns whether reconnecting ends with it; None for
            is_fatal. Default: None.
        ssl: TLS context; on a client, the default context for a wss: URI if it is left out. Default: None.
        server_hostname: Name that the server's certificate must have; None for the URI's host. Default: None.
        sock: A socket in the place of host and port: connected on a client, bound on a server. Default: None.
        proxy_ssl: TLS context for an https: proxy; None for the default context. Default: None.
        proxy_server_hostname: Name that the proxy's certificate must have; None for the host in its URL.
            Default: None.
        stream: A stream of the runtime that leads to the server. Default: None.
    """
    return Connect(uri, check_path(path), task_group, options)


class Reconnect(StructuredReconnect[ClientConnection]):
    """The result of :func:`reconnect`: an asynchronous context manager, whose value is an iterator."""


@show_options(AnyioConnectOptions)
def reconnect(uri: str, **options: Unpack[AnyioConnectOptions]) -> Reconnect:
    """Connect again and again.

    ::

        async with reconnect("ws://localhost:8765") as connections:
            async for websocket in connections:
                try:
                    async for message in websocket:
                        ...
                except ConnectionClosed:
                    continue

    :class:`adapters.shared.reconnect.Attempts` says when the next connection is opened.

    Args:
        uri: see :func:`connect`.

    Keyword Args:
        open_timeout: Deadline for opening the connection. Default: 10 seconds.
        close_timeout: Deadline for the peer's close frame, and again for the end of the TCP connection.
            Default: 10 seconds.
        ping_interval: Interval between pings (keepalive). Default: 20 seconds.
        ping_timeout: Deadline for input after a ping, and for progress in writing. Default: 20 seconds.
        max_size: Limit on a received message; a pair also limits a single fragment. Default: 1048576 bytes.
        max_queue: High watermark of the receive queue in messages, at which reading stops (backpressure).
            Default: 32 messages.
        read_limit: High watermark of the receive queue in bytes, at which reading stops (backpressure).
            Default: 65536 bytes.
        write_limit: High watermark of the send queue in bytes, above which send waits (backpressure).
            Default: 65536 bytes.
        max_fragments: Limit on the fragments of a received message, with one more for each 64 bytes of its
            payload. Default: 16384 fragments.
        max_pings: Limit on pings without an answer. Default: 1024 pings.
        max_headers: Limit on the headers of the request or response. Default: 128 headers.
        max_header_line: Limit on a line of the request or response. Default: 8192 bytes.
        max_header_bytes: Limit on the whole head of the request or response. Default: 32768 bytes.
        compression: Shortcut for the extension permessage-deflate (RFC 7692) with settings that save memory,
            or None. Default: 'deflate'.
        subprotocols: Subprotocols in order of preference: a client offers them, a server chooses among them.
            Default: None.
        origin: The Origin header that a client sends; None for none. Default: None.
        extensions: Extension factories in order of preference. Default: None.
        extra_headers: HTTP headers to add to the handshake: a mapping, pairs or Headers. Default: None.
        user_agent_header: The User-Agent header that a client sends; None for none. Default: library and
            Python version.
        logger: Logger of openings, closings and errors; None for wsproto_core.client or wsproto_core.server.
            Default: None.
        create_protocol: A class or function that makes the connection object; None for the adapter's class.
            Default: None.
        host: The host to connect to by TCP; None for the URI's. Default: None.
        port: The TCP port to connect to; None for the URI's. Default: None.
        proxy: The proxy to connect through: its URL, True for that of the environment, None for none.
            Default: True.
        max_redirects: Limit on the redirects that a client follows; 0 for none, None for any number. Default:
            10 redirects.
        reconnect_delays: Delays between attempts to reconnect: an iterable, or a function that returns one.
            Default: None.
        reconnect_fatal: A function of an error that returns whether reconnecting ends with it; None for
            is_fatal. Default: None.
        ssl: TLS context; on a client, the default context for a wss: URI if it is left out. Default: None.
        server_hostname: Name that the server's certificate must have; None for the URI's host. Default: None.
        happy_eyeballs_delay: Delay until the next address of the host is tried as well (RFC 8305); None waits
            for failure. Default: 0.25 seconds.
        proxy_ssl: TLS context for an https: proxy; None for the default context. Default: None.
        proxy_server_hostname: Name that the proxy's certificate must have; None for the host in its URL.
            Default: None.
        local_address: IP address to connect from. Default: None.

    Raises:
        InvalidURI, TypeError, ValueError: see :func:`connect`.
    """
    return Reconnect(Connect(uri, None, None, options))
