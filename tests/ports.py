"""Ports of the moment."""

from __future__ import annotations

import contextlib
import secrets
import socket

__all__ = ["free_port"]


def free_port() -> int:
    """A port where nobody listens, for those who cannot be given a socket, or who find nobody there.

    It is none of those that the system chooses, so that no other test gets it meanwhile.
    """
    while True:
        port = secrets.choice(range(10_000, 30_000))
        with contextlib.suppress(OSError), socket.create_server(("", port)):
            return port
