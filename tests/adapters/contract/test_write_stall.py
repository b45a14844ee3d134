"""Write stalls: the connection of a peer that does not read fails, whatever the peer sends."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import QUIET
from tests.core.helpers import PONG, Frame
from wsproto_core import ConnectionClosed

pytestmark = pytest.mark.needs("sockets")

with_tls = pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])


@with_tls
async def test_a_server_whose_client_sends_and_does_not_read(runtime: Runtime, tls: bool) -> None:
    """Its handler in send gets ConnectionClosed, and its memory is free again."""
    errors: list[BaseException | None] = []

    async def stream(websocket: Any) -> None:
        try:
            while True:
                await websocket.send(bytes(2**16))
        except ConnectionClosed as error:
            errors.append(error.__cause__)

    options = {**QUIET, "ping_timeout": 0.5, **runtime.server_tls(tls)}
    async with (
        runtime.serving(stream, **options) as (server, _),
        runtime.raw_client(server, small_buffers=True, tls=tls) as peer,
    ):
        with contextlib.suppress(OSError):
            while not errors:
                await peer.send(Frame(PONG))
                await runtime.sleep(0.1)
        await runtime.until(lambda: not server.connections)
    (error,) = errors
    assert "no progress writing" in str(error)


@with_tls
async def test_a_client_whose_server_sends_and_does_not_read(runtime: Runtime, tls: bool) -> None:
    async with runtime.raw_server(small_buffers=True, tls=tls, ping_timeout=0.5) as (peer, client):

        async def stream() -> None:
            while True:
                await client.send(bytes(2**16))

        streaming = runtime.spawn(stream)
        with contextlib.suppress(OSError):
            while not streaming.done():
                await peer.send(Frame(PONG))
                await runtime.sleep(0.1)
        with pytest.raises(ConnectionClosed) as raised:
            await streaming.result()
        assert "no progress writing" in str(raised.value.__cause__)
