"""Streams of trio and anyio that break: the end of TLS without its own close, and writing that fails."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime, make_runtime
from tests.adapters.runtimes.base import QUIET, Log, server_context
from tests.core.helpers import CLOSE, TEXT, Frame, close_payload
from wsproto_core.exceptions import ConnectionClosedError


@pytest.fixture(params=["trio", "anyio-asyncio", "anyio-trio"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return make_runtime(request.param)


@pytest.mark.parametrize("after", [b"", b"\x81\x05hel"])
async def test_an_end_without_tls_own_is_the_end_of_the_stream(runtime: Runtime, after: bytes) -> None:
    # As on a plain socket: WebSocket has a close of its own (RFC 6455 section 7.1.1), and processes that
    # are killed send neither.
    async with runtime.raw_server(tls=True) as (peer, client):
        await peer.send(Frame(TEXT, b"good"), after)
        peer.end()
        assert await client.recv() == "good"
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1006
        assert isinstance(raised.value.__cause__, EOFError)
        assert ("within a message" if after else "without a close frame") in str(raised.value.__cause__)


async def test_an_end_without_tls_own_after_the_closing_handshake_is_no_error(runtime: Runtime) -> None:
    codes: list[int] = []
    log = Log()

    async def handler(websocket: Any) -> None:
        await websocket.wait_closed()
        codes.append(websocket.close_code)

    options = {**QUIET, "ssl": server_context(), "logger": log}
    async with runtime.serving(handler, **options) as (server, _):
        async with runtime.raw_client(server, tls=True) as peer:
            await peer.send(Frame(CLOSE, close_payload(1000)))
            assert await peer.read_frame() == Frame(CLOSE, close_payload(1000))
            peer.end()
            assert await peer.read_to_end() == b""
        await runtime.until(lambda: not server.connections)
    assert codes == [1000]
    assert log.errors() == []


with_tls = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


async def send_until_closed(websocket: Any) -> None:
    while True:
        await websocket.send("x" * 100)


@with_tls
async def test_what_made_writing_fail_is_the_cause(runtime: Runtime, tls: bool) -> None:
    async with runtime.raw_server(tls=tls) as (peer, client):
        await client.send("unread")
        # A peer that closes with unread bytes resets the connection.
        await peer.stream.arrived()
        await peer.send(Frame(TEXT, b"last words"))
        peer.close()
        with pytest.raises(ConnectionClosedError) as raised:
            await send_until_closed(client)
        assert isinstance(raised.value.__cause__, ConnectionResetError | BrokenPipeError)
        assert await client.recv() == "last words"


@with_tls
async def test_what_came_before_writing_failed_is_read(runtime: Runtime, tls: bool) -> None:
    for _ in range(5):
        async with runtime.raw_server(tls=tls) as (peer, client):
            await client.send("unread")
            await peer.stream.arrived()
            await peer.send(Frame(CLOSE, close_payload(1008)))
            peer.close()
            # Nobody has read yet: the first to get to know is who writes.
            with pytest.raises(ConnectionClosedError) as raised:
                await send_until_closed(client)
            assert raised.value.code == client.close_code == 1008
            await client.wait_closed()
