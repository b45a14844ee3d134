"""Streams of asyncio through a proxy."""

from __future__ import annotations

import asyncio
import math
import socket
from typing import Any, cast

from adapters.shared.tls import client_context
from wsproto_core.connecting import Connecting
from wsproto_core.exceptions import InvalidMessage, SocksError
from wsproto_core.proxy import Proxy, Tunnel, missing_socks, socks_arguments

__all__ = ["connect_by_proxy"]

TLS_TIMEOUTS = ("ssl_handshake_timeout", "ssl_shutdown_timeout")


class TunnelProtocol(asyncio.Protocol):
    """Asks an HTTP proxy for a tunnel; then keeps the place until TLS to the server is established.

    A connection would not expect to lose a stream that it has not got yet.

    Attributes:
        opened: whether the tunnel is open, or why it is not.
        error: what has happened since that should not have happened.
    """

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.error: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._tunnel.request.serialize())

    def data_received(self, data: bytes) -> None:
        if self.opened.done():
            self._fail(InvalidMessage("expected nothing from the server before it was asked"))
            return
        try:
            self._tunnel.receive_data(data)
        except Exception as error:
            self._fail(error)
        if self._tunnel.open and not self.opened.done():
            # Nothing more is to be read before there is somebody whom it is for.
            self._transport.pause_reading()
            self.opened.set_result(None)

    def eof_received(self) -> None:
        try:
            self._tunnel.receive_eof()
        except Exception as error:
            self._fail(error)

    def connection_lost(self, error: Exception | None) -> None:
        if error is None and not self._tunnel.open:
            # Not every event loop tells before, with TLS.
            self.eof_received()
        self._fail(error or ConnectionResetError("the stream was closed while it was opened"))

    def _fail(self, error: Exception) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)
        self.error = self.error or error


async def connect_by_proxy(connecting: Connecting, protocol: asyncio.BaseProtocol) -> None:
    """Connect a protocol to the server, through the proxy; TLS included."""
    loop = asyncio.get_running_loop()
    proxy = connecting.proxy
    assert proxy is not None
    options = connecting.stream_options
    # These are meant for whatever TLS there is.
    tls_timeouts = {name: options[name] for name in TLS_TIMEOUTS if name in options}
    if proxy.is_socks:
        sock = await connect_socks(proxy, connecting.host, connecting.port)
        tls = {}
        if connecting.ssl:
            context = client_context(connecting.ssl)
            tls = {"ssl": context, "server_hostname": connecting.server_hostname, **tls_timeouts}
        await loop.create_connection(lambda: protocol, sock=sock, **tls)
        return
    if proxy.scheme == "https":
        context = client_context(connecting.proxy_ssl)
        options = options | {"ssl": context, "server_hostname": connecting.proxy_server_hostname}
    else:
        options = {name: value for name, value in options.items() if name not in TLS_TIMEOUTS}
    tunnel = TunnelProtocol(connecting.tunnel())
    transport: Any
    transport, _ = await loop.create_connection(lambda: tunnel, proxy.host, proxy.port, **options)
    try:
        await tunnel.opened
        if connecting.ssl:
            context = client_context(connecting.ssl)
            transport.resume_reading()
            transport = await loop.start_tls(
                transport, tunnel, context, server_hostname=connecting.server_hostname, **tls_timeouts
            )
        if tunnel.error is not None:
            raise tunnel.error
        transport.set_protocol(protocol)
        if not connecting.ssl:
            transport.resume_reading()
    except BaseException:
        transport.abort()
        raise
    protocol.connection_made(transport)


async def connect_socks(proxy: Proxy, host: str, port: int) -> socket.socket:
    """Connect through a SOCKS proxy."""
    try:
        from python_socks import ProxyError, ProxyType
        from python_socks.async_.asyncio import Proxy as SocksProxy
    except ImportError as error:
        raise missing_socks() from error
    socks = SocksProxy(**socks_arguments(proxy, ProxyType))
    try:
        return await socks.connect(host, port, timeout=math.inf)
    except ProxyError as error:
        raise SocksError(str(error), error.error_code) from error
