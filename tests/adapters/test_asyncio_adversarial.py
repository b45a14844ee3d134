"""Hostile input over real sockets: what comes back, and that everybody else is served as before.

The numbers in the names are those of a list of such input, which the core's tests follow too.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any, NamedTuple

import pytest

from adapters.asyncio import Server, connect
from tests.core.helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    Frame,
    close_payload,
    frame_header,
    request,
)
from tests.core.helpers import frame as build_frame
from wsproto_core import ConnectionClosedError

from .runtime import (
    HOST,
    QUIET,
    RawClient,
    echo,
    port_of,
    raw_client,
    raw_connection,
    raw_listener,
    raw_server,
    serving,
    settle,
    until,
)


def masked(*frames: Frame) -> bytes:
    return b"".join(
        build_frame(opcode, payload, fin=fin, reserved=reserved, masked=True)
        for opcode, payload, fin, reserved in frames
    )


def head(opcode: int, length: int, **options: Any) -> bytes:
    """A frame's header without anything after it, not even the masking key."""
    return frame_header(opcode, length, masked=True, **options)


class Row(NamedTuple):
    name: str
    data: bytes
    code: int
    before: tuple[Frame, ...] = ()
    """What is answered before that, if there is time: if the error comes in a later read."""


def fails(name: str, data: bytes, code: int = 1002, *before: Frame) -> Row:
    return Row(name, data, code, before)


PREFIX = Frame(TEXT, b"good")

ROWS = [
    fails("01-unmasked", build_frame(TEXT, b"hello")),
    fails("01-unmasked-close", build_frame(CLOSE, close_payload(1000))),
    *[fails(f"02-opcode-{opcode:X}", head(opcode, 5)[:2]) for opcode in (*range(3, 8), *range(0xB, 0x10))],
    fails("03-rsv1", head(TEXT, 5, reserved=RSV1)[:2]),
    fails("03-rsv2", head(TEXT, 5, reserved=RSV2)[:2]),
    fails("03-rsv3", head(BINARY, 5, reserved=RSV3)[:2]),
    fails("04-rsv1-ping", head(PING, 5, reserved=RSV1)[:2]),
    fails("04-rsv1-close", head(CLOSE, 2, reserved=RSV1)[:2]),
    fails("04-rsv1-continuation", masked(Frame(TEXT, b"a", False), Frame(CONTINUATION, b"b", True, RSV1))),
    fails("05-ping-126", head(PING, 126)[:2]),
    fails("05-close-65536", head(CLOSE, 65536)[:2]),
    fails("05-ping-fragment", head(PING, 5, fin=False)[:2]),
    fails("05-close-fragment", head(CLOSE, 2, fin=False)[:2]),
    fails("06-16-bit-5", head(TEXT, 5, length_bytes=2)),
    fails("06-16-bit-125", head(TEXT, 125, length_bytes=2)),
    fails("06-64-bit-5", head(BINARY, 5, length_bytes=8)),
    fails("06-64-bit-65535", head(BINARY, 65535, length_bytes=8)),
    fails("07-top-bit", head(BINARY, 2**63, length_bytes=8)),
    fails("07-all-bits", head(BINARY, 2**64 - 1, length_bytes=8)),
    fails("07-over-the-limit", head(BINARY, 2**20 + 1, length_bytes=8), 1009),
    fails("07-far-over-the-limit", head(BINARY, 2**62, length_bytes=8), 1009),
    fails("08-continuation-first", head(CONTINUATION, 5)[:2]),
    fails("08-continuation-after-message", masked(PREFIX, Frame(CONTINUATION, b"x")), 1002, PREFIX),
    fails("08-message-in-message", masked(Frame(TEXT, b"a", False), Frame(TEXT, b"b"))),
    fails("08-message-in-empty-message", masked(Frame(TEXT, b"", False), Frame(BINARY, b"b"))),
    fails(
        "09-empty-fragments",
        masked(Frame(TEXT, b"", False), *[Frame(CONTINUATION, b"", False)] * 20_000),
        1009,
    ),
    fails(
        "09-tiny-fragments",
        masked(Frame(TEXT, b"", False), *[Frame(CONTINUATION, b"x", False)] * 20_000),
        1009,
    ),
    *[
        fails(f"12-code-{code}", masked(Frame(CLOSE, close_payload(code))))
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535)
    ],
    fails("12-one-byte", masked(Frame(CLOSE, b"\x03"))),
    fails("12-reason-not-utf8", masked(Frame(CLOSE, close_payload(1000) + b"\xff")), 1007),
    fails("13-invalid-byte", masked(Frame(TEXT, b"\xff")), 1007),
    fails("13-overlong", masked(Frame(TEXT, b"\xc0\xaf")), 1007),
    fails("13-surrogate", masked(Frame(TEXT, b"\xed\xa0\x80")), 1007),
    fails("13-beyond-unicode", masked(Frame(TEXT, b"\xf4\x90\x80\x80")), 1007),
    fails("13-incomplete", masked(Frame(TEXT, b"caf\xc3")), 1007),
    fails("13-unfinished-message", masked(Frame(TEXT, b"a\xff", False)), 1007),
    fails("13-unfinished-frame", head(TEXT, 1000) + bytes(4) + b"a\xff", 1007),
    fails("13-split", masked(Frame(TEXT, b"\xc3", False), Frame(CONTINUATION, b"(", False)), 1007),
    fails("13-after-a-good-one", masked(PREFIX, Frame(TEXT, b"\xff")), 1007, PREFIX),
]

