"""One blocking connection never holds up another, nor one thread the others of its connection."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import adapters.threading
from adapters.threading import ClientConnection, connect, serve
from adapters.threading.connection import BACKGROUND_READ_SIZE
from adapters.threading.locking import PAUSE
from adapters.threading.transfer import WRITTEN_AT_ONCE
from adapters.threading.wakeups import Receiver, Wakeup
from tests.core.helpers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, close_payload
from wsproto_core import ConnectionClosed
from wsproto_core.protocol import Protocol

from .threads import DEADLINE, HOST, RawServer, Thread, raw_server, until, waits

LONG = b"x" * 200_000


class Busy:
    """A block in which another thread is at work on a connection."""

    def __init__(self, client: ClientConnection) -> None:
        self._client = client
        self._entered, self._leave = threading.Event(), threading.Event()

    def __enter__(self) -> None:
        self._thread = Thread(self._client._locked, self._work)
        assert self._entered.wait(DEADLINE)

    def _work(self) -> None:
        self._entered.set()
        assert self._leave.wait(DEADLINE)

    def __exit__(self, *exc_info: object) -> None:
        self._leave.set()
        self._thread.result()


# The background thread


def test_background_thread_waits_for_no_connection() -> None:
    """It answers pings and meets deadlines while other connections are being worked on."""
    with (
        raw_server(ping_interval=0.2, ping_timeout=None) as (busy_peer, busy),
        raw_server(ping_interval=0.2, ping_timeout=None) as (peer, _),
    ):
        until(lambda: busy._idle_checks > 1)
        with Busy(busy):
            busy_peer.send(Frame(PING, b"a"))
            peer.send(Frame(PING, b"b"))
            opcodes = {peer.read_frame().opcode for _ in range(3)}
            assert opcodes == {PING, PONG}
        # It comes back to what it could not do.
        assert {busy_peer.read_frame().opcode for _ in range(3)} == {PING, PONG}


def test_thread_at_work_does_what_the_background_thread_could_not() -> None:
    done: list[int] = []
    with raw_server() as (_, client):
        with Busy(client):
            assert not Thread(client._locked_or_left, done.append, 1).result()
            assert not Thread(client._locked_or_left, done.append, 2).result()
            assert not done
        # The second time it was enough that something was left: the background thread comes again.
        assert done == [1]


@pytest.mark.parametrize("ready", [True, False])
def test_background_thread_takes_over_at_the_second_look(ready: bool) -> None:
    """At the first, a thread may have left a moment before."""
    looks: list[tuple[int, bool]] = []

    class Recording(ClientConnection):
        def _check_idle(self) -> None:
            super()._check_idle()
            looks.append((self._idle_checks, bool(self._watched)))

    with raw_server(create_protocol=Recording) as (_, client):
        until(lambda: looks[-1:] == [(2, True)])
        assert looks == [(1, False), (2, True)]
        with pytest.raises(TimeoutError):
            client.recv(timeout=0 if ready else 0.2)
        until(lambda: looks[2:][-1:] == [(2, True)])
        assert looks[-2:] == [(1, False), (2, True)]


class Stub:
    """A stream that takes and gives as much as it is asked to."""

    def __init__(self) -> None:
        self.sent = 0
        self.asked: list[int] = []

    def send(self, data: Any) -> int:
        self.sent += len(data)
        return len(data)

    def recv(self, size: int) -> bytes:
        self.asked.append(size)
        raise BlockingIOError


def test_background_thread_reads_a_bounded_amount_for_each() -> None:
    with raw_server() as (_, client):

        def look() -> list[int]:
            stub = client._stream = Stub()
            client._idle_checks = 2
            client._use_socket(1)
            client._stream = client.transport
            return stub.asked

        assert client._locked(look) == [BACKGROUND_READ_SIZE]


def test_writing_is_interrupted_for_others() -> None:
    with raw_server(write_limit=None) as (_, client):

        def write() -> int:
            stub = client._stream = Stub()
            for _ in range(10):
                client.protocol.send(bytes(WRITTEN_AT_ONCE // 2))
            client._flush()
            client._stream = client.transport
            client._unwritten.clear()
            return stub.sent

        assert WRITTEN_AT_ONCE <= client._locked(write) < 2 * WRITTEN_AT_ONCE
        assert client._blocked  # so that it goes on


def test_deadlines_leave_a_thread_that_receives_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wakeup descriptors are shared: each call would wake an eighth of all threads that receive."""
    called: list[Receiver] = []
    call = Wakeup.call

    def note(wakeup: Wakeup, receiver: Receiver) -> None:
        called.append(receiver)
        call(wakeup, receiver)

    with raw_server(ping_interval=0.2, ping_timeout=None) as (peer, client):
        receiving = Thread(client.recv)
        until(waits(client))
        monkeypatch.setattr(Wakeup, "call", note)
        for _ in range(3):
            assert peer.read_frame().opcode == PING
        assert not called
        peer.send(Frame(TEXT, b"a"))
        assert receiving.result() == "a"


