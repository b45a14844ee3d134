"""Frames: what is serialized is parsed again, and masking is what the RFC says."""

from __future__ import annotations

from itertools import cycle

from hypothesis import given
from hypothesis import strategies as st

from wsproto_core.closing import check_close_code, parse_close, serialize_close, shorten_reason
from wsproto_core.codec import apply_mask, encode_frame
from wsproto_core.exceptions import ProtocolError
from wsproto_core.frames import parse_length

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


@given(st.integers(0, 255), payloads(), st.just(b"") | KEYS)
def test_any_first_byte(first: int, payload: bytes, key: bytes) -> None:
    """Reserved bits and opcodes go through these two; others judge them."""
    data = b"".join(encode_frame(first, payload, key))
    assert data[0] == first
    assert parse_length(data) == (len(payload), len(data) - len(payload) - len(key))


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
