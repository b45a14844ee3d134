"""The hot path: whole messages out of received bytes, a frame from a payload."""

from __future__ import annotations

from collections import deque

import pytest

from wsproto_core.codec import MESSAGE_OVERHEAD, apply_mask, decode_messages, encode_frame
from wsproto_core.types import Data

KEY = b"\x37\xfa\x21\x3d"
LIMIT = 1 << 63


def decode(
    data: bytes, position: int = 0, *, masked: bool = False, limit: int = LIMIT
) -> tuple[int, list[Data]]:
    """Return the position after the messages, and the messages."""
    messages: deque[tuple[Data, int]] = deque()
    end, size = decode_messages(data, position, masked, limit, messages)
    assert size == sum(each for _, each in messages)
    for message, each in messages:
        length = len(message.encode() if isinstance(message, str) else message)
        assert each == length + MESSAGE_OVERHEAD
    return end, [message for message, _ in messages]


@pytest.mark.parametrize("masked", [False, True])
def test_whole_messages(masked: bool) -> None:
    messages: list[Data] = [
        "",
        b"",
        "é",
        b"\xff",
        "x" * 125,
        b"x" * 126,
        "x" * 1024,
        b"x" * 65535,
        "x" * 65536,
    ]
    data = b"before"
    for message in messages:
        data += b"".join(encode_frame(0x81 if isinstance(message, str) else 0x82, message, KEY * masked))
    assert decode(data, 6, masked=masked) == (len(data), messages)
    assert decode(data + data[6:7], 6, masked=masked) == (len(data), messages)


@pytest.mark.parametrize("length", [0, 5, 125, 126, 1024, 65536])
@pytest.mark.parametrize("key", [b"", KEY])
def test_stops_before_an_incomplete_frame(length: int, key: bytes) -> None:
    frame = b"".join(encode_frame(0x82, b"x" * length, key))
    whole = b"".join(encode_frame(0x81, b"a", key))
    for end in [*range(min(1100, len(frame))), len(frame) - 1]:
        assert decode(whole + frame[:end], masked=bool(key)) == (len(whole), ["a"])


@pytest.mark.parametrize(
    "frame",
    [
        b"\x01\x01a",  # a fragment
        b"\x80\x01a",  # the last fragment
        b"\x89\x01a",  # a ping
        b"\x88\x00",  # a close frame
        b"\xc1\x01a",  # a reserved bit
        b"\x83\x01a",  # a reserved opcode
        b"\x82\x81" + KEY + b"a",  # masked
        b"\x82\x7e\x00\x7d" + bytes(125),  # a length that is not in its shortest form
        b"\x82\x7f\0\0\0\0\0\0\xff\xff" + bytes(65535),  # the same of a 64-bit length
        b"\x82\x7f\x80\0\0\0\0\x01\0\0" + bytes(65536),  # a 64-bit length with its top bit set
        b"\x81\x01\xff",  # not UTF-8
        b"\x81\x02\xed\xa0",  # the beginning of a surrogate
    ],
)
def test_stops_before_all_other_frames(frame: bytes) -> None:
    assert decode(b"\x81\x01a" + frame + b"\x82\x01b") == (3, ["a"])


def test_stops_before_a_frame_that_is_not_masked() -> None:
    whole = b"\x81\x81" + KEY + apply_mask(b"a", KEY)
    assert decode(whole + b"\x81\x05Hello", masked=True) == (len(whole), ["a"])


def test_limit() -> None:
    assert decode(b"\x82\x02ab\x82\x03abc", limit=2) == (4, [b"ab"])


@pytest.mark.parametrize("key", [b"", KEY])
def test_text_is_encoded(key: bytes) -> None:
    assert encode_frame(0x81, "é", key) == encode_frame(0x81, "é".encode(), key)
