"""Sockets that listen."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from .runtime import Runtime

__all__ = ["listen", "open_listener"]


async def listen(
    runtime: Runtime,
    hosts: Sequence[str | None],
    port: int,
    *,
    family: int = socket.AF_UNSPEC,
    **options: Any,
) -> list[socket.socket]:
    """Listen on all addresses of some hosts, with the options of :func:`open_listener`."""
    listeners: list[socket.socket] = []
    unusable: OSError | None = None
    try:
        for host in hosts:
            for address in await runtime.getaddrinfo(
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
                if not address.startswith("\0") and stat.S_ISSOCK(os.stat(address).st_mode):
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
