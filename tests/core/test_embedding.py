"""The programs of the embedding guide: do they do what an embedder has to do, whatever happens?

They talk to each other over sockets, and each of them to a peer that misbehaves. The misbehaviour is
written once, for three drivers: the two programs, and the seven steps of :class:`.Protocol` in
memory, where time is virtual.
"""

from __future__ import annotations

import hashlib
import importlib.util
import random
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adapters.websockets.framing import Frame, parse_frame
from tests.patching import replace_method
from wsproto_core import (
    ClientProtocol,
    Close,
    ConnectionClosed,
    Data,
    Event,
    Failure,
    Fragment,
    HandshakeTimeout,
    InvalidHandshake,
    Opcode,
    Ping,
    Pong,
    Protocol,
    Request,
    ServerProtocol,
    Side,
    State,
    StreamAction,
    TimerOverdue,
)
from wsproto_core.handshake.headers import accept_key

DOCS = Path(__file__).parent.parent.parent / "docs"
PROGRAMS = ("embedding_selectors", "embedding_custom_loop")

# Small, so that much is written in part only, and a peer that does not read is soon felt; but not less
# than a segment on the loopback interface: each would wait for a delayed acknowledgement.
SOCKET_BUFFER = 65536


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


selectors_program, custom_program = map(load, PROGRAMS)


# The programs


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("embedding_selectors", ["echo_server", "message: 'Grüß Gott'", "message: 'aaaaaaaaaa'... (500000)"]),
        ("embedding_custom_loop", ["'number 1'", "'number 3'", "closed with 1000"]),
    ],
)
def test_programs_run(program: str, expected: list[str]) -> None:
    path = DOCS / "examples" / f"{program}.py"
    command = [sys.executable, "-X", "utf8", "-W", "error::DeprecationWarning", str(path)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert [line for line in lines if line in expected] == expected


# What the tests do with a connection


class Application:
    """Accepts, and keeps what happens.

    Attributes:
        taking: whether messages are taken.
        echoes: whether they are sent back.
    """

    def __init__(self, protocol: Protocol, *, taking: bool = True, echoes: bool = False) -> None:
        self.protocol = protocol
        self.taking = taking
        self.echoes = echoes
        self.events: list[Event] = []
        self.messages: list[Data] = []
        self.most_unsent = 0
        self.calls = 0
        self.before_write: Callable[[], None] | None = None

    def __call__(self) -> None:
        self.calls += 1
        for event in self.protocol.events(messages=False):
            self.events.append(event)
            if isinstance(event, Request) and isinstance(self.protocol, ServerProtocol):
                self.protocol.accept()
        while self.taking and (self.protocol.writable or not self.echoes):
            message = self.protocol.next_message()
            if message is None:
                break
            self.messages.append(message)
            if self.echoes and self.protocol.state is State.OPEN:
                self.protocol.send(message)
        self.most_unsent = max(self.most_unsent, self.protocol.queued + self.protocol.unwritten)
        if self.before_write is not None:
            before_write, self.before_write = self.before_write, None
            before_write()

    def all(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def error(self) -> BaseException:
        """Why it failed."""
        (failure,) = self.all(Failure)
        assert isinstance(failure, Failure)
        return failure.error


# The programs, behind one interface


class SelectorsLoop:
    def __init__(self) -> None:
        self.loop = selectors_program.Loop()
        self.turn = self.loop.turn
        self.wakers: list[Callable[[], None]] = []

    def add(
        self, sock: socket.socket, protocol: Protocol, application: Callable[[], None]
    ) -> Callable[[], None]:
        """Serve a connection; return what is to be called after commands."""
        connection = selectors_program.Connection(sock, protocol, application)
        self.loop.add(connection)
        return lambda: self.loop.drive(connection)

    def close(self) -> None:
        for connection in self.loop.connections:
            connection.sock.close()
        self.loop.selector.close()


class CustomLoop:
    def __init__(self) -> None:
        self.loop = custom_program.Loop()
        self.turn = self.loop.turn
        self.sockets: list[socket.socket] = []

    def add(
        self, sock: socket.socket, protocol: Protocol, application: Callable[[], None]
    ) -> Callable[[], None]:
        class Connection(custom_program.Connection):  # type: ignore[misc, name-defined]
            def handle_events(self) -> None:
                application()

        self.sockets.append(sock)
        wake_soon: Callable[[], None] = Connection(self.loop, sock, protocol).wake_soon
        return wake_soon

    def close(self) -> None:
        for sock in self.sockets:
            sock.close()
        self.loop.selector.close()


LOOPS: dict[str, type[SelectorsLoop | CustomLoop]] = {"selectors": SelectorsLoop, "custom": CustomLoop}


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection with small buffers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * SOCKET_BUFFER)
        left = socket.socket()
        left.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * SOCKET_BUFFER)
        left.connect(listener.getsockname())
        right = listener.accept()[0]
    for sock in (left, right):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
    return left, right


class Patience:
    """Ends tests that would hang. No test depends on how long it is."""

    def __init__(self) -> None:
        self.end = time.monotonic() + 300

    def check(self) -> None:
        assert time.monotonic() < self.end, "what is waited for does not happen"


# The programs talk to each other


