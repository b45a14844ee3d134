"""Whole conversations of an adapter, client and server, over a simulated network.

Each is a coroutine function of a :class:`Stage`. They contain what the contract of the adapters promises, and
what they do, and when, is decided by the seed.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from random import Random
from typing import Any

import pytest

from tests.adapters.runtimes import Cancelled, Runtime
from tests.adapters.runtimes.base import Task
from wsproto_core.exceptions import ConnectionClosed, ConnectionClosedError, ConnectionClosedOK

from .sockets import World
from .virtual_time import TICK, ticks

__all__ = ["CONVERSATIONS", "Conversation", "Stage"]

Handler = Callable[[Any], Coroutine[Any, Any, None]]

QUIET: dict[str, Any] = {"ping_interval": None, "ping_timeout": None, "close_timeout": 1000}
"""Options for a network on which everything arrives at last."""


class Stage:
    """A server and its clients, on the network of a world.

    Attributes:
        world: the network.
        runtime: has the adapter, and the functions by which tasks run and wait.
        random: the source of what is decided by chance.
    """

    def __init__(self, world: World, runtime: Runtime) -> None:
        self.world = world
        self.runtime = runtime
        self.random: Random = world.random
        self.listener = world.listen()
        # With compression, hardly anything is ever under way.
        self._options = {**QUIET, "compression": self.random.choice((None, "deflate"))}

    @property
    def now(self) -> float:
        """The virtual time in seconds."""
        return self.world.time.now

    def start(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Task:
        """Let a coroutine function run beside the conversation."""
        return self.runtime.spawn(function, *args)

    async def sleep(self, seconds: float) -> None:
        await self.runtime.sleep(seconds)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so."""
        for _ in range(10_000):
            if condition():
                return
            await self.sleep(0.1)
        raise AssertionError("it does not come to be so")

    async def pause(self, longest: float = 0.5) -> None:
        """Let a random time pass, or only others run."""
        await self.sleep(self.random.choice((0, 0, self.random.random() * longest)))

    def message(self, number: int, longest: int = 3000) -> str | bytes:
        """A message that says which it is."""
        size = self.random.choice((0, 5, 126, longest))
        text = f"{number} " + "x" * size
        return text if self.random.random() < 0.5 else text.encode()

    @contextlib.asynccontextmanager
    async def serving(self, handler: Handler, **options: Any) -> AsyncIterator[Any]:
        async with self.runtime.serve(handler, sock=self.listener, **{**self._options, **options}) as server:
            yield server

    def connect(self, **options: Any) -> contextlib.AbstractAsyncContextManager[Any]:
        return self.runtime.connect("ws://simulated/", **self._client_options(options))

    async def open(self, **options: Any) -> Any:
        """Connect without a block."""
        return await self.runtime.open("ws://simulated/", **self._client_options(options))

    def _client_options(self, options: dict[str, Any]) -> dict[str, Any]:
        sock = self.world.connect(self.listener)
        return {"sock": sock, **self._options, "open_timeout": 1000, **options}

    @contextlib.asynccontextmanager
    async def connected(
        self, client: dict[str, Any] | None = None, server: dict[str, Any] | None = None
    ) -> AsyncIterator[tuple[Any, Any]]:
        """Both ends of a connection; the server's handler does nothing."""
        accepted: list[Any] = []
        is_accepted, finish = self.runtime.event(), self.runtime.event()

        async def handler(websocket: Any) -> None:
            accepted.append(websocket)
            is_accepted.set()
            await finish.wait()

        async with self.serving(handler, **(server or {})):
            try:
                async with self.connect(**(client or {})) as ours:
                    await is_accepted.wait()
                    yield ours, accepted[0]
            finally:
                finish.set()


Conversation = Callable[[Stage], Coroutine[Any, Any, None]]


async def send_all(stage: Stage, websocket: Any, messages: Sequence[str | bytes]) -> None:
    for message in messages:
        await websocket.send(message)
        if stage.random.random() < 0.3:
            await stage.pause()


async def receive_all(websocket: Any) -> list[str | bytes]:
    return [message async for message in websocket]


