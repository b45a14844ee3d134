"""A client's streams, on runtimes with structured concurrency: sockets, proxies, TLS."""

from __future__ import annotations

import contextlib
import math
import socket
from collections import deque
from collections.abc import Iterable
from typing import Any

from adapters.shared.addresses import (
    ADDRESS_DELAY,
    RETRY_DELAY,
    AddressRace,
    begin_connect,
)
from adapters.shared.client import Connecting
from adapters.shared.connection import advance
from adapters.shared.tls import client_context
from adapters.shared.tunnels import connect_socks
from wsproto_core.connect.proxy import Proxy, Tunnel

from .runtime import Runtime
from .transport import SocketTransport, Transport, os_errors

__all__ = ["connect_tcp", "make_transport", "open_transport", "start_tls"]


async def open_transport(runtime: Runtime, connecting: Connecting) -> Transport:
    """Connect to the server, through the proxy if there is one, TLS included."""
    stream = await _open_stream(runtime, connecting)
    if connecting.ssl:
        stream = await start_tls(runtime, stream, connecting.ssl, connecting.server_hostname)
    return make_transport(runtime, stream)


def make_transport(runtime: Runtime, stream: Any) -> Transport:
    """Return the transport of a socket or of a stream of the runtime.

    A stream that is a plain socket loses the socket to the transport.
    """
    sock = runtime.take_socket(stream)
    transport: Transport = runtime.make_transport(stream) if sock is None else SocketTransport(runtime, sock)
    return transport


async def start_tls(
    runtime: Runtime, stream: Any, context: Any, server_hostname: str | None, server_side: bool = False
) -> Any:
    """Do TLS's handshake, or close the stream.

    Args:
        runtime: the adapter's.
        stream: a socket or a stream of the runtime.
        context: certificates and settings; ``True`` or ``None`` for a client's default.
        server_hostname: on a client, the name that the server's certificate must have.
        server_side: whether this is the server.

    Returns:
        A stream of the runtime.

    Raises:
        OSError: the handshake failed.
    """
    lower = runtime.make_lower_stream(stream)
    try:
        with os_errors():
            return await runtime.start_tls(lower, client_context(context), server_hostname, server_side)
    except BaseException:
        await runtime.close_forcefully(lower)
        raise


async def _open_stream(runtime: Runtime, connecting: Connecting) -> Any:
    """Return a socket or a stream of the runtime, on which the server is reached, without TLS to it."""
    options = connecting.stream_options
    for given in ("stream", "sock"):
        if options.get(given) is not None:
            return options[given]
    if options.get("path") is not None:
        return await _connect_unix(runtime, options["path"])
    tcp = {name: options[name] for name in ("local_address", "happy_eyeballs_delay") if name in options}
    proxy = connecting.proxy
    if proxy is None:
        return await connect_tcp(runtime, connecting.host, connecting.port, **tcp)
    if proxy.is_socks:
        return await _open_socks(runtime, proxy, connecting.host, connecting.port)
    stream: Any = await connect_tcp(runtime, proxy.host, proxy.port, **tcp)
    if proxy.scheme == "https":
        stream = await start_tls(runtime, stream, connecting.proxy_ssl, connecting.proxy_server_hostname)
    transport = make_transport(runtime, stream)
    try:
        await _open_tunnel(transport, connecting.tunnel())
    except BaseException:
        await transport.abort(False)
        raise
    return stream


async def _open_socks(runtime: Runtime, proxy: Proxy, host: str, port: int) -> Any:
    async def connect(dest_host: str, dest_port: int, **others: Any) -> Any:
        return await runtime.to_socks(await connect_tcp(runtime, dest_host, dest_port))

    return runtime.from_socks(await connect_socks(runtime.load_socks, proxy, host, port, connect))


async def _open_tunnel(transport: Transport, tunnel: Tunnel) -> None:
    """Ask an HTTP proxy for a tunnel."""
    request = deque([memoryview(tunnel.request.serialize())])
    while request:
        count = transport.write(request)
        advance(request, count)
        if not count:
            await transport.wait_writable()
    while not tunnel.open:
        data = transport.read()
        if data is None:
            with os_errors():
                await transport.wait_readable()
        elif data:
            tunnel.receive_data(data)
        else:
            tunnel.receive_eof()


async def connect_tcp(
    runtime: Runtime,
    host: str,
    port: int,
    local_address: str | None = None,
    happy_eyeballs_delay: float | None = ADDRESS_DELAY,
) -> socket.socket:
    """Connect to one of a host's addresses, as RFC 8305 says: the next is tried while one is slow.

    Args:
        runtime: the adapter's.
        host: a name or an address.
        port: the TCP port.
        local_address: this end's IP address; ``None`` for any.
        happy_eyeballs_delay: seconds until the next address is tried; ``None`` waits for each to fail.

    Raises:
        OSError: none can be connected to: see :func:`.connect_failure`.
    """
    family, local = socket.AF_UNSPEC, None
    if local_address is not None:
        family = socket.AF_INET6 if ":" in local_address else socket.AF_INET
        local = (local_address, 0)
    found = await runtime.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    with AddressRace(found, local, happy_eyeballs_delay) as race:
        while True:
            delay = race.begin_next()
            sock = race.finish(await _wait_writable(runtime, race.sockets, delay))
            if sock is not None:
                return sock


async def _wait_writable(
    runtime: Runtime, sockets: Iterable[socket.socket], seconds: float | None
) -> list[socket.socket]:
    """Wait until some of the sockets can be written; return them.

    Args:
        runtime: the adapter's.
        sockets: the sockets.
        seconds: the time after which none is returned; ``None`` for no limit.
    """
    writable: list[socket.socket] = []

    async def wait(sock: socket.socket) -> None:
        # The socket has the error as well.
        with contextlib.suppress(OSError):
            await runtime.wait_writable(sock)
        writable.append(sock)
        tasks.cancel_scope.cancel()

    with runtime.open_scope(deadline=math.inf if seconds is None else runtime.get_clock()() + seconds):
        async with runtime.open_tasks() as tasks:
            for sock in sockets:
                tasks.start_soon(wait, sock)
    return writable


async def _connect_unix(runtime: Runtime, path: str) -> socket.socket:
    """Connect to a Unix socket.

    Raises:
        OSError: no server listens there.
    """
    clock = runtime.get_clock()
    while True:
        try:
            return begin_connect((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path))
        except BlockingIOError:
            await runtime.sleep_until(clock() + RETRY_DELAY)