class Pair:
    """A client and a server, each on a loop of its own."""

    def __init__(self, client_loop: str, server_loop: str) -> None:
        self.loops = [LOOPS[client_loop](), LOOPS[server_loop]()]
        self.client: ClientProtocol
        self.server: ServerProtocol

    def open(self, **options: Any) -> None:
        left, right = tcp_pair()
        self.client = ClientProtocol("ws://127.0.0.1/", clock=time.monotonic, **options)
        self.server = ServerProtocol(clock=time.monotonic, **options)
        self.client_application = Application(self.client)
        self.server_application = Application(self.server, echoes=True)
        self.wake_client = self.loops[0].add(left, self.client, self.client_application)
        self.wake_server = self.loops[1].add(right, self.server, self.server_application)
        self.run(lambda: self.client.state is State.OPEN)

    def run(self, until: Callable[[], bool]) -> None:
        patience = Patience()
        while not until():
            patience.check()
            for loop in self.loops:
                loop.turn(0)

    def closed(self) -> bool:
        return self.client.state is State.CLOSED and self.server.state is State.CLOSED

    def finish(self) -> None:
        for loop in self.loops:
            loop.close()


@pytest.fixture(params=[(client, server) for client in LOOPS for server in LOOPS], ids="-".join)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    pair = Pair(*request.param)
    yield pair
    pair.finish()


def test_messages(pair: Pair) -> None:
    pair.open()
    messages: list[Data] = ["", "Hello!", "Grüß Gott", b"", b"\x00\xff", "x" * 70_000, b"y" * 700_000]
    for message in messages:
        pair.client.send(message)
    pair.wake_client()
    received = pair.client_application.messages
    pair.run(lambda: len(received) == len(messages))
    assert received == pair.server_application.messages == messages


def test_large_message(pair: Pair) -> None:
    """Much more than any buffer holds, in both directions."""
    pair.open(max_size=None)
    message = bytes(range(256)) * 20480  # 5 MiB
    pair.client.send(message)
    assert not pair.client.writable
    pair.wake_client()
    pair.run(lambda: 0 < pair.client.unwritten < len(message))
    pair.run(lambda: 0 < pair.server.unwritten < len(message))
    pair.run(lambda: bool(pair.client_application.messages))
    assert pair.client_application.messages == [message]
    assert pair.client.writable
    assert pair.client.unwritten == pair.server.unwritten == 0


def test_backpressure(pair: Pair) -> None:
    """The client sends without end, and does not read: the server stops taking messages."""
    pair.open(ping_interval=None, ping_timeout=None)
    pair.client_application.taking = False
    # Compression makes little of it, so that buffers are soon full.
    message = random.Random(0).randbytes(5000).hex()

    def stuck() -> bool:
        if pair.client.writable:
            pair.client.send(message)
            pair.wake_client()
        return not (pair.client.wants_read or pair.server.wants_read or pair.client.writable)

    pair.run(stuck)
    # not more than the mark and one message
    assert pair.server_application.most_unsent < 2**16 + 2 * len(message)
    sent = pair.client.statistics.messages_sent
    assert len(pair.server_application.messages) < sent

    pair.client_application.taking = True
    pair.wake_client()
    received = pair.client_application.messages
    pair.run(lambda: len(received) == sent)
    assert received == [message] * sent


def test_fragments(pair: Pair) -> None:
    pair.open()
    pair.client.send("a", fin=False)
    pair.client.ping(b"between")
    pair.client.send("b" * 100_000, fin=False)
    pair.client.send("c")
    pair.wake_client()
    pair.run(lambda: bool(pair.client_application.messages))
    assert pair.client_application.messages == ["a" + "b" * 100_000 + "c"]
    assert pair.server_application.all(Ping) == [Ping(b"between")]


@pytest.mark.parametrize("side", Side)
def test_ping(pair: Pair, side: Side) -> None:
    pair.open()
    protocol: Protocol
    if side is Side.CLIENT:
        protocol, wake, application = pair.client, pair.wake_client, pair.client_application
    else:
        protocol, wake, application = pair.server, pair.wake_server, pair.server_application
    payload = protocol.ping()
    wake()
    pair.run(lambda: bool(application.all(Pong)))
    (pong,) = application.all(Pong)
    assert [data for data, _ in pong.answered] == [payload]
    assert protocol.latency > 0


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("code", [1000, 1001, 3000, 4999])
def test_close(pair: Pair, side: Side, code: int) -> None:
    pair.open()
    (pair.client if side is Side.CLIENT else pair.server).close(code, "why not")
    (pair.wake_client if side is Side.CLIENT else pair.wake_server)()
    pair.run(pair.closed)
    assert pair.client.close_code == pair.server.close_code == code
    for application in (pair.client_application, pair.server_application):
        (close,) = application.all(Close)
        # the answer has no reason
        assert close.reason == ("" if application.protocol.side is side else "why not")
        assert application.all(Failure) == []


def test_close_after_a_large_message(pair: Pair) -> None:
    """What was sent before arrives before, and nobody is cut off."""
    pair.open(max_size=None)
    pair.server_application.echoes = False
    message = "ä" * 1_000_000
    pair.client.send(message)
    pair.client.close()
    pair.server.send(message)
    pair.wake_client()
    pair.wake_server()
    pair.run(pair.closed)
    assert pair.server_application.messages == [message]
    assert pair.client.close_code == pair.server.close_code == 1000


