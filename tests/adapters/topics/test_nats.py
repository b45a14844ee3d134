"""Topics on NATS: what fails there, against a real server. Nothing is lost without a gap.

What all backplanes have in common is in ``test_topics.py``.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.topics import START, BackplaneLost, Gap, Position, Request, Retention, Topics, jetstream
from adapters.topics.nats import NatsBackplane
from tests.adapters.runtimes import Cancelled, Runtime, make_runtime
from wsproto_core import ConnectionClosed

from .engines import NatsServer
from .test_topics import HISTORY, Gaps, received, server


@pytest.fixture(params=["asyncio"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    """The client of NATS works on asyncio alone."""
    return make_runtime(request.param)


@pytest.fixture
def own() -> Iterator[NatsServer]:
    """A server that a test may stop."""
    own = NatsServer()
    yield own
    own.stop()


@pytest.fixture
def clear(nats: NatsServer) -> NatsServer:
    """A server without streams."""
    nats.clear()
    return nats


async def published(topics: Topics, topic: str, *messages: str) -> list[Position]:
    positions = [await topics.publish(topic, message) for message in messages]
    return [position for position in positions if position is not None]


# The server is lost


async def test_server_that_restarts_with_all_data(runtime: Runtime, own: NatsServer) -> None:
    gaps = Gaps()
    async with (
        server(runtime) as ([end], [client]),
        Topics(own.backplane(durable=True), history=HISTORY, on_gap=gaps) as topics,
        Topics(own.backplane(durable=True), history=HISTORY) as other,
    ):
        await topics.subscribe(end, "room")
        await published(other, "room", "1", "2")
        assert await received(client, 2) == ["1", "2"]
        own.kill()
        await runtime.until(lambda: not topics.healthy and not other.healthy)
        with pytest.raises(BackplaneLost, match="not published"):
            await other.publish("room", "nowhere")
        own.start()
        await runtime.until(lambda: other.healthy)
        positions = await published(other, "room", "3", "4")
        assert [position.offset for position in positions] == [3, 4]
        assert await received(client, 2) == ["3", "4"]
        await runtime.until(lambda: topics.healthy)
        assert gaps == []
        assert topics.health.reconnections == 1
        assert topics.health.losses >= 1


@pytest.mark.parametrize("durable", [False, True])
async def test_server_that_restarts_without_its_data(
    runtime: Runtime, own: NatsServer, durable: bool
) -> None:
    gaps = Gaps()
    health: list[bool] = []
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(
            own.backplane(durable=durable),
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
        if durable:
            own.lose_files()
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


async def test_server_that_does_not_answer_for_a_while(runtime: Runtime, own: NatsServer) -> None:
    gaps = Gaps()
    async with (
        server(runtime) as ([end], [client]),
        Topics(
            own.backplane(timeout=4, check_interval=0.2), history={"room": HISTORY}, on_gap=gaps
        ) as topics,
    ):
        await topics.subscribe(end, "room")
        await published(topics, "room", "1")
        own.pause()
        try:
            # It is not known whether these were published.
            publishing = runtime.spawn(topics.publish, "transient", "?")
            with pytest.raises(BackplaneLost, match="not known"):
                await topics.publish("room", "2")
            with pytest.raises(BackplaneLost, match="not known"):
                await publishing.result()
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


async def test_publishing_that_is_cancelled(runtime: Runtime, own: NatsServer) -> None:
    async with (
        server(runtime) as ([end], [client]),
        Topics(own.backplane(check_interval=1000), history=HISTORY) as topics,
    ):
        await topics.subscribe(end, "room")
        await published(topics, "room", "1")
        own.pause()
        try:
            backplane: Any = topics._backplane
            publishing = runtime.spawn(topics.publish, "room", "2")
            await runtime.until(lambda: backplane._connection._answers)
            publishing.cancel()
            with pytest.raises(Cancelled):
                await publishing.result()
        finally:
            own.resume()
        assert await received(client, 2) == ["1", "2"]
        assert [position.offset for position in await published(topics, "room", "3")] == [3]
        assert await client.recv() == "3"
        assert topics.health.losses == 0


async def test_idle_connection(runtime: Runtime, own: NatsServer) -> None:
    async with (
        server(runtime) as ([end], [client]),
        Topics(own.backplane(check_interval=0.1), history=HISTORY) as topics,
    ):
        await topics.subscribe(end, "room")
        before = topics.health.last_heard
        assert before is not None
        await runtime.until(lambda: (topics.health.last_heard or 0) > before + 1)
        await published(topics, "room", "still")
        assert await client.recv() == "still"
        assert topics.health.losses == 0


async def test_first_connection_is_refused(runtime: Runtime, own: NatsServer) -> None:
    own.kill()
    async with (
        server(runtime) as ([end], [client]),
        Topics(own.backplane(), history={"kept": HISTORY}) as topics,
    ):
        assert not topics.healthy
        assert topics.health.last_heard is None
        subscription = await topics.subscribe(end, "room")
        resuming = await topics.subscribe(end, "kept", after=START)
        assert not subscription.live
        with pytest.raises(BackplaneLost):
            await topics.publish("kept", "0")
        own.start()
        await runtime.until(lambda: subscription.live and resuming.live)
        await published(topics, "room", "1")
        await published(topics, "kept", "2")
        assert await received(client, 2) == ["1", "2"]
        assert topics.health.losses == 1
        assert topics.health.gaps == 0


async def test_losses_while_subscribing_again(runtime: Runtime, own: NatsServer) -> None:
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

        async def disconnect() -> None:
            """The server closes a connection on which a message is too large."""
            await backplane._connection._client.publish("x", bytes(2**20), headers={"x": "x"})

        async def listen_and_lose(names: Any) -> None:
            nonlocal kills
            await listen(names)
            if kills:
                kills -= 1
                await disconnect()

        backplane.listen = listen_and_lose
        await disconnect()
        for number in range(20):
            await other.publish("room", str(number))
            await runtime.sleep(0.02)
        assert await received(client, 20) == [str(number) for number in range(20)]
        await runtime.until(lambda: not kills and topics.healthy)
        await other.publish("room", "last")
        assert await client.recv() == "last"
        assert gaps == []
        assert topics.health.losses >= 3


async def test_slow_consumer(runtime: Runtime) -> None:
    """The server closes the connection of a process that does not read."""
    own = NatsServer("max_pending: 1MB")
    gaps = Gaps()
    try:
        async with (
            server(runtime) as ([end], [client]),
            Topics(own.backplane(), history=HISTORY, on_gap=gaps) as topics,
            Topics(own.backplane(), history=HISTORY) as other,
        ):
            await topics.subscribe(end, "room")
            await published(other, "room", "1")
            assert await client.recv() == "1"
            # This blocks the event loop.
            for _ in range(64):
                own.publish("topics.live.room", bytes(2**20))
            await published(other, "room", "2", "3")
            assert await received(client, 2) == ["2", "3"]
            assert topics.health.losses == 1
            assert other.health.losses == 0
            assert gaps == []
    finally:
        own.stop()


async def test_live_messages_that_do_not_come(runtime: Runtime, clear: NatsServer) -> None:
    async with (
        server(runtime) as ([end], [client]),
        Topics(clear.backplane(), history=HISTORY) as topics,
    ):
        await topics.subscribe(end, "room")
        backplane: Any = topics._backplane
        take = backplane._receiver.received
        backplane._receiver.received = lambda entry: None if entry.message == "2" else take(entry)
        await published(topics, "room", "1", "2", "3")
        assert await received(client, 3) == ["1", "2", "3"]


async def test_loss_that_closes_connections(runtime: Runtime, own: NatsServer) -> None:
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


@pytest.mark.parametrize("function", ["PURGE", "DELETE"])
async def test_stream_that_is_purged_or_deleted(runtime: Runtime, clear: NatsServer, function: str) -> None:
    gaps = Gaps()
    async with (
        server(runtime, 3) as (ends, clients),
        Topics(clear.backplane(), history=HISTORY, on_gap=gaps) as topics,
    ):
        await topics.subscribe(ends[0], "room")
        (before,) = await published(topics, "room", "1")
        (stream,) = clear.streams()
        clear.call(f"$JS.API.STREAM.{function}.{stream}")
        (after,) = await published(topics, "room", "2")
        assert (before.epoch != after.epoch, after.offset) == (True, 1)
        assert await received(clients[0], 2) == ["1", "2"]
        await topics.subscribe(ends[1], "room", after=before)
        assert await clients[1].recv() == "2"
        assert gaps == 2 * [Gap("room", "lost", before, after.previous)]
        # Who reads is the first to notice.
        clear.clear()
        await topics.subscribe(ends[2], "room", after=after)
        (last,) = await published(topics, "room", "3")
        assert await clients[2].recv() == "3"
        assert gaps[-1] == Gap("room", "lost", after, last.previous)


async def test_stream_that_is_made_again_unnoticed(runtime: Runtime, clear: NatsServer) -> None:
    """The sequence numbers of the next stream are not taken for those of the first."""
    gaps = Gaps()
    async with (
        server(runtime) as ([end], [client]),
        Topics(clear.backplane(), history=HISTORY, on_gap=gaps) as topics,
        Topics(clear.backplane(), history=HISTORY) as other,
    ):
        (first, *_) = await published(topics, "room", "1", "2", "3")
        clear.clear()
        (second, *_) = await published(other, "room", "4", "5", "6")
        (last,) = await published(topics, "room", "7")
        assert first.epoch != second.epoch
        assert last == Position(second.epoch, 4)
        await topics.subscribe(end, "room", after=first)
        assert await received(client, 4) == ["4", "5", "6", "7"]
        assert gaps == [Gap("room", "lost", first, second.previous)]


async def test_long_history(runtime: Runtime, clear: NatsServer) -> None:
    gaps = Gaps()
    async with (
        server(runtime, 3) as (ends, clients),
        Topics(clear.backplane(), history=Retention(30), on_gap=gaps) as topics,
    ):
        for number in range(50):
            await published(topics, "room", str(number))
            await published(topics, f"other.{number}", "between")
        (last,) = await published(topics, "room", "50")
        (stream,) = clear.streams()
        request = {"subjects_filter": "topics.kept.30.room"}
        state = clear.call(f"$JS.API.STREAM.INFO.{stream}", request)["state"]
        assert state["subjects"] == {"topics.kept.30.room": 30}
        await topics.subscribe(ends[0], "room", after=START)
        assert await received(clients[0], 30) == [str(number) for number in range(21, 51)]
        await topics.subscribe(ends[1], "room", after=Position(last.epoch, 40))
        assert await received(clients[1], 11) == [str(number) for number in range(40, 51)]
        assert gaps == []
        await topics.subscribe(ends[2], "room", after=Position(last.epoch, 4))
        assert await received(clients[2], 30) == [str(number) for number in range(21, 51)]
        assert gaps == [Gap("room", "trimmed", Position(last.epoch, 4), Position(last.epoch, 21))]


async def test_history_with_a_hole(runtime: Runtime, clear: NatsServer) -> None:
    """A history ends where the message before is another one, as after a loss of the end of the stream."""
    gaps = Gaps()
    async with (
        server(runtime) as ([end], [client]),
        Topics(clear.backplane(), history=HISTORY, on_gap=gaps) as topics,
    ):
        (first, *_) = await published(topics, "room", "1", "2", "3")
        clear.publish("topics.kept.100.room", jetstream.encode(first.epoch, "5", (1, 2), "5"))
        await topics.subscribe(end, "room", after=first)
        assert await client.recv() == "5"
        assert gaps == [Gap("room", "trimmed", first, Position(first.epoch, 4))]
        assert await published(topics, "room", "6") == [Position(first.epoch, 6)]
        assert await client.recv() == "6"


async def test_history_by_seconds(
    runtime: Runtime, clear: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    clock = SimpleNamespace(time=lambda: time.time() + now, monotonic=lambda: time.monotonic() + now)
    monkeypatch.setattr(jetstream, "time", clock)
    gaps = Gaps()
    async with (
        server(runtime, 3) as (ends, clients),
        Topics(clear.backplane(), history=Retention(100, seconds=3600), on_gap=gaps) as topics,
    ):
        (first, *_) = await published(topics, "room", "1", "2")
        await topics.subscribe(ends[0], "room", after=START)
        assert await received(clients[0], 2) == ["1", "2"]
        now = 4000.0
        await topics.subscribe(ends[1], "room", after=first)
        (last,) = await published(topics, "room", "3")
        assert await clients[1].recv() == "3"
        # What is too old is missing, and the position goes on.
        assert gaps == [Gap("room", "trimmed", first, Position(first.epoch, 2))]
        assert last == Position(first.epoch, 3)
        now = 8000.0
        (last,) = await published(topics, "room", "4")
        assert last == Position(first.epoch, 4)
        (stream,) = clear.streams()
        state = clear.call(f"$JS.API.STREAM.INFO.{stream}")["state"]
        assert (state["messages"], state["first_seq"]) == (3, 2)
        assert await received(clients[0], 2) == ["3", "4"]


async def test_messages_of_others(runtime: Runtime, clear: NatsServer) -> None:
    gaps = Gaps()
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(clear.backplane(), history={"kept": HISTORY}, on_gap=gaps) as topics,
        Topics(clear.backplane(), history={"kept": HISTORY}) as other,
    ):
        await topics.subscribe(ends[0], "kept")
        await topics.subscribe(ends[0], "**")
        (before,) = await published(topics, "kept", "0")
        assert await received(clients[0], 2) == ["0", "0"]
        for message in (
            b"",
            b"hello",
            b"- 1 - ?",
            b"a b - tc",
            b"- 1 - t\xff",
            b"\xff 1 - tx",
            b"e 1 x tx",
        ):
            for subject in ("live.kept", "live.room", "live.%FF", "live.%20", "live.a..b", "kept.100.kept"):
                clear.publish(f"topics.{subject}", message)
        # The mark of an empty history is no message.
        clear.publish("topics.live.kept", b"e 0 - -")
        # The history is as it was, also for a process that has not seen it yet.
        (after,) = await published(other, "kept", "1")
        assert after == Position(before.epoch, 2)
        await published(topics, "room", "2")
        assert await received(clients[0], 3) == ["1", "1", "2"]
        clear.publish("topics.kept.100.kept", b"hello")
        await topics.subscribe(ends[1], "kept", after=START)
        assert await received(clients[1], 2) == ["0", "1"]
        assert gaps == []
        assert topics.health.losses == 0


async def test_duplicates(runtime: Runtime, clear: NatsServer) -> None:
    async with (
        server(runtime) as ([end], [client]),
        Topics(clear.backplane(), history=HISTORY) as topics,
    ):
        await topics.subscribe(end, "room")
        for number in range(1, 4):
            (position,) = await published(topics, "room", str(number))
            for _ in range(2):
                payload = jetstream.encode(position.epoch, str(position.offset), (), str(number))
                clear.publish("topics.live.room", payload)
        await published(topics, "room", "4")
        assert await received(client, 4) == ["1", "2", "3", "4"]


async def test_overlapping_subscriptions(runtime: Runtime, clear: NatsServer) -> None:
    """Each message of a transient topic comes once, while subscriptions come and go."""
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(clear.backplane()) as topics,
        Topics(clear.backplane()) as other,
    ):
        await topics.subscribe(ends[0], "room.*")

        async def publish() -> None:
            for number in range(100):
                await other.publish("room.1", str(number))

        publishing = runtime.spawn(publish)
        for _ in range(10):
            for name in ("room.1", "*.1", "**"):
                await topics.subscribe(ends[1], name)
            for name in ("**", "room.1", "*.1"):
                await topics.unsubscribe(ends[1], name)
        await publishing.result()
        assert await received(clients[0], 100) == [str(number) for number in range(100)]
        await topics.publish("room.1", "last")
        assert await clients[0].recv() == "last"


NAMES = ["ä.ö", "a/b.$SYS.%41", "~.'\".|=&+,;:@!#`", "-_.0", "\N{GRINNING FACE}" * 198 + "."]


@pytest.mark.parametrize("name", NAMES)
async def test_names_of_topics(runtime: Runtime, clear: NatsServer, name: str) -> None:
    kept, transient = name + "1", name + "2"
    pattern = ".".join([*kept.split(".")[:-1], "*"])
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(clear.backplane(), history={kept: HISTORY}) as topics,
    ):
        for topic in (kept, transient, kept):
            await topics.publish(topic, topic)
        await topics.subscribe(ends[0], kept, after=START)
        await topics.subscribe(ends[0], transient)
        await topics.subscribe(ends[1], pattern)
        for topic in (kept, transient, "".join(reversed(kept))):
            await topics.publish(topic, topic)
        assert await received(clients[0], 4) == [kept, kept, kept, transient]
        assert await received(clients[1], 2) == [kept, transient]


# Many at once


async def test_publishers_at_once(runtime: Runtime, clear: NatsServer) -> None:
    async with (
        server(runtime, 2) as (ends, clients),
        Topics(clear.backplane(), history=HISTORY) as one,
        Topics(clear.backplane(), history=HISTORY) as other,
    ):
        # One hears what the other one publishes, the other one does not.
        await one.subscribe(ends[0], "room")
        publishing = [
            runtime.spawn(topics.publish, "room", f"{name} {number}")
            for number in range(25)
            for name, topics in (("one", one), ("other", other))
        ]
        positions = [await each.result() for each in publishing]
        assert sorted(position.offset for position in positions) == list(range(1, 51))
        assert len({position.epoch for position in positions}) == 1
        messages = await received(clients[0], 50)
        for name in ("one", "other"):
            own = [message for message in messages if message.startswith(f"{name} ")]
            assert own == [f"{name} {number}" for number in range(25)]
        await other.subscribe(ends[1], "room", after=START)
        assert await received(clients[1], 50) == messages
        assert len(clear.streams()) == 1


async def test_first_messages_at_once(runtime: Runtime, clear: NatsServer) -> None:
    """Of two processes that make a stream, one is refused, and uses that of the other one."""
    async with (
        Topics(clear.backplane(), history=HISTORY) as one,
        Topics(clear.backplane(), history=HISTORY) as other,
    ):
        publishing = [
            runtime.spawn(topics.publish, f"room.{number}", "1")
            for topics in (one, other)
            for number in range(5)
        ]
        offsets = [(await each.result()).offset for each in publishing]
        assert sorted(offsets) == 5 * [1] + 5 * [2]
        assert len(clear.streams()) == 1


async def test_topics_whose_position_is_not_remembered(
    runtime: Runtime, clear: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream, "MOST_TOPICS", 2)
    async with Topics(clear.backplane(), history=HISTORY) as topics:
        for offset in range(1, 4):
            for number in range(4):
                (position,) = await published(topics, f"room.{number}", "message")
                assert position.offset == offset
        backplane: Any = topics._backplane
        assert len(backplane._histories._heads) == 2


PUBLISHER = """
import asyncio, sys
from adapters.topics import Retention, Topics
from adapters.topics.nats import NatsBackplane

