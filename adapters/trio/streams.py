"""Streams of trio that lead to a server: directly, through a proxy, within TLS."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import trio
from adapters.shared.connecting import Connecting
from adapters.shared.tls import client_context
from adapters.shared.tunnels import connect_socks
from adapters.structured.streams import connect_tcp, connect_unix
from adapters.structured.transport import READ_SIZE, os_errors
from wsproto_core.connect.proxy import Proxy, Tunnel

from .transports import RUNTIME, LowerStream

__all__ = ["open_stream", "start_tls"]


async def open_stream(connecting: Connecting) -> trio.abc.Stream:
    """Open the stream, up to where TLS to the server begins."""
    options = connecting.stream_options
    stream: trio.abc.Stream | None = options.get("stream")
    if stream is not None:
        return stream
    if options.get("sock") is not None:
        return make_stream(options["sock"])
    if options.get("path") is not None:
        return make_stream(await connect_unix(RUNTIME, options["path"]))
    tcp = {name: options[name] for name in ("local_address", "happy_eyeballs_delay") if name in options}
    proxy = connecting.proxy
    if proxy is None:
        return make_stream(await connect_tcp(RUNTIME, connecting.host, connecting.port, **tcp))
    if proxy.is_socks:
        return await open_socks(proxy, connecting.host, connecting.port)
    stream = make_stream(await connect_tcp(RUNTIME, proxy.host, proxy.port, **tcp))
    if proxy.scheme == "https":
        stream = await start_tls(stream, connecting.proxy_ssl, connecting.proxy_server_hostname)
    await open_tunnel(stream, connecting.tunnel())
    return stream


def make_stream(sock: socket.socket) -> trio.SocketStream:
    """Return the stream of a connected socket."""
    sock.setblocking(False)
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))


def load_socks() -> Any:
    """Import what :func:`.socks_client` needs."""
    from python_socks.async_.trio import Proxy

    return Proxy


async def open_socks(proxy: Proxy, host: str, port: int) -> trio.SocketStream:
    """Connect through a SOCKS proxy."""

    async def connect(dest_host: str, dest_port: int, **others: Any) -> trio.socket.SocketType:
        return trio.socket.from_stdlib_socket(await connect_tcp(RUNTIME, dest_host, dest_port))

    return trio.SocketStream(await connect_socks(load_socks, proxy, host, port, connect))


async def open_tunnel(stream: trio.abc.Stream, tunnel: Tunnel) -> None:
    """Ask an HTTP proxy for a tunnel."""
    try:
        with os_errors():
            await stream.send_all(tunnel.request.serialize())
        while not tunnel.open:
            try:
                with os_errors():
                    data = await stream.receive_some(READ_SIZE)
            except ssl.SSLEOFError:
                # TLS's own close is missing, as ever when a process is killed.
                data = b""
            if data:
                tunnel.receive_data(data)
            else:
                tunnel.receive_eof()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def start_tls(
    stream: trio.abc.Stream,
    context: ssl.SSLContext | bool | None,
    server_hostname: str | None,
    *,
    server_side: bool = False,
) -> trio.SSLStream[Any]:
    """Do TLS's handshake, or close the stream.

    Args:
        stream: what TLS goes over.
        context: certificates and settings; ``True`` or ``None`` for a client's default.
        server_hostname: on a client, the name that the server's certificate must have.
        server_side: whether this is the server.
    """
    context = client_context(context)
    lower = LowerStream(stream)
    secure = trio.SSLStream(lower, context, server_hostname=server_hostname, server_side=server_side)
    try:
        with os_errors():
            await secure.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secure
