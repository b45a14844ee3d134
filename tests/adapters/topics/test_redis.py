"""Topics on Redis: what fails there, against a real server. Nothing is lost without a gap.

What all backplanes have in common is in ``test_topics.py``.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.topics import START, BackplaneLost, Gap, Position, Retention, Subscription, Topics
from adapters.topics.redis import RedisBackplane
from tests.adapters.runtimes import Runtime, make_runtime
from wsproto_core import ConnectionClosed

from .engines import DEADLINE, RedisServer
from .test_topics import HISTORY, Gaps, received, server

SHORT: dict[str, Any] = {"timeout": 2, "check_interval": 0.2}
"""A server that does not answer is noticed soon."""


@pytest.fixture(params=["asyncio"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """The client of Redis works on asyncio alone."""
    return make_runtime(request.param)


@pytest.fixture
def own() -> Iterator[RedisServer]:
    """A server that a test may stop."""
    own = RedisServer()
    yield own
    own.stop()


@pytest.fixture
def durable() -> Iterator[RedisServer]:
    """A server that loses nothing when it restarts."""
    durable = RedisServer("--appendonly", "yes", "--appendfsync", "always")
    yield durable
    durable.stop()


async def published(topics: Topics, topic: str, *messages: str) -> None:
    for message in messages:
        await topics.publish(topic, message)


# The server is lost


async def test_server_that_restarts_with_all_data(runtime: Runtime, durable: RedisServer) -> None:
    gaps = Gaps()
    async with (
        server(runtime) as ([end], [client]),
        Topics(durable.backplane(durable=True), history=HISTORY, on_gap=gaps) as topics,
        Topics(durable.backplane(durable=True), history=HISTORY) as other,
    ):
        await topics.subscribe(end, "room")
        await published(other, "room", "1", "2")
        assert await received(client, 2) == ["1", "2"]
        durable.kill()
        await runtime.until(lambda: not topics.healthy and not other.healthy)
        with pytest.raises(BackplaneLost, match="not published"):
            await other.publish("room", "nowhere")
        durable.start()
        await runtime.until(lambda: other.healthy)
        await published(other, "room", "3", "4")
        assert await received(client, 2) == ["3", "4"]
        await runtime.until(lambda: topics.healthy)
        assert gaps == []
        assert topics.health.reconnections == 1
        assert topics.health.losses >= 1


async def test_server_that_restarts_without_its_data(runtime: Runtime, own: RedisServer) -> None:
    gaps = Gaps()
    health: list[bool] = []
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(
            own.backplane(),
            history={"room": HISTORY},
            on_gap=gaps,
            on_health=lambda healthy, error: health.append(healthy),
        ) as topics,
    ):
        await topics.subscribe(ends[0], "room")
        await topics.subscribe(ends[0], "other")
        await topics.subscribe(ends[1], "*")
        await published(topics, "room", "1", "2")
        assert await received(clients[0], 2) == ["1", "2"]
        own.kill()
        await runtime.until(lambda: not topics.healthy)
        # Live messages of transient topics still go to the subscribers of this process.
        assert await topics.publish("other", "here") is None
        assert await clients[0].recv() == "here"
        own.start()
        await runtime.until(lambda: topics.healthy)
        await runtime.until(lambda: len(gaps) >= 4)
        await published(topics, "room", "3")
        assert await clients[0].recv() == "3"
        assert {gap for gap in gaps if gap.reason == "disconnected"} == {
            Gap("other", "disconnected"),
            Gap("*", "disconnected"),
        }
        (lost,) = {gap for gap in gaps if gap.reason == "lost"}
        assert lost.after is not None
        assert lost.until is not None
        assert (lost.topic, lost.after.offset, lost.until.offset) == ("room", 2, 0)
        assert health == [True, False, True]


async def test_server_that_does_not_answer_for_a_while(runtime: Runtime, own: RedisServer) -> None:
    gaps = Gaps()
    async with (
        server(runtime) as ([end], [client]),
        Topics(own.backplane(**SHORT), history=HISTORY, on_gap=gaps) as topics,
    ):
        await topics.subscribe(end, "room")
        await published(topics, "room", "1")
        own.pause()
        try:
            # It is not known whether this one was published.
            with pytest.raises(BackplaneLost, match="not known"):
                await topics.publish("room", "2")
            await runtime.until(lambda: not topics.healthy)
        finally:
            own.resume()
        await runtime.until(lambda: topics.healthy)
        position = await topics.publish("room", "3")
        assert position is not None
        assert position.offset in (2, 3)
        assert await received(client, position.offset) == (
            ["1", "2", "3"] if position.offset == 3 else ["1", "3"]
        )
        assert gaps == []


async def test_idle_connection(runtime: Runtime, own: RedisServer) -> None:
    async with (
        server(runtime) as ([end], [client]),
        Topics(own.backplane(timeout=2, check_interval=0.1), history=HISTORY) as topics,
    ):
        await topics.subscribe(end, "room")
        before = topics.health.last_heard
        assert before is not None
        await runtime.until(lambda: (topics.health.last_heard or 0) > before + 3)
        await published(topics, "room", "still")
        assert await client.recv() == "still"
        assert topics.health.losses == 0


async def test_first_connection_is_refused(runtime: Runtime, own: RedisServer) -> None:
    own.kill()
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(own.backplane(), history={"kept": HISTORY}) as topics,
    ):
        assert not topics.healthy
        subscription = await topics.subscribe(ends[0], "room")
        resuming = await topics.subscribe(ends[0], "kept", after=START)
        assert not subscription.live
        with pytest.raises(BackplaneLost):
            await topics.publish("kept", "0")
        own.start()
        await runtime.until(lambda: subscription.live and resuming.live)
        await published(topics, "room", "1")
        await published(topics, "kept", "2")
        assert await received(clients[0], 2) == ["1", "2"]
        assert topics.health.losses == 1
        assert topics.health.gaps == 0


async def test_losses_while_subscribing_again(runtime: Runtime, own: RedisServer) -> None:
    gaps = Gaps()
    async with (
        server(runtime) as ([end], [client]),
        Topics(own.backplane(), history=HISTORY, on_gap=gaps) as topics,
        Topics(own.backplane(), history=HISTORY) as other,
    ):
        await topics.subscribe(end, "room")
        backplane: Any = topics._backplane
        listen = backplane.listen
        kills = 3

        async def listen_and_lose(names: Any) -> None:
            nonlocal kills
            await listen(names)
            if kills:
                kills -= 1
                own.call("CLIENT", "KILL", "TYPE", "pubsub")

        backplane.listen = listen_and_lose
        own.call("CLIENT", "KILL", "TYPE", "pubsub")
        for number in range(20):
            await other.publish("room", str(number))
            await runtime.sleep(0.02)
        assert await received(client, 20) == [str(number) for number in range(20)]
        await runtime.until(lambda: not kills and topics.healthy)
        await other.publish("room", "last")
        assert await client.recv() == "last"
        assert gaps == []
        assert topics.health.losses >= 3


async def test_subscriber_that_is_killed_for_its_buffer(runtime: Runtime, own: RedisServer) -> None:
    own.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0")
    gaps = Gaps()
    async with (
        server(runtime) as ([end], _),
        Topics(own.backplane(), history=HISTORY, on_gap=gaps) as topics,
        Topics(own.backplane(), history=HISTORY) as other,
    ):
        await topics.subscribe(end, "room")
        got: list[int] = []
        deliver = topics._deliver
        feed = topics._feeds["room"]
        feed._deliver = lambda entry: (got.append(len(entry.message)), deliver(entry))
        for size in (1, 3 * 2**20, 2):
            await other.publish("room", b"x" * size)
        await runtime.until(lambda: len(got) >= 3)
        assert got == [1, 3 * 2**20, 2]
        assert topics.health.losses >= 1
        assert gaps == []


async def test_loss_that_closes_connections(runtime: Runtime, own: RedisServer) -> None:
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(own.backplane(), on_loss="close") as topics,
    ):
        await topics.subscribe(ends[0], "room")
        own.kill()
        with pytest.raises(ConnectionClosed):
            await clients[0].recv()
        assert clients[0].close_code == 1012
        # This one has no subscription.
        await ends[1].send("still")
        assert await clients[1].recv() == "still"


# Data is lost, and data of others


async def test_flushed_server(runtime: Runtime, redis: RedisServer) -> None:
    gaps = Gaps()
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(redis.backplane(), history=HISTORY, on_gap=gaps) as topics,
    ):
        await topics.subscribe(ends[0], "room")
        before = await topics.publish("room", "1")
        assert before is not None
        redis.clear()
        after = await topics.publish("room", "2")
        assert after is not None
        assert await received(clients[0], 2) == ["1", "2"]
        await topics.subscribe(ends[1], "room", after=before)
        assert await clients[1].recv() == "2"
        assert gaps == 2 * [Gap("room", "lost", before, Position(after.epoch, 0))]


async def test_evicted_history(runtime: Runtime, redis: RedisServer) -> None:
    redis.clear()
    gaps = Gaps()
    async with (
        server(runtime) as ([end], [client]),
        Topics(redis.backplane(), history=HISTORY, on_gap=gaps) as topics,
    ):
        before = await topics.publish("room", "1")
        assert before is not None
        await topics.publish("room", "2")
        redis.call("DEL", "topics:{room}:history")
        await topics.publish("room", "3")
        await topics.subscribe(end, "room", after=before)
        assert await client.recv() == "3"
        assert gaps == [Gap("room", "trimmed", before, Position(before.epoch, 2))]


async def test_history_by_seconds(runtime: Runtime, redis: RedisServer) -> None:
    redis.clear()
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(redis.backplane(), history=Retention(100, seconds=0.5)) as topics,
    ):
        await published(topics, "room", "1", "2")
        await runtime.sleep(0.6)
        await published(topics, "room", "3")
        await topics.subscribe(ends[0], "room", after=START)
        assert await clients[0].recv() == "3"
        assert redis.call("XLEN", "topics:{room}:history") == b":1\r\n"
        await runtime.sleep(0.6)
        await topics.subscribe(ends[1], "room", after=START)
        await published(topics, "room", "4")
        assert await clients[1].recv() == "4"


async def test_messages_of_others(runtime: Runtime, redis: RedisServer) -> None:
    redis.clear()
    async with (
        server(runtime) as ([end], [client]),
        Topics(redis.backplane(), history={"kept": HISTORY}) as topics,
    ):
        await topics.subscribe(end, "kept")
        await topics.subscribe(end, "room")
        for message in (b"", b"hello", b"- 0 ?", b"a b tc", b"- 0 t\xff", b"\xff 1 tx"):
            redis.call("PUBLISH", "topics:kept", message)
            redis.call("PUBLISH", "topics:room", message)
        await published(topics, "kept", "1")
        await published(topics, "room", "2")
        assert await received(client, 2) == ["1", "2"]
        assert topics.health.losses == 0


async def test_duplicates(runtime: Runtime, redis: RedisServer) -> None:
    redis.clear()
    async with (
        server(runtime) as ([end], [client]),
        Topics(redis.backplane(), history=HISTORY) as topics,
    ):
        await topics.subscribe(end, "room")
        for number in range(1, 4):
            position = await topics.publish("room", str(number))
            assert position is not None
            for _ in range(2):
                redis.call("PUBLISH", "topics:room", f"{position.epoch} {position.offset} t{number}")
        await topics.publish("room", "4")
        assert await received(client, 4) == ["1", "2", "3", "4"]


async def test_message_that_was_kept_and_not_published(runtime: Runtime, redis: RedisServer) -> None:
    redis.clear()
    async with (
        server(runtime) as ([end], [client]),
        Topics(redis.backplane(), history=HISTORY) as topics,
    ):
        await topics.subscribe(end, "room")
        await topics.publish("room", "1")
        redis.call("HINCRBY", "topics:{room}:position", "offset", "1")
        redis.call("XADD", "topics:{room}:history", "2-0", "m", "t2", "t", "0")
        await topics.publish("room", "3")
        assert await received(client, 3) == ["1", "2", "3"]


async def test_scripts_that_the_server_has_forgotten(runtime: Runtime, redis: RedisServer) -> None:
    redis.clear()
    async with (
        server(runtime) as ([end], [client]),
        Topics(redis.backplane(), history=HISTORY) as topics,
    ):
        await published(topics, "room", "1")
        redis.call("SCRIPT", "FLUSH")
        await topics.subscribe(end, "room", after=START)
        redis.call("SCRIPT", "FLUSH")
        await published(topics, "room", "2")
        assert await received(client, 2) == ["1", "2"]


# Many


async def test_many_that_come_back_at_once(runtime: Runtime, redis: RedisServer) -> None:
    redis.clear()
    async with (
        server(runtime, 20) as (ends, clients),
        Topics(redis.backplane(), history=HISTORY) as topics,
    ):
        start = await topics.publish("room", "0")
        await published(topics, "room", *map(str, range(1, 30)))
        reads = 0
        backplane: Any = topics._backplane
        read = backplane.read

        async def counted(requests: Any) -> Any:
            nonlocal reads
            reads += 1
            return await read(requests)

        backplane.read = counted
        subscribing = [runtime.spawn(subscribe, topics, end, start) for end in ends]
        for each in subscribing:
            await each.result()
        for client in clients:
            assert await received(client, 29) == [str(number) for number in range(1, 30)]
        assert reads <= 2


async def subscribe(topics: Topics, end: Any, after: Position) -> Subscription:
    return await topics.subscribe(end, "room", after=after)


PUBLISHER = """
import asyncio, sys
from adapters.topics import Retention, Topics
from adapters.topics.redis import RedisBackplane

