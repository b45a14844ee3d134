"""Hostile input over streams: the answers to it, and other clients that are served as before.

The numbers in the names are those of a list of such input, which the core's tests follow too. What is
said there of a peer that never answers, of resets, cancellation and concurrent use is tested in the
modules on these subjects.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, QUIET
from tests.adapters.runtimes.peers import Peer, RawClient
from tests.core.deflate import raw
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
from wsproto_core import ConnectionClosed, InvalidHandshake, InvalidStatusCode
from wsproto_core.exceptions import InvalidHeader, NegotiationError

needs_sockets = pytest.mark.needs("sockets")
both_sides = pytest.mark.parametrize("side", ["server", "client"])

CHUNKINGS = ["whole", "bytewise"]


async def send_in_chunks(runtime: Runtime, peer: Peer, data: bytes, chunking: str) -> None:
    if chunking == "whole" or len(data) > 1000:
        await peer.send(data)
        return
    for index in range(len(data)):
        await peer.send(data[index : index + 1])
        await runtime.sleep(0)


async def read_to_close(peer: Peer) -> list[Frame]:
    """Read frames up to the close frame."""
    frames = [await peer.read_frame()]
    while frames[-1].opcode != CLOSE:
        frames.append(await peer.read_frame())
    return frames


async def echo_until_closed(websocket: Any) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await websocket.send(await websocket.recv())


@contextlib.asynccontextmanager
async def attacking(
    runtime: Runtime, side: str, extensions: str | None = None, **options: Any
) -> AsyncIterator[Peer]:
    """A peer made by hand of a server or a client of ours, which echoes.

    Afterwards, a server must serve others as before.
    """
    headers = {"Sec_WebSocket_Extensions": extensions}
    if extensions is not None:
        options["compression"] = "deflate"
    if side == "client":
        async with runtime.raw_server(answer=headers, **options) as (peer, client):
            echoing = runtime.spawn(echo_until_closed, client)
            yield peer
            peer.close()
            await echoing.result()
        return
    async with runtime.serving(**{**QUIET, **options}) as (server, _):
        async with runtime.raw_client(server, **headers) as peer:
            yield peer
        await runtime.check_serving(server)


# Frames


class Row(NamedTuple):
    name: str
    data: Callable[[bool], bytes]
    """What is sent by a peer that masks its frames or does not."""
    code: int
    before: tuple[Frame, ...] = ()
    """What is answered before that, if there is time: if the error comes in a later read."""


def frames(name: str, *frames: Frame, code: int = 1002, before: tuple[Frame, ...] = ()) -> Row:
    return Row(name, lambda masked: together(masked, *frames), code, before)


def together(masked: bool, *frames: Frame) -> bytes:
    return b"".join(
        build_frame(opcode, payload, fin=fin, reserved=reserved, masked=masked)
        for opcode, payload, fin, reserved in frames
    )


def header(name: str, opcode: int, length: int, *, code: int = 1002, size: int = 2, **options: Any) -> Row:
    """The first bytes of a frame, without anything after them: not even the masking key."""
    return Row(name, lambda masked: frame_header(opcode, length, masked=masked, **options)[:size], code)


GOOD = Frame(TEXT, b"good")

ROWS = [
    Row("01-masking", lambda masked: build_frame(TEXT, b"hello", masked=not masked), 1002),
    Row("01-masking-close", lambda masked: build_frame(CLOSE, close_payload(1000), masked=not masked), 1002),
    *[header(f"02-opcode-{opcode:X}", opcode, 5) for opcode in (*range(3, 8), *range(0xB, 0x10))],
    header("03-rsv1", TEXT, 5, reserved=RSV1),
    header("03-rsv2", TEXT, 5, reserved=RSV2),
    header("03-rsv3", BINARY, 5, reserved=RSV3),
    header("04-rsv1-ping", PING, 5, reserved=RSV1),
    header("04-rsv1-close", CLOSE, 2, reserved=RSV1),
    frames("04-rsv1-continuation", Frame(TEXT, b"a", False), Frame(CONTINUATION, b"b", True, RSV1)),
    header("05-ping-126", PING, 126),
    header("05-close-65536", CLOSE, 65536),
    header("05-ping-fragment", PING, 5, fin=False),
    header("05-close-fragment", CLOSE, 2, fin=False),
    header("06-16-bit-5", TEXT, 5, length_bytes=2, size=4),
    header("06-16-bit-125", TEXT, 125, length_bytes=2, size=4),
    header("06-64-bit-5", BINARY, 5, length_bytes=8, size=10),
    header("06-64-bit-65535", BINARY, 65535, length_bytes=8, size=10),
    header("07-top-bit", BINARY, 2**63, length_bytes=8, size=10),
    header("07-all-bits", BINARY, 2**64 - 1, length_bytes=8, size=10),
    header("07-over-the-limit", BINARY, 2**20 + 1, length_bytes=8, size=10, code=1009),
    header("07-far-over-the-limit", BINARY, 2**62, length_bytes=8, size=10, code=1009),
    header("08-continuation-first", CONTINUATION, 5),
    frames("08-continuation-after-message", GOOD, Frame(CONTINUATION, b"x"), before=(GOOD,)),
    frames("08-message-in-message", Frame(TEXT, b"a", False), Frame(TEXT, b"b")),
    frames("08-message-in-empty-message", Frame(TEXT, b"", False), Frame(BINARY, b"b")),
    frames(
        "09-empty-fragments", Frame(TEXT, b"", False), *[Frame(CONTINUATION, b"", False)] * 20_000, code=1009
    ),
    frames(
        "09-tiny-fragments", Frame(TEXT, b"", False), *[Frame(CONTINUATION, b"x", False)] * 20_000, code=1009
    ),
    *[
        frames(f"12-code-{code}", Frame(CLOSE, close_payload(code)))
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535)
    ],
    frames("12-one-byte", Frame(CLOSE, b"\x03")),
    frames("12-reason-not-utf8", Frame(CLOSE, close_payload(1000) + b"\xff"), code=1007),
    frames("13-invalid-byte", Frame(TEXT, b"\xff"), code=1007),
    frames("13-overlong", Frame(TEXT, b"\xc0\xaf"), code=1007),
    frames("13-surrogate", Frame(TEXT, b"\xed\xa0\x80"), code=1007),
    frames("13-beyond-unicode", Frame(TEXT, b"\xf4\x90\x80\x80"), code=1007),
    frames("13-incomplete", Frame(TEXT, b"caf\xc3"), code=1007),
    frames("13-unfinished-message", Frame(TEXT, b"a\xff", False), code=1007),
    Row(
        "13-unfinished-frame",
        lambda masked: frame_header(TEXT, 1000, masked=masked) + bytes(4 * masked) + b"a\xff",
        1007,
    ),
    frames("13-split", Frame(TEXT, b"\xc3", False), Frame(CONTINUATION, b"(", False), code=1007),
    frames("13-after-a-good-one", GOOD, Frame(TEXT, b"\xff"), code=1007, before=(GOOD,)),
]


async def check_failure(runtime: Runtime, side: str, row: Row, **options: Any) -> None:
    """Check that a connection is failed as a row says, however its bytes arrive."""
    for chunking in CHUNKINGS:
        async with attacking(runtime, side, **options) as peer:
            # Whoever sends much may find the stream closed before the end.
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                await send_in_chunks(runtime, peer, row.data(peer.masks), chunking)
            *before, close = await read_to_close(peer)
            assert tuple(before) in {(), row.before}
            assert int.from_bytes(close.payload[:2], "big") == row.code
            # It says why.
            assert len(close.payload) > 2


@both_sides
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_row(runtime: Runtime, row: Row, side: str) -> None:
    await check_failure(runtime, side, row)


@both_sides
async def test_row_09_count_of_fragments_begins_again_with_each_message(runtime: Runtime, side: str) -> None:
    message = [Frame(TEXT, b"", False), *[Frame(CONTINUATION, b"x", False)] * 1000, Frame(CONTINUATION)]
    async with attacking(runtime, side, max_fragments=1002) as peer:
        for _ in range(5):
            await peer.send(*message)
            assert await peer.read_frame() == Frame(TEXT, b"x" * 1000)


@both_sides
async def test_row_10_one_byte_at_a_time_and_all_at_once(runtime: Runtime, side: str) -> None:
    sent = [
        Frame(TEXT, b"a"),
        Frame(BINARY, bytes(300)),
        Frame(TEXT, b"frag", False),
        Frame(CONTINUATION, b"mented"),
    ]
    received = []
    for chunking in CHUNKINGS:
        async with attacking(runtime, side) as peer:
            await send_in_chunks(runtime, peer, together(peer.masks, *sent), chunking)
            received.append([await peer.read_frame() for _ in range(3)])
    assert received[0] == received[1]
    assert received[0][2] == Frame(TEXT, b"fragmented")


@both_sides
async def test_row_10_ten_thousand_frames_at_once(runtime: Runtime, side: str) -> None:
    async with attacking(runtime, side) as peer:
        sending = runtime.spawn(peer.send, *[Frame(TEXT, b"x")] * 10_000)
        for _ in range(10_000):
            assert await peer.read_frame() == Frame(TEXT, b"x")
        await sending.result()


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


@both_sides
async def test_row_12_codes_that_are_allowed(runtime: Runtime, side: str) -> None:
    for code in (1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 4999):
        async with attacking(runtime, side) as peer:
            close = Frame(CLOSE, close_payload(code))
            await peer.send(close)
            assert await read_to_close(peer) == [close]


@both_sides
async def test_row_12_empty_close_is_answered_empty(runtime: Runtime, side: str) -> None:
    async with attacking(runtime, side) as peer:
        await peer.send(Frame(CLOSE))
        assert await read_to_close(peer) == [Frame(CLOSE)]


@both_sides
async def test_row_14_ping_flood_is_answered_by_the_latest(runtime: Runtime, side: str) -> None:
    async with attacking(runtime, side) as peer:
        await peer.send(*[Frame(PING, str(number).encode()) for number in range(1000)])
        while (frame := await peer.read_frame()) != Frame(PONG, b"999"):
            assert frame.opcode == PONG


@both_sides
async def test_row_15_pongs_that_nobody_asked_for(runtime: Runtime, side: str) -> None:
    async with attacking(runtime, side) as peer:
        await peer.send(*[Frame(PONG, bytes([number % 256]) * (number % 126)) for number in range(1000)])
        await peer.send(Frame(TEXT, b"x"))
        assert await peer.read_frame() == Frame(TEXT, b"x")


# Compression


HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692 section 7.2.3.1
HELLO_STORED = bytes.fromhex("000500faff48656c6c6f00")  # section 7.2.3.3
HELLO_FINAL = bytes.fromhex("f348cdc9c9070000")  # section 7.2.3.4
HELLO_IN_TWO = bytes.fromhex("f248050000 00ffffcac9c90700")  # section 7.2.3.5

# Answers are never compressed, so that they can be read here.
DEFLATE = (
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12"
)

BOMB = raw(bytes(2**24), bits=12)


def compressed(payload: bytes, opcode: int = TEXT, fin: bool = True) -> Frame:
    return Frame(opcode, payload, fin, RSV1)


COMPRESSED_ROWS = [
    frames("16-bomb", compressed(BOMB, BINARY), code=1009),
    frames(
        "16-bomb-in-fragments",
        compressed(BOMB[:1000], BINARY, False),
        Frame(CONTINUATION, BOMB[1000:]),
        code=1009,
    ),
    frames("17-limit-after-inflating", compressed(raw(bytes(2**20 + 1), bits=12), BINARY), code=1009),
    header("17-limit-on-the-wire", BINARY, 2**20 + 1, reserved=RSV1, size=10, code=1009),
    frames("20-garbage", compressed(b"\xff" * 100), code=1007),
    frames("20-truncated", compressed(HELLO[:-2]), code=1007),
    frames("20-not-utf8", compressed(raw(b"\xff")), code=1007),
    header("22-rsv1-ping", PING, 5, reserved=RSV1),
    header("22-rsv1-continuation", CONTINUATION, 5, reserved=RSV1),
]


@both_sides
@pytest.mark.parametrize("row", COMPRESSED_ROWS, ids=lambda row: row.name)
async def test_compressed_row(runtime: Runtime, row: Row, side: str) -> None:
    await check_failure(runtime, side, row, extensions=DEFLATE)


def content(frame: Frame) -> bytes:
    """What a frame says, compressed or not."""
    if not frame.reserved:
        return frame.payload
    return zlib.decompressobj(-15).decompress(frame.payload + b"\x00\x00\xff\xff")


@both_sides
@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (HELLO, b"Hello"),
        (HELLO_STORED, b"Hello"),
        (HELLO_FINAL, b"Hello"),
        (HELLO_IN_TWO, b"Hello"),
        (b"\x00", b""),
        (b"", b""),
    ],
    ids=["plain", "stored", "final", "two-blocks", "zero-byte", "empty"],
)
async def test_row_19_any_blocks_and_then_other_messages(
    runtime: Runtime, side: str, payload: bytes, message: bytes
) -> None:
    async with attacking(runtime, side, DEFLATE) as peer:
        for _ in range(3):
            await peer.send(compressed(payload), compressed(HELLO), Frame(TEXT, b"plain"))
            answers = [content(await peer.read_frame()) for _ in range(3)]
            assert answers == [message, b"Hello", b"plain"]


@both_sides
async def test_row_18_control_frames_between_compressed_fragments(runtime: Runtime, side: str) -> None:
    async with attacking(runtime, side, DEFLATE) as peer:
        await peer.send(compressed(HELLO[:3], TEXT, False), Frame(PING, b"?"), Frame(PONG, b"unsolicited"))
        assert await peer.read_frame() == Frame(PONG, b"?")
        await peer.send(Frame(CONTINUATION, HELLO[3:]))
        assert content(await peer.read_frame()) == b"Hello"
        await peer.send(compressed(HELLO[:3], TEXT, False), Frame(CLOSE, close_payload(1000)))
        assert await read_to_close(peer) == [Frame(CLOSE, close_payload(1000))]


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate; abc", None),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
        ("x-unknown", None),
        ("permessage-deflate; abc, permessage-deflate", "permessage-deflate"),
    ],
)
async def test_row_21_offers(runtime: Runtime, offer: str, answer: str | None) -> None:
    async with (
        runtime.serving(compression="deflate") as (server, _),
        runtime.raw_connection(server) as peer,
    ):
        await peer.send(request(Sec_WebSocket_Extensions=offer))
        chosen = (await peer.read_head()).headers.get("sec-websocket-extensions")
        assert (chosen or "").split(";")[0] == (answer or "")


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


@pytest.mark.parametrize("data", [data for _, data in ACCEPTED], ids=[name for name, _ in ACCEPTED])
async def test_request_is_accepted(runtime: Runtime, data: bytes) -> None:
    async with runtime.serving() as (server, _):
        for chunking in CHUNKINGS:
            async with runtime.raw_connection(server) as peer:
                await send_in_chunks(runtime, peer, data, chunking)
                assert (await peer.read_head()).status == 101
                await peer.send(Frame(TEXT, b"x"))
                assert await peer.read_frame() == Frame(TEXT, b"x")
                await peer.finish()


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize(
    ("data", "statuses"), [row[1:] for row in REFUSED], ids=[name for name, *_ in REFUSED]
)
async def test_request_is_refused(runtime: Runtime, data: bytes, statuses: set[int], chunking: str) -> None:
    async with runtime.serving() as (server, _):
        async with runtime.raw_connection(server) as peer:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                await send_in_chunks(runtime, peer, data, chunking)
            answer = await peer.read_response()
            assert answer.status in statuses
            assert answer.headers["connection"].endswith("close")
            assert int(answer.headers["content-length"]) == len(answer.body)
            if answer.status == 426:
                assert answer.headers["sec-websocket-version"] == "13"
                assert answer.headers["upgrade"] == "websocket"
            if answer.status == 405:
                assert answer.headers["allow"] == "GET, HEAD"
        await runtime.check_serving(server)


@pytest.mark.parametrize("chunking", CHUNKINGS)
async def test_row_27_bare_line_feeds_mean_the_same_for_every_chunking(
    runtime: Runtime, chunking: str
) -> None:
    async with runtime.serving() as (server, _), runtime.raw_connection(server) as peer:
        await send_in_chunks(runtime, peer, request().replace(b"\r\n", b"\n"), chunking)
        assert (await peer.read_head()).status == 101
        await peer.finish()


async def test_row_28_frame_in_the_segment_of_the_request_is_delivered(runtime: Runtime) -> None:
    async with runtime.serving() as (server, _), runtime.raw_connection(server) as peer:
        await peer.send(request(), Frame(TEXT, b"early"))
        assert (await peer.read_head()).status == 101
        assert await peer.read_frame() == Frame(TEXT, b"early")
        await peer.finish()


async def test_row_28_a_second_request_is_never_parsed(runtime: Runtime) -> None:
    async with runtime.serving() as (server, _):
        async with runtime.raw_connection(server) as peer:
            await peer.send(request("GET /one HTTP/1.1", Upgrade=None), request("GET /two HTTP/1.1"))
            assert (await peer.read_response()).status == 426
        await runtime.check_serving(server)


async def test_row_29_clients_that_send_nothing(runtime: Runtime) -> None:
    async with runtime.serving(open_timeout=0.2) as (server, _):
        async with contextlib.AsyncExitStack() as stack:
            peers = [await stack.enter_async_context(runtime.raw_connection(server)) for _ in range(20)]
            for peer in peers:
                assert await peer.read_frames_to_end_or_reset() == []
        await runtime.until(lambda: not server.connections)


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


@needs_sockets
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"Sec_WebSocket_Accept": None}, InvalidHeader),
        ({"Sec_WebSocket_Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}, InvalidHeader),
        ({"Sec_WebSocket_Protocol": "unasked"}, NegotiationError),
        ({"Sec_WebSocket_Extensions": "x-unasked"}, NegotiationError),
        ({"Sec_WebSocket_Extensions": "permessage-deflate; server_max_window_bits=7"}, NegotiationError),
        ({"Sec_WebSocket_Extensions": "permessage-deflate; abc"}, NegotiationError),
        ({"Upgrade": None}, InvalidHandshake),
        ({"start": "HTTP/1.0 101 Switching Protocols"}, InvalidHandshake),
        ({"X": "a\0b"}, InvalidHandshake),
        ({f"X{number}": "x" for number in range(500)}, InvalidHandshake),
        ({"X": "x" * 2**16}, InvalidHandshake),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_row_31_answers_that_are_wrong(
    runtime: Runtime, changes: dict[str, Any], error: type[Exception]
) -> None:
    async with runtime.raw_listener() as listener:
        answering = runtime.spawn(answer, listener, changes)
        with pytest.raises(error):
            await runtime.open(listener.uri)
        await answering.result()


async def answer(listener: Any, changes: dict[str, Any]) -> None:
    peer = await listener.accept()
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        await peer.answer(**changes)


@needs_sockets
async def test_row_31_endless_body_of_a_refusal(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:

        async def refuse() -> None:
            peer = await listener.accept()
            await peer.read_head()
            await peer.send(b"HTTP/1.1 404 Not Found\r\n\r\n")
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                while True:
                    await peer.send(b"x" * 2**16)

        refusing = runtime.spawn(refuse)
        with pytest.raises(InvalidStatusCode, match="404") as raised:
            await runtime.open(listener.uri)
        assert raised.value.response is not None
        assert len(raised.value.response.body) <= 2**16
        await refusing.result()


# At random


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
    data = request() + together(
        True,
        Frame(TEXT, b"hello"),
        Frame(PING, b"?"),
        Frame(BINARY, bytes(200)),
        Frame(TEXT, b"frag", False),
    )
    async with runtime.serving() as (server, _):
        for cut in range(0, len(data), 7):
            async with runtime.raw_connection(server) as peer:
                await peer.send(data[:cut])
                ending = [RawClient.end, RawClient.reset, RawClient.close][cut % 3]
                ending(peer)
        await runtime.check_serving(server)
