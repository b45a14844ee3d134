"""Listening, accepting and connecting with sockets of our own, on trio and anyio alike."""

from __future__ import annotations

import asyncio
import errno
import socket
from pathlib import Path
from typing import Any

import pytest
import trio

import adapters.structured.server
from tests.adapters.runtimes import Runtime, make_runtime
from tests.adapters.runtimes.base import (
    DEADLINE,
    HOST,
    Log,
    client_context,
    echo,
    server_context,
    wait_closed,
)
from tests.ports import free_port
from wsproto_core.exceptions import ConnectionClosed


@pytest.fixture(params=["trio", "anyio-asyncio", "anyio-trio"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return make_runtime(request.param)


async def test_listening_on_several_hosts(runtime: Runtime) -> None:
    async with runtime.serve(echo, [HOST, "127.0.0.2"], 0) as server:
        assert [sock.getsockname()[0] for sock in server.sockets] == [HOST, "127.0.0.2"]
        for sock in server.sockets:
            host, port = sock.getsockname()
            async with runtime.connect(f"ws://{host}:{port}") as client:
                await runtime.check_echo(client)
    assert server.sockets == ()


@pytest.mark.parametrize("runtime", ["asyncio", "anyio-asyncio"], indirect=True)
async def test_event_loop_lets_a_closed_listener_be(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if another process goes on to listen, and a client waits there to be accepted."""
    turns = 0
    selector: Any = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    select = selector.select

    def counting(timeout: float | None = None) -> Any:
        nonlocal turns
        turns += 1
        return select(timeout)

    with socket.create_server((HOST, 0)) as listener, listener.dup() as of_another_process:
        async with runtime.serve(wait_closed, sock=listener) as server:
            await runtime.settle()
            server.close(close_connections=False)
            with socket.create_connection(of_another_process.getsockname()):
                await runtime.settle()
                monkeypatch.setattr(selector, "select", counting)
                await runtime.sleep(0.2)
                assert turns < 20


async def test_all_or_nothing_is_listened_on(runtime: Runtime) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.2", port)):
        with pytest.raises(OSError, match="in use"):
            async with runtime.serve(echo, [HOST, "127.0.0.2"], port):
                pass
        with pytest.raises(OSError, match="refused"), socket.create_connection((HOST, port)):
            pass


async def test_a_family_without_use_is_passed_over(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoIPv6(socket.socket):
        def __init__(self, family: int = -1, *args: Any, **options: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "no such family")
            super().__init__(family, *args, **options)

    monkeypatch.setattr(socket, "socket", NoIPv6)
    monkeypatch.setattr(trio._socket._stdlib_socket, "socket", NoIPv6)
    async with runtime.serve(echo, [HOST, "::1"], 0) as server:
        assert [sock.getsockname()[0] for sock in server.sockets] == [HOST]
    with pytest.raises(OSError, match="no such family"):
        async with runtime.serve(echo, "::1", 0):
            pass


async def test_two_servers_share_a_port(runtime: Runtime) -> None:
    async with runtime.serve(echo, HOST, 0, reuse_port=True) as first:
        port = runtime.port_of(first)
        async with runtime.serve(echo, HOST, port, reuse_port=True) as second:
            assert runtime.port_of(second) == port
        with pytest.raises(OSError, match="in use"):
            async with runtime.serve(echo, HOST, port):
                pass


async def test_a_socket_of_ones_own(runtime: Runtime) -> None:
    sock = socket.socket()
    sock.bind((HOST, 0))
    address = sock.getsockname()
    async with (
        runtime.serve(echo, sock=sock),
        runtime.connect("ws://localhost/", sock=socket.create_connection(address)) as client,
    ):
        await runtime.check_echo(client)
        assert client.remote_address == address


async def test_a_unix_socket_that_was_left_behind(runtime: Runtime, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    for _ in range(2):
        async with runtime.unix_serve(echo, path), runtime.unix_connect(path) as client:
            await runtime.check_echo(client)


async def test_a_file_is_not_taken_for_a_socket(runtime: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(OSError, match="in use"):
        async with runtime.unix_serve(echo, str(path)):
            pass
    assert path.read_text(encoding="utf-8") == "precious"


async def test_a_unix_socket_of_ones_own(runtime: Runtime, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    async with runtime.unix_serve(echo, sock=sock), runtime.unix_connect(path) as client:
        await runtime.check_echo(client)


async def test_a_local_address(runtime: Runtime) -> None:
    async with runtime.serving() as (_, uri), runtime.connect(uri, local_address="127.0.0.3") as client:
        await runtime.check_echo(client)
        assert client.local_address[0] == "127.0.0.3"


async def test_a_client_that_has_gone_before_it_is_accepted(runtime: Runtime) -> None:
    log = Log()
    for tls in (False, True):
        options = {"ssl": server_context()} if tls else {}
        async with runtime.serving(logger=log, **options) as (server, uri):
            for _ in range(3):
                peer = await runtime.raw_stream(server)
                peer.reset()
            async with runtime.connect(uri, **({"ssl": client_context()} if tls else {})) as client:
                await runtime.check_echo(client)
            await runtime.until(lambda: not server.connections)
    assert not log.errors()


async def test_accepting_is_tried_again(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    errors = [OSError(errno.EMFILE, "too many open files")] * 2
    accept_now = adapters.structured.server.accept_now

    def failing_accept(listener: socket.socket) -> socket.socket | None:
        if errors:
            raise errors.pop()
        return accept_now(listener)

    monkeypatch.setattr(adapters.structured.server, "accept_now", failing_accept)
    async with runtime.serving(logger=log) as (_, uri), runtime.connect(uri) as client:
        await runtime.check_echo(client)
    assert log.errors() == [("accepting a connection failed; trying again", OSError)] * 2


async def test_a_flood_of_clients_lets_others_run(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (server, _):
        streams = [await runtime.raw_stream(server) for _ in range(50)]
        seen = set()
        while len(server.connections) < 50:
            seen.add(len(server.connections))
            await runtime.sleep(0)
        assert len(seen) > 5
        for stream in streams:
            stream.close()


async def test_a_connection_object_that_cannot_be_made(runtime: Runtime) -> None:
    log = Log()
    faulty = True

    def create(*args: Any, **options: Any) -> Any:
        if faulty:
            raise KeyError("configuration")
        return runtime.ServerConnection(*args, **options)

    for tls in (False, True):
        faulty = True
        options = {"ssl": server_context()} if tls else {}
        async with runtime.serving(create_protocol=create, logger=log, **options) as (server, uri):
            peer = await runtime.raw_stream(server)
            assert await peer.read() == b""
            peer.close()
            faulty = False
            async with runtime.connect(uri, **({"ssl": client_context()} if tls else {})) as client:
                await runtime.check_echo(client)
    assert log.errors() == [("connection could not be created", KeyError)] * 2


async def test_many_clients_come_and_go(runtime: Runtime) -> None:
    async with runtime.serving(open_timeout=DEADLINE) as (server, uri):

        async def use() -> None:
            for _ in range(3):
                async with runtime.connect(uri, open_timeout=DEADLINE) as client:
                    await runtime.check_echo(client)

        for task in [runtime.spawn(use) for _ in range(20)]:
            await task.result()
        await runtime.until(lambda: not server.connections)


async def test_a_handler_that_closes_the_server(runtime: Runtime) -> None:
    servers: list[Any] = []

    async def handler(websocket: Any) -> None:
        servers[0].close()
        with pytest.raises(ConnectionClosed):
            await websocket.recv()

    async with runtime.serving(handler) as (server, uri):
        servers.append(server)
        async with runtime.connect(uri) as client:
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1001
        await server.serve_forever()
