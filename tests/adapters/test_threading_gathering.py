"""Answers to messages that arrived together are written together, and none of them waits for long."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.threading import ClientConnection, sending
from tests.core.helpers import BINARY, CLOSE, PING, PONG, TEXT, Frame, close_payload

from .threads import DEADLINE, RawServer, Thread, raw_server, until, waits

COUNT = 10


class CountingStream:
    """The stream of a connection, and how often it is written to."""

    def __init__(self, connection: Any) -> None:
        self._stream = connection._stream
        self.recv = self._stream.recv
        self.writes = 0
        connection._stream = self

    def send(self, data: Any) -> int:
        self.writes += 1
        return int(self._stream.send(data))


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The background thread never writes the answers."""
    monkeypatch.setattr(sending, "GATHERING_TIME", 10**6)
    monkeypatch.setattr(sending, "_gathering", {})


@pytest.fixture
def pair() -> Iterator[tuple[RawServer, ClientConnection]]:
    with raw_server() as (peer, client):
        yield peer, client


def numbered(count: int) -> list[Frame]:
    return [Frame(TEXT, b"%d" % number) for number in range(count)]


def receive_all_at_once(peer: RawServer, client: ClientConnection) -> None:
    """Let messages arrive together, and receive the first one."""
    peer.send(*numbered(COUNT))
    assert client.recv() == "0"
    assert client.protocol.has_input


@pytest.mark.usefixtures("no_time")
def test_answers_share_one_write(pair: tuple[RawServer, ClientConnection]) -> None:
    peer, client = pair
    stream = CountingStream(client)
    peer.send(*numbered(COUNT))
    for _ in range(COUNT):
        client.send(client.recv())
    assert stream.writes == 1
    assert [peer.read_frame() for _ in range(COUNT)] == numbered(COUNT)


@pytest.mark.usefixtures("no_time")
def test_answer_to_one_message_is_written_at_once(pair: tuple[RawServer, ClientConnection]) -> None:
    peer, client = pair
    for _ in range(3):
        peer.send(Frame(TEXT, b"a"))
        client.send(client.recv())
        assert peer.read_frame() == Frame(TEXT, b"a")


@pytest.mark.usefixtures("no_time")
def test_answers_are_written_before_the_thread_waits(pair: tuple[RawServer, ClientConnection]) -> None:
    """Also if the last message has no answer."""
    peer, client = pair
    receive_all_at_once(peer, client)
    client.send("a")
    for _ in range(COUNT - 1):
        client.recv()
    receiving = Thread(client.recv)
    assert peer.read_frame() == Frame(TEXT, b"a")
    peer.send(Frame(TEXT, b"end"))
    assert receiving.result() == "end"


@pytest.mark.usefixtures("no_time")
def test_answers_are_written_before_the_same_thread_waits(pair: tuple[RawServer, ClientConnection]) -> None:
    peer, client = pair

    def receive() -> Any:
        receive_all_at_once(peer, client)
        client.send("a")
        return [client.recv() for _ in range(COUNT)]

    receiving = Thread(receive)
    assert peer.read_frame() == Frame(TEXT, b"a")
    until(waits(client))
    peer.send(Frame(TEXT, b"end"))
    assert receiving.result()[-1] == "end"


@pytest.mark.usefixtures("no_time")
def test_many_bytes_are_not_gathered() -> None:
    with raw_server(write_limit=10**6) as (peer, client):
        receive_all_at_once(peer, client)
        answer = bytes(2**14)
        reading = Thread(lambda: [peer.read_frame() for _ in range(4)])
        for _ in range(5):
            client.send(answer)
        assert reading.result() == [Frame(BINARY, answer)] * 4


