"""WebSocket clients on blocking sockets."""

from __future__ import annotations

import os
import socket
import ssl as ssl_module
import time
from collections.abc import Iterator, Mapping
from typing import Any, Self, Unpack

from adapters.shared.blocks import Once
from adapters.shared.connecting import Connecting, Target
from adapters.shared.options import ConnectOptions, ConnectSettings
from adapters.shared.reconnect import Attempts
from adapters.shared.stream_options import check_names, check_path, check_reconnect
from wsproto_core.exceptions import InvalidStatusCode
from wsproto_core.handshake.client import ClientProtocol
from wsproto_core.http.uri import WebSocketURI
from wsproto_core.options import resolve
from wsproto_core.types import SocketPath, State

from .connection import Connection
from .streams import TLSStream, open_stream

__all__ = ["ClientConnection", "Connect", "Reconnect", "connect", "reconnect", "unix_connect"]


class ThreadingConnectOptions(ConnectOptions, total=False):
    """Options of :func:`connect`: ours, and those of the stream."""

    ssl: bool | ssl_module.SSLContext | None
    server_hostname: str | None
    sock: socket.socket | None
    family: int
    source_address: tuple[str, int] | None
    happy_eyeballs_delay: float | None
    proxy_ssl: ssl_module.SSLContext | None
    proxy_server_hostname: str | None


class ClientConnection(Connection):
    """A client's connection."""

    protocol: ClientProtocol

    def __init__(
        self,
        uri: str | WebSocketURI,
        *,
        settings: ConnectSettings | None = None,
        **options: Unpack[ConnectOptions],
    ) -> None:
        """
        Args:
            uri: a WebSocket URI.
            settings: options that were parsed before; ``None`` for the defaults.
            options: see :data:`adapters.shared.options.OPTIONS`.
        """
        settings = resolve(ConnectSettings, options, settings)
        super().__init__(ClientProtocol(uri, clock=time.monotonic, settings=settings), settings.logger)

    def _open_on(self, sock: socket.socket, tls: TLSStream | None = None) -> None:
        """Perform the opening handshake.

        Args:
            sock: a connected socket; the connection closes it.
            tls: a TLS layer over it.

        Raises:
            InvalidHandshake: it failed.
            OSError: TLS failed.
        """
        self._locked(self._start, sock, tls)
        self._wait_for(lambda: self.protocol.state is not State.CONNECTING)
        if tls is not None and not tls.established and self._error is not None:
            raise self._error
        if self.protocol.handshake_error is not None:
            raise self.protocol.handshake_error


class Connect(Once):
    """What :func:`connect` returns: to be called or entered by ``with``, once; or to be iterated over.

    The iterator is that of :func:`reconnect`.
    """

    made_by = "connect"
    opens = ClientConnection
    usage = "it is no connection yet: use 'with connect(...) as websocket:' or 'connect(...)()'"

    def __init__(self, uri: str, path: str | None, options: Mapping[str, Any]) -> None:
        check_names(ThreadingConnectOptions.__annotations__, options)
        self._target = Target(uri, options, path)
        # To refuse now what it would refuse.
        self._connecting()

    def _connecting(self) -> Connecting:
        return Connecting(self._target, clock=time.monotonic, environment=os.environ)

    def __call__(self) -> ClientConnection:
        """Open the connection; it then has to be closed.

        Raises:
            RuntimeError: this has been called or entered before.
        """
        self._begin()
        return self._open()

    def _open(self) -> ClientConnection:
        connecting = self._connecting()
        while True:
            connection: ClientConnection = connecting.create(ClientConnection)
            with connecting.noting():
                stream = open_stream(connecting)
                try:
                    connection._open_on(*stream)
                    return connection
                except BaseException as error:
                    connection.abort()
                    if not isinstance(error, InvalidStatusCode):
                        raise
                    connecting.follow(error)

    def __enter__(self) -> ClientConnection:
        self._opened = self()
        return self._opened

    def __exit__(self, *exc_info: Any) -> None:
        self._opened.__exit__(*exc_info)

    def __iter__(self) -> Iterator[ClientConnection]:
        with Reconnect(self) as connections:
            yield from connections


class Reconnect(Attempts[ClientConnection]):
    """What :func:`reconnect` returns: an iterator over connections, each opened when the last has ended.

    As a context manager it closes the last connection.
    """

    def __init__(self, connect: Connect) -> None:
        target = connect._target
        super().__init__(str(target.uri), clock=time.monotonic, settings=target.settings)
        self._connect = connect

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ClientConnection:
        with self._turn():
            delay = 0.0
            if self.connection is not None:
                self.connection.close()
                delay = self.closed()
            while True:
                time.sleep(delay)
                try:
                    return self.opened(self._connect._open())
                except Exception as error:
                    delay = self.failed(error)

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        if self.connection is not None:
            self.connection.__exit__(*exc_info)


def connect(uri: str, **options: Unpack[ThreadingConnectOptions]) -> Connect:
    """Connect to a WebSocket server.

    ::

        with connect("ws://localhost:8765") as websocket:
            websocket.send("Hello")
            print(websocket.recv())

    What this returns can also be called: ``websocket = connect(...)()`` opens a connection that then
    has to be closed.

    Args:
        uri: a WebSocket URI: ``ws://host:port/path?query`` or ``wss://...``.
        options: those of :data:`wsproto_core.OPTIONS` that a client has, and these: ``ssl`` (for
            ``wss:``, the default context if it is not given) and ``server_hostname``; ``sock``, a
            connected socket; ``family``, such as :data:`socket.AF_INET`; ``source_address``, the pair
            of host and port to connect from; ``happy_eyeballs_delay``, seconds until the next address
            of the host is tried (0.25); ``proxy_ssl``, the TLS context for a proxy whose URL
            begins with ``https:``, and ``proxy_server_hostname``, the name that its certificate must
            have (that in the URL).

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


def unix_connect(
    path: SocketPath, uri: str = "ws://localhost/", **options: Unpack[ThreadingConnectOptions]
) -> Connect:
    """Connect to a WebSocket server that listens on a Unix socket.

    Args:
        path: the socket's path.
        uri: for the opening handshake and TLS.
        options: see :func:`connect`.
    """
    return Connect(uri, check_path(path), options)


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

    Which connection follows which, and when, is said at :class:`wsproto_core.reconnecting.Attempts`.
    ``for websocket in connect(...)`` does the same.

    Args:
        uri: see :func:`connect`.
        options: see :func:`connect`; ``reconnect_delays`` and ``reconnect_fatal`` are for this.

    Raises:
        InvalidURI, TypeError, ValueError: see :func:`connect`.
    """
    check_reconnect(options)
    return Reconnect(Connect(uri, None, options))
