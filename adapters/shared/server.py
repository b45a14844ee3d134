"""The servers of all adapters: everything except waiting and streams.

:class:`ServeTarget` has the arguments of ``serve``. :class:`BaseServer` has the connections, and closes
them. :class:`BaseServerConnection` calls the application's handler and hooks, and handles their results and
exceptions.
"""

from __future__ import annotations

import inspect
import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from operator import methodcaller
from typing import Any, Generic, Self, TypeVar, Unpack, cast

from wsproto_core.closing import serialize_close
from wsproto_core.events import Request
from wsproto_core.exceptions import ConnectionClosed, InvalidHandshake
from wsproto_core.handshake.headers import select_subprotocol
from wsproto_core.handshake.server import Answer, ServerProtocol
from wsproto_core.http import Headers, Response
from wsproto_core.options import resolve
from wsproto_core.types import CloseCode, Side, SocketPath, State, Subprotocol

from .addresses import Address
from .asynchronous import AsyncConnection, RuntimeEvent, wait_for_wake
from .blocks import AsyncOnce, keep_exception
from .connection import BaseConnection
from .draining import Drain, check_drain
from .handlers import Handler, check_async_handler, takes_path
from .listening import hosts_of, look_up_hosts, open_listeners, set_backlog
from .logs import default_logger, describe, log_failure
from .options import HTTPAnswer, Logger, ServeOptions, ServeSettings, make_connection, split_options
from .routing import Route, Router, Rules, take_route_options
from .sockets import show_address
from .stream_options import TCP_SERVER, check_names, check_serve
from .waiting import Waiters

__all__ = [
    "AsyncServer",
    "AsyncServerConnection",
    "BaseServe",
    "BaseServer",
    "BaseServerConnection",
    "ServeTarget",
]

ConnectionT = TypeVar("ConnectionT", bound="BaseServerConnection")


class ServeTarget:
    """The arguments of ``serve``, parsed and checked once, before any socket listens.

    Attributes:
        handler: the function that is called for each connection.
        settings: the options of :class:`.ServeSettings`.
        options: the other options: those of listening sockets, without ``sock`` and ``ssl``.
        host, port: the arguments; the port is 0 if it is left out.
        path: the path of a Unix socket; ``None`` for TCP, "" if ``sock`` is a Unix socket.
        sock: the socket that the application gave; ``None`` without.
        ssl: the TLS context; ``None`` without TLS.
        where: the path, the socket, or host and port, for ``repr``.
    """

    def __init__(
        self,
        handler: Handler,
        host: str | Sequence[str] | None,
        port: int | None,
        path: SocketPath | None,
        options: Mapping[str, Any],
    ) -> None:
        """
        Args:
            handler: the function that is called for each connection.
            host: where to listen: an address, several, or ``None`` for all interfaces.
            port: the TCP port; 0 for any free one.
            path: the path of a Unix socket; ``None`` for TCP, "" for the socket that is an option.
            options: those of ``serve``, by name.

        Raises:
            TypeError, ValueError: an option is not allowed, or contradicts another.
        """
        self.handler = handler
        self.settings, self.options = split_options(ServeSettings, options)
        self.host, self.port = host, port or 0
        self.path = check_serve(host, port, path, self.options)
        self.ssl: Any = self.options.pop("ssl", None)
        self.sock: socket.socket | None = self.options.pop("sock", None)
        self.where = self.path or self.sock or f"{host or '*'}:{port}"

    @property
    def hosts(self) -> list[str | None]:
        """The hosts to look up; ``None`` is all interfaces. Empty for a Unix socket or a given socket."""
        return hosts_of(self.host) if self.sock is None and self.path is None else []

    async def look_up(self, getaddrinfo: Callable[..., Awaitable[Sequence[Address]]]) -> list[Address]:
        """Look up the addresses of :attr:`hosts`.

        Args:
            getaddrinfo: the runtime's function of this name.
        """
        names = {name: self.options[name] for name in ("family", "flags") if name in self.options}
        return await look_up_hosts(getaddrinfo, self.hosts, self.port, **names)

    def listen(self, found: Iterable[Address]) -> list[socket.socket]:
        """Begin to listen: see :func:`.open_listeners`.

        Args:
            found: the addresses of :attr:`hosts`.
        """
        return open_listeners(self.sock, self.path, found, self.options)


