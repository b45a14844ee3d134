"""How streams are opened, and TLS over streams that do not block."""

from __future__ import annotations

import signal
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from adapters.shared.streams import connect_unix
from adapters.threading import connect, serve, unix_connect
from adapters.threading.streams import SocketStream, TLSStream, run
from tests.ports import free_port
from wsproto_core import ConnectionClosedError, HandshakeTimeout, InvalidHandshake

from .threads import CERTIFICATES, DEADLINE, HOST, Thread


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key")
    return context


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=CERTIFICATES / "localhost.pem")


def echo(websocket: Any) -> None:
    for message in websocket:
        websocket.send(message)


# Names and addresses


def look_up(host: str, deadline: float | None) -> Any:
    return run(SocketStream(deadline)._getaddrinfo(host, 80, family=0, type=socket.SOCK_STREAM))


def connect_tcp(found: list[Any], deadline: float | None) -> socket.socket:
    """Connect to one of these addresses."""

    class Stream(SocketStream):
        async def _look_up(self, host: str, port: int, **names: int) -> Any:
            return found

    return run(Stream(deadline).connect_tcp("", 0, {}))


def test_name_that_does_not_exist() -> None:
    with pytest.raises(socket.gaierror):
        look_up("does-not-exist.invalid", time.monotonic() + DEADLINE)
    with pytest.raises(socket.gaierror):
        look_up("does-not-exist.invalid", None)


def test_interruption_of_a_name_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-C."""
    answered = threading.Event()
    original = socket.getaddrinfo

    def look_up_slowly(host: str, port: int, *arguments: int, **names: int) -> Any:
        if host == "name.invalid":
            # A signal does not interrupt the system's function in the thread that calls it.
            assert threading.current_thread() is not threading.main_thread()
            answered.wait()
        return original(host, port, *arguments, **names)

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(socket, "getaddrinfo", look_up_slowly)
    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            look_up("name.invalid", None)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        answered.set()
    end_of_threads = time.monotonic() + DEADLINE
    while any("name.invalid" in each.name for each in threading.enumerate()):
        assert time.monotonic() < end_of_threads
        time.sleep(0.01)


def test_name_that_cannot_be_looked_up() -> None:
    with pytest.raises(UnicodeError):
        look_up("x" * 64 + ".invalid", time.monotonic() + DEADLINE)


def address(port: int, host: str = HOST) -> Any:
    return socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port)


def refused() -> Any:
    """An address where nobody listens."""
    return address(free_port())


def test_next_address() -> None:
    with socket.create_server((HOST, 0)) as listener:
        good = address(listener.getsockname()[1])
        with connect_tcp([refused(), good], None) as sock:
            assert sock.getpeername() == good[4]


def test_no_address() -> None:
    with pytest.raises(ConnectionRefusedError) as info:
        connect_tcp([refused(), refused()], time.monotonic() + DEADLINE)
    (note,) = info.value.__notes__
    assert "refused" in note


def test_address_that_does_not_answer() -> None:
    """The next one is tried meanwhile."""
    with socket.create_server((HOST, 0), backlog=0) as full, socket.create_server((HOST, 0)) as listener:
        silent, good = address(full.getsockname()[1]), address(listener.getsockname()[1])
        fill = [socket.socket() for _ in range(8)]
        for sock in fill:
            sock.setblocking(False)
            sock.connect_ex(silent[4])
        with connect_tcp([silent, good], time.monotonic() + 2) as sock:
            assert sock.getpeername() == good[4]
        with pytest.raises(HandshakeTimeout):
            connect(f"ws://{HOST}:{silent[4][1]}/", open_timeout=0.3)()
        for sock in fill:
            sock.close()


def test_source_address() -> None:
    with serve(echo, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        with connect(f"ws://{HOST}:{port}/", source_address=("127.0.0.3", 0)) as websocket:
            assert websocket.local_address[0] == "127.0.0.3"


def test_source_address_of_another_family() -> None:
    with pytest.raises(OSError, match="family"):
        connect(f"ws://{HOST}:{free_port()}/", source_address=("::1", 0))()


def test_unix_socket_that_does_not_accept(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        with run(connect_unix(path, SocketStream(None).sleep)), pytest.raises(TimeoutError):
            run(connect_unix(path, SocketStream(time.monotonic() + 0.2).sleep))
        with pytest.raises(HandshakeTimeout):
            unix_connect(path, open_timeout=0.2)()


# TLS


def test_certificate_of_somebody_else() -> None:
    with serve(echo, HOST, 0, ssl=server_context()) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(f"wss://localhost:{port}/", host=HOST)()
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(f"wss://example.com:{port}/", host=HOST, ssl=client_context())()
        with connect(f"wss://localhost:{port}/", host=HOST, ssl=client_context()) as websocket:
            websocket.send("a")
            assert websocket.recv() == "a"


def test_server_that_does_not_speak_tls() -> None:
    with serve(echo, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ssl.SSLError):
            connect(f"wss://localhost:{port}/", host=HOST, ssl=client_context())()


def test_client_that_does_not_speak_tls() -> None:
    with serve(echo, HOST, 0, ssl=server_context()) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises((InvalidHandshake, OSError)):
            connect(f"ws://localhost:{port}/", host=HOST)()


class Relay:
    """Passes bytes on between two ends; the test may change what the server says."""

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        self.change: Any = lambda data: data
        self._target = port
        self._threads = [Thread(self._run)]

    def _run(self) -> None:
        self.client, _ = self.listener.accept()
        self.listener.close()
        self.server = socket.create_connection((HOST, self._target))
        self._threads.append(Thread(self._pass, self.client, self.server, lambda data: data))
        self._pass(self.server, self.client, lambda data: self.change(data))

    def _pass(self, source: socket.socket, target: socket.socket, change: Any) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(change(data))
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        for thread in self._threads:
            thread.result()
        self.client.close()
        self.server.close()


@pytest.mark.parametrize("how", ["truncated", "corrupt"])
def test_stream_that_breaks_under_tls(how: str) -> None:
    with serve(echo, HOST, 0, ssl=server_context()) as server:
        relay = Relay(server.sockets[0].getsockname()[1])
        uri = f"wss://localhost:{relay.port}/"
        websocket = connect(uri, host=HOST, ssl=client_context(), close_timeout=0.5)()
        websocket.send("a")
        assert websocket.recv() == "a"
        if how == "truncated":
            relay.client.shutdown(socket.SHUT_WR)
        else:
            relay.change = lambda data: data[:-1] + bytes([data[-1] ^ 1])
            websocket.send("b")
        with pytest.raises(ConnectionClosedError) as info:
            websocket.recv(timeout=DEADLINE)
        assert websocket.close_code == 1006
        cause = info.value.__cause__
        assert isinstance(cause, EOFError if how == "truncated" else ssl.SSLError)
        websocket.close()
        relay.close()


def test_nothing_is_lost_before_an_error_of_tls() -> None:
    """Good records and a bad one in one read."""
    left, right = socket.socketpair()
    with left, right:
        ours, theirs = pair(left, right)
        for data in (b"a", b"b"):
            theirs.send(data)
        left.setblocking(True)
        encrypted = left.recv(65536) + b"\x17\x03\x03\x00\x13" + b"x" * 19
        left.setblocking(False)
        right.sendall(encrypted)
        # What the peer has sent comes back to it: the keys differ, so the first record is bad.
        fed = FedStream(encrypted)
        ours.sock = fed  # type: ignore[assignment]
        assert ours.recv(65536) == b"ab"
        with pytest.raises(ssl.SSLError):
            ours.recv(65536)


class FedStream:
    """Has one thing to read."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def recv(self, size: int) -> bytes:
        data, self._data = self._data, b""
        if not data:
            raise BlockingIOError
        return data

    def send(self, data: bytes) -> int:
        return len(data)


