"""Sessions: clients of topics that come back, and the server's half of their protocol, on each runtime."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from adapters.session import (
    START,
    Gap,
    Message,
    NotPublished,
    Refused,
    Session,
    SessionEnded,
)
from adapters.session.decisions import SessionState
from adapters.shared.session_messages import encode_gap, encode_message
from adapters.threading.session import Session as BlockingSession
from adapters.topics import MemoryBackplane, Position, Retention, Topics
from adapters.topics.session import serve_session
from tests.adapters.runtimes import Cancelled, Runtime, make_runtime
from tests.adapters.runtimes.base import QUIET, Log
from wsproto_core import ConnectionClosed, InvalidStatusCode

from .clients import session_on

HISTORY = Retention(1000)
SOON: dict[str, Any] = {"reconnect_delays": lambda: itertools.repeat(0.01), **QUIET}


class Server:
    """A server with topics.

    Attributes:
        ends: its connections, in their order.
        forbidden: what clients may not do, and with which topics.
    """

    def __init__(self, topics: Topics) -> None:
        self.topics = topics
        self.uri = ""
        self.ends: list[Any] = []
        self.forbidden: set[tuple[str, str]] = set()

    async def handle(self, websocket: Any) -> None:
        self.ends.append(websocket)
        await serve_session(self.topics, websocket, may=self.may, max_subscriptions=3)

    async def may(self, websocket: Any, action: str, topic: str) -> bool:
        return (action, topic) not in self.forbidden


@contextlib.asynccontextmanager
async def serving(runtime: Runtime, **options: Any) -> AsyncIterator[Server]:
    async with Topics(**{"history": {"kept.**": HISTORY}, **options}) as topics:
        server = Server(topics)
        async with runtime.serving(server.handle, **QUIET, subprotocols=["topics.1"]) as (_, server.uri):
            yield server


async def next_of(session: Any, count: int) -> list[Any]:
    return [await anext(session) for _ in range(count)]


async def texts(session: Any, count: int) -> list[Any]:
    events = await next_of(session, count)
    assert all(isinstance(event, Message) for event in events)
    return [event.data for event in events]


async def subscribed(runtime: Runtime, server: Server, count: int) -> None:
    await runtime.until(lambda: server.topics.health.subscriptions == count)


async def test_messages_between_sessions(runtime: Runtime) -> None:
    async with (
        serving(runtime) as server,
        session_on(runtime, server.uri, **SOON) as one,
        session_on(runtime, server.uri, **SOON) as other,
    ):
        for topic in ("room", "kept.1"):
            await one.subscribe(topic)
        await subscribed(runtime, server, 2)
        assert server.ends[0].subprotocol == "topics.1"
        assert await other.publish("room", "Grüße\n") is None
        assert await other.publish("room", b"\0\n\xff") is None
        position = await other.publish("kept.1", bytearray(b""))
        assert position is not None
        assert position.offset == 1
        assert await next_of(one, 3) == [
            Message("room", "Grüße\n", None),
            Message("room", b"\0\n\xff", None),
            Message("kept.1", b"", position),
        ]
        assert one.positions == {"room": None, "kept.1": position}
        await one.unsubscribe("room")
        await one.unsubscribe("nowhere")
        await subscribed(runtime, server, 1)
        await other.publish("room", "not for you")
        await other.publish("kept.1", "last")
        assert await texts(one, 1) == ["last"]


async def test_patterns(runtime: Runtime) -> None:
    async with serving(runtime) as server, session_on(runtime, server.uri, **SOON) as session:
        await session.subscribe("*.1")
        await subscribed(runtime, server, 1)
        await session.publish("room.1", "a")
        position = await session.publish("kept.1", "b")
        assert await next_of(session, 2) == [
            Message("room.1", "a", None, "*.1"),
            Message("kept.1", "b", position, "*.1"),
        ]
        assert session.positions == {"*.1": None}
        await session.subscribe("kept.1")
        await subscribed(runtime, server, 2)
        last = await session.publish("kept.1", "c")
        both = [Message("kept.1", "c", last, "*.1"), Message("kept.1", "c", last)]
        assert sorted(await next_of(session, 2), key=lambda message: not message.pattern) == both
        assert session.positions == {"*.1": None, "kept.1": last}


async def test_coming_back(runtime: Runtime) -> None:
    phases: list[str] = []
    async with (
        serving(runtime) as server,
        session_on(
            runtime, server.uri, on_phase=lambda phase, error: phases.append(phase), **SOON
        ) as session,
    ):
        await session.subscribe("kept.1")
        await subscribed(runtime, server, 1)
        expected = 0
        for round_ in range(1, 4):
            for _ in range(10):
                await server.topics.publish("kept.1", str(expected))
                expected += 1
            end = server.ends[-1]
            end.protocol.fail(RuntimeError("lost"))
            end._react()
            for _ in range(10):
                await server.topics.publish("kept.1", str(expected))
                expected += 1
            assert await texts(session, 20) == [str(number) for number in range(expected - 20, expected)]
            assert len(server.ends) == round_ + 1
    assert phases[:4] == ["connecting", "live", "waiting", "connecting"]
    assert phases[-1] == "ended"
    assert set(phases[:-1]) == {"connecting", "live", "waiting"}


async def test_nothing_is_missed_before_the_first_message(runtime: Runtime) -> None:
    async with serving(runtime) as server, session_on(runtime, server.uri, **SOON) as session:
        await session.subscribe("kept.1")
        await runtime.until(lambda: session.positions["kept.1"])
        end = server.ends[-1]
        end.protocol.fail(RuntimeError("lost"))
        end._react()
        await server.topics.publish("kept.1", "a")
        assert await texts(session, 1) == ["a"]


async def test_positions_are_those_of_events_that_were_taken(runtime: Runtime) -> None:
    """What the application has not taken when a session ends, it gets from the next session."""
    async with serving(runtime) as server:
        async with session_on(runtime, server.uri, **SOON) as session:
            await session.subscribe("kept.1")
            await subscribed(runtime, server, 1)
            for number in range(5):
                await server.topics.publish("kept.1", str(number))
            await runtime.until(lambda: len(session._state.events) == 5)
            before = session.positions["kept.1"]
            assert before is not None
            assert before.offset == 0
            assert await texts(session, 2) == ["0", "1"]
            positions = session.positions
            assert positions["kept.1"].offset == 2
            # What is left of a subscription says nothing of the next one.
            await session.unsubscribe("kept.1")
            await session.subscribe("kept.1", after=START)
            assert session.positions == {"kept.1": START}
        async with session_on(runtime, server.uri, **SOON) as session:
            await session.subscribe("kept.1", after=positions["kept.1"])
            assert await texts(session, 3) == ["2", "3", "4"]


def test_position_before_the_first_message() -> None:
    """A message may come before the answer to the subscription, which tells the position otherwise."""
    state = SessionState("send")
    state.subscribe("kept.1", None)
    state.received(encode_message("message", "a", topic="kept.1", position="e:7"))
    assert state.positions == {"kept.1": Position("e", 6)}
    state.events.popleft()
    assert state.positions == {"kept.1": Position("e", 7)}


async def test_gaps_are_told(runtime: Runtime) -> None:
    async with (
        serving(runtime, history=Retention(2)) as server,
        session_on(runtime, server.uri, **SOON) as session,
    ):
        first = await server.topics.publish("room", "0")
        assert first is not None
        for number in range(1, 5):
            await server.topics.publish("room", str(number))
        await session.subscribe("room", after=str(first))
        gap, *messages = await next_of(session, 3)
        assert gap == Gap("room", "trimmed", first, Position(first.epoch, 3))
        assert [message.data for message in messages] == ["3", "4"]
        await session.unsubscribe("room")
        await session.subscribe("room", after=START)
        assert await texts(session, 2) == ["3", "4"]


async def test_gaps_of_patterns(runtime: Runtime) -> None:
    """They are told, and change no position: the subscription to the topic is another one."""
    backplane = MemoryBackplane()
    async with (
        serving(runtime, backplane=backplane) as server,
        session_on(runtime, server.uri, **SOON) as session,
    ):
        await session.subscribe("kept.*")
        await subscribed(runtime, server, 1)
        first = await server.topics.publish("kept.1", "0")
        backplane.forget("kept.1")
        second = await server.topics.publish("kept.1", "1")
        assert second is not None
        gap = Gap("kept.1", "lost", first, second.previous)
        assert await next_of(session, 3) == [
            Message("kept.1", "0", first, "kept.*"),
            gap,
            Message("kept.1", "1", second, "kept.*"),
        ]
        state = SessionState("send")
        state.subscribe("kept.1", first)
        assert state.received(encode_gap(gap, "kept.*")) == gap
        assert state.topics["kept.1"] == first
        assert state.received(encode_gap(gap, None)) == gap
        assert state.topics["kept.1"] == second.previous


async def test_what_was_accepted_is_sent_later(runtime: Runtime) -> None:
    attempts = 0

    async def credentials() -> dict[str, Any]:
        nonlocal attempts
        attempts += 1
        if attempts in (1, 2):
            raise OSError("no token")
        return {"extra_headers": {"X-Token": str(attempts)}}

    errors: list[Exception | None] = []
    async with (
        serving(runtime) as server,
        session_on(
            runtime,
            server.uri,
            credentials=credentials,
            on_phase=lambda phase, error: errors.append(error),
            **SOON,
        ) as session,
    ):
        await session.subscribe("kept.1", after=START)
        for number in range(10):
            await session.publish("kept.1", str(number), wait=False)
        position = await session.publish("kept.1", "10")
        assert position is not None
        assert position.offset == 11
        assert await texts(session, 11) == [str(number) for number in range(11)]
        assert server.ends[0].request_headers["X-Token"] == "3"
        assert [type(error) for error in errors if error is not None] == [OSError, OSError]


@contextlib.asynccontextmanager
async def forgetful(runtime: Runtime) -> AsyncIterator[tuple[list[Any], str]]:
    """A server that ends the first connection after a message, and answers on the others."""
    taken: list[Any] = []

    async def handler(websocket: Any) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in websocket:
                taken.append(json.loads(message))
                if len(taken) == 1:
                    await websocket.close(1012)
                    return
                await websocket.send(
                    json.dumps({"type": "published", "id": taken[-1]["id"], "position": "e:5"})
                )

    async with runtime.serving(handler, **QUIET) as (_, uri):
        yield taken, uri


async def test_unconfirmed_message_is_sent_again(runtime: Runtime) -> None:
    async with forgetful(runtime) as (taken, uri), session_on(runtime, uri, **SOON) as session:
        assert await session.publish("room", "a") == ("e", 5)
        assert [message["text"] for message in taken] == ["a", "a"]


async def test_unconfirmed_message_fails(runtime: Runtime) -> None:
    async with (
        forgetful(runtime) as (taken, uri),
        session_on(runtime, uri, unconfirmed="fail", **SOON) as session,
    ):
        with pytest.raises(NotPublished, match="may have been published or not"):
            await session.publish("room", "a")
        assert await session.publish("room", "b") == ("e", 5)
        assert [message["text"] for message in taken] == ["a", "b"]


async def test_accepted_messages_are_limited(runtime: Runtime) -> None:
    async def credentials() -> dict[str, Any]:
        raise OSError

    async with session_on(
        runtime, "ws://localhost:9", credentials=credentials, max_pending=2, **SOON
    ) as session:
        await session.publish("room", "a", wait=False)
        await session.publish("room", "b", wait=False)
        third = runtime.spawn(session.publish, "room", "c")
        await runtime.settle()
        assert not third.done()
        third.cancel()
        with pytest.raises(Cancelled):
            await third.result()


async def test_events_are_limited(runtime: Runtime) -> None:
    async with serving(runtime) as server, session_on(runtime, server.uri, max_events=5, **SOON) as session:
        await session.subscribe("kept.1")
        await subscribed(runtime, server, 1)
        for number in range(100):
            await server.topics.publish("kept.1", str(number))
        await runtime.until(lambda: len(session._state.events) == 5)
        await runtime.settle()
        assert len(session._state.events) == 5
        assert await texts(session, 100) == [str(number) for number in range(100)]


async def test_refusals(runtime: Runtime) -> None:
    async with serving(runtime) as server, session_on(runtime, server.uri, **SOON) as session:
        server.forbidden = {("subscribe", "secret"), ("publish", "room")}
        await session.subscribe("secret")
        assert await anext(session) == Refused("secret", "not allowed")
        assert session.positions == {}
        with pytest.raises(NotPublished, match="not allowed"):
            await session.publish("room", "a")
        with pytest.raises(ValueError, match="points"):
            await session.publish("a.*", "a")
        for wrong in ("a..b", "\ud800"):
            with pytest.raises(ValueError, match="points"):
                await session.subscribe(wrong)
        async with runtime.connect(server.uri, **QUIET) as client:
            for kind, topic in (("subscribe", "a..b"), ("publish", "a.*")):
                await client.send(json.dumps({"type": kind, "topic": topic, "id": 1, "text": "a"}))
                answer = json.loads(await client.recv())
                assert (answer["type"], answer["topic"]) == ("refused", topic)
                assert "points" in answer["reason"]
        for topic in "abcd":
            await session.subscribe(topic)
        assert await anext(session) == Refused("d", "too many subscriptions")


async def test_fatal_error(runtime: Runtime) -> None:
    async with (
        runtime.serving(process_request=lambda path, headers: (404, [], b""), **QUIET) as (
            _,
            uri,
        ),
        session_on(runtime, uri, **SOON) as session,
    ):
        with pytest.raises(InvalidStatusCode):
            await anext(session)
        assert session.phase == "ended"
        for function in (session.subscribe, session.unsubscribe):
            with pytest.raises(SessionEnded):
                await function("room")
        with pytest.raises(SessionEnded) as caught:
            await session.publish("room", "a")
        assert isinstance(caught.value.__cause__, InvalidStatusCode)


async def test_end_of_the_block(runtime: Runtime) -> None:
    async with serving(runtime) as server:
        async with session_on(runtime, server.uri, **SOON) as session:
            await session.publish("room", "a")
            iterating = runtime.spawn(collect, session)
            await runtime.settle()
        assert await iterating.result() == []
        await runtime.until(lambda: server.ends[0].closed)
        assert server.ends[0].close_code == 1000
        with pytest.raises(RuntimeError, match="used already"):
            await session.__aenter__()


async def collect(session: Any) -> list[Any]:
    return [event async for event in session]


async def test_server_with_another_protocol(runtime: Runtime) -> None:
    log = Log()
    count = 0

    async def handler(websocket: Any) -> None:
        nonlocal count
        count += 1
        with contextlib.suppress(ConnectionClosed):
            await websocket.send("hello" if count == 1 else b"\xff\n")
            async for _ in websocket:
                pass

    async with runtime.serving(handler, **QUIET) as (_, uri), session_on(runtime, uri, logger=log, **SOON):
        await runtime.until(lambda: count >= 3)
    assert all("session protocol" in message for message, _ in log.errors())
    assert len(log.errors()) >= 2


@pytest.mark.parametrize(
    "message",
    [
        *(
            "",
            "[]",
            "{}",
            "5",
            '{"type":"subscribe"}',
            '{"type":"subscribe","topic":5}',
            '{"type":5,"topic":"a"}',
        ),
        *('{"type":"subscribe","topic":"a","position":"5"}', '{"type":"subscribe","topic":"a","position":5}'),
        '{"type":"subscribe","topic":"a","position":"' + "é" * 100 + '"}',
        *('{"type":"publish","topic":"a","id":1}', '{"type":"publish","topic":"a","id":"1","text":"a"}'),
        *('{"type":"publish","topic":"a","id":1,"text":1}', '{"type":"other","topic":"a"}', "[" * 100_000),
        *(b"", b"\xff\n", b'{"type":"publish","topic":"a","id":1}'),
    ],
)
def test_client_that_breaks_the_protocol(message: Any) -> None:
    async def test(runtime: Runtime) -> None:
        async with serving(runtime) as server, runtime.connect(server.uri, **QUIET) as client:
            await client.send(message)
            with pytest.raises(ConnectionClosed):
                await client.recv()
            assert client.close_code == 1008

    runtime = make_runtime("asyncio")
    runtime.run(test(runtime))


@pytest.mark.parametrize("kind", [Session, BlockingSession])
def test_arguments(kind: Any) -> None:
    with pytest.raises(ValueError, match="unconfirmed"):
        kind("ws://localhost", unconfirmed="drop")
    with pytest.raises(ValueError, match="max_events"):
        kind("ws://localhost", max_events=0)
    with pytest.raises(TypeError, match="max_pending"):
        kind("ws://localhost", max_pending=None)
