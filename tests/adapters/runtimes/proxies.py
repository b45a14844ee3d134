"""Proxies made by hand, in threads: one that speaks HTTP, and one that speaks SOCKS.

They do as they are told, which may be wrong. What clients ask them for is kept.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Self

from tests.core.helpers import Head, parse_head

HOST = "127.0.0.1"


class Proxy(ABC):
    """A listening socket, and a thread for each connection.

    Attributes:
        port: where it listens.
        errors: what was unexpected.
        waits: set when a client's end is waited for.
    """

    scheme: str

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.errors: list[BaseException] = []
        self.waits = threading.Event()
        self._stop, self._stopped = socket.socketpair()
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._start(self._accept)

    @property
    def url(self) -> str:
        return self.url_for()

    def url_for(self, user_info: str = "", scheme: str = "") -> str:
        return f"{scheme or self.scheme}://{user_info}{HOST}:{self.port}"

    def _start(self, function: Any, *args: Any) -> None:
        thread = threading.Thread(target=self._run, args=(function, *args), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, function: Any, *args: Any) -> None:
        try:
            function(*args)
        except OSError:
            pass  # The client has gone, or the test is over.
        except BaseException as error:
            self.errors.append(error)

    def _accept(self) -> None:
        while True:
            readable, _, _ = select.select([self._listener, self._stopped], [], [])
            if self._stopped in readable:
                return
            sock, _ = self._listener.accept()
            # Another descriptor, by which it can be shut down whatever TLS makes of this one.
            self._sockets.append(sock.dup())
            self._start(self._handle, sock, self._sockets[-1])

    def _handle(self, sock: socket.socket, same: socket.socket) -> None:
        with contextlib.closing(sock), contextlib.closing(same):
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            with contextlib.closing(sock):
                self.handle(sock)

    @abstractmethod
    def handle(self, client: socket.socket) -> None:
        """Do what there is to do on a connection."""

    def wait_for_end(self, client: socket.socket) -> bytes:
        """Return all that comes until the client closes the stream, or the test is over."""
        received = b""
        self.waits.set()
        while True:
            if not _pending(client):
                readable, _, _ = select.select([client, self._stopped], [], [])
                if self._stopped in readable:
                    return received
            data = client.recv(65536)
            if not data:
                return received
            received += data

    def relay(self, one: socket.socket, other: socket.socket) -> None:
        """Pass on what comes from either until either ends, at once and whatever its size."""
        unsent: dict[socket.socket, bytearray] = {one: bytearray(), other: bytearray()}
        peer = {one: other, other: one}
        for sock in peer:
            sock.setblocking(False)
        while True:
            pending = [sock for sock in peer if _pending(sock)]
            readable, writable, _ = select.select(
                [one, other, self._stopped],
                [sock for sock in peer if unsent[sock]],
                [],
                0 if pending else None,
            )
            if self._stopped in readable:
                return
            for sock in {*pending, *readable}:
                with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                    data = sock.recv(65536)
                    if not data:
                        self._flush(unsent)
                        return
                    unsent[peer[sock]] += data
            for sock in writable:
                with contextlib.suppress(BlockingIOError, ssl.SSLWantWriteError):
                    del unsent[sock][: sock.send(unsent[sock])]

    def _flush(self, unsent: dict[socket.socket, bytearray]) -> None:
        for sock, data in unsent.items():
            with contextlib.suppress(OSError):
                sock.setblocking(True)
                sock.settimeout(1)
                sock.sendall(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.close()
        self._threads[0].join()
        for sock in self._sockets:
            # Whoever reads it sees its end: clients may close theirs later, when their loop turns again.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join()
        self._stopped.close()
        self._listener.close()
        if self.errors and exc_info[0] is None:
            raise self.errors[0]


def _pending(sock: socket.socket) -> int:
    return sock.pending() if isinstance(sock, ssl.SSLSocket) else 0


def _read_exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data


def _connect(host: str, port: int) -> socket.socket:
    return socket.create_connection((host, port))


class HTTPProxy(Proxy):
    """Opens tunnels, or answers all requests by the same bytes.

    Attributes:
        requests: the heads of all requests.
        leftovers: what clients have sent that were refused, after their requests.
        names: where a host leads to, if that is somewhere else.
    """

    def __init__(
        self,
        answer: bytes | None = None,
        *,
        context: ssl.SSLContext | None = None,
        then: str = "close",
        head: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n",
    ) -> None:
        """
        Args:
            answer: what to answer instead of opening a tunnel.
            context: speak TLS.
            then: after that answer: "close", "reset", or "wait" for the client to close.
            head: what to answer when a tunnel is open.
        """
        self.scheme = "http" if context is None else "https"
        self.requests: list[Head] = []
        self.leftovers: list[bytes] = []
        self.names: dict[str, str] = {}
        self._answer = answer
        self._then = then
        self._head = head
        super().__init__(context)

    def handle(self, client: socket.socket) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            data = client.recv(1)
            if not data:
                return
            received += data
        request = parse_head(received)
        self.requests.append(request)
        if self._answer is None:
            method, target, _ = request.start.split(" ")
            assert method == "CONNECT"
            host, _, port = target.rpartition(":")
            host = host.strip("[]")
            with contextlib.closing(_connect(self.names.get(host, host), int(port))) as server:
                client.sendall(self._head)
                self.relay(client, server)
            return
        client.sendall(self._answer)
        if self._then == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        elif self._then == "wait":
            self.leftovers.append(self.wait_for_end(client))


class Target(NamedTuple):
    """What a SOCKS proxy is asked to connect to, and by whom."""

    version: int
    host: str
    is_name: bool
    port: int
    username: str | None = None
    password: str | None = None


class SocksProxy(Proxy):
    """Speaks SOCKS 4, 4a (an extension of 4) and 5 (RFC 1928, RFC 1929).

    Attributes:
        targets: what clients have asked for.
    """

    scheme = "socks5"

    def __init__(
        self, credentials: tuple[str, str] | None = None, *, code: int = 0, silent: bool = False
    ) -> None:
        """
        Args:
            credentials: what clients have to know, with SOCKS 5.
            code: answer by this code instead of connecting.
            silent: read, and do not answer at all.
        """
        self.targets: list[Target] = []
        self.leftovers: list[bytes] = []
        self._credentials = credentials
        self._code = code
        self._silent = silent
        super().__init__()

    def handle(self, client: socket.socket) -> None:
        if self._silent:
            self.leftovers.append(self.wait_for_end(client))
            return
        (version,) = _read_exactly(client, 1)
        assert version in (4, 5)
        target = self._read_target_5(client) if version == 5 else self._read_target_4(client)
        if target is None:
            return
        self.targets.append(target)
        if self._code:
            client.sendall(
                bytes((5, self._code, 0, 1)) + bytes(6) if version == 5 else bytes((0, self._code)) + bytes(6)
            )
            return
        with contextlib.closing(_connect(target.host, target.port)) as server:
            client.sendall(bytes((5, 0, 0, 1)) + bytes(6) if version == 5 else bytes((0, 90)) + bytes(6))
            self.relay(client, server)

    def _read_target_4(self, client: socket.socket) -> Target:
        command, *port = _read_exactly(client, 3)
        assert command == 1
        address = _read_exactly(client, 4)
        user = self._read_text(client)
        # "an invalid IP address 0.0.0.x, with x nonzero" (SOCKS 4A)
        is_name = address[:3] == bytes(3) and address[3] != 0
        host = self._read_text(client) if is_name else socket.inet_ntoa(address)
        return Target(4, host, is_name, int.from_bytes(bytes(port), "big"), user or None)

    def _read_text(self, client: socket.socket) -> str:
        text = b""
        while (byte := _read_exactly(client, 1)) != b"\0":
            text += byte
        return text.decode()

    def _read_target_5(self, client: socket.socket) -> Target | None:
        (count,) = _read_exactly(client, 1)
        methods = _read_exactly(client, count)
        method = 0 if self._credentials is None else 2
        if method not in methods:
            client.sendall(b"\x05\xff")
            return None
        client.sendall(bytes((5, method)))
        username = password = None
        if method == 2:
            assert _read_exactly(client, 1) == b"\x01"
            username, password = (_read_exactly(client, *_read_exactly(client, 1)).decode() for _ in range(2))
            good = (username, password) == self._credentials
            client.sendall(b"\x01\x00" if good else b"\x01\x01")
            if not good:
                return None
        version, command, _, kind = _read_exactly(client, 4)
        assert (version, command) == (5, 1)
        if kind == 3:
            host = _read_exactly(client, *_read_exactly(client, 1)).decode()
        else:
            family, length = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            host = socket.inet_ntop(family, _read_exactly(client, length))
        port = int.from_bytes(_read_exactly(client, 2), "big")
        return Target(5, host, kind == 3, port, username, password)
