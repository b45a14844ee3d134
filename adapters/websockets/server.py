"""WebSocket servers."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable, Generator, Iterable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

from wsproto_core.events import Request
from wsproto_core.exceptions import AbortHandshake, InvalidHandshake, InvalidOrigin, InvalidUpgrade
from wsproto_core.extensions.base import ServerExtensionFactory
from wsproto_core.extensions.permessage_deflate import DEFAULT_SERVER
from wsproto_core.http import Headers
from wsproto_core.options import ExtraResponseHeaders, OriginLike, SelectSubprotocol
from wsproto_core.types import CloseCode, SocketPath, State, Subprotocol

from ..asyncio import server as asyncio_server
from ..asyncio.server import Server, ServerConnection
from ..shared.handlers import AsyncHandler, Handler
from ..shared.options import ProcessRequest
from .older_names import check_loop, deprecated, take_close_timeout, take_create_protocol, take_legacy_recv
from .protocol import GOOD_CODES, WebSocketCommonProtocol, documented, listed, with_compression

__all__ = ["Serve", "WebSocketServer", "WebSocketServerProtocol", "serve", "unix_serve"]


def wants_path(handler: Callable[..., Any]) -> bool:
    """Return whether a handler can be called with the path: handlers get it whenever they can take it."""
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # built-in callables may have no signature
        return True
    return True


async def _handler(websocket: Any, path: str) -> None:
    """The handler of a server that was made without one."""


class WebSocketServer(Server):
    """A server: the result of :func:`serve`."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """
        Args:
            loop: the event loop; it has no effect.
        """
        super().__init__(_handler)
        self.loop = loop

    @property
    def server(self) -> asyncio.Server:
        """The asyncio server, which accepts the connections."""
        return self.listener

    @property
    def sockets(self) -> list[socket.socket] | None:  # type: ignore[override]
        return list(super().sockets) or None


class WebSocketServerProtocol(WebSocketCommonProtocol, ServerConnection):
    """A server's connection."""

    _logger_name = "websockets.server"

    server: WebSocketServer

    def __init__(
        self,
        ws_handler: Handler,
        ws_server: WebSocketServer | None = None,
        *,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        max_size: int | None = 2**20,
        max_queue: int | None = 2**5,
        read_limit: int = 2**16,
        write_limit: int = 2**16,
        loop: asyncio.AbstractEventLoop | None = None,
        origins: Sequence[OriginLike] | None = None,
        extensions: Sequence[ServerExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | Sequence[str] | None = None,
        extra_headers: ExtraResponseHeaders | None = None,
        process_request: ProcessRequest | None = None,
        select_subprotocol: SelectSubprotocol | None = None,
        **others: Any,
    ) -> None:
        """
        Args:
            ws_handler: the connection handler, a coroutine function of the connection and the
                request's path.
            ws_server: the server of the connection, or ``None``.
            ping_interval, ping_timeout, close_timeout, max_size, max_queue, read_limit, write_limit, loop:
                see :class:`.WebSocketCommonProtocol`.
            origins, extensions, subprotocols, extra_headers, process_request, select_subprotocol:
                see :func:`serve`.
            others: the other arguments of :class:`.WebSocketCommonProtocol`.
        """
        options = self._set_up(
            documented(locals()),
            loop,
            others,
        )
        self.origins = listed(origins)
        self.available_extensions = listed(extensions)
        self.available_subprotocols = listed(subprotocols)
        self.extra_headers = listed(extra_headers)
        ServerConnection.__init__(
            self,
            ws_handler,
            ws_server if ws_server is not None else WebSocketServer(),
            process_request=process_request,
            select_subprotocol=select_subprotocol,
            **options,
        )
        self.protocol.good_codes = GOOD_CODES

    @property
    def ws_handler(self) -> Handler:
        """The connection handler."""
        return self.handler

    @property
    def ws_server(self) -> WebSocketServer:
        """The server of the connection."""
        return self.server

    async def handshake(
        self,
        origins: Sequence[OriginLike] | None = None,
        available_extensions: Sequence[ServerExtensionFactory] | None = None,
        available_subprotocols: Sequence[Subprotocol] | Sequence[str] | None = None,
        extra_headers: ExtraResponseHeaders | None = None,
    ) -> str:
        """Perform the server's side of the opening handshake; the server calls it for each request.

        Args:
            origins: accepted values of the ``Origin`` header; ``None`` accepts requests without this header.
            available_extensions: extension factories in order of preference.
            available_subprotocols: subprotocols in order of preference.
            extra_headers: headers to add to the response, or a function of path and headers.

        Returns:
            The request's path.

        Raises:
            InvalidHandshake: the opening handshake failed, or was answered by ``process_request``.
        """
        request = self.protocol.request
        if request is None:
            raise InvalidHandshake("there is no request yet")
        self.protocol.configure(
            origins=listed(origins),
            extensions=listed(available_extensions),
            subprotocols=listed(available_subprotocols),
            extra_headers=listed(extra_headers),
        )
        await super()._answer(request)
        if self.protocol.handshake_error is not None:
            raise self.protocol.handshake_error
        return request.path

    async def process_request(self, path: str, request_headers: Headers) -> Any:
        """Answer the HTTP request, or leave it to the opening handshake.

        Args:
            path: the path and query of the request.
            request_headers: the headers of the request.

        Returns:
            ``None`` to continue with the opening handshake, or a response: status, headers and body.
        """
        result = super().process_request(path, request_headers)
        return await result if inspect.isawaitable(result) else result

    async def _answer(self, request: Request) -> None:
        try:
            await self.handshake(
                origins=self.origins,
                available_extensions=self.available_extensions,
                available_subprotocols=self.available_subprotocols,
                extra_headers=self.extra_headers,
            )
        except Exception as error:
            if self.protocol.state is State.CONNECTING:
                self.protocol.answer(_refusal(error))
            elif self.protocol.state is State.OPEN:
                self.logger.error("opening handshake failed", exc_info=error)
                self.protocol.close(CloseCode.INTERNAL_ERROR)
            self._react()


def _refusal(error: Exception) -> Exception:
    """Return the exception that answers an error of an overridden handshake with the right status."""
    if not isinstance(error, InvalidHandshake) or isinstance(error, AbortHandshake):
        return error
    status = HTTPStatus.BAD_REQUEST
    if isinstance(error, InvalidOrigin):
        status = HTTPStatus.FORBIDDEN
    elif isinstance(error, InvalidUpgrade):
        status = HTTPStatus.UPGRADE_REQUIRED
    body = f"Failed to open a WebSocket connection: {error}.\n"
    return AbortHandshake(status, {}, body.encode(errors="backslashreplace"))


ServerConnectionT = TypeVar("ServerConnectionT", bound=WebSocketServerProtocol)


class Serve(asyncio_server.Serve):
    """Start a WebSocket server: ``await serve(...)``, or ``async with serve(...)``."""

    def __init__(
        self,
        ws_handler: AsyncHandler[ServerConnectionT],
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        create_protocol: Callable[..., Any] | None = None,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        max_size: int | None = 2**20,
        max_queue: int | None = 2**5,
        read_limit: int = 2**16,
        write_limit: int = 2**16,
        loop: asyncio.AbstractEventLoop | None = None,
        compression: str | None = "deflate",
        origins: Sequence[OriginLike] | None = None,
        extensions: Sequence[ServerExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | Sequence[str] | None = None,
        extra_headers: ExtraResponseHeaders | Iterable[tuple[str, str]] | None = None,
        process_request: ProcessRequest | None = None,
        select_subprotocol: SelectSubprotocol | None = None,
        **kwds: Any,
    ) -> None:
        """
        Args:
            ws_handler: the connection handler, a coroutine function of the connection and the
                request's path.
            host, port: the address to listen on.
            create_protocol: makes the connection; takes the arguments of
                :class:`WebSocketServerProtocol`.
            ping_interval, ping_timeout, close_timeout, max_size, max_queue, read_limit, write_limit, loop:
                see :class:`.WebSocketCommonProtocol`.
            compression: ``"deflate"`` or ``None``.
            origins: accepted values of the ``Origin`` header; ``None`` accepts requests without this header.
            extensions: extension factories in order of preference.
            subprotocols: subprotocols in order of preference.
            extra_headers: headers to add to the response, or a function of the request's path and
                headers that returns them.
            process_request: a coroutine function of the request's path and headers that returns
                ``None``, or status, headers and body of a response.
            select_subprotocol: chooses a subprotocol, given the client's and the server's.
            kwds: the arguments of :meth:`asyncio.loop.create_server`, and more options of
                :data:`adapters.shared.options.OPTIONS`. Deprecated: ``klass``, ``timeout``, ``legacy_recv``.
        """
        if loop is not None:
            deprecated("loop", "leave it out, the running event loop is used")
        self._loop = loop
        self._factory = take_create_protocol(kwds, create_protocol, WebSocketServerProtocol)
        self._legacy_recv = take_legacy_recv(kwds)
        path = kwds.pop("path", None)
        if host is not None and port is None:
            # For create_server this is any free port.
            port = 0
        options: Any = {
            **documented(locals()),
            "close_timeout": take_close_timeout(kwds, close_timeout),
            "compression": compression,
            "origins": listed(origins),
            "extensions": listed(extensions),
            "subprotocols": listed(subprotocols),
            "extra_headers": listed(extra_headers),
            "process_request": process_request,
            "select_subprotocol": select_subprotocol,
            **kwds,
            "create_protocol": self._make_protocol,
        }
        super().__init__(ws_handler, host, port, path, options)

    def _make_server(self, handler: Handler) -> WebSocketServer:
        server = WebSocketServer(self._loop)
        server._logger = self._target.settings.logger or server._logger
        server._handler_takes_path = wants_path(handler)
        return server

    def _make_protocol(
        self,
        handler: Handler,
        server: WebSocketServer,
        *,
        compression: str | None,
        extensions: Sequence[Any] | None,
        **options: Any,
    ) -> WebSocketServerProtocol:
        extensions = with_compression(extensions, DEFAULT_SERVER if compression else None)
        protocol: WebSocketServerProtocol = self._factory(handler, server, extensions=extensions, **options)
        if self._legacy_recv:
            protocol.legacy_recv = True
        return protocol

    async def _open(self) -> WebSocketServer:
        check_loop(self._loop)
        server = await super()._open()
        assert isinstance(server, WebSocketServer)
        return server

    def __iter__(self) -> Generator[Any, None, Server]:
        """Support ``yield from`` in coroutines that are generators."""
        return self.__await__()


serve = Serve


def unix_serve(ws_handler: AsyncHandler[ServerConnectionT], path: SocketPath | None, **kwargs: Any) -> Serve:
    """Start a WebSocket server that listens on a Unix socket.

    Args:
        ws_handler: see :func:`serve`.
        path: the socket's path.
        kwargs: the other arguments of :func:`serve`.
    """
    return Serve(ws_handler, path=path or "", **kwargs)
