"""Byte streams: how they are opened, and TLS.

TLS goes over any non-blocking byte stream, which may be TLS itself. An ``SSLSocket`` will not do: its
timeout is one for all threads, its ``send`` can lock up behind a ``recv`` that waits, and one that
wraps another writes past it. Here, OpenSSL works in memory.
"""

from __future__ import annotations

import contextlib
import math
import queue
import select
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from typing import Any, TypeAlias

from adapters.shared.addresses import (
    ADDRESS_DELAY,
    RETRY_DELAY,
    Address,
    begin_connect,
    connect_failure,
    finish_connect,
    in_order,
    look_up_number,
)
from adapters.shared.connecting import Connecting
from adapters.shared.tls import TLSInfo, client_context, tls_info
from adapters.shared.tunnels import socks_client, socks_errors
from wsproto_core.connect.proxy import Proxy
from wsproto_core.types import BytesLike

__all__ = ["Stream", "TLSStream", "open_stream"]

# Bytes encrypted or decrypted at once. A record has at most 16 KiB (RFC 8446 section 5.1).
RECORDS = 2**16


class TLSStream:
    """A byte stream within TLS. Its methods are those of a non-blocking socket, with the same lock as that.

    Attributes:
        established: whether TLS's handshake is done.
        info: what that has left; ``None`` before.
        ended: whether all that :meth:`recv` still returns is the end, or an error.
        unsent: encrypted bytes that wait to be written.
    """

    def __init__(self, stream: Stream, context: ssl.SSLContext, **names: Any) -> None:
        """
        Args:
            stream: what it goes over.
            context: certificates and settings.
            names: ``server_side`` or ``server_hostname``, as in :meth:`ssl.SSLContext.wrap_bio`.
        """
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, **names)
        self._accepted = 0  # bytes that ``unsent`` is made of
        self.ended = False
        self._error: ssl.SSLError | None = None
        self._eof_sent = False
        self.established = False
        self.info: TLSInfo | None = None
        self.unsent = b""

    def recv(self, size: int) -> bytes:
        """Return all that is there, decrypted; nothing at the end.

        Raises:
            BlockingIOError: there is nothing yet.
            OSError: the stream or TLS has failed.
        """
        data = b""
        while not (data or self.ended):
            received = self._stream.recv(size)
            if self._eof_sent:
                # What comes now means nothing, and need not be decrypted.
                return received
            if received:
                self._incoming.write(received)
            else:
                self._incoming.write_eof()
            data = self._decrypt()
        if not data and self._error is not None:
            raise self._error
        return data

    def _decrypt(self) -> bytes:
        """Decrypt all that has come in: what stayed here would not make the socket readable."""
        pieces = [b""]
        try:
            self._shake_hands()
            while self._incoming.pending or self._incoming.eof:
                pieces.append(self._object.read(RECORDS))
                if not pieces[-1]:
                    self.ended = True
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.ended = True
            # A peer that does not say goodbye in TLS may have done so in WebSocket.
            if not (self.established and isinstance(error, ssl.SSLEOFError)):
                self._error = error
        # The handshake goes on, a key is changed, an error is told: the next flush does it.
        self.unsent += self._outgoing.read()
        return b"".join(pieces)

    def _shake_hands(self) -> None:
        if not self.established:
            self._object.do_handshake()
            self.info = tls_info(self._object)
            self.established = True

    def send(self, data: BytesLike) -> int:
        """Encrypt and write the beginning of ``data``; return its size when all of that is written.

        Raises:
            BlockingIOError: it is not: call this again, with the same data.
            ssl.SSLWantReadError: something has to be received first, as in TLS's handshake.
            OSError: the stream or TLS has failed.
        """
        self.flush()
        if not self._accepted:
            try:
                self._shake_hands()
                self._accepted = self._object.write(data[:RECORDS])
            except ssl.SSLError:
                # Not for an interruption, which must come out.
                self.unsent += self._outgoing.read()
                self.flush()
                raise
            self.unsent += self._outgoing.read()
            self.flush()
        count, self._accepted = self._accepted, 0
        return count

    def flush(self) -> None:
        """Write what is encrypted.

        Raises:
            BlockingIOError: not all of it could be written.
            OSError: the stream has failed.
        """
        while self.unsent:
            self.unsent = self.unsent[self._stream.send(self.unsent) :]

    def shutdown(self, how: int) -> None:
        """Say goodbye in TLS, then shut down what it goes over.

        Raises:
            BlockingIOError: not all could be written: call this again.
            OSError: the stream has failed.
        """
        # It would like to wait for the peer's goodbye.
        with contextlib.suppress(ssl.SSLError):
            self._object.unwrap()
        self.unsent += self._outgoing.read()
        self.flush()
        self._stream.shutdown(how)
        self._eof_sent = True


