"""WebSocket servers on threads.

One thread accepts; each connection has one of its own, for TLS, both handshakes and its handler.
There is a bound on these threads: while it is reached, clients wait to be accepted.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import select
import socket
import ssl as ssl_module
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self, Unpack

from wsproto_core import auth as core_auth
from wsproto_core.auth import BlockingBasicAuth, CheckCredentials, Credentials
from wsproto_core.blocks import keep_exception
from wsproto_core.options import OPTIONS, ServeOptions, ServerOptions, split_options
from wsproto_core.routing import Router
from wsproto_core.server import ServerProtocol
from wsproto_core.serving import BaseServer, BaseServerConnection, Handler
from wsproto_core.stream_options import check_names, check_serve
from wsproto_core.typing import CloseCode, SocketPath, State

from .connection import Connection
from .streams import TLSStream, listen_tcp, listen_unix
from .waiting import Alarm

__all__ = [
    "BasicAuthWebSocketServerProtocol",
    "Server",
    "ServerConnection",
    "basic_auth_protocol_factory",
    "serve",
    "unix_serve",
]

# Default of max_threads.
MAX_THREADS = 1000

# Seconds to wait when the operating system refuses something that accepting takes.
PAUSE = 1.0

# Seconds that shutdown waits, unless it is told otherwise: a closing handshake, twice over, and some more.
SHUTDOWN = 30.0


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
    __doc__ = BaseServerConnection.__doc__

    def __init__(self, handler: Handler, server: Server, **options: Unpack[ServeOptions]) -> None:
        """
        Arguments:
            handler: what :func:`serve` was given.
            server: the server that this connection belongs to.
            options: see :data:`wsproto_core.OPTIONS`.
        """
        ours, _ = split_options(ServerOptions, options)
        protocol = ServerProtocol(clock=time.monotonic, date=time.time, **ours)
        super().__init__(protocol, options.get("logger"))
        self._serve_for(handler, server, options)

    def shut_down(self, code: int | None, reason: str) -> None:
        """The server is closing: refuse the opening handshake, or begin the closing one.

        Arguments:
            code: close code; ``None`` leaves an open connection alone.
            reason: close reason.
        """
        with self._lock:
            self._begin_shut_down(code, reason)
            self._react()

    def serve_on(self, sock: socket.socket, context: ssl_module.SSLContext | None) -> None:
        """Live on an accepted socket until the end, in the calling thread.

        Arguments:
            sock: the socket; the connection closes it.
            context: for TLS.
        """
        protocol = self.protocol
        try:
            with self._lock:
                self._start(sock, None if context is None else TLSStream(sock, context, server_side=True))
                self._wait_until(lambda: protocol.request or protocol.state is not State.CONNECTING)
            if protocol.state is State.CONNECTING:
                self._answer()
            self.wait_closed()
        finally:
            self.abandon()

    def _answer(self) -> None:
        """Answer the request; run the handler if there is a connection; close it."""
        admitted = self.server.admit(self._max_connections)
        try:
            result = self._process() if admitted else None
            with self._lock:
                if admitted:
                    self.protocol.answer(result, select_subprotocol=self.select_subprotocol)
                    if self.protocol.handshake_error is None:
                        self.log_open()
                else:
                    self.protocol.refuse_connection()
                self._react()
            if self.protocol.state is State.OPEN:
                self._handle()
        finally:
            if admitted:
                self.server.dismiss()

    def _process(self) -> Any:
        request = self.protocol.request
        assert request is not None
        try:
            result = self.process_request(request.path, request.headers)
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError("process_request must be a plain function: nobody awaits it here")
            if result is None:
                result = self._find_route(request)
        except Exception as error:
            return error
        return result

    def _handle(self) -> None:
        code = CloseCode.NORMAL_CLOSURE
        try:
            self._call_handler()
        except Exception as error:
            code = self._judge(error)
        self.close(code)


class BasicAuthWebSocketServerProtocol(BlockingBasicAuth, ServerConnection):
    """A server's connection that asks for HTTP Basic authentication (RFC 7617).

    Attributes:
        username: who was authenticated; ``None`` before that.
    """


def basic_auth_protocol_factory(
    realm: str,
    credentials: Credentials | Iterable[Credentials] | None = None,
    check_credentials: CheckCredentials | None = None,
    create_protocol: Callable[..., ServerConnection] = BasicAuthWebSocketServerProtocol,
) -> Callable[..., ServerConnection]:
    """Return what to give to :func:`serve` as ``create_protocol`` for HTTP Basic authentication.

    ::

        auth = basic_auth_protocol_factory("staff", credentials=("user", "secret"))
        with serve(handler, "localhost", 8765, ssl=context, create_protocol=auth) as server: ...

    Arguments:
        realm, credentials, check_credentials: see :func:`wsproto_core.auth.basic_auth_protocol_factory`;
            ``check_credentials`` is a plain function.
        create_protocol: makes the connection object; a subclass of
            :class:`BasicAuthWebSocketServerProtocol`, say.

    Raises:
        TypeError, ValueError: an argument is not allowed.
    """
    return core_auth.basic_auth_protocol_factory(realm, credentials, check_credentials, create_protocol)


class Server(BaseServer):
    """A server that listens: what :func:`serve` returns.

    As a context manager it is shut down on exit. Any thread may call its methods, also a signal
    handler; but a connection handler must not wait for the server to be closed.

    Attributes:
        connections: the connections there are, in any state.
        closing: whether :meth:`close` has been called.
    """

    def __init__(self, handler: Handler, options: dict[str, Any], own_options: dict[str, Any]) -> None:
        super().__init__(handler)
        self._handler = handler
        self._create = options.pop("create_protocol", None) or ServerConnection
        self._options = options
        self._logger = options.get("logger") or logging.getLogger("wsproto_core.server")
        self._context: ssl_module.SSLContext | None = own_options.get("ssl")
        self._max_threads: int | None = own_options.get("max_threads", MAX_THREADS)
        OPTIONS["max_connections"].check("max_threads", self._max_threads)  # a count as well
        self._listeners: list[socket.socket] = []
        self._serving = False
        self._acceptor = threading.Thread(target=self._accept, name="wsproto-core server", daemon=True)
        self._changed = threading.Condition()
        self._alarm = Alarm()

    @property
    def sockets(self) -> list[socket.socket] | None:
        """The sockets that the server listens on; ``None`` once it is closed."""
        return None if self.closing else list(self._listeners)

    def admit(self, max_connections: int | None) -> bool:
        with self._changed:
            return super().admit(max_connections)

    def dismiss(self) -> None:
        with self._changed:
            super().dismiss()

    def is_serving(self) -> bool:
        """Whether new connections are accepted."""
        return self._serving and not self.closing

    def start_serving(self) -> None:
        """Begin to accept connections, if ``start_serving=False`` was given.

        Raises:
            RuntimeError: the server is closed.
        """
        with self._changed:
            self._check_not_closed()
            if not self._serving:
                self._serving = True
                self._acceptor.start()

    def _check_not_closed(self) -> None:
        if self.closing:
            raise RuntimeError("the server is closed: call serve() again")

    def serve_forever(self) -> None:
        """Accept connections until the server is closed; return when everything is.

        When this is interrupted, as Ctrl-C does in the main thread, the server is shut down.
        """
        try:
            with self._changed:
                if not self.closing:
                    self.start_serving()
                # A signal that comes just before a thread begins to wait does not end the waiting.
                while not self._changed.wait_for(lambda: self.closing, PAUSE):
                    pass
        except BaseException:
            self.shutdown()
            raise
        self.wait_closed()

    def shut_down(self, code: int | None, reason: str) -> None:
        with self._changed:
            closed = self.closing
            super().shut_down(code, reason)
            self._changed.notify_all()
        if not closed:
            self._alarm.ring()
            if self._serving and threading.current_thread() is not self._acceptor:
                # As long as it polls them, they accept.
                self._acceptor.join(PAUSE)
            for listener in self._listeners:
                listener.close()

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until the server is closed, all connections are and all handlers have returned.

        Arguments:
            timeout: seconds to wait; ``None`` for any time.

        Raises:
            TimeoutError: that is not so yet.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self.closing and not self.connections, timeout):
                raise TimeoutError(f"{len(self.connections)} connections or their handlers have not ended")

    def shutdown(
        self, code: int = CloseCode.GOING_AWAY, reason: str = "", *, timeout: float | None = SHUTDOWN
    ) -> None:
        """Close the server, and wait until everything is closed and all handlers have returned.

        When the time is over, connections that are still there are aborted, which also ends what
        their handlers wait for. A handler that does not return even then is left to itself: its
        thread does not keep the program from ending.

        Arguments:
            code, reason: see :meth:`close`.
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
                if self.connections:
                    self._logger.warning("%d connection handlers do not return", len(self.connections))
                self.connections.clear()
                self._changed.notify_all()

    def __enter__(self) -> Self:
        self._check_not_closed()
        return self

    def __exit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        with keep_exception(exc, self._logger):
            self.shutdown()

    # What its threads do

    def _accept(self) -> None:
        poll = select.poll()
        for fd in [self._alarm.fd, *(listener.fileno() for listener in self._listeners)]:
            poll.register(fd, select.POLLIN)
        while poll.poll() and not self.closing:
            for listener in self._listeners:
                with self._changed:
                    self._changed.wait_for(self._has_room)
                try:
                    self._begin(listener.accept()[0])
                except (BlockingIOError, ConnectionAbortedError):
                    pass
                except Exception:
                    if not self.closing:
                        # There are too many open files or threads, say; it would be so again at once.
                        self._logger.exception("accepting a connection failed; trying again")
                        with self._changed:
                            self._changed.wait_for(lambda: self.closing, PAUSE)

    def _has_room(self) -> bool:
        return self.closing or self._max_threads is None or len(self.connections) < self._max_threads

    def _begin(self, sock: socket.socket) -> None:
        """Begin with a connection that was accepted."""
        try:
            connection: ServerConnection = self._create(self._handler, self, **self._options)
            thread = threading.Thread(target=self._run, args=(connection, sock), daemon=True)
            with self._changed:
                if self.closing:
                    raise ConnectionAbortedError
                thread.start()
                self.connections.add(connection)
        except BaseException:
            sock.close()
            raise

    def _run(self, connection: ServerConnection, sock: socket.socket) -> None:
        try:
            connection.serve_on(sock, self._context)
        except Exception:
            connection.logger.exception("internal error")
        finally:
            with self._changed:
                self.connections.discard(connection)
                self._changed.notify_all()


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
            (1000), how many connections there may be at once, each with its thread, while others wait
            to be accepted; ``None`` for no bound. ``ssl``, a context. ``sock``, a listening socket, in
            place of ``host`` and ``port``. ``family``, such as :data:`socket.AF_INET`. ``backlog``
            (100), how many may wait to be accepted. ``reuse_port`` (``False``). ``start_serving``
            (``True``).

    Raises:
        TypeError, ValueError: an option is unknown or not allowed, or the handler cannot be called.
        OSError: the address cannot be listened on.
    """
    return _serve(handler, host, port, None, options)


def unix_serve(
    handler: Handler, path: SocketPath | None = None, **options: Unpack[ThreadingServeOptions]
) -> Server:
    """Start a WebSocket server that listens on a Unix socket, behind a reverse proxy for example.

    Arguments:
        handler: see :func:`serve`.
        path: the socket's path; ``None`` if ``sock`` is given. What a program left there is replaced.
        options: see :func:`serve`.
    """
    return _serve(handler, None, None, path or "", options)


def _serve(handler: Handler, host: Any, port: int | None, path: Any, options: Any) -> Server:
    check_names(ThreadingServeOptions.__annotations__, options)
    ours, own = split_options(ServeOptions, options)
    path = check_serve(host, port, path, own)
    handlers = handler.handlers if isinstance(handler, Router) else [handler]
    functions = [("handler", each) for each in handlers]
    for name, function in [*functions, ("process_request", ours.get("process_request"))]:
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"{name} must be a plain function, not a coroutine function: threads run it")
    server = Server(handler, ours, own)
    sock, backlog = own.get("sock"), own.get("backlog", 100)
    if sock is not None:
        server._listeners = [sock]
    elif path is not None:
        server._listeners = [listen_unix(path)]
    else:
        server._listeners = listen_tcp(host, port, own.get("family", 0), own.get("reuse_port"))
    for listener in server._listeners:
        listener.setblocking(False)
        listener.listen(backlog)
    if own.get("start_serving", True):
        server.start_serving()
    return server