class BaseServe(AsyncOnce):
    """The result of ``serve`` on an asynchronous adapter: its arguments, which are checked at once.

    Attributes:
        _options: the ``TypedDict`` of the options of ``serve``.
    """

    made_by = "serve"
    _options: type

    def __init__(
        self,
        handler: Handler,
        host: str | Sequence[str] | None,
        port: int | None,
        path: SocketPath | None,
        options: Any,
    ) -> None:
        """
        Args:
            handler: the coroutine function that is run for each connection.
            host: where to listen: an address, several, or ``None`` for all interfaces.
            port: the TCP port, if it is not any free one.
            path: where a Unix socket is to be; ``None`` for TCP, "" for the socket that is an option.
            options: those of ``serve``.

        Raises:
            TypeError, ValueError: the handler or an option is not allowed.
        """
        check_async_handler(handler)
        others = () if path is None else TCP_SERVER
        check_names([name for name in self._options.__annotations__ if name not in others], options)
        self._target = ServeTarget(handler, host, port, path, options)
        self.made_for = self._target.where
        self._logger = self._target.settings.logger or default_logger(Side.SERVER)

    @classmethod
    def _for_rules(
        cls,
        url_map: Rules,
        host: str | Sequence[str] | None,
        port: int | None,
        path: SocketPath | None,
        options: Mapping[str, Any],
    ) -> Self:
        """Return the result of ``route``.

        Args:
            url_map: see :func:`.make_router`.
            host, port, path: see above.
            options: those of ``serve``, and :data:`.ROUTE_OPTIONS`.

        Raises:
            ImportError, TypeError, ValueError: see :func:`.make_router`, or above.
        """
        router, others = take_route_options(url_map, options)
        return cls(router, host, port, path, others)


