"""Streams of anyio that lead to a server: directly, through a proxy, within TLS."""

from __future__ import annotations

import socket
import ssl
from typing import Any, cast

import anyio
from adapters.shared.connecting import Connecting
from adapters.shared.tls import client_context
from adapters.shared.tunnels import connect_socks
from adapters.structured.streams import connect_tcp, connect_unix
from adapters.structured.transport import READ_SIZE, os_errors
from anyio.abc import ByteStream, SocketStream
from anyio.streams.tls import TLSStream
from wsproto_core.connect.proxy import Proxy, Tunnel

from .transports import RUNTIME, LowerStream

__all__ = ["open_stream", "start_tls"]


async def open_stream(connecting: Connecting) -> socket.socket | ByteStream:
    """Open the stream, up to where TLS to the server begins."""
    options = connecting.stream_options
    for given in ("stream", "sock"):
        if options.get(given) is not None:
            return cast(socket.socket | ByteStream, options[given])
    if options.get("path") is not None:
        return await connect_unix(RUNTIME, options["path"])
    tcp = {name: options[name] for name in ("local_address", "happy_eyeballs_delay") if name in options}
    proxy = connecting.proxy
    if proxy is None:
        return await connect_tcp(RUNTIME, connecting.host, connecting.port, **tcp)
    if proxy.is_socks:
        return await open_socks(proxy, connecting.host, connecting.port)
    to_proxy: ByteStream = LowerStream(await connect_tcp(RUNTIME, proxy.host, proxy.port, **tcp))
    if proxy.scheme == "https":
        to_proxy = await start_tls(to_proxy, connecting.proxy_ssl, connecting.proxy_server_hostname)
    await open_tunnel(to_proxy, connecting.tunnel())
    return to_proxy


def load_socks() -> Any:
    """Import what :func:`.socks_client` needs."""
    from python_socks.async_.anyio import Proxy

    return Proxy


async def open_socks(proxy: Proxy, host: str, port: int) -> SocketStream:
    """Connect through a SOCKS proxy."""

    async def connect(dest_host: str, dest_port: int, **others: Any) -> SocketStream:
        return await SocketStream.from_socket(await connect_tcp(RUNTIME, dest_host, dest_port))

    stream: SocketStream = await connect_socks(load_socks, proxy, host, port, connect)
    return stream


async def open_tunnel(stream: ByteStream, tunnel: Tunnel) -> None:
    """Ask an HTTP proxy for a tunnel."""
    try:
        with os_errors(anyio.EndOfStream):
            await stream.send(tunnel.request.serialize())
        while not tunnel.open:
            try:
                with os_errors(anyio.EndOfStream):
                    data = await stream.receive(READ_SIZE)
            except anyio.EndOfStream:
                tunnel.receive_eof()
            else:
                tunnel.receive_data(data)
    except BaseException:
        await anyio.aclose_forcefully(stream)
        raise


async def start_tls(
    stream: socket.socket | ByteStream,
    context: ssl.SSLContext | bool | None,
    server_hostname: str | None,
    *,
    server_side: bool = False,
) -> TLSStream:
    """Do TLS's handshake, or close the stream.

    Args:
        stream: what TLS goes over.
        context: certificates and settings; ``True`` or ``None`` for a client's default.
        server_hostname: on a client, the name that the server's certificate must have.
        server_side: whether this is the server.
    """
    context = client_context(context)
    plain = LowerStream(stream) if isinstance(stream, socket.socket) else stream
    try:
        with os_errors(anyio.EndOfStream):
            # A close of TLS's own says no more than a close frame does.
            return await TLSStream.wrap(
                plain,
                server_side=server_side,
                hostname=server_hostname,
                ssl_context=context,
                standard_compatible=False,
            )
    except BaseException as error:
        await anyio.aclose_forcefully(plain)
        if isinstance(error, anyio.EndOfStream):
            raise ConnectionResetError("the stream ended within TLS's handshake") from error
        raise
