"""WebSocket clients on blocking sockets."""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl as ssl_module
import threading
import time
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias, Unpack

from wsproto_core.client import ClientProtocol
from wsproto_core.exceptions import HandshakeTimeout
from wsproto_core.options import ClientOptions, ConnectOptions, split_options
from wsproto_core.stream_options import complete_tls
from wsproto_core.typing import State
from wsproto_core.uri import WebSocketURI, parse_uri

from .connection import Connection, check_options
from .tls import TLSStream

__all__ = ["ClientConnection", "Connect", "connect", "unix_connect"]


class ThreadingConnectOptions(ConnectOptions, total=False):
    """Options of :func:`connect`: ours, and those of the stream."""

    ssl: bool | ssl_module.SSLContext | None
    server_hostname: str | None
    sock: socket.socket | None
    family: int
    source_address: tuple[str, int] | None


class ClientConnection(Connection):
    """A client's connection."""

    protocol: ClientProtocol

    def __init__(self, uri: str | WebSocketURI, **options: Unpack[ConnectOptions]) -> None:
        """
        Arguments:
            uri: a WebSocket URI.
            options: see :data:`wsproto_core.OPTIONS`.
        """
        ours, _ = split_options(ClientOptions, options)
        super().__init__(ClientProtocol(uri, clock=time.monotonic, **ours), options.get("logger"))

    def open_on(self, sock: socket.socket, tls: TLSStream | None = None) -> None:
        """Perform the opening handshake on a connected socket.

        Arguments:
            sock: the socket; the connection closes it in the end.
            tls: a TLS layer over it.

        Raises:
            InvalidHandshake: it failed.
            OSError: TLS failed.
        """
        with self._lock:
            self._start(sock, tls)
            self._wait_until(lambda: self.protocol.state is not State.CONNECTING, None)
            if self.protocol.handshake_error is not None:
                if self._error is not None and tls is not None and not tls.established:
                    raise self._error
                raise self.protocol.handshake_error


class Connect:
    """What :func:`connect` returns: to be called, or to be used as a context manager."""

    def __init__(self, uri: str, path: str | None, options: ThreadingConnectOptions) -> None:
        self._uri = parse_uri(uri)
        self._path = path
        self._options, stream_options = split_options(ConnectOptions, options)
        check_options(ThreadingConnectOptions, stream_options)
        self._stream_options = complete_tls(self._uri, stream_options)
        self._create_protocol = self._options.pop("create_protocol", None) or ClientConnection

    def __call__(self) -> ClientConnection:
        """Open the connection; it then has to be closed."""
        connection: ClientConnection = self._create_protocol(self._uri, **self._options)
        deadline = connection.protocol.deadline()
        try:
            sock = self._open_socket(deadline)
        except TimeoutError as error:
            if deadline is None or time.monotonic() < deadline:
                raise
            raise HandshakeTimeout(f"no stream to {self._uri.host} within open_timeout") from error
        try:
            connection.open_on(sock, self._wrap(sock))
        except BaseException:
            connection.abort()
            sock.close()
            raise
        return connection

    def _open_socket(self, deadline: float | None) -> socket.socket:
        options = self._stream_options
        sock: socket.socket | None = options.get("sock")
        if sock is not None:
            return sock
        if self._path is not None:
            return connect_unix(self._path, deadline)
        host = self._options.get("host") or self._uri.host
        port = self._options.get("port") or self._uri.port
        addresses = look_up(host, port, options.get("family", 0), deadline)
        return connect_tcp(addresses, options.get("source_address"), deadline)

    def _wrap(self, sock: socket.socket) -> TLSStream | None:
        context = self._stream_options.get("ssl")
        if not context:
            return None
        if context is True:
            context = ssl_module.create_default_context()
        return TLSStream(sock, context, server_hostname=self._stream_options["server_hostname"])

    def __enter__(self) -> ClientConnection:
        self._opened = self()
        return self._opened

    def __exit__(self, *exc_info: Any) -> None:
        self._opened.__exit__(*exc_info)

    def __getattr__(self, name: str) -> NoReturn:
        message = f"{type(self).__name__!r} object has no attribute {name!r}"
        if hasattr(ClientConnection, name):
            message += "; it is no connection yet: use 'with connect(...) as websocket:' or 'connect(...)()'"
        raise AttributeError(message, name=name, obj=self)


