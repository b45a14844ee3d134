"""Sockets of our own: connecting them and listening on them, on whatever anyio runs."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel

__all__ = ["accept", "connect_tcp", "connect_unix", "listen"]


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


async def listen(
    hosts: Sequence[str | None], port: int, *, family: int = socket.AF_UNSPEC, **options: Any
) -> list[socket.socket]:
    """Listen on all addresses of some hosts, with the options of :func:`open_listener`."""
    listeners: list[socket.socket] = []
    unusable: OSError | None = None
    try:
        for host in hosts:
            for address in await anyio.getaddrinfo(
                host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            ):
                try:
                    listeners.append(open_listener(address[0], address[4], **options))
                except OSError as error:
                    # A system may have names for IPv6 and no use for it.
                    if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                        raise
                    unusable = error
        if unusable is not None and not listeners:
            raise unusable
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def open_listener(
    family: int, address: Any, backlog: int = socket.SOMAXCONN, reuse_port: bool = False
) -> socket.socket:
    """Listen on an address, or on the path of a Unix socket."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_UNIX:
            with suppress(FileNotFoundError):
                if stat.S_ISSOCK(os.stat(address).st_mode):
                    # What an earlier server has left.
                    os.unlink(address)
        elif os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        sock.listen(backlog)
        sock.setblocking(False)
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
