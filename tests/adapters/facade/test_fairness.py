"""No loop around ``send``, ``recv``, ``ping`` or ``pong`` stops the program."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from adapters.websockets.client import connect
from adapters.websockets.exceptions import ConnectionClosed
from tests.adapters.event_loop import turns

from .peers import connected, serving

# Loops that swallow the exception


def receive(websocket: Any) -> Any:
    return websocket.recv()


def send(websocket: Any) -> Any:
    return websocket.send("x")


def send_fragments(websocket: Any) -> Any:
    return websocket.send(["x", "y"])


def ping(websocket: Any) -> Any:
    return websocket.ping()


def pong(websocket: Any) -> Any:
    return websocket.pong()


@pytest.mark.parametrize("polite", [False, True], ids=["abort", "close"])
@pytest.mark.parametrize("call", [receive, send, send_fragments, ping, pong])
async def test_loop_that_swallows_the_exception_lets_others_run(
    call: Callable[[Any], Any], polite: bool
) -> None:
    ended = asyncio.Event()

    async def handler(websocket: Any, path: str) -> None:
        swallowed = 0
        while not websocket.closed:
            try:
                await call(websocket)
            except ConnectionClosed:
                swallowed += 1
                # By then, others should have had many turns.
                assert swallowed < 300_000
        ended.set()

    async with serving(handler, close_timeout=0.5, max_pings=None) as (_, uri):
        client = await connect(uri, close_timeout=0.5)
        await turns()
        if polite:
            await client.close()
        else:
            client.transport.abort()
        await ended.wait()


@pytest.mark.parametrize("call", [send, send_fragments, ping, pong])
async def test_loop_that_never_has_to_wait_lets_others_run(call: Callable[[Any], Any]) -> None:
    turns_of_others = 0

    async def other() -> None:
        nonlocal turns_of_others
        while True:
            turns_of_others += 1
            await asyncio.sleep(0)

    options = {"compression": None, "max_pings": None, "max_queue": None, "close_timeout": 0.2}
    async with connected(options, options) as (client, _):
        task = asyncio.ensure_future(other())
        for _ in range(1000):
            await call(client)
        task.cancel()
    assert turns_of_others >= 1000 // 64
