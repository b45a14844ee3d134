"""WebSocket servers on asyncio."""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl as ssl_module
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeAlias, TypedDict, Unpack

from wsproto_core.connection import as_response, takes_path
from wsproto_core.events import Event, Request, Response
from wsproto_core.exceptions import AbortHandshake, ConnectionClosed
from wsproto_core.frames import serialize_close
from wsproto_core.handshake import select_subprotocol
from wsproto_core.http import Headers, make_response
from wsproto_core.options import ServeOptions, ServerOptions, resolve, split_options
from wsproto_core.server import ServerProtocol
from wsproto_core.typing import CloseCode, HeadersLike, State, Subprotocol

from .client import check_stream_options
from .connection import Connection, clock

__all__ = ["Serve", "Server", "ServerConnection", "serve", "unix_serve"]

Handler: TypeAlias = (
    "Callable[[ServerConnection], Awaitable[Any]] | Callable[[ServerConnection, str], Awaitable[Any]]"
)
ProcessRequestResult: TypeAlias = Response | tuple[int, HeadersLike, bytes] | None


class ListenerOptions(TypedDict, total=False):
    """Options of :meth:`asyncio.loop.create_server` and ``create_unix_server``."""

    family: int
    flags: int
    sock: socket.socket | None
    backlog: int
    ssl: ssl_module.SSLContext | None
    reuse_address: bool | None
    reuse_port: bool | None
    keep_alive: bool | None
    ssl_handshake_timeout: float | None
    ssl_shutdown_timeout: float | None
    start_serving: bool
    cleanup_socket: bool


class AsyncioServeOptions(ServeOptions, ListenerOptions, total=False):
    """Options of :func:`serve`."""


