"""Byte streams: how they are opened, and TLS.

TLS goes over any non-blocking byte stream, which may be TLS itself. An ``SSLSocket`` is not usable: all
threads share its timeout, its ``send`` can block while its ``recv`` waits, and an ``SSLSocket`` over another
``SSLSocket`` writes to the socket of the latter. So OpenSSL works in memory.
"""

from __future__ import annotations

import math
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeAlias, TypeVar

from adapters.shared.addresses import (
    ADDRESS_DELAY,
    RETRY_DELAY,
    Address,
    AddressRace,
    begin_connect,
    look_up_number,
)
from adapters.shared.client import Connecting
from adapters.shared.memory_tls import RECORDS, MemoryTLS
from adapters.shared.tls import client_context
from adapters.shared.tunnels import socks_client, socks_errors
from wsproto_core.connect.proxy import Proxy
from wsproto_core.types import BytesLike

__all__ = ["Stream", "TLSStream", "open_stream"]

T = TypeVar("T")


class TLSStream(MemoryTLS):
    """A byte stream over TLS, with the methods of a non-blocking socket. They are called with the lock."""

    def __init__(self, stream: Stream, context: ssl.SSLContext, **names: Any) -> None:
        """
        Args:
            stream: the stream below TLS.
            context, names: see :class:`.MemoryTLS`.
        """
        super().__init__(context, **names)
        self._stream = stream
        self._accepted = 0  # size of the application's data that is encrypted in ``unsent``
        self._eof_sent = False

    def recv(self, size: int) -> bytes:
        """Read and decrypt; return the data, which is empty at the end of the stream.

        Raises:
            BlockingIOError: there is no data yet.
            OSError: the stream or TLS has failed.
        """
        data = b""
        while not (data or self.ended):
            received = self._stream.recv(size)
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
        while self.unsent:
            self.unsent = self.unsent[self._stream.send(self.unsent) :]

    def shutdown(self, how: int) -> None:
        """End TLS, then shut down the stream below TLS.

        Raises:
            BlockingIOError: not all bytes could be written: call this again.
            OSError: the stream has failed.
        """
        self.end()
        self.flush()
        self._stream.shutdown(how)
        self._eof_sent = True


Stream: TypeAlias = socket.socket | TLSStream


# Clients


def open_stream(connecting: Connecting) -> tuple[socket.socket, TLSStream | None]:
    """Open a client's stream; return the socket, and TLS over it or ``None``.

    Raises:
        HandshakeTimeout: the deadline has passed.
        ProxyError: the proxy refuses.
        OSError: the server or the proxy cannot be reached.
    """
    try:
        sock = open_socket(connecting)
    except TimeoutError as error:
        if connecting.deadline is None or time.monotonic() < connecting.deadline:
            raise
        raise connecting.timed_out() from error
    try:
        proxy = connecting.proxy
        stream: Stream = sock if proxy is None or proxy.is_socks else open_tunnel(sock, connecting)
        if connecting.ssl:
            stream = start_tls(stream, connecting.ssl, connecting.server_hostname)
    except BaseException:
        sock.close()
        raise
    return sock, stream if isinstance(stream, TLSStream) else None


def start_tls(stream: Any, context: Any, server_hostname: str | None) -> TLSStream:
    return TLSStream(stream, client_context(context), server_hostname=server_hostname)


def open_tunnel(sock: socket.socket, connecting: Connecting) -> Stream:
    """Ask an HTTP proxy for a tunnel; return the socket, or TLS to the proxy over it.

    Raises:
        ProxyError: the proxy refuses.
        HandshakeTimeout: the deadline has passed.
        OSError: the proxy has closed the stream, or TLS has failed.
    """
    timed = TimedSocket(sock, connecting)
    tls: TLSStream | None = None
    if connecting.proxy is not None and connecting.proxy.scheme == "https":
        tls = start_tls(timed, connecting.proxy_ssl, connecting.proxy_server_hostname)
        while not tls.established:
            try:
                tls.send(b"")
            except ssl.SSLWantReadError:
                tls.receive(timed.recv(RECORDS))
                if tls.error is not None:
                    raise tls.error from None
    stream = tls or timed
    tunnel = connecting.tunnel()
    request = tunnel.request.serialize()
    while request:
        request = request[stream.send(request) :]
    while not tunnel.open:
        data = stream.recv(RECORDS)
        if data:
            tunnel.receive_data(data)
        else:
            tunnel.receive_eof()
    if tls is not None:
        tls._stream = sock  # which does not block, from now on
    return tls or sock


