"""Hostile input over streams: random bytes, ends at any byte, and what is given to be sent.

The numbers in the names are those of the rows of ``tests/adversarial``, where all other hostile input is
played against each adapter.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, QUIET
from tests.adapters.runtimes.peers import Peer, RawClient
from tests.core.helpers import BINARY, CLOSE, PING, TEXT, Frame, close_payload, request
from tests.core.helpers import frame as build_frame
from wsproto_core import ConnectionClosed

both_sides = pytest.mark.parametrize("side", ["server", "client"])


async def echo_until_closed(websocket: Any) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await websocket.send(await websocket.recv())


@contextlib.asynccontextmanager
async def attacking(runtime: Runtime, side: str) -> AsyncIterator[Peer]:
    """A peer made by hand of a server or a client of ours, which echoes.

    Afterwards, a server must serve others as before.
    """
    if side == "client":
        async with runtime.raw_server() as (peer, client):
            echoing = runtime.spawn(echo_until_closed, client)
            yield peer
            peer.close()
            await echoing.result()
        return
    async with runtime.serving(**QUIET) as (server, _):
        async with runtime.raw_client(server) as peer:
            yield peer
        await runtime.check_serving(server)


@both_sides
@pytest.mark.parametrize("begun", [(), (Frame(TEXT, b"begun", False),)], ids=["between", "within"])
async def test_row_11_data_after_a_close_frame_is_ignored(
    runtime: Runtime, side: str, begun: tuple[Frame, ...]
) -> None:
    close = Frame(CLOSE, close_payload(1000))
    async with attacking(runtime, side) as peer:
        await peer.send(*begun, close, Frame(TEXT, b"late"), close, b"\xff" * 100)
        peer.end()
        assert await peer.read_frames_to_end() == [close]


@pytest.mark.parametrize("character", ["\r", "\n", "\0"])
async def test_row_30_what_is_given_to_be_sent_is_checked(runtime: Runtime, character: str) -> None:
    """Also undici CVE-2026-1527."""
    bad = f"a{character}b"
    for options in (
        {"extra_headers": {"X": bad}},
        {"extra_headers": {bad: "x"}},
        {"origin": bad},
        {"user_agent_header": bad},
        {"subprotocols": [bad]},
    ):
        with pytest.raises(ValueError, match=next(iter(options))):
            await runtime.open(f"ws://{HOST}:9/", **options)
    with pytest.raises(ValueError, match=r"invalid|cannot"):
        await runtime.open(f"ws://{HOST}:9/{bad}")
    for server_options in ({"extra_headers": {"X": bad}}, {"server_header": bad}, {"subprotocols": [bad]}):
        with pytest.raises(ValueError, match=next(iter(server_options))):
            async with runtime.serving(**server_options):
                pass
    async with runtime.serving() as (_, uri), runtime.connect(uri) as client:
        with pytest.raises(ValueError, match="123"):
            await client.close(1000, "x" * 124)


async def test_random_bytes_harm_nobody(runtime: Runtime) -> None:
    rng = runtime.random(3)
    async with runtime.serving(close_timeout=0.2) as (server, _):
        for _ in range(20):
            async with runtime.raw_client(server) as peer:
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    await peer.send(rng.randbytes(rng.randrange(1, 3000)))
                rng.choice([peer.reset, peer.end, peer.close])()
            async with runtime.raw_connection(server) as peer:
                await peer.send(rng.randbytes(rng.randrange(1, 300)))
                rng.choice([peer.reset, peer.end, peer.close])()
        await runtime.check_serving(server)


async def test_frames_cut_anywhere_harm_nobody(runtime: Runtime) -> None:
    frames = [
        Frame(TEXT, b"hello"),
        Frame(PING, b"?"),
        Frame(BINARY, bytes(200)),
        Frame(TEXT, b"frag", False),
    ]
    data = request() + b"".join(
        build_frame(each.opcode, each.payload, fin=each.fin, masked=True) for each in frames
    )
    async with runtime.serving() as (server, _):
        for cut in range(0, len(data), 7):
            async with runtime.raw_connection(server) as peer:
                await peer.send(data[:cut])
                ending = [RawClient.end, RawClient.reset, RawClient.close][cut % 3]
                ending(peer)
        await runtime.check_serving(server)