CHUNKINGS = ["whole", "bytewise"]


async def send_in_chunks(peer: Any, data: bytes, chunking: str) -> None:
    if chunking == "whole" or len(data) > 1000:
        await peer.send(data)
        return
    for index in range(len(data)):
        await peer.send(data[index : index + 1])
        await asyncio.sleep(0)


async def check_serving(server: Server) -> None:
    """Check that a server serves others, and has forgotten those before."""
    async with connect(f"ws://{HOST}:{port_of(server)}/") as client:
        await client.send("still serving")
        assert await client.recv() == "still serving"
    await until(lambda: not server.connections)


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_row(row: Row, chunking: str) -> None:
    async with serving(echo, **QUIET) as (server, _):
        async with raw_client(server) as peer:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                await send_in_chunks(peer, row.data, chunking)
            *before, close = await peer.read_frames_to_end()
            assert tuple(before) == (row.before if chunking == "bytewise" else ())
            assert close.opcode == CLOSE
            assert int.from_bytes(close.payload[:2], "big") == row.code
            # The server says why.
            assert len(close.payload) > 2
        await check_serving(server)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (build_frame(TEXT, b"hello", masked=True), 1002),
        (b"\x83\x00", 1002),
        (b"\xc1\x05", 1002),
        (b"\x89\x7e", 1002),
        (frame_header(BINARY, 2**20 + 1), 1009),
        (b"\x80\x05", 1002),
        (build_frame(TEXT, b"\xff"), 1007),
        (build_frame(CLOSE, b"\x03\xe7"), 1002),
        (build_frame(CLOSE, close_payload(1000) + b"\xff"), 1007),
    ],
)
async def test_rows_01_to_13_on_a_client(data: bytes, code: int) -> None:
    async with raw_server(close_timeout=5) as (peer, client):
        await peer.send(data)
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1006
        assert raised.value.sent is not None
        assert raised.value.sent.code == code
        close = await peer.read_frame()
        assert (close.opcode, close.payload[:2]) == (CLOSE, code.to_bytes(2, "big"))


async def test_row_09_count_of_fragments_begins_again_with_each_message() -> None:
    fragments = [Frame(TEXT, b"", False), *[Frame(CONTINUATION, b"x", False)] * 1000, Frame(CONTINUATION)]
    async with serving(echo, max_fragments=1002) as (server, _), raw_client(server) as peer:
        for _ in range(5):
            await peer.send(*fragments)
            assert await peer.read_frame() == Frame(TEXT, b"x" * 1000)
        await peer.finish()


async def test_row_10_one_byte_at_a_time_and_all_at_once() -> None:
    frames = [
        Frame(TEXT, b"a"),
        Frame(BINARY, bytes(300)),
        Frame(TEXT, b"frag", False),
        Frame(CONTINUATION, b"mented"),
    ]
    async with serving(echo) as (server, _):
        received = []
        for chunking in CHUNKINGS:
            async with raw_client(server) as peer:
                for frame in frames:
                    await send_in_chunks(peer, masked(frame), chunking)
                received.append([await peer.read_frame() for _ in range(3)])
                await peer.finish()
        assert received[0] == received[1]
        assert received[0][2] == Frame(TEXT, b"fragmented")


async def test_row_10_ten_thousand_frames_at_once() -> None:
    async with serving(echo) as (server, _), raw_client(server) as peer:
        sending = asyncio.create_task(peer.send(masked(Frame(TEXT, b"x")) * 10_000))
        for _ in range(10_000):
            assert await peer.read_frame() == Frame(TEXT, b"x")
        await sending
        await peer.finish()


async def test_row_11_data_after_a_close_frame_is_ignored() -> None:
    async with serving(echo) as (server, _):
        async with raw_client(server) as peer:
            close = Frame(CLOSE, close_payload(1000))
            await peer.send(close, Frame(TEXT, b"late"), close, b"\xff" * 100)
            assert await peer.read_frames_to_end() == [close]
        await check_serving(server)


