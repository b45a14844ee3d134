"""Topics on Redis: failures, against a real server. What was published as resumable is delivered exactly once
and in order, or the subscriber is told of the gap.

Failures that other files have: in ``test_redis.py``, the server restarts with and without its data, is paused
for a while, is not there at first, and loses a topic or all of them; connections are lost while names are
subscribed to; messages come twice, or are not ours; a history was added to, and nothing published. In
``test_topics.py``, for each engine: publishing while others subscribe; a history that is trimmed or lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import re
import resource
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, Self

import pytest

from adapters.session import Message, NotPublished, Session
from adapters.topics import START, BackplaneLost, Gap, Position, Request, Retention, Topics
from adapters.topics.redis import RedisBackplane
from tests.adapters.runtimes import Runtime, make_runtime
from tests.adapters.runtimes.base import QUIET, Log
from tests.ports import free_port
from wsproto_core import ConnectionClosed

from . import processes
from .engines import RedisServer
from .test_topics import HISTORY, Gaps, receive_all, received, server

LONG = Retention(100_000)


@pytest.fixture(params=["asyncio"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """The client of Redis works on asyncio alone. Tests that start processes, or are long, have more time."""
    runtime = make_runtime(request.param)
    runtime.deadline = 1000.0 if request.node.get_closest_marker("thorough") else 300.0
    return runtime


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A server that a test may stop or configure."""
    own = RedisServer()
    yield own
    own.stop()


# The connection


