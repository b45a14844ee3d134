"""Servers on runtimes with structured concurrency."""

from __future__ import annotations

import functools
import inspect
import math
import socket
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Generic, Self, TypeVar, Unpack, cast, overload

from wsproto_core.types import SocketPath, State

from ..shared.asynchronous import RuntimeEvent
from ..shared.handlers import AsyncHandler, Handler
from ..shared.listening import accept_now, stop_listening
from ..shared.logs import log_failure
from ..shared.options import Logger, ServeOptions
from ..shared.routing import RouteOptions, Rules
from ..shared.server import AsyncServer, AsyncServerConnection, BaseServe
from ..shared.signatures import show_options
from ..shared.stream_options import StreamListenOptions
from .connection import StructuredConnection
from .runtime import Opening, Runtime, Scope, Tasks
from .streams import make_transport, start_tls
from .transport import Transport

__all__ = [
    "Server",
    "StructuredServe",
    "StructuredServeOptions",
    "StructuredServerConnection",
    "as_function",
]

StatusT = TypeVar("StatusT")
StreamT = TypeVar("StreamT")
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

_ACCEPT_DELAY = 0.1
"""Seconds until accepting is tried again after an error, such as a lack of descriptors."""


class StructuredServeOptions(StreamListenOptions, total=False):
    """Options of ``serve``."""

    ssl: ssl_module.SSLContext | None


class StructuredRouteOptions(RouteOptions, StreamListenOptions, total=False):
    """Options of ``route``."""


class StructuredServerConnection(AsyncServerConnection, StructuredConnection):
    """A server's connection.

    Subclasses may override :meth:`process_request` and :meth:`select_subprotocol`.
    """

    _runner: object = None

    async def _run(self, open_transport: Callable[[], Awaitable[Transport]]) -> None:
        """Open the connection, run the handler, and see it closed.

        Args:
            open_transport: gives the stream, after TLS's handshake if there is one.
        """
        self._runner = self._runtime.current_task()
        transport = await self._open(open_transport)
        if transport is None:
            return
        failure: Exception | None = None
        async with self._runtime.open_tasks() as tasks:
            await self._start(tasks, transport)
            try:
                await self._wait_until(self._is_requested)
                if self.protocol.state is State.CONNECTING and self.protocol.request is not None:
                    await self._serve(self.protocol.request)
                else:
                    await self.wait_closed()
            except Exception as error:
                # Raised in here, it would be put into a group with nothing else in it.
                failure = error
                self._abandon()
            except BaseException:
                self._abandon()
                raise
        if failure is not None:
            raise failure

    async def _open(self, open_transport: Callable[[], Awaitable[Transport]]) -> Transport | None:
        """Return the stream; ``None`` if there is none in time, or before the server closes."""
        protocol = self.protocol
        deadline = protocol.deadline()
        transport: Transport | None = None
        failure: OSError | None = None

        async def open_it() -> None:
            nonlocal transport
            transport = await open_transport()

        try:
            with self._runtime.open_scope(deadline=math.inf if deadline is None else deadline):
                await self._give_up_when(self._is_answered, open_it())
        except OSError as error:
            failure = error
        if transport is None:
            protocol.handle_timeout()
            protocol.connection_lost(failure)
            self._react()
        return transport

    async def _give_up_when(self, condition: Callable[[], bool], work: Awaitable[None]) -> None:
        with self._runtime.open_scope() as scope:
            if condition():
                scope.cancel()
            self._waiters.add(condition, scope.cancel)
            try:
                await work
            finally:
                self._waiters.remove(condition, scope.cancel)

    def _is_own_task(self) -> bool:
        return self._runner is not None and self._runner == self._runtime.current_task()


ServerConnectionT = TypeVar("ServerConnectionT", bound=StructuredServerConnection)


