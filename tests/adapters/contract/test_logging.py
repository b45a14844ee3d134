"""Logging: a line for an opening and one for a closing, errors, and nothing that is not escaped."""

from __future__ import annotations

import logging

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import Log, wait_closed
from wsproto_core import InvalidStatusCode


@pytest.mark.needs("sockets")
async def test_openings_and_closings_are_a_line_each(runtime: Runtime) -> None:
    for end in ("client", "server"):
        log, other = Log(), Log()
        logs = {"client": log, "server": other} if end == "client" else {"client": other, "server": log}
        async with runtime.serving(wait_closed, logger=logs["server"]) as (server, uri):
            async with runtime.connect(uri, logger=logs["client"]) as client:
                await client.close(4000, "bad \x1b[31m")
            await runtime.until(lambda: not server.connections)
        messages = log.messages()
        assert messages.count("connection open") == 1
        assert len([message for message in messages if message.startswith("connection closed")]) == 1
        assert not any("\x1b" in message for message in messages)
        assert log.errors() == []


async def test_a_handshake_that_fails_is_no_opening(runtime: Runtime) -> None:
    log = Log()
    async with runtime.serving(process_request=lambda path, headers: (404, {}, b""), logger=log) as (_, uri):
        with pytest.raises(InvalidStatusCode):
            await runtime.open(uri, logger=log)
    assert "connection open" not in log.messages()
    assert log.errors() == []


async def test_nothing_is_worth_a_warning_in_ordinary_use(runtime: Runtime) -> None:
    log = Log()
    async with runtime.serving(logger=log) as (server, uri):
        async with runtime.connect(uri, logger=log) as client:
            for _ in range(10):
                await runtime.check_echo(client)
            await runtime.pong(await client.ping())
        await runtime.until(lambda: not server.connections)
    assert log.messages(logging.WARNING) == []