Stream: TypeAlias = socket.socket | TLSStream


# Clients


def open_stream(connecting: Connecting) -> tuple[socket.socket, TLSStream | None]:
    """Connect to where a client wants to go; return the socket, and TLS over it.

    Raises:
        HandshakeTimeout: it is too late.
        OSError: it cannot be reached.
    """
    try:
        sock = open_socket(connecting)
    except TimeoutError as error:
        if connecting.deadline is None or time.monotonic() < connecting.deadline:
            raise
        raise connecting.timed_out() from error
    try:
        return sock, secure(sock, connecting)
    except BaseException:
        sock.close()
        raise


def secure(sock: socket.socket, connecting: Connecting) -> TLSStream | None:
    """Put on a socket what the server is to be reached by: TLS to the proxy, its tunnel, TLS."""
    stream: Stream = sock
    proxy = connecting.proxy
    if proxy is not None and not proxy.is_socks:
        if proxy.scheme == "https":
            stream = start_tls(sock, connecting.proxy_ssl, connecting.proxy_server_hostname)
        open_tunnel(sock, stream, connecting)
    if connecting.ssl:
        stream = start_tls(stream, connecting.ssl, connecting.server_hostname)
    return stream if isinstance(stream, TLSStream) else None


def start_tls(stream: Stream, context: Any, server_hostname: str | None) -> TLSStream:
    return TLSStream(stream, client_context(context), server_hostname=server_hostname)


def open_tunnel(sock: socket.socket, stream: Stream, connecting: Connecting) -> None:
    """Ask an HTTP proxy for a tunnel.

    Raises:
        ProxyError: it does not open one.
        HandshakeTimeout: it is too late.
        OSError: the proxy has closed the stream.
    """
    sock.setblocking(False)
    tunnel = connecting.tunnel()
    request = tunnel.request.serialize()
    while not tunnel.open:
        events = select.POLLIN
        established = isinstance(stream, TLSStream) and stream.established
        try:
            while request:
                request = request[stream.send(request) :]
        except ssl.SSLWantReadError:
            pass
        except BlockingIOError:
            events |= select.POLLOUT
        try:
            data = stream.recv(RECORDS)
        except BlockingIOError:
            # What came may have been TLS's handshake, which goes on by sending, or has ended.
            tls = isinstance(stream, TLSStream) and (stream.unsent or stream.established > established)
            if events & select.POLLOUT or not tls:
                poll(sock, events, connecting)
        else:
            if data:
                tunnel.receive_data(data)
            else:
                tunnel.receive_eof()


def poll(sock: socket.socket, events: int, connecting: Connecting) -> None:
    poller = select.poll()
    poller.register(sock, events)
    left = None if connecting.deadline is None else (connecting.deadline - time.monotonic()) * 1000
    if (left is not None and left <= 0) or not poller.poll(left):
        raise connecting.timed_out()


class TimedSocket:
    """A blocking socket whose calls end by one deadline, however many they are: for python-socks.

    Attributes:
        socket: the socket.
    """

    def __init__(self, sock: socket.socket, deadline: float | None) -> None:
        self.socket = sock
        self._deadline = deadline
        self.close = sock.close

    def recv(self, size: int) -> bytes:
        self._set_timeout()
        return self.socket.recv(size)

    def sendall(self, data: bytes) -> None:
        self._set_timeout()
        self.socket.sendall(data)

    def _set_timeout(self) -> None:
        if self._deadline is not None:
            # 0 would mean not to block.
            self.socket.settimeout(max(0.001, self._deadline - time.monotonic()))
        else:
            self.socket.settimeout(None)