async def echo(stage: Stage) -> None:
    """Every message comes back, in order; then the client closes."""

    async def handler(websocket: Any) -> None:
        async for message in websocket:
            await websocket.send(message)
        assert websocket.close_code == 1001

    async with stage.serving(handler) as server:
        async with stage.connect() as client:
            for number in range(stage.random.randint(1, 10)):
                message = stage.message(number)
                await client.send(message)
                assert await client.recv() == message
            await client.close(1001, "going")
        assert client.close_code == 1001
        await stage.until(lambda: not server.connections)


async def both_ways(stage: Stage) -> None:
    """Both sides send all the time; each receives everything that the other has sent before its close."""
    mine = [stage.message(number) for number in range(30)]
    theirs = [stage.message(number) for number in range(30)]
    results: list[Any] = []

    async def handler(websocket: Any) -> None:
        sending = stage.start(send_all, stage, websocket, theirs)
        received = [await websocket.recv() for _ in mine]
        await sending.result()
        results.append(received)
        await websocket.wait_closed()

    async with stage.serving(handler), stage.connect() as client:
        sending = stage.start(send_all, stage, client, mine)
        assert [await client.recv() for _ in theirs] == theirs
        await sending.result()
        await stage.until(lambda: results)
    assert results == [mine]


async def cancelled_recv(stage: Stage) -> None:
    """A call of recv that is given up loses no message."""
    messages = [stage.message(number) for number in range(20)]
    async with stage.connected() as (client, server):
        sending = stage.start(send_all, stage, server, messages)
        received: list[str | bytes] = []
        while len(received) < len(messages):
            with contextlib.suppress(TimeoutError):
                received.append(await stage.runtime.timeout(stage.random.random() * 0.05, client.recv))
        assert received == messages
        await sending.result()


async def cancelled_send(stage: Stage) -> None:
    """A call of send that is given up has sent the whole message or nothing."""
    async with stage.connected({"write_limit": 1000}, {"max_queue": 1}) as (client, server):
        messages = [f"{number} " + "x" * 3000 for number in range(20)]
        certain = []
        receiving = stage.start(receive_slowly, stage, server)
        for message in messages:
            with contextlib.suppress(TimeoutError):
                await stage.runtime.timeout(stage.random.random() * 0.1, client.send, message)
                certain.append(message)
        await client.close()
        received = await receiving.result()
        assert [message for message in received if message in certain] == certain
        whole: list[str | bytes] = [message for message in messages if message in received]
        assert whole == received


async def receive_slowly(stage: Stage, websocket: Any) -> list[str | bytes]:
    received = []
    async for message in websocket:
        received.append(message)
        await stage.pause(0.1)
    return received


async def backpressure(stage: Stage) -> None:
    """A sender waits for a receiver, in bounded memory, and goes on."""
    messages = [f"{number} " + "x" * 5000 for number in range(60)]
    options = {"write_limit": 10_000, "compression": None}
    async with stage.connected(options, {"max_queue": 4}) as (client, server):
        sending = stage.start(send_all, stage, client, messages)
        await stage.sleep(50)
        assert not sending.done(), sending
        protocol = client.protocol
        unwritten = protocol.unwritten
        if isinstance(client.transport, asyncio.WriteTransport):
            # What it has taken counts as written.
            unwritten = client.transport.get_write_buffer_size()
        assert protocol.queued + unwritten <= 10_000 + 2 * 5100
        assert server.protocol.undelivered <= 4 + 65536 // 5000
        assert [await server.recv() for _ in messages] == messages
        await sending.result()


async def both_close(stage: Stage) -> None:
    """Both sides close, perhaps at the same time: each is told of one close frame of the other."""
    async with stage.connected() as (client, server):

        async def close(websocket: Any, code: int) -> None:
            await stage.pause(0.3)
            await websocket.close(code, "bye")

        for task in [stage.start(close, client, 3001), stage.start(close, server, 3002)]:
            await task.result()
        codes = {client.close_code, server.close_code}
        # The echo of a close frame has its code.
        assert codes in ({3001}, {3002}, {3001, 3002})
        if len(codes) == 2:
            assert (client.close_code, server.close_code) == (3002, 3001)


async def everything_before_the_close(stage: Stage) -> None:
    """What was sent before a close is received before it."""
    messages = [stage.message(number) for number in range(15)]
    async with stage.connected() as (client, server):
        sender, receiver = stage.random.sample([client, server], 2)
        await send_all(stage, sender, messages)
        receive, code = stage.random.choice(((receive_all, 1000), (to_the_end, 3000)))
        closing = stage.start(sender.close, code)
        assert await receive(receiver) == messages
        assert receiver.close_code == code
        await closing.result()


