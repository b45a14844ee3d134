"""Streams of asyncio through a proxy."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from typing import Any

from adapters.shared.client import Connecting
from adapters.shared.memory_tls import RECORDS, MemoryTLS
from adapters.shared.tls import client_context
from adapters.shared.tunnels import connect_socks
from wsproto_core.connect.proxy import Tunnel

from .sockets import connect_tcp, tcp_options
from .tls import open_stream

__all__ = ["connect_by_proxy"]


async def connect_by_proxy(connecting: Connecting, protocol: asyncio.BufferedProtocol) -> None:
    """Connect a protocol to the server, through the proxy; TLS included."""
    proxy = connecting.proxy
    assert proxy is not None
    proxy_tls = None
    if proxy.is_socks:
        sock = await connect_socks(load_socks, proxy, connecting.host, connecting.port, connect_to_proxy)
    else:
        sock = await connect_tcp(proxy.host, proxy.port, **tcp_options(connecting.stream_options))
        if proxy.scheme == "https":
            context = client_context(connecting.proxy_ssl)
            proxy_tls = MemoryTLS(context, server_hostname=connecting.proxy_server_hostname)
    try:
        if not proxy.is_socks:
            await open_tunnel(sock, proxy_tls, connecting.tunnel())
        await open_stream(connecting, protocol, sock, proxy_tls)
    except BaseException:
        sock.close()
        raise


async def open_tunnel(sock: socket.socket, tls: MemoryTLS | None, tunnel: Tunnel) -> None:
    """Ask an HTTP proxy for a tunnel.

    Args:
        sock: is connected to the proxy.
        tls: for a proxy whose URL begins with ``https:``; its handshake is done here.
        tunnel: the request and its answer.
    """
    loop = asyncio.get_running_loop()
    request = tunnel.request.serialize()
    while not tunnel.open:
        if tls is None:
            await loop.sock_sendall(sock, request)
            request = b""
        else:
            with suppress(ssl.SSLWantReadError):
                while request or not tls.established:
                    request = request[tls.encrypt(request) :]
            await send_records(sock, tls)
        received = await loop.sock_recv(sock, RECORDS)
        data = received if tls is None else tls.receive(received)
        if tls is not None and tls.error is not None:
            await send_records(sock, tls)
            raise tls.error
        if data:
            tunnel.receive_data(data)
        elif not received:
            tunnel.receive_eof()


async def send_records(sock: socket.socket, tls: MemoryTLS) -> None:
    """Send the encrypted bytes of TLS."""
    records, tls.unsent = tls.unsent, b""
    await asyncio.get_running_loop().sock_sendall(sock, records)


def load_socks() -> Any:
    """Import the class for :func:`.socks_client`."""
    from python_socks.async_.asyncio import Proxy

    return Proxy


async def connect_to_proxy(dest_host: str, dest_port: int, **others: Any) -> socket.socket:
    """Connect to a SOCKS proxy, for :func:`.connect_socks`."""
    return await connect_tcp(dest_host, dest_port)
