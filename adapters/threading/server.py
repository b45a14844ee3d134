"""WebSocket servers on threads.

One thread accepts; each connection has one of its own, for TLS, both handshakes and its handler.
There is a bound on these threads: while it is reached, clients wait to be accepted.
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import logging
import os
import select
import socket
import ssl as ssl_module
import stat
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeAlias, Unpack

from wsproto_core.connection import takes_path
from wsproto_core.events import Request
from wsproto_core.exceptions import ConnectionClosed
from wsproto_core.frames import serialize_close
from wsproto_core.handshake import select_subprotocol
from wsproto_core.http import Headers
from wsproto_core.options import OPTIONS, ServeOptions, ServerOptions, split_options
from wsproto_core.routing import Router
from wsproto_core.server import ServerProtocol
from wsproto_core.serving import BaseServerConnection
from wsproto_core.typing import CloseCode, State, Subprotocol

from .connection import Connection, check_options
from .tls import TLSStream
from .waiting import Alarm

__all__ = ["Server", "ServerConnection", "serve", "unix_serve"]

Handler: TypeAlias = Callable[..., Any]
"""A function that takes a :class:`ServerConnection`, or that and the request's path."""

MAX_THREADS = 1000
"""Default of ``max_threads``."""

PAUSE = 1.0
"""Seconds to wait when the operating system refuses something that accepting takes."""

SHUTDOWN = 30.0
"""Seconds that :meth:`Server.shutdown` waits at most, unless it is told otherwise."""


class ThreadingListenOptions(ServeOptions, total=False):
    """Options of :func:`serve` but ``ssl``: ours, and those of the listening sockets."""

    max_threads: int | None
    sock: socket.socket | None
    family: int
    backlog: int
    reuse_port: bool | None
    start_serving: bool


class ThreadingServeOptions(ThreadingListenOptions, total=False):
    """Options of :func:`serve`."""

    ssl: ssl_module.SSLContext | None


class ServerConnection(Connection, BaseServerConnection):
    """A server's connection.

    Subclasses may override :meth:`process_request` and :meth:`select_subprotocol`.
    """

    protocol: ServerProtocol
    server: Any

    def __init__(self, handler: Handler, server: Server, **options: Unpack[ServeOptions]) -> None:
        """
        Arguments:
            handler: what :func:`serve` was given.
            server: the server that this connection belongs to.
            options: see :data:`wsproto_core.OPTIONS`.
        """
        self._process_request = options.get("process_request")
        ours, _ = split_options(ServerOptions, options)
        protocol = ServerProtocol(clock=time.monotonic, date=time.time, **ours)
        super().__init__(protocol, options.get("logger"))
        self.handler = handler
        self.server = server

    def process_request(self, path: str, request_headers: Headers) -> Any:
        """Answer the HTTP request, or leave it to the opening handshake; may take its time.

        By default this calls what the option of the same name gives.

        Arguments:
            path: the request's path, with its query.
            request_headers: its headers.

        Returns:
            ``None`` to go on, or the response to give instead: a :class:`Response`, or a triple of
            status, headers and body.
        """
        return None if self._process_request is None else self._process_request(path, request_headers)

    def select_subprotocol(
        self, client_subprotocols: Sequence[Subprotocol], server_subprotocols: Sequence[Subprotocol]
    ) -> Subprotocol | None:
        """Choose a subprotocol among the client's and the server's, or ``None``; must not block.

        By default the preferences of both have the same weight. The option of the same name takes
        precedence over this method.
        """
        return select_subprotocol(client_subprotocols, server_subprotocols)

    def shut_down(self, code: int | None, reason: str) -> None:
        """The server is closing: refuse the opening handshake, or begin the closing one.

        Arguments:
            code: close code; ``None`` leaves an open connection alone.
            reason: close reason.
        """
        with self._lock:
            self.protocol.shut_down()
            if code is not None:
                self.protocol.close(code, reason)
            self._react()

    def serve_on(self, sock: socket.socket, context: ssl_module.SSLContext | None) -> None:
        """Live from the accepted socket to the end, in the calling thread.

        Arguments:
            sock: the socket; the connection closes it in the end.
            context: for TLS.
        """
        try:
            self._start(sock, None if context is None else TLSStream(sock, context, server_side=True))
            request = self._wait_for_request()
            if request is not None:
                self._answer(request)
            if self.protocol.state is State.OPEN:
                self.logger.info("connection open")
                self._handle()
            self.wait_closed()
        finally:
            self.abort()

    def _wait_for_request(self) -> Request | None:
        protocol = self.protocol
        with self._lock:
            self._wait_until(
                lambda: protocol.request is not None or protocol.state is not State.CONNECTING, None
            )
            return protocol.request if protocol.state is State.CONNECTING else None

    def _answer(self, request: Request) -> None:
        result: Any
        try:
            result = self.process_request(request.path, request.headers)
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError("process_request must not be a coroutine function: nobody awaits it here")
            if result is None:
                result = self._find_route(request)
        except Exception as error:
            result = error
        with self._lock:
            self.protocol.answer(result, select_subprotocol=self.select_subprotocol)
            self._react()

    def _handle(self) -> None:
        """Run the handler, then perform the closing handshake."""
        code = CloseCode.NORMAL_CLOSURE
        try:
            if self.server.handler_takes_path:
                self.handler(self, self.path)
            else:
                self.handler(self)
        except Exception as error:
            # That another connection is closed, as a proxy may see, is an error like any other.
            if isinstance(error, ConnectionClosed) and self.protocol.state is not State.OPEN:
                self.logger.info("connection handler ended: %a", str(error))
            else:
                self.logger.exception("connection handler failed")
                code = CloseCode.INTERNAL_ERROR
        self.close(code)