@pytest.mark.parametrize("program", ["echo_server", "digest_server", "EchoServer"])
def test_servers_of_the_guide(program: str) -> None:
    """A peer sends without reading: memory is bounded. When it reads, it gets all answers."""
    left, right = tcp_pair()
    if program == "EchoServer":
        loop = custom_program.Loop()
        protocol = custom_program.EchoServer(loop, left).protocol
    else:
        loop = selectors_program.Loop()
        connection = getattr(selectors_program, program)(left)
        loop.add(connection)
        protocol = connection.protocol
    peer = Peer(right, right.close, Side.SERVER)
    peer.reading = False
    peer.send(REQUEST)
    size, count = (100, 20_000) if program == "digest_server" else (1000, 5000)
    peer.send(Frame(True, Opcode.BINARY, b"x" * size).serialize(peer.key) * count)
    patience = Patience()
    while peer.pump() or protocol.writable or protocol.wants_read:
        patience.check()
        loop.turn(0)
        assert protocol.queued + protocol.unwritten < 2**16 + size + 200
    assert peer.unsent
    answers = count * (2 + 64 if program == "digest_server" else 4 + size)
    peer.reading = True
    while peer.pump() or len(peer.received) < answers:
        patience.check()
        loop.turn(0)
    assert len(bytes(peer.received).partition(b"\r\n\r\n")[2]) == answers
    peer.send_frame(Opcode.CLOSE)
    peer.end()
    while protocol.state is not State.CLOSED:
        patience.check()
        peer.pump()
        loop.turn(0.001)
    right.close()
    loop.selector.close()


def test_digest_server() -> None:
    """A message is hashed in pieces: what it is made of is never there as a whole."""
    loop = selectors_program.Loop()
    left, right = tcp_pair()
    connection = selectors_program.digest_server(left)
    loop.add(connection)
    client = ClientProtocol("ws://127.0.0.1/", clock=time.monotonic)
    application = Application(client)
    other = selectors_program.Connection(right, client, application)
    loop.add(other)
    patience = Patience()
    while client.state is not State.OPEN:
        loop.turn(0.001)
    sizes: list[int] = []
    next_fragment = connection.protocol.next_fragment

    def recording() -> Fragment | None:
        fragment: Fragment | None = next_fragment()
        if fragment is not None:
            sizes.append(len(fragment.data))
        return fragment

    replace_method(connection.protocol, "next_fragment", recording)
    message = b"\0" * 5 * 2**20
    client.send(message)
    loop.drive(other)
    while not application.messages:
        patience.check()
        loop.turn()
    assert application.messages == [hashlib.sha256(message).hexdigest()]
    assert sum(sizes) == len(message)
    # not more than the mark and one read
    assert max(sizes) <= 2**17
    client.close()
    loop.drive(other)
    loop.run()
    loop.selector.close()


def test_timers_that_fire_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a loop with coarse timers, a deadline is not forgotten."""
    driver = SocketDriver("custom")
    loop = driver.loop.loop
    call_later = loop.call_later
    monkeypatch.setattr(loop, "call_later", lambda delay, callback: call_later(delay * 0.9, callback))
    application = start(driver, Side.SERVER, open_timeout=0.2, close_timeout=0.2)
    driver.run(closed(application.protocol))
    assert isinstance(application.error, HandshakeTimeout)
    driver.close()


def test_messages_before_the_end() -> None:
    """They are delivered although there is no room for answers, since there will be none."""
    received = []

    class Connection(custom_program.Connection):  # type: ignore[misc, name-defined]
        def message_received(self, message: Data) -> None:
            received.append(message)

    left, right = tcp_pair()
    loop = custom_program.Loop()
    protocol = Protocol(Side.CLIENT, clock=loop.time)
    protocol.send(bytes(10_000_000))
    Connection(loop, left, protocol)
    peer = Peer(right, right.close, Side.CLIENT)
    peer.reading = False
    peer.send_frame(Opcode.TEXT, b"one")
    peer.send_frame(Opcode.TEXT, b"two")
    patience = Patience()
    while protocol.undelivered < 2:
        patience.check()
        peer.pump()
        loop.turn(0.001)
    assert received == []
    peer.send_frame(Opcode.CLOSE)
    peer.end()
    while protocol.state is State.OPEN:
        patience.check()
        peer.pump()
        loop.turn(0.001)
    assert received == ["one", "two"]
    for sock in (left, right, loop.selector):
        sock.close()


def test_a_stream_opened_in_another_way(pair: Pair) -> None:
    left, right = socket.socketpair()
    client = Protocol(Side.CLIENT, clock=time.monotonic)
    server = Protocol(Side.SERVER, clock=time.monotonic)
    client_application, server_application = Application(client), Application(server, echoes=True)
    left.setblocking(False)
    right.setblocking(False)
    client.send("no handshake")
    pair.loops[0].add(left, client, client_application)
    pair.loops[1].add(right, server, server_application)
    pair.run(lambda: bool(client_application.messages))
    assert client_application.messages == ["no handshake"]


# Peers that misbehave. A peer is made by hand, out of bytes, and knows the stream that it is on.


class Stream:
    """A non-blocking byte stream in memory, with the methods of a socket: one end of it."""

    def __init__(self) -> None:
        self.incoming = bytearray()
        self.eof = False  # after what is incoming
        self.is_reset = False
        self.ended = False  # this end's own half
        self.closed = False
        self.other: Stream = self

    def recv(self, size: int) -> bytes:
        if self.incoming:
            data = bytes(self.incoming[:size])
            del self.incoming[:size]
            return data
        if self.is_reset:
            raise ConnectionResetError("reset by peer")
        if self.eof:
            return b""
        raise BlockingIOError

    def send(self, data: bytes | memoryview) -> int:
        if self.is_reset or self.ended:
            raise BrokenPipeError("nobody is there")
        if self.other.closed:
            self.is_reset = True
        room = SOCKET_BUFFER - len(self.other.incoming)
        if room <= 0:
            raise BlockingIOError
        data = bytes(data[:room])
        self.other.incoming += data
        return len(data)

    def shutdown(self, how: int) -> None:
        if self.is_reset:
            raise OSError("not connected")
        self.ended = True
        self.other.eof = True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.other.eof = True
            if self.incoming:  # lost, so the other end is told
                self.abort()

    def abort(self) -> None:
        self.closed = True
        self.other.is_reset = True
        self.other.incoming.clear()


class Peer:
    """The other side, under the command of a test.

    Attributes:
        received: the bytes that it got.
        reading: whether it reads.
        ended: whether it found the end of the stream.
        was_reset: whether it found the stream reset.
    """

    def __init__(self, stream: Any, reset: Callable[[], None], side: Side) -> None:
        self.stream = stream
        self.reset = reset
        self.key = b"" if side is Side.CLIENT else b"\x01\x02\x03\x04"
        self.reading = True
        self.received = bytearray()
        self.unsent = bytearray()
        self.ended = False
        self.was_reset = False
        self.after_sending: Callable[[], None] | None = None

    def pump(self) -> bool:
        """Move bytes; return whether there were any."""
        moved = False
        try:
            while self.unsent:
                count = self.stream.send(memoryview(bytes(self.unsent[:65536])))
                del self.unsent[:count]
                moved = True
        except BlockingIOError:
            pass
        except OSError:
            self.was_reset = True
            self.unsent.clear()
        if not self.unsent and self.after_sending is not None:
            after, self.after_sending = self.after_sending, None
            after()
            moved = True
        if self.reading and not self.ended and not self.was_reset:
            moved = self.read() or moved
        return moved

    def read(self) -> bool:
        try:
            data = self.stream.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            self.was_reset = True
        else:
            self.received += data
            self.ended = not data
        return True

    def send(self, data: bytes) -> None:
        self.unsent += data

    def send_frame(self, opcode: int, data: bytes = b"", *, fin: bool = True) -> None:
        self.send(Frame(fin, opcode, data).serialize(self.key))

    def end(self) -> None:
        """End its half, after what it has to send."""
        self.after_sending = lambda: self.stream.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the stream, after what it has to send, without reading any further."""

        def close() -> None:
            self.reading = False
            self.stream.close()

        self.after_sending = close

    def frames(self) -> list[Frame]:
        """What it got, after the opening handshake."""
        data = bytes(self.received).partition(b"\r\n\r\n")[2]
        frames = []
        while (parsed := parse_frame(data, mask=not self.key)) is not None:
            frames.append(parsed[0])
            data = data[parsed[1] :]
        return frames

    def close_codes(self) -> list[int]:
        return [int.from_bytes(frame.data[:2]) for frame in self.frames() if frame.opcode == Opcode.CLOSE]