async def to_the_end(websocket: Any) -> list[str | bytes]:
    received = []
    try:
        while True:
            received.append(await websocket.recv())
    except ConnectionClosed:
        return received


async def silence(stage: Stage) -> None:
    """Nothing arrives any more: the keepalive finds out, and every wait ends."""
    keepalive = {"ping_interval": 5, "ping_timeout": 5, "close_timeout": 5}
    async with stage.connected(keepalive, keepalive) as (client, server):
        waiting = [stage.start(to_the_end, each) for each in (client, server)]
        ping = await client.ping()
        await stage.pause()
        stage.world.lose_everything()
        started = stage.now
        if stage.random.random() < 0.5:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await client.send("x" * 5000)
        for task in waiting:
            assert await task.result() == []
        assert stage.now - started <= 5 + 2 * 5 + 1
        for each in (client, server):
            await each.wait_closed()
        assert stage.now - started <= 5 + 2 * 5 + 2 * 5 + 1
        for each in (client, server):
            assert each.close_code == 1006
        with contextlib.suppress(ConnectionClosed):
            await ping


async def late_for_a_deadline(stage: Stage) -> None:
    """A program that is busy beyond a deadline finds the close frame that has come in time, behind much."""
    for conditions in stage.world.conditions:
        conditions.latency, conditions.rate = ticks(0.2), math.inf
        conditions.capacity = conditions.read_size = 2**18
        conditions.ragged = False
    unlimited = {"max_queue": None, "read_limit": None, "compression": None, "close_timeout": 10}

    async def send(websocket: Any) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await websocket.send("x" * 5000)

    async with stage.connected(unlimited, {"compression": None}) as (client, server):
        sending = stage.start(send, server)
        await stage.sleep(0.3)
        started = stage.now
        closing = stage.start(client.close)
        while server.protocol.receiving or server.protocol.queued or server.protocol.unwritten:
            await stage.sleep(TICK)
        stage.world.time.now = started + 12
        await closing.result()
        assert client.close_code == 1000
        await sending.result()


async def reset(stage: Stage) -> None:
    """The stream is reset: every wait ends by an error."""
    async with stage.connected() as (client, server):
        waiting = [stage.start(to_the_end, each) for each in (client, server)]
        sending = stage.start(send_until_closed, client)
        await stage.pause()
        stage.world.reset_everything()
        for task in (*waiting, sending):
            await task.result()
        for each in (client, server):
            with pytest.raises(ConnectionClosedError) as caught:
                await each.recv()
            assert caught.value.code == 1006


async def send_until_closed(websocket: Any) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await websocket.send("x" * 100)


async def a_handler_that_fails(stage: Stage) -> None:
    """The client is told by code 1011."""

    async def handler(websocket: Any) -> None:
        await websocket.recv()
        raise LookupError("of the application")

    async with stage.serving(handler), stage.connect() as client:
        await client.send("go")
        with pytest.raises(ConnectionClosedError) as caught:
            await client.recv()
        assert caught.value.code == 1011


async def a_server_that_closes(stage: Stage) -> None:
    """Clients are told by code 1001, and the server waits for its handlers."""
    ended = []

    async def handler(websocket: Any) -> None:
        await receive_all(websocket)
        ended.append(websocket.close_code)

    async with stage.serving(handler) as server:
        clients = [await stage.open() for _ in range(3)]
        await stage.pause()
        server.close()
        for client in clients:
            with pytest.raises(ConnectionClosedOK) as caught:
                await client.recv()
            assert caught.value.code == 1001
        await server.wait_closed()
    assert ended == [1001] * 3


async def a_server_that_drains(stage: Stage) -> None:
    """Its connections are closed in equal steps, in virtual time, but for what the network adds."""
    ended = []

    async def handler(websocket: Any) -> None:
        try:
            await receive_all(websocket)
        finally:
            ended.append(stage.now)

    async with stage.serving(handler) as server:
        clients = [await stage.open() for _ in range(4)]
        await stage.pause()
        begun = stage.now
        server.close(code=1012, reason="back soon", drain=40)
        for client in clients:
            with pytest.raises(ConnectionClosedError) as caught:
                await client.recv()
            assert (caught.value.code, caught.value.reason) == (1012, "back soon")
    assert [end - begun for end in ended] == pytest.approx([0, 10, 20, 30], abs=2)