class ServerConnection(Connection):
    """A server's connection.

    Subclasses may override :meth:`process_request` and :meth:`select_subprotocol`.
    """

    protocol: ServerProtocol

    def __init__(self, handler: Handler, server: Server, **options: Unpack[ServeOptions]) -> None:
        """
        Arguments:
            handler: what :func:`serve` was given.
            server: the server that this connection belongs to.
            options: see :data:`wsproto_core.OPTIONS`.
        """
        loop = asyncio.get_running_loop()
        self._process_request = options.get("process_request")
        ours, _ = split_options(ServerOptions, options)
        protocol = ServerProtocol(clock=clock(loop), date=time.time, **ours)
        super().__init__(protocol, options.get("logger"), loop)
        self.handler = handler
        self.server = server
        self._task: asyncio.Task[None] | None = None

    def process_request(self, path: str, request_headers: Headers) -> Any:
        """Answer the HTTP request, or leave it to the opening handshake; may be a coroutine.

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
        """Choose a subprotocol among the client's and the server's, or ``None``.

        By default the preferences of both have the same weight. The option of the same name takes
        precedence over this method.
        """
        return select_subprotocol(client_subprotocols, server_subprotocols)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.server.connections.add(self)
        super().connection_made(transport)
        if self.server.closing:
            # It was accepted before, and has only now done its TLS handshake, say.
            self.shut_down(None, "")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._task is None:
            self.server.forget(self)

    def _handle_event(self, event: Event) -> None:
        super()._handle_event(event)
        if isinstance(event, Request):
            self._task = self._loop.create_task(self._serve(event))

    def shut_down(self, code: int | None, reason: str) -> None:
        """The server is closing: refuse the opening handshake, or begin the closing one.

        Arguments:
            code: close code; ``None`` leaves an open connection alone.
            reason: close reason.
        """
        if self.protocol.state is State.CONNECTING:
            body = "Failed to open a WebSocket connection: the server is shutting down.\n"
            self.protocol.reject(make_response(HTTPStatus.SERVICE_UNAVAILABLE, body=body))
        elif code is not None:
            self.protocol.close(code, reason)
        self._react()

    async def _serve(self, request: Request) -> None:
        try:
            await self._answer(request)
            if self.protocol.state is State.OPEN:
                self.logger.info("connection open")
                await self._handle()
            await self.wait_closed()
        except asyncio.CancelledError:
            self.abandon()
            raise
        finally:
            self.server.forget(self)

    async def _answer(self, request: Request) -> None:
        """Answer the opening handshake."""
        protocol = self.protocol
        try:
            try:
                result = self.process_request(request.path, request.headers)
                if inspect.isawaitable(result):
                    result = await result
                response = as_response(result)
            except AbortHandshake as abort:
                response = make_response(abort.status, abort.headers, abort.body)
            if protocol.state is not State.CONNECTING:
                return
            if response is not None:
                protocol.reject(response)
            else:
                protocol.accept(select_subprotocol=self.select_subprotocol)
        except Exception:
            self.logger.exception("opening handshake failed")
            if protocol.state is State.CONNECTING:
                body = "Failed to open a WebSocket connection: internal server error.\n"
                protocol.reject(make_response(HTTPStatus.INTERNAL_SERVER_ERROR, body=body))
        self._react()

    async def _handle(self) -> None:
        """Run the handler, then the closing handshake."""
        try:
            if self.server.handler_takes_path:
                await self.handler(self, self.path)  # type: ignore[call-arg, arg-type]
            else:
                await self.handler(self)  # type: ignore[call-arg]
        except ConnectionClosed as error:
            self.logger.info("connection handler ended: %a", str(error))
        except Exception:
            self.logger.exception("connection handler failed")
            await self.close(CloseCode.INTERNAL_ERROR)
        await self.close()


class Server:
    """A server that listens: what :func:`serve` gives.

    As an asynchronous context manager it is closed on exit.

    Attributes:
        connections: the connections there are, in any state.
        closing: whether :meth:`close` has been called.
    """

    def __init__(self, handler: Handler) -> None:
        self.connections: set[ServerConnection] = set()
        self.handler_takes_path = takes_path(handler)
        self.closing = False
        self._listener: asyncio.Server
        self._forgotten = asyncio.Event()

    def listen(self, listener: asyncio.Server) -> None:
        """Take over what accepts the connections."""
        self._listener = listener

    def forget(self, connection: ServerConnection) -> None:
        """A connection is closed and its handler has returned."""
        self.connections.discard(connection)
        if not self.connections:
            self._forgotten.set()

    @property
    def sockets(self) -> tuple[socket.socket, ...] | None:
        """The sockets that the server listens on; ``None`` once it is closed."""
        return tuple(self._listener.sockets) or None

    def is_serving(self) -> bool:
        """Whether new connections are accepted."""
        return self._listener.is_serving()

    async def start_serving(self) -> None:
        """Begin to accept connections, if ``start_serving=False`` was given."""
        await self._listener.start_serving()

    async def serve_forever(self) -> None:
        """Accept connections until the task is cancelled or the server closed; then close it."""
        try:
            await self._listener.serve_forever()
        except asyncio.CancelledError:
            self.close()
            await self.wait_closed()
            raise

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
        self.closing = True
        self._listener.close()
        for connection in list(self.connections):
            connection.shut_down(code if close_connections else None, reason)

    async def wait_closed(self) -> None:
        """Wait until the server is closed, all connections are and all handlers have returned."""
        while self.connections:
            self._forgotten.clear()
            await self._forgotten.wait()
        await self._listener.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        await self.wait_closed()


class Serve:
    """What :func:`serve` returns: awaitable, and an asynchronous context manager."""

    def __init__(
        self,
        handler: Handler,
        host: str | Sequence[str] | None,
        port: int | None,
        path: str | None,
        options: AsyncioServeOptions,
    ) -> None:
        self._handler = handler
        self._host = host
        self._port = port
        self._path = path
        self._options, self._stream_options = split_options(ServeOptions, options)
        resolve(ServeOptions, self._options)
        self._create_protocol = self._options.pop("create_protocol", None) or ServerConnection
        self._server = Server(handler)

    def __await__(self) -> Generator[Any, None, Server]:
        return self._start().__await__()

    async def __aenter__(self) -> Server:
        return await self._start()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._server.__aexit__(exc_type, exc_value, traceback)

    def _connection(self) -> ServerConnection:
        connection: ServerConnection = self._create_protocol(self._handler, self._server, **self._options)
        return connection

    async def _start(self) -> Server:
        loop = asyncio.get_running_loop()
        if self._path is None:
            check_stream_options(loop.create_server, self._stream_options)
            options = {"host": self._host, "port": self._port, **self._stream_options}
            listener = await loop.create_server(self._connection, **options)
        else:
            check_stream_options(loop.create_unix_server, self._stream_options)
            listener = await loop.create_unix_server(
                self._connection, self._path or None, **self._stream_options
            )
        self._server.listen(listener)
        return self._server


def serve(
    handler: Handler,
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

    Arguments:
        handler: a coroutine function that is run for each connection, given the connection, or the
            connection and the request's path. When it returns, the connection is closed with code
            1000; when it raises, with 1011, and the exception is logged.
        host: where to listen: an address, several, or ``None`` for all interfaces.
        port: the TCP port; 0 for any free one.
        options: those of :data:`wsproto_core.OPTIONS` that a server has, and those of
            :meth:`asyncio.loop.create_server`: ``ssl``, ``sock``, ``backlog``, ``reuse_port``, ...

    Raises:
        TypeError, ValueError: an option is unknown or not allowed, or the handler cannot be called.
        OSError: the address cannot be listened on.
    """
    return Serve(handler, host, port, None, options)


def unix_serve(handler: Handler, path: str | None = None, **options: Unpack[AsyncioServeOptions]) -> Serve:
    """Start a WebSocket server that listens on a Unix socket, behind a reverse proxy for example.

    Arguments:
        handler: see :func:`serve`.
        path: the socket's path; ``None`` if ``sock`` is given.
        options: see :func:`serve`.
    """
    return Serve(handler, None, None, path or "", options)