class Proxy:
    """A way to the server on which connections are lost.

    Attributes:
        url: where clients connect.
        cut: called with whether data comes from the server, with the data, and with the number of bytes that
            have come from there before; returns whether the connection is lost now, before the data arrives.
    """

    def __init__(self, server: RedisServer) -> None:
        self._port = server.port
        self.cut: Callable[[bool, bytes, int], bool] = lambda answer, data, before: False
        self.cuts = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        self.cut_all()
        await asyncio.gather(*self._tasks)

    def cut_all(self) -> None:
        """Lose all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError):
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._port)
            pair = {writer, upstream_writer}
            self._writers |= pair
            await asyncio.gather(
                self._pass_on(False, reader, upstream_writer, pair),
                self._pass_on(True, upstream_reader, writer, pair),
            )
            self._writers -= pair

    async def _pass_on(
        self,
        answer: bool,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: set[asyncio.StreamWriter],
    ) -> None:
        before = 0
        with contextlib.suppress(OSError):
            while data := await reader.read(2**16):
                if self.cut(answer, data, before):
                    self.cuts += 1
                    break
                before += len(data)
                writer.write(data)
        for each in pair:
            each.transport.abort()


@pytest.mark.parametrize(
    ("answer", "part"),
    [(False, b"SUBSCRIBE"), (True, b"subscribe"), (False, b"EVALSHA"), (True, b"missed 1")],
)
async def test_two_losses_within_one_resubscription(
    runtime: Runtime, redis: RedisServer, answer: bool, part: bytes
) -> None:
    """A name is subscribed to, or the answer comes; the history is read, or the answer comes."""
    redis.clear()
    gaps = Gaps()
    async with (
        Proxy(redis) as proxy,
        server(runtime, 2) as (ends, clients),
        Topics(RedisBackplane(proxy.url), history=HISTORY, on_gap=gaps) as topics,
        Topics(redis.backplane(), history=HISTORY) as other,
    ):
        await topics.subscribe(ends[0], "room")
        await topics.subscribe(ends[1], "*")
        await other.publish("room", "before")
        assert await clients[0].recv() == await clients[1].recv() == "before"
        proxy.cut = lambda is_answer, data, _: is_answer is answer and part in data and proxy.cuts < 2
        proxy.cut_all()
        for number in range(5):
            await other.publish("room", f"missed {number}")
        expected = [f"missed {number}" for number in range(5)]
        assert await received(clients[0], 5) == expected
        # The process knows the position, which the pattern needs, too.
        assert await received(clients[1], 5) == expected
        assert proxy.cuts == 2
        await other.publish("room", "after")
        assert await clients[0].recv() == await clients[1].recv() == "after"
        # Of other topics, it may have missed messages.
        assert set(gaps) == {Gap("*", "disconnected")}


async def test_losses_at_random(runtime: Runtime, redis: RedisServer) -> None:
    """No message comes twice after a recovery, and none is missing."""
    seed = runtime.random(0).randrange(10**6)
    numbers = random.Random(seed)
    redis.clear()
    gaps = Gaps()
    rooms = [f"room.{number}" for number in range(3)]
    async with (
        Proxy(redis) as proxy,
        server(runtime, 3) as (ends, clients),
        Topics(RedisBackplane(proxy.url), history=LONG, on_gap=gaps) as topics,
        Topics(redis.backplane(), history=LONG) as other,
    ):
        for room, end in zip(rooms, ends, strict=True):
            await topics.subscribe(end, room, queue=None)
        proxy.cut = lambda is_answer, data, before: is_answer and before > numbers.randrange(10_000)
        count = 0
        while proxy.cuts < 8:
            for room in rooms:
                await other.publish(room, f"{room} {count}")
            count += 1
            await runtime.sleep(0.002)
        proxy.cut = lambda is_answer, data, before: False
        for room, client in zip(rooms, clients, strict=True):
            await other.publish(room, "end")
            assert await received(client, count + 1) == [*(f"{room} {each}" for each in range(count)), "end"]
        assert gaps == [], f"seed {seed}"


async def test_answer_to_a_publisher_is_lost(runtime: Runtime, redis: RedisServer) -> None:
    redis.clear()
    async with (
        Proxy(redis) as proxy,
        server(runtime) as ([end], [client]),
        Topics(RedisBackplane(proxy.url, timeout=60, check_interval=60), history=HISTORY) as publisher,
        Topics(redis.backplane(), history=HISTORY) as topics,
    ):
        await topics.subscribe(end, "room")
        await publisher.publish("room", "1")
        proxy.cut = lambda is_answer, data, _: is_answer and not proxy.cuts
        with pytest.raises(BackplaneLost, match="not known"):
            await publisher.publish("room", "2")
        # It was published, and is not sent again.
        await runtime.until(lambda: publisher.healthy)
        await publisher.publish("room", "3")
        assert await received(client, 3) == ["1", "2", "3"]


async def test_server_that_ends_idle_connections(runtime: Runtime, own: RedisServer) -> None:
    """The connections for publishing are idle for longer than the server allows."""
    async with (
        server(runtime) as ([end], [client]),
        Topics(own.backplane(), history=HISTORY) as topics,
    ):
        await topics.subscribe(end, "room")
        await topics.publish("room", "1")
        own.call("CONFIG", "SET", "timeout", "1")
        # That for live messages, and that of this question.
        await runtime.until(lambda: own.call("CLIENT", "LIST").count(b"laddr=") == 2)
        own.call("CONFIG", "SET", "timeout", "0")
        # The end of the connection has arrived; the event loop has not seen it yet.
        for _ in range(10):
            await runtime.sleep(0.01)
        await topics.publish("room", "2")
        assert await received(client, 2) == ["1", "2"]
        assert topics.health.losses == 0


async def test_message_that_exceeds_the_output_buffer(runtime: Runtime, own: RedisServer) -> None:
    """By default, Redis closes the connection of a subscriber that is to get more than 32 MB at once."""
    gaps = Gaps()
    size = 33 * 2**20
    accepted: list[Any] = []
    async with (
        runtime.serving(partial(receive_all, accepted), **QUIET) as (_, uri),
        runtime.connect(uri, **QUIET, max_size=None) as client,
        Topics(own.backplane(), history=HISTORY, on_gap=gaps) as topics,
        Topics(own.backplane(), history=HISTORY) as other,
    ):
        await runtime.until(lambda: accepted)
        await topics.subscribe(accepted[0], "room", queue=None)
        await other.publish("room", "before")
        await other.publish("room", b"x" * size)
        await other.publish("room", "after")
        assert await client.recv() == "before"
        assert len(await client.recv()) == size
        assert await client.recv() == "after"
        assert topics.health.losses == 1
        assert gaps == []


@pytest.mark.thorough
async def test_server_that_is_stopped_for_30_seconds(runtime: Runtime, own: RedisServer) -> None:
    """With the options that are the default."""
    gaps = Gaps()
    url = f"redis://127.0.0.1:{own.port}/0"
    async with (
        server(runtime) as ([end], [client]),
        Topics(RedisBackplane(url), history=HISTORY, on_gap=gaps) as topics,
        Topics(RedisBackplane(url), history=HISTORY) as other,
    ):
        await topics.subscribe(end, "room")
        await other.publish("room", "before")
        own.pause()
        try:
            stopped = runtime.now()
            with pytest.raises(BackplaneLost, match="not known"):
                await other.publish("room", "unknown")
            await runtime.until(lambda: not topics.healthy and not other.healthy)
            with pytest.raises(BackplaneLost, match="not published"):
                await other.publish("room", "not published")
            await runtime.sleep(max(0, stopped + 30 - runtime.now()))
        finally:
            own.resume()
        await runtime.until(lambda: topics.healthy and other.healthy)
        last = await other.publish("room", "after")
        assert last is not None
        unknown = ["unknown"] * (last.offset - 2)
        assert await received(client, last.offset) == ["before", *unknown, "after"]
        assert gaps == []


# Subscribers and publishers of one process


async def test_handler_that_raises(runtime: Runtime, redis: RedisServer) -> None:
    redis.clear()
    raising = runtime.event()
    async with Topics(redis.backplane(), history=HISTORY) as topics:

        async def handler(websocket: Any) -> None:
            await topics.subscribe(websocket, "raises.1", after=START)
            await topics.subscribe(websocket, "raises.*")
            await websocket.send("subscribed")
            await raising.wait()
            raise RuntimeError("in the handler")

        async with (
            runtime.serving(handler, **{**QUIET, "logger": Log()}) as (_, uri),
            runtime.connect(uri, **QUIET) as client,
        ):
            assert await client.recv() == "subscribed"
            assert redis.call("PUBSUB", "NUMSUB", "topics:raises.1").endswith(b":1\r\n")
            raising.set()
            await topics.publish("raises.1", "while it raises")
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await client.recv()
            await runtime.until(lambda: not topics.health.connections)
            await runtime.until(lambda: redis.call("PUBSUB", "NUMSUB", "topics:raises.1").endswith(b":0\r\n"))
            await runtime.until(lambda: redis.call("PUBSUB", "NUMPAT") == b":0\r\n")
            assert not topics._feeds


async def test_many_that_publish_at_once(runtime: Runtime, redis: RedisServer) -> None:
    """More than there may be connections to the server."""
    redis.clear()
    count = 500
    async with (
        server(runtime) as ([end], [client]),
        Topics(redis.backplane(), history=LONG) as topics,
    ):
        await topics.subscribe(end, "room", queue=None)
        publishing = [runtime.spawn(topics.publish, "room", str(number)) for number in range(count)]
        positions = [await each.result() for each in publishing]
        assert sorted(position.offset for position in positions) == list(range(1, count + 1))
        found = await received(client, count)
        assert sorted(map(int, found)) == list(range(count))
        assert [positions[int(each)].offset for each in found] == list(range(1, count + 1))
        assert redis.call("CLIENT", "LIST").count(b"laddr=") < 50


# The history


async def test_history_that_is_trimmed_while_the_connection_is_lost(
    runtime: Runtime, redis: RedisServer
) -> None:
    redis.clear()
    gaps = Gaps()
    few = Retention(3)
    async with (
        Proxy(redis) as proxy,
        server(runtime) as ([end], [client]),
        Topics(RedisBackplane(proxy.url), history=few, on_gap=gaps) as topics,
        Topics(redis.backplane(), history=few) as other,
    ):
        await topics.subscribe(end, "room")
        first = await other.publish("room", "0")
        assert first is not None
        assert await client.recv() == "0"
        proxy.cut = lambda is_answer, data, before: True
        proxy.cut_all()
        for number in range(1, 11):
            await other.publish("room", str(number))
        proxy.cut = lambda is_answer, data, before: False
        assert await received(client, 3) == ["8", "9", "10"]
        assert gaps == [Gap("room", "trimmed", first, Position(first.epoch, 8))]


async def test_evictions(runtime: Runtime, own: RedisServer) -> None:
    """A server that may use only so much memory removes the keys that were used least recently."""
    gaps = Gaps()
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(own.backplane(), history=HISTORY, on_gap=gaps) as topics,
    ):
        await topics.subscribe(ends[0], "room")
        await topics.publish("room", "1")
        before = await topics.publish("room", "2")
        assert before is not None
        (used,) = re.findall(rb"used_memory:([0-9]+)", own.call("INFO", "memory"))
        own.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        own.call("CONFIG", "SET", "maxmemory", str(int(used) + 2**20))
        number = 0
        while own.call("EXISTS", "topics:{room}:position", "topics:{room}:history") != b":0\r\n":
            own.call("SET", f"other:{number}", b"x" * 2**15)
            number += 1
        own.call("CONFIG", "SET", "maxmemory", "0")
        after = await topics.publish("room", "3")
        assert after is not None
        assert (after.epoch != before.epoch, after.offset) == (True, 1)
        assert await received(clients[0], 3) == ["1", "2", "3"]
        # Whoever comes back now is told the same.
        await topics.subscribe(ends[1], "room", after=before)
        assert await clients[1].recv() == "3"
        assert gaps == 2 * [Gap("room", "lost", before, after.previous)]


async def test_server_without_memory(runtime: Runtime, own: RedisServer) -> None:
    """It refuses messages, and has still its histories."""
    gaps = Gaps()
    async with (
        server(runtime) as ([end], [client]),
        Topics(own.backplane(), history=HISTORY, on_gap=gaps) as topics,
    ):
        await topics.publish("room", "1")
        own.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        own.call("CONFIG", "SET", "maxmemory", "1")
        for room in ("room", "new"):
            with pytest.raises(BackplaneLost, match="memory"):
                await topics.publish(room, "refused")
        await topics.subscribe(end, "room", after=START)
        assert await client.recv() == "1"
        own.call("CONFIG", "SET", "maxmemory", "0")
        last = await topics.publish("room", "2")
        assert last is not None
        assert last.offset == 2
        assert await client.recv() == "2"
        assert gaps == []


async def test_clock_that_jumps(runtime: Runtime, redis: RedisServer) -> None:
    """Messages that were published while the clock of the server was wrong: no hole between others."""
    redis.clear()
    gaps = Gaps()
    keys = "topics:{room}:history", "topics:{room}:position"

    def publish_at(seconds: float, offset: int) -> None:
        now = int(redis.call("TIME").split()[2])
        redis.call("HINCRBY", keys[1], "offset", "1")
        redis.call("XADD", keys[0], f"{offset}-0", "m", f"t{offset}", "t", str(int((now + seconds) * 1000)))

    async with (
        server(runtime, 5) as (ends, clients),
        Topics(redis.backplane(), history=Retention(100, seconds=60), on_gap=gaps) as topics,
    ):
        first = await topics.publish("room", "1")
        assert first is not None
        for offset, seconds in enumerate((3600, -3600, 3600, -30, -3600, 0), 2):
            publish_at(seconds, offset)
        last = await topics.publish("room", "8")
        assert last == (first.epoch, 8)
        for number, end in enumerate(ends):
            after = first if number else START
            await topics.subscribe(
                end, "room", after=Position(after.epoch, after.offset + max(0, number - 1))
            )
        everything = [str(number) for number in range(1, 9)]
        assert await received(clients[0], 8) == everything
        for number, client in enumerate(clients[1:], 1):
            told = [gap.until for gap in gaps if gap.after == (first.epoch, number) and gap.until is not None]
            begin = told[0].offset if told else number
            assert await received(client, 8 - begin) == everything[begin:]
        assert {gap.reason for gap in gaps} <= {"trimmed"}


# Processes


@contextlib.contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A program of ``processes.py``, which has ended at the end."""
    with processes.start(*arguments) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.thorough)])
