"""trio alone: nurseries, and connections over any of its streams."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing

from adapters.trio import ServerConnection, connect, serve, serve_stream, unix_serve
from tests.adapters.runtimes import Runtime, make_runtime
from tests.adapters.runtimes.base import HOST, client_context, echo, server_context
from wsproto_core.exceptions import ConnectionClosedError

StreamPair = tuple[trio.abc.Stream, trio.abc.Stream]


@pytest.fixture
def runtime() -> Runtime:
    return make_runtime("trio")


async def socket_pair() -> StreamPair:
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    left, right = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in ends)
    return left, right


async def memory_pair() -> StreamPair:
    return trio.testing.memory_stream_pair()


async def lockstep_pair() -> StreamPair:
    return trio.testing.lockstep_stream_pair()


PAIRS = [memory_pair, lockstep_pair, socket_pair]


@pytest.mark.parametrize("make_pair", PAIRS)
@pytest.mark.parametrize("tls", [False, True])
async def test_any_stream(make_pair: Callable[[], Awaitable[StreamPair]], tls: bool) -> None:
    ours, theirs = await make_pair()
    options: dict[str, Any] = {}
    scheme = "ws"
    if tls:
        scheme, options = "wss", {"ssl": client_context()}
        theirs = trio.SSLStream(theirs, server_context(), server_side=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, echo, theirs)
        async with connect(f"{scheme}://localhost/", stream=ours, **options) as client:
            for message in ("hello", b"x" * 2**20, ["a", "b"]):
                await client.send(message)
                assert await client.recv() == ("ab" if isinstance(message, list) else message)
            assert await (await client.ping()) >= 0
        # Its server returns when the connection is closed.
    assert client.close_code == 1000


async def test_a_handler_on_a_stream_of_ones_own_may_close_its_server() -> None:
    async def handler(websocket: ServerConnection) -> None:
        websocket.server.close()  # type: ignore[attr-defined]

    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, handler, theirs)
        async with connect("ws://localhost/", stream=ours) as client:
            await client.wait_closed()
    assert client.close_code == 1001


async def test_addresses_of_streams() -> None:
    seen: list[ServerConnection] = []

    async def handler(websocket: ServerConnection) -> None:
        seen.append(websocket)

    left, right = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, handler, right)
        async with connect("ws://localhost/", stream=left) as client:
            assert client.transport is left
            assert client.local_address is client.remote_address is None
            await client.wait_closed()
    assert seen[0].transport is right
    async with serve(echo, HOST, 0, ssl=server_context()) as server:
        assert server.sockets is not None
        address = server.sockets[0].getsockname()
        stream = trio.SSLStream(await trio.open_tcp_stream(*address), client_context(), server_hostname=HOST)
        async with connect("ws://localhost/", stream=stream) as client:
            assert client.remote_address == address
            assert client.local_address == stream.transport_stream.socket.getsockname()


class Fragile(trio.abc.Stream):
    """A stream that raises what no stream should, once it is broken; and reading never ends."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.broken = False

    async def send_all(self, data: Any) -> None:
        if self.broken:
            raise KeyError("sending")
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        raise NotImplementedError

    async def receive_some(self, max_bytes: int | None = None) -> Any:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()
        raise KeyError("closing")


async def test_a_stream_that_breaks() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    fragile = Fragile(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, echo, theirs)
        async with connect("ws://localhost/", stream=fragile) as client:

            async def receive() -> None:
                with pytest.raises(ConnectionClosedError) as raised:
                    await client.recv()
                assert str(raised.value.__cause__) == "KeyError('sending')"

            async with trio.open_nursery() as inner:
                inner.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()
                fragile.broken = True
                await client.send("?")
            assert client.closed


async def test_nursery_start_reports_the_addresses() -> None:
    async with trio.open_nursery() as nursery:
        addresses = await nursery.start(serve, echo, HOST, 0)
        ((host, port),) = addresses
        assert host == HOST
        client = await connect(f"ws://{host}:{port}", nursery=nursery)
        await client.send("hello")
        assert await client.recv() == "hello"
        nursery.cancel_scope.cancel()
    assert client.closed
    with pytest.raises(OSError, match="refused"), socket.create_connection((host, port)):
        pass


async def test_nursery_start_on_a_unix_socket(tmp_path: Any) -> None:
    path = str(tmp_path / "socket")
    async with trio.open_nursery() as nursery:
        assert await nursery.start(unix_serve, echo, path) == [path]
        nursery.cancel_scope.cancel()


async def test_nursery_start_that_fails() -> None:
    with pytest.RaisesGroup(OSError):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, echo, "256.256.256.256", 0)


async def test_closing_a_server_ends_what_nursery_start_began() -> None:
    servers: list[Any] = []

    async def handler(websocket: ServerConnection) -> None:
        servers.append(websocket.server)
        websocket.server.close()  # type: ignore[attr-defined]

    async with trio.open_nursery() as nursery:
        ((host, port),) = await nursery.start(serve, handler, HOST, 0)
        async with connect(f"ws://{host}:{port}") as client:
            await client.wait_closed()
    assert not servers[0].is_serving()


def test_without_trio() -> None:
    program = "import sys; sys.modules['trio'] = None; import adapters.trio"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pip install 'wsproto-core[trio]'" in result.stderr