def load_socks() -> Any:
    """Import what :func:`.socks_client` needs."""
    from python_socks.sync import Proxy

    return Proxy


def connect_socks(proxy: Proxy, connecting: Connecting) -> socket.socket:
    """Connect through a SOCKS proxy."""

    def connect(dest_host: str, dest_port: int, **others: Any) -> TimedSocket:
        addresses = look_up(dest_host, dest_port, 0, connecting.deadline)
        return TimedSocket(connect_tcp(addresses, None, connecting.deadline), connecting.deadline)

    client = socks_client(load_socks, proxy, connect)
    with socks_errors():
        timed: Any = client.connect(connecting.host, connecting.port)
    return timed.socket  # type: ignore[no-any-return]


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
    """Look up the addresses of a host, within a time that the operating system knows nothing of.

    Raises:
        TimeoutError: the time is over.
        OSError: there are none.
    """

    def call() -> Sequence[Address]:
        return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)

    number = look_up_number(host, port, family)
    if number is not None:
        return number
    if deadline is None:
        return call()
    results: queue.SimpleQueue[Sequence[Address] | Exception] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put(call())
        except Exception as error:
            results.put(error)

    # Nothing can end it, but nobody has to wait for it.
    threading.Thread(target=run, name=f"name lookup of {host}", daemon=True).start()
    try:
        result = results.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        raise TimeoutError(f"the name lookup of {host!r} takes too long") from None
    if isinstance(result, Exception):
        raise result
    return result


def connect_tcp(
    addresses: Sequence[Address], source: Any, deadline: float | None, delay: float | None = ADDRESS_DELAY
) -> socket.socket:
    """Connect to one of a host's addresses, as RFC 8305 says: the next is tried while one is slow.

    Args:
        addresses: what the name stands for.
        source: the address to connect from; ``None`` for any.
        deadline: when to give up; ``None`` for never.
        delay: seconds until the next address is tried; ``None`` waits for each to fail.

    Raises:
        TimeoutError: none has answered in time.
        OSError: none can be connected to: see :func:`.connect_failure`.
    """
    attempts: dict[int, tuple[socket.socket, Address]] = {}
    errors: list[OSError] = []
    poller = select.poll()
    untried = iter(in_order(addresses))
    try:
        while True:
            address = next(untried, None)
            if address is not None:
                try:
                    sock = begin_connect(address, source)
                except OSError as error:
                    errors.append(error)
                    continue
                attempts[sock.fileno()] = sock, address
                poller.register(sock, select.POLLOUT)
            elif not attempts:
                raise connect_failure(errors)
            for fd, _ in poller.poll(_milliseconds(deadline, None if address is None else delay)):
                poller.unregister(fd)
                sock, tried = attempts.pop(fd)
                try:
                    finish_connect(sock, tried)
                except OSError as error:
                    sock.close()
                    errors.append(error)
                else:
                    return sock
            if deadline is not None and deadline <= time.monotonic():
                raise TimeoutError("no address has answered in time")
    finally:
        for sock, _ in attempts.values():
            sock.close()
        # They refer to this frame.
        errors.clear()


def _milliseconds(deadline: float | None, delay: float | None) -> float | None:
    """Return how long to poll: until a deadline, but no longer than a delay in seconds."""
    left = [] if deadline is None else [max(0.0, deadline - time.monotonic())]
    if delay is not None:
        left.append(delay)
    return math.ceil(min(left) * 1000) if left else None


def connect_unix(path: str, deadline: float | None) -> socket.socket:
    """Connect to a Unix socket.

    Raises:
        OSError: nobody listens there, or not in time.
    """
    while True:
        try:
            return begin_connect((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path))
        except BlockingIOError:
            if deadline is not None and deadline <= time.monotonic():
                raise TimeoutError(f"{path!r} does not accept the connection") from None
            time.sleep(RETRY_DELAY)