class Driver:
    """Serves a protocol, and lets a test command its peer.

    Attributes:
        clock: the protocol's clock.
        wake: to be called after commands.
    """

    clock: Callable[[], float]
    wake: Callable[[], None]
    peer: Peer

    def serve(self, protocol: Protocol, application: Callable[[], None]) -> None:
        """Begin to serve."""
        raise NotImplementedError

    def run(self, until: Callable[[], bool]) -> None:
        """Let both sides work until something is the case."""
        raise NotImplementedError

    def settle(self, seconds: float = 0) -> None:
        """Let both sides work until nothing moves any more, and for some time."""
        raise NotImplementedError

    def block(self, seconds: float) -> None:
        """Let time pass while only the peer is at work."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class SocketDriver(Driver):
    def __init__(self, loop: str) -> None:
        self.loop = LOOPS[loop]()
        self.clock = time.monotonic
        self.left, self.right = tcp_pair()

    def serve(self, protocol: Protocol, application: Callable[[], None]) -> None:
        def reset() -> None:
            self.right.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.right.close()
            self.peer.reading = False

        self.peer = Peer(self.right, reset, protocol.side)
        self.wake = self.loop.add(self.left, protocol, application)

    def run(self, until: Callable[[], bool]) -> None:
        patience = Patience()
        quiet = 0
        while not until():
            patience.check()
            quiet = 0 if self.peer.pump() else quiet + 1
            self.loop.turn(0 if quiet < 10 else 0.001)

    def settle(self, seconds: float = 0) -> None:
        end = time.monotonic() + seconds
        quiet = 0
        while quiet < 50 or time.monotonic() < end:
            quiet = 0 if self.peer.pump() else quiet + 1
            self.loop.turn(0.001)

    def block(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.peer.pump()
            time.sleep(0.01)

    def close(self) -> None:
        self.loop.close()
        self.right.close()


class MemoryDriver(Driver):
    """The seven steps that the class ``Protocol`` describes, literally."""

    protocol: Protocol
    application: Callable[[], None]

    def __init__(self) -> None:
        self.now = 0.0
        self.clock = lambda: self.now
        self.wake = lambda: None
        self.stream, other = Stream(), Stream()
        self.stream.other, other.other = other, self.stream
        self.unsent = b""

    def serve(self, protocol: Protocol, application: Callable[[], None]) -> None:
        self.peer = Peer(self.stream.other, self.stream.other.abort, protocol.side)
        self.protocol = protocol
        self.application = application

    def run(self, until: Callable[[], bool]) -> None:
        patience = Patience()
        while not until():
            patience.check()
            if not (self.peer.pump() | self.step()):
                deadline = self.protocol.deadline()
                assert deadline is not None, "nothing will happen any more"
                self.now = max(self.now, deadline)
                self.step(due=True)

    def step(self, *, due: bool = False) -> bool:
        """Return whether anything happened."""
        protocol = self.protocol
        if protocol.state is State.CLOSED:
            return False
        busy = False
        wanted_read = protocol.wants_read
        try:
            if wanted_read:  # 2
                with suppress(BlockingIOError):
                    if data := self.stream.recv(65536):
                        protocol.receive_data(data)
                    else:
                        protocol.receive_eof()
                    busy = True
            busy = self.write() or busy  # 3
            if due:
                protocol.handle_timeout()  # 4
            self.application()  # 5
            if not self.unsent:  # 6
                self.unsent = b"".join(protocol.data_to_send())
            busy = self.write() or busy
            busy = self.end_stream() or busy  # 7
        except OSError as error:
            self.stream.close()
            protocol.connection_lost(error)
            busy = True
        if protocol.state is State.CLOSED:
            self.application()
        return busy or protocol.wants_read != wanted_read

    def write(self) -> bool:
        if not self.unsent:
            return False
        try:
            count = self.stream.send(self.unsent)
        except BlockingIOError:
            return False
        self.unsent = self.unsent[count:]
        self.protocol.data_sent(count)
        return True

    def end_stream(self) -> bool:
        action = self.protocol.stream_action
        if action is StreamAction.KEEP or (self.unsent and action is not StreamAction.ABORT):
            return False
        if action is StreamAction.SEND_EOF:
            self.stream.shutdown(socket.SHUT_WR)
            self.protocol.eof_sent()
            return True
        if action is StreamAction.ABORT:
            self.stream.abort()
        self.stream.close()
        self.protocol.connection_lost()
        return True

    def settle(self, seconds: float = 0) -> None:
        while self.peer.pump() | self.step():
            pass
        if seconds:
            self.now += seconds
            self.step(due=True)

    def block(self, seconds: float) -> None:
        self.peer.pump()
        self.now += seconds

    def close(self) -> None:
        pass


@pytest.fixture(params=["selectors", "custom", "memory"])
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    driver = MemoryDriver() if request.param == "memory" else SocketDriver(request.param)
    yield driver
    driver.close()


@pytest.fixture(params=Side, ids=lambda side: side.value)
def side(request: pytest.FixtureRequest) -> Side:
    return request.param  # type: ignore[no-any-return]


REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

RESPONSE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


def start(driver: Driver, side: Side, **options: Any) -> Application:
    """Begin to serve a protocol whose peer is silent."""
    protocol: Protocol
    if side is Side.SERVER:
        protocol = ServerProtocol(clock=driver.clock, **options)
    else:
        protocol = ClientProtocol("ws://localhost/", clock=driver.clock, **options)
    application = Application(protocol)
    driver.serve(protocol, application)
    return application


def connect(driver: Driver, side: Side, **options: Any) -> tuple[Protocol, Application, Peer]:
    """Do the opening handshake with the peer."""
    application = start(driver, side, **options)
    protocol, peer = application.protocol, driver.peer
    if side is Side.SERVER:
        peer.send(REQUEST)
    else:
        driver.run(lambda: b"\r\n\r\n" in peer.received)
        assert protocol.request is not None
        key = accept_key(protocol.request.headers["Sec-WebSocket-Key"])
        peer.send(RESPONSE + b"Sec-WebSocket-Accept: %s\r\n\r\n" % key.encode())
    driver.run(lambda: protocol.state is State.OPEN and b"\r\n\r\n" in peer.received)
    return protocol, application, peer


def closed(protocol: Protocol) -> Callable[[], bool]:
    return lambda: protocol.state is State.CLOSED


def test_peer_resets(driver: Driver, side: Side) -> None:
    protocol, application, peer = connect(driver, side)
    peer.reset()
    driver.run(closed(protocol))
    assert protocol.close_code == 1006
    assert isinstance(application.error, OSError)
    with pytest.raises(ConnectionClosed) as caught:
        protocol.send("too late")
    assert caught.value.__cause__ is application.error


def test_peer_resets_while_it_is_written_to(driver: Driver, side: Side) -> None:
    protocol, application, peer = connect(driver, side)
    peer.reading = False
    protocol.send(b"x" * 10_000_000)
    driver.wake()
    driver.run(lambda: 0 < protocol.unwritten < 10_000_000)
    peer.reset()
    driver.run(closed(protocol))
    assert protocol.close_code == 1006
    assert isinstance(application.error, OSError)


def test_peer_leaves_during_the_opening_handshake(driver: Driver, side: Side) -> None:
    application = start(driver, side)
    driver.peer.end()
    driver.run(closed(application.protocol))
    assert isinstance(application.error, InvalidHandshake)
    assert application.error is application.protocol.handshake_error


def test_peer_resets_during_the_opening_handshake(driver: Driver, side: Side) -> None:
    application = start(driver, side)
    driver.peer.reset()
    driver.run(closed(application.protocol))
    assert isinstance(application.error, InvalidHandshake)


def test_end_of_file_without_close_frame(driver: Driver, side: Side) -> None:
    protocol, application, peer = connect(driver, side)
    peer.send_frame(Opcode.TEXT, b"the last one")
    peer.end()
    driver.run(lambda: protocol.state is State.CLOSED and peer.ended)
    assert application.messages == ["the last one"]
    assert protocol.close_code == 1006
    assert isinstance(application.error, EOFError)
    # It may have ended one half only, so it is told.
    assert peer.close_codes() == [1002]


@pytest.mark.parametrize(
    ("frame", "size"),
    [
        (Frame(True, Opcode.TEXT, b"Hello"), -1),  # all but the last byte
        (Frame(False, Opcode.TEXT, b"Hello"), None),
        (Frame(True, Opcode.BINARY, b""), 1),
        (Frame(True, Opcode.PING, b"Hello"), 4),
    ],
)
def test_end_of_file_inside_a_message(driver: Driver, side: Side, frame: Frame, size: int | None) -> None:
    protocol, application, peer = connect(driver, side)
    peer.send(frame.serialize(peer.key)[:size])
    peer.end()
    driver.run(lambda: protocol.state is State.CLOSED and peer.ended)
    assert application.messages == []
    assert protocol.close_code == 1006
    assert "within a message" in str(application.error)
    assert peer.close_codes() == [1002]


def test_end_of_file_while_the_peer_does_not_read(driver: Driver, side: Side) -> None:
    """What is left to write is not waited for without end."""
    protocol, application, peer = connect(driver, side, close_timeout=0.2)
    peer.reading = False
    protocol.send(b"x" * 10_000_000)
    driver.wake()
    driver.run(lambda: 0 < protocol.unwritten < 10_000_000)
    peer.end()
    driver.run(closed(protocol))
    assert protocol.close_code == 1006
    assert isinstance(application.error, EOFError)


def test_protocol_error(driver: Driver, side: Side) -> None:
    protocol, application, peer = connect(driver, side, close_timeout=0.2)
    peer.send_frame(Opcode.TEXT, b"good")
    peer.send(b"\x83\x80\x01\x02\x03\x04")
    peer.send_frame(Opcode.TEXT, b"what comes after an error does not matter" * 10_000)
    driver.run(lambda: bool(peer.close_codes()))
    assert peer.close_codes() == [1002]
    if side is Side.SERVER:
        # The server ends TCP first (RFC 6455 section 7.1.1).
        driver.run(lambda: peer.ended)
        assert protocol.state is State.CLOSING
        peer.close()
    driver.run(closed(protocol))
    assert application.messages == ["good"]
    assert protocol.close_code == 1006
    (failure,) = application.all(Failure)
    assert failure.remote
    assert failure.close == Close(1002, str(failure.error))


def test_protocol_error_while_the_peer_does_not_read(driver: Driver, side: Side) -> None:
    """The frame that is being written is not cut in two; when the peer reads again, it sees the close."""
    protocol, _, peer = connect(driver, side, max_size=None)
    peer.reading = False
    protocol.send(b"x" * 3_000_000)
    protocol.send("y")
    driver.wake()
    driver.run(lambda: 0 < protocol.unwritten < 3_000_000)
    protocol.send("not handed out yet, so it is dropped")
    driver.wake()
    driver.settle()
    peer.send(b"\x83\x80\x01\x02\x03\x04")
    driver.run(lambda: protocol.state is State.CLOSING)
    peer.reading = True
    driver.run(lambda: bool(peer.close_codes()))
    large, small, close = peer.frames()
    assert (large.data, small.data) == (b"x" * 3_000_000, b"y")
    assert close.opcode == Opcode.CLOSE
    peer.close()
    driver.run(closed(protocol))


def test_bad_request(driver: Driver) -> None:
    application = start(driver, Side.SERVER)
    driver.peer.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello" + b"x" * 100_000)
    driver.run(lambda: driver.peer.ended)
    assert driver.peer.received.startswith(b"HTTP/1.1 4")
    assert not driver.peer.was_reset
    driver.peer.close()
    driver.run(closed(application.protocol))
    assert isinstance(application.error, InvalidHandshake)


def test_bad_response(driver: Driver) -> None:
    application = start(driver, Side.CLIENT)
    driver.peer.send(b"HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nNever")
    driver.run(lambda: driver.peer.ended and application.protocol.state is State.CLOSED)
    assert application.protocol.response is not None
    assert application.protocol.response.body == b"Never"


def test_close_frame_is_never_answered(driver: Driver, side: Side) -> None:
    protocol, application, peer = connect(driver, side, close_timeout=0.2)
    protocol.close(1001, "enough")
    with pytest.raises(ConnectionClosed):
        protocol.send("too late")
    driver.wake()
    driver.run(closed(protocol))
    driver.run(lambda: peer.ended or peer.was_reset)
    assert peer.close_codes() == [1001]
    assert protocol.close_code == 1006
    assert isinstance(application.error, TimeoutError)


def test_stream_is_never_ended(driver: Driver, side: Side) -> None:
    """The closing handshake is done, but the peer does not end the stream."""
    protocol, application, peer = connect(driver, side, close_timeout=0.2)
    peer.send_frame(Opcode.CLOSE, b"\x03\xe8")
    driver.run(closed(protocol))
    driver.run(lambda: peer.ended or peer.was_reset)
    assert peer.close_codes() == [1000]
    assert protocol.close_code == 1000
    assert application.all(Failure) == []


def test_peer_says_nothing_at_all(driver: Driver, side: Side) -> None:
    application = start(driver, side, open_timeout=0.2, close_timeout=0.2)
    driver.run(closed(application.protocol))
    driver.run(lambda: driver.peer.ended or driver.peer.was_reset)
    assert isinstance(application.error, HandshakeTimeout)


def test_peer_says_the_first_half(driver: Driver, side: Side) -> None:
    """Bytes do not extend the deadline of the opening handshake."""
    application = start(driver, side, open_timeout=0.3, close_timeout=0.2)
    protocol = application.protocol
    driver.peer.send((REQUEST if side is Side.SERVER else RESPONSE)[:-2])
    driver.run(closed(protocol))
    assert isinstance(protocol.handshake_error, HandshakeTimeout)


def test_peer_never_reads(driver: Driver, side: Side) -> None:
    protocol, application, peer = connect(driver, side, ping_interval=None, ping_timeout=0.3)
    peer.reading = False
    protocol.send(b"x" * 10_000_000)
    driver.wake()
    driver.run(closed(protocol))
    assert protocol.close_code == 1006
    assert isinstance(application.error, TimeoutError)
    assert "writing" in str(application.error)
    # What is unsent is not kept for it any longer.
    peer.reading = True
    driver.run(lambda: peer.was_reset)


def test_peer_reads_slowly(driver: Driver, side: Side) -> None:
    """Progress, however slow, is no stall."""
    protocol, application, peer = connect(driver, side, ping_interval=None, ping_timeout=1)
    peer.reading = False
    message = bytes(3_000_000)
    protocol.send(message)
    driver.wake()
    driver.run(lambda: 0 < protocol.unwritten < len(message))
    for _ in range(6):
        driver.settle(0.25)
        unwritten = protocol.unwritten

        def progress(unwritten: int = unwritten) -> bool:
            peer.read()
            return protocol.unwritten < unwritten

        driver.run(progress)
    assert protocol.unwritten
    peer.reading = True
    driver.run(lambda: len(peer.frames()) == 1)
    assert protocol.state is State.OPEN
    assert application.all(Failure) == []


def test_keepalive_fails(driver: Driver, side: Side) -> None:
    protocol, application, peer = connect(
        driver, side, ping_interval=0.2, ping_timeout=0.3, close_timeout=0.2
    )
    driver.run(closed(protocol))
    driver.run(lambda: peer.ended or peer.was_reset)
    assert Opcode.PING in [frame.opcode for frame in peer.frames()]
    assert peer.close_codes() == [1011]
    assert protocol.close_code == 1006
    assert isinstance(application.error, TimeoutError)


def test_keepalive_succeeds(driver: Driver, side: Side) -> None:
    """Any byte proves that the peer lives."""
    protocol, application, peer = connect(driver, side, ping_interval=0.2, ping_timeout=0.3)
    for count in range(1, 5):
        driver.run(lambda count=count: len(peer.frames()) == count)  # type: ignore[misc]
        peer.send_frame(Opcode.TEXT, b"I live")
    driver.run(lambda: len(application.messages) == 4)
    assert protocol.state is State.OPEN
    assert application.all(Failure) == []


def test_blocked_loop_does_not_blame_the_peer(driver: Driver, side: Side) -> None:
    """The answer lies there to be read while nobody is at work until long after the deadline."""
    protocol, application, peer = connect(driver, side, ping_interval=0.2, ping_timeout=0.3)
    driver.run(lambda: len(peer.frames()) == 1)
    peer.send_frame(Opcode.PONG, peer.frames()[0].data)
    driver.block(0.4)
    driver.run(lambda: bool(application.all(Pong)))
    assert protocol.state is State.OPEN
    assert application.all(Failure) == []


def test_blocked_loop_is_told(driver: Driver, side: Side) -> None:
    """Nothing was received, but nobody looked for a long time: the peer gets one more period."""
    protocol, application, peer = connect(driver, side, ping_interval=None, ping_timeout=0.3)
    peer.reading = False
    protocol.send(b"x" * 10_000_000)
    driver.wake()
    driver.run(lambda: 0 < protocol.unwritten < 10_000_000)
    driver.run(lambda: protocol.deadline() is not None)
    driver.block(0.7)
    driver.run(lambda: bool(application.events and application.all(TimerOverdue)))
    driver.run(closed(protocol))
    # On a busy machine, the loop is late more than once.
    late = application.all(TimerOverdue)[0]
    assert late.seconds > 0.15
    assert isinstance(application.error, TimeoutError)


def test_ping_flood(driver: Driver, side: Side) -> None:
    """While the peer does not read, there are answers to the pings of one read; memory is bounded."""
    # On a busy machine, the peer does not read for longer than the deadline of a write.
    protocol, application, peer = connect(driver, side, ping_interval=None, ping_timeout=None)
    peer.reading = False
    count = 60_000
    peer.send(b"".join(Frame(True, Opcode.PING, b"%06d" % i).serialize(peer.key) for i in range(count)))
    driver.run(lambda: len(application.events) >= count)
    assert protocol.unwritten < 2 * SOCKET_BUFFER
    assert application.most_unsent < 2 * SOCKET_BUFFER
    peer.send_frame(Opcode.TEXT, b"still there?")
    driver.run(lambda: application.messages == ["still there?"])
    peer.reading = True
    driver.run(lambda: pongs(peer)[-1:] == [b"%06d" % (count - 1)])
    assert pongs(peer) == sorted(pongs(peer))
    assert protocol.state is State.OPEN


def pongs(peer: Peer) -> list[bytes]:
    return [frame.data for frame in peer.frames() if frame.opcode == Opcode.PONG]


def test_data_after_close(driver: Driver, side: Side) -> None:
    protocol, application, peer = connect(driver, side)
    peer.send_frame(Opcode.TEXT, b"before")
    peer.send_frame(Opcode.CLOSE, b"\x03\xe9going")
    peer.send_frame(Opcode.TEXT, b"after")
    peer.send(b"\xff" * 1_000_000)
    peer.close()
    if side is Side.SERVER:
        # It reads to the end, so that its close frame is not lost by a reset.
        driver.run(lambda: not peer.unsent)
    driver.run(closed(protocol))
    assert application.messages == ["before"]
    assert application.all(Close) == [Close(1001, "going")]
    assert application.all(Failure) == []
    assert protocol.close_code == 1001


def test_peer_closes_without_waiting(driver: Driver, side: Side) -> None:
    """It sends a close frame and is gone while it is written to: writing fails, but why is known."""
    protocol, application, peer = connect(driver, side)
    peer.reading = False
    protocol.send(b"x" * 3_000_000)
    driver.wake()
    driver.run(lambda: 0 < protocol.unwritten < 3_000_000)
    peer.send_frame(Opcode.CLOSE, b"\x03\xf5tired")
    peer.after_sending = lambda: peer.stream.shutdown(socket.SHUT_WR)
    driver.run(lambda: not peer.unsent)
    driver.run(lambda: protocol.state is State.CLOSING)
    peer.reset()
    driver.run(closed(protocol))
    assert protocol.close_code == 1013
    assert application.all(Close) == [Close(1013, "tired")]


@pytest.mark.parametrize("says_why", [True, False])
@pytest.mark.parametrize("driver", LOOPS, indirect=True)
def test_peer_closes_between_reading_and_writing(driver: Driver, side: Side, says_why: bool) -> None:
    """Writing is what finds the stream broken; what has arrived is still read, and the end is told."""
    protocol, application, peer = connect(driver, side)
    peer.reading = False
    protocol.send("which is never read, so that the stream is reset when it is closed")
    driver.wake()
    driver.settle()

    def before_write() -> None:
        if says_why:
            peer.send_frame(Opcode.CLOSE, b"\x03\xf5tired")
            peer.pump()
        peer.stream.close()
        protocol.send("which finds nobody there")

    application.before_write = before_write
    driver.wake()
    driver.run(closed(protocol))
    if says_why:
        assert application.all(Close) == [Close(1013, "tired")]
        assert protocol.close_code == 1013
    else:
        assert protocol.close_code == 1006
        assert isinstance(application.error, OSError)


def test_messages_that_nobody_takes(driver: Driver, side: Side) -> None:
    """Reading stops at the high-water mark and goes on below the low one; nothing is lost."""
    protocol, application, peer = connect(driver, side, ping_interval=None)
    application.taking = False
    count = 40_000
    for number in range(count):
        peer.send_frame(Opcode.TEXT, b"%05d" % number + b"x" * 200)
    driver.run(lambda: not protocol.wants_read)
    # It stays so, though the peer goes on trying.
    driver.settle()
    assert not protocol.wants_read
    assert peer.unsent
    # as many as came with the read that reached the mark
    assert protocol.undelivered <= 32 + 65536 // 206
    assert protocol.statistics.messages_received == protocol.undelivered

    application.taking = True
    driver.wake()
    driver.run(lambda: len(application.messages) == count)
    assert [int(message[:5]) for message in application.messages] == list(range(count))


def test_close_frame_behind_messages_that_nobody_takes(driver: Driver, side: Side) -> None:
    """After our own close frame all is read, so that the peer's is reached, in bounded memory."""
    protocol, application, peer = connect(driver, side, ping_interval=None)
    application.taking = False
    for _ in range(40_000):
        peer.send_frame(Opcode.TEXT, b"x" * 200)
    peer.send_frame(Opcode.CLOSE, b"\x03\xe8")
    driver.run(lambda: not protocol.wants_read)
    protocol.close(1001)
    driver.wake()
    driver.run(lambda: protocol.close_code is not None)
    assert protocol.close_code == 1000
    assert protocol.undelivered <= 32 + 65536 // 206
    peer.close()
    driver.run(closed(protocol))
    assert application.all(Failure) == []


