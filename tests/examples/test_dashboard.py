"""The dashboard: values reach pages from one process and from several, and a killed process costs nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from adapters.session import START, Message, Position, Session
from adapters.threading import ClientConnection, connect
from tests.adapters.topics.engines import RedisServer
from tests.ports import free_port

from .programs import AMPLE, EXAMPLES, started


def receive(websocket: ClientConnection, kind: str) -> dict[str, Any]:
    """Return the next message of this type, past all others."""
    while (fields := json.loads(websocket.recv(timeout=AMPLE)))["type"] != kind:
        pass
    found: dict[str, Any] = fields
    return found


def subscribe(websocket: ClientConnection, topic: str) -> None:
    websocket.send(json.dumps({"type": "subscribe", "topic": topic, "position": ":0"}))


def process_of(websocket: Any) -> int:
    return int(websocket.response_headers["X-Process"])


def test_one_process() -> None:
    port = free_port()
    with started("dashboard/server.py", "--port", port, "--interval", 0.01) as server:
        assert server.line().startswith("Without --redis: one process")
        server.expect("Open")
        for path, file in (("", "dashboard/page.html"), ("session.js", "../docs/session.js")):
            with urllib.request.urlopen(f"http://localhost:{port}/{path}", timeout=AMPLE) as response:
                assert response.read() == (EXAMPLES / file).read_bytes()
        with (
            connect(f"ws://localhost:{port}/") as websocket,
            connect(f"ws://localhost:{port}/", origin=f"http://localhost:{port}") as other,
        ):
            subscribe(websocket, "value.north")
            position = None
            for _ in range(10):
                message = receive(websocket, "message")
                assert position in (None, Position.parse(message["position"]).previous)
                position = Position.parse(message["position"])
                assert 0 <= json.loads(message["text"])["value"] <= 100
            for topic in ("value.*", "**", "secret"):
                subscribe(websocket, topic)
                assert receive(websocket, "refused")["topic"] == topic
            websocket.send(json.dumps({"type": "publish", "topic": "value.north", "id": 1, "text": "100"}))
            assert receive(websocket, "refused")["id"] == 1
            # A mark of one page is on all of them.
            subscribe(other, "marks")
            receive(other, "subscribed")
            websocket.send(json.dumps({"type": "publish", "topic": "marks", "id": 2, "text": "here"}))
            assert receive(other, "message")["text"] == "here"
            server.process.send_signal(signal.SIGINT)
            for client in (websocket, other):
                for _ in client:
                    pass  # a close frame comes after the messages that were sent before it
                assert client.close_code == 1001
            assert server.wait() == 0


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.stop()


def test_several_processes(redis: RedisServer) -> None:
    port, url = free_port(), f"redis://127.0.0.1:{redis.port}/0"
    options = ("--port", port, "--redis", url, "--processes", 2)
    with started("dashboard/server.py", *options) as server:
        assert server.line().startswith("2 processes serve and one publishes")
        server.expect("Open")
        uri = f"ws://localhost:{port}/"
        with ExitStack() as stack:
            # Until there is a connection to each process.
            by_process: dict[int, ClientConnection] = {}
            while len(by_process) < 2:
                websocket = stack.enter_context(connect(uri))
                by_process[process_of(websocket)] = websocket
            one, other = by_process.values()
            subscribe(other, "marks")
            receive(other, "subscribed")
            one.send(json.dumps({"type": "publish", "topic": "marks", "id": 1, "text": "here"}))
            assert receive(one, "published")["id"] == 1
            assert receive(other, "message")["text"] == "here"
        asyncio.run(check_that_nothing_is_missed(uri, lambda: server.expect("was killed")))
        # The others do not stay when this program is killed: the end of the output is the end of all.
        server.process.kill()
        while server.lines.get(timeout=AMPLE) is not None:
            pass


async def check_that_nothing_is_missed(uri: str, killed: Callable[[], object]) -> None:
    """Kill the process of a client, which is to come back to another one and get every value."""
    phases: list[str] = []
    async with (
        asyncio.timeout(AMPLE),
        Session(uri, on_phase=lambda phase, _: phases.append(phase)) as session,
    ):
        await session.subscribe("value.east", after=START)
        last = None
        before = after = 0
        async for event in session:
            # No gap, either.
            assert isinstance(event, Message)
            assert event.position is not None
            if last is not None:
                assert event.position == (last.epoch, last.offset + 1)
            last = event.position
            if not before:
                before = process_of(session.websocket)
                os.kill(before, signal.SIGKILL)
                await asyncio.to_thread(killed)
            elif phases.count("live") > 1:
                after += 1
            if after == 10:
                break
        assert process_of(session.websocket) != before


def test_process_that_fails(redis: RedisServer) -> None:
    with socket.create_server(("localhost", 0)) as sock:
        port = sock.getsockname()[1]
        url = f"redis://127.0.0.1:{redis.port}/0"
        options = ("--port", port, "--redis", url, "--processes", 1)
        with started("dashboard/server.py", *options) as server:
            server.expect("in use")
            assert server.wait() == 1
