"""The programs of docs/deployment.md, run as they are but for the port, and asked to stop by a signal."""

from __future__ import annotations

import asyncio
import functools
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from adapters.asyncio import connect, reconnect
from tests.docs.samples import Sample, blocks
from tests.ports import free_port
from wsproto_core import ConnectionClosedOK

PROGRAMS = blocks("deployment.md", "program")

DEADLINE = 100.0

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to be handled")


@contextmanager
def program(
    name: str, port: int, directory: Path, *instead: tuple[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A program of the page, which serves on another port."""
    source = PROGRAMS[name]
    for old, new in ((", 8765", f", {port}"), ('"localhost"', '"127.0.0.1"'), *instead):
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    path = directory / f"serve_on_{name}.py"
    path.write_text(source, encoding="utf-8")
    process = subprocess.Popen([sys.executable, "-W", "error", str(path)], stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"it does not listen: {process.communicate()}")


def test_there_is_a_program_for_each_adapter() -> None:
    assert {"asyncio", "trio", "anyio", "threading"} <= set(PROGRAMS)


@pytest.mark.parametrize("name", ["asyncio", "trio", "anyio", "threading"])
def test_stopping_in_order(name: str, tmp_path: Path) -> None:
    port = free_port()

    async def test(process: subprocess.Popen[bytes]) -> None:
        uri = f"ws://127.0.0.1:{port}/"
        # One that talks, one that waits, and one that is in the opening handshake.
        _, handshake = await asyncio.open_connection("127.0.0.1", port)
        async with connect(uri) as client, connect(uri) as other:
            await client.send("hello")
            assert await client.recv() == "hello"
            process.send_signal(signal.SIGTERM)
            for each in (client, other):
                with pytest.raises(ConnectionClosedOK) as raised:
                    await each.recv()
                assert raised.value.code == 1001
        handshake.close()
        await handshake.wait_closed()

    with program(name, port, tmp_path) as process:
        wait_until_it_listens(port, process)
        asyncio.run(asyncio.wait_for(test(process), DEADLINE))
        _, errors = process.communicate(timeout=DEADLINE)
        assert errors == b""
        assert process.returncode == 0


def test_draining_on_asyncio() -> None:
    """The lines of the page stop a server when they are in the place of those of the program."""
    given = {"functools": functools, "signal": signal}
    calls: list[tuple[int, float]] = []
    server = SimpleNamespace(close=lambda drain: calls.append((signal.SIGTERM, drain)))
    loop = SimpleNamespace(add_signal_handler=lambda number, function: function())
    Sample("deployment.md")("drain", server=server, loop=loop, **given)
    assert calls == [(signal.SIGTERM, 20)]


@pytest.mark.parametrize("name", ["asyncio", "trio", "anyio", "threading"])
def test_stopping_with_a_client_that_does_not_answer(name: str, tmp_path: Path) -> None:
    port = free_port()
    request = (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    shorter = ("close_timeout=5", "close_timeout=0.3")
    with program(name, port, tmp_path, shorter) as process:
        wait_until_it_listens(port, process)
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(request)
            assert sock.recv(65536).startswith(b"HTTP/1.1 101 ")
            process.send_signal(signal.SIGTERM)
            assert sock.recv(65536) == b"\x88\x02\x03\xe9"
            # It goes all the same.
            _, errors = process.communicate(timeout=DEADLINE)
        assert errors == b""
        assert process.returncode == 0


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="the system has no SO_REUSEPORT")
def test_several_processes(tmp_path: Path) -> None:
    port = free_port()

    async def ask() -> str:
        async with connect(f"ws://127.0.0.1:{port}/") as client:
            return str(await client.recv())

    async def collect(count: int) -> None:
        seen: set[str] = set()
        while len(seen) < count:
            seen.add(await ask())

    async def keep_asking(process: subprocess.Popen[bytes]) -> None:
        """Clients of the process that stops are served by the other."""
        process.send_signal(signal.SIGTERM)
        async with reconnect(f"ws://127.0.0.1:{port}/", reconnect_delays=[0.05] * 100) as connections:
            async for client in connections:
                with suppress(ConnectionClosedOK):
                    if await client.recv() != str(process.pid):
                        return

    with program("processes", port, tmp_path) as first, program("processes", port, tmp_path) as second:
        wait_until_it_listens(port, first)
        asyncio.run(asyncio.wait_for(collect(2), DEADLINE))
        asyncio.run(asyncio.wait_for(keep_asking(first), DEADLINE))
        second.send_signal(signal.SIGTERM)
        for process in (first, second):
            _, errors = process.communicate(timeout=DEADLINE)
            assert errors == b""
            assert process.returncode == 0
