"""Faults of the stream at each step of a conversation: parts, pauses, ends of one half, and resets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import DEADLINE, QUIET, Log
from tests.adapters.runtimes.faults import (
    FAULTS,
    TO_CLIENT,
    TO_SERVER,
    Fault,
    FaultyRelay,
    close_code,
    messages_of,
)
from wsproto_core import ConnectionClosed, ConnectionClosedError, InvalidHandshake

pytestmark = pytest.mark.needs("sockets")

MESSAGES: list[Any] = ["hello", ["frag", "ment"], "end"]
TEXTS = ["hello", "fragment", "end"]

OPTIONS: dict[str, Any] = {**QUIET, "close_timeout": DEADLINE, "open_timeout": DEADLINE}
"""No deadline ends what does not end by itself, but that of the test."""


class Outcome:
    """What the two ends know of a connection."""

    def __init__(self) -> None:
        self.opened = self.served = False
        self.client_messages: list[Any] = []
        self.server_messages: list[Any] = []
        self.client_code: int | None = None
        self.server_code: int | None = None
        self.errors: list[ConnectionClosed] = []


async def converse(runtime: Runtime, fault: Fault | None) -> tuple[Outcome, FaultyRelay]:
    """Have a conversation by a relay with a fault; return when both ends have ended."""
    outcome = Outcome()
    log = Log()

    async def echo(websocket: Any) -> None:
        outcome.served = True
        try:
            async for message in websocket:
                outcome.server_messages.append(message)
                await websocket.send(message)
        except ConnectionClosed as error:
            outcome.errors.append(error)
        await websocket.wait_closed()
        outcome.server_code = websocket.close_code

    async with runtime.serving(echo, **OPTIONS, logger=log) as (server, _):
        with FaultyRelay(runtime.port_of(server), fault) as relay:
            try:
                async with runtime.connect(relay.url, **OPTIONS) as client:
                    outcome.opened = True
                    try:
                        for message in MESSAGES:
                            await client.send(message)
                            outcome.client_messages.append(await client.recv())
                    except ConnectionClosed as error:
                        outcome.errors.append(error)
                await client.wait_closed()
                outcome.client_code = client.close_code
            except (InvalidHandshake, OSError):
                assert not outcome.opened
            await runtime.until(lambda: not server.connections)
    assert log.errors() == []
    return outcome, relay


async def steps(runtime: Runtime) -> tuple[int, int]:
    """The steps of the conversation in each direction, without a fault."""
    outcome, relay = await converse(runtime, None)
    assert outcome.client_messages == outcome.server_messages == TEXTS
    to_server, to_client = map(len, relay.passed)
    # The request or the response, each message, one of them in fragments, and the close frame.
    assert to_server > 1 + len(TEXTS) + 1
    assert to_client == 1 + len(TEXTS) + 1
    return to_server, to_client


@pytest.mark.parametrize("direction", [TO_SERVER, TO_CLIENT], ids=["to the server", "to the client"])
@pytest.mark.parametrize("kind", FAULTS[:2])
async def test_bytes_arrive_otherwise(runtime: Runtime, kind: str, direction: int) -> None:
    for step in range((await steps(runtime))[direction]):
        outcome, _ = await converse(runtime, Fault(kind, direction, step))
        assert outcome.client_messages == outcome.server_messages == TEXTS, step
        assert outcome.client_code == outcome.server_code == 1000, step
        assert outcome.errors == [], step


@pytest.mark.parametrize("share", [0, 0.5, 1], ids=["before", "within", "after"])
@pytest.mark.parametrize("direction", [TO_SERVER, TO_CLIENT], ids=["to the server", "to the client"])
@pytest.mark.parametrize("kind", FAULTS[2:])
async def test_stream_ends(runtime: Runtime, kind: str, direction: int, share: float) -> None:
    count = (await steps(runtime))[direction]
    for step in range(count):
        fault = Fault(kind, direction, step, share)
        outcome, relay = await converse(runtime, fault)
        to_server, to_client = relay.passed
        # Each end has received what was passed on to it, and nothing else.
        assert outcome.server_messages == messages_of(to_server), fault
        assert outcome.client_messages == messages_of(to_client), fault
        if kind == "reset" and direction == TO_SERVER and not step:
            # A response that cannot be written opens no connection.
            assert to_server or not outcome.served, fault
        else:
            assert outcome.served is bool(to_server), fault
        if outcome.served:
            assert outcome.server_code == close_code(to_server), fault
        assert outcome.opened is bool(to_client and b" 101 " in to_client[0]), fault
        if outcome.opened:
            assert outcome.client_code == close_code(to_client), fault
        for error in outcome.errors:
            assert isinstance(error, ConnectionClosedError), fault
            assert error.code in (1002, 1006), fault
        if kind == "end" and outcome.opened and step:
            # One end has seen the end of the stream, and has told the other one, unless it was closing.
            told = to_client if direction == TO_SERVER else to_server
            if step == count - 1 and (direction == TO_CLIENT or share == 1):
                assert close_code(told) == 1000, fault
            elif step < count - 2 or share < 1:
                assert close_code(told) == 1002, fault
