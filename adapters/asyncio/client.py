"""WebSocket clients on asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Unpack

from wsproto_core.types import SocketPath

from ..shared.client import AsyncClientConnection, BaseConnect, Connecting, replace_timeout
from ..shared.clocks import loop_clock
from ..shared.reconnect import AsyncReconnecting
from ..shared.signatures import show_options
from ..shared.stream_options import StreamConnectOptions, check_path
from .connection import Connection
from .loops import running_loop
from .sockets import SocketStream
from .tls import TLSTransport
from .waiting import Opening

__all__ = ["ClientConnection", "Connect", "Reconnect", "connect", "reconnect", "unix_connect"]


class AsyncioConnectOptions(StreamConnectOptions, total=False):
    """Options of :func:`connect`: ours, and those of :meth:`asyncio.loop.create_connection`."""

    family: int
    proto: int
    flags: int
    local_addr: tuple[str, int] | None
    ssl_handshake_timeout: float | None
    ssl_shutdown_timeout: float | None
    interleave: int | None
    all_errors: bool


class ClientConnection(AsyncClientConnection, Connection):
    """A client's connection, which :func:`connect` opens.

    ``async for`` iterates over its messages, and ``async with`` closes it at the end of the block: see
    :class:`Connection`.
    """


class Connect(BaseConnect, Opening[ClientConnection]):
    """The result of :func:`connect`: awaitable, an asynchronous context manager, and an iterator.

    The iterator is that of :func:`reconnect`.
    """

    _options = AsyncioConnectOptions
    _opens = ClientConnection
    _usage = (
        "it is no connection yet: use 'async with connect(...) as websocket:' or "
        "'websocket = await connect(...)'"
    )

    async def _open(self) -> ClientConnection:
        connecting = self._connecting(loop_clock(running_loop()))
        return await connecting.open(ClientConnection, partial(self._open_stream, connecting))

    async def _open_stream(self, connecting: Connecting, connection: ClientConnection) -> None:
        stream = SocketStream(connecting.stream_options.get("ssl_handshake_timeout"))
        timeout = asyncio.timeout_at(connecting.deadline)
        with replace_timeout(timeout.expired, connecting.timed_out):
            async with timeout:
                await stream.open(connecting)
                connection._tls = None if stream.tls is None else TLSTransport(stream.tls)
                await asyncio.get_running_loop().create_connection(lambda: connection, sock=stream.sock)
                if connection._tls is not None and (early := connection._tls.decrypt(None)):
                    # It has come together with the end of TLS's handshake.
                    connection.protocol.receive_data(early)

    async def __aiter__(self) -> AsyncIterator[ClientConnection]:
        async with self.reconnecting() as connections:
            async for connection in connections:
                yield connection

    def reconnecting(self) -> Reconnect:
        return Reconnect(self._target, self._open, sleep=asyncio.sleep, clock=time.monotonic)


class Reconnect(AsyncReconnecting[ClientConnection]):
    """The result of :func:`reconnect`: an asynchronous iterator, and a context manager that returns it."""


@show_options(AsyncioConnectOptions)
def connect(uri: str, **options: Unpack[AsyncioConnectOptions]) -> Connect:
    """Connect to a WebSocket server.

    ::

        async with connect("ws://localhost:8765") as websocket:
            await websocket.send("Hello")
            print(await websocket.recv())

    ``await connect(...)`` returns the connection as well; it then has to be closed.

    Args:
        uri: a WebSocket URI: ``ws://host:port/path?query`` or ``wss://...``.

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
        family: Address family, such as socket.AF_INET; 0 for all. Default: 0.
        proto: Protocol number for the name lookup; 0 for any. Default: 0.
        flags: Flags for the name lookup, such as socket.AI_NUMERICHOST. Default: AI_PASSIVE on a server, else
            0.
        local_addr: Pair of host and port to connect from. Default: None.
        ssl_handshake_timeout: Deadline for TLS's handshake; None for open_timeout alone. Default: None.
        ssl_shutdown_timeout: Has no effect: close_timeout is the deadline for the end of TLS. Default: None.
        interleave: Addresses of the first family before the other has its turn (RFC 8305). Default: None.
        all_errors: Whether the errors of all addresses are raised, as an ExceptionGroup. Default: False.

    Raises:
        InvalidURI: it is not a WebSocket URI.
        TypeError, ValueError: an option is unknown or not allowed.
        OSError: there is no connection to the host.
        InvalidHandshake: the opening handshake failed; in particular,
            :exc:`InvalidStatusCode` when the server answered with another status than 101, and
            :exc:`ProxyError` when there is no way through the proxy.
        HandshakeTimeout: all of this took longer than ``open_timeout``.
    """
    return Connect(uri, None, options)


@show_options(AsyncioConnectOptions)
def unix_connect(
    path: SocketPath, uri: str = "ws://localhost/", **options: Unpack[AsyncioConnectOptions]
) -> Connect:
    """Connect to a WebSocket server that listens on a Unix socket.

    Args:
        path: the socket's path.
        uri: for the opening handshake and TLS.

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
        ssl_handshake_timeout: Deadline for TLS's handshake; None for open_timeout alone. Default: None.
        ssl_shutdown_timeout: Has no effect: close_timeout is the deadline for the end of TLS. Default: None.
    """
    return Connect(uri, check_path(path), options)


@show_options(AsyncioConnectOptions)
def reconnect(uri: str, **options: Unpack[AsyncioConnectOptions]) -> Reconnect:
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
    ``async for websocket in connect(...)`` does the same, but a connection may stay open for a while
    when such a loop is left.

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
        family: Address family, such as socket.AF_INET; 0 for all. Default: 0.
        proto: Protocol number for the name lookup; 0 for any. Default: 0.
        flags: Flags for the name lookup, such as socket.AI_NUMERICHOST. Default: AI_PASSIVE on a server, else
            0.
        local_addr: Pair of host and port to connect from. Default: None.
        ssl_handshake_timeout: Deadline for TLS's handshake; None for open_timeout alone. Default: None.
        ssl_shutdown_timeout: Has no effect: close_timeout is the deadline for the end of TLS. Default: None.
        interleave: Addresses of the first family before the other has its turn (RFC 8305). Default: None.
        all_errors: Whether the errors of all addresses are raised, as an ExceptionGroup. Default: False.

    Raises:
        InvalidURI, TypeError, ValueError: see :func:`connect`.
    """
    return Connect(uri, None, options).reconnecting()
