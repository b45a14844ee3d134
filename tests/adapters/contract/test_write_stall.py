"""Write stalls: the connection of a peer that does not read fails, whatever the peer sends."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import QUIET
from tests.adapters.runtimes.peers import RawClient, SocketStream
from tests.core.helpers import KEY, PONG, Frame, request
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


@contextlib.asynccontextmanager
async def client_of(
    runtime: Runtime, handler: Any, kind: str, path: Path, **options: Any
) -> AsyncIterator[Any]:
    """A server that has one client, which does not read; gives the server."""
    if kind == "unix":
        # Here, the system takes nothing more as soon as its buffer is full.
        async with runtime.unix_serve(handler, path, **options) as server:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                await RawClient(SocketStream(runtime, sock)).send(request(Sec_WebSocket_Key=KEY))
                yield server
        return
    options |= runtime.server_tls(kind == "tls")
    async with (
        runtime.serving(handler, **options) as (server, _),
        runtime.raw_client(server, small_buffers=True, tls=kind == "tls"),
    ):
        yield server


@pytest.mark.needs("features")
@pytest.mark.parametrize("kind", ["tcp", "tls", "unix"])
async def test_a_client_that_does_not_read_a_broadcast(runtime: Runtime, kind: str, tmp_path: Path) -> None:
    """The rest has a deadline, although nothing else happens on the connection."""
    accepted: list[Any] = []

    async def handler(websocket: Any) -> None:
        accepted.append(websocket)
        await websocket.wait_closed()

    # Without an older deadline, at which this one would be found.
    options = {**QUIET, "ping_timeout": 0.5, "open_timeout": None}
    async with client_of(runtime, handler, kind, tmp_path / "socket", **options) as server:
        await runtime.until(lambda: accepted)
        await runtime.settle(0.3)
        assert not runtime.broadcast(accepted, bytes(2**22)).skipped
        await runtime.until(lambda: not server.connections)
    assert "no progress writing" in str(accepted[0].protocol.close_exception().__cause__)