class Server:
    """A server that listens: what :func:`serve` returns.

    As a context manager it is shut down on exit. Its methods may be called by any thread, by
    handlers, and by signal handlers.

    Attributes:
        connections: the connections there are, in any state.
        closing: whether :meth:`close` has been called.
    """

    def __init__(self, handler: Handler, options: dict[str, Any], own_options: dict[str, Any]) -> None:
        self.connections: set[ServerConnection] = set()
        self.handler_takes_path = takes_path(handler)
        self.closing = False
        self.logger = options.get("logger") or logging.getLogger("wsproto_core.server")
        self._handler = handler
        self._create_protocol = options.pop("create_protocol", None) or ServerConnection
        self._options = options
        self._context: ssl_module.SSLContext | None = own_options.get("ssl")
        if not isinstance(self._context, ssl_module.SSLContext | None):
            raise TypeError(f"ssl must be an ssl.SSLContext or None, not {self._context!r}")
        self._max_threads: int | None = own_options.get("max_threads", MAX_THREADS)
        # It is checked like other counts.
        OPTIONS["max_pings"].check("max_threads", self._max_threads)
        self._backlog: int = own_options.get("backlog", 100)
        self._listeners: list[socket.socket] = []
        self._socket_file: tuple[str, int] | None = None
        self._serving = False
        self._given_up = False
        self._changed = threading.Condition()
        self._threads: dict[ServerConnection, threading.Thread] = {}
        self._alarm = Alarm()

    def _listen(
        self,
        host: str | Sequence[str] | None,
        port: int | None,
        path: str | None,
        *,
        sock: socket.socket | None = None,
        family: int = 0,
        reuse_port: bool | None = None,
    ) -> None:
        """Bind the sockets; all of them, or none."""
        if sock is not None:
            if host is not None or port is not None or path:
                raise ValueError("sock takes the place of host, port and path: give one or the other")
            self._listeners = [sock]
        elif path is None:
            self._listeners = listen_tcp(host, port or 0, family, bool(reuse_port))
        else:
            self._listeners = [listen_unix(path)]
            if not path.startswith("\0"):
                self._socket_file = path, os.stat(path).st_ino

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        if self._socket_file is not None:
            path, inode = self._socket_file
            with contextlib.suppress(FileNotFoundError):
                # Another server may have taken its place.
                if os.stat(path).st_ino == inode:
                    os.remove(path)

    @property
    def sockets(self) -> list[socket.socket] | None:
        """The sockets that the server listens on; ``None`` once it is closed."""
        return None if self.closing else list(self._listeners)

    def is_serving(self) -> bool:
        """Whether new connections are accepted."""
        return self._serving and not self.closing

    def start_serving(self) -> None:
        """Begin to accept connections, if ``start_serving=False`` was given.

        Raises:
            RuntimeError: the server is closed.
        """
        with self._changed:
            if self.closing:
                raise RuntimeError("the server is closed: serve() makes a new one")
            if not self._serving:
                self._serving = True
                for listener in self._listeners:
                    listener.setblocking(False)
                    listener.listen(self._backlog)
                threading.Thread(target=self._accept, name="wsproto-core server", daemon=True).start()

    def serve_forever(self) -> None:
        """Accept connections until the server is closed; return when everything is.

        An exception in this thread, as Ctrl-C raises in the main thread, shuts the server down.
        """
        try:
            self.start_serving()
            with self._changed:
                self._changed.wait_for(lambda: self.closing)
        except BaseException:
            self.shutdown()
            raise
        self.wait_closed()

    def close(
        self, close_connections: bool = True, code: int = CloseCode.GOING_AWAY, reason: str = ""
    ) -> None:
        """Stop to accept connections and close those there are; does not wait, see :meth:`wait_closed`.

        Clients in the opening handshake get HTTP status 503. In the handlers of open connections,
        ``recv`` and ``send`` raise :exc:`ConnectionClosedOK`, if ``code`` is 1000 or 1001.

        Arguments:
            close_connections: ``False`` leaves the open ones to their handlers.
            code: close code for the open ones.
            reason: close reason for the open ones, at most 123 bytes in UTF-8.

        Raises:
            ValueError: the code or the reason is not allowed.
        """
        serialize_close(code, reason)
        with self._changed:
            if not self.closing:
                self.closing = True
                self._alarm.ring()
                self._close_listeners()
                self._changed.notify_all()
            connections = list(self.connections)
        for connection in connections:
            connection.shut_down(code if close_connections else None, reason)

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until the server is closed, all connections are and all handlers have returned.

        A handler that calls this waits for the others.

        Arguments:
            timeout: seconds to wait; ``None`` for any time.

        Raises:
            TimeoutError: it is not closed yet.
        """
        current = threading.current_thread()

        def closed() -> bool:
            others = (thread for thread in self._threads.values() if thread is not current)
            return self.closing and (self._given_up or not any(others))

        with self._changed:
            if not self._changed.wait_for(closed, timeout):
                raise TimeoutError(f"the server is not closed within {timeout} seconds")

    def shutdown(
        self, code: int = CloseCode.GOING_AWAY, reason: str = "", *, timeout: float | None = SHUTDOWN
    ) -> None:
        """Close the server, and wait until everything is closed and all handlers have returned.

        When the time is over, connections that are still there are aborted. A handler that does not
        return even then is left to itself: its thread does not keep the program from ending.

        Arguments:
            code: see :meth:`close`.
            reason: see :meth:`close`.
            timeout: seconds to wait; ``None`` for any time.
        """
        self.close(True, code, reason)
        try:
            self.wait_closed(timeout)
        except TimeoutError:
            for connection in list(self.connections):
                connection.abort()
            with contextlib.suppress(TimeoutError):
                self.wait_closed(PAUSE)
            with self._changed:
                if self._threads:
                    self.logger.warning("%d connection handlers do not return", len(self._threads))
                self._given_up = True
                self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.shutdown()

    # The thread that accepts

    def _accept(self) -> None:
        listeners = {listener.fileno(): listener for listener in self._listeners}
        poll = select.poll()
        for fd in [self._alarm.fd, *listeners]:
            poll.register(fd, select.POLLIN)
        while not self.closing:
            for fd, _ in poll.poll():
                if fd in listeners:
                    self._accept_from(listeners[fd])

    def _accept_from(self, listener: socket.socket) -> None:
        """Accept one connection, if there may be one more."""
        with self._changed:
            self._changed.wait_for(lambda: self.closing or self._has_room())
        if self.closing:
            return
        try:
            sock, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:
            if not self.closing:
                # There are too many open files, for example.
                self.logger.exception("cannot accept connections for the moment")
                with self._changed:
                    self._changed.wait_for(lambda: self.closing, PAUSE)
            return
        try:
            self._begin(sock)
        except Exception:
            self.logger.exception("cannot serve a connection")
            sock.close()

    def _has_room(self) -> bool:
        return self._max_threads is None or len(self._threads) < self._max_threads

    def _begin(self, sock: socket.socket) -> None:
        connection: ServerConnection = self._create_protocol(self._handler, self, **self._options)
        thread = threading.Thread(target=self._run, args=(connection, sock), daemon=True)
        thread.name = "wsproto-core connection"
        with self._changed:
            if self.closing:
                sock.close()
                return
            self.connections.add(connection)
            self._threads[connection] = thread
        try:
            thread.start()
        except BaseException:
            self._forget(connection)
            raise

    def _run(self, connection: ServerConnection, sock: socket.socket) -> None:
        """Run by each connection's thread."""
        try:
            connection.serve_on(sock, self._context)
        except Exception:
            connection.logger.exception("internal error")
        finally:
            self._forget(connection)

    def _forget(self, connection: ServerConnection) -> None:
        with self._changed:
            self.connections.discard(connection)
            del self._threads[connection]
            self._changed.notify_all()


