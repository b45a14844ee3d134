"""The memory of topics is bounded, however many topics there are, and what is forgotten is told as a gap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from adapters.topics import (
    START,
    BackplaneLost,
    Entry,
    Gap,
    MemoryBackplane,
    Position,
    Receiver,
    Request,
    Retention,
    Tasks,
    Topics,
    Window,
)
from tests.adapters.runtimes import Runtime, make_runtime

from .test_topics import HISTORY, Gaps, received, server


@pytest.fixture(params=["asyncio", "trio"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return make_runtime(request.param)


class Unreliable(MemoryBackplane):
    """A backplane that loses live messages, loses its connection, and delays reads, when it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.losing = False
        self.may_read: Any = None

    async def open(self, receiver: Receiver, tasks: Tasks) -> None:
        self.receiver = receiver
        await super().open(Losing(self, receiver), tasks)

    async def close(self, receiver: Receiver) -> None:
        self._receivers.clear()

    async def read(self, requests: Mapping[str, Request]) -> Mapping[str, Window]:
        if self.may_read is not None:
            await self.may_read.wait()
        return await super().read(requests)


class Losing:
    def __init__(self, backplane: Unreliable, receiver: Receiver) -> None:
        self._backplane = backplane
        self._receiver = receiver

    def received(self, entry: Entry) -> None:
        if not self._backplane.losing:
            self._receiver.received(entry)

    def lost(self, error: Exception) -> None:
        self._receiver.lost(error)

    def restored(self) -> None:
        self._receiver.restored()


# Topics that only patterns see


async def test_topics_of_patterns_are_limited(runtime: Runtime) -> None:
    gaps = Gaps()
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(history=HISTORY, max_pattern_topics=20, on_gap=gaps) as topics,
    ):
        await topics.subscribe(ends[0], "room.**")
        await topics.subscribe(ends[1], "room.named", after=START)
        await topics.publish("room.named", "first")
        names = [f"room.{number}" for number in range(200)]
        for name in names:
            await topics.publish(name, name)
        assert await received(clients[0], 201) == ["first", *names]
        assert len(topics._feeds) == 21
        # These are the last ones, and that of a topic with a subscription.
        assert set(topics._feeds) == {"room.named", *names[-20:]}
        assert gaps == []
        # Nothing was missed, but the process does not know that any more.
        for name in (names[-20], names[0], "room.named"):
            await topics.publish(name, "again")
        assert await received(clients[0], 3) == 3 * ["again"]
        assert await received(clients[1], 2) == ["first", "again"]
        ((topic, reason, after, until),) = [(gap.topic, gap.reason, gap.after, gap.until) for gap in gaps]
        assert until is not None
        assert (topic, reason, after, until.offset) == (names[0], "evicted", None, 1)
        await topics.unsubscribe(ends[0], "room.**")
        assert set(topics._feeds) == {"room.named"}


async def test_topics_in_use_are_not_forgotten(runtime: Runtime) -> None:
    gaps = Gaps()
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(history=HISTORY, max_pattern_topics=3, on_gap=gaps) as topics,
    ):
        await topics.subscribe(ends[0], "*")
        await topics.publish("named", "1")
        await topics.publish("busy", "1")
        await topics.subscribe(ends[1], "named")
        for number in range(20):
            await topics.publish(str(number), "other")
            await topics.publish("busy", "again")
        await topics.publish("named", "2")
        assert await clients[1].recv() == "2"
        assert await received(clients[0], 43) == ["1", "1", *20 * ["other", "again"], "2"]
        assert gaps == []


async def test_feeds_that_nobody_needs_any_more(runtime: Runtime) -> None:
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(history={"kept.*": HISTORY}, max_pattern_topics=5) as topics,
    ):
        await topics.subscribe(ends[0], "**")
        for number in range(20):
            for topic in (f"kept.{number}", f"other.{number}"):
                await topics.subscribe(ends[1], topic)
                await topics.publish(topic, topic)
                await topics.unsubscribe(ends[1], topic)
        assert await received(clients[0], 40) == await received(clients[1], 40)
        assert list(topics._feeds) == [f"kept.{number}" for number in range(15, 20)]
        await topics.unsubscribe(ends[0], "**")
        assert not topics._feeds


async def test_message_that_is_lost_while_its_topic_is_forgotten(runtime: Runtime) -> None:
    gaps = Gaps()
    backplane = Unreliable()
    async with (
        server(runtime) as ([end], [client]),
        Topics(backplane, history=HISTORY, max_pattern_topics=2, on_gap=gaps) as topics,
    ):
        await topics.subscribe(end, "*")
        for topic in "abc":
            await topics.publish(topic, topic)
        assert await received(client, 3) == ["a", "b", "c"]
        backplane.losing = True
        lost = [await topics.publish(topic, "lost") for topic in "ac"]
        backplane.losing = False
        await topics.publish("a", "a3")
        await topics.publish("c", "c3")
        # The position of c is known, so that the history is read.
        assert await received(client, 3) == ["a3", "lost", "c3"]
        assert gaps == [Gap("a", "evicted", None, lost[0])]
        # The first message of a topic follows nothing.
        await topics.publish("d", "d1")
        assert await client.recv() == "d1"
        assert len(gaps) == 1


