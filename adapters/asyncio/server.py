"""WebSocket servers on asyncio."""

from __future__ import annotations

import asyncio
import socket
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar, Unpack, cast

from wsproto_core.events import Event, Request
from wsproto_core.types import SocketPath

from ..shared.authentication import AsyncBasicAuth, make_basic_auth_factory
from ..shared.handlers import AsyncHandler, Handler
from ..shared.listening import ACCEPTED_AT_ONCE, BACKLOG, bind_unix, stop_listening, usable_hosts
from ..shared.logs import log_failure
from ..shared.memory_tls import MemoryTLS
from ..shared.options import Logger
from ..shared.routing import RouteOptions, Rules
from ..shared.server import AsyncServer, AsyncServerConnection, BaseServe
from ..shared.signatures import show_options
from ..shared.stream_options import StreamListenOptions
from .connection import Connection
from .tls import TLSTransport
from .waiting import Opening

__all__ = [
    "BasicAuthWebSocketServerProtocol",
    "Serve",
    "Server",
    "ServerConnection",
    "basic_auth_protocol_factory",
    "route",
    "serve",
    "unix_route",
    "unix_serve",
]


class AsyncioListenOptions(StreamListenOptions, total=False):
    """Options of :func:`serve` but ``ssl``: ours, and those of :meth:`asyncio.loop.create_server`."""

    flags: int
    reuse_address: bool | None
    keep_alive: bool | None
    ssl_handshake_timeout: float | None
    ssl_shutdown_timeout: float | None
    start_serving: bool
    cleanup_socket: bool


class AsyncioServeOptions(AsyncioListenOptions, total=False):
    """Options of :func:`serve`."""

    ssl: ssl_module.SSLContext | None


class AsyncioRouteOptions(RouteOptions, AsyncioListenOptions, total=False):
    """Options of :func:`route`."""


class ServerConnection(AsyncServerConnection, Connection):
    __doc__ = AsyncServerConnection.__doc__

    server: Server

    _task: asyncio.Task[None] | None = None

    # Methods of asyncio.BufferedProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.server._enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        try:
            super().connection_lost(exc)
        finally:
            self._leave()

    def _handle_event(self, event: Event) -> None:
        if not isinstance(event, Request):
            super()._handle_event(event)
        else:
            self._task = self._loop.create_task(self._serve(event))
            self._task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        """Remove the connection after its task has ended."""
        self._task = None
        try:
            task.result()
        except (KeyboardInterrupt, SystemExit):
            # The event loop has raised it.
            pass
        except BaseException as error:
            if not (isinstance(error, asyncio.CancelledError) and task.cancelling()):
                log_failure(self.logger, "connection failed")
        if not self.closed:
            self._abandon()
        self._leave()

    def _leave(self) -> None:
        if self.closed and self._task is None:
            self.server._leave(self)

    def _is_own_task(self) -> bool:
        return self._task is not None and self._task is asyncio.current_task()

    async def _give_up_when(self, condition: Callable[[], bool], work: Awaitable[None]) -> None:
        scope = asyncio.timeout(None)
        try:
            async with scope:
                wake = partial(scope.reschedule, 0)
                self._waiters.add(condition, wake)
                try:
                    await work
                finally:
                    self._waiters.remove(condition, wake)
        except TimeoutError:
            if not scope.expired():
                raise


class BasicAuthWebSocketServerProtocol(AsyncBasicAuth, ServerConnection):
    """A server's connection that asks for HTTP Basic authentication (RFC 7617).

    Attributes:
        username: the username of the client; ``None`` before it has been authenticated.
    """


basic_auth_protocol_factory = make_basic_auth_factory(BasicAuthWebSocketServerProtocol)