def over(stream: Any, context: ssl.SSLContext, **names: Any) -> TLSStream:
    """TLS over a socket or over TLS."""
    tls = TLSStream(context, None if isinstance(stream, socket.socket) else stream, **names)
    tls.sock = stream if isinstance(stream, socket.socket) else stream.sock
    tls.sock.setblocking(False)
    return tls


def pair(left: Any, right: Any) -> tuple[TLSStream, TLSStream]:
    """Two ends of TLS over two ends of a stream, after the handshake."""
    ours = over(left, client_context(), server_hostname="localhost")
    theirs = over(right, server_context(), server_side=True)
    while not (ours.established and theirs.established):
        for end in (ours, theirs):
            try:
                end.send(b"")
            except (BlockingIOError, ssl.SSLWantReadError):
                receive(end)
    receive(ours)
    return ours, theirs


def receive(end: Any) -> bytes:
    """Receive what is there; what TLS has to say to that is said."""
    try:
        data: bytes = end.recv(65536)
    except BlockingIOError:
        data = b""
    end.flush()
    return data


@pytest.mark.parametrize("layers", [1, 2])
def test_tls_within_tls(layers: int) -> None:
    left, right = socket.socketpair()
    with left, right:
        ours, theirs = pair(left, right)
        if layers == 2:
            ours, theirs = pair(ours, theirs)
        for sender, receiver in ((ours, theirs), (theirs, ours)):
            data = bytes(range(256)) * 4000
            rest, received = memoryview(data), b""
            while len(received) < len(data):
                try:
                    if rest:
                        rest = rest[sender.send(rest) :]
                except BlockingIOError:
                    assert rest
                received += receive(receiver)
            assert received == data
        ours.shutdown(socket.SHUT_WR)
        assert theirs.recv(65536) == b""
        assert theirs.recv(65536) == b""
        theirs.shutdown(socket.SHUT_WR)
        while ours.recv(65536):
            pass


def test_large_messages_both_ways_within_tls() -> None:
    large = bytes(range(256)) * 4000

    def handler(websocket: Any) -> None:
        for _ in range(3):
            websocket.send(large)
        for _ in range(3):
            assert websocket.recv() == large

    options: dict[str, Any] = {"compression": None, "max_queue": None, "read_limit": None}
    with serve(handler, HOST, 0, ssl=server_context(), **options) as server:
        port = server.sockets[0].getsockname()[1]
        with connect(f"wss://localhost:{port}/", host=HOST, ssl=client_context(), **options) as websocket:
            for _ in range(3):
                websocket.send(large, timeout=DEADLINE)
            for _ in range(3):
                assert websocket.recv(timeout=DEADLINE) == large