# Long messages


@pytest.fixture
def encoding(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Long messages take as long to encode as the test wants: events for the beginning and the end."""
    begun, go_on = threading.Event(), threading.Event()
    encode = Protocol.encode

    def slow(protocol: Protocol, message: Any, **options: Any) -> list[bytes]:
        buffers = encode(protocol, message, **options)
        if message == LONG:
            begun.set()
            assert go_on.wait(DEADLINE)
        return buffers

    monkeypatch.setattr(Protocol, "encode", slow)
    yield begun, go_on
    go_on.set()


SENDS: dict[str, tuple[Callable[[Any], None], list[Frame]]] = {
    "whole": (lambda client: client.send(LONG), [Frame(BINARY, LONG)]),
    "fragments": (
        lambda client: client.send([b"a", LONG]),
        [Frame(BINARY, b"a", fin=False), Frame(CONTINUATION, LONG, fin=False), Frame(CONTINUATION, b"")],
    ),
}


@pytest.mark.parametrize("send", SENDS)
def test_connection_lives_while_a_long_message_is_encoded(
    send: str, encoding: tuple[threading.Event, threading.Event]
) -> None:
    """Pings are answered and sent, and messages are received; what else is sent waits for its turn."""
    begun, go_on = encoding
    function, frames = SENDS[send]
    with raw_server() as (peer, client):
        sending = Thread(function, client)
        assert begun.wait(DEADLINE)
        if send == "fragments":
            assert peer.read_frame() == frames.pop(0)
        peer.send(Frame(PING, b"a"), Frame(TEXT, b"b"))
        assert client.recv(timeout=DEADLINE) == "b"
        assert peer.read_frame() == Frame(PONG, b"a")
        ping = client.ping(b"c")
        assert peer.read_frame() == Frame(PING, b"c")
        peer.send(Frame(PONG, b"c"))
        ping.wait(DEADLINE)
        second = Thread(client.send, "second")
        until(waits(client))
        go_on.set()
        assert [peer.read_frame() for _ in frames] == frames
        assert peer.read_frame() == Frame(TEXT, b"second")
        sending.result()
        second.result()


@pytest.mark.parametrize("send", SENDS)
def test_close_while_a_long_message_is_encoded(
    send: str, encoding: tuple[threading.Event, threading.Event]
) -> None:
    begun, go_on = encoding
    with raw_server() as (peer, client):
        sending = Thread(SENDS[send][0], client)
        assert begun.wait(DEADLINE)
        closing = Thread(client.close)
        opcode = BINARY
        while opcode != CLOSE:
            opcode = peer.read_frame().opcode
        peer.send(Frame(CLOSE, close_payload(1000)))
        peer.socket.close()
        closing.result()
        go_on.set()
        with pytest.raises(ConnectionClosed):
            sending.result()


def test_broadcast_passes_by_who_encodes_a_long_message(
    encoding: tuple[threading.Event, threading.Event],
) -> None:
    """What is compressed may refer to what was sent before, and nothing may come in between."""
    begun, go_on = encoding
    accepted: list[Any] = []
    finish = threading.Event()

    def handler(websocket: Any) -> None:
        accepted.append(websocket)
        finish.wait(DEADLINE)

    with serve(handler, HOST, 0) as server:
        assert server.sockets
        with connect(f"ws://{HOST}:{server.sockets[0].getsockname()[1]}/", max_size=None) as client:
            until(lambda: accepted)
            sending = Thread(accepted[0].send, LONG)
            assert begun.wait(DEADLINE)
            assert adapters.threading.broadcast(accepted, "a").skipped == accepted
            waiting = adapters.threading.broadcast(accepted, "b", "wait")
            assert waiting.waiting == accepted
            with pytest.raises(TimeoutError, match="1 connections"):
                waiting.wait(0.2)
            assert waiting.waiting == accepted
            go_on.set()
            waiting.wait(DEADLINE)
            assert not waiting.waiting
            assert client.recv(timeout=DEADLINE) == LONG
            assert client.recv(timeout=DEADLINE) == "b"
            sending.result()
            finish.set()


# Floods


@pytest.mark.parametrize(
    "frame",
    [Frame(PING, b"flood"), Frame(PONG, b"flood"), Frame(CONTINUATION, b"", fin=False)],
    ids=["pings", "pongs", "fragments"],
)
@pytest.mark.parametrize("receiving", [True, False])
def test_floods_leave_others_their_turn(frame: Frame, receiving: bool) -> None:
    """Several peers flood, whoever reads them; other connections open, echo and answer pings."""
    stop = threading.Event()

    def flood(peer: RawServer) -> None:
        peer.socket.settimeout(0.2)
        peer.send(Frame(TEXT, b"a", fin=False))
        while not stop.is_set():
            try:
                peer.send(*[frame] * 1000)
                poll = select.poll()
                poll.register(peer.socket, select.POLLIN)
                while poll.poll(0) and peer.socket.recv(2**16):
                    pass
            except OSError:
                pass

    def receive(client: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            client.recv()

    def echo(websocket: Any) -> None:
        for message in websocket:
            websocket.send(message)

    def converse(depth: int) -> None:
        if depth:
            with raw_server(max_fragments=None, max_size=None) as (peer, client):
                others = [Thread(flood, peer)]
                if receiving:
                    others.append(Thread(receive, client))
                try:
                    converse(depth - 1)
                finally:
                    stop.set()
                    client.abort()
                    for other in others:
                        other.result()
            return
        with serve(echo, HOST, 0) as server:
            assert server.sockets
            uri = f"ws://{HOST}:{server.sockets[0].getsockname()[1]}/"
            with connect(uri, open_timeout=DEADLINE) as websocket:
                for number in range(10):
                    websocket.send(str(number))
                    assert websocket.recv(timeout=DEADLINE) == str(number)
                websocket.ping().wait(DEADLINE)

    converse(3)


def test_thread_that_sends_without_a_pause_leaves_the_lock_to_others() -> None:
    stop = threading.Event()

    def send(client: ClientConnection) -> None:
        while not stop.is_set():
            client.send(b"x" * 1000)

    def read(sock: socket.socket) -> None:
        while not stop.is_set() and sock.recv(2**16):
            pass

    with raw_server() as (peer, client):
        others = [Thread(send, client), Thread(send, client), Thread(read, peer.socket)]
        for _ in range(50):
            client.pong()
        stop.set()
        for other in others:
            other.result()


def test_thread_leaves_the_lock_to_who_has_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's locks have no queue: without a pause, the thread that is running would take it again."""
    pauses: list[float] = []
    with raw_server() as (_, client):
        clock = SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append)
        monkeypatch.setattr("adapters.threading.locking.time", clock)
        # As if a thread had begun to wait at that time.
        client._contenders.append(time.monotonic() + 1000)
        client.pong()
        assert not pauses
        client._contenders[0] -= 2000
        client.pong()
        assert pauses == [PAUSE]
        client._contenders.clear()