async def test_row_11_close_in_the_middle_of_a_message() -> None:
    async with serving(echo) as (server, _):
        async with raw_client(server) as peer:
            close = Frame(CLOSE, close_payload(1000))
            await peer.send(Frame(TEXT, b"begun", False), close)
            assert await peer.read_frames_to_end() == [close]
        await check_serving(server)


async def test_row_11_both_sides_close_at_once() -> None:
    async with raw_server() as (peer, client):
        closing = asyncio.create_task(client.close(4000))
        await peer.send(Frame(CLOSE, close_payload(4001)))
        peer.end()
        await closing
        assert await peer.read_frames_to_end() in (
            [Frame(CLOSE, close_payload(4000))],
            [Frame(CLOSE, close_payload(4001))],
        )
        assert client.close_code == 4001


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 4999])
async def test_row_12_codes_that_are_allowed(code: int) -> None:
    async with serving(echo) as (server, _), raw_client(server) as peer:
        await peer.finish(code)


async def test_row_12_empty_close_is_answered_empty() -> None:
    async with serving(echo) as (server, _), raw_client(server) as peer:
        await peer.send(Frame(CLOSE))
        assert await peer.read_frames_to_end() == [Frame(CLOSE)]


async def test_row_14_ping_flood_is_answered_by_the_latest() -> None:
    async with serving(echo) as (server, _), raw_client(server) as peer:
        await peer.send(*[Frame(PING, str(number).encode()) for number in range(1000)])
        while (frame := await peer.read_frame()) != Frame(PONG, b"999"):
            assert frame.opcode == PONG
        await peer.finish()


async def test_row_15_pongs_that_nobody_asked_for() -> None:
    async with serving(echo) as (server, _), raw_client(server) as peer:
        await peer.send(*[Frame(PONG, bytes([number % 256]) * (number % 126)) for number in range(1000)])
        await peer.send(Frame(TEXT, b"x"))
        assert await peer.read_frame() == Frame(TEXT, b"x")
        await peer.finish()


# The opening handshake

ACCEPTED = [
    ("23-connection-list", request(Connection="keep-alive, Upgrade")),
    ("23-mixed-case", request(Connection="uPgRaDe", Upgrade="WebSocket")),
    ("23-several-upgrades", request(Upgrade="h2c, websocket")),
    ("23-several-headers", request(Connection=["keep-alive", "Upgrade"])),
    ("28-content-length-0", request(Content_Length="0")),
]

