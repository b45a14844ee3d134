"""Frames: what is serialized is parsed again, and masking is what the RFC says."""

from __future__ import annotations

from itertools import cycle

from hypothesis import given
from hypothesis import strategies as st

from wsproto_core.codec import apply_mask, encode_frame
from wsproto_core.exceptions import PayloadTooBig, ProtocolError
from wsproto_core.frames import (
    Frame,
    Opcode,
    check_close_code,
    parse_close,
    parse_frame,
    parse_frame_header,
    serialize_close,
    shorten_reason,
)

KEYS = st.binary(min_size=4, max_size=4)

# Around the lengths at which something changes: the header's form, the way to mask, copying.
LENGTHS = st.one_of(
    *(st.integers(max(0, middle - 6), middle + 6) for middle in (0, 6, 126, 1024, 16384, 65536)),
    st.integers(0, 100_000),
)


@st.composite
def payloads(draw: st.DrawFn) -> bytes:
    length: int = draw(LENGTHS)
    pattern: bytes = draw(st.binary(min_size=1, max_size=300))
    return (pattern * (length // len(pattern) + 1))[:length]


DATA_FRAMES = st.builds(
    Frame,
    st.booleans(),
    st.sampled_from([Opcode.CONTINUATION, Opcode.TEXT, Opcode.BINARY]),
    payloads(),
)
CONTROL_FRAMES = st.builds(
    Frame,
    st.just(True),
    st.sampled_from([Opcode.CLOSE, Opcode.PING, Opcode.PONG]),
    st.binary(max_size=125),
)
FRAMES = DATA_FRAMES | CONTROL_FRAMES


@given(FRAMES, st.just(b"") | KEYS, st.binary(max_size=20))
def test_frames_are_parsed_again(frame: Frame, key: bytes, rest: bytes) -> None:
    data = frame.serialize(key)
    assert parse_frame(data + rest, mask=bool(key)) == (frame, len(data))


@given(FRAMES, st.just(b"") | KEYS, st.data())
def test_frames_that_are_incomplete(frame: Frame, key: bytes, data: st.DataObject) -> None:
    serialized = frame.serialize(key)
    end = data.draw(st.integers(0, len(serialized) - 1))
    assert parse_frame(serialized[:end], mask=bool(key)) is None


@given(st.integers(0, 255), payloads(), st.just(b"") | KEYS)
def test_any_first_byte(first: int, payload: bytes, key: bytes) -> None:
    """Reserved bits and opcodes go through these two; others judge them."""
    data = b"".join(encode_frame(first, payload, key))
    header = parse_frame_header(data)
    assert header == (first, len(payload), key, len(data) - len(payload))


@given(st.binary(max_size=200), st.booleans(), st.none() | st.integers(0, 100))
def test_hostile_frames(data: bytes, mask: bool, max_size: int | None) -> None:
    """Anything is a frame, or the beginning of one, or refused; and what is a frame can be made again."""
    try:
        parsed = parse_frame(data, mask=mask, max_size=max_size)
    except (ProtocolError, PayloadTooBig):
        return
    if parsed is not None:
        frame, end = parsed
        header = parse_frame_header(data)
        assert header is not None
        assert frame.serialize(header.key) == data[:end]


@given(payloads(), KEYS)
def test_masking(data: bytes, key: bytes) -> None:
    masked = apply_mask(data, key)
    assert masked == bytes(byte ^ mask for byte, mask in zip(data, cycle(key), strict=False))
    assert apply_mask(masked, key) == data


@given(st.integers(0, 65535).filter(check_close_code) | st.just(1005), st.text(max_size=130))
def test_close_frames_are_parsed_again(code: int, reason: str) -> None:
    reason = "" if code == 1005 else shorten_reason(reason)
    assert parse_close(serialize_close(code, reason)) == (code, reason)


@given(st.binary(max_size=125))
def test_hostile_close_frames(data: bytes) -> None:
    try:
        code, reason = parse_close(data)
    except (ProtocolError, UnicodeDecodeError):
        return
    assert serialize_close(code, reason) == data


@given(st.text(max_size=200))
def test_shortened_reasons(reason: str) -> None:
    shortened = shorten_reason(reason)
    assert reason.startswith(shortened)
    assert len(shortened.encode()) <= 123
    if shortened != reason:
        # One more character would be too long.
        assert len(reason[: len(shortened) + 1].encode()) > 123
