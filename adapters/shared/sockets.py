"""Connected sockets: socket options, reading without waiting, and addresses as text."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any

from .logs import shown

__all__ = ["UNSENT_LOW_WATERMARK", "addresses_of", "prepare_socket", "read_now", "show_address"]

UNSENT_LOW_WATERMARK = 2**17
"""Bytes that the operating system may hold unsent before it reports the socket as not writable."""


def prepare_socket(sock: socket.socket) -> None:
    """Set the options of a connected TCP socket; nothing is set on a Unix socket.

    ``TCP_NODELAY``: the adapters gather writes already, so that Nagle's algorithm would only delay them.

    ``TCP_NOTSENT_LOWAT``: without it, Linux reports a socket as writable only when a third of its send
    buffer is free, which is a megabyte on loopback. A peer that reads slowly, but without a gap, would
    appear to have stopped reading for longer than ``ping_timeout``.
    """
    # It is no TCP socket, or the peer may have reset the connection already; macOS reports that as EINVAL.
    with suppress(OSError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_LOW_WATERMARK)


def addresses_of(sock: Any) -> tuple[Any, Any]:
    """Return a socket's own address and its peer's, which is ``None`` if the peer has gone already."""
    own = peer = None
    with suppress(OSError):
        own = sock.getsockname()
        peer = sock.getpeername()
    return own, peer


def show_address(address: Any) -> str:
    """Return an address as text for logs: ``127.0.0.1:80``, ``[::1]:80``, or the path of a Unix socket."""
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return shown(os.fsdecode(address))


def read_now(transport: Any, size: int) -> bytes:
    """Read, without waiting, from the socket of an event loop's transport; nothing at the end.

    Args:
        transport: has the socket, or something with its ``fileno``, as extra information.
        size: bytes to read at most.

    Raises:
        OSError: there is nothing to read, or no socket, or it is broken or closed.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        raise OSError("there is no socket")
    same = socket.socket(fileno=sock.fileno())
    try:
        return same.recv(size)
    finally:
        same.detach()
