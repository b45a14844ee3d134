"""How many descriptors blocking connections need, and what happens when there are none left."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
from typing import Any

import pytest

from adapters.threading import connect, serve
from adapters.threading.background import WAKEUPS, BackgroundReader, background_reader
from adapters.threading.wakeups import POLLIN, Receiver, Wakeup
from tests.core.helpers import CLOSE, PING, PONG, TEXT, Frame, close_payload
from wsproto_core import ConnectionClosed

from .test_threading_background import run
from .threads import DEADLINE, HOST, Thread, raw_server, sleep, until, waits

COUNT = 150


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd" if os.path.exists("/proc/self/fd") else "/dev/fd"))


def test_a_connection_has_one() -> None:
    """Also while a thread waits for it, at either end; besides, there are a few wakeup descriptors."""

    def handler(websocket: Any) -> None:
        for message in websocket:
            websocket.send(message)

    background_reader()
    before = descriptors()
    with serve(handler, HOST, 0) as server, contextlib.ExitStack() as stack:
        assert server.sockets
        uri = f"ws://{HOST}:{server.sockets[0].getsockname()[1]}/"
        clients = [stack.enter_context(connect(uri)) for _ in range(COUNT)]
        receiving = [Thread(client.recv) for client in clients]
        for client in clients:
            until(waits(client))
        for connection in server.connections:
            until(waits(connection))
        assert descriptors() - before <= 2 * COUNT + WAKEUPS + 10
        for client in clients:
            client.send("a")
        assert [each.result() for each in receiving] == ["a"] * COUNT


def test_waiters_that_share_a_wakeup_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is woken when it is meant; others that are woken with it go on waiting."""
    wakeup = Wakeup()
    monkeypatch.setattr(BackgroundReader, "shared_wakeup", lambda reader: wakeup)
    with contextlib.ExitStack() as stack:
        pairs = [stack.enter_context(raw_server()) for _ in range(10)]
        receiving = [Thread(client.recv) for _, client in pairs]
        for _, client in pairs:
            until(waits(client))
        for number in range(0, 10, 2):
            pairs[number][1].abort()
            with pytest.raises(ConnectionClosed):
                receiving[number].result()
        for number in range(1, 10, 2):
            assert receiving[number].is_alive()
            peer, _ = pairs[number]
            peer.send(Frame(TEXT, b"a"))
            assert receiving[number].result() == "a"
    until(lambda: not wakeup.called)


def test_wakeup_does_not_wait_for_a_thread_that_is_gone() -> None:
    """An interruption may prevent a thread from answering."""
    ours, theirs = socket.socketpair()
    wakeup = Wakeup()
    receivers = [Receiver(wakeup), Receiver(wakeup)]
    for receiver in receivers:
        receiver.watch(ours.fileno())
        receiver.asleep = True
    receivers[0].wake()
    receivers[0].asleep = False
    with ours, theirs:
        assert sleep(receivers[1]) == 0
        assert not wakeup.called
        theirs.send(b"a")
        assert sleep(receivers[1]) == POLLIN


def test_without_any_left_connections_are_well() -> None:
    """What needs a new one fails, and nothing else: threads wait, messages and pings pass, ends are seen."""
    output = run(
        """
        import resource, socket, threading, time
        from adapters.threading import connect, serve

        def echo(websocket):
            for message in websocket:
                websocket.send(message)

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        with serve(echo, "127.0.0.1", 0, ping_interval=0.5, ping_timeout=20) as server:
            uri = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            clients = [connect(uri, ping_interval=0.5, ping_timeout=20)() for _ in range(60)]
            taken = []
            try:
                while True:
                    taken.append(socket.socket())
            except OSError:
                pass
            try:
                connect(uri)()
            except OSError as error:
                print("connect:", error.strerror)

            def receive(client):
                received.append(client.recv(timeout=20))

            for _ in range(3):
                received = []
                threads = [threading.Thread(target=receive, args=(client,)) for client in clients]
                for thread in threads:
                    thread.start()
                for client in clients:
                    client.send("a")
                for thread in threads:
                    thread.join()
                assert received == ["a"] * len(clients), received
                time.sleep(0.5)
            for client in clients:
                client.ping().wait(20)
                assert client.open
            for each in taken:
                each.close()
            with connect(uri) as client:
                client.send("b")
                print(client.recv(timeout=20))
            for client in clients:
                client.close()
        """
    )
    assert output == "connect: Too many open files\nb\n"