class Server(AsyncServer[ServerConnection]):
    """A listening server: the result of :func:`serve`.

    As an asynchronous context manager it is closed on exit.

    Attributes:
        listener: the event loop's server, which accepts the connections.
        closing: whether :meth:`close` has been called.
    """

    listener: asyncio.Server

    def __init__(self, handler: Handler, logger: Logger | None = None) -> None:
        super().__init__(handler, logger, asyncio.Event)

    def is_serving(self) -> bool:
        """Whether new connections are accepted."""
        return super().is_serving() and self.listener.is_serving()

    async def start_serving(self) -> None:
        """Begin to accept connections, if ``start_serving=False`` was given."""
        if not self.listener.is_serving():
            await self.listener.start_serving()
            self._log_listening()

    async def _wait_until_close(self) -> None:
        # The listener's serve_forever would wait for the connections without closing them (CPython 3.12), or
        # would not see that the server is closed (uvloop).
        try:
            if not self.closing:
                await self.start_serving()
            await super()._wait_until_close()
        except asyncio.CancelledError:
            self.close()
            await self.wait_closed()
            raise

    def _shut_down(self, code: int | None, reason: str) -> None:
        super()._shut_down(code, reason)
        loop = self.listener.get_loop()
        if not isinstance(loop, asyncio.SelectorEventLoop):
            self.listener.close()
            return
        # A connection that was accepted in this iteration becomes a stream in the next one. If the listener
        # was closed by then, asyncio would lose its socket.
        for sock in self.listener.sockets:
            loop.remove_reader(sock.fileno())
            # When asyncio closes a Unix socket, it needs the path.
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                stop_listening(sock)
        loop.call_soon(self.listener.close)

    def _call_at(self, when: float, function: Callable[[], bool]) -> Callable[[], object]:
        return self.listener.get_loop().call_at(when, function).cancel

    async def _wait_ended(self) -> None:
        await self.listener.wait_closed()
        await self._wait_until(self._is_empty)