async def test_publishers_that_are_killed(runtime: Runtime, redis: RedisServer, times: int) -> None:
    """No message is half published: in the history and not sent, or sent and not in the history."""
    redis.clear()
    gaps = Gaps()
    got: list[str] = []
    known: list[str] = []

    async def receive(client: Any) -> None:
        async for message in client:
            got.append(message)

    async with (
        server(runtime) as ([end], [client]),
        Topics(redis.backplane(), history=LONG, on_gap=gaps) as topics,
    ):
        await topics.subscribe(end, "room", queue=None)
        receiving = runtime.spawn(receive, client)
        for name in range(times):
            with started("publisher", f"redis://127.0.0.1:{redis.port}/0", "room", name) as publisher:
                enough = len(got) + runtime.random(name).randrange(50, 200)
                await runtime.until(lambda enough=enough: len(got) >= enough)
                publisher.kill()
                output, _ = await asyncio.to_thread(publisher.communicate)
                known += output.splitlines()
        last = await topics.publish("room", "end")
        await runtime.until(lambda: got[-1] == "end")
        window = (await topics._backplane.read({"room": Request(START, LONG)}))["room"]
        await client.close()
        await receiving.result()
    # What was sent is what is kept, and it is numbered without holes.
    assert got == [entry.message for entry in window.entries]
    assert [entry.position for entry in window.entries] == [
        Position(window.latest.epoch, offset) for offset in range(1, len(got) + 1)
    ]
    assert window.latest == last
    assert gaps == []
    # All that a publisher knows to be published is there, and nothing twice.
    assert len(set(got)) == len(got)
    assert set(known) <= set(got)
    # And at most the message of each task that was on its way when the publisher was killed.
    assert len(got) - 1 - len(known) <= 4 * times


