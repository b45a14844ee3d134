"""Growth: work grows with the number of threads, messages and connections, not with its square."""

from __future__ import annotations

import functools
import gc
import socket
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

import adapters.threading
from adapters.threading import connect, serve
from adapters.threading.background import background_reader
from adapters.threading.broadcast import Broadcast
from adapters.threading.connection import Connection
from adapters.threading.sending import Sending
from adapters.threading.wakeups import Gate, Receiver
from tests.core.helpers import BINARY, CLOSE, PONG, Frame, close_payload, request
from wsproto_core import ConnectionClosed

from .threads import DEADLINE, HOST, Thread, raw_server, until, waits

COUNT = 30

MORE = 4

RATIO = 8.0
"""How much more work there may be for four times as many: it is 16 if each looks at all others. How the
operating system chooses among threads makes a part of the difference."""


class Counter:
    """How often methods have been called, by any thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.count = 0

    def watch(self, owner: type[Any], name: str) -> None:
        function = getattr(owner, name)

        def call(*args: Any, **options: Any) -> Any:
            self.count += 1
            return function(*args, **options)

        self._monkeypatch.setattr(owner, name, call)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """Counts how often a thread falls asleep or is woken, and how often conditions are tested."""
    counter = Counter(monkeypatch)
    counter.watch(Gate, "sleep")
    counter.watch(Receiver, "wake")
    for condition in ("_is_not_open", "_may_send", "_may_write", "_is_closed"):
        counter.watch(Sending, condition)
    counter.watch(Connection, "_step")
    return counter


def check_growth(counter: Counter, work: Callable[[int], None]) -> None:
    counts = []
    for count in (COUNT, MORE * COUNT):
        counter.count = 0
        work(count)
        counts.append(counter.count)
    assert counts[1] < RATIO * counts[0], counts


def test_threads_that_send(looks: Counter) -> None:
    def work(count: int) -> None:
        with raw_server(write_limit=2**12) as (peer, client):
            first = Thread(client.send, b"x" * 2**16)
            until(waits(client))
            threads = [Thread(client.send, b"x" * 2**13) for _ in range(count)]
            until(waits(client, count + 1))
            for length in [2**16] + [2**13] * count:
                assert peer.read_frame() == Frame(BINARY, b"x" * length)
            for thread in (first, *threads):
                thread.result()

    check_growth(looks, work)


def test_threads_that_send_when_the_connection_is_closed(looks: Counter) -> None:
    def work(count: int) -> None:
        with raw_server(write_limit=2**12) as (_, client):
            threads = [Thread(client.send, b"x" * 2**16) for _ in range(count)]
            until(waits(client, count))
            client.abort()
            for thread in threads:
                with pytest.raises(ConnectionClosed):
                    thread.result()

    check_growth(looks, work)


def test_threads_that_wait_for_pongs(looks: Counter) -> None:
    def work(count: int) -> None:
        with raw_server() as (peer, client):
            pings = [client.ping(b"%d" % number) for number in range(count)]
            threads = [Thread(ping.wait) for ping in pings]
            until(waits(client, count))
            for number, thread in enumerate(threads):
                peer.send(Frame(PONG, b"%d" % number))
                thread.result()

    check_growth(looks, work)


def has_received(client: Connection, pongs: int) -> bool:
    return client.statistics.frames_received >= pongs


def test_threads_that_wait_for_the_end(looks: Counter) -> None:
    def work(count: int) -> None:
        with raw_server() as (peer, client):
            threads = [Thread(client.wait_closed) for _ in range(count)]
            until(waits(client, count))
            for number in range(count):
                # One by one, or it would depend on the time how many are looked at together.
                peer.send(Frame(PONG))
                until(functools.partial(has_received, client, number + 1))
            peer.send(Frame(CLOSE, close_payload(1000)))
            peer.socket.close()
            for thread in threads:
                thread.result()

    check_growth(looks, work)


def test_broadcast_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each slow connection is looked at when it has room, in whatever order they have."""
    counter = Counter(monkeypatch)
    counter.watch(Broadcast, "_serve")
    counter.watch(Sending, "_may_write")

    def work(count: int) -> None:
        accepted: list[Connection] = []
        finish = threading.Event()

        def handler(websocket: Any) -> None:
            accepted.append(websocket)
            finish.wait(DEADLINE)

        with serve(handler, HOST, 0, compression=None, write_limit=2**12, ping_interval=None) as server:
            assert server.sockets
            uri = f"ws://{HOST}:{server.sockets[0].getsockname()[1]}/"
            options: dict[str, Any] = {"compression": None, "max_queue": None, "read_limit": None}
            clients = [connect(uri, max_size=None, ping_interval=None, **options)() for _ in range(count)]
            until(lambda: len(accepted) == count)
            # As if they were slow.
            turns = [connection._senders.join(lambda: None) for connection in accepted]
            counter.count = 0
            waiting = adapters.threading.broadcast(accepted, b"a", "wait")
            assert len(waiting.waiting) == count
            thread = Thread(waiting.wait, DEADLINE)
            until(lambda: all(connection._waiters for connection in accepted))
            for connection, turn in zip(reversed(accepted), reversed(turns), strict=True):
                connection._locked(turn.leave)
            thread.result()
            assert not waiting.waiting
            for client in clients:
                assert client.recv(timeout=DEADLINE) == b"a"
            finish.set()
            for client in clients:
                client.close()

    check_growth(counter, work)


def test_broadcast_of_a_long_message_is_kept_once() -> None:
    """Connections whose peers do not read share its buffers."""
    accepted: list[Connection] = []

    def handler(websocket: Any) -> None:
        accepted.append(websocket)
        websocket.wait_closed()

    count, message = 8, bytes(2**23)
    with serve(handler, HOST, 0, compression=None, ping_interval=None) as server, ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection((HOST, server.port)))
            sock.sendall(request())
            assert sock.recv(4096).startswith(b"HTTP/1.1 101 ")
        until(lambda: len(accepted) == count)
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        adapters.threading.broadcast(accepted, message)
        assert all(connection.protocol.unwritten > 0 for connection in accepted)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(message)
        for connection in accepted:
            connection.abort()


def test_many_small_messages_that_wait() -> None:
    """They are written together: their number is no matter, only their size."""
    with raw_server(write_limit=10**7, compression=None) as (peer, client):
        sizes: list[int] = []

        class Stream:
            def send(self, data: Any) -> int:
                sizes.append(len(data))
                return client.transport.send(data)

            def __getattr__(self, name: str) -> Any:
                return getattr(client.transport, name)

        client._stream = Stream()  # type: ignore[assignment]
        client.send(b"x" * 2**18)
        until(lambda: client._blocked)
        count = 20_000
        for _ in range(count):
            client.send(b"x")
        sizes.clear()
        assert peer.read_frame() == Frame(BINARY, b"x" * 2**18)
        for _ in range(count):
            assert peer.read_frame() == Frame(BINARY, b"x")
        # A small buffer takes a part of each write, so that some are written more than once.
        assert len(sizes) < count / 20


def test_closed_connections_are_forgotten() -> None:
    """Their deadlines are far away, and yet take no memory."""
    background_reader()
    references = []
    for _ in range(200):
        with raw_server(ping_interval=1000, open_timeout=1000) as (_, client):
            references.append(weakref.ref(client))
            assert client._deadline is not None
        del client
    # The last of them do it, in the background thread.
    until(lambda: len(background_reader()._entries) < 100)

    def are_gone() -> bool:
        gc.collect()
        return not any(reference() for reference in references)

    until(are_gone)
