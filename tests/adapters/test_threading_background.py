"""What happens to connections that no thread waits for."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import selectors
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.threading import ClientConnection, connect
from adapters.threading.background import background_reader
from tests.core.helpers import BINARY, CLOSE, PING, PONG, TEXT, Frame, close_payload
from wsproto_core import ConnectionClosedError, Event, Ping, State

from .threads import DEADLINE, RawServer, Thread, raw_server, until

ROOT = Path(__file__).parent.parent.parent


# What it does


def test_answers_pings() -> None:
    with raw_server() as (peer, _):
        for payload in (b"a", b"b"):
            peer.send(Frame(PING, payload))
            assert peer.read_frame() == Frame(PONG, payload)


def test_answers_pings_after_a_thread_has_left() -> None:
    with raw_server() as (peer, client):
        for payload in (b"a", b"b", b"c"):
            peer.send(Frame(PING, payload))
            assert peer.read_frame() == Frame(PONG, payload)
            peer.send(Frame(TEXT, payload))
            assert client.recv() == payload.decode()


def test_answers_pings_while_messages_wait_for_a_thread() -> None:
    with raw_server(max_queue=4) as (peer, client):
        peer.send(*[Frame(TEXT, b"a")] * 3, Frame(PING))
        assert peer.read_frame() == Frame(PONG)
        assert [client.recv() for _ in range(3)] == ["a"] * 3


def test_sees_the_end() -> None:
    with raw_server(close_timeout=0.2) as (peer, client):
        peer.send(Frame(TEXT, b"a"), Frame(CLOSE, close_payload(1000)))
        assert peer.read_frame() == Frame(CLOSE, close_payload(1000))
        peer.socket.close()
        until(lambda: client.closed)
        assert client.recv() == "a"
        assert client.transport.fileno() == -1


def test_keeps_connections_alive() -> None:
    with raw_server(ping_interval=0.2) as (peer, client):
        for _ in range(2):
            opcode, payload, _, _ = peer.read_frame()
            assert opcode == PING
            peer.send(Frame(PONG, payload))
        until(lambda: client.latency)
        assert client.open


def test_gives_up_a_peer_that_is_gone() -> None:
    with raw_server(ping_interval=0.2, ping_timeout=0.2, close_timeout=0.2) as (_, client):
        until(lambda: client.closed)
        with pytest.raises(ConnectionClosedError):
            client.recv()


def test_meets_a_deadline_that_a_thread_has_set() -> None:
    with raw_server(ping_interval=1000, close_timeout=0.2) as (_, client):
        client.ping()
        client._locked(client._command, client.protocol.close)
        until(lambda: client.closed)


def test_reads_all_that_has_arrived_before_it_meets_a_deadline_late() -> None:
    """The peer's close frame has come in time, behind more bytes than one read takes."""
    with raw_server(close_timeout=1.0) as (peer, client):
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
        begun, go_on = threading.Event(), threading.Event()

        def delay() -> bool:
            begun.set()
            return go_on.wait(DEADLINE)

        background_reader().call_at(0.0, delay)
        assert begun.wait(DEADLINE)
        client._locked(client._command, client.protocol.close)
        peer.send(*[Frame(PONG, b"x" * 125)] * 1000, Frame(CLOSE, close_payload(1000)))
        # If the delay is longer than half the deadline, that starts again: this test passes in any case.
        time.sleep(1.2)
        go_on.set()
        peer.socket.shutdown(socket.SHUT_WR)
        until(lambda: client.closed)
        assert client.close_code == 1000


def test_stops_reading_when_nobody_takes_messages() -> None:
    with raw_server(max_queue=2) as (peer, client):
        sending = Thread(peer.send, *[Frame(BINARY, b"x" * 1000)] * 1000)
        until(lambda: not client.protocol.wants_read)
        assert client.protocol.undelivered < 500
        assert sending.is_alive()
        assert [client.recv() for _ in range(1000)] == [b"x" * 1000] * 1000
        sending.result()


def test_writes_what_does_not_fit() -> None:
    with raw_server(write_limit=10**6) as (peer, client):
        client.send(b"x" * 900_000)
        assert client.protocol.unwritten
        assert peer.read_frame() == Frame(BINARY, b"x" * 900_000)
        until(lambda: not client.protocol.unwritten)
        assert not client._watched & selectors.EVENT_WRITE


def test_does_not_answer_for_a_thread_that_has_come_back() -> None:
    """It leaves the socket to a thread that waits."""
    with raw_server() as (peer, client):
        until(lambda: client._idle_checks > 1)
        assert client._watched
        receiving = Thread(client.recv)
        until(lambda: not client._watched)
        assert client._idle_checks < 2
        peer.send(Frame(TEXT, b"a"))
        assert receiving.result() == "a"
        until(lambda: client._idle_checks > 1)


