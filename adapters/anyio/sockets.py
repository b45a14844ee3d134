"""Sockets of our own, accepted on whatever anyio runs."""

from __future__ import annotations

import socket

import anyio
import anyio.lowlevel

__all__ = ["accept"]


async def accept(listener: socket.socket) -> socket.socket:
    """Accept a connection; others get their turn, however many wait for it."""
    await anyio.lowlevel.checkpoint()
    while True:
        try:
            return listener.accept()[0]
        except BlockingIOError:
            await anyio.wait_readable(listener)
