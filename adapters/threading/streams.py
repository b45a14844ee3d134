"""Byte streams: how they are opened, and TLS.

TLS goes over a non-blocking socket, and may go over the TLS of a proxy. An ``SSLSocket`` is not usable: all
threads share its timeout, its ``send`` can block while its ``recv`` waits, and an ``SSLSocket`` over another
``SSLSocket`` writes to the socket of the latter. So OpenSSL works in memory.

A client's stream is opened by the steps that all adapters share. These are coroutines, which block the
thread here, and never suspend: :func:`run` runs them.
"""

from __future__ import annotations

import math
import select
import socket
import ssl
import threading
import time
from collections.abc import Coroutine, Iterable, Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, TypeAlias, TypeVar

from wsproto_core.types import BytesLike

from ..shared.addresses import Address
from ..shared.memory_tls import RECORDS, MemoryTLS
from ..shared.streams import SocketClientStream
from ..shared.tunnels import SocksRuntime

__all__ = ["SocketStream", "Stream", "TLSStream", "run", "sleep"]

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that does not suspend, because whatever it awaits blocks the thread."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def sleep(seconds: float) -> None:
    """Block the thread for a time."""
    time.sleep(seconds)


class TLSStream(MemoryTLS):
    """A byte stream over TLS, with the methods of a non-blocking socket. They are called with the lock.

    Attributes:
        sock: the socket.
    """

    sock: socket.socket

    def __init__(self, *arguments: Any, **names: Any) -> None:
        """
        Args:
            arguments, names: see :class:`.MemoryTLS`.
        """
        super().__init__(*arguments, **names)
        self._records = b""  # encrypted bytes that the socket has not taken yet
        self._accepted = 0  # size of the application's data that is encrypted in them
        self._eof_sent = False

    def recv(self, size: int) -> bytes:
        """Read and decrypt; return the data, which is empty at the end of the stream.

        Raises:
            BlockingIOError: there is no data yet.
            OSError: the stream or TLS has failed.
        """
        data = b""
        while not (data or self.ended):
            received = self.sock.recv(size)
            if self._eof_sent:
                # Data after the end has no meaning, and need not be decrypted.
                return received
            data = self.receive(received)
        if not data and self.error is not None:
            raise self.error
        return data

    def send(self, data: BytesLike) -> int:
        """Encrypt and write the first bytes of ``data``; return their number when all of them are written.

        Raises:
            BlockingIOError: not all are written: call this again with the same data.
            ssl.SSLWantReadError: bytes have to be received first, as in TLS's handshake.
            OSError: the stream or TLS has failed.
        """
        self.flush()
        if not self._accepted:
            try:
                self._accepted = self.encrypt(data)
            except ssl.SSLError:
                self.flush()
                raise
            self.flush()
        count, self._accepted = self._accepted, 0
        return count

    def flush(self) -> None:
        """Write the encrypted bytes.

        Raises:
            BlockingIOError: not all of them could be written.
            OSError: the stream has failed.
        """
        self._records += self.take_unsent()
        while self._records:
            self._records = self._records[self.sock.send(self._records) :]

    def shutdown(self, how: int) -> None:
        """End TLS, then shut down the socket.

        Raises:
            BlockingIOError: not all bytes could be written: call this again.
            OSError: the stream has failed.
        """
        self.end()
        self.flush()
        self.sock.shutdown(how)
        self._eof_sent = True


Stream: TypeAlias = socket.socket | TLSStream


# Clients


class SocketStream(SocketClientStream):
    """A socket with calls that block until one deadline, and TLS over it."""

    tls: TLSStream | None
    _make_tls = TLSStream

    def __init__(self, deadline: float | None) -> None:
        """
        Args:
            deadline: the time in seconds at which all calls fail; ``None`` for no limit.
        """
        self._deadline = deadline
        self._socks = SocksRuntime(load_socks, self._wrap, lambda _: self.sock)

    async def _wrap(self, sock: socket.socket) -> Any:
        self.sock = sock
        return SimpleNamespace(recv=self._recv, sendall=self._send_all, close=sock.close)

    def _time_left(self) -> float | None:
        """Return the seconds until the deadline; ``None`` for no limit.

        Raises:
            TimeoutError: the deadline has passed.
        """
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the stream was not opened in time")
        return left

    async def _getaddrinfo(self, host: str, port: int, **names: int) -> Sequence[Address]:
        """Look up the addresses of a host, until the deadline: the system's function has no timeout."""
        future: Future[Sequence[Address]] = Future()
        values = [names.get(name, 0) for name in ("family", "type", "proto", "flags")]

        def look_up() -> None:
            try:
                future.set_result(socket.getaddrinfo(host, port, *values))
            except Exception as error:
                future.set_exception(error)

        # The thread cannot be ended, but the caller does not have to wait for it: not after the deadline, and
        # not after an interruption.
        threading.Thread(target=look_up, name=f"name lookup of {host}", daemon=True).start()
        try:
            return future.result(self._time_left())
        except TimeoutError:
            raise TimeoutError(f"the name lookup of {host!r} takes too long") from None

    async def wait_writable(
        self, sockets: Iterable[socket.socket], seconds: float | None
    ) -> Iterable[socket.socket]:
        poller = select.poll()
        for sock in sockets:
            poller.register(sock, select.POLLOUT)
        limits = [limit for limit in (seconds, self._time_left()) if limit is not None]
        ready = {fd for fd, _ in poller.poll(math.ceil(min(limits) * 1000) if limits else None)}
        self._time_left()
        return [sock for sock in sockets if sock.fileno() in ready]

    async def sleep(self, seconds: float) -> None:
        self._time_left()
        await sleep(seconds)

    async def receive_bytes(self) -> bytes:
        return self._recv(RECORDS)

    def _recv(self, size: int) -> bytes:
        self.sock.settimeout(self._time_left())
        return self.sock.recv(size)

    async def send_bytes(self, data: bytes) -> None:
        self._send_all(data)

    def _send_all(self, data: bytes) -> None:
        self.sock.settimeout(self._time_left())
        self.sock.sendall(data)


def load_socks() -> Any:
    """Import the class for :class:`.SocksRuntime`, and make its method a coroutine that blocks."""
    from python_socks.sync import Proxy

    def create(forward: Any, **arguments: Any) -> Any:
        forwarding: Any = SimpleNamespace(connect=lambda **to: run(forward.connect(**to)))
        proxy = Proxy(**arguments, forward=forwarding)

        async def connect(*to: Any, **options: Any) -> Any:
            return proxy.connect(*to, **options)

        return SimpleNamespace(connect=connect)

    return create
