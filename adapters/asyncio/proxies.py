"""Streams of asyncio through a proxy."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

from adapters.shared.connecting import Connecting
from adapters.shared.tls import client_context
from adapters.shared.tunnels import connect_socks
from wsproto_core.connect.proxy import Tunnel
from wsproto_core.exceptions import InvalidMessage

from .sockets import connect_tcp, take_tcp_options
from .tls import TLS_OPTIONS, TLSTransport, open_stream

__all__ = ["connect_by_proxy"]


class TunnelProtocol(asyncio.BufferedProtocol):
    """Asks an HTTP proxy for a tunnel; then keeps the place until there is somebody whom it is for.

    Attributes:
        opened: completed when the tunnel is open, by an exception if it will not be.
        error: why the tunnel cannot be used.
    """

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel
        self._buffer = bytearray(2**14)
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.error: Exception | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._tunnel.request.serialize())

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)

    def buffer_updated(self, nbytes: int) -> None:
        if self.opened.done():
            self._fail(InvalidMessage("expected nothing from the server before it was asked"))
            return
        try:
            self._tunnel.receive_data(bytes(self._buffer[:nbytes]))
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
        self._fail(error or ConnectionResetError("the stream was closed while it was opened"))

    def _fail(self, error: Exception) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)
        self.error = self.error or error


async def connect_by_proxy(connecting: Connecting, protocol: asyncio.BufferedProtocol) -> None:
    """Connect a protocol to the server, through the proxy; TLS included."""
    loop = asyncio.get_running_loop()
    proxy = connecting.proxy
    assert proxy is not None
    options = dict(connecting.stream_options)
    # These are meant for whatever TLS there is.
    timeouts = {name: options[name] for name in TLS_OPTIONS if name in options}
    context = client_context(connecting.ssl) if connecting.ssl else None
    name = connecting.server_hostname
    if proxy.is_socks:
        sock = await connect_socks(load_socks, proxy, connecting.host, connecting.port, connect_to_proxy)
        await open_stream(
            loop.create_connection, protocol, context, server_hostname=name, sock=sock, **timeouts
        )
        return
    sock = await connect_tcp(proxy.host, proxy.port, **take_tcp_options(options))
    tunnel = TunnelProtocol(connecting.tunnel())
    proxy_context = client_context(connecting.proxy_ssl) if proxy.scheme == "https" else None
    options |= {"sock": sock, "server_hostname": connecting.proxy_server_hostname}
    transport = await open_stream(loop.create_connection, tunnel, proxy_context, **options)
    try:
        await tunnel.opened
        if tunnel.error is not None:
            raise tunnel.error
        if context is None:
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            transport.resume_reading()
        else:
            tls = TLSTransport(protocol, context, server_hostname=name, **timeouts)
            transport.set_protocol(tls)
            tls.connection_made(transport)
            transport.resume_reading()
            await tls.established
    except BaseException:
        transport.abort()
        raise


def load_socks() -> Any:
    """Import what :func:`.socks_client` needs."""
    from python_socks.async_.asyncio import Proxy

    return Proxy


async def connect_to_proxy(dest_host: str, dest_port: int, **others: Any) -> socket.socket:
    """Connect to a SOCKS proxy, for :func:`.connect_socks`."""
    return await connect_tcp(dest_host, dest_port)
