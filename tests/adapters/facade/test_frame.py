"""Frames, one at a time: what is serialized is parsed again, what is refused, and what is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.websockets.framing import Frame, FrameHeader, missing_bytes, parse_frame, parse_frame_header
from tests.property.test_frames import KEYS, payloads
from wsproto_core.exceptions import PayloadTooBig, ProtocolError
from wsproto_core.frames import Opcode

KEY = b"\x37\xfa\x21\x3d"

# RFC 6455 section 5.7
EXAMPLES = [
    (Frame(True, Opcode.TEXT, b"Hello"), b"", b"\x81\x05Hello"),
    (Frame(True, Opcode.TEXT, b"Hello"), KEY, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
    (Frame(False, Opcode.TEXT, b"Hel"), b"", b"\x01\x03Hel"),
    (Frame(True, Opcode.CONTINUATION, b"lo"), b"", b"\x80\x02lo"),
    (Frame(True, Opcode.PING, b"Hello"), b"", b"\x89\x05Hello"),
    (Frame(True, Opcode.PONG, b"Hello"), KEY, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
    (Frame(True, Opcode.BINARY, bytes(256)), b"", b"\x82\x7e\x01\x00" + bytes(256)),
    (Frame(True, Opcode.BINARY, bytes(65536)), b"", b"\x82\x7f\0\0\0\0\0\x01\0\0" + bytes(65536)),
]


@pytest.mark.parametrize(("frame", "key", "data"), EXAMPLES)
def test_examples_of_the_rfc(frame: Frame, key: bytes, data: bytes) -> None:
    assert frame.serialize(key) == data
    assert parse_frame(data, mask=bool(key)) == (frame, len(data))
    assert parse_frame(data + b"more", mask=bool(key)) == (frame, len(data))
    assert parse_frame(data[:-1], mask=bool(key)) is None


def test_frame() -> None:
    frame = Frame(True, Opcode.TEXT, b"data", rsv1=True)
    assert frame == Frame(fin=True, opcode=1, data=b"data", rsv1=True, rsv2=False, rsv3=False)
    assert frame.first == 0xC1
    assert Frame(False, Opcode.BINARY, b"", rsv2=True, rsv3=True).first == 0x32


@pytest.mark.parametrize(
    "frame", [*(example[0] for example in EXAMPLES), Frame(True, Opcode.CLOSE, bytes(125))]
)
def test_check_accepts(frame: Frame) -> None:
    frame.check()


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (Frame(True, Opcode.TEXT, b"", rsv1=True), "reserved bit"),
        (Frame(True, Opcode.TEXT, b"", rsv2=True), "reserved bit"),
        (Frame(True, Opcode.TEXT, b"", rsv3=True), "reserved bit"),
        (Frame(True, 3, b""), "reserved opcode 0x3"),
        (Frame(True, 16, b""), "opcode 16 does not fit in four bits"),
        (Frame(True, -1, b""), "opcode -1 does not fit in four bits"),
        (Frame(False, Opcode.PING, b""), "fragmented control frame"),
        (Frame(True, Opcode.PING, bytes(126)), "control frame longer than 125 bytes"),
        (Frame(True, Opcode.PING, bytes(70000)), "control frame longer than 125 bytes"),
    ],
)
def test_check_refuses(frame: Frame, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        frame.check()
    with pytest.raises(ProtocolError, match=message):
        frame.serialize()


def test_parse_frame_checks() -> None:
    with pytest.raises(ProtocolError, match="not masked"):
        parse_frame(b"\x81\x05", mask=True)
    with pytest.raises(ProtocolError, match="reserved opcode 0x3"):
        parse_frame(b"\x83\x7f", mask=False)
    assert parse_frame(b"\x83", mask=False) is None


def test_parse_frame_with_a_limit() -> None:
    assert parse_frame(b"\x81\x05Hello", mask=False, max_size=5) is not None
    with pytest.raises(PayloadTooBig, match="frame of 5 bytes exceeds the limit of 4 bytes"):
        parse_frame(b"\x81\x05", mask=False, max_size=4)


def test_parse_frame_with_reserved_bits() -> None:
    for first, bits in ((0xC1, (True, False, False)), (0xB1, (False, True, True)), (0x81, (False,) * 3)):
        data = bytes([first, 0])
        assert parse_frame(data, mask=False, reserved_bits=0x70) == (Frame(True, 1, b"", *bits), 2)
    with pytest.raises(ProtocolError, match="reserved bit"):
        parse_frame(b"\xd1\x00", mask=False, reserved_bits=0x40)
    with pytest.raises(ProtocolError, match="reserved bit set in a control frame"):
        parse_frame(b"\xc9\x00", mask=False, reserved_bits=0x40)


def test_parse_frame_gives_opcodes() -> None:
    parsed = parse_frame(b"\x89\x00", mask=False)
    assert parsed is not None
    assert parsed[0].opcode is Opcode.PING


@pytest.mark.parametrize(("frame", "key", "data"), EXAMPLES)
def test_missing_bytes(frame: Frame, key: bytes, data: bytes) -> None:
    """Reading what is missing, again and again, reads this frame and nothing else."""
    end = 0
    reads = 0
    while missing := missing_bytes(data[:end]):
        assert missing > 0
        end += missing
        reads += 1
    assert end == len(data)
    assert reads <= 4  # first bytes, length, key, payload


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


# Headers


@pytest.mark.parametrize("key", [b"", KEY])
@pytest.mark.parametrize(
    ("length", "encoded"),
    [
        (0, b"\x00"),
        (125, b"\x7d"),
        (126, b"\x7e\x00\x7e"),
        (65535, b"\x7e\xff\xff"),
        (65536, b"\x7f\0\0\0\0\0\x01\0\0"),
        (2**63 - 1, b"\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"),
    ],
)
def test_header(length: int, encoded: bytes, key: bytes) -> None:
    header = bytes((0x82, encoded[0] | (0x80 if key else 0))) + encoded[1:] + key
    expected = FrameHeader(0x82, length, key, len(header))
    assert parse_frame_header(header) == expected
    assert parse_frame_header(b"before" + header + b"after", 6) == expected
    for end in range(len(header)):
        assert parse_frame_header(header[:end]) is None
        assert parse_frame_header(b"before" + header[:end], 6) is None


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"\x82\x7e\x00\x7d", "length 125 not encoded in its shortest form, 7 bits"),
        (b"\x82\xfe\x00\x00", "length 0 not encoded in its shortest form, 7 bits"),
        (b"\x82\x7f\0\0\0\0\0\0\xff\xff", "length 65535 not encoded in its shortest form"),
        (b"\x82\xff\0\0\0\0\0\0\0\x01", "length 1 not encoded in its shortest form"),
        (b"\x82\x7f\x80\0\0\0\0\0\0\0", "64-bit length has its most significant bit set"),
    ],
)
def test_lengths_that_are_refused(header: bytes, message: str) -> None:
    """Before the masking key is there."""
    with pytest.raises(ProtocolError, match=message):
        parse_frame_header(header)
    assert parse_frame_header(header[:-1]) is None
