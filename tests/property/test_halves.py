"""The compiled half of the core and the one in pure Python: the same events, errors and output.

Where the extension module was not built, or is turned off, this compares pure Python with itself.
"""

from __future__ import annotations

import random
import zlib
from collections import deque
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.halves import HALVES, Half, converse, outcome
from wsproto_core.codec import encode_frame

from .test_frames import LENGTHS, payloads
from .test_messages import ALMOST_TEXT, KEY, cut, frames, streams

CUTS = st.lists(st.integers(0, 400), max_size=6)
MANY_CUTS = st.lists(st.integers(0, 70_000), max_size=20)

TEXTS = st.one_of(
    st.text(max_size=200),
    st.tuples(st.sampled_from("aéß漢😀\u0800\uffff\U0010ffff"), st.integers(0, 30_000)).map(
        lambda x: x[0] * x[1]
    ),
    st.lists(st.sampled_from(["a", "é", "漢", "😀", "hello, world ", "привет "]), max_size=40).map("".join),
)


# The functions


@settings(max_examples=300)
@given(st.booleans(), st.data(), st.integers(0, 10), st.none() | st.integers(0, 200))
def test_messages_of_any_stream(masked: bool, data: st.DataObject, position: int, limit: int | None) -> None:
    stream = data.draw(streams(masked))

    def decode(half: Half) -> object:
        messages: deque[Any] = deque()
        max_length = 1 << 70 if limit is None else limit
        result = half.module("codec").decode_messages(stream, position, masked, max_length, messages)
        return result, messages

    compiled, pure = map(decode, HALVES)
    assert compiled == pure


@given(st.integers(0, 255), TEXTS | payloads(), st.sampled_from([b"", KEY, bytes(4)]))
def test_frames(first: int, payload: Any, key: bytes) -> None:
    compiled, pure = (half.module("codec").encode_frame(first, payload, key) for half in HALVES)
    assert compiled == pure
    for kind in (bytearray, memoryview):
        if isinstance(payload, bytes):
            assert HALVES[0].module("codec").encode_frame(first, kind(payload), key) == pure


# Assembly


@settings(max_examples=300)
@given(
    TEXTS.map(str.encode) | ALMOST_TEXT | payloads(),
    st.booleans(),
    MANY_CUTS | CUTS,
    st.randoms(use_true_random=False),
)
@example(b"a" * 200_000 + "é".encode() * 70_000, True, [10, 150_000, 200_001], random.Random(0))
def test_pieces_of_payload(payload: bytes, text: bool, positions: list[int], source: random.Random) -> None:
    """Add, receive into reserved memory, take, drop, finish: in any order."""
    pieces = cut(payload, positions)
    steps = [
        source.choice(["add", "commit", "commit", "take", "drop" if not source.randrange(8) else "add"])
        for _ in pieces
    ]
    key = source.choice([b"", KEY])

    def assemble(half: Half) -> list[object]:
        buffer = half.module("assembly").PayloadBuffer(text)
        seen: list[object] = []
        for piece, step in zip(pieces, steps, strict=True):
            masked = half.module("codec").apply_mask(piece, key) if key else piece
            if step == "drop":
                buffer.drop()
            if step == "commit" and piece:
                used = 0
                while used < len(masked):
                    window = buffer.reserve(len(masked) - used)
                    count = min(len(window), len(masked) - used)
                    window[:count] = masked[used : used + count]
                    turn = used % 4
                    seen.append(outcome(buffer.commit, count, key[turn:] + key[:turn]))
                    used += count
                    if seen[-1] is not None:
                        return seen
            else:
                seen.append(outcome(buffer.add, b"__" + masked + b"__", 2, 2 + len(masked), key))
                if seen[-1] is not None:
                    return seen
            seen.append((buffer.size, buffer.dropped))
            if step == "take":
                seen.append(buffer.take())
        return [*seen, outcome(buffer.finish)]

    compiled, pure = map(assemble, HALVES)
    assert compiled == pure


# Connections


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


@st.composite
def compressed_frames(draw: st.DrawFn, masked: bool) -> bytes:
    payload = deflated(draw(TEXTS.map(str.encode) | st.binary(max_size=300)))
    return b"".join(encode_frame(draw(st.sampled_from([0xC1, 0xC2])), payload, KEY if masked else b""))