def listen_tcp(
    host: str | Sequence[str] | None, port: int, family: int, reuse_port: bool
) -> list[socket.socket]:
    """Bind sockets to all addresses of one or several hosts.

    Raises:
        OSError: that is not possible.
    """
    hosts = [host or None] if host is None or isinstance(host, str) else host
    addresses = dict.fromkeys(
        address
        for name in hosts
        for address in socket.getaddrinfo(
            name, port, socket.AddressFamily(family), socket.SOCK_STREAM, 0, socket.AI_PASSIVE
        )
    )
    listeners: list[socket.socket] = []
    try:
        for address_family, kind, proto, _, address in addresses:
            try:
                listener = socket.socket(address_family, kind, proto)
            except OSError:
                # The name is known by an address of a family that is not.
                continue
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if address_family == socket.AF_INET6:
                # IPv4 has a socket of its own.
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                listener.bind(address)
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL or address_family != socket.AF_INET6:
                    raise OSError(error.errno, f"cannot listen on {address}: {error.strerror}") from error
                # The family is known, but not in use.
                listeners.pop().close()
        if not listeners:
            raise OSError(f"there is no address to listen on for {host!r}")
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def listen_unix(path: str) -> socket.socket:
    """Bind a Unix socket, in the place of one that a program has left behind.

    Raises:
        OSError: that is not possible.
    """
    with contextlib.suppress(FileNotFoundError):
        if not path.startswith("\0") and stat.S_ISSOCK(os.stat(path).st_mode):
            os.remove(path)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(path)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {path!r}: {error.strerror}") from error
    return listener


