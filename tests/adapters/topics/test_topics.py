"""Topics: what subscribers get, on each runtime and by each backplane."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from adapters.topics import (
    START,
    Gap,
    MemoryBackplane,
    Position,
    Retention,
    Subscription,
    Topics,
)
from tests.adapters.runtimes import Cancelled, Runtime
from tests.adapters.runtimes.base import QUIET, Log
from tests.adapters.runtimes.peers import RawClient
from tests.core.helpers import CLOSE, close_payload
from wsproto_core import ConnectionClosed

from .engines import Engine

HISTORY = Retention(100)


async def receive_all(accepted: list[Any], websocket: Any) -> None:
    """A handler that notes its connection, and receives, so that it notices the end."""
    accepted.append(websocket)
    with contextlib.suppress(ConnectionClosed):
        async for _ in websocket:
            pass


@contextlib.asynccontextmanager
async def server(
    runtime: Runtime, clients: int = 1, **options: Any
) -> AsyncIterator[tuple[list[Any], list[Any]]]:
    """Connections: the server's ends, and the clients'."""
    accepted: list[Any] = []
    async with (
        runtime.serving(partial(receive_all, accepted), **QUIET, **options) as (_, uri),
        contextlib.AsyncExitStack() as stack,
    ):
        ends = []
        for number in range(clients):
            ends.append(await stack.enter_async_context(runtime.connect(uri, **QUIET)))
            await runtime.until(lambda number=number: len(accepted) > number)
        yield accepted, ends


class Gaps(list[Gap]):
    """The gaps that subscribers were told of."""

    def __call__(self, subscription: Subscription, gap: Gap) -> None:
        self.append(gap)


async def received(client: Any, count: int) -> list[Any]:
    return [await client.recv() for _ in range(count)]


# Live messages


async def test_all_subscribers_get_what_is_published(runtime: Runtime, engine: Engine) -> None:
    async with (
        server(runtime, 3) as (ends, clients),
        Topics(engine.backplane()) as one,
        Topics(engine.backplane()) as other,
    ):
        await one.subscribe(ends[0], "room.1")
        await one.subscribe(ends[1], "room.1")
        await other.subscribe(ends[2], "room.1")
        await other.subscribe(ends[2], "room.2")
        assert (one.subscribers("room.1"), other.subscribers("room.1"), one.subscribers("room.2")) == (
            2,
            1,
            0,
        )
        for publisher, message in ((one, "a"), (other, "ü"), (one, b"\0\xff"), (one, "")):
            assert await publisher.publish("room.1", message) is None
        for client in clients:
            assert await received(client, 4) == ["a", "ü", b"\0\xff", ""]
        await one.publish("room.2", bytearray(b"b"))
        assert await clients[2].recv() == b"b"
        await other.unsubscribe(ends[2], "room.1")
        await other.unsubscribe(ends[2], "room.1")
        await one.publish("room.1", "c")
        await one.publish("room.2", "d")
        assert await clients[0].recv() == "c"
        assert await clients[2].recv() == "d"


async def test_patterns(runtime: Runtime, engine: Engine) -> None:
    async with (
        server(runtime, 3) as (ends, clients),
        Topics(engine.backplane(), history={"kept.**": HISTORY}) as topics,
    ):
        await topics.subscribe(ends[0], "*.1")
        await topics.subscribe(ends[1], "kept.**")
        await topics.subscribe(ends[1], "kept.1")
        await topics.subscribe(ends[2], "**")
        assert topics.subscribers("kept.1") == 4
        assert topics.subscribers("kept.2") == 2
        for topic in ("room.1", "room.2", "kept.1", "kept.2", "kept.1.2"):
            await topics.publish(topic, topic)
        assert await received(clients[0], 2) == ["room.1", "kept.1"]
        # Each subscription gets it.
        assert await received(clients[1], 4) == ["kept.1", "kept.1", "kept.2", "kept.1.2"]
        assert await received(clients[2], 5) == ["room.1", "room.2", "kept.1", "kept.2", "kept.1.2"]
        await topics.unsubscribe(ends[2], "**")
        await topics.unsubscribe(ends[1], "kept.**")
        await topics.publish("kept.1", "last")
        assert await clients[1].recv() == "last"
        assert topics.subscribers("kept.2") == 0


async def test_subscriptions_end_with_the_connection(runtime: Runtime, engine: Engine) -> None:
    async with server(runtime, 4) as (ends, clients), Topics(engine.backplane()) as topics:
        for end in ends:
            await topics.subscribe(end, "a")
            await topics.subscribe(end, "b.*")
        assert topics.health.subscriptions == 8
        await clients[0].close()
        await ends[1].close()
        clients[2].protocol.fail(RuntimeError("broken"))
        clients[2]._react()
        await runtime.until(lambda: topics.health.connections == 1)
        assert topics.health.subscriptions == 2
        assert topics.subscribers("b.1") == 1
        await topics.publish("a", "still")
        assert await clients[3].recv() == "still"
    assert topics.health.subscriptions == 0


async def test_handler_that_raises(runtime: Runtime) -> None:
    async with Topics() as topics:

        async def handler(websocket: Any) -> None:
            await topics.subscribe(websocket, "a")
            await websocket.send("subscribed")
            raise RuntimeError("in the handler")

        async with (
            runtime.serving(handler, **{**QUIET, "logger": Log()}) as (_, uri),
            runtime.connect(uri, **QUIET) as client,
        ):
            assert await client.recv() == "subscribed"
            with pytest.raises(ConnectionClosed):
                await client.recv()
            await runtime.until(lambda: not topics.health.connections)


# Resuming


async def test_resuming_after_a_position(runtime: Runtime, engine: Engine) -> None:
    async with (
        server(runtime, 4) as (ends, clients),
        Topics(engine.backplane(), history=HISTORY) as one,
        Topics(engine.backplane(), history=HISTORY) as other,
    ):
        positions = [await one.publish("room", str(number)) for number in range(5)]
        first = positions[0]
        assert first is not None
        assert positions == [(first.epoch, offset) for offset in range(1, 6)]
        await one.subscribe(ends[0], "room", after=positions[2])
        await other.subscribe(ends[1], "room", after=str(positions[4]))
        await other.subscribe(ends[2], "room")
        await other.subscribe(ends[3], "room", after=START)
        assert await other.publish("room", "5") == (first.epoch, 6)
        assert await received(clients[0], 3) == ["3", "4", "5"]
        assert await received(clients[1], 1) == ["5"]
        assert await received(clients[2], 1) == ["5"]
        assert await received(clients[3], 6) == ["0", "1", "2", "3", "4", "5"]
        assert one.health.gaps == other.health.gaps == 0


async def test_publishing_while_subscribing(runtime: Runtime, engine: Engine) -> None:
    async with (
        server(runtime, 10) as (ends, clients),
        Topics(engine.backplane(), history=HISTORY) as one,
        Topics(engine.backplane(), history=HISTORY) as other,
    ):
        start = await one.publish("room", "0")

        async def publish() -> None:
            for number in range(1, 61):
                await (one if number % 2 else other).publish("room", str(number))

        publishing = runtime.spawn(publish)
        for number, end in enumerate(ends):
            await (one if number % 2 else other).subscribe(end, "room", after=start)
        await publishing.result()
        for client in clients:
            assert await received(client, 60) == [str(number) for number in range(1, 61)]
        assert one.health.gaps == other.health.gaps == 0


async def test_gap_of_a_trimmed_history(runtime: Runtime, engine: Engine) -> None:
    gaps = Gaps()
    async with (
        server(runtime) as ([end], [client]),
        Topics(engine.backplane(), history=Retention(2), on_gap=gaps) as topics,
    ):
        first = await topics.publish("room", "0")
        assert first is not None
        for number in range(1, 6):
            await topics.publish("room", str(number))
        await topics.subscribe(end, "room", after=first)
        assert await received(client, 2) == ["4", "5"]
        assert gaps == [Gap("room", "trimmed", first, Position(first.epoch, 4))]
        assert gaps[0].count == 3
        assert topics.health.gaps == 1


async def test_gap_of_a_lost_history(runtime: Runtime, engine: Engine) -> None:
    gaps = Gaps()
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(engine.backplane(), history=HISTORY, on_gap=gaps) as topics,
    ):
        await topics.subscribe(ends[0], "room")
        before = await topics.publish("room", "0")
        engine.forget("room")
        after = await topics.publish("room", "1")
        assert before is not None
        assert after is not None
        assert before.epoch != after.epoch
        assert after.offset == 1
        assert await received(clients[0], 2) == ["0", "1"]
        await topics.subscribe(ends[1], "room", after=before)
        assert await received(clients[1], 1) == ["1"]
        gap = Gap("room", "lost", before, after.previous)
        assert gaps == [gap, gap]


async def test_history_by_seconds(runtime: Runtime) -> None:
    now = 0.0
    backplane = MemoryBackplane(clock=lambda: now)
    async with (
        server(runtime) as ([end], [client]),
        Topics(backplane, history=Retention(100, seconds=60)) as topics,
    ):
        for message in "abc":
            await topics.publish("room", message)
            now += 25
        await topics.subscribe(end, "room", after=START)
        assert await received(client, 2) == ["b", "c"]


async def test_histories_are_limited(runtime: Runtime) -> None:
    """Clients may choose topics: the history that was not used for the longest time is removed."""
    gaps = Gaps()
    backplane = MemoryBackplane(max_histories=2)
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(backplane, history=HISTORY, on_gap=gaps) as topics,
    ):
        before = {topic: await topics.publish(topic, topic) for topic in ("old", "used")}
        await topics.publish("old", "again")
        await topics.publish("new", "new")
        assert before["old"] is not None
        assert before["used"] is not None
        await topics.subscribe(ends[0], "old", after=before["old"])
        assert await received(clients[0], 1) == ["again"]
        await topics.subscribe(ends[1], "used", after=before["used"])
        await topics.publish("used", "anew")
        assert await received(clients[1], 1) == ["anew"]
        assert [(gap.topic, gap.reason) for gap in gaps] == [("used", "lost")]


@pytest.mark.parametrize(("wrong", "error"), [(0, ValueError), ("many", TypeError)])
def test_wrong_limits_on_histories(wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_histories"):
        MemoryBackplane(max_histories=wrong)


async def test_position_of_a_topic_without_history(runtime: Runtime, engine: Engine) -> None:
    gaps = Gaps()
    async with (
        server(runtime) as ([end], [client]),
        Topics(engine.backplane(), on_gap=gaps) as topics,
    ):
        position = Position("e", 7)
        await topics.subscribe(end, "room", after=position)
        await topics.publish("room", "a")
        assert await client.recv() == "a"
        assert gaps == [Gap("room", "lost", position)]


# Slow connections


LARGE = "x" * 2**14


@contextlib.asynccontextmanager
async def with_a_stuck_one(runtime: Runtime) -> AsyncIterator[tuple[list[Any], Any, RawClient]]:
    """The server's ends, of which the first is a client's that does not read; another client; that one."""
    accepted: list[Any] = []
    async with (
        runtime.serving(partial(receive_all, accepted), **QUIET, write_limit=2**14) as (served, uri),
        runtime.raw_client(served, small_buffers=True) as stuck,
    ):
        await runtime.until(lambda: accepted)
        async with runtime.connect(uri, **QUIET) as client:
            await runtime.until(lambda: len(accepted) == 2)
            yield accepted, client, stuck


@pytest.mark.parametrize("policy", ["skip", "oldest", "latest", "close"])
async def test_stuck_connection_delays_nobody(runtime: Runtime, policy: Any) -> None:
    gaps = Gaps()
    async with (
        with_a_stuck_one(runtime) as (ends, client, stuck),
        Topics(history=Retention(1000), on_gap=gaps) as topics,
    ):
        slow = await topics.subscribe(ends[0], "room", policy=policy, queue=3)
        await topics.subscribe(ends[1], "room", policy="close", queue=1)
        count = 0
        while not (slow.dropped > 5 or topics.health.closed):
            await topics.publish("room", f"{count} {LARGE}")
            assert (await client.recv()).startswith(f"{count} ")
            count += 1
        assert topics.subscribers("room") == 2
        if policy == "close":
            assert not ends[0].open
            frame = await stuck.read_frame()
            while frame.opcode != CLOSE:
                frame = await stuck.read_frame()
            assert frame.payload == close_payload(1013, "too slow")
        else:
            assert slow.queued == (1 if policy == "latest" else 3)
            assert topics.health.dropped == slow.dropped
            numbers = [int(each.split()[0]) for each in await texts(stuck, count - slow.dropped)]
            missing = set(range(count)) - set(numbers)
            assert numbers == sorted(numbers)
            assert len(missing) == slow.dropped
            if policy == "skip":
                await topics.publish("room", f"{count} {LARGE}")
                assert [int(each.split()[0]) for each in await texts(stuck, 1)] == [count]
            await runtime.until(lambda: not slow.queued)
            told: set[int] = set()
            for gap in gaps:
                assert gap.reason == "slow"
                assert gap.after is not None
                assert gap.until is not None
                told |= set(range(gap.after.offset, gap.until.offset))
            assert told == missing


async def texts(client: RawClient, count: int) -> list[str]:
    return [(await client.read_frame()).payload.decode() for _ in range(count)]


async def test_replay_to_a_slow_connection(runtime: Runtime) -> None:
    async with (
        with_a_stuck_one(runtime) as (ends, client, stuck),
        Topics(history=Retention(1000)) as topics,
    ):
        for number in range(100):
            await topics.publish("room", f"{number} {LARGE}")
        slow = await topics.subscribe(ends[0], "room", after=START, policy="close", queue=1)
        await topics.subscribe(ends[1], "room", after=START)
        assert [int((await client.recv()).split()[0]) for _ in range(100)] == list(range(100))
        assert slow.queued
        assert [int(each.split()[0]) for each in await texts(stuck, 100)] == list(range(100))
        await runtime.until(lambda: not slow.queued)


async def test_other_senders_have_their_turn(runtime: Runtime) -> None:
    async with (
        with_a_stuck_one(runtime) as (ends, _, stuck),
        Topics(history=Retention(1000)) as topics,
    ):
        for _ in range(200):
            await topics.publish("room", LARGE)
        slow = await topics.subscribe(ends[0], "room", after=START)
        await runtime.settle()
        assert slow.queued
        sending = runtime.spawn(ends[0].send, "own")
        found = []
        while "own" not in found:
            found += await texts(stuck, 1)
        await sending.result()
        assert len(found) < 200
        assert len(found + await texts(stuck, 201 - len(found))) == 201


async def test_end_of_a_connection_with_a_backlog(runtime: Runtime) -> None:
    async with (
        with_a_stuck_one(runtime) as (ends, client, stuck),
        Topics(history=Retention(1000)) as topics,
    ):
        slow = await topics.subscribe(ends[0], "room", policy="oldest")
        await topics.subscribe(ends[1], "room")
        while slow.queued < 5:
            await topics.publish("room", LARGE)
            await client.recv()
        stuck.close()
        await runtime.until(lambda: topics.health.connections == 1)
        assert slow.queued == 0
        await topics.publish("room", "a")
        assert await client.recv() == "a"


async def test_message_is_encoded_once(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    import wsproto_core.prepared as prepared

    count = 0
    encode = prepared.encode_frame

    def counted(*args: Any) -> Any:
        nonlocal count
        count += 1
        return encode(*args)

    async with server(runtime, 5) as (ends, clients), Topics(history=HISTORY) as topics:
        for end in ends[:3]:
            await topics.subscribe(end, "room")
        monkeypatch.setattr(prepared, "encode_frame", counted)
        await topics.publish("room", "a")
        for end in ends[3:]:
            await topics.subscribe(end, "room", after=START)
        for client in clients:
            assert await client.recv() == "a"
        assert count == 1


# Mistakes


async def test_mistakes(runtime: Runtime) -> None:
    with pytest.raises(ValueError, match="on_loss"):
        Topics(on_loss="wait")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="backplane"):
        Topics("redis://localhost")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Retention"):
        Topics(history={"a": 5})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="points"):
        Topics(history={"a..b": Retention()})
    with pytest.raises(RuntimeError, match="async with"):
        await Topics().publish("a", "b")
    async with server(runtime) as ([end], [client]), Topics() as topics:
        with pytest.raises(RuntimeError, match="used already"):
            await topics.__aenter__()
        with pytest.raises(TypeError, match="bytes"):
            await topics.publish("a", 5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="words"):
            await topics.publish("a.*", "b")
        with pytest.raises(ValueError, match="policy"):
            await topics.subscribe(end, "a", policy="wait")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="queue"):
            await topics.subscribe(end, "a", queue=0)
        with pytest.raises(ValueError, match="pattern"):
            await topics.subscribe(end, "a.*", after=START)
        with pytest.raises(ValueError, match="position"):
            await topics.subscribe(end, "a", after="5")
        await topics.subscribe(end, "a")
        with pytest.raises(ValueError, match="already"):
            await topics.subscribe(end, "a")
        await client.close()
        await runtime.until(lambda: not topics.health.connections)
        with pytest.raises(ConnectionClosed):
            await topics.subscribe(end, "a")
        assert topics.health.subscriptions == 0


async def test_hook_that_raises(runtime: Runtime) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("in the hook")

    log = Log()
    async with (
        server(runtime) as ([end], [client]),
        Topics(history=Retention(1), on_gap=fail, logger=log) as topics,
    ):
        first = await topics.publish("a", "1")
        for message in "23":
            await topics.publish("a", message)
        await topics.subscribe(end, "a", after=first)
        assert await client.recv() == "3"
        assert [type_ for _, type_ in log.errors()] == [RuntimeError]


async def test_cancelled_subscription(runtime: Runtime) -> None:
    class Silent(MemoryBackplane):
        async def listen(self, names: Any) -> None:
            await runtime.event().wait()

    async with server(runtime) as ([end], _), Topics(Silent()) as topics:
        subscribing = runtime.spawn(topics.subscribe, end, "a")
        await runtime.until(lambda: topics.health.subscriptions)
        subscribing.cancel()
        with pytest.raises(Cancelled):
            await subscribing.result()
        assert topics.health.subscriptions == 0


async def test_exception_of_the_block(runtime: Runtime) -> None:
    async with server(runtime) as ([end], [client]):
        topics = Topics()

        async def fail() -> None:
            async with topics:
                await topics.subscribe(end, "a")
                raise LookupError

        with pytest.raises(LookupError):
            await fail()
        # The connection stays open.
        await end.send("still")
        assert await client.recv() == "still"


def test_topics_without_a_runtime() -> None:
    with pytest.raises(RuntimeError, match="asyncio or trio"):
        Topics().__aenter__().send(None)


def test_default_logger() -> None:
    assert Topics()._logger is logging.getLogger("wsproto_core.topics")
