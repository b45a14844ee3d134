"""anyio alone: task groups, uvloop, any of its byte streams, and the sockets that it is given."""

from __future__ import annotations

import asyncio
import itertools
import math
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from typing import Any

import anyio
import anyio.abc
import pytest
from anyio.streams.stapled import StapledObjectStream
from anyio.streams.tls import TLSStream

from adapters.anyio import Connection, ServerConnection, connect, serve, serve_stream, unix_serve
from adapters.anyio.streams import RUNTIME
from tests.adapters.runtimes import Runtime, make_runtime
from tests.adapters.runtimes.base import HOST, client_context, echo, server_context
from tests.adapters.runtimes.on_anyio import Anyio

StreamPair = tuple[anyio.abc.ByteStream, anyio.abc.ByteStream]


class AnyioOnUvloop(Anyio):
    def run(self, test: Coroutine[Any, Any, None]) -> None:
        self._failure: Exception | None = None
        anyio.run(self._supervise, test, backend_options={"use_uvloop": True})
        if self._failure is not None:
            raise self._failure


@pytest.fixture(params=["anyio-asyncio", "anyio-trio", "anyio-uvloop"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    name: str = request.param
    return AnyioOnUvloop(name) if name == "anyio-uvloop" else make_runtime(name)


class MemoryStream(StapledObjectStream[bytes], anyio.abc.ByteStream):
    """Chunks that go through a queue in memory: whatever the other end sent, at most ``max_bytes``."""

    _left = b""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = self._left or await super().receive()
        self._left = data[max_bytes:]
        return data[:max_bytes]


async def memory_pair() -> StreamPair:
    one = anyio.create_memory_object_stream[bytes](1)
    other = anyio.create_memory_object_stream[bytes](1)
    return MemoryStream(one[0], other[1]), MemoryStream(other[0], one[1])


async def socket_pair() -> StreamPair:
    left, right = socket.socketpair()
    return await anyio.abc.SocketStream.from_socket(left), await anyio.abc.SocketStream.from_socket(right)


@pytest.mark.parametrize("make_pair", [memory_pair, socket_pair])
@pytest.mark.parametrize("tls", [False, True])
async def test_any_stream(make_pair: Callable[[], Awaitable[StreamPair]], tls: bool) -> None:
    ours, theirs = await make_pair()
    scheme = "wss" if tls else "ws"

    async def serve_theirs() -> None:
        stream: Any = theirs
        if tls:
            stream = await TLSStream.wrap(
                theirs, server_side=True, ssl_context=server_context(), standard_compatible=False
            )
        await serve_stream(echo, stream)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve_theirs)
        options: dict[str, Any] = {"ssl": client_context()} if tls else {}
        async with connect(f"{scheme}://localhost/", stream=ours, **options) as client:
            for message in ("hello", b"x" * 2**20, ["a", "b"]):
                await client.send(message)
                assert await client.recv() == ("ab" if isinstance(message, list) else message)
            assert await (await client.ping()) >= 0
        # Its server returns when the connection is closed.
    assert client.close_code == 1000


async def test_nothing_is_lost_where_readers_change(runtime: Runtime) -> None:
    ours, theirs = await memory_pair()
    count = 50

    async def handler(websocket: ServerConnection) -> None:
        for number in range(count):
            await websocket.send(str(number))
            await anyio.sleep(0.2 if number % 10 == 0 else 0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve_stream, handler, theirs)
        async with connect("ws://localhost/", stream=ours) as client:
            received = []
            while len(received) < count:
                with anyio.move_on_after(0.01):
                    received.append(await client.recv())
                await anyio.sleep(0.02 if len(received) % 10 == 1 else 0)
    assert received == [str(number) for number in range(count)]


async def test_addresses_of_streams() -> None:
    async with serve(echo, HOST, 0, ssl=server_context()) as server:
        assert server.sockets is not None
        address = server.sockets[0].getsockname()
        stream = await anyio.connect_tcp(
            *address, ssl_context=client_context(), tls_standard_compatible=False
        )
        async with connect("ws://localhost/", stream=stream) as client:
            assert client.transport is stream
            assert client.remote_address == address
            assert client.local_address is not None


async def test_task_group_start_reports_the_addresses() -> None:
    async with anyio.create_task_group() as tasks:
        ((host, port),) = await tasks.start(serve, echo, HOST, 0)
        client = await connect(f"ws://{host}:{port}", task_group=tasks)
        await client.send("hello")
        assert await client.recv() == "hello"
        tasks.cancel_scope.cancel()
    assert client.closed
    with pytest.raises(OSError, match="refused"), socket.create_connection((host, port)):
        pass


async def test_task_group_start_on_a_unix_socket(tmp_path: Any) -> None:
    path = str(tmp_path / "socket")
    async with anyio.create_task_group() as tasks:
        assert await tasks.start(unix_serve, echo, path) == [path]
        tasks.cancel_scope.cancel()


async def test_closing_a_server_ends_what_task_group_start_began() -> None:
    async def handler(websocket: ServerConnection) -> None:
        websocket.server.close()  # type: ignore[attr-defined]

    async with anyio.create_task_group() as tasks:
        ((host, port),) = await tasks.start(serve, handler, HOST, 0)
        async with connect(f"ws://{host}:{port}") as client:
            await client.wait_closed()


# Cancelled by asyncio itself


@pytest.mark.parametrize("use_uvloop", [False, True])
@pytest.mark.parametrize("tls", [False, True])
def test_asyncios_own_cancellation(use_uvloop: bool, tls: bool) -> None:
    last: Connection | None = None

    async def receive_for_ever(uri: str, **options: Any) -> None:
        nonlocal last
        async with asyncio.timeout(None) as scope, connect(uri, **options) as last:
            scope.reschedule(asyncio.get_running_loop().time() + 0.2)
            await last.recv()

    async def test() -> None:
        options: dict[str, Any] = {"ssl": server_context()} if tls else {}
        async with serve(echo, HOST, 0, **options) as server:
            assert server.sockets is not None
            host, port = server.sockets[0].getsockname()
            uri = f"ws{'s' * tls}://{host}:{port}"
            options = {"ssl": client_context()} if tls else {}
            with pytest.raises(TimeoutError):
                await receive_for_ever(uri, **options)
            assert last is not None
            assert last.closed
            async with connect(uri, **options) as client:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.recv(), 0.2)
                await client.send("not lost")
                assert await client.recv() == "not lost"

    anyio.run(test, backend_options={"use_uvloop": use_uvloop})