def lines(messages: list[str], sender: str) -> list[int]:
    return [int(message.split()[1]) for message in messages if message.split()[0] == sender]


async def test_two_processes_publish_to_one_topic(runtime: Runtime, redis: RedisServer) -> None:
    """All subscribers, of either process, see the same order."""
    redis.clear()
    count = 50
    url = f"redis://127.0.0.1:{redis.port}/0"
    ports = [free_port(), free_port()]
    with started("worker", url, ports[0]) as one, started("worker", url, ports[1]) as other:
        for process in (one, other):
            assert process.stdout is not None
            assert await asyncio.to_thread(process.stdout.readline) == "serving\n"
        async with contextlib.AsyncExitStack() as stack:
            sessions = [
                await stack.enter_async_context(Session(f"ws://127.0.0.1:{port}", ping_interval=None))
                for port in (*ports, *ports)
            ]

            async def publish(number: int) -> None:
                for each in range(count):
                    await sessions[number].publish("room", f"{number} {each}")

            for session in sessions:
                await session.subscribe("room", after=START)
            publishing = [runtime.spawn(publish, number) for number in (0, 1)]
            found = [[(await anext(session)).data for _ in range(2 * count)] for session in sessions]
            for each in publishing:
                await each.result()
    for messages in found[1:]:
        assert messages == found[0]
    for sender in "01":
        assert lines(found[0], sender) == list(range(count))


