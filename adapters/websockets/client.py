"""WebSocket clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

from wsproto_core.exceptions import InvalidHandshake
from wsproto_core.extensions.base import ClientExtensionFactory
from wsproto_core.extensions.permessage_deflate import DEFAULT_CLIENT
from wsproto_core.handshake.client import ClientProtocol
from wsproto_core.http.headers import HeadersLike
from wsproto_core.http.uri import WebSocketURI
from wsproto_core.types import Origin, SocketPath, State, Subprotocol

from ..asyncio import client as asyncio_client
from ..asyncio.client import ClientConnection
from ..asyncio.connection import Connection
from ..shared.stream_options import check_path
from .older_names import check_loop, deprecated, take_close_timeout, take_create_protocol, take_legacy_recv
from .protocol import GOOD_CODES, WebSocketCommonProtocol, documented, listed, with_compression

__all__ = ["Connect", "WebSocketClientProtocol", "connect", "unix_connect"]


class WebSocketClientProtocol(WebSocketCommonProtocol, ClientConnection):
    """A client's connection.

    It gets its URI by :meth:`handshake`, and sends nothing before.
    """

    is_client = True
    _logger_name = "websockets.client"

    def __init__(
        self,
        *,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        max_size: int | None = 2**20,
        max_queue: int | None = 2**5,
        read_limit: int = 2**16,
        write_limit: int = 2**16,
        loop: asyncio.AbstractEventLoop | None = None,
        origin: Origin | str | None = None,
        extensions: Sequence[ClientExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | Sequence[str] | None = None,
        extra_headers: HeadersLike | None = None,
        **others: Any,
    ) -> None:
        """
        Args:
            ping_interval, ping_timeout, close_timeout, max_size, max_queue, read_limit, write_limit, loop:
                see :class:`.WebSocketCommonProtocol`.
            origin, extensions, subprotocols, extra_headers: see :func:`connect`.
            others: the other arguments of :class:`.WebSocketCommonProtocol`.
        """
        options = self._set_up(
            documented(locals()),
            loop,
            others,
        )
        self.origin = origin
        self.available_extensions = listed(extensions)
        self.available_subprotocols = listed(subprotocols)
        self.extra_headers = listed(extra_headers)
        self.wsuri: WebSocketURI | None = None
        self._asking = False
        clock, _ = self._clocks()
        logger = options.pop("logger")
        protocol = ClientProtocol(None, clock=clock, **options)
        protocol.good_codes = GOOD_CODES
        Connection.__init__(self, protocol, logger)

    async def handshake(
        self,
        wsuri: WebSocketURI,
        origin: Origin | str | None = None,
        available_extensions: Sequence[ClientExtensionFactory] | None = None,
        available_subprotocols: Sequence[Subprotocol] | Sequence[str] | None = None,
        extra_headers: HeadersLike | None = None,
    ) -> None:
        """Perform the client's side of the opening handshake; :func:`connect` calls it.

        Args:
            wsuri: the URI, as :func:`.parse_uri` returns it.
            origin: the ``Origin`` header.
            available_extensions: extension factories in order of preference.
            available_subprotocols: subprotocols in order of preference.
            extra_headers: headers to add to the request.

        Raises:
            InvalidHandshake: the opening handshake failed.
        """
        if self._asking:
            raise InvalidHandshake("the opening handshake has begun already")
        self._asking = True
        if self.protocol.state is State.CONNECTING:
            self.protocol.ask(
                wsuri,
                origin=origin,
                extensions=listed(available_extensions),
                subprotocols=listed(available_subprotocols),
                extra_headers=listed(extra_headers),
            )
        self._react()
        await super()._wait_opened()

    async def _wait_opened(self) -> None:
        assert self.wsuri is not None
        await self.handshake(
            self.wsuri,
            origin=self.origin,
            available_extensions=self.available_extensions,
            available_subprotocols=self.available_subprotocols,
            extra_headers=self.extra_headers,
        )


class Connect(asyncio_client.Connect):
    """Connect to a WebSocket server: ``await connect(...)``, or ``async with connect(...)``."""

    def __init__(
        self,
        uri: str,
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
        origin: Origin | str | None = None,
        extensions: Sequence[ClientExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | Sequence[str] | None = None,
        extra_headers: HeadersLike | Iterable[tuple[str, str]] | None = None,
        **kwds: Any,
    ) -> None:
        """
        Args:
            uri: a WebSocket URI; user information in it is sent as HTTP Basic.
            create_protocol: makes the connection; takes the arguments of
                :class:`WebSocketClientProtocol`.
            ping_interval, ping_timeout, close_timeout, max_size, max_queue, read_limit, write_limit, loop:
                see :class:`.WebSocketCommonProtocol`.
            compression: ``"deflate"`` or ``None``.
            origin: the ``Origin`` header.
            extensions: extension factories in order of preference.
            subprotocols: subprotocols in order of preference.
            extra_headers: headers to add to the request.
            kwds: the arguments of :meth:`asyncio.loop.create_connection`, among them ``host`` and
                ``port``, which change the address of the TCP connection; and more options of
                :data:`adapters.shared.options.OPTIONS` (``proxy`` is ``None`` by default). Deprecated:
                ``klass``, ``timeout``, ``legacy_recv``.

        Raises:
            InvalidURI: it is not a WebSocket URI.
        """
        if loop is not None:
            deprecated("loop", "leave it out, the running event loop is used")
        self._loop = loop
        self._factory = take_create_protocol(kwds, create_protocol, WebSocketClientProtocol)
        self._legacy_recv = take_legacy_recv(kwds)
        options: Any = {
            **documented(locals()),
            "close_timeout": take_close_timeout(kwds, close_timeout),
            "compression": compression,
            "origin": origin,
            "extensions": listed(extensions),
            "subprotocols": listed(subprotocols),
            "extra_headers": listed(extra_headers),
            # The API never used proxies of the environment.
            "proxy": None,
            **kwds,
            "create_protocol": self._make_protocol,
        }
        path = options.pop("path", None)
        super().__init__(uri, None if path is None else check_path(path), options)

    def _make_protocol(
        self,
        uri: WebSocketURI,
        *,
        compression: str | None,
        extensions: Sequence[Any] | None,
        **options: Any,
    ) -> WebSocketClientProtocol:
        extensions = with_compression(extensions, DEFAULT_CLIENT if compression else None)
        protocol: WebSocketClientProtocol = self._factory(extensions=extensions, **options)
        protocol.wsuri = uri
        if self._legacy_recv:
            protocol.legacy_recv = True
        return protocol

    async def _open(self) -> ClientConnection:
        check_loop(self._loop)
        return await super()._open()

    def __iter__(self) -> Generator[Any, None, ClientConnection]:
        """Support ``yield from`` in coroutines that are generators."""
        return self.__await__()


connect = Connect


def unix_connect(path: SocketPath, uri: str = "ws://localhost/", **kwargs: Any) -> Connect:
    """Connect to a WebSocket server that listens on a Unix socket.

    Args:
        path: the socket's path.
        uri: the URI for the opening handshake and TLS.
        kwargs: the other arguments of :func:`connect`.
    """
    return Connect(uri, path=path, **kwargs)
