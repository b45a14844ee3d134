"""Sockets of our own: connecting them and accepting them, on whatever anyio runs."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel

__all__ = ["accept", "connect_tcp", "connect_unix"]


async def connect_tcp(
    host: str, port: int, local_address: str | None = None, happy_eyeballs_delay: float | None = 0.25
) -> socket.socket:
    """Connect to one of a host's addresses, as RFC 8305 says: the next is tried while one is slow.

    Arguments:
        host: a name or an address.
        port: the TCP port.
        local_address: this end's IP address; ``None`` for any.
        happy_eyeballs_delay: seconds until the next address is tried; ``None`` waits for each to fail.

    Raises:
        OSError: none can be connected to.
    """
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    connected: list[socket.socket] = []
    errors: list[OSError] = []

    async def attempt(family: int, address: Any, failed: anyio.Event) -> None:
        try:
            local = None if local_address is None else (local_address, 0)
            sock = await connect(family, address, local)
        except OSError as error:
            errors.append(error)
            failed.set()
        else:
            connected.append(sock)
            attempts.cancel_scope.cancel()

    try:
        async with anyio.create_task_group() as attempts:
            for family, _, _, _, address in interleave(found):
                failed = anyio.Event()
                attempts.start_soon(attempt, family, address, failed)
                with anyio.move_on_after(happy_eyeballs_delay):
                    await failed.wait()
    except BaseException:
        for sock in connected:
            sock.close()
        raise
    for sock in connected[1:]:
        sock.close()
    if not connected:
        cause = errors[0] if len(errors) == 1 else ExceptionGroup("all addresses failed", errors)
        raise OSError(f"connecting to {host} port {port} failed: {cause}") from cause
    return connected[0]


def interleave(found: Sequence[Any]) -> list[Any]:
    """Alternate between the families of addresses (RFC 8305 section 4)."""
    first = [address for address in found if address[0] == found[0][0]]
    rest = [address for address in found if address[0] != found[0][0]]
    mixed = [address for pair in zip(first, rest, strict=False) for address in pair]
    return mixed + first[len(rest) :] + rest[len(first) :]


async def connect_unix(path: str) -> socket.socket:
    """Connect to a Unix socket."""
    return await connect(socket.AF_UNIX, path, None)


async def connect(family: int, address: Any, local: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        if local is not None:
            sock.bind(local)
        code = sock.connect_ex(address)
        if code in (errno.EINPROGRESS, errno.EWOULDBLOCK):
            await anyio.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, f"{os.strerror(code)}: {address}")
    except BaseException:
        sock.close()
        raise
    return sock


async def accept(listener: socket.socket) -> socket.socket:
    """Accept a connection; others get their turn, however many wait for it."""
    await anyio.lowlevel.checkpoint()
    while True:
        try:
            return listener.accept()[0]
        except BlockingIOError:
            await anyio.wait_readable(listener)