async def test_worker_that_is_killed_while_it_publishes(runtime: Runtime, redis: RedisServer) -> None:
    """Its clients come back to the next one, and get what they missed, as those of the other worker have."""
    redis.clear()
    url = f"redis://127.0.0.1:{redis.port}/0"
    ports = [free_port(), free_port()]
    known: list[str] = []
    with contextlib.ExitStack() as workers:

        async def start(port: int) -> subprocess.Popen[str]:
            process = workers.enter_context(started("worker", url, port))
            assert process.stdout is not None
            assert await asyncio.to_thread(process.stdout.readline) == "serving\n"
            return process

        starting = [runtime.spawn(start, port) for port in ports]
        one, _ = [await each.result() for each in starting]
        options: dict[str, Any] = {"ping_interval": None, "reconnect_delays": lambda: itertools.repeat(0.05)}
        async with (
            Session(f"ws://127.0.0.1:{ports[0]}", unconfirmed="fail", **options) as client,
            Session(f"ws://127.0.0.1:{ports[1]}", **options) as witness,
        ):
            stopping = runtime.event()

            async def publish() -> None:
                number = 0
                while not stopping.is_set():
                    with contextlib.suppress(NotPublished):
                        await client.publish("room", str(number))
                        known.append(str(number))
                    number += 1

            for session in (client, witness):
                await session.subscribe("room", after=START)
            publishing = runtime.spawn(publish)
            found: list[list[Any]] = [[], []]

            async def receive(index: int, session: Session) -> None:
                while not found[index] or found[index][-1] != "end":
                    event = await anext(session)
                    assert isinstance(event, Message)
                    found[index].append(event.data)

            receiving = [runtime.spawn(receive, *each) for each in enumerate((client, witness))]
            await runtime.until(lambda: len(known) >= 50)
            one.kill()
            one = await start(ports[0])
            enough = len(known) + 10
            await runtime.until(lambda: len(known) >= enough)
            stopping.set()
            await publishing.result()
            await witness.publish("room", "end")
            for each in receiving:
                await each.result()
    assert found[0] == found[1]
    numbers = list(map(int, found[0][:-1]))
    assert numbers == sorted(set(numbers))
    assert set(map(int, known)) <= set(numbers)
    # The ones that it was publishing are not known to be published.
    assert len(numbers) - len(known) <= 1


# Many connections

MESSAGES = 20