@st.composite
def long_frames(draw: st.DrawFn, masked: bool) -> bytes:
    payload = draw(TEXTS.map(str.encode) | LENGTHS.map(bytes))
    return b"".join(encode_frame(draw(st.sampled_from([0x81, 0x82])), payload, KEY if masked else b""))


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, Any]:
    server = draw(st.booleans())
    parts = [streams(server), frames(server), long_frames(server), compressed_frames(server)]
    data = b"".join(draw(st.lists(st.one_of(parts), max_size=5)))
    options = st.fixed_dictionaries(
        {},
        optional={
            "max_size": st.integers(1, 70_000) | st.tuples(st.none(), st.integers(1, 70_000)),
            "max_fragments": st.integers(1, 4),
            "read_limit": st.integers(64, 2000),
            "max_queue": st.integers(1, 4),
        },
    )
    return {
        "side": "server" if server else "client",
        "pieces": cut(data, draw(MANY_CUTS | CUTS)),
        "options": draw(options),
        "deflate": draw(st.booleans()),
        "take": draw(st.sampled_from(["events", "next_message", "next_fragment"])),
        "in_place": draw(st.booleans()),
        "takes": draw(st.lists(st.booleans(), min_size=30, max_size=30)),
        "sends": draw(st.lists(st.none() | TEXTS | st.binary(max_size=300), min_size=30, max_size=30)),
        "eof": draw(st.booleans()),
    }


@given(
    TEXTS.map(str.encode) | ALMOST_TEXT | payloads(),
    st.sampled_from([0x81, 0x82, 0x01]),
    st.booleans(),
    MANY_CUTS,
)
def test_receiving_in_place_makes_no_difference(
    payload: bytes, first: int, server: bool, positions: list[int]
) -> None:
    payload = payload * (100_000 // max(1, len(payload)) + 1)
    data = b"".join(encode_frame(first, payload, KEY if server else b""))
    case = {
        "side": "server" if server else "client",
        "pieces": cut(data + data, [*positions, 10]),
        "options": {"max_size": None, "read_limit": None},
        "deflate": False,
        "take": "next_fragment",
        "takes": [True, False] * 20,
        "sends": [None] * 40,
        "eof": True,
    }
    for half in HALVES:
        assert converse(half, case | {"in_place": True}) == converse(half, case | {"in_place": False})


@settings(max_examples=400)
@given(conversations())
def test_connections(case: dict[str, Any]) -> None:
    compiled, pure = (converse(half, case) for half in HALVES)
    assert compiled == pure


@pytest.mark.parametrize("server", [True, False])
@pytest.mark.parametrize(
    "payload", ["Hello", "aé漢😀", b"a\xff", b"a\xc3", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"ab\xe2\x82\x28"]
)
@pytest.mark.parametrize("first", [0x81, 0x82, 0x01])
def test_frames_that_are_cut_at_any_two_bytes(first: int, payload: str | bytes, server: bool) -> None:
    key = KEY if server else b""
    data = b"".join(encode_frame(first, payload, key) + encode_frame(0x82, b"next", key))
    case = {
        "side": "server" if server else "client",
        "options": {},
        "deflate": False,
        "take": "next_message",
        "in_place": False,
        "takes": [False, True, True],
        "sends": [None] * 3,
        "eof": False,
    }
    for start in range(len(data)):
        for stop in range(start, len(data)):
            pieces = [data[:start], data[start:stop], data[stop:]]
            compiled, pure = (converse(half, case | {"pieces": pieces}) for half in HALVES)
            assert compiled == pure


@pytest.mark.parametrize("half", HALVES, ids=["compiled", "pure"])
def test_the_differential_test_sees_differences(half: Half) -> None:
    """The outcome of a conversation has messages, errors and output in it."""
    case = {
        "side": "server",
        "pieces": [b"".join(encode_frame(0x81, "Hello", KEY)), b"\x81\x00"],
        "options": {},
        "deflate": False,
        "take": "events",
        "in_place": False,
        "takes": [True, True],
        "sends": ["x", None],
        "eof": True,
    }
    seen = repr(converse(half, case))
    assert "Hello" in seen
    assert "frame from a client is not masked" in seen
    assert repr(b"\x81\x01x") in seen
