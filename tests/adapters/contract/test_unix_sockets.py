"""Unix sockets: `unix_connect`, `unix_serve`."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import echo
from wsproto_core import InvalidURI

pytestmark = pytest.mark.needs("sockets")


async def test_unix_sockets(runtime: Runtime, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with runtime.unix_serve(echo, path) as server:
        async with runtime.unix_connect(path) as client:
            await runtime.check_echo(client)
            (accepted,) = server.connections
            assert accepted.request_headers["Host"] == "localhost"
        async with runtime.unix_connect(path, "ws://example.com:1234/path") as client:
            assert client.path == "/path"
            assert client.request_headers["Host"] == "example.com:1234"


async def test_large_messages(runtime: Runtime, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with runtime.unix_serve(echo, path, max_size=None) as _, runtime.unix_connect(path) as client:
        sending = runtime.spawn(client.send, b"x" * 1_000_000)
        assert await client.recv() == b"x" * 1_000_000
        await sending.result()


async def test_tls(runtime: Runtime, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with (
        runtime.unix_serve(echo, path, **runtime.server_tls(True)),
        runtime.unix_connect(path, "wss://localhost/", **runtime.client_tls(True)) as client,
    ):
        await runtime.check_echo(client)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has them")
async def test_abstract_name(runtime: Runtime, tmp_path: Path) -> None:
    """A name that is not in the file system begins with a null character."""
    path = f"\0{tmp_path}"
    async with runtime.unix_serve(echo, path):
        connecting = runtime.unix_connect(path)
        if runtime.name == "uvloop":
            # It does not connect to them by itself.
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            connecting = runtime.connect("ws://localhost/", sock=sock)
        async with connecting as client:
            await runtime.check_echo(client)


async def test_server_takes_the_place_of_one_that_is_gone(runtime: Runtime, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(path)
    async with runtime.unix_serve(echo, path), runtime.unix_connect(path) as client:
        await runtime.check_echo(client)


async def test_serve_on_a_socket(runtime: Runtime, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    async with runtime.unix_serve(echo, sock=sock), runtime.unix_connect(path) as client:
        await runtime.check_echo(client)


async def test_socket_that_is_not_there(runtime: Runtime, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with runtime.unix_connect(str(tmp_path / "socket")):
            raise AssertionError


async def test_options_are_checked(runtime: Runtime, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with pytest.raises(TypeError, match="'max_sise'; did you mean 'max_size'"):
        async with runtime.unix_serve(echo, path, max_sise=1):
            raise AssertionError
    with pytest.raises(TypeError, match="'max_sise'; did you mean 'max_size'"):
        async with runtime.unix_connect(path, max_sise=1):
            raise AssertionError
    with pytest.raises(InvalidURI):
        async with runtime.unix_connect(path, "http://localhost/"):
            raise AssertionError