class Server(AsyncServer[StructuredServerConnection]):
    """A server that listens, as ``serve`` gives it.

    As an asynchronous context manager it is closed on exit.

    Attributes:
        closing: whether :meth:`close` has been called.
    """

    _handlers: Tasks  # while the server accepts connections, and until they have ended

    def __init__(self, handler: Handler, runtime: Runtime, logger: Logger) -> None:
        """
        Args:
            handler: the application's.
            runtime: the adapter's.
            logger: where the server logs.
        """
        super().__init__(handler, logger, runtime.make_event)
        self._runtime = runtime
        self._accepting: Scope | None = None
        self._closed = runtime.make_event()

    def _shut_down(self, code: int | None, reason: str) -> None:
        super()._shut_down(code, reason)
        if self._accepting is not None:
            self._accepting.cancel()
        listeners = [listener for listener in self._sockets if listener.fileno() >= 0]
        if listeners:
            # Each listener is closed, at the latest, when the task that accepts runs next.
            end = socket.socket.close if self._runtime.frees_at_once() else stop_listening
            for listener in listeners:
                self._end_listener(listener, end)

    def _end_listener(self, listener: socket.socket, end: Callable[[socket.socket], None]) -> None:
        if listener.fileno() >= 0:
            # First, or the event loop would watch a listening socket that another process goes on to use.
            self._runtime.notify_closing(listener)
            end(listener)

    def _call_at(self, when: float, function: Callable[[], bool]) -> Callable[[], object]:
        cancelled = self._runtime.make_event()
        self._handlers.start_soon(self._call_unless, cancelled, when, function)
        return cancelled.set

    async def _call_unless(self, cancelled: RuntimeEvent, when: float, function: Callable[[], bool]) -> None:
        due = True
        with self._runtime.open_scope(deadline=when):
            await cancelled.wait()
            due = False
        if due:
            function()

    async def _wait_ended(self) -> None:
        await self._closed.wait()

    async def __aexit__(self, exc_type: object, exc: BaseException | None, traceback: object) -> None:
        if isinstance(exc, Exception | None):
            await super().__aexit__(exc_type, exc, traceback)
        else:
            self.close()

    async def _run(self, serve: StructuredServe[Any, Any], *, task_status: Any) -> None:
        """Accept connections until the server is closed, and wait until their handlers have ended."""
        try:
            async with self._runtime.open_tasks() as self._handlers, self._runtime.open_tasks() as accepting:
                self._accepting = accepting.cancel_scope
                for listener in self._sockets:
                    accepting.start_soon(self._accept, listener, partial(self._handle, serve))
                task_status.started()
        finally:
            self._closed.set()

    async def _accept(self, listener: socket.socket, handle: Callable[[Any], Awaitable[None]]) -> None:
        """Accept connections, and handle each in a task, until this is cancelled; close the listener."""
        runtime = self._runtime
        try:
            while True:
                # However many connections wait, other tasks have their turn.
                await runtime.checkpoint()
                try:
                    sock = accept_now(listener)
                    if sock is None:
                        await runtime.wait_readable(listener)
                    else:
                        self._handlers.start_soon(handle, sock)
                except OSError:
                    log_failure(self._logger, "accepting a connection failed; trying again")
                    await runtime.sleep_until(runtime.get_clock()() + _ACCEPT_DELAY)
        finally:
            self._end_listener(listener, socket.socket.close)

    async def _handle(self, serve: StructuredServe[Any, Any], stream: Any) -> None:
        """Serve a client; its errors are not the server's."""
        connection = self._make(serve._create, serve._target)
        if connection is None:
            await make_transport(self._runtime, stream).abort(False)
            return
        try:
            self._enter(connection)
            await connection._run(partial(serve._open_transport, stream))
        except Exception:
            log_failure(self._logger, "connection failed")
        finally:
            self._leave(connection)