async def main():
    async with Topics(NatsBackplane(sys.argv[1], timeout=30), history=Retention(10_000)) as topics:
        for number in range(1, 10_000):
            position = await topics.publish("room", str(number))
            print(position.offset, flush=True)

asyncio.run(main())
"""


async def test_publisher_that_is_killed(runtime: Runtime, clear: NatsServer) -> None:
    history = Retention(10_000)
    async with (
        server(runtime) as ([end], [client]),
        Topics(clear.backplane(), history=history) as topics,
    ):
        await topics.subscribe(end, "room", after=START)
        publisher = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, "-c", PUBLISHER, f"nats://127.0.0.1:{clear.port}"], stdout=subprocess.PIPE
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


# What the server refuses


async def test_message_that_is_too_large(runtime: Runtime, own: NatsServer) -> None:
    async with (
        server(runtime) as ([end], [client]),
        Topics(own.backplane(), history={"kept": HISTORY}) as topics,
    ):
        largest = bytes(2**20 - 512)
        for topic in ("kept", "transient"):
            await topics.subscribe(end, topic)
            with pytest.raises(ValueError, match="max_payload"):
                await topics.publish(topic, largest + b"1")
            await topics.publish(topic, largest)
            assert await client.recv() == largest
        assert topics.health.losses == 0


async def test_server_without_jetstream(runtime: Runtime) -> None:
    own = NatsServer("jetstream: disabled")
    try:
        async with (
            server(runtime) as ([end], [client]),
            Topics(own.backplane(), history={"kept": HISTORY}) as topics,
        ):
            await topics.subscribe(end, "transient")
            await topics.publish("transient", "1")
            assert await client.recv() == "1"
            with pytest.raises(BackplaneLost, match="JetStream"):
                await topics.publish("kept", "2")
            assert topics.healthy
    finally:
        own.stop()


async def test_permissions(runtime: Runtime) -> None:
    own = NatsServer(
        "authorization: {users: [{user: u, password: p, permissions: "
        '{subscribe: {deny: "topics.live.secret"}, publish: {deny: "topics.live.closed"}}}]}'
    )
    errors: list[str] = []
    try:
        backplane = NatsBackplane(f"nats://u:p@127.0.0.1:{own.port}", timeout=30)
        async with (
            server(runtime) as ([end], [client]),
            Topics(backplane, on_health=lambda healthy, error: errors.append(str(error))) as topics,
        ):
            await topics.subscribe(end, "open")
            # What is published in vain is not noticed, except by the server.
            await topics.publish("closed", "1")
            await topics.publish("open", "2")
            assert await client.recv() == "2"
            assert errors == ["None"]
            # A subscription that is refused must not look like one without messages.
            await topics.subscribe(end, "secret")
            await runtime.until(lambda: "permissions violation for subscription" in "".join(errors))
    finally:
        own.stop()


async def test_wrong_password(runtime: Runtime) -> None:
    own = NatsServer("authorization: {user: u, password: p}")
    errors: list[str] = []
    try:
        backplane = NatsBackplane(f"nats://u:q@127.0.0.1:{own.port}", timeout=30)
        async with Topics(backplane, on_health=lambda healthy, error: errors.append(str(error))) as topics:
            assert not topics.healthy
        assert "authorization violation" in errors[0].lower()
    finally:
        own.stop()


async def test_server_without_room(runtime: Runtime) -> None:
    own = NatsServer(jetstream="max_mem: 1MB")
    try:
        async with (
            server(runtime) as ([end], [client]),
            Topics(own.backplane(), history=HISTORY) as topics,
        ):
            messages = [f"{number}{2**17 * 'x'}" for number in range(20)]
            with pytest.raises(BackplaneLost, match="was not published"):
                await published(topics, "room", *messages)
            last = (await topics._backplane.read({"room": Request(None, HISTORY)}))["room"].latest
            assert last.offset > 0
            await topics.subscribe(end, "room", after=START)
            for number in range(last.offset):
                assert (await client.recv()).startswith(f"{number}x")
            assert topics.health.gaps == 0
    finally:
        own.stop()


async def test_stream_of_another_program(runtime: Runtime, clear: NatsServer) -> None:
    settings = {"name": "other", "subjects": ["topics.kept.*.room"], "num_replicas": 1}
    settings |= {"retention": "limits", "storage": "memory"}
    clear.call("$JS.API.STREAM.CREATE.other", settings)
    async with Topics(clear.backplane(), history=HISTORY) as topics:
        with pytest.raises(BackplaneLost, match=r"refused to make the stream topics-100-\w+: .*overlap"):
            await topics.publish("room", "1")
        clear.call("$JS.API.STREAM.DELETE.other")
        await published(topics, "room", "1")
        # When this one is deleted, the other program gets the message, and says so.
        for stream in clear.streams():
            clear.call(f"$JS.API.STREAM.DELETE.{stream}")
        clear.call("$JS.API.STREAM.CREATE.other", settings)
        with pytest.raises(BackplaneLost, match="overlap"):
            await topics.publish("room", "1")
        assert clear.call("$JS.API.STREAM.INFO.other")["state"]["messages"] == 0


async def test_answers_of_another_program(runtime: Runtime, own: NatsServer) -> None:
    """What answers in the place of JetStream is not believed."""
    async with (
        Topics(own.backplane(), history=HISTORY) as topics,
        Topics(own.backplane(), history=HISTORY) as other,
    ):
        backplane: Any = topics._backplane
        ask = backplane._histories._ask
        for answer in (b"thank you", b"[]", b'{"stream": "other", "seq": 1}'):

            async def answered(
                subject: str, payload: bytes, headers: Any = None, answer: bytes = answer
            ) -> bytes | None:
                return answer if subject.endswith(".room") else await ask(subject, payload, headers)

            backplane._histories._ask = answered
            with pytest.raises(BackplaneLost, match="answer"):
                await topics.publish("room", "1")
        assert (await published(other, "room", "1"))[0].offset == 1


async def test_other_storage(runtime: Runtime, clear: NatsServer) -> None:
    async with (
        Topics(clear.backplane(), history=HISTORY) as one,
        Topics(clear.backplane(durable=True), history=HISTORY) as other,
    ):
        await published(one, "room", "1")
        with pytest.raises(BackplaneLost, match="durable"):
            await other.publish("room", "2")


async def test_memory_of_a_cluster(runtime: Runtime, clear: NatsServer) -> None:
    async with (
        Topics(clear.backplane(), history=HISTORY) as topics,
        Topics(clear.backplane(), history=HISTORY) as other,
    ):
        await published(other, "room", "1")
        backplane: Any = topics._backplane
        ask = backplane._histories._ask

        async def in_a_cluster(subject: str, payload: bytes, headers: Any = None) -> bytes | None:
            answer = await ask(subject, payload, headers)
            if subject == "$JS.API.STREAM.LIST":
                found = json.loads(answer)
                found["streams"][0]["cluster"] = {"name": "c", "leader": "n"}
                answer = json.dumps(found).encode()
            return answer

        backplane._histories._ask = in_a_cluster
        with pytest.raises(BackplaneLost, match="durable=True"):
            await topics.publish("room", "2")


# Mistakes


def test_arguments() -> None:
    for prefix in ("a.b", "a*", "", "a" * 33):
        with pytest.raises(ValueError, match="prefix"):
            NatsBackplane(prefix=prefix)
    with pytest.raises(TypeError, match="prefix"):
        NatsBackplane(prefix=b"a")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="timeout"):
        NatsBackplane(timeout=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="check_interval"):
        NatsBackplane(check_interval=0)


async def test_backplane_is_for_one_object(runtime: Runtime, nats: NatsServer) -> None:
    backplane = nats.backplane()
    async with Topics(backplane):
        with pytest.raises(RuntimeError, match="one object"):
            await Topics(backplane).__aenter__()


def test_other_runtimes_are_refused() -> None:
    async def test() -> None:
        with pytest.raises(RuntimeError, match="NatsBackplane needs asyncio, but trio"):
            await Topics(NatsBackplane()).__aenter__()

    make_runtime("trio").run(test())


def test_without_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nats.aio.client", None)
    monkeypatch.delitem(sys.modules, "adapters.topics.nats_connection")
    with pytest.raises(ImportError, match=r"pip install 'wsproto-core\[nats\]'"):
        importlib.import_module("adapters.topics.nats_connection")
