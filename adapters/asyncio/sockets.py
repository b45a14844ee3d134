"""A client's streams on asyncio: sockets that connect, and TLS over them, before there is a transport."""

from __future__ import annotations

import asyncio
import errno
import socket
from asyncio import FIRST_COMPLETED
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.shared import addresses
from adapters.shared.addresses import Address
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

    async def connect_tcp(self, host: str, port: int, options: Mapping[str, Any]) -> socket.socket:
        # asyncio's own call does not race unless it is told to, and raises errors of another class if there
        # are several; uvloop's does not race at all.
        look_up = {name: options[name] for name in ("family", "proto", "flags") if name in options}
        found, local = await self._look_up(host, port, **look_up), None
        if options.get("local_addr") is not None:
            local = await self._look_up(*options["local_addr"][:2], **look_up)
        delay = options.get("happy_eyeballs_delay", addresses.ADDRESS_DELAY)
        others = {name: options[name] for name in ("interleave", "all_errors") if name in options}
        with TaskRace(found, local, delay, **others) as race:
            while True:
                seconds = race.begin_next()
                done, _ = await asyncio.wait(race.attempts, timeout=seconds, return_when=FIRST_COMPLETED)
                sock = race.finish(done)
                if sock is not None:
                    return sock

    async def _look_up(self, host: str, port: int, **look_up: int) -> Sequence[Address]:
        number = addresses.look_up_number(host, port, **look_up)
        return number or await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, **look_up)


class TaskRace(addresses.BaseAddressRace[asyncio.Task[socket.socket]]):
    """Tasks that connect to the addresses of one host, each from a local address of the same family."""

    def _begin(self, address: Address) -> asyncio.Task[socket.socket]:
        return asyncio.create_task(self._connect(address))

    async def _connect(self, address: Address) -> socket.socket:
        source = None
        if self._local is not None:
            source = next((each[4] for each in self._local if each[0] == address[0]), None)
            if source is None:
                raise addresses.refusal(errno.EADDRNOTAVAIL, address)
        sock = addresses.open_socket(address, source)
        try:
            await asyncio.get_running_loop().sock_connect(sock, address[4])
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                raise addresses.refusal(error.errno or errno.EIO, address) from error
            raise
        return sock

    def _finish(self, attempt: asyncio.Task[socket.socket], address: Address) -> socket.socket:
        return attempt.result()

    def _give_up(self, attempt: asyncio.Task[socket.socket]) -> None:
        if not attempt.cancel() and attempt.exception() is None:
            attempt.result().close()
