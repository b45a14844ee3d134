"""Receiving a message in pieces: `recv_streaming`."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.core.helpers import BINARY, CLOSE, CONTINUATION, TEXT, Frame, close_payload, frame_header
from wsproto_core import ConcurrencyError, ConnectionClosedError, ConnectionClosedOK

DECODE_OPTION: list[tuple[str | bytes, bool | None, str | bytes]] = [
    ("caf\xe9", None, "caf\xe9"),
    ("caf\xe9", True, "caf\xe9"),
    ("caf\xe9", False, b"caf\xc3\xa9"),
    (b"caf\xc3\xa9", True, "caf\xe9"),
    (b"caf\xc3\xa9", False, b"caf\xc3\xa9"),
]


async def pieces_of(websocket: Any, **options: Any) -> list[str | bytes]:
    """All pieces of the next message."""
    return [piece async for piece in websocket.recv_streaming(**options)]


async def next_piece(websocket: Any, **options: Any) -> str | bytes | None:
    """One piece, and the iteration is given up."""
    async with aclosing(websocket.recv_streaming(**options)) as pieces:
        async for piece in pieces:
            return piece  # type: ignore[no-any-return]
    return None


async def test_pieces_arrive_before_the_message_ends(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        pieces = client.recv_streaming()
        await peer.send(Frame(TEXT, b"one", fin=False))
        assert await anext(pieces) == "one"
        await peer.send(frame_header(CONTINUATION, 6), b"tw")
        assert await anext(pieces) == "tw"
        await peer.send(b"o")
        assert await anext(pieces) == "o"
        await peer.send(b"end")
        assert [piece async for piece in pieces] == ["end"]
        await peer.send(Frame(BINARY, b"next"))
        assert await pieces_of(client) == [b"next"]


async def test_decode_chooses_the_type_of_the_pieces(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        for message, decode, received in DECODE_OPTION:
            await client.send(message)
            assert await pieces_of(server, decode=decode) == [received]


async def test_pieces_of_text_never_end_within_a_character(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        pieces = client.recv_streaming()
        await peer.send(Frame(TEXT, "caf\xe9".encode()[:-1], fin=False))
        assert await anext(pieces) == "caf"
        await peer.send(Frame(CONTINUATION, b"\xa9"))
        assert [piece async for piece in pieces] == ["\xe9"]


@pytest.mark.parametrize(
    ("opcode", "decode", "expected"), [(BINARY, True, ["caf", "\xe9"]), (TEXT, False, [b"caf", b"\xc3\xa9"])]
)
async def test_pieces_are_converted(
    runtime: Runtime, opcode: int, decode: bool, expected: list[str | bytes]
) -> None:
    async with runtime.raw_server() as (peer, client):
        pieces = client.recv_streaming(decode=decode)
        await peer.send(Frame(opcode, b"caf\xc3", fin=False))
        first = await anext(pieces)
        await peer.send(Frame(CONTINUATION, b"\xa9"))
        assert [first, *[piece async for piece in pieces]] == expected


async def test_pieces_that_cannot_be_decoded(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        await peer.send(Frame(BINARY, b"caf\xc3"), Frame(TEXT, b"next"))
        with pytest.raises(UnicodeDecodeError):
            await pieces_of(client, decode=True)
        assert await client.recv() == "next"


async def test_empty_message_has_no_pieces(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        await client.send("")
        await client.send("next")
        assert await pieces_of(server) == []
        assert await pieces_of(server) == ["next"]


async def test_messages_that_are_there_are_one_piece_each(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        for number in range(5):
            await client.send(str(number))
        await runtime.until(lambda: server.statistics.messages_received == 5)
        for number in range(5):
            assert await pieces_of(server) == [str(number)]


async def send_huge_frame(peer: Any, size: int) -> None:
    await peer.send(frame_header(BINARY, size))
    for _ in range(size // 2**16):
        await peer.send(b"x" * 2**16)


async def test_one_huge_frame_is_received_in_bounded_memory(runtime: Runtime) -> None:
    size = 8 * 2**20
    async with runtime.raw_server(max_size=None, read_limit=2**14) as (peer, client):
        sending = runtime.spawn(send_huge_frame, peer, size)
        received = largest = 0
        async for piece in client.recv_streaming():
            assert isinstance(piece, bytes)
            received += len(piece)
            largest = max(largest, len(piece))
        await sending.result()
        assert received == size
        # the mark, and at most one read beyond it
        assert largest <= 2**14 + 2**18


async def test_nothing_is_read_beyond_the_mark_until_somebody_asks(runtime: Runtime) -> None:
    size = 2**23
    async with runtime.raw_server(max_size=None, read_limit=2**14) as (peer, client):
        sending = runtime.spawn(send_huge_frame, peer, size)
        await runtime.until(lambda: not client.protocol.wants_read)
        await runtime.settle(0.2)
        assert client.statistics.bytes_received < 2**14 + 2**19
        assert not sending.done()
        # Somebody asks for all of it.
        assert await client.recv() == b"x" * size
        await sending.result()


async def test_iteration_over_pieces_can_be_given_up_and_resumed(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        await peer.send(Frame(TEXT, b"one", fin=False))
        assert await next_piece(client) == "one"
        for _ in range(2):
            with pytest.raises(ConcurrencyError, match="in pieces"):
                await client.recv()
        with pytest.raises(ConcurrencyError, match="in pieces"):
            await anext(client)
        await peer.send(Frame(CONTINUATION, b"two"), Frame(TEXT, b"next"))
        assert await pieces_of(client) == ["two"]
        assert await client.recv() == "next"


async def test_timeouts_between_pieces_lose_nothing(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        received: list[Any] = []
        parts = [str(number) for number in range(5)]
        for part in parts:
            with pytest.raises(TimeoutError):
                await runtime.timeout(0.02, next_piece, client)
            await peer.send(Frame(0 if part != "0" else TEXT, part.encode(), fin=False))
            received.append(await next_piece(client))
        with pytest.raises(TimeoutError):
            await runtime.timeout(0.02, next_piece, client)
        await peer.send(Frame(CONTINUATION, b"end"), Frame(TEXT, b"next"))
        assert [*received, *await pieces_of(client)] == [*parts, "end"]
        assert await client.recv() == "next"


async def test_connection_closed_between_pieces(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        pieces = client.recv_streaming()
        await peer.send(Frame(TEXT, b"one", fin=False))
        assert await anext(pieces) == "one"
        await peer.send(Frame(CLOSE, close_payload(1001)))
        with pytest.raises(ConnectionClosedOK):
            await anext(pieces)
        with pytest.raises(ConnectionClosedOK):
            await client.recv()


async def test_limit_holds_for_messages_in_pieces(runtime: Runtime) -> None:
    async with runtime.raw_server(max_size=10) as (peer, client):
        pieces = client.recv_streaming()
        await peer.send(Frame(BINARY, b"x" * 10, fin=False))
        assert await anext(pieces) == b"x" * 10
        await peer.send(Frame(CONTINUATION, b"x"))
        with pytest.raises(ConnectionClosedError) as raised:
            await anext(pieces)
        assert raised.value.sent is not None
        assert raised.value.sent.code == 1009
        frame = await peer.read_frame()
        assert (frame.opcode, frame.payload[:2]) == (CLOSE, (1009).to_bytes(2, "big"))