@pytest.mark.parametrize("situation", ["open", "not taken", "not read", "closing", "ending", "end of file"])
@pytest.mark.parametrize("driver", LOOPS, indirect=True)
def test_waiting_does_not_spin(driver: Driver, side: Side, situation: str) -> None:
    """While nothing can be done, nobody is woken."""
    protocol, application, peer = connect(driver, side)
    if situation == "not taken":
        application.taking = False
        peer.send_frame(Opcode.BINARY, bytes(2**20 - 1000))
        peer.send_frame(Opcode.BINARY, bytes(2**20 - 1000))
    elif situation == "closing":
        protocol.close()
    elif situation == "ending":
        peer.send_frame(Opcode.CLOSE, b"\x03\xe8")
    elif situation in ("not read", "end of file"):
        peer.reading = False
        protocol.send(bytes(10_000_000))
    driver.wake()
    driver.settle()
    if situation == "end of file":
        peer.end()
        driver.settle()
        assert protocol.stream_action is StreamAction.CLOSE
    calls = application.calls
    driver.settle()
    # It may be woken for what the kernel did meanwhile. There were many more turns than these.
    assert application.calls - calls < 5


def test_application_fails(driver: Driver, side: Side) -> None:
    protocol, application, peer = connect(driver, side, close_timeout=0.2)
    error = RuntimeError("a mistake of the application")
    protocol.fail(error)
    driver.wake()
    driver.run(closed(protocol))
    driver.run(lambda: peer.ended or peer.was_reset)
    assert application.error is error
    assert peer.close_codes() == [1011]