# The rest


async def test_on_uvloop_as_on_others(runtime: Runtime) -> None:
    async with (
        runtime.serving() as (server, uri),
        runtime.connect(uri) as client,
        runtime.serving(ssl=server_context()) as (_, secure_uri),
        runtime.connect(secure_uri, ssl=client_context()) as secure_client,
    ):
        for each in (client, secure_client):
            await each.send(b"x" * 2**20)
            assert await each.recv() == b"x" * 2**20
            assert 0 <= await (await each.ping()) < 30
        await runtime.sleep(0.3)
        async with runtime.raw_client(server) as peer:
            await peer.finish()


def test_without_anyio() -> None:
    program = "import sys; sys.modules['anyio'] = None; import adapters.anyio"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pip install 'wsproto-core[anyio]'" in result.stderr


@pytest.mark.parametrize("cancelled", list(itertools.product((False, True), repeat=3)))
@pytest.mark.parametrize("shielded", list(itertools.product((False, True), repeat=3)))
def test_look_for_a_cancellation_sees_what_anyio_sees(
    cancelled: tuple[bool, ...], shielded: tuple[bool, ...]
) -> None:
    async def look() -> None:
        with ExitStack() as stack:
            scopes = [stack.enter_context(anyio.CancelScope(shield=shield)) for shield in shielded]
            for scope, cancel in zip(scopes, cancelled, strict=True):
                if cancel:
                    scope.cancel()
            check: Any = RUNTIME.get_check_cancelled()()
            assert (check is not None) is (anyio.current_effective_deadline() == -math.inf)
            if check is not None:
                check.close()

    anyio.run(look)


@pytest.mark.parametrize("name", ["_task_states", "current_task", "CancelScope._shield"])
def test_other_versions_of_anyio_look_themselves(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def look() -> None:
        from anyio._backends import _asyncio

        from adapters.anyio import streams

        check = _asyncio.AsyncIOBackend.checkpoint_if_cancelled
        looks: Any = streams._look_before
        assert looks.__wrapped__(check) is not check
        owner, _, attribute = name.rpartition(".")
        with monkeypatch.context() as patch:
            if owner:
                patch.setattr(anyio, owner, lambda: object())
            else:
                patch.delattr(_asyncio, attribute)
            assert looks.__wrapped__(check) is check

    anyio.run(look)
