"""Answers to the messages of one read share a write, on trio and anyio, and none waits for another one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from adapters.structured.transport import SocketTransport
from tests.adapters.runtimes import Runtime, make_runtime
from tests.adapters.runtimes.base import echo
from tests.core.helpers import BINARY, PING, PONG, TEXT, Frame

Handler = Callable[[Any], Awaitable[None]]


@pytest.fixture(params=["trio", "anyio-asyncio", "anyio-trio"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return make_runtime(request.param)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of all reads, whether there was anything to read."""
    found: list[bool] = []
    read = SocketTransport.read

    def counting_read(self: SocketTransport, size: int) -> bytes | None:
        data = read(self, size)
        found.append(data is not None)
        return data

    monkeypatch.setattr(SocketTransport, "read", counting_read)
    return found


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all writes."""
    sizes: list[int] = []
    write = SocketTransport.write

    def counting_write(self: SocketTransport, buffers: Any) -> int:
        sizes.append(write(self, buffers))
        return sizes[-1]

    monkeypatch.setattr(SocketTransport, "write", counting_write)
    return sizes


def texts(count: int) -> list[Frame]:
    return [Frame(TEXT, str(number).encode()) for number in range(count)]


async def test_answers_to_the_messages_of_one_read_are_one_write(runtime: Runtime, writes: list[int]) -> None:
    async with runtime.serving(echo) as (server, _), runtime.raw_client(server) as peer:
        await runtime.settle()
        writes.clear()
        await peer.send(*texts(32))
        for frame in texts(32):
            assert await peer.read_frame() == frame
        assert len(writes) == 1
        await peer.finish()


async def test_answers_of_a_task_that_waits_in_between_are_written_meanwhile(
    runtime: Runtime, writes: list[int]
) -> None:
    go_on = runtime.event()

    async def slow_echo(websocket: Any) -> None:
        async for message in websocket:
            await websocket.send(message)
            if message == "1":
                await go_on.wait()

    async with runtime.serving(slow_echo) as (server, _), runtime.raw_client(server) as peer:
        await runtime.settle()
        writes.clear()
        await peer.send(*texts(4))
        for frame in texts(2):
            assert await peer.read_frame() == frame
        assert len(writes) == 1
        go_on.set()
        for frame in texts(4)[2:]:
            assert await peer.read_frame() == frame
        assert len(writes) == 2
        await peer.finish()


async def test_answers_are_written_while_another_task_reads_for_long(runtime: Runtime) -> None:
    go_on = runtime.event()

    async def answer_first(websocket: Any) -> None:
        reader = runtime.spawn(websocket.wait_closed)
        # Messages come into the receive queue, and the connection's own task has nothing to read.
        await runtime.settle(0.3)
        await websocket.send(await websocket.recv())
        await go_on.wait()
        assert [await websocket.recv() for _ in range(3)] == ["1", "2", "3"]
        await websocket.close()
        await reader.result()

    async with runtime.serving(answer_first) as (server, _), runtime.raw_client(server) as peer:
        await peer.send(*texts(4))
        assert await peer.read_frame() == Frame(TEXT, b"0")
        go_on.set()
        await peer.finish()


async def test_answers_are_written_when_a_connection_is_cancelled(runtime: Runtime) -> None:
    async def answer_first(websocket: Any) -> None:
        await websocket.send(await websocket.recv())
        websocket._abandon()

    async with runtime.serving(answer_first) as (server, _), runtime.raw_client(server) as peer:
        await peer.send(*texts(4))
        assert await peer.read_frame() == Frame(TEXT, b"0")


async def test_a_pong_is_written_before_the_answers(runtime: Runtime) -> None:
    async with runtime.serving(echo) as (server, _), runtime.raw_client(server) as peer:
        await peer.send(Frame(TEXT, b"a"), Frame(PING, b"?"), Frame(TEXT, b"b"))
        frames = [await peer.read_frame() for _ in range(3)]
        assert frames == [Frame(PONG, b"?"), Frame(TEXT, b"a"), Frame(TEXT, b"b")]
        await peer.finish()


async def test_many_bytes_are_not_gathered(runtime: Runtime, writes: list[int]) -> None:
    async def amplify(websocket: Any) -> None:
        async for _ in websocket:
            await websocket.send(bytes(2**15))

    async with (
        runtime.serving(amplify, write_limit=2**24) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        await runtime.settle()
        writes.clear()
        await peer.send(*texts(16))
        for _ in range(16):
            assert await peer.read_frame() == Frame(BINARY, bytes(2**15))
        # A turn of messages, with their headers.
        assert max(writes) <= 2**18 + 8 * 4
        await peer.finish()


async def test_no_more_than_the_watermark_is_gathered(runtime: Runtime, writes: list[int]) -> None:
    async def amplify(websocket: Any) -> None:
        async for _ in websocket:
            await websocket.send(bytes(1000))

    async with (
        runtime.serving(amplify, write_limit=3000) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        await runtime.settle()
        writes.clear()
        await peer.send(*texts(16))
        for _ in range(16):
            assert await peer.read_frame() == Frame(BINARY, bytes(1000))
        assert max(writes) <= 5000
        await peer.finish()


async def test_messages_sent_by_another_task_are_written_at_once(runtime: Runtime, writes: list[int]) -> None:
    async with runtime.connected() as (client, server):
        writes.clear()
        for number in range(5):
            await server.send("x")
            assert len(writes) == number + 1
        assert [await client.recv() for _ in range(5)] == ["x"] * 5


@pytest.mark.parametrize("at_once", [1, 32])
async def test_messages_that_come_together_take_one_read_and_one_write(
    runtime: Runtime, reads: list[bool], writes: list[int], at_once: int
) -> None:
    async with runtime.serving(echo) as (server, _), runtime.raw_client(server) as peer:
        await runtime.settle()
        reads.clear()
        writes.clear()
        for _ in range(10):
            await peer.send(*texts(at_once))
            for frame in texts(at_once):
                assert await peer.read_frame() == frame
        assert len(writes) == 10
        assert reads.count(True) == 10
        # Whether there is more, before each wait; and a turn may end in between.
        assert reads.count(False) <= 15
        await peer.finish()
