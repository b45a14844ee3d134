"""WebSocket servers on threads.

One thread accepts connections. Each connection has a thread for TLS, both handshakes and the handler.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl as ssl_module
import threading
from collections.abc import Callable, Sequence
from typing import Any, Self, TypeVar, Unpack

from wsproto_core.types import CloseCode, SocketPath

from ..shared.addresses import Address
from ..shared.authentication import BlockingBasicAuth, make_basic_auth_factory
from ..shared.blocks import keep_exception
from ..shared.handlers import BlockingHandler, Handler, check_plain
from ..shared.listening import accept_now
from ..shared.logs import log_failure
from ..shared.options import OPTIONS
from ..shared.routing import RouteOptions, Rules, take_route_options
from ..shared.server import BaseServer, BaseServerConnection, ServeTarget
from ..shared.signatures import show_options
from ..shared.stream_options import StreamListenOptions, check_names
from .background import background_reader
from .connection import Connection
from .streams import TLSStream, run
from .wakeups import Wakeup

__all__ = [
    "BasicAuthWebSocketServerProtocol",
    "Server",
    "ServerConnection",
    "basic_auth_protocol_factory",
    "route",
    "serve",
    "unix_route",
    "unix_serve",
]

# Default of max_threads.
MAX_THREADS = 1000

# Seconds until accepting is tried again after an error, such as a lack of descriptors or threads.
PAUSE = 1.0

# Default of the timeout of shutdown: more than the two periods of close_timeout of a closing handshake.
SHUTDOWN = 30.0


class ThreadingListenOptions(StreamListenOptions, total=False):
    """Options of :func:`serve` but ``ssl``."""

    max_threads: int | None
    start_serving: bool


class ThreadingServeOptions(ThreadingListenOptions, total=False):
    """Options of :func:`serve`."""

    ssl: ssl_module.SSLContext | None


class ThreadingRouteOptions(RouteOptions, ThreadingListenOptions, total=False):
    """Options of :func:`route`."""


class ServerConnection(BaseServerConnection, Connection):
    __doc__ = BaseServerConnection.__doc__

    _hooks_may_be_coroutines = False

    _thread = 0

    def _is_own_task(self) -> bool:
        return self._thread == threading.get_ident()

    def _log_closed(self) -> None:
        super()._log_closed()
        if self._hooks_run:
            # The hooks cannot be ended, and the server does not wait for them: only their thread counts.
            self.server._leave(self)

    def _shut_down(self, code: int | None, reason: str) -> None:
        self._locked_or_deferred(self._command, self._begin_shut_down, code, reason)

    def _shut_down_soon(self, code: int, reason: str) -> None:
        # The background thread waits for no connection's lock.
        self._call_at(0.0, lambda: self._command(self._begin_shut_down, code, reason))

    def _change(self, function: Callable[..., object], *arguments: Any) -> None:
        self._locked(self._command, function, *arguments)

    def _begin_hooks(self) -> bool:
        return self._locked(super()._begin_hooks)

    async def _call_handler(self) -> None:
        super()._call_handler()

    async def _end(self, code: CloseCode) -> None:
        self.close(code)

    def _serve_on(self, sock: socket.socket, context: ssl_module.SSLContext | None) -> None:
        """Serve a client on an accepted socket until the end, in the calling thread.

        Args:
            sock: the socket; the connection closes it.
            context: for TLS.
        """
        self._thread = threading.get_ident()
        try:
            tls = None if context is None else TLSStream(context, server_side=True)
            self._locked(self._start, sock, tls)
            self._wait_in_opening(self._is_requested)
            if self._is_answered():
                self.wait_closed()
            else:
                run(self._serve(self.request))
        finally:
            self._abandon()


class BasicAuthWebSocketServerProtocol(BlockingBasicAuth, ServerConnection):
    """A server's connection that asks for HTTP Basic authentication (RFC 7617).

    Attributes:
        username: the name that was authenticated; ``None`` before that.
    """


basic_auth_protocol_factory = make_basic_auth_factory(BasicAuthWebSocketServerProtocol)


class Server(BaseServer[ServerConnection]):
    """A listening server: the result of :func:`serve`.

    As a context manager it is shut down on exit. Any thread and any signal handler may call its methods.
    But a connection handler must not wait until the server is closed.

    Attributes:
        closing: whether :meth:`close` has been called.
    """

    # SystemExit, for example, must not end the thread that accepts other clients.
    _logged = BaseException

    def __init__(self, target: ServeTarget, listeners: list[socket.socket], max_threads: int | None) -> None:
        super().__init__(target.handler, target.settings.logger)
        self._target = target
        self._max_threads = max_threads
        self._served: set[ServerConnection] = set()  # each has a thread
        # ``with`` on a condition calls a function of Python: an interruption after it would leave it locked.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._wakeup = Wakeup()
        self._accepting = threading.Thread(target=self._accept, name="wsproto-core server", daemon=True)
        self._listens_on(listeners)

    def _leave(self, connection: ServerConnection) -> None:
        with self._lock:
            super()._leave(connection)
            self._changed.notify_all()

    def is_serving(self) -> bool:
        """Whether new connections are accepted."""
        return self._accepting.ident is not None and not self.closing

    def start_serving(self) -> None:
        """Begin to accept connections, if ``start_serving=False`` was given.

        Raises:
            RuntimeError: the server is closed.
        """
        with self._lock:
            self._check_not_closed()
            if not self.is_serving():
                self._accepting.start()
                self._log_listening()

    def _check_not_closed(self) -> None:
        if self.closing:
            raise RuntimeError("the server is closed: call serve() again")

    def serve_forever(self) -> None:
        """Accept connections until the server is closed; return when everything is.

        When this is interrupted, as Ctrl-C does in the main thread, the server is shut down.

        Raises:
            RuntimeError: this is called in one of the server's own connection handlers.
        """
        self._check_may_wait()
        try:
            with self._lock:
                if not self.closing:
                    self.start_serving()
                # A signal just before the thread begins to wait does not end the wait.
                while not self._changed.wait_for(lambda: self.closing, PAUSE):
                    pass
        except BaseException:
            self.shutdown()
            raise
        self.wait_closed()

    def _shut_down(self, code: int | None, reason: str) -> None:
        with self._lock:
            closed, self.closing = self.closing, True
            self._changed.notify_all()
        # Without the lock: a thread that has the lock of a connection may wait for this lock.
        super()._shut_down(code, reason)
        if not closed:
            self._wakeup.set()
            if self._accepting.is_alive() and threading.current_thread() is not self._accepting:
                # While a thread polls the listeners, they accept connections.
                self._accepting.join(PAUSE)
            for listener in self._sockets:
                listener.close()

    def _call_at(self, when: float, function: Callable[[], bool]) -> Callable[[], object]:
        entry = background_reader().call_at(when, function)
        return lambda: background_reader().cancel(entry)

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until the server is closed, all connections are and all handlers have returned.

        Args:
            timeout: seconds to wait; ``None`` for no limit.

        Raises:
            TimeoutError: a connection or a handler has not ended in time.
            RuntimeError: this is called in one of the server's own connection handlers.
        """
        self._check_may_wait()
        with self._lock:
            if not self._changed.wait_for(lambda: self.closing and not self._connections, timeout):
                raise TimeoutError(f"{len(self._connections)} connections or their handlers have not ended")

    def shutdown(
        self,
        code: int = CloseCode.GOING_AWAY,
        reason: str = "",
        *,
        close_connections: bool = True,
        timeout: float | None = SHUTDOWN,
        drain: float = 0,
    ) -> None:
        """Close the server, and wait until everything is closed and all handlers have returned.

        After the timeout, the remaining connections are aborted, and in their handlers, calls that wait
        raise :exc:`ConnectionClosed`. The thread of a handler that does not return even then does not keep
        the program from ending.

        Args:
            code, reason, drain: see :meth:`close`.
            close_connections: ``False`` does not close open connections until the timeout.
            timeout: seconds to wait after the last connection has begun to close, by default 30; ``None``
                for no limit.

        Raises:
            RuntimeError: this is called in one of the server's own connection handlers; nothing is closed.
        """
        self._check_may_wait()
        self.close(close_connections, code, reason, drain)
        self._wait_or_abort(timeout)

    def _wait_or_abort(self, timeout: float | None) -> None:
        try:
            self.wait_closed(self._after_drain(timeout))
        except TimeoutError:
            for connection in self.connections:
                connection.abort()
            with contextlib.suppress(TimeoutError):
                self.wait_closed(PAUSE)
            if left := self.connections:
                self._logger.warning("%d connection handlers do not return", len(left))
            for connection in left:
                self._leave(connection)

    def __enter__(self) -> Self:
        self._check_not_closed()
        return self

    def __exit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        with keep_exception(exc, self._logger):
            self._close_at_exit(exc)
            self._wait_or_abort(SHUTDOWN)

    # Called by the server's threads

    def _accept(self) -> None:
        """Accept connections until the server is closed; each has a thread."""
        poll = select.poll()
        for each in (self._wakeup.fd, *(listener.fileno() for listener in self._sockets)):
            poll.register(each, select.POLLIN)
        while poll.poll() and not self.closing:
            for listener in self._sockets:
                with self._lock:
                    self._changed.wait_for(self._has_room)
                try:
                    if (sock := accept_now(listener)) is not None:
                        self._begin(sock)
                except OSError:
                    # The process may have too many open files.
                    self._pause()

    def _has_room(self) -> bool:
        return self.closing or self._max_threads is None or len(self._served) < self._max_threads

    def _pause(self) -> None:
        """Log an error of the operating system, and wait: the error would occur again at once."""
        if not self.closing:
            log_failure(self._logger, "accepting a connection failed; trying again")
            with self._lock:
                self._changed.wait_for(lambda: self.closing, PAUSE)

    def _begin(self, sock: socket.socket) -> None:
        """Make the connection for a socket that was accepted, and the thread."""
        connection = self._make(ServerConnection, self._target)
        if connection is None:
            sock.close()
            return
        self._enter(connection)
        self._served.add(connection)
        try:
            threading.Thread(target=self._run, args=(connection, sock), daemon=True).start()
        except RuntimeError:
            # The process has too many threads.
            sock.close()
            self._end(connection)
            self._pause()

    def _run(self, connection: ServerConnection, sock: socket.socket) -> None:
        try:
            connection._serve_on(sock, self._target.ssl)
        except Exception:
            log_failure(connection.logger, "connection failed")
        finally:
            self._end(connection)

    def _end(self, connection: ServerConnection) -> None:
        self._served.discard(connection)
        self._leave(connection)


