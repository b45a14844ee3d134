"""What makes it fast, counted instead of measured: calls of the transport and of the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

from adapters.asyncio import Connection, ServerConnection, connect
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import echo
from tests.core.helpers import CLOSE, PING, PONG, TEXT, Frame, close_payload

from .event_loop import turns


class Writes:
    """A transport that notes what is written through it."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.written: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))
        self._transport.write(data)

    def writelines(self, buffers: Any) -> None:
        self.written.append(b"".join(buffers))
        self._transport.writelines(buffers)


class Counting(ServerConnection):
    """A connection whose writes are noted."""

    transport: Any

    def connection_made(self, transport: Any) -> None:
        super().connection_made(Writes(transport))


@contextlib.contextmanager
def counted_timers() -> Iterator[list[Any]]:
    """Note the timers that connections set. uvloop's loop cannot be patched to tell."""
    timers: list[Any] = []

    def get(self: Connection) -> Any:
        return vars(self)["_timer"]

    def set_(self: Connection, timer: Any) -> None:
        vars(self)["_timer"] = timer
        if timer is not None:
            timers.append(timer)

    with mock.patch.object(Connection, "_timer", property(get, set_), create=True):
        yield timers


async def test_answers_to_the_messages_of_one_read_are_one_write(runtime: Runtime) -> None:
    async with (
        runtime.serving(echo, create_protocol=Counting) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        (connection,) = server.connections
        writes = connection.transport.written
        await turns(10)
        writes.clear()
        await peer.send(*[Frame(TEXT, str(number).encode()) for number in range(32)])
        for number in range(32):
            assert await peer.read_frame() == Frame(TEXT, str(number).encode())
        # Bytes that are sent at once are read at once.
        assert len(writes) == 1
        await peer.finish()


async def test_answers_that_are_not_made_at_once_share_writes_too(runtime: Runtime) -> None:
    async def slow_echo(websocket: ServerConnection) -> None:
        async for message in websocket:
            await asyncio.sleep(0)
            await websocket.send(message)

    async with (
        runtime.serving(slow_echo, create_protocol=Counting) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        (connection,) = server.connections
        writes = connection.transport.written
        await turns(10)
        writes.clear()
        await peer.send(*[Frame(TEXT, b"x")] * 20)
        for _ in range(20):
            assert await peer.read_frame() == Frame(TEXT, b"x")
        assert len(writes) <= 20
        await peer.finish()


async def test_messages_sent_by_another_task_are_written_at_once(runtime: Runtime) -> None:
    async with runtime.connected(server={"create_protocol": Counting}) as (client, server):
        writes = server.transport.written
        writes.clear()
        for number in range(5):
            await server.send("x")
            assert len(writes) == number + 1
        assert [await client.recv() for _ in range(5)] == ["x"] * 5


async def test_pong_and_answers_share_a_write(runtime: Runtime) -> None:
    async with (
        runtime.serving(echo, create_protocol=Counting) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        (connection,) = server.connections
        writes = connection.transport.written
        await turns(10)
        writes.clear()
        await peer.send(Frame(TEXT, b"a"), Frame(PING, b"?"), Frame(TEXT, b"b"))
        frames = [await peer.read_frame() for _ in range(3)]
        assert frames == [Frame(PONG, b"?"), Frame(TEXT, b"a"), Frame(TEXT, b"b")]
        assert len(writes) == 1
        await peer.finish()


async def test_many_bytes_are_not_gathered(runtime: Runtime) -> None:
    async def amplify(websocket: ServerConnection) -> None:
        async for _ in websocket:
            await websocket.send(bytes(2**15))

    options = {"create_protocol": Counting, "write_limit": 2**24}
    async with runtime.serving(amplify, **options) as (server, _), runtime.raw_client(server) as peer:
        (connection,) = server.connections
        writes = connection.transport.written
        await turns(10)
        writes.clear()
        await peer.send(*[Frame(TEXT, b"x")] * 16)
        for _ in range(16):
            assert len((await peer.read_frame()).payload) == 2**15
        assert 1 < len(writes) <= 9
        await peer.finish()


async def test_close_shares_the_write_of_what_precedes_it(runtime: Runtime) -> None:
    async def answer(websocket: ServerConnection) -> None:
        await websocket.send(await websocket.recv())

    async with (
        runtime.serving(answer, create_protocol=Counting) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        (connection,) = server.connections
        await turns(10)
        await peer.send(Frame(TEXT, b"x"))
        assert [await peer.read_frame() for _ in range(2)] == [
            Frame(TEXT, b"x"),
            Frame(CLOSE, close_payload(1000)),
        ]
        await peer.send(Frame(CLOSE, close_payload(1000)))
        assert await peer.read_to_end() == b""
        assert connection.close_code == 1000


async def test_no_timer_a_message(runtime: Runtime) -> None:
    with counted_timers() as timers:
        async with runtime.serving(echo) as (_, uri), connect(uri) as client:
            opened = len(timers)
            # for each side the opening, and the first ping
            assert 2 <= opened <= 4
            for _ in range(1000):
                await client.send("x")
                assert await client.recv() == "x"
            assert len(timers) == opened
        # and the closing
        assert len(timers) <= opened + 4


async def test_no_timer_without_deadlines(runtime: Runtime) -> None:
    options: dict[str, Any] = {
        "open_timeout": None,
        "close_timeout": None,
        "ping_interval": None,
        "ping_timeout": None,
    }
    with counted_timers() as timers:
        async with runtime.serving(echo, **options) as (_, uri), connect(uri, **options) as client:
            for _ in range(100):
                await client.send("x")
                assert await client.recv() == "x"
        assert timers == []


async def test_no_timer_outlives_its_connection(runtime: Runtime) -> None:
    loop = asyncio.get_running_loop()
    async with runtime.serving(echo) as (server, uri):
        async with connect(uri) as client:
            assert client._timer is not None
            (accepted,) = server.connections
        await runtime.until(lambda: not server.connections)
        assert client._timer is accepted._timer is None
    if runtime.name == "asyncio":
        timers = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        # the deadline of this test
        assert len(timers) == 1


async def test_timer_is_not_moved_for_a_deadline_that_moves_away(runtime: Runtime) -> None:
    with counted_timers() as timers:
        async with runtime.raw_server(ping_interval=0.2, ping_timeout=None) as (peer, _):
            before = len(timers)
            for _ in range(3):
                opcode, payload, *_ = await peer.read_frame()
                assert opcode == PING
                await peer.send(Frame(PONG, payload))
            assert len(timers) <= before + 4


async def test_connections_of_a_loop_share_their_buffer(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server), runtime.connected() as (other, _):
        assert client.get_buffer(-1) is server.get_buffer(-1) is other.get_buffer(-1)


async def test_connections_whose_reads_follow_each_other_are_not_mixed_up(runtime: Runtime) -> None:
    async with runtime.serving(echo) as (_, uri):

        async def use(letter: str) -> None:
            async with connect(uri) as client:
                for size in (1, 10, 1000, 70_000, 200_000):
                    await client.send(letter * size)
                    assert await client.recv() == letter * size

        await asyncio.gather(*map(use, "abcdefghij"))


async def test_debug_mode(runtime: Runtime) -> None:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    try:
        async with runtime.serving(echo) as (_, uri), connect(uri) as client:
            for number in range(10):
                await client.send(str(number))
                assert await client.recv() == str(number)
            receiving = asyncio.create_task(client.recv())
            await turns()
            await client.send("woken")
            assert await receiving == "woken"
            await (await client.ping())
            with_timeout = asyncio.wait_for(client.recv(), 0.01)
            with contextlib.suppress(TimeoutError):
                await with_timeout
            await runtime.settle(0.01)
    finally:
        loop.set_debug(False)


async def test_deadline_that_has_come_already(runtime: Runtime) -> None:
    # What uvloop returns for such a timer cannot be asked for its time.
    loop = asyncio.get_running_loop()
    async with runtime.connected() as (client, server):
        with mock.patch.object(type(client.protocol), "deadline", return_value=loop.time()):
            for _ in range(3):
                client._update_timer()
            await turns()
        await client.send("still open")
        assert await server.recv() == "still open"
