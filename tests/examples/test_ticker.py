"""The ticker: its client connects again, and misses nothing."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from adapters.threading import ConnectionClosed, connect
from tests.ports import free_port

from .programs import AMPLE, Program, started


class Forwarder:
    """Passes TCP connections on to a port, until it is interrupted."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.listener = socket.create_server(("localhost", 0))
        self.port = self.listener.getsockname()[1]
        self.works = True
        self.sockets: list[socket.socket] = []
        self.threads: list[threading.Thread] = []

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                if not self.works:
                    client.close()
                    continue
                server = socket.create_connection(("localhost", self.target))
                self.sockets += [client, server]
                for pair in ((client, server), (server, client)):
                    self.threads.append(threading.Thread(target=self.copy, args=pair, daemon=True))
                    self.threads[-1].start()

    @staticmethod
    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)

    def interrupt(self) -> None:
        self.works = False
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def forwarding(port: int) -> Iterator[Forwarder]:
    forwarder = Forwarder(port)
    thread = threading.Thread(target=forwarder.run, daemon=True)
    thread.start()
    try:
        yield forwarder
    finally:
        with contextlib.suppress(OSError):
            forwarder.listener.shutdown(socket.SHUT_RDWR)
        forwarder.listener.close()
        thread.join(AMPLE)
        forwarder.interrupt()
        for thread in forwarder.threads:
            thread.join(AMPLE)
        for sock in forwarder.sockets:
            sock.close()


def numbers(client: Program, count: int) -> list[int]:
    """Return the next numbers, past other lines."""
    found: list[int] = []
    while len(found) < count:
        if (line := client.line()).isdigit():
            found.append(int(line))
    return found


def test_what_was_missed_comes_later() -> None:
    port = free_port()
    with started("ticker/server.py", port, 0.02) as server, forwarding(port) as forwarder:
        server.expect("Numbers at")
        with started("ticker/client.py", f"ws://localhost:{forwarder.port}/") as client:
            last = numbers(client, 3)[-1]
            forwarder.interrupt()
            while (line := client.line()) != "the connection has ended (code 1006)":
                last = int(line)
            with connect(f"ws://localhost:{port}/") as other:
                other.send("{}")
                while json.loads(other.recv(timeout=AMPLE))["number"] < last + 20:
                    pass
            forwarder.works = True
            assert numbers(client, 40) == list(range(last + 1, last + 41))
            assert client.stop() == 0
        assert server.stop(signal.SIGTERM) == 0


def test_the_server_is_started_again() -> None:
    port = free_port()
    with started("ticker/client.py", f"ws://localhost:{port}/") as client:
        with started("ticker/server.py", port, 0.02):
            numbers(client, 3)
        with started("ticker/server.py", port, 0.02):
            client.expect("the server was started again")
            first, second = numbers(client, 2)
            assert second == first + 1


def test_what_is_refused() -> None:
    port = free_port()
    with started("ticker/server.py", port) as server:
        server.expect("Numbers at")
        for message in ("", "[]", '{"run": 1', "no number"):
            with connect(f"ws://localhost:{port}/") as websocket:
                websocket.send(message)
                with pytest.raises(ConnectionClosed, match="say what you have seen last"):
                    websocket.recv(timeout=AMPLE)
