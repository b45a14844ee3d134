"""A client's streams on asyncio: sockets that connect, and TLS over them, before there is a transport."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from functools import partial
from typing import Any

from ..shared.client import replace_timeout
from ..shared.memory_tls import RECORDS
from ..shared.streams import SocketClientStream
from ..shared.tunnels import SocksRuntime
from .tls import handshake_timed_out

__all__ = ["SocketStream"]


def load_socks() -> Any:
    """Import the class for :class:`.SocksRuntime`."""
    from python_socks.async_.asyncio import Proxy

    return Proxy


class SocketStream(SocketClientStream):
    """A socket, and TLS over it."""

    _socks = SocksRuntime(load_socks)

    def __init__(self, handshake_timeout: float | None) -> None:
        """
        Args:
            handshake_timeout: seconds for TLS's handshake; ``None`` for no timeout.
        """
        self._loop = asyncio.get_running_loop()
        self._getaddrinfo = self._loop.getaddrinfo
        self._handshake_timeout = handshake_timeout

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def start_tls(self, context: Any, server_hostname: str | None) -> None:
        timeout = asyncio.timeout(self._handshake_timeout)
        with replace_timeout(timeout.expired, partial(handshake_timed_out, self._handshake_timeout)):
            async with timeout:
                await super().start_tls(context, server_hostname)

    async def receive_bytes(self) -> bytes:
        return await self._loop.sock_recv(self.sock, RECORDS)

    async def send_bytes(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.sock, data)

    async def wait_writable(
        self, sockets: Iterable[socket.socket], seconds: float | None
    ) -> Iterable[socket.socket]:
        loop, changed = self._loop, self._loop.create_future()
        writable: set[socket.socket] = set()

        def note(sock: socket.socket) -> None:
            writable.add(sock)
            if not changed.done():
                changed.set_result(None)

        try:
            for sock in sockets:
                loop.add_writer(sock, note, sock)
            # Not wait_for: on CPython 3.11 it loses a cancellation when the future is done already.
            await asyncio.wait([changed], timeout=seconds)
        finally:
            for sock in sockets:
                loop.remove_writer(sock)
        return writable
