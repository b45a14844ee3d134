"""A client's streams on asyncio: sockets that connect, and TLS over them, before there is a transport."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from adapters.shared.memory_tls import RECORDS
from adapters.shared.streams import SocketClientStream
from adapters.shared.tunnels import SocksRuntime

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

    def use(self, stream: socket.socket) -> None:
        self.sock = stream
        stream.setblocking(False)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def start_tls(self, context: Any, server_hostname: str | None) -> None:
        try:
            async with asyncio.timeout(self._handshake_timeout) as timeout:
                await super().start_tls(context, server_hostname)
        except TimeoutError as error:
            if self._handshake_timeout is not None and timeout.expired():
                raise handshake_timed_out(self._handshake_timeout) from error
            raise

    async def receive_bytes(self) -> bytes:
        return await self._loop.sock_recv(self.sock, RECORDS)

    async def send_bytes(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.sock, data)

    async def wait_writable(
        self, sockets: Iterable[socket.socket], seconds: float | None
    ) -> Iterable[socket.socket]:
        loop, event = self._loop, asyncio.Event()
        writable: set[socket.socket] = set()

        def note(sock: socket.socket) -> None:
            writable.add(sock)
            event.set()

        try:
            for sock in sockets:
                loop.add_writer(sock, note, sock)
            # Not wait_for: on CPython 3.11 it loses a cancellation that comes when the event is set already.
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await event.wait()
        finally:
            for sock in sockets:
                loop.remove_writer(sock)
        return writable
