"""WebSocket clients on blocking sockets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any, Self, Unpack

from wsproto_core.types import SocketPath

from ..shared.client import BaseClientConnection, BaseConnect, Connecting, replace_timeout
from ..shared.reconnect import Attempts
from ..shared.signatures import show_options
from ..shared.stream_options import StreamConnectOptions, check_path
from .connection import Connection
from .streams import SocketStream, run, sleep

__all__ = ["ClientConnection", "Connect", "Reconnect", "connect", "reconnect", "unix_connect"]


class ThreadingConnectOptions(StreamConnectOptions, total=False):
    """Options of :func:`connect`."""

    family: int
    source_address: tuple[str, int] | None


class ClientConnection(BaseClientConnection, Connection):
    """A client's connection, which :func:`connect` opens.

    ``for`` iterates over its messages, ``with`` closes it at the end of the block: see :class:`Connection`.
    """

    async def _wait_opened(self) -> None:
        self._wait_in_opening(self._has_answer)
        self._check_opened()


class Connect(BaseConnect):
    """The result of :func:`connect`: a context manager, a callable that opens a connection, and an iterable.

    The iterator is that of :func:`reconnect`.
    """

    _options = ThreadingConnectOptions
    _opens = ClientConnection
    _usage = "it is no connection yet: use 'with connect(...) as websocket:' or 'connect(...)()'"

    def __call__(self) -> ClientConnection:
        """Open the connection; it then has to be closed.

        Raises:
            RuntimeError: this has been called or entered before.
        """
        self._begin()
        return run(self._open())

    async def _open(self) -> ClientConnection:
        connecting = self._connecting(time.monotonic)
        return await connecting.open(ClientConnection, partial(self._open_stream, connecting))

    async def _open_stream(self, connecting: Connecting, connection: ClientConnection) -> None:
        stream = SocketStream(connecting.deadline)
        with replace_timeout(connecting.is_late, connecting.timed_out):
            await stream.open(connecting)
        connection._locked(connection._start, stream.sock, stream.tls)

    def __enter__(self) -> ClientConnection:
        self._opened = self()
        return self._opened

    def __exit__(self, *exc_info: Any) -> None:
        self._opened.__exit__(*exc_info)

    def __iter__(self) -> Iterator[ClientConnection]:
        with self.reconnecting() as connections:
            yield from connections

    def reconnecting(self) -> Reconnect:
        return Reconnect(self._target, self._open, sleep=sleep, clock=time.monotonic)


class Reconnect(Attempts[ClientConnection]):
    """The result of :func:`reconnect`: an iterator over connections, one after the other.

    As a context manager it closes the last connection.
    """

    async def _close(self, connection: ClientConnection) -> None:
        connection.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ClientConnection:
        return run(self._next())

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        if self.connection is not None:
            self.connection.__exit__(*exc_info)


@show_options(ThreadingConnectOptions)
def connect(uri: str, **options: Unpack[ThreadingConnectOptions]) -> Connect:
    """Connect to a WebSocket server.

    ::

        with connect("ws://localhost:8765") as websocket:
            websocket.send("Hello")
            print(websocket.recv())

    The result can also be called: ``websocket = connect(...)()`` opens a connection that then has to be
    closed.

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
        source_address: Pair of host and port to connect from. Default: None.

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


@show_options(ThreadingConnectOptions)
def unix_connect(
    path: SocketPath, uri: str = "ws://localhost/", **options: Unpack[ThreadingConnectOptions]
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
    """
    return Connect(uri, check_path(path), options)


@show_options(ThreadingConnectOptions)
def reconnect(uri: str, **options: Unpack[ThreadingConnectOptions]) -> Reconnect:
    """Connect again and again.

    ::

        with reconnect("ws://localhost:8765") as connections:
            for websocket in connections:
                try:
                    for message in websocket:
                        ...
                except ConnectionClosed:
                    continue

    :class:`adapters.shared.reconnect.Attempts` says when the next connection is opened.
    ``for websocket in connect(...)`` does the same.

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
        source_address: Pair of host and port to connect from. Default: None.

    Raises:
        InvalidURI, TypeError, ValueError: see :func:`connect`.
    """
    return Connect(uri, None, options).reconnecting()