def as_many(count: int) -> int:
    """As many connections as a process may have besides other things, and no more than a number."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return count if most == resource.RLIM_INFINITY else min(count, most - 500)


@contextlib.asynccontextmanager
async def many(runtime: Runtime, count: int) -> AsyncIterator[tuple[Any, list[Any], subprocess.Popen[str]]]:
    """A server, its ends of many connections, and the process that has the other ends."""
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    accepted: list[Any] = []
    try:
        async with runtime.serving(partial(receive_all, accepted), **QUIET, write_limit=2**14) as (served, _):
            with started("clients", runtime.port_of(served), count, MESSAGES) as clients:
                assert clients.stdout is not None
                assert await asyncio.to_thread(clients.stdout.readline) == "connected\n"
                await runtime.until(lambda: len(accepted) == count)
                yield served, accepted, clients
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))


async def what_they_got(clients: subprocess.Popen[str]) -> dict[str, int]:
    """Wait until all have got all; return what they have got, and how many of them."""
    assert clients.stdout is not None
    found: dict[str, int] = json.loads(await asyncio.to_thread(clients.stdout.readline))
    return found


EVERYTHING = " ".join(map(str, range(MESSAGES)))


class Elsewhere:
    """A server with connections in a process of its own, and the process that has their other ends."""

    def __init__(self, redis: RedisServer, count: int) -> None:
        self.count = count
        self._url = f"redis://127.0.0.1:{redis.port}/0"

    async def __aenter__(self) -> Self:
        self._ending = contextlib.ExitStack()
        if self.count:
            self._server = self._ending.enter_context(started("returning", self._url, self.count))
            port = await self._line(self._server)
            self._clients = self._ending.enter_context(started("clients", port, self.count, MESSAGES))
            assert await self._line(self._clients) == "connected"
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._ending.close()

    async def come_back(self) -> None:
        """Let them subscribe, and see that they have got all."""
        if self.count:
            self._tell()
            assert await what_they_got(self._clients) == {EVERYTHING: self.count}
            self._tell()
            assert await self._line(self._server) == "0"

    def _tell(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write("\n")
        self._server.stdin.flush()

    async def _line(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return (await asyncio.to_thread(process.stdout.readline)).strip()


@pytest.mark.parametrize("count", [200, pytest.param(20_000, marks=pytest.mark.thorough)])
async def test_many_sockets_that_come_back_at_once(runtime: Runtime, redis: RedisServer, count: int) -> None:
    """One read of the history serves all of a process that wait, while messages are published."""
    redis.clear()
    # A process may have fewer: then another one has one half.
    there = 0 if as_many(count) == count else count // 2
    here = count - there
    async with (
        Elsewhere(redis, there) as elsewhere,
        many(runtime, here) as (_, ends, clients),
        Topics(redis.backplane(), history=HISTORY) as topics,
        Topics(redis.backplane(), history=HISTORY) as other,
    ):

        async def publish(numbers: range) -> None:
            for number in numbers:
                await other.publish("room", str(number))

        def scripts() -> int:
            (calls,) = re.findall(rb"cmdstat_evalsha:calls=([0-9]+)", redis.call("INFO", "commandstats"))
            return int(calls)

        await publish(range(10))
        before = scripts()
        publishing = runtime.spawn(publish, range(10, MESSAGES))
        coming_back = runtime.spawn(elsewhere.come_back)
        subscribing = [runtime.spawn(partial(topics.subscribe, end, "room", after=START)) for end in ends]
        for each in (*subscribing, publishing):
            await each.result()
        assert await what_they_got(clients) == {EVERYTHING: here}
        await coming_back.result()
        servers = 2 if there else 1
        reads = scripts() - before - (MESSAGES - 10)
        assert servers <= reads <= 3 * servers
        assert topics.health.gaps == 0


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.thorough)])
async def test_one_stuck_socket_among_many(runtime: Runtime, redis: RedisServer, count: int) -> None:
    """It delays nobody: all others have got everything while it is stuck, and stays so."""
    redis.clear()
    count = as_many(count)
    async with (
        many(runtime, count) as (served, ends, clients),
        runtime.raw_client(served, small_buffers=True),
        Topics(redis.backplane(), history=HISTORY) as topics,
    ):
        await runtime.until(lambda: len(ends) == count + 1)
        full = await topics.subscribe(ends[-1], "large")
        while not full.queued:
            await topics.publish("large", "x" * 2**14)
        stuck = await topics.subscribe(ends[-1], "room", policy="oldest", queue=5)
        for end in ends[:-1]:
            await topics.subscribe(end, "room", policy="close", queue=MESSAGES)
        for number in range(MESSAGES):
            await topics.publish("room", str(number))
        assert await what_they_got(clients) == {EVERYTHING: count}
        assert (stuck.queued, stuck.dropped) == (5, MESSAGES - 5)
        assert topics.health.closed == 0
