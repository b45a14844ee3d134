"""Compression: `compression=`, `extensions=`, `compress=`, and contexts that stay together."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from wsproto_core.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

DEFLATE: dict[str, Any] = {"compression": "deflate"}


def names(websocket: Any) -> list[str]:
    return [extension.name for extension in websocket.extensions]


@pytest.mark.parametrize(
    ("client", "server", "agreed"),
    [("deflate", "deflate", True), ("deflate", None, False), (None, "deflate", False), (None, None, False)],
)
async def test_both_ends_must_want_it(
    runtime: Runtime, client: str | None, server: str | None, agreed: bool
) -> None:
    async with runtime.connected({"compression": client}, {"compression": server}) as ends:
        for end in ends:
            assert names(end) == ["permessage-deflate"] * agreed
        for sender, receiver in (ends, ends[::-1]):
            await sender.send("hello")
            assert await receiver.recv() == "hello"


async def test_default_is_to_compress(runtime: Runtime) -> None:
    async with runtime.serve_defaults() as uri, runtime.connect(uri) as client:
        assert names(client) == ["permessage-deflate"]
        await runtime.check_echo(client)


async def test_messages_arrive_as_they_were_sent(runtime: Runtime) -> None:
    rng = runtime.random(4)
    messages = ["", b"", "hello", "hello" * 1000, rng.randbytes(5000), bytes(300_000), "caf\xe9" * 50_000]
    async with runtime.connected(DEFLATE, DEFLATE) as ends:
        for sender, receiver in (ends, ends[::-1]):
            for message in messages * 2:
                sending = runtime.spawn(sender.send, message)
                assert await receiver.recv() == message
                await sending.result()


async def test_compress_decides_for_one_message(runtime: Runtime) -> None:
    async with runtime.connected(DEFLATE, DEFLATE) as (client, server):
        sizes = []
        for compress in (True, False, None):
            before = client.statistics.bytes_sent
            await client.send("x" * 10_000, compress=compress)
            sizes.append(client.statistics.bytes_sent - before)
            assert await server.recv() == "x" * 10_000
        assert sizes[0] < 1000 < 10_000 < sizes[1]
        assert sizes[2] < 1000


async def test_fragments_are_compressed_too(runtime: Runtime) -> None:
    async with runtime.connected(DEFLATE, DEFLATE) as (client, server):
        before = client.statistics.bytes_sent
        await client.send(["x" * 10_000] * 3)
        assert client.statistics.bytes_sent - before < 1000
        assert await server.recv() == "x" * 30_000
        await client.send([b"y" * 10_000] * 3)
        pieces = [piece async for piece in server.recv_streaming()]
        assert b"".join(pieces) == b"y" * 30_000


async def test_parameters_of_the_extension(runtime: Runtime) -> None:
    client = {"extensions": [ClientPerMessageDeflateFactory(server_max_window_bits=9)]}
    server = {"extensions": [ServerPerMessageDeflateFactory(client_no_context_takeover=True)]}
    async with runtime.connected(client, server) as ends:
        header = ends[0].response_headers["Sec-WebSocket-Extensions"]
        assert "server_max_window_bits=9" in header
        assert "client_no_context_takeover" in header
        for sender, receiver in (ends, ends[::-1]):
            for _ in range(3):
                await sender.send("hello" * 1000)
                assert await receiver.recv() == "hello" * 1000


async def test_timeouts_of_send_leave_the_contexts_together(runtime: Runtime) -> None:
    rng = runtime.random(5)
    words = [rng.randbytes(2**12) for _ in range(4)]
    options = {**DEFLATE, "write_limit": 2**12}
    async with runtime.connected(options, {**DEFLATE, "max_queue": 2}, small_buffers=True) as (
        client,
        server,
    ):
        messages = [b"".join(rng.choices(words, k=8)) + bytes([number]) for number in range(40)]
        given_up = 0
        received = []

        async def collect() -> None:
            async for message in server:
                received.append(message)
                await runtime.sleep(0.005)

        collecting = runtime.spawn(collect)
        for message in messages:
            try:
                await runtime.timeout(rng.choice([0.001, 0.02]), client.send, message)
            except TimeoutError:
                given_up += 1
        await client.send("last")
        await client.close()
        await collecting.result()
        assert received[-1] == "last"
        assert received[:-1] == [message for message in messages if message in received]
        assert len(received) > len(messages) - given_up


async def test_limit_holds_after_inflating(runtime: Runtime) -> None:
    async with runtime.connected(DEFLATE, {**DEFLATE, "max_size": 10_000}) as (client, server):
        await client.send(bytes(10_000))
        assert await server.recv() == bytes(10_000)
        await client.send(bytes(10_001))
        with pytest.raises(Exception, match="1009"):
            await server.recv()
        with pytest.raises(Exception, match="1009"):
            await client.recv()
