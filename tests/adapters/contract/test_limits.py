"""Limits on received messages: `max_size`, `max_fragments`."""

from __future__ import annotations

import pytest

from tests.adapters.runtimes import Runtime
from wsproto_core import ConnectionClosedError


@pytest.mark.parametrize("pieces", [1, 2, 20])
async def test_message_over_the_limit_fails_with_1009(runtime: Runtime, pieces: int) -> None:
    async with runtime.connected(server={"max_size": 1000}) as (client, server):
        await client.send(b"x" * 1000)
        assert await server.recv() == b"x" * 1000
        part = b"x" * (1001 // pieces + 1)
        await client.send([part] * pieces if pieces > 1 else part)
        with pytest.raises(ConnectionClosedError) as raised:
            await server.recv()
        assert raised.value.sent is not None
        assert raised.value.sent.code == 1009
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1009
        assert "1000 bytes" in raised.value.reason


async def test_fragment_over_the_limit_fails_with_1009(runtime: Runtime) -> None:
    async with runtime.connected(server={"max_size": (1000, 10)}) as (client, server):
        await client.send([b"x" * 10] * 100)
        assert await server.recv() == b"x" * 1000
        await client.send([b"x" * 10, b"x" * 11])
        with pytest.raises(ConnectionClosedError):
            await server.recv()
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1009


async def test_too_many_fragments_fail_with_1009(runtime: Runtime) -> None:
    async with runtime.connected(server={"max_fragments": 4}) as (client, server):
        await client.send([b""] * 3)
        assert await server.recv() == b""
        await client.send([b""] * 4)
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1009


async def test_limits_hold_for_a_client_too(runtime: Runtime) -> None:
    async with runtime.connected(client={"max_size": 10}) as (client, server):
        await server.send("x" * 11)
        with pytest.raises(ConnectionClosedError) as raised:
            await server.recv()
        assert raised.value.code == 1009
        with pytest.raises(ConnectionClosedError):
            await client.recv()


async def test_no_limit(runtime: Runtime) -> None:
    async with runtime.connected(server={"max_size": None}) as (client, server):
        sending = runtime.spawn(client.send, b"x" * (2**20 + 1))
        assert len(await server.recv()) == 2**20 + 1
        await sending.result()
