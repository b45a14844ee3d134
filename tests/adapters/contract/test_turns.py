"""Turns: a task that sends or receives without waiting lets others run, after 64 calls or 256 KiB."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.core.helpers import BINARY, TEXT, Frame

# Threads need no turns.
pytestmark = [pytest.mark.needs("sockets"), pytest.mark.needs("coroutines")]

with_tls = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])

CALLS = 64
SIZE = 2**18

LARGE = 2**14
"""Bytes of a message of which fewer make a turn."""


class Turns:
    """Counts calls that follow each other without that another task runs."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._number = 0
        self._last = -1
        self._count = 0
        self._done = False
        self.longest = 0

    async def run(self) -> None:
        """The other task."""
        while not self._done:
            self._number += 1
            await self._runtime.sleep(0)

    def count(self) -> None:
        """A call has returned."""
        self._count = self._count + 1 if self._last == self._number else 1
        self._last = self._number
        self.longest = max(self.longest, self._count)

    async def measure(self, call: Callable[[], Awaitable[Any]], times: int) -> int:
        """Call a function again and again; return how many calls there were in a turn at most."""
        beside = self._runtime.spawn(self.run)
        await self._runtime.sleep(0)
        for _ in range(times):
            await call()
            self.count()
        self._done = True
        await beside.result()
        return self.longest_turn

    @property
    def longest_turn(self) -> int:
        """How many calls there were in a turn at most."""
        # trio lets all that can run do so in an order of its own: the other task first, then last.
        return self.longest if "trio" not in self._runtime.name else -(-self.longest // 2)


@with_tls
@pytest.mark.parametrize("call", ["send", "ping", "pong", "fragments"])
async def test_sending(runtime: Runtime, call: str, tls: bool) -> None:
    options = {"write_limit": None, "max_pings": None}
    async with runtime.raw_server(tls=tls, **options) as (peer, client):
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "send": lambda: client.send("x"),
            "ping": client.ping,
            "pong": client.pong,
            "fragments": lambda: client.send(["x", "y"]),
        }
        assert await Turns(runtime).measure(calls[call], 1000) <= CALLS
        peer.reset()


async def test_sending_to_who_reads_as_fast_as_it_can(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        receiving = runtime.spawn(receive_to_end, server)
        assert await Turns(runtime).measure(lambda: client.send("x" * 100), 2000) <= CALLS
        await client.close()
        assert await receiving.result() == 2000


async def receive_to_end(websocket: Any) -> int:
    count = 0
    async for _ in websocket:
        count += 1
    return count


async def receive_pieces(websocket: Any) -> None:
    async for _ in websocket.recv_streaming():
        pass


@pytest.mark.parametrize("call", ["recv", "iteration", "recv_streaming"])
@pytest.mark.parametrize("size", [1, LARGE])
async def test_receiving_what_is_there(runtime: Runtime, call: str, size: int) -> None:
    count = 300
    async with runtime.raw_server(max_queue=None, read_limit=None) as (peer, client):
        sending = runtime.spawn(peer.send, *[Frame(BINARY, bytes(size))] * count)
        await runtime.until(lambda: client.protocol.undelivered == count)
        await sending.result()
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "recv": client.recv,
            "iteration": client.__anext__,
            "recv_streaming": lambda: receive_pieces(client),
        }
        most = CALLS if size == 1 else SIZE // LARGE + 1
        assert await Turns(runtime).measure(calls[call], count) <= most


async def test_echo_of_many_messages_in_one_segment(runtime: Runtime) -> None:
    turns = Turns(runtime)

    async def echo(websocket: Any) -> None:
        beside = runtime.spawn(turns.run)
        async for message in websocket:
            await websocket.send(message)
            turns.count()
        turns._done = True
        await beside.result()

    count = 1000
    async with (
        runtime.serving(echo, ping_interval=None, max_queue=None) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        await peer.send(*[Frame(TEXT, b"x")] * count)
        assert [await peer.read_frame() for _ in range(count)] == [Frame(TEXT, b"x")] * count
        await peer.finish()
    assert turns.longest_turn <= CALLS