class Refusal(asyncio.Protocol):
    """The protocol of a stream for which no connection object could be made: it closes the stream."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).abort()


class Serve(BaseServe, Opening[Server]):
    """The result of :func:`serve`: awaitable, and an asynchronous context manager."""

    _options = AsyncioServeOptions
    _opens = Server
    _usage = "it is no server yet: use 'async with serve(...) as server:' or 'server = await serve(...)'"

    def _make_server(self, handler: Handler) -> Server:
        return Server(handler, self._target.settings.logger)

    async def _open(self) -> Server:
        target, loop = self._target, asyncio.get_running_loop()
        server = self._make_server(target.handler)
        options = {**target.options, "backlog": ACCEPTED_AT_ONCE}
        # Options of the event loops' own TLS. The peer's closure alert is not waited for.
        handshake_timeout = options.pop("ssl_handshake_timeout", None)
        options.pop("ssl_shutdown_timeout", None)
        with ExitStack() as stack:
            if target.path:
                options["sock"] = stack.enter_context(bind_unix(target.path))
            elif target.sock is not None:
                options["sock"] = target.sock
            else:
                # Event loops look up hosts in different ways.
                found = await target.look_up(loop.getaddrinfo)
                options |= {"host": usable_hosts(found), "port": target.port}
            listen: Any = loop.create_server if target.path is None else loop.create_unix_server
            server.listener = await listen(partial(self._accept, server, handshake_timeout), **options)
            stack.pop_all()
        # On asyncio, they are of another class with the same methods.
        sockets = cast(Sequence[socket.socket], server.listener.sockets)
        server._listens_on(sockets, target.options.get("backlog", BACKLOG))
        if server.listener.is_serving():
            server._log_listening()
        return server

    def _accept(self, server: Server, handshake_timeout: float | None) -> asyncio.BaseProtocol:
        """Return the protocol of an accepted stream."""
        # Event loops do not log exceptions here, and some of them pause.
        connection: ServerConnection | None = server._make(ServerConnection, self._target)
        if connection is None:
            return Refusal()
        if self._target.ssl is not None:
            connection._tls = TLSTransport(MemoryTLS(self._target.ssl, server_side=True), handshake_timeout)
        return connection


ServerConnectionT = TypeVar("ServerConnectionT", bound=ServerConnection)


@show_options(AsyncioServeOptions)
def serve(
    handler: AsyncHandler[ServerConnectionT],
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    **options: Unpack[AsyncioServeOptions],
) -> Serve:
    """Start a WebSocket server.

    ::

        async def echo(websocket):
            async for message in websocket:
                await websocket.send(message)

        async with serve(echo, "localhost", 8765) as server:
            await server.serve_forever()

    ``await serve(...)`` returns the server as well; it then has to be closed.

    Args:
        handler: a coroutine function that is run for each connection, given the connection, or the
            connection and the request's path. When it returns, the connection is closed with code
            1000; when it raises, with 1011, and the exception is logged.
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
        flags: Flags for the name lookup, such as socket.AI_NUMERICHOST. Default: AI_PASSIVE on a server, else
            0.
        reuse_address: Whether SO_REUSEADDR is set; None for what the platform needs. Default: None.
        keep_alive: Whether SO_KEEPALIVE is set. Default: None.
        ssl_handshake_timeout: Deadline for TLS's handshake; None for open_timeout alone. Default: None.
        ssl_shutdown_timeout: Has no effect: close_timeout is the deadline for the end of TLS. Default: None.
        start_serving: Whether connections are accepted at once. Default: True.
        cleanup_socket: Whether a Unix socket is removed when the server is closed. Default: True.
        ssl: TLS context; on a client, the default context for a wss: URI if it is left out. Default: None.

    Raises:
        TypeError, ValueError: an option is unknown or not allowed, or the handler cannot be called.
        OSError: the address cannot be listened on.
    """
    return Serve(handler, host, port, None, options)


@show_options(AsyncioServeOptions)
def unix_serve(
    handler: AsyncHandler[ServerConnectionT],
    path: SocketPath | None = None,
    **options: Unpack[AsyncioServeOptions],
) -> Serve:
    """Start a WebSocket server that listens on a Unix socket, behind a reverse proxy for example.

    Args:
        handler: see :func:`serve`.
        path: the socket's path; ``None`` if ``sock`` is given.

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
        ssl_handshake_timeout: Deadline for TLS's handshake; None for open_timeout alone. Default: None.
        ssl_shutdown_timeout: Has no effect: close_timeout is the deadline for the end of TLS. Default: None.
        start_serving: Whether connections are accepted at once. Default: True.
        cleanup_socket: Whether a Unix socket is removed when the server is closed. Default: True.
        ssl: TLS context; on a client, the default context for a wss: URI if it is left out. Default: None.
    """
    return Serve(handler, None, None, path or "", options)


@show_options(AsyncioRouteOptions)
def route(
    url_map: Rules,
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    **options: Unpack[AsyncioRouteOptions],
) -> Serve:
    """Start a WebSocket server that chooses the handler by the request's path.

    ::

        async def channel(websocket, channel_id):
            ...

        url_map = Map([Rule("/channel/<int:channel_id>", endpoint=channel)])

        async with route(url_map, "localhost", 8765) as server:
            await server.serve_forever()

    :func:`~adapters.shared.routing.make_router` says which handler a request leads to.

    Args:
        url_map, server_name, ssl, create_router: see :func:`~adapters.shared.routing.make_router`.
        host, port, options: see :func:`serve`.

    Raises:
        ImportError, TypeError, ValueError: see :class:`Router`, or :func:`serve`.
        OSError: the address cannot be listened on.
    """
    return Serve._for_rules(url_map, host, port, None, options)


@show_options(AsyncioRouteOptions)
def unix_route(
    url_map: Rules, path: SocketPath | None = None, **options: Unpack[AsyncioRouteOptions]
) -> Serve:
    """Start a WebSocket server that listens on a Unix socket and chooses the handler by the request's path.

    Args:
        url_map, server_name, ssl, create_router: see :func:`~adapters.shared.routing.make_router`.
        path, options: see :func:`unix_serve`.
    """
    return Serve._for_rules(url_map, None, None, path or "", options)