class TimedSocket:
    """A socket with calls that block until one deadline: for HTTP proxies and python-socks.

    Attributes:
        socket: the socket.
    """

    def __init__(self, sock: socket.socket, connecting: Connecting) -> None:
        """
        Args:
            sock: the socket.
            connecting: the opening of the connection, which has the deadline.
        """
        self.socket = sock
        self.close = sock.close
        self._connecting = connecting

    def recv(self, size: int) -> bytes:
        return self._call(self.socket.recv, size)

    def send(self, data: BytesLike) -> int:
        return self._call(self.socket.send, data)

    def sendall(self, data: BytesLike) -> None:
        self._call(self.socket.sendall, data)

    def _call(self, function: Callable[[Any], T], argument: Any) -> T:
        deadline = self._connecting.deadline
        # A timeout of 0 would not wait, and raise another error.
        self.socket.settimeout(None if deadline is None else max(1e-6, deadline - time.monotonic()))
        try:
            return function(argument)
        except TimeoutError as error:
            raise self._connecting.timed_out() from error


def load_socks() -> Any:
    """Import the class for :func:`.socks_client`."""
    from python_socks.sync import Proxy

    return Proxy


def connect_socks(proxy: Proxy, connecting: Connecting) -> socket.socket:
    """Connect through a SOCKS proxy."""

    def connect(dest_host: str, dest_port: int, **others: Any) -> TimedSocket:
        addresses = look_up(dest_host, dest_port, 0, connecting.deadline)
        return TimedSocket(connect_tcp(addresses, None, connecting.deadline), connecting)

    client = socks_client(load_socks, proxy, connect)
    with socks_errors():
        timed: TimedSocket = client.connect(connecting.host, connecting.port)
    return timed.socket


def open_socket(connecting: Connecting) -> socket.socket:
    options = connecting.stream_options
    sock: socket.socket | None = options.get("sock")
    if sock is not None:
        return sock
    if options.get("path") is not None:
        return connect_unix(options["path"], connecting.deadline)
    proxy = connecting.proxy
    if proxy is not None and proxy.is_socks:
        return connect_socks(proxy, connecting)
    target = proxy or connecting
    addresses = look_up(target.host, target.port, options.get("family", 0), connecting.deadline)
    delay = options.get("happy_eyeballs_delay", ADDRESS_DELAY)
    return connect_tcp(addresses, options.get("source_address"), connecting.deadline, delay)


def look_up(host: str, port: int, family: int, deadline: float | None) -> Sequence[Address]:
    """Look up the addresses of a host, until a deadline: the operating system's function has no timeout.

    Raises:
        TimeoutError: the deadline has passed.
        OSError: the host has no addresses.
    """
    number = look_up_number(host, port, family)
    if number is not None:
        return number
    future: Future[Sequence[Address]] = Future()

    def run() -> None:
        try:
            future.set_result(socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
        except Exception as error:
            future.set_exception(error)

    # The thread cannot be ended, but the caller does not have to wait for it: not after the deadline, and not
    # after an interruption.
    threading.Thread(target=run, name=f"name lookup of {host}", daemon=True).start()
    try:
        return future.result(None if deadline is None else max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        raise TimeoutError(f"the name lookup of {host!r} takes too long") from None


def connect_tcp(
    addresses: Sequence[Address], source: Any, deadline: float | None, delay: float | None = ADDRESS_DELAY
) -> socket.socket:
    """Connect to one of a host's addresses (RFC 8305): while one does not answer, the next one is tried.

    Args:
        addresses: the addresses of the host.
        source: the address to connect from; ``None`` for any.
        deadline: the time in seconds at which to give up; ``None`` for no limit.
        delay: seconds until the next address is tried; ``None`` waits until an address has failed.

    Raises:
        TimeoutError: no address has answered in time.
        OSError: no address can be connected to: see :func:`.connect_failure`.
    """
    with AddressRace(addresses, lambda address: source, delay) as race:
        while True:
            waits = race.begin_next()
            left = math.inf if deadline is None else max(0.0, deadline - time.monotonic())
            timeout = min(left, math.inf if waits is None else waits)
            poller = select.poll()
            for sock in race.sockets:
                poller.register(sock, select.POLLOUT)
            ready = {fd for fd, _ in poller.poll(None if timeout == math.inf else math.ceil(timeout * 1000))}
            connected = race.finish([sock for sock in race.sockets if sock.fileno() in ready])
            if connected is not None:
                return connected
            if deadline is not None and deadline <= time.monotonic():
                raise TimeoutError("no address has answered in time")


def connect_unix(path: str, deadline: float | None) -> socket.socket:
    """Connect to a Unix socket.

    Raises:
        OSError: no server listens on the path, or the server does not accept in time.
    """
    while True:
        try:
            return begin_connect((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path))
        except BlockingIOError:
            if deadline is not None and deadline <= time.monotonic():
                raise TimeoutError(f"{path!r} does not accept the connection") from None
            time.sleep(RETRY_DELAY)
