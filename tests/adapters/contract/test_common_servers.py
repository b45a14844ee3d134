"""Common servers: their answers to a client's default offer of extensions."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.core.helpers import RSV1, TEXT, Frame, response

OFFER = "permessage-deflate; client_max_window_bits"
"""What browsers offer, and what all servers are tried with."""

TAIL = b"\0\0\xff\xff"

TAKEOVER = {
    # Jetty and others that agree and say nothing else.
    "permessage-deflate": True,
    # nhooyr.io/websocket, gorilla/websocket: they forget what they have sent and received.
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover": False,
    "permessage-deflate;client_no_context_takeover;server_no_context_takeover": False,
    # Tornado, Netty: with a limit, though none was asked for.
    "permessage-deflate; client_max_window_bits=15": True,
    "permessage-deflate; server_max_window_bits=15; client_max_window_bits=9": True,
}
"""By answer, whether each end keeps its context between messages."""


async def talk(runtime: Runtime, peer: Any, client: Any, takeover: bool) -> None:
    """Compress in both directions, with as much history as the answer allows."""
    # A repetition that only a window of 15 bits reaches.
    block = runtime.random(1).randbytes(10_000).hex()
    compressor = zlib.compressobj(wbits=-15)
    inflater = zlib.decompressobj(wbits=-15)
    for message in (block, block, "hello", ""):
        if not takeover:
            compressor = zlib.compressobj(wbits=-15)
            inflater = zlib.decompressobj(wbits=-15)
        payload = compressor.compress(message.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH)
        await peer.send(Frame(TEXT, payload.removesuffix(TAIL), reserved=RSV1))
        assert await client.recv() == message
        sending = runtime.spawn(client.send, message)
        frame = await peer.read_frame()
        await sending.result()
        data = frame.payload
        if frame.reserved:
            data = inflater.decompress(data + TAIL)
        assert data == message.encode()
    await client.send(block, compress=True)
    assert (await peer.read_frame()).reserved == RSV1


@pytest.mark.parametrize("answer", TAKEOVER)
async def test_server_answers(runtime: Runtime, answer: str) -> None:
    headers = {"Sec_WebSocket_Extensions": answer}
    async with runtime.raw_server(answer=headers, compression="deflate") as (peer, client):
        assert client.request_headers["Sec-WebSocket-Extensions"] == OFFER
        assert [extension.name for extension in client.extensions] == ["permessage-deflate"]
        await talk(runtime, peer, client, TAKEOVER[answer])


@pytest.mark.parametrize("answer", [None, ""])
async def test_server_without_compression(runtime: Runtime, answer: str | None) -> None:
    headers = {"Sec_WebSocket_Extensions": answer}
    async with runtime.raw_server(answer=headers, compression="deflate") as (peer, client):
        assert not client.extensions
        await peer.send(Frame(TEXT, b"hello"))
        assert await client.recv() == "hello"


@pytest.mark.needs("sockets")
async def test_server_that_refuses_other_parameters(runtime: Runtime) -> None:
    """As gateways of AWS answer an offer that has more in it than a browser's."""

    async def serve() -> Any:
        peer = await listener.accept()
        head = await peer.read_head()
        if head.headers["sec-websocket-extensions"] != OFFER:
            await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return peer
        key = head.headers["sec-websocket-key"]
        await peer.send(response(key, Sec_WebSocket_Extensions="permessage-deflate"))
        await peer.send(Frame(TEXT, b"hello"))
        return peer

    async with runtime.raw_listener() as listener:
        serving = runtime.spawn(serve)
        # With no options at all.
        async with runtime.connect(listener.uri) as client:
            assert await client.recv() == "hello"
            peer = await serving.result()
            await peer.finish()