Address: TypeAlias = tuple[int, int, int, str, Any]
"""What :func:`socket.getaddrinfo` returns."""


def look_up(host: str, port: int, family: int, deadline: float | None) -> Sequence[Address]:
    """Look up the addresses of a host, within a time that the operating system knows nothing of.

    Raises:
        OSError: there are none, or the time is over.
    """

    def call(flags: int = 0) -> Sequence[Address]:
        return socket.getaddrinfo(host, port, socket.AddressFamily(family), socket.SOCK_STREAM, 0, flags)

    with contextlib.suppress(socket.gaierror):
        return call(socket.AI_NUMERICHOST)
    if deadline is None:
        return call()
    results: queue.SimpleQueue[Sequence[Address] | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put(call())
        except Exception as error:
            results.put(error)

    # Nothing can end it; but nobody has to wait for it.
    threading.Thread(target=run, name=f"name lookup of {host}", daemon=True).start()
    try:
        result = results.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        raise TimeoutError(f"the name lookup of {host!r} takes too long") from None
    if isinstance(result, Exception):
        raise result
    return result


def connect_tcp(addresses: Sequence[Address], source: Any, deadline: float | None) -> socket.socket:
    """Connect to the first address that answers; each gets an equal share of the time that is left.

    Raises:
        OSError: none does. It is the first one's error, and has the others as notes.
    """
    errors: list[OSError] = []
    try:
        for tried, (family, kind, proto, _, address) in enumerate(addresses):
            sock: socket.socket | None = None
            try:
                sock = socket.socket(family, kind, proto)
                if source is not None:
                    sock.bind(source)
                if deadline is not None:
                    left = max(0.001, deadline - time.monotonic())
                    sock.settimeout(left / (len(addresses) - tried))
                sock.connect(address)
                return sock
            except BaseException as error:
                if sock is not None:
                    sock.close()
                if not isinstance(error, OSError):
                    raise
                errors.append(error)
        for other in errors[1:]:
            errors[0].add_note(f"and with the next address: {other}")
        raise errors[0]
    finally:
        # They refer to this frame.
        errors.clear()


def connect_unix(path: str, deadline: float | None) -> socket.socket:
    """Connect to a Unix socket.

    Raises:
        OSError: nobody listens there, or not in time.
    """
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.setblocking(False)
        while True:
            try:
                sock.connect(path)
            except BlockingIOError:
                # Too many wait to be accepted; there is nothing to be polled.
                if deadline is not None and deadline <= time.monotonic():
                    raise TimeoutError(f"{path!r} accepts no connections") from None
                time.sleep(0.01)
            else:
                return sock
    except BaseException:
        sock.close()
        raise


def connect(uri: str, **options: Unpack[ThreadingConnectOptions]) -> Connect:
    """Connect to a WebSocket server.

    ::

        with connect("ws://localhost:8765") as websocket:
            websocket.send("Hello")
            print(websocket.recv())

    What this returns can also be called: ``websocket = connect(...)()`` opens a connection that then
    has to be closed.

    Arguments:
        uri: a WebSocket URI: ``ws://host:port/path?query`` or ``wss://...``.
        options: those of :data:`wsproto_core.OPTIONS` that a client has, and ``ssl`` (for ``wss:``, the
            default context if it is not given), ``server_hostname``, ``sock`` (a connected socket),
            ``family`` (such as :data:`socket.AF_INET`) and ``source_address``.

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
    path: str, uri: str = "ws://localhost/", **options: Unpack[ThreadingConnectOptions]
) -> Connect:
    """Connect to a WebSocket server that listens on a Unix socket.

    Arguments:
        path: the socket's path.
        uri: for the opening handshake and TLS.
        options: see :func:`connect`.
    """
    return Connect(uri, path, options)