async def test_forgotten_topic_that_is_subscribed_to(runtime: Runtime) -> None:
    gaps = Gaps()
    backplane = Unreliable()
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(backplane, history=HISTORY, max_pattern_topics=1, on_gap=gaps) as topics,
    ):
        await topics.subscribe(ends[0], "*")
        await topics.publish("a", "a1")
        await topics.publish("b", "b1")
        backplane.losing = True
        await topics.publish("a", "lost")
        backplane.losing = False
        # From here on the position of the topic is known again.
        await topics.subscribe(ends[1], "a")
        await topics.publish("a", "a3")
        assert await clients[1].recv() == "a3"
        assert await received(clients[0], 3) == ["a1", "b1", "a3"]
        assert gaps == [Gap("a", "evicted")]


async def test_topic_that_is_forgotten_while_it_waits_for_a_read(runtime: Runtime) -> None:
    gaps = Gaps()
    backplane = Unreliable()
    async with (
        server(runtime) as ([end], [client]),
        Topics(backplane, history=HISTORY, max_pattern_topics=1, on_gap=gaps) as topics,
    ):
        await topics.subscribe(end, "*")
        first = await topics.publish("a", "a1")
        backplane.losing = True
        await topics.publish("a", "a2")
        backplane.losing = False
        backplane.may_read = runtime.event()
        await topics.publish("a", "a3")
        await topics.publish("b", "b1")
        assert await received(client, 2) == ["a1", "b1"]
        await runtime.until(lambda: gaps)
        assert gaps == [Gap("a", "evicted", first)]
        backplane.may_read.set()
        await topics.publish("b", "b2")
        assert await client.recv() == "b2"


async def test_no_limit_on_topics_of_patterns(runtime: Runtime) -> None:
    async with (
        server(runtime) as ([end], _),
        Topics(history=HISTORY, max_pattern_topics=None) as topics,
    ):
        await topics.subscribe(end, "*", policy="latest")
        for number in range(50):
            await topics.publish(str(number), "")
        assert len(topics._feeds) == 50


@pytest.mark.parametrize(("wrong", "error"), [(0, ValueError), ("many", TypeError)])
def test_wrong_limits_on_topics_of_patterns(wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_pattern_topics"):
        Topics(max_pattern_topics=wrong)


# While the engine is lost


async def test_subscriptions_that_come_and_go_while_the_engine_is_lost(runtime: Runtime) -> None:
    backplane = Unreliable()
    async with (
        server(runtime) as ([end], [client]),
        Topics(backplane, history=HISTORY) as topics,
    ):
        await topics.subscribe(end, "stays")
        backplane.receiver.lost(BackplaneLost("gone"))
        for number in range(100):
            await topics.subscribe(end, f"room.{number}")
            await topics.unsubscribe(end, f"room.{number}")
        assert len(topics._changed) == 0
        assert set(topics._names) == set(topics._feeds) == {"stays"}
        await topics.subscribe(end, "new")
        await topics.unsubscribe(end, "stays")
        backplane.receiver.restored()
        await runtime.until(lambda: topics._listening == {"new"})
        await runtime.until(lambda: topics._feeds["new"].position is not None)
        await topics.publish("new", "1")
        assert await client.recv() == "1"


# Histories in memory


async def test_histories_in_memory_are_limited(runtime: Runtime) -> None:
    """By what is published, by what is subscribed to, and by what is read."""
    backplane = MemoryBackplane(max_histories=10)
    async with (
        server(runtime) as ([end], [client]),
        Topics(backplane, history=Retention(3)) as topics,
    ):
        for number in range(50):
            for _ in range(5):
                await topics.publish(f"published.{number}", "")
        assert len(backplane._histories) == 10
        for number in range(50):
            await topics.subscribe(end, f"subscribed.{number}", after=START)
        assert len(backplane._histories) == 10
        await backplane.read({f"read.{n}": Request(Position("e", 1), Retention(3)) for n in range(50)})
        assert list(backplane._histories) == [f"read.{number}" for number in range(40, 50)]
        for number in range(50):
            for _ in range(5):
                await topics.publish(f"subscribed.{number}", "")
        assert sum(len(history) for history in backplane._histories.values()) == 30
        # Each of them was told of its new history.
        await received(client, 250)
        assert topics.health.gaps >= 40
