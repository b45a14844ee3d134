"""What the tests of asyncio alone do to its event loop."""

from __future__ import annotations

import asyncio
import socket
import time

from adapters.asyncio import Connection, Server

from .runtimes.base import HOST


async def turns(count: int = 5) -> None:
    """Let the event loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


def block(seconds: float) -> None:
    """Let nothing else run."""
    time.sleep(seconds)


def shrink_buffers(*connections: Connection) -> None:
    """Let the operating system hold little of what these send, so that they have to wait soon."""
    for connection in connections:
        sock = connection.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**14)


def port_of(server: Server) -> int:
    assert server.sockets is not None
    port: int = server.sockets[0].getsockname()[1]
    return port


def uri_of(server: Server, path: str = "/", scheme: str = "ws", host: str = HOST) -> str:
    return f"{scheme}://{host}:{port_of(server)}{path}"