async def pings(stage: Stage) -> None:
    """Each ping is answered, in order, among messages that nobody receives."""
    async with stage.connected() as (client, server):
        there, back = stage.world.conditions
        for number in range(10):
            await client.send(stage.message(number, 100))
            latency = await (await client.ping())
            assert latency >= there.latency + back.latency
        assert [int(str_of(await server.recv()).split()[0]) for _ in range(10)] == list(range(10))


def str_of(message: str | bytes) -> str:
    return message if isinstance(message, str) else message.decode()


async def several_wait(stage: Stage) -> None:
    """Tasks wait for messages, pongs and the end at the same time; each gets what it waits for."""
    messages = [stage.message(number) for number in range(10)]

    async def receive(websocket: Any) -> list[str | bytes]:
        received = []
        for _ in messages:
            received.append(await websocket.recv())
            await stage.pause(0.1)
        return received

    async def ping(websocket: Any) -> None:
        for _ in range(5):
            await (await websocket.ping())
            await stage.pause(0.1)

    async with stage.connected() as (client, server):
        ended = stage.start(client.wait_closed)
        tasks = [stage.start(receive, client), stage.start(ping, client), stage.start(ping, client)]
        await send_all(stage, server, messages)
        assert await tasks[0].result() == messages
        for task in tasks[1:]:
            await task.result()
        await server.close()
        await ended.result()
        assert client.close_code == 1000


async def fragments(stage: Stage) -> None:
    """A message in fragments, received in pieces, with others before and after."""

    async def pieces() -> AsyncIterator[str]:
        for number in range(10):
            await stage.pause(0.1)
            yield f"{number}é" * stage.random.randint(0, 300)

    sent: list[str] = []

    async def kept() -> AsyncIterator[str]:
        async for piece in pieces():
            sent.append(piece)
            yield piece

    async with stage.connected({"compression": stage.random.choice(("deflate", None))}) as (client, server):
        await client.send("before")
        sending = stage.start(client.send, kept())
        assert await server.recv() == "before"
        received = "".join([str_of(piece) async for piece in server.recv_streaming()])
        await sending.result()
        await client.send("after")
        assert received == "".join(sent)
        assert await server.recv() == "after"


async def a_broadcast(stage: Stage) -> None:
    """One message reaches all connections, between the others."""
    everyone: list[Any] = []
    finish = stage.runtime.event()

    async def handler(websocket: Any) -> None:
        everyone.append(websocket)
        await websocket.send("hello")
        await finish.wait()
        await websocket.send("bye")

    async with stage.serving(handler):
        clients = [await stage.open() for _ in range(4)]
        await stage.until(lambda: len(everyone) == 4)
        await stage.sleep(20)
        stage.runtime.broadcast(everyone, "to all")
        finish.set()
        for client in clients:
            assert await receive_all(client) == ["hello", "to all", "bye"]


async def nobody_accepts(stage: Stage) -> None:
    """A client that is not answered gives up in time."""
    started = stage.now
    with pytest.raises(TimeoutError):
        await stage.open(open_timeout=3)
    assert 3 <= stage.now - started < 4
    stage.listener.close()


async def given_up_while_opening(stage: Stage) -> None:
    """A connection that is given up at any time while it opens leaves nothing behind."""

    async def handler(websocket: Any) -> None:
        await receive_all(websocket)

    async with stage.serving(handler) as server:
        opening = stage.start(open_and_close, stage)
        await stage.pause(1.0)
        opening.cancel()
        with contextlib.suppress(Cancelled):
            await opening.result()
        await stage.until(lambda: not server.connections)


async def open_and_close(stage: Stage) -> None:
    async with stage.connect() as client:
        await client.send("hello")


CONVERSATIONS: dict[str, Conversation] = {
    function.__name__: function
    for function in (
        *(echo, both_ways, cancelled_recv, cancelled_send, backpressure, both_close),
        *(
            everything_before_the_close,
            silence,
            late_for_a_deadline,
            reset,
            a_handler_that_fails,
            a_server_that_closes,
        ),
        a_server_that_drains,
        *(pings, several_wait, fragments, a_broadcast, nobody_accepts, given_up_while_opening),
    )
}
