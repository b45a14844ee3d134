"""The gateway from TCP to WebSocket."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from adapters.threading import ServerConnection, serve
from tests.ports import free_port

from .programs import AMPLE, Program, started


@contextlib.contextmanager
def gateway(handler: Callable[[ServerConnection], Any], **options: Any) -> Iterator[tuple[Program, int]]:
    """A server with this handler, and a gateway to it; yields the gateway and its port."""
    with serve(handler, "localhost", 0, **options) as server:
        port = free_port()
        with started("gateway/gateway.py", port, f"ws://127.0.0.1:{server.port}/") as program:
            program.expect("Listening on port")
            yield program, port


def connect(port: int) -> socket.socket:
    return socket.create_connection(("localhost", port), timeout=AMPLE)


def read_to_end(sock: socket.socket) -> bytes:
    data = b""
    while block := sock.recv(65536):
        data += block
    return data


def echo(websocket: ServerConnection) -> None:
    for message in websocket:
        websocket.send(message)


def test_bytes_both_ways() -> None:
    with gateway(echo) as (program, port):
        with connect(port) as one, connect(port) as two:
            for sock, data in ((one, b"one"), (two, b"two"), (one, b"one again")):
                sock.sendall(data)
                assert sock.recv(100) == data
            one.shutdown(socket.SHUT_WR)
            assert read_to_end(one) == b""
            two.sendall(b"still here")
            assert two.recv(100) == b"still here"
        assert program.stop() == 0


def test_backpressure_both_ways() -> None:
    block = random.randbytes(2**20)
    with gateway(echo) as (_, port), connect(port) as client:
        # While nothing is read, the echo stops, and then the sender: no program stores what comes.
        sent = 0
        client.setblocking(False)
        while select.select([], [client], [], 2)[1]:
            sent += client.send(block[sent % len(block) :])
            assert sent < 2**28
        client.settimeout(AMPLE)
        received, expected = 0, memoryview(block + block)
        while received < sent:
            data = client.recv(2**20)
            start = received % len(block)
            assert data == expected[start : start + len(data)]
            received += len(data)
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == b""


def test_text_and_the_end_of_the_server() -> None:
    data = random.randbytes(300_000).hex()

    def talk(websocket: ServerConnection) -> None:
        assert websocket.recv(timeout=AMPLE) == b"\xff"
        websocket.send("✓")
        websocket.send(["in ", "pieces"])
        websocket.send(data)

    with gateway(talk) as (_, port), connect(port) as client:
        client.sendall(b"\xff")
        # All that was sent before the close arrives.
        assert read_to_end(client).decode() == f"✓in pieces{data}"


def test_a_lost_connection_resets_the_client() -> None:
    def lose(websocket: ServerConnection) -> None:
        websocket.recv(timeout=AMPLE)
        websocket.abort()

    with gateway(lose) as (program, port), connect(port) as client:
        client.sendall(b"?")
        with pytest.raises(ConnectionResetError):
            client.recv(100)
        assert program.line().startswith("failed: ")


def test_a_client_that_is_reset_closes_its_connection() -> None:
    codes: list[int | None] = []
    done = threading.Event()

    def note(websocket: ServerConnection) -> None:
        try:
            echo(websocket)
        finally:
            codes.append(websocket.close_code)
            done.set()

    with gateway(note) as (_, port):
        with connect(port) as client:
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert done.wait(AMPLE)
        assert codes == [1001]


def test_a_server_that_is_not_there() -> None:
    port = free_port()
    with started("gateway/gateway.py", port, f"ws://127.0.0.1:{free_port()}/") as program:
        program.expect("Listening on port")
        # The reset may come while `create_connection` still waits: it raises that, too.
        with pytest.raises(ConnectionResetError), connect(port) as client:
            client.recv(100)
        assert "refused" in program.line()


def test_a_server_that_never_answers() -> None:
    port = free_port()
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        started("gateway/gateway.py", port, f"ws://127.0.0.1:{silent.getsockname()[1]}/") as program,
    ):
        program.expect("Listening on port")
        with connect(port) as client, pytest.raises(ConnectionResetError):
            client.recv(100)  # after the core's `open_timeout`, ten seconds
        assert "did not answer within 10 seconds" in program.line()