def test_forgets_deadlines_of_closed_connections() -> None:
    with raw_server(ping_interval=1000) as (_, client):
        entry = client._deadline
        assert entry is not None
    assert entry.call is None


# What it withstands


class Broken(ClientConnection):
    def _handle_event(self, event: Event) -> None:
        if isinstance(event, Ping):
            raise ZeroDivisionError
        super()._handle_event(event)


def test_error_in_a_connection_does_not_concern_others(caplog: pytest.LogCaptureFixture) -> None:
    with raw_server(create_protocol=Broken) as (broken, client), raw_server() as (peer, _):
        broken.send(Frame(PING))
        until(lambda: client.closed)
        peer.send(Frame(PING))
        assert peer.read_frame() == Frame(PONG)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.exc_info
    assert record.exc_info[0] is ZeroDivisionError


# How many there may be


@pytest.fixture
def many() -> Iterator[int]:
    """A number of connections for which there are descriptors, with both ends in this process."""
    count = 2000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * count + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise RuntimeError(f"this test needs {wanted} descriptors; the hard limit is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield count
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_many_connections(many: int) -> None:
    before = set(threading.enumerate())
    with contextlib.ExitStack() as stack:
        pairs = [socket.socketpair() for _ in range(many)]
        peers = [RawServer(theirs) for theirs, _ in pairs]
        answering = Thread(lambda: [peer.answer() for peer in peers])
        options: dict[str, Any] = {"compression": None, "ping_interval": 1, "ping_timeout": None}
        clients = []
        for _, ours in pairs:
            clients.append(connect("ws://localhost/", sock=ours, **options)())
            stack.callback(clients[-1].abort)
        answering.result()
        assert clients[-1].transport.fileno() > 1024
        threads = set(threading.enumerate()) - before - {answering}
        assert len(threads) <= 2

        # Each answers a ping, and each sends one when it is time.
        for peer in peers:
            peer.send(Frame(PING, b"a"))
        seen: list[set[int]] = [set() for _ in peers]
        poll = select.poll()
        numbers = {peer.socket.fileno(): number for number, peer in enumerate(peers)}
        for fd in numbers:
            poll.register(fd, select.POLLIN)
        while not all(opcodes == {PING, PONG} for opcodes in seen):
            ready = poll.poll(DEADLINE * 1000)
            assert ready, f"{sum(opcodes == {PING, PONG} for opcodes in seen)} of {many} are well"
            for fd, _ in ready:
                seen[numbers[fd]].add(peers[numbers[fd]].read_frame().opcode)
        assert set(threading.enumerate()) - before - {answering} <= threads
        assert all(client.state is State.OPEN for client in clients)
    for peer in peers:
        peer.socket.close()


# Other processes


def run(script: str) -> str:
    """Run a program to its end."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_forked_child_has_a_background_thread_of_its_own() -> None:
    output = run(
        """
        import os, socket, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks with threads
        from adapters.threading import connect, serve

        def echo(websocket):
            for message in websocket:
                websocket.send(message)

        with serve(echo, "127.0.0.1", 0) as server:
            uri = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            options = {"ping_interval": 0.2}

            def check():
                with connect(uri, **options) as websocket:
                    websocket.send("hello")
                    assert websocket.recv(timeout=20) == "hello"
                    while not websocket.latency:  # the background thread sends pings
                        threading.Event().wait(0.01)

            check()
            with connect(uri, **options) as parents:
                child = os.fork()
                if not child:
                    assert threading.active_count() == 1
                    check()
                    os._exit(42)
                _, status = os.waitpid(child, 0)
                assert os.waitstatus_to_exitcode(status) == 42
                parents.send("still here")
                assert parents.recv(timeout=20) == "still here"
            check()
        print("done")
        """
    )
    assert output == "done\n"


def test_connection_that_is_left_open_does_not_keep_the_program_running() -> None:
    output = run(
        """
        from adapters.threading import connect, serve

        def wait(websocket):
            websocket.recv()

        server = serve(wait, "127.0.0.1", 0)
        websocket = connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/")()
        print("done")
        """
    )
    assert output == "done\n"


def test_no_thread_before_the_first_connection() -> None:
    output = run(
        """
        import threading
        from adapters.threading import connect
        connect("ws://localhost/")
        print(threading.active_count())
        """
    )
    assert output == "1\n"


def test_there_is_one() -> None:
    assert background_reader() is background_reader()


def test_platform_without_poll() -> None:
    output = run(
        """
        import select
        del select.poll
        try:
            import adapters.threading
        except ImportError as error:
            print(error)
        """
    )
    assert "needs select.poll(), which this platform does not have" in output
    assert "use adapters.asyncio" in output