class StructuredServe(BaseServe, Opening[Server], Generic[StreamT, StatusT]):
    """What ``serve`` returns: an asynchronous context manager.

    The functions ``serve``, ``route`` and their like are class methods, whose types depend on those of the
    runtime: of its streams, and of the ``task_status`` that its ``start`` passes.

    Attributes:
        _create: the default of the option ``create_protocol``.
    """

    _options = StructuredServeOptions
    _opens = Server
    _usage = "it is no server yet: use 'async with serve(...) as server:'"

    _create: Callable[..., StructuredServerConnection]

    async def _open_transport(self, stream: Any) -> Transport:
        """Do TLS's handshake on a stream that was accepted, if there is one."""
        if self._target.ssl is not None:
            stream = await start_tls(self._runtime, stream, self._target.ssl, None, server_side=True)
        return make_transport(self._runtime, stream)

    async def _open(self, tasks: Tasks) -> Server:
        target = self._target
        server = Server(target.handler, self._runtime, self._logger)
        server._listens_on(target.listen(await target.look_up(self._runtime.getaddrinfo)))
        try:
            await tasks.start(partial(server._run, self))
        except BaseException:
            for sock in server.sockets:
                sock.close()
            raise
        server._log_listening()
        return server

    def _for_start(self, task_status: StatusT | None) -> Any:
        """Return this, or a coroutine for the runtime's ``start`` if it called the function."""
        return self if task_status is None else self._run(task_status)

    async def _run(self, task_status: Any) -> None:
        async with self as server:
            task_status.started(list(server.addresses))
            await server.serve_forever()

    # The public functions

    @overload
    @classmethod
    def serve(
        cls,
        handler: AsyncHandler[ServerConnectionT],
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        task_status: None = None,
        **options: Unpack[StructuredServeOptions],
    ) -> Self: ...
    @overload
    @classmethod
    def serve(
        cls,
        handler: AsyncHandler[ServerConnectionT],
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        task_status: StatusT,
        **options: Unpack[StructuredServeOptions],
    ) -> Coroutine[Any, Any, None]: ...
    @classmethod
    @show_options(StructuredServeOptions)
    def serve(
        cls,
        handler: AsyncHandler[ServerConnectionT],
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        task_status: StatusT | None = None,
        **options: Unpack[StructuredServeOptions],
    ) -> Any:
        """Start a WebSocket server.

        ::

            async def echo(websocket):
                async for message in websocket:
                    await websocket.send(message)

            async with serve(echo, "localhost", 8765) as server:
                await server.serve_forever()

        Or ``addresses = await tasks.start(serve, echo, "localhost", 8765)``, where ``tasks`` is a nursery of
        trio or a task group of anyio: the server runs in it until it is cancelled. The handlers run in a
        nursery or task group of the server. When the server's block is left, the connections are closed with
        code 1001; when the block is cancelled, they are closed at once.

        Args:
            handler: a coroutine function that is run for each connection, given the connection, or the
                connection and the request's path. When it returns, the connection is closed with code 1000;
                when it raises, with 1011, and the exception is logged.
            host: where to listen: an address, several, or ``None`` for all interfaces.
            port: the TCP port; 0 for any free one, another one for each address.
            task_status: passed by ``start``.

        Keyword Args:
            open_timeout: Deadline for opening the connection. Default: 10 seconds.
            close_timeout: Deadline for the peer's close frame, and again for the end of the TCP connection.
                Default: 10 seconds.
            ping_interval: Interval between pings (keepalive). Default: 20 seconds.
            ping_timeout: Deadline for input after a ping, and for progress in writing. Default: 20 seconds.
            max_size: Limit on a received message; a pair also limits a single fragment. Default: 1048576
                bytes.
            max_queue: High watermark of the receive queue in messages, at which reading stops (backpressure).
                Default: 32 messages.
            read_limit: High watermark of the receive queue in bytes, at which reading stops (backpressure).
                Default: 65536 bytes.
            write_limit: High watermark of the send queue in bytes, above which send waits (backpressure).
                Default: 65536 bytes.
            max_fragments: Limit on the fragments of a received message, with one more for each 64 bytes of
                its payload. Default: 16384 fragments.
            max_pings: Limit on pings without an answer. Default: 1024 pings.
            max_headers: Limit on the headers of the request or response. Default: 128 headers.
            max_header_line: Limit on a line of the request or response. Default: 8192 bytes.
            max_header_bytes: Limit on the whole head of the request or response. Default: 32768 bytes.
            compression: Shortcut for the extension permessage-deflate (RFC 7692) with settings that save
                memory, or None. Default: 'deflate'.
            subprotocols: Subprotocols in order of preference: a client offers them, a server chooses among
                them. Default: None.
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
            logger: Logger of openings, closings and errors; None for wsproto_core.client or
                wsproto_core.server. Default: None.
            create_protocol: A class or function that makes the connection object; None for the adapter's
                class. Default: None.
            process_request: A function or coroutine function that may answer the HTTP request. Default: None.
            max_connections: Limit on the connections of a server, those in the opening handshake included.
                Default: None.
            sock: A socket in the place of host and port: connected on a client, bound on a server. Default:
                None.
            family: Address family, such as socket.AF_INET; 0 for all. Default: 0.
            backlog: Connections that may wait to be accepted. Default: socket.SOMAXCONN.
            reuse_port: Whether SO_REUSEPORT is set, so that several servers share a port. Default: None.
            ssl: TLS context; on a client, the default context for a wss: URI if it is left out. Default:
                None.

        Raises:
            TypeError, ValueError: an option is unknown or not allowed, or the handler cannot be called.
            OSError: the address cannot be listened on.
        """
        return cls(handler, host, port, None, options)._for_start(task_status)

    @overload
    @classmethod
    def unix_serve(
        cls,
        handler: AsyncHandler[ServerConnectionT],
        path: SocketPath | None = None,
        *,
        task_status: None = None,
        **options: Unpack[StructuredServeOptions],
    ) -> Self: ...
    @overload
    @classmethod
    def unix_serve(
        cls,
        handler: AsyncHandler[ServerConnectionT],
        path: SocketPath | None = None,
        *,
        task_status: StatusT,
        **options: Unpack[StructuredServeOptions],
    ) -> Coroutine[Any, Any, None]: ...
    @classmethod
    @show_options(StructuredServeOptions)
    def unix_serve(
        cls,
        handler: AsyncHandler[ServerConnectionT],
        path: SocketPath | None = None,
        *,
        task_status: StatusT | None = None,
        **options: Unpack[StructuredServeOptions],
    ) -> Any:
        """Start a WebSocket server that listens on a Unix socket, behind a reverse proxy for example.

        Args:
            handler: see :func:`serve`.
            path: the socket's path; ``None`` if ``sock`` is given.
            task_status: see :func:`serve`.

        Keyword Args:
            open_timeout: Deadline for opening the connection. Default: 10 seconds.
            close_timeout: Deadline for the peer's close frame, and again for the end of the TCP connection.
                Default: 10 seconds.
            ping_interval: Interval between pings (keepalive). Default: 20 seconds.
            ping_timeout: Deadline for input after a ping, and for progress in writing. Default: 20 seconds.
            max_size: Limit on a received message; a pair also limits a single fragment. Default: 1048576
                bytes.
            max_queue: High watermark of the receive queue in messages, at which reading stops (backpressure).
                Default: 32 messages.
            read_limit: High watermark of the receive queue in bytes, at which reading stops (backpressure).
                Default: 65536 bytes.
            write_limit: High watermark of the send queue in bytes, above which send waits (backpressure).
                Default: 65536 bytes.
            max_fragments: Limit on the fragments of a received message, with one more for each 64 bytes of
                its payload. Default: 16384 fragments.
            max_pings: Limit on pings without an answer. Default: 1024 pings.
            max_headers: Limit on the headers of the request or response. Default: 128 headers.
            max_header_line: Limit on a line of the request or response. Default: 8192 bytes.
            max_header_bytes: Limit on the whole head of the request or response. Default: 32768 bytes.
            compression: Shortcut for the extension permessage-deflate (RFC 7692) with settings that save
                memory, or None. Default: 'deflate'.
            subprotocols: Subprotocols in order of preference: a client offers them, a server chooses among
                them. Default: None.
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
            logger: Logger of openings, closings and errors; None for wsproto_core.client or
                wsproto_core.server. Default: None.
            create_protocol: A class or function that makes the connection object; None for the adapter's
                class. Default: None.
            process_request: A function or coroutine function that may answer the HTTP request. Default: None.
            max_connections: Limit on the connections of a server, those in the opening handshake included.
                Default: None.
            sock: A socket in the place of host and port: connected on a client, bound on a server. Default:
                None.
            backlog: Connections that may wait to be accepted. Default: socket.SOMAXCONN.
            ssl: TLS context; on a client, the default context for a wss: URI if it is left out. Default:
                None.
        """
        return cls(handler, None, None, path or "", options)._for_start(task_status)

    @overload
    @classmethod
    def route(
        cls,
        url_map: Rules,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        task_status: None = None,
        **options: Unpack[StructuredRouteOptions],
    ) -> Self: ...
    @overload
    @classmethod
    def route(
        cls,
        url_map: Rules,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        task_status: StatusT,
        **options: Unpack[StructuredRouteOptions],
    ) -> Coroutine[Any, Any, None]: ...
    @classmethod
    @show_options(StructuredRouteOptions)
    def route(
        cls,
        url_map: Rules,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        task_status: StatusT | None = None,
        **options: Unpack[StructuredRouteOptions],
    ) -> Any:
        """Start a WebSocket server that chooses the handler by the request's path.

        ::

            async def channel(websocket, channel_id):
                ...

            url_map = Map([Rule("/channel/<int:channel_id>", endpoint=channel)])

            async with route(url_map, "localhost", 8765) as server:
                await server.serve_forever()

        :func:`adapters.shared.routing.make_router` says which requests lead where.

        Args:
            url_map, server_name, ssl, create_router: see :func:`adapters.shared.routing.make_router`.
            host, port, task_status, options: see :func:`serve`.

        Raises:
            ImportError, TypeError, ValueError: see :class:`Router`, or :func:`serve`.
            OSError: the address cannot be listened on.
        """
        return cls._for_rules(url_map, host, port, None, options)._for_start(task_status)

    @overload
    @classmethod
    def unix_route(
        cls,
        url_map: Rules,
        path: SocketPath | None = None,
        *,
        task_status: None = None,
        **options: Unpack[StructuredRouteOptions],
    ) -> Self: ...
    @overload
    @classmethod
    def unix_route(
        cls,
        url_map: Rules,
        path: SocketPath | None = None,
        *,
        task_status: StatusT,
        **options: Unpack[StructuredRouteOptions],
    ) -> Coroutine[Any, Any, None]: ...
    @classmethod
    @show_options(StructuredRouteOptions)
    def unix_route(
        cls,
        url_map: Rules,
        path: SocketPath | None = None,
        *,
        task_status: StatusT | None = None,
        **options: Unpack[StructuredRouteOptions],
    ) -> Any:
        """Start a WebSocket server on a Unix socket that chooses the handler by the request's path.

        Args:
            url_map, server_name, ssl, create_router: see :func:`adapters.shared.routing.make_router`.
            path, task_status, options: see :func:`unix_serve`.
        """
        return cls._for_rules(url_map, None, None, path or "", options)._for_start(task_status)

    @classmethod
    @show_options(ServeOptions)
    async def serve_stream(
        cls, handler: AsyncHandler[ServerConnectionT], stream: StreamT, **options: Unpack[ServeOptions]
    ) -> None:
        """Serve the client at the other end of any stream of the runtime, until the connection is closed.

        Args:
            handler: see :func:`serve`.
            stream: the stream, which is closed in the end.

        Keyword Args:
            open_timeout: Deadline for opening the connection. Default: 10 seconds.
            close_timeout: Deadline for the peer's close frame, and again for the end of the TCP connection.
                Default: 10 seconds.
            ping_interval: Interval between pings (keepalive). Default: 20 seconds.
            ping_timeout: Deadline for input after a ping, and for progress in writing. Default: 20 seconds.
            max_size: Limit on a received message; a pair also limits a single fragment. Default: 1048576
                bytes.
            max_queue: High watermark of the receive queue in messages, at which reading stops (backpressure).
                Default: 32 messages.
            read_limit: High watermark of the receive queue in bytes, at which reading stops (backpressure).
                Default: 65536 bytes.
            write_limit: High watermark of the send queue in bytes, above which send waits (backpressure).
                Default: 65536 bytes.
            max_fragments: Limit on the fragments of a received message, with one more for each 64 bytes of
                its payload. Default: 16384 fragments.
            max_pings: Limit on pings without an answer. Default: 1024 pings.
            max_headers: Limit on the headers of the request or response. Default: 128 headers.
            max_header_line: Limit on a line of the request or response. Default: 8192 bytes.
            max_header_bytes: Limit on the whole head of the request or response. Default: 32768 bytes.
            compression: Shortcut for the extension permessage-deflate (RFC 7692) with settings that save
                memory, or None. Default: 'deflate'.
            subprotocols: Subprotocols in order of preference: a client offers them, a server chooses among
                them. Default: None.
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
            logger: Logger of openings, closings and errors; None for wsproto_core.client or
                wsproto_core.server. Default: None.
            create_protocol: A class or function that makes the connection object; None for the adapter's
                class. Default: None.
            process_request: A function or coroutine function that may answer the HTTP request. Default: None.
            max_connections: Limit on the connections of a server, those in the opening handshake included.
                Default: None.
        """
        serving = cls(handler, None, 0, None, options)
        serving._runtime.check_running()
        serving._runtime.check_stream(stream)
        await Server(handler, serving._runtime, serving._logger)._handle(serving, stream)


def as_function(method: FunctionT) -> FunctionT:
    """Return a class method as a function of the module of its class, as which ``help`` shows it."""

    def function(*args: Any, **options: Any) -> Any:
        return method(*args, **options)

    async def coroutine_function(*args: Any, **options: Any) -> Any:
        return await method(*args, **options)

    waits = inspect.iscoroutinefunction(method)
    shown: Any = functools.update_wrapper(coroutine_function if waits else function, method)
    shown.__signature__ = inspect.signature(method)
    shown.__module__, shown.__qualname__ = cast(Any, method).__self__.__module__, method.__name__
    return cast(FunctionT, shown)
