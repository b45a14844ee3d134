"""The samples in docs/faq.md do what the page says."""

from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path
from typing import Any

import pytest

from adapters.asyncio import ConnectionClosed, connect, serve

from .event_loop import turns

CERTIFICATES = Path(__file__).parents[1] / "certificates"
PAGE = (Path(__file__).parents[2] / "docs" / "faq.md").read_text(encoding="utf-8")
SAMPLES = dict(re.findall(r"<!-- sample: (\w+) -->\n```python\n(.*?)```\n", PAGE, re.DOTALL))

DEADLINE = 100
"""Of each test, in seconds."""


def sample(name: str) -> dict[str, Any]:
    """Return the names that a sample defines."""
    names: dict[str, Any] = {}
    exec(compile(SAMPLES[name], f"docs/faq.md: {name}", "exec"), names)
    return names


def test_all_samples_are_tested() -> None:
    tests = Path(__file__).read_text(encoding="utf-8")
    assert PAGE.count("```python") == len(SAMPLES)
    assert set(re.findall(r'sample\("(\w+)"\)', tests)) == SAMPLES.keys()


async def test_loop() -> None:
    async with (
        asyncio.timeout(DEADLINE),
        serve(sample("loop")["handler"], "localhost", 0) as server,
        connect(f"ws://localhost:{server.port}/") as websocket,
    ):
        for message in ("a", "b"):
            await websocket.send(message)
            assert await websocket.recv() == f"received {message}"


async def test_a_single_user() -> None:
    names = sample("users")
    async with asyncio.timeout(DEADLINE), serve(names["user_handler"], "localhost", 0) as server:
        uri = f"ws://localhost:{server.port}/"
        async with connect(uri) as alice, connect(uri) as other, connect(uri) as bob:
            await alice.send("alice")
            await other.send("alice")
            await bob.send("bob")
            while sum(map(len, names["users"].values())) < 3:
                await turns(1)
            await names["send_to_user"]("alice", "for Alice")
            await names["send_to_user"]("bob", "for Bob")
            await names["send_to_user"]("nobody", "lost")
            assert await alice.recv() == await other.recv() == "for Alice"
            assert await bob.recv() == "for Bob"
        while names["users"]:
            await turns(1)


async def test_a_channel() -> None:
    names = sample("channels")
    async with asyncio.timeout(DEADLINE), serve(names["channel_handler"], "localhost", 0) as server:
        uri = f"ws://localhost:{server.port}/"
        async with connect(uri) as one, connect(uri) as two, connect(uri) as elsewhere:
            await one.send("news")
            await two.send("news")
            await elsewhere.send("sport")
            while sum(map(len, names["channels"].values())) < 3:
                await turns(1)
            await elsewhere.send("goal")
            await one.send("rain")
            assert await one.recv() == await two.recv() == "rain"
            assert await elsewhere.recv() == "goal"


async def test_arguments() -> None:
    async with (
        asyncio.timeout(DEADLINE),
        serve(sample("arguments")["handler_with_argument"], "localhost", 0) as server,
        connect(f"ws://localhost:{server.port}/") as websocket,
    ):
        assert await websocket.recv() == "Hello!"


async def test_stopping_a_client() -> None:
    stop = asyncio.Event()

    async def handler(websocket: Any) -> None:
        await websocket.send("only one")
        stop.set()
        await websocket.wait_closed()

    async with asyncio.timeout(DEADLINE), serve(handler, "localhost", 0) as server:
        uri = f"ws://localhost:{server.port}/"
        assert await sample("stop")["receive_until"](uri, stop) == ["only one"]


async def test_a_client_that_the_server_stops() -> None:
    async def handler(websocket: Any) -> None:
        await websocket.send("only one")

    async with asyncio.timeout(DEADLINE), serve(handler, "localhost", 0) as server:
        uri = f"ws://localhost:{server.port}/"
        assert await sample("stop")["receive_until"](uri, asyncio.Event()) == ["only one"]


async def test_verification() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key")
    unverified = sample("verification")["unverified"]
    async with (
        asyncio.timeout(DEADLINE),
        serve(sample("loop")["handler"], "localhost", 0, ssl=context) as server,
    ):
        uri = f"wss://localhost:{server.port}/"
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect(uri):
                pass
        async with connect(uri, ssl=unverified) as websocket:
            await websocket.send("a")
            assert await websocket.recv() == "received a"


async def test_receiving_and_sending() -> None:
    names = sample("both")
    cancelled = []

    async def receive(websocket: Any) -> None:
        async for _ in websocket:
            pass

    async def send(websocket: Any) -> None:
        try:
            await websocket.send("hello")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(websocket)
            raise

    async def handler(websocket: Any) -> None:
        await names["both_handler"](websocket, receive, send)
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        cancelled.append("returned")

    async with asyncio.timeout(DEADLINE), serve(handler, "localhost", 0) as server:
        async with connect(f"ws://localhost:{server.port}/") as websocket:
            assert await websocket.recv() == "hello"
        while len(cancelled) < 2:
            await turns(1)


async def test_subclass() -> None:
    counts = []

    async def handler(websocket: Any) -> None:
        await websocket.send("a")
        await websocket.send("b")
        counts.append(websocket.count)

    counting = sample("subclass")["Counting"]
    async with (
        asyncio.timeout(DEADLINE),
        serve(handler, "localhost", 0, create_protocol=counting) as server,
        connect(f"ws://localhost:{server.port}/") as websocket,
    ):
        assert [message async for message in websocket] == ["a", "b"]
    assert counts == [2]