def serve(
    handler: Handler,
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    **options: Unpack[ThreadingServeOptions],
) -> Server:
    """Start a WebSocket server.

    ::

        def echo(websocket):
            for message in websocket:
                websocket.send(message)

        with serve(echo, "localhost", 8765) as server:
            server.serve_forever()

    Connections are accepted from now on, by a thread of the server's; :meth:`Server.serve_forever`
    only waits. Without ``with``, call :meth:`Server.shutdown` in the end.

    Arguments:
        handler: a function that is run for each connection in a thread of its own, given the
            connection, or the connection and the request's path. When it returns, the connection is
            closed with code 1000; when it raises, with 1011, and the exception is logged.
        host: where to listen: an address, several, or ``None`` for all interfaces.
        port: the TCP port; 0 for any free one.
        options: those of :data:`wsproto_core.OPTIONS` that a server has, and these: ``max_threads``
            (1000), how many connections there may be at once, each with its thread; more wait to be
            accepted; ``None`` for no bound. ``ssl``, a context. ``sock``, a bound socket, in place of
            ``host`` and ``port``. ``family``, such as :data:`socket.AF_INET`. ``backlog`` (100), how
            many may wait to be accepted. ``reuse_port`` (``False``). ``start_serving`` (``True``).

    Raises:
        TypeError, ValueError: an option is unknown or not allowed, or the handler cannot be called.
        OSError: the address cannot be listened on.
    """
    return _serve(handler, host, port, None, options)


def unix_serve(handler: Handler, path: str | None = None, **options: Unpack[ThreadingServeOptions]) -> Server:
    """Start a WebSocket server that listens on a Unix socket, behind a reverse proxy for example.

    Arguments:
        handler: see :func:`serve`.
        path: the socket's path; ``None`` if ``sock`` is given. The file is removed in the end.
        options: see :func:`serve`.
    """
    return _serve(handler, None, None, path or "", options)


def _serve(
    handler: Handler,
    host: str | Sequence[str] | None,
    port: int | None,
    path: str | None,
    options: ThreadingServeOptions,
) -> Server:
    ours, theirs = split_options(ServeOptions, options)
    check_options(ThreadingServeOptions, theirs)
    handlers = handler.handlers if isinstance(handler, Router) else [handler]
    functions = [("handler", each) for each in handlers]
    for name, function in [*functions, ("process_request", ours.get("process_request"))]:
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"{name} must be a plain function, not a coroutine function: it runs in a thread")
    server = Server(handler, ours, theirs)
    listening = {name: value for name, value in theirs.items() if name in ("sock", "family", "reuse_port")}
    server._listen(host, port, path, **listening)
    if theirs.get("start_serving", True):
        server.start_serving()
    return server