@pytest.mark.usefixtures("no_time")
def test_other_frames_take_the_answers_with_them(pair: tuple[RawServer, ClientConnection]) -> None:
    """A message of another thread, a ping, a pong, a close frame."""
    peer, client = pair
    receive_all_at_once(peer, client)
    client.send("a")
    Thread(lambda: client.send("b")).result()
    assert [peer.read_frame() for _ in range(2)] == [Frame(TEXT, b"a"), Frame(TEXT, b"b")]
    client.send("c")
    client.ping(b"d")
    assert [peer.read_frame() for _ in range(2)] == [Frame(TEXT, b"c"), Frame(PING, b"d")]
    client.send("e")
    client.pong(b"f")
    assert [peer.read_frame() for _ in range(2)] == [Frame(TEXT, b"e"), Frame(PONG, b"f")]
    client.send("g")
    closing = Thread(client.close)
    assert [peer.read_frame() for _ in range(2)] == [Frame(TEXT, b"g"), Frame(CLOSE, close_payload(1000))]
    peer.socket.close()
    closing.result()


@pytest.mark.usefixtures("no_time")
def test_end_of_the_program_in_a_block_takes_the_answers_with_it() -> None:
    with raw_server() as (peer, client):
        receive_all_at_once(peer, client)
        client.send("a")
        with pytest.raises(KeyboardInterrupt), client:
            raise KeyboardInterrupt
        assert [peer.read_frame() for _ in range(2)] == [Frame(TEXT, b"a"), Frame(CLOSE, close_payload(1001))]


def test_answer_is_written_though_the_thread_does_something_else() -> None:
    """The other answers of that thread to these messages are written at once."""
    with raw_server() as (peer, client):
        receive_all_at_once(peer, client)
        client.send("a")
        assert peer.read_frame() == Frame(TEXT, b"a")
        client.recv()
        assert client.protocol.has_input
        client.send("b")
        assert client.protocol.send_queue.queued == 0
        assert peer.read_frame() == Frame(TEXT, b"b")


def test_answers_of_many_connections() -> None:
    with raw_server() as (peer, client), raw_server() as (other_peer, other):
        for _ in range(3):
            for each_peer, each in ((peer, client), (other_peer, other)):
                each_peer.send(*numbered(COUNT))
                for _ in range(COUNT - 1):
                    each.send(each.recv())
        for each_peer, each in ((peer, client), (other_peer, other)):
            assert [each_peer.read_frame() for _ in range(COUNT - 1)] == numbered(COUNT - 1)
            each.abort()
        until(lambda: not sending._gathering)


EXIT = """
import atexit, os, socket, sys

def check():
    peer.socket.settimeout({deadline})
    print(peer.read_frame().payload.decode())
    peer.socket.setblocking(False)
    try:
        print("doubled", peer.read_frame())
    except BlockingIOError:
        print("once")

parent = os.getpid()
atexit.register(lambda: check() if os.getpid() == parent else None)
from adapters.threading import connect, sending
from tests.adapters.threads import RawServer, Thread
from tests.core.helpers import Frame, TEXT

sending.GATHERING_TIME = 10**6
theirs, ours = socket.socketpair()
peer = RawServer(theirs)
answering = Thread(peer.answer)
client = connect("ws://localhost/", sock=ours, compression=None)()
answering.result()
peer.send(Frame(TEXT, b"0"), Frame(TEXT, b"1"))
client.recv()
client.send("a")
if os.fork() == 0:
    sys.exit()
os.wait()
"""


def test_answers_are_written_at_the_end_of_the_interpreter() -> None:
    """By the process that has sent them, and not by its children."""
    # From Python 3.12 on, fork() warns in a process with threads.
    program = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", EXIT.format(deadline=DEADLINE)]
    result = subprocess.run(program, capture_output=True, text=True, timeout=DEADLINE)
    assert (result.stdout.split(), result.stderr) == (["a", "once"], "")


@pytest.mark.usefixtures("no_time")
def test_abort_drops_the_answers(pair: tuple[RawServer, ClientConnection]) -> None:
    peer, client = pair
    receive_all_at_once(peer, client)
    client.send("a")
    client.abort()
    with pytest.raises(EOFError):
        peer.read_frame()


@pytest.mark.usefixtures("no_time")
def test_thread_that_only_sends_does_not_gather(pair: tuple[RawServer, ClientConnection]) -> None:
    """Messages wait in the receive queue, which another thread has received from."""
    peer, client = pair
    receive_all_at_once(peer, client)
    sent = threading.Event()

    def send() -> None:
        client.send("a")
        sent.set()

    Thread(send).result()
    assert sent.is_set()
    assert peer.read_frame() == Frame(TEXT, b"a")