async def main():
    async with Topics(RedisBackplane(sys.argv[1]), history=Retention(10_000)) as topics:
        for number in range(1, 10_000):
            position = await topics.publish("room", str(number))
            print(position.offset, flush=True)

asyncio.run(main())
"""


async def test_publisher_that_is_killed(runtime: Runtime, redis: RedisServer) -> None:
    redis.clear()
    history = Retention(10_000)
    async with (
        server(runtime) as ([end], [client]),
        Topics(redis.backplane(), history=history) as topics,
    ):
        await topics.subscribe(end, "room", after=START)
        publisher = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-c", PUBLISHER, f"redis://127.0.0.1:{redis.port}/0"], stdout=subprocess.PIPE
        )
        assert await received(client, 50) == [str(number) for number in range(1, 51)]
        publisher.kill()
        output, _ = publisher.communicate(timeout=30)
        told = len(output.split())
        last = await topics.publish("room", "last")
        assert last is not None
        # All that the publisher knows of, and perhaps the one that it was publishing.
        assert last.offset - 1 >= told
        assert await received(client, last.offset - 50) == [
            *(str(number) for number in range(51, last.offset)),
            "last",
        ]


@pytest.mark.parametrize("topic", ["kept", "transient"])
async def test_publisher_that_is_cancelled(runtime: Runtime, redis: RedisServer, topic: str) -> None:
    """A cancellation is never lost, whatever the publisher waits for."""
    async with Topics(redis.backplane(), history={"kept": Retention(1)}) as topics:

        async def publish_for_ever() -> None:
            while True:
                await topics.publish(topic, "message")

        for turns in range(40):
            publisher = asyncio.create_task(publish_for_ever())
            for _ in range(turns):
                await asyncio.sleep(0)
            publisher.cancel()
            done, _ = await asyncio.wait([publisher], timeout=DEADLINE)
            if not done:
                # Another one may be lost, too.
                while not publisher.done():
                    publisher.cancel()
                    await asyncio.sleep(0)
            assert done, turns


# Mistakes


def test_arguments() -> None:
    with pytest.raises(ValueError, match="prefix"):
        RedisBackplane(prefix="a*")
    with pytest.raises(TypeError, match="prefix"):
        RedisBackplane(prefix=b"a")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="timeout"):
        RedisBackplane(timeout=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="check_interval"):
        RedisBackplane(check_interval=0)


async def test_backplane_is_for_one_object(runtime: Runtime, redis: RedisServer) -> None:
    backplane = redis.backplane()
    async with Topics(backplane):
        with pytest.raises(RuntimeError, match="one object"):
            await Topics(backplane).__aenter__()


def test_other_runtimes_are_refused() -> None:
    async def test() -> None:
        with pytest.raises(RuntimeError, match="RedisBackplane needs asyncio, but trio"):
            await Topics(RedisBackplane()).__aenter__()

    make_runtime("trio").run(test())