REFUSED = [
    ("24-no-host", request(Host=None), {400}),
    ("24-two-hosts", request(Host=["a", "b"]), {400}),
    ("24-empty-host", request(Host=""), {400}),
    ("24-two-keys", request(Sec_WebSocket_Key=["dGhlIHNhbXBsZSBub25jZQ=="] * 2), {400}),
    ("24-no-key", request(Sec_WebSocket_Key=None), {400}),
    ("24-short-key", request(Sec_WebSocket_Key="c2hvcnQ="), {400}),
    ("25-no-version", request(Sec_WebSocket_Version=None), {400, 426}),
    ("25-old-version", request(Sec_WebSocket_Version="8"), {426}),
    ("25-post", request("POST / HTTP/1.1"), {405}),
    ("25-http-1.0", request("GET / HTTP/1.0"), {400, 505}),
    ("25-no-upgrade", request(Upgrade=None, Connection=None), {426}),
    ("26-500-headers", request(**{f"X{number}": "x" for number in range(500)}), {400, 431}),
    ("26-long-line", request(X="x" * 2**16), {400, 431}),
    ("26-endless-line", b"GET /" + b"x" * 2**17, {400, 414, 431}),
    ("26-a-mebibyte", request(**{f"X{number}": "x" * 8000 for number in range(125)}), {400, 431}),
    ("27-nul", request(X="a\0b"), {400}),
    ("27-control-character", request(X="a\x01b"), {400}),
    ("27-nul-in-path", request("GET /\0 HTTP/1.1"), {400}),
    ("27-garbage", bytes(range(256)) * 4, {400}),
    ("27-tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), {400}),
    ("28-content-length", request(Content_Length="5") + b"hello", {400}),
    ("28-chunked", request(Transfer_Encoding="chunked") + b"0\r\n\r\n", {400}),
]


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("data", [data for _, data in ACCEPTED], ids=[name for name, _ in ACCEPTED])
async def test_request_is_accepted(data: bytes, chunking: str) -> None:
    async with serving(echo) as (server, _), raw_connection(server) as peer:
        await send_in_chunks(peer, data, chunking)
        assert (await peer.read_head()).status == 101
        await peer.send(Frame(TEXT, b"x"))
        assert await peer.read_frame() == Frame(TEXT, b"x")
        await peer.finish()


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize(
    ("data", "statuses"), [row[1:] for row in REFUSED], ids=[name for name, *_ in REFUSED]
)
async def test_request_is_refused(data: bytes, statuses: set[int], chunking: str) -> None:
    async with serving(echo) as (server, _):
        async with raw_connection(server) as peer:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                await send_in_chunks(peer, data, chunking)
            answer = await peer.read_response()
            assert answer.status in statuses
            assert answer.headers["connection"].endswith("close")
            assert int(answer.headers["content-length"]) == len(answer.body)
            if answer.status == 426:
                assert answer.headers["sec-websocket-version"] == "13"
                assert answer.headers["upgrade"] == "websocket"
            if answer.status == 405:
                assert answer.headers["allow"] == "GET, HEAD"
        await check_serving(server)


@pytest.mark.parametrize("chunking", CHUNKINGS)
async def test_row_27_bare_line_feeds_mean_the_same_for_every_chunking(chunking: str) -> None:
    async with serving(echo) as (server, _), raw_connection(server) as peer:
        await send_in_chunks(peer, request().replace(b"\r\n", b"\n"), chunking)
        assert (await peer.read_head()).status == 101
        await peer.finish()


async def test_row_28_frame_in_the_segment_of_the_request_is_delivered() -> None:
    async with serving(echo) as (server, _), raw_connection(server) as peer:
        await peer.send(request(), Frame(TEXT, b"early"))
        assert (await peer.read_head()).status == 101
        assert await peer.read_frame() == Frame(TEXT, b"early")
        await peer.finish()


async def test_row_28_a_second_request_is_never_parsed() -> None:
    async with serving(echo) as (server, _):
        async with raw_connection(server) as peer:
            await peer.send(request("GET /one HTTP/1.1", Upgrade=None), request("GET /two HTTP/1.1"))
            assert (await peer.read_response()).status == 426
        await check_serving(server)


async def test_row_29_clients_that_send_nothing() -> None:
    async with serving(echo, open_timeout=0.2) as (server, _):
        async with contextlib.AsyncExitStack() as stack:
            peers = [await stack.enter_async_context(raw_connection(server)) for _ in range(20)]
            for peer in peers:
                assert await peer.read_to_end() == b""
        await check_serving(server)


@pytest.mark.parametrize("character", ["\r", "\n", "\0"])
async def test_row_30_what_is_given_to_be_sent_is_checked(character: str) -> None:
    bad = f"a{character}b"
    for options in (
        {"extra_headers": {"X": bad}},
        {"extra_headers": {bad: "x"}},
        {"origin": bad},
        {"user_agent_header": bad},
        {"subprotocols": [bad]},
    ):
        with pytest.raises(ValueError, match=next(iter(options))):
            await connect(f"ws://{HOST}:9/", **options)
    with pytest.raises(ValueError, match=r"invalid|cannot"):
        await connect(f"ws://{HOST}:9/{bad}")
    async with serving(echo) as (_, uri), connect(uri) as client:
        with pytest.raises(ValueError, match="123"):
            await client.close(1000, "x" * 124)


async def test_row_31_endless_body_of_a_refusal() -> None:
    async with raw_listener() as listener:

        async def refuse() -> None:
            peer = await listener.accept()
            await peer.read_head()
            await peer.send(b"HTTP/1.1 404 Not Found\r\n\r\n")
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                while True:
                    await peer.send(b"x" * 2**16)

        refusing = asyncio.create_task(refuse())
        with pytest.raises(Exception, match="404") as raised:
            await connect(listener.uri)
        assert len(raised.value.response.body) <= 2**16  # type: ignore[attr-defined]
        await refusing


# At random


async def test_random_bytes_harm_nobody() -> None:
    rng = random.Random(3)
    async with serving(echo, close_timeout=0.2, open_timeout=0.2) as (server, _):
        for _ in range(20):
            async with raw_client(server) as peer:
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    await peer.send(rng.randbytes(rng.randrange(1, 3000)))
                    await settle(0)
                rng.choice([peer.reset, peer.end, peer.close])()
            async with raw_connection(server) as peer:
                await peer.send(rng.randbytes(rng.randrange(1, 300)))
                rng.choice([peer.reset, peer.end, peer.close])()
        await check_serving(server)


async def test_frames_cut_anywhere_harm_nobody() -> None:
    frames = [
        Frame(TEXT, b"hello"),
        Frame(PING, b"?"),
        Frame(BINARY, bytes(200)),
        Frame(TEXT, b"frag", False),
    ]
    data = request() + masked(*frames)
    async with serving(echo) as (server, _):
        for cut in range(0, len(data), 7):
            async with raw_connection(server) as peer:
                await peer.send(data[:cut])
                ending = [RawClient.end, RawClient.reset, RawClient.close][cut % 3]
                ending(peer)
        await check_serving(server)