# The descriptor of a connection that is closed


def test_socket_is_not_closed_while_a_thread_polls_it() -> None:
    """The descriptor may be another connection's by then: it is closed by the thread, when it is awake."""
    with raw_server() as (peer, client):
        receiving = Thread(client.recv)
        until(waits(client))

        def abort() -> int:
            client._lose()
            # The peer sees the end at once, nevertheless.
            assert peer.socket.recv(1) == b""
            return client.transport.fileno()

        assert client._locked(abort) >= 0
        with pytest.raises(ConnectionClosed):
            receiving.result()
        until(lambda: client.transport.fileno() == -1)


def test_socket_is_closed_when_the_signal_handler_has_returned() -> None:
    with raw_server() as (peer, client):

        def close(*args: object) -> None:
            client.close()
            closed.append(client.closed)

        closed: list[bool] = []
        previous = signal.signal(signal.SIGALRM, close)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            answering = Thread(
                lambda: (
                    peer.read_frame(),
                    peer.send(Frame(CLOSE, close_payload(1000))),  # type: ignore[func-returns-value]
                    peer.socket.close(),  # type: ignore[func-returns-value]
                )
            )
            with pytest.raises(ConnectionClosed):
                client.recv()
            answering.result()
        finally:
            signal.signal(signal.SIGALRM, previous)
        assert closed == [True]
        assert client.transport.fileno() == -1


def test_peer_that_is_slow_to_answer_the_close_frame_of_a_signal_handler() -> None:
    """The thread that would receive is interrupted: the background thread reads for as long as it takes."""
    with raw_server(close_timeout=10 * DEADLINE) as (peer, client):
        closed = threading.Event()

        def close(*args: object) -> None:
            # As if a message had been received just before.
            client._locked_or_deferred(client._check_idle_later)
            client.close()
            closed.set()

        def answer() -> None:
            peer.read_frame()
            # Longer than it takes to see that no thread receives.
            time.sleep(0.5)
            peer.send(Frame(CLOSE, close_payload(1000)))
            peer.socket.close()
            try:
                until(closed.is_set)
            finally:
                client.abort()

        previous = signal.signal(signal.SIGALRM, close)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            answering = Thread(answer)
            with pytest.raises(ConnectionClosed):
                client.recv()
            answering.result()
        finally:
            signal.signal(signal.SIGALRM, previous)
        assert client.close_code == 1000


def test_background_thread_forgets_a_socket_before_it_is_closed() -> None:
    with raw_server() as (peer, client):
        until(lambda: client._idle_checks > 1 and client._watched)
        fd = client.transport.fileno()
        assert fd in background_reader()._selector.get_map()
        client.abort()
        assert fd not in background_reader()._selector.get_map()
        assert peer.socket.recv(1) == b""


@pytest.fixture
def no_wakeup(monkeypatch: pytest.MonkeyPatch) -> None:
    background_reader()

    def fail(*args: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "eventfd", fail, raising=False)
    monkeypatch.setattr(os, "pipe", fail)


@pytest.mark.usefixtures("no_wakeup")
def test_no_wakeup_descriptor_is_needed_later() -> None:
    with raw_server() as (peer, client):
        peer.send(Frame(PING, b"a"))
        assert peer.read_frame() == Frame(PONG, b"a")
        threads = [Thread(client.wait_closed) for _ in range(3)]
        receiving = Thread(client.recv)
        until(waits(client, 4))
        client.abort()
        for thread in threads:
            thread.result()
        with pytest.raises(ConnectionClosed):
            receiving.result()


def test_wakeup_on_a_platform_without_eventfd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "eventfd", raising=False)
    wakeup = Wakeup()
    poll = select.poll()
    poll.register(wakeup.fd, POLLIN)
    assert not poll.poll(0)
    wakeup.set()
    wakeup.set()
    assert poll.poll(0) == [(wakeup.fd, POLLIN)]
    wakeup.clear()
    assert not poll.poll(0)
    wakeup.clear()