class BaseServer(Generic[ConnectionT]):
    """A server: its addresses, and its connections in any state.

    A connection belongs to the server from the moment it is accepted, so that TLS's handshake belongs to
    it, until its stream is closed and its handler has returned.

    An adapter calls :meth:`_listens_on` when the sockets are bound and :meth:`_log_listening` when it begins
    to accept. For each stream that it accepts, it calls :meth:`_make` and then :meth:`_enter`; it closes the
    stream at once if :meth:`_make` returns ``None``. The connection calls :meth:`_admit` when its request has
    been received, and answers with HTTP status 503 if that returns ``False``. The adapter calls
    :meth:`_leave` when the stream is closed and the handler has returned.

    Attributes:
        addresses: the addresses that the server listens on, or did until it was closed: ``(host, port)``
            on IPv4, ``(host, port, flow, scope)`` on IPv6, a path for a Unix socket.
        closing: whether the server is closed or closing.
    """

    addresses: tuple[Any, ...] = ()
    _sockets: tuple[socket.socket, ...] = ()
    # Guards the connections, on an adapter with threads.
    _lock: AbstractContextManager[object] = nullcontext()
    # What the application may raise when a connection is made, and what is then logged.
    _logged: type[BaseException] = Exception
    _drain: Drain[ConnectionT] | None = None

    def __init__(self, handler: Handler, logger: Logger | None = None) -> None:
        """
        Args:
            handler: the function that is called for each connection.
            logger: the server's logger; ``None`` for the default logger.

        Raises:
            TypeError: the handler cannot be called with a connection, nor with a connection and a path.
        """
        self._handler_takes_path = takes_path(handler)
        self.closing = False
        self._logger: Logger = logger or default_logger(Side.SERVER)
        self._connections: set[ConnectionT] = set()
        self._places_taken = 0

    def __repr__(self) -> str:
        where = ", ".join(map(show_address, self.addresses))
        state = "closed" if self.closing else f"listening on {where}" if where else "not listening"
        return f"<{type(self).__name__} {state}, connections: {len(self._connections)}>"

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The sockets that the server listens on; none once it is closed."""
        return () if self.closing else tuple(sock for sock in self._sockets if sock.fileno() >= 0)

    @property
    def port(self) -> int | None:
        """The TCP port of the first of :attr:`addresses`; ``None`` on a Unix socket."""
        ports = [address[1] for address in self.addresses if isinstance(address, tuple)]
        return ports[0] if ports else None

    def _listens_on(self, sockets: Iterable[socket.socket], backlog: int | None = None) -> None:
        """Set the listening sockets, from which :attr:`sockets`, :attr:`addresses` and :attr:`port` come.

        Args:
            sockets: the sockets.
            backlog: their backlog, if the runtime has been given another one.
        """
        self._sockets = tuple(sockets)
        self._backlog = backlog
        self.addresses = tuple(sock.getsockname() for sock in self._sockets)

    def _log_listening(self) -> None:
        """Log the addresses, when the server begins to accept connections."""
        if self._backlog is not None:
            set_backlog(self._sockets, self._backlog)
        self._logger.info("server listening on %s", ", ".join(map(show_address, self.addresses)))

    @property
    def connections(self) -> set[ConnectionT]:
        """The connections in any state, from accepting on: a copy, which does not change."""
        with self._lock:
            return set(self._connections)

    def _make(self, connection_class: Callable[..., Any], target: ServeTarget) -> Any | None:
        """Make the connection for an accepted stream; return ``None`` after a failure, which is logged."""
        try:
            connection = make_connection(target.settings, connection_class, target.handler, self)
            # For the usual class, without isinstance, which is written in Python for abstract classes.
            if type(connection) is not connection_class and not isinstance(connection, BaseServerConnection):
                raise TypeError(f"create_protocol must make a ServerConnection, not {connection!r}")
        except self._logged:
            log_failure(self._logger, "connection could not be created")
            return None
        return connection

    # Called by connections

    def _enter(self, connection: ConnectionT) -> None:
        """Add a connection that has been accepted."""
        with self._lock:
            self._connections.add(connection)
            self._admit(connection)
        if self.closing:
            connection._shut_down(None, "")

    def _admit(self, connection: BaseServerConnection) -> bool:
        """Count a connection, unless there are ``max_connections`` already; return whether it is counted.

        It is called again when the request has been received: another connection may have ended since.
        """
        limit = connection._max_connections
        with self._lock:
            if not connection._has_place and (limit is None or self._places_taken < limit):
                connection._has_place = True
                self._places_taken += 1
            return connection._has_place

    def _leave(self, connection: ConnectionT) -> None:
        """Remove a connection whose stream is closed and whose handler has returned."""
        with self._lock:
            self._connections.discard(connection)
            if connection._has_place:
                connection._has_place = False
                self._places_taken -= 1
        if self._drain is not None:
            self._drain.discard(connection)

    def _check_may_wait(self) -> None:
        """Refuse to wait for the end of the server in one of its own handlers, which would never end.

        Raises:
            RuntimeError: the caller is one of the server's own connection handlers.
        """
        if any(connection._is_own_task() for connection in self.connections):
            raise RuntimeError(
                "a connection handler cannot wait until its own server is closed: that waits for the handler "
                "itself; call close() there, and return"
            )

    def close(
        self,
        close_connections: bool = True,
        code: int = CloseCode.GOING_AWAY,
        reason: str = "",
        drain: float = 0,
    ) -> None:
        """Stop accepting connections and begin to close all connections; :meth:`wait_closed` waits.

        Clients in the opening handshake get HTTP status 503. Clients that have sent nothing are closed at
        once, and clients whose request is not complete after one second. In the handlers of open
        connections, ``recv`` and ``send`` raise :exc:`ConnectionClosedOK`, if ``code`` is 1000, 1001 or 1005.

        With ``drain``, open connections are closed one after the other, in equal steps over this time, so
        that clients do not all come back in the same second. Until its turn comes, a connection goes on as
        before. If the server's block ends meanwhile, it waits for the rest; an exception or a cancellation
        closes the rest at once. So does another ``close()``; with ``drain``, another call closes no
        connection later than it was to be closed.

        Args:
            close_connections: ``False`` does not close open connections: their handlers continue.
            code: the close code for open connections; by default 1001 (going away).
            reason: the reason for open connections, at most 123 bytes in UTF-8; by default empty.
            drain: seconds over which open connections are closed; by default 0, all at once.

        Raises:
            TypeError: the code is not an ``int``, the reason is not a ``str``, or ``drain`` is not a number.
            ValueError: the code, the reason or ``drain`` is not allowed, or ``drain`` is given although no
                connection is to be closed.
        """
        serialize_close(code, reason)
        check_drain(drain)
        if drain and not close_connections:
            raise ValueError("drain must be left out with close_connections=False: no connection is closed")
        before = self._drain
        self._shut_down(code if close_connections and not drain else None, reason)
        if not close_connections:
            return
        if drain:
            self._begin_drain(drain, code, reason)
        if before is not None:
            before.cancel()

    def _begin_drain(self, seconds: float, code: int, reason: str) -> None:
        """Close open connections one after the other.

        Args:
            seconds: the time for that, more than 0.
            code, reason: those in the close frames.
        """
        connections = [each for each in self.connections if each.protocol.state is State.OPEN]
        if connections:
            clock, _ = connections[0]._clocks()
            close = methodcaller("_shut_down_soon", code, reason)
            self._drain = Drain(connections, seconds, clock, self._call_at, close, self._drain)
            self._drain.close_due()

    def _close_at_exit(self, exc: BaseException | None) -> None:
        """Close the server when its block ends, by an exception or not; a drain that was begun goes on."""
        if exc is not None or not self._drain:
            self.close()

    def _after_drain(self, timeout: float | None) -> float | None:
        """Return a timeout in seconds that begins when the last connection has begun to close."""
        return timeout if timeout is None or self._drain is None else timeout + self._drain.seconds_left

    @abstractmethod
    def _call_at(self, when: float, function: Callable[[], bool]) -> Callable[[], object]:
        """Call a function, which returns true, while there are connections.

        Args:
            when: the time of the connections' clock, in seconds.
            function: the function, which does not wait.

        Returns:
            A function that cancels the call.
        """

    def _shut_down(self, code: int | None, reason: str) -> None:
        """End opening handshakes, and begin the closing handshakes of open connections.

        Args:
            code: the close code; ``None`` does not close open connections.
            reason: the reason in the close frames.
        """
        self.closing = True
        for connection in self.connections:
            connection._shut_down(code, reason)


class AsyncServer(BaseServer[ConnectionT]):
    """A listening server. As an asynchronous context manager it is closed on exit.

    Attributes:
        closing: whether :meth:`close` has been called.
    """

    def __init__(
        self, handler: Handler, logger: Logger | None, make_event: Callable[[], RuntimeEvent]
    ) -> None:
        """
        Args:
            handler, logger: see :class:`BaseServer`.
            make_event: makes an event of the runtime.
        """
        super().__init__(handler, logger)
        self._make_event = make_event
        self._waiters = Waiters()

    def is_serving(self) -> bool:
        """Whether new connections are accepted."""
        return not self.closing

    async def serve_forever(self) -> None:
        """Accept connections until the server is closed; return when everything is.

        On asyncio, the server is also closed when the task is cancelled.

        Raises:
            RuntimeError: this is called in one of the server's own connection handlers.
        """
        self._check_may_wait()
        await self._wait_until_close()
        await self.wait_closed()

    async def _wait_until_close(self) -> None:
        """Wait until :meth:`close` is called."""
        await self._wait_until(self._is_closing)

    def _is_closing(self) -> bool:
        return self.closing

    def _is_empty(self) -> bool:
        return not self._connections

    async def _wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until a condition is true: tested when the server closes, and when a connection has ended."""
        while not ready():
            await wait_for_wake(self._waiters, ready, self._make_event())

    def _shut_down(self, code: int | None, reason: str) -> None:
        super()._shut_down(code, reason)
        self._waiters.wake()

    def _leave(self, connection: ConnectionT) -> None:
        super()._leave(connection)
        self._waiters.wake()

    async def wait_closed(self) -> None:
        """Wait until the server is closed, all connections are and all handlers have returned.

        Raises:
            RuntimeError: this is called in one of the server's own connection handlers.
        """
        self._check_may_wait()
        await self._wait_until(self._is_closing)
        await self._wait_ended()

    @abstractmethod
    async def _wait_ended(self) -> None:
        """Wait until a server that is closing has ended."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        self._close_at_exit(exc)
        with keep_exception(exc, self._logger):
            await self.wait_closed()


class BaseServerConnection(BaseConnection, ABC):
    """A server's connection: the argument of a handler. It is closed when the handler returns.

    Subclasses may override :meth:`process_request` and :meth:`select_subprotocol`. An adapter's class has
    this class among its bases before the adapter's connection.

    Attributes:
        route: the result of routing, on a server made by ``route``; otherwise ``None``.
    """

    protocol: ServerProtocol
    _has_place: bool  # whether it counts against max_connections
    _hooks_run: bool  # whether the application is answering the request
    route: Route | None = None

    _hooks_may_be_coroutines = True

    def __init__(
        self,
        handler: Handler,
        server: BaseServer[Any],
        *,
        settings: ServeSettings | None = None,
        **options: Unpack[ServeOptions],
    ) -> None:
        """
        Args:
            handler: the argument of ``serve``.
            server: the server that this connection belongs to.
            settings: options that were parsed before; ``None`` for the defaults.
            options: see :data:`adapters.shared.options.OPTIONS`.
        """
        settings = resolve(ServeSettings, options, settings)
        clock, date = self._clocks()
        super().__init__(ServerProtocol(clock=clock, date=date, settings=settings), settings.logger)
        self.handler = handler
        self.server = server
        self._has_place = self._hooks_run = False
        self._process_request = settings.process_request
        self._max_connections = settings.max_connections

    # Before hooks and handlers run, there is no request: the values of these properties are None then.

    @property
    def request(self) -> Request:
        """The request of the opening handshake; never ``None`` in a handler or a hook."""
        return cast(Request, self.protocol.request)

    @property
    def path(self) -> str:
        """The path and query of the request; never ``None`` in a handler or a hook."""
        return cast(str, super().path)

    @property
    def request_headers(self) -> Headers:
        """The headers of the request; never ``None`` in a handler or a hook."""
        return cast(Headers, super().request_headers)

    def process_request(self, path: str, request_headers: Headers) -> HTTPAnswer | Awaitable[HTTPAnswer]:
        """Answer the HTTP request, or leave it to the opening handshake.

        Subclasses may override it, also by a coroutine function (not on threads). By default it calls the
        function that is given as the option ``process_request``.

        Args:
            path: the path and query of the request.
            request_headers: the headers of the request.

        Returns:
            ``None`` to continue with the opening handshake, or the response: a :class:`Response`, or a
            tuple of status, headers and body.
        """
        return None if self._process_request is None else self._process_request(path, request_headers)

    def select_subprotocol(
        self, client_subprotocols: Sequence[Subprotocol], server_subprotocols: Sequence[Subprotocol]
    ) -> Subprotocol | None:
        """Choose the subprotocol.

        It is called for every request before it is accepted, also if one side has no subprotocols. Subclasses
        may override it. By default the preferences of client and server have the same weight, and no
        request is refused. The option of the same name takes precedence over this method.

        Args:
            client_subprotocols: the client's subprotocols, in order of preference; may be empty.
            server_subprotocols: the option ``subprotocols``; may be empty.

        Returns:
            One of the client's subprotocols, or ``None``.

        Raises:
            NegotiationError: to refuse the request with HTTP status 400.
            AbortHandshake: to refuse the request with the response in the exception.
        """
        return select_subprotocol(client_subprotocols, server_subprotocols)

    @abstractmethod
    def _change(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a function that changes the state machine, on threads with the lock; react to the change."""

    @abstractmethod
    async def _end(self, code: CloseCode) -> None:
        """Close the connection with this code if it is open; wait until it is closed."""

    async def _serve(self, request: Request) -> None:
        """Answer the request, run the handler, and wait until the connection is closed."""
        code = CloseCode.NORMAL_CLOSURE
        if not self.server._admit(self):
            self._change(self.protocol.refuse_connection)
        elif self._begin_hooks():
            await self._run_hooks(request)
            if self.protocol.state is State.OPEN:
                try:
                    await self._call_handler()
                except Exception as error:
                    code = self._judge(error)
        await self._end(code)

    def _begin_hooks(self) -> bool:
        """Note that the application answers the request; return false if it has been answered already."""
        self._hooks_run = not self._is_answered()
        return self._hooks_run

    def _run_hooks(self, request: Request) -> Awaitable[None]:
        """Run :meth:`_answer`."""
        return self._answer(request)

    async def _answer(self, request: Request) -> None:
        """Perform the opening handshake."""
        # Without the lock: the application's hooks delay neither the deadline nor the end.
        result = await self._ask(request)
        if isinstance(result, Exception):
            self._tell_if_late(result)
        answer: Answer | None = None
        if not self._is_answered():
            answer = self.protocol.prepare_answer(result, select_subprotocol=self.select_subprotocol)
        self._change(self._end_hooks, answer)

    async def _ask(self, request: Request) -> Any:
        """Return the answer of the application, or its exception."""
        try:
            result: Any = self.process_request(request.path, request.headers)
            if result is not None and inspect.isawaitable(result):
                if inspect.iscoroutine(result) and not self._hooks_may_be_coroutines:
                    result.close()
                    raise TypeError("process_request must be a plain function, not a coroutine function")
                result = await result
            return self._find_route(request) if result is None else result
        except Exception as error:
            return error

    def _end_hooks(self, answer: Answer | None) -> None:
        """Give the answer of the application, unless the request has been answered already."""
        self._hooks_run = False
        if answer is not None:
            self.protocol.give_answer(answer)
        if self.protocol.handshake_error is None:
            self._log_open()

    def _find_route(self, request: Request) -> Response | None:
        """Find the handler by the rules of ``route``, if there are any; return the response if there is none.

        It is called for requests that :meth:`process_request` has not answered.
        """
        if isinstance(self.handler, Router):
            found = self.handler.route(request)
            if isinstance(found, Response):
                return found
            self.route = found
        return None

    def _call_handler(self) -> Any:
        return self.handler(self, self.path) if self.server._handler_takes_path else self.handler(self)

    def _judge(self, error: Exception) -> CloseCode:
        """Log the exception of a handler; return the close code."""
        if self._tells_of_end(error):
            self.logger.debug("connection handler ended: %s", describe(error))
            return CloseCode.NORMAL_CLOSURE
        self.logger.error("connection handler failed", exc_info=error)
        return CloseCode.INTERNAL_ERROR

    def _tells_of_end(self, error: Exception) -> bool:
        """Whether the exception of a handler only says that the connection is closed."""
        # Several tasks of a handler may raise ConnectionClosed.
        group = error if isinstance(error, ExceptionGroup) else ExceptionGroup("", [error])
        # ConnectionClosed of another connection, in a proxy for example, is an error.
        return self.protocol.state is not State.OPEN and group.split(ConnectionClosed)[1] is None

    def _is_requested(self) -> bool:
        """Whether there is a request, or the client has left."""
        return self.protocol.request is not None or self._is_answered()

    def _is_answered(self) -> bool:
        """Whether the request has been answered, or the client has left."""
        return self.protocol.state is not State.CONNECTING

    def _tell_if_late(self, error: Exception) -> None:
        """Log the exception of a hook that ended too late: no response can report it."""
        if not isinstance(error, InvalidHandshake) and self._is_answered():
            self.logger.error("opening handshake failed", exc_info=error)

    @abstractmethod
    def _is_own_task(self) -> bool:
        """Whether the caller is the connection's handler, or a hook."""

    @abstractmethod
    def _shut_down(self, code: int | None, reason: str) -> None:
        """End the opening handshake, or begin the closing handshake, because the server is closing.

        Args:
            code: the close code; ``None`` does not close an open connection.
            reason: the reason in the close frame.
        """

    def _shut_down_soon(self, code: int, reason: str) -> None:
        """Begin the closing handshake, without waiting."""
        self._shut_down(code, reason)

    def _begin_shut_down(self, code: int | None, reason: str) -> None:
        if self.protocol.state is State.CONNECTING:
            # A request that has arrived and was not read yet is answered, too.
            self._read_rest()
        self.protocol.shut_down()
        if code is not None:
            self.protocol.close(code, reason)


class AsyncServerConnection(BaseServerConnection, AsyncConnection):
    """A server's connection on an asynchronous adapter."""

    @abstractmethod
    async def _give_up_when(self, condition: Callable[[], bool], work: Awaitable[None]) -> None:
        """Await something, and cancel it as soon as a condition is true.

        Args:
            condition: tested whenever the connection has changed.
            work: the awaitable.
        """

    def _shut_down(self, code: int | None, reason: str) -> None:
        self._change(self._begin_shut_down, code, reason)

    def _change(self, function: Callable[..., object], *arguments: Any) -> None:
        function(*arguments)
        self._react()

    async def _end(self, code: CloseCode) -> None:
        if self.protocol.state is State.OPEN:
            await self.close(code)
        else:
            await self._wait_until(self._is_closed)

    def _run_hooks(self, request: Request) -> Awaitable[None]:
        overridden = type(self).process_request is not BaseServerConnection.process_request
        if overridden or self._process_request is not None:
            return self._give_up_when(self._hooks_are_late, self._answer(request))
        # No hook of the application may be a coroutine function.
        return self._answer(request)

    def _hooks_are_late(self) -> bool:
        """Whether the request was answered, or the client has left, while the application's hooks run."""
        return self._hooks_run and self._is_answered()
