"""WebSocket servers on trio."""

from __future__ import annotations

import socket
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar, Unpack, overload

import trio
from adapters.shared import authentication as core_auth
from adapters.shared.authentication import AsyncBasicAuth, CheckCredentials, Credentials
from adapters.shared.handlers import AsyncHandler
from adapters.shared.logs import log_failure
from adapters.structured.runtime import Tasks
from adapters.structured.server import StructuredServe, StructuredServer, StructuredServerConnection
from adapters.structured.transport import Transport
from wsproto_core.options import ServeOptions
from wsproto_core.types import SocketPath

from .streams import start_tls
from .transports import RUNTIME, StreamTransport, make_transport

__all__ = [
    "BasicAuthWebSocketServerProtocol",
    "Serve",
    "Server",
    "ServerConnection",
    "basic_auth_protocol_factory",
    "serve",
    "serve_stream",
    "unix_serve",
]

RETRY_DELAY = 0.1
"""Seconds until accepting is tried again, when there are no more descriptors."""


class TrioListenOptions(ServeOptions, total=False):
    """Options of :func:`serve` but ``ssl``: ours, and those of listening sockets."""

    sock: socket.socket | None
    family: int
    backlog: int
    reuse_port: bool


class TrioServeOptions(TrioListenOptions, total=False):
    """Options of :func:`serve`."""

    ssl: ssl_module.SSLContext | None


class Server(StructuredServer):
    """A server that listens: what :func:`serve` gives.

    As an asynchronous context manager it is closed on exit.

    Attributes:
        closing: whether :meth:`close` has been called.
    """


class ServerConnection(StructuredServerConnection):
    """A server's connection.

    Subclasses may override :meth:`process_request` and :meth:`select_subprotocol`.
    """

    runtime = RUNTIME


class BasicAuthWebSocketServerProtocol(AsyncBasicAuth, ServerConnection):
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
        async with serve(handler, "localhost", 8765, ssl=context, create_protocol=auth): ...

    Args:
        realm, credentials, check_credentials: see :func:`wsproto_core.auth.basic_auth_protocol_factory`.
        create_protocol: makes the connection object; a subclass of
            :class:`BasicAuthWebSocketServerProtocol`, say.

    Raises:
        TypeError, ValueError: an argument is not allowed.
    """
    return core_auth.basic_auth_protocol_factory(realm, credentials, check_credentials, create_protocol)


class Serve(StructuredServe[Server]):
    """What :func:`serve` returns: an asynchronous context manager."""

    runtime = RUNTIME
    make_server = Server
    create = ServerConnection
    option_names = TrioServeOptions.__annotations__

    def make_listener(self, sock: socket.socket) -> trio.SocketListener:
        return trio.SocketListener(trio.socket.from_stdlib_socket(sock))

    async def accept(
        self, listener: trio.SocketListener, handle: Callable[[Any], Awaitable[None]], handlers: Tasks
    ) -> None:
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError:
                    log_failure(self.logger, "accepting a connection failed; trying again")
                    await trio.sleep(RETRY_DELAY)
                else:
                    handlers.start_soon(handle, stream)

    async def open_transport(self, stream: trio.abc.Stream) -> Transport:
        if self.ssl is None:
            return make_transport(stream)
        return StreamTransport(await start_tls(stream, self.ssl, None, server_side=True))

    async def abort(self, stream: trio.abc.Stream) -> None:
        await trio.aclose_forcefully(stream)


ServerConnectionT = TypeVar("ServerConnectionT", bound=ServerConnection)


@overload
def serve(
    handler: AsyncHandler[ServerConnectionT],
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    *,
    task_status: None = None,
    **options: Unpack[TrioServeOptions],
) -> Serve: ...
@overload
def serve(
    handler: AsyncHandler[ServerConnectionT],
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    *,
    task_status: trio.TaskStatus[list[Any]],
    **options: Unpack[TrioServeOptions],
) -> Coroutine[Any, Any, None]: ...
def serve(
    handler: AsyncHandler[ServerConnectionT],
    host: str | Sequence[str] | None = None,
    port: int | None = None,
    *,
    task_status: trio.TaskStatus[list[Any]] | None = None,
    **options: Unpack[TrioServeOptions],
) -> Serve | Coroutine[Any, Any, None]:
    """Start a WebSocket server.

    ::

        async def echo(websocket):
            async for message in websocket:
                await websocket.send(message)

        async with serve(echo, "localhost", 8765) as server:
            await server.serve_forever()

    Or ``addresses = await nursery.start(serve, echo, "localhost", 8765)``: it serves until it is
    cancelled. The handlers run in a nursery of the server's. When its block is left, the connections
    are closed with code 1001; when it is cancelled, at once.

    Args:
        handler: an asynchronous function that is run for each connection, given the connection, or
            the connection and the request's path. When it returns, the connection is closed with code
            1000; when it raises, with 1011, and the exception is logged.
        host: where to listen: an address, several, or ``None`` for all interfaces.
        port: the TCP port; 0 for any free one, another one for each address.
        task_status: what ``nursery.start`` gives.
        options: those of :data:`wsproto_core.OPTIONS` that a server has, and ``ssl``, ``sock`` (a
            bound socket), ``family``, ``backlog`` and ``reuse_port``.

    Raises:
        TypeError, ValueError: an option is unknown or not allowed, or the handler cannot be called.
        OSError: the address cannot be listened on.
    """
    opening = Serve(handler, host, port, None, options)
    return opening if task_status is None else opening.run(task_status)


def unix_serve(
    handler: AsyncHandler[ServerConnectionT],
    path: SocketPath | None = None,
    *,
    task_status: trio.TaskStatus[list[Any]] | None = None,
    **options: Unpack[TrioServeOptions],
) -> Any:
    """Start a WebSocket server that listens on a Unix socket, behind a reverse proxy for example.

    Args:
        handler: see :func:`serve`.
        path: the socket's path; ``None`` if ``sock`` is given.
        task_status: see :func:`serve`.
        options: see :func:`serve`.
    """
    opening = Serve(handler, None, None, path or "", options)
    return opening if task_status is None else opening.run(task_status)


async def serve_stream(
    handler: AsyncHandler[ServerConnectionT], stream: trio.abc.Stream, **options: Unpack[ServeOptions]
) -> None:
    """Serve the client at the other end of any stream of trio; return when the connection is closed.

    Args:
        handler: see :func:`serve`.
        stream: it is closed in the end.
        options: those of :data:`wsproto_core.OPTIONS` that a server has.
    """
    await Serve(handler, None, 0, None, options).serve_stream(stream)
