"""A client's streams on asyncio: sockets that connect, and TLS over them, before there is a transport."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from adapters.shared.memory_tls import RECORDS, MemoryTLS
from adapters.shared.streams import ClientStream
from adapters.shared.tls import client_context
from adapters.shared.tunnels import SocksRuntime

from .tls import handshake_timed_out, tls_failure

__all__ = ["SocketStream"]


def load_socks() -> Any:
    """Import the class for :class:`.SocksRuntime`."""
    from python_socks.async_.asyncio import Proxy

    return Proxy


class SocketStream(ClientStream):
    """A socket, and TLS over it.

    Attributes:
        sock: the socket, once it is connected.
        tls: the TLS, which may go over the TLS of a proxy; ``None`` without.
    """

    sock: socket.socket
    _socks = SocksRuntime(load_socks)

    def __init__(self, handshake_timeout: float | None) -> None:
        """
        Args:
            handshake_timeout: seconds for TLS's handshake; ``None`` for no timeout.
        """
        self.tls: MemoryTLS | None = None
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
                await self._shake_hands(
                    MemoryTLS(client_context(context), self.tls, server_hostname=server_hostname)
                )
        except TimeoutError as error:
            if self._handshake_timeout is not None and timeout.expired():
                raise handshake_timed_out(self._handshake_timeout) from error
            raise

    async def _shake_hands(self, tls: MemoryTLS) -> None:
        self.tls = tls
        tls.receive(None, decrypt=False)
        await self._send_records()
        while not tls.established:
            tls.receive(await self._loop.sock_recv(self.sock, RECORDS), decrypt=False)
            await self._send_records()

    async def send(self, data: bytes) -> None:
        if self.tls is None:
            await self._loop.sock_sendall(self.sock, data)
        else:
            self.tls.encrypt(data)
            await self._send_records()

    async def _send_records(self) -> None:
        """Send the encrypted bytes of TLS, among them an alert about its error; raise the error."""
        tls = self.tls
        if tls is None:
            return
        records = tls.take_unsent()
        try:
            if records:
                await self._loop.sock_sendall(self.sock, records)
        finally:
            if tls.error is not None:
                raise tls_failure(tls.error)

    async def receive(self) -> bytes:
        while True:
            data = received = await self._loop.sock_recv(self.sock, RECORDS)
            if self.tls is not None:
                data = self.tls.receive(received)
                await self._send_records()
            if data or not received:
                return data

    async def close(self) -> None:
        if hasattr(self, "sock"):
            self.sock.close()

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
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), seconds)
        finally:
            for sock in sockets:
                loop.remove_writer(sock)
        return writable