ServerConnectionT = TypeVar("ServerConnectionT", bound=ServerConnection)


@show_options(ThreadingServeOptions)
def serve(
    handler: BlockingHandler[ServerConnectionT],
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

    A thread of the server accepts connections from now on; :meth:`Server.serve_forever` only waits. Without
    ``with``, call :meth:`Server.shutdown` in the end.

    Args:
        handler: a function that is run for each connection in a thread of its own, given the
            connection, or the connection and the request's path. When it returns, the connection is
            closed with code 1000; when it raises, with 1011, and the exception is logged.
        host: where to listen: an address, several, or ``None`` for all interfaces.
        port: the TCP port; 0 for any free one.

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
        origins: The Origin headers that a server accepts: str, compiled patterns and None; None alone for
            all. Default: None.
        extensions: Extension factories in order of preference. Default: None.
        extra_headers: HTTP headers to add to the handshake: a mapping, pairs or Headers. Default: None.
        process_response: A plain function that may change the response before it is sent, whatever its
            status. Default: None.
        select_subprotocol: A function that chooses the subprotocol, given those of the client and of the
            server. Default: None.
        server_header: The Server header that a server sends; None for none. Default: library and Python
            version.
        logger: Logger of openings, closings and errors; None for wsproto_core.client or wsproto_core.server.
            Default: None.
        create_protocol: A class or function that makes the connection object; None for the adapter's class.
            Default: None.
        process_request: A function or coroutine function that may answer the HTTP request. Default: None.
        max_connections: Limit on the connections of a server, those in the opening handshake included.
            Default: None.
        sock: A socket in the place of host and port: connected on a client, bound on a server. Default: None.
        family: Address family, such as socket.AF_INET; 0 for all. Default: 0.
        backlog: Connections that may wait to be accepted. Default: socket.SOMAXCONN.
        reuse_port: Whether SO_REUSEPORT is set, so that several servers share a port. Default: None.
        max_threads: Limit on connections at once, each with its thread; None for none. Default: 1000 threads.
        start_serving: Whether connections are accepted at once. Default: True.
        ssl: TLS context; on a client, the default context for a wss: URI if it is left out. Default: None.

    Raises:
        TypeError, ValueError: an option is unknown or not allowed, or the handler cannot be called.
        OSError: the address cannot be listened on.
    """
    return _serve(handler, options, host, port)


@show_options(ThreadingServeOptions)
def unix_serve(
    handler: BlockingHandler[ServerConnectionT],
    path: SocketPath | None = None,
    **options: Unpack[ThreadingServeOptions],
) -> Server:
    """Start a WebSocket server that listens on a Unix socket, behind a reverse proxy for example.

    Args:
        handler: see :func:`serve`.
        path: the socket's path; ``None`` if ``sock`` is given. A socket of an earlier program is replaced.

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
        origins: The Origin headers that a server accepts: str, compiled patterns and None; None alone for
            all. Default: None.
        extensions: Extension factories in order of preference. Default: None.
        extra_headers: HTTP headers to add to the handshake: a mapping, pairs or Headers. Default: None.
        process_response: A plain function that may change the response before it is sent, whatever its
            status. Default: None.
        select_subprotocol: A function that chooses the subprotocol, given those of the client and of the
            server. Default: None.
        server_header: The Server header that a server sends; None for none. Default: library and Python
            version.
        logger: Logger of openings, closings and errors; None for wsproto_core.client or wsproto_core.server.
            Default: None.
        create_protocol: A class or function that makes the connection object; None for the adapter's class.
            Default: None.
        process_request: A function or coroutine function that may answer the HTTP request. Default: None.
        max_connections: Limit on the connections of a server, those in the opening handshake included.
            Default: None.
        sock: A socket in the place of host and port: connected on a client, bound on a server. Default: None.
        backlog: Connections that may wait to be accepted. Default: socket.SOMAXCONN.
        max_threads: Limit on connections at once, each with its thread; None for none. Default: 1000 threads.
        start_serving: Whether connections are accepted at once. Default: True.
        ssl: TLS context; on a client, the default context for a wss: URI if it is left out. Default: None.
    """
    return _serve(handler, options, path=path or "")


@show_options(ThreadingRouteOptions)
def route(
    url_map: Rules,
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    **options: Unpack[ThreadingRouteOptions],
) -> Server:
    """Start a WebSocket server that chooses the handler by the request's path.

    ::

        def channel(websocket, channel_id):
            ...

        url_map = Map([Rule("/channel/<int:channel_id>", endpoint=channel)])

        with route(url_map, "localhost", 8765) as server:
            server.serve_forever()

    :func:`~adapters.shared.routing.make_router` says which handler a request leads to.

    Args:
        url_map, server_name, ssl, create_router: see :func:`~adapters.shared.routing.make_router`.
        host, port, options: see :func:`serve`.

    Raises:
        ImportError, TypeError, ValueError: see :class:`Router`, or :func:`serve`.
        OSError: the address cannot be listened on.
    """
    return _serve(*take_route_options(url_map, options), host, port)


@show_options(ThreadingRouteOptions)
def unix_route(
    url_map: Rules, path: SocketPath | None = None, **options: Unpack[ThreadingRouteOptions]
) -> Server:
    """Start a WebSocket server that listens on a Unix socket and chooses the handler by the request's path.

    Args:
        url_map, server_name, ssl, create_router: see :func:`~adapters.shared.routing.make_router`.
        path, options: see :func:`unix_serve`.
    """
    return _serve(*take_route_options(url_map, options), path=path or "")


async def _getaddrinfo(host: str | None, port: int, **names: int) -> Sequence[Address]:
    return socket.getaddrinfo(host, port, names["family"], names["type"], 0, names["flags"])


def _serve(handler: Handler, options: Any, host: Any = None, port: Any = None, path: Any = None) -> Server:
    check_names(ThreadingServeOptions.__annotations__, options)
    target = ServeTarget(handler, host, port, path, options)
    check_plain(handler, target.settings.process_request)
    max_threads = target.options.get("max_threads", MAX_THREADS)
    OPTIONS["max_connections"].check("max_threads", max_threads)  # a count as well
    server = Server(target, target.listen(run(target.look_up(_getaddrinfo))), max_threads)
    if target.options.get("start_serving", True):
        server.start_serving()
    return server
