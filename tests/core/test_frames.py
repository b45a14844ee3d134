"""Frames, one at a time: the examples of the RFC, the edges of every field, and what is refused."""

from __future__ import annotations

import array

import pytest

from wsproto_core.closing import (
    check_close_code,
    parse_close,
    parse_close_frame,
    serialize_close,
    shorten_reason,
)
from wsproto_core.codec import COPY_BELOW, apply_mask, encode_frame
from wsproto_core.exceptions import InvalidPayload, ProtocolError
from wsproto_core.frames import (
    Close,
    CloseCode,
    Opcode,
    check_first_bytes,
    control_payload,
    encode_data,
    parse_length,
    prepare_data,
)

KEY = b"\x37\xfa\x21\x3d"

# RFC 6455 section 5.7
EXAMPLES = [
    (0x81, b"Hello", b"", b"\x81\x05Hello"),
    (0x81, b"Hello", KEY, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
    (0x01, b"Hel", b"", b"\x01\x03Hel"),
    (0x80, b"lo", b"", b"\x80\x02lo"),
    (0x89, b"Hello", b"", b"\x89\x05Hello"),
    (0x8A, b"Hello", KEY, b"\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"),
    (0x82, bytes(256), b"", b"\x82\x7e\x01\x00" + bytes(256)),
    (0x82, bytes(65536), b"", b"\x82\x7f\0\0\0\0\0\x01\0\0" + bytes(65536)),
]


@pytest.mark.parametrize(("first", "payload", "key", "data"), EXAMPLES)
def test_examples_of_the_rfc(first: int, payload: bytes, key: bytes, data: bytes) -> None:
    assert b"".join(encode_frame(first, payload, key)) == data


# Masking


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 1023, 1024, 1025, 1026, 1027])
def test_mask(length: int) -> None:
    data = bytes(index * 7 % 256 for index in range(length))
    masked = apply_mask(data, KEY)
    assert masked == bytes(byte ^ KEY[index % 4] for index, byte in enumerate(data))
    assert apply_mask(bytearray(masked), bytearray(KEY)) == data
    assert apply_mask(memoryview(masked), memoryview(KEY)) == data


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
    size = len(header) - len(key)
    assert parse_length(header) == parse_length(header[:size]) == (length, size)
    assert parse_length(b"before" + header + b"after", 6) == (length, size)
    for end in range(size):
        assert parse_length(header[:end]) is None
        assert parse_length(b"before" + header[:end], 6) is None


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
        parse_length(header)
    assert parse_length(header[:-1]) is None


def test_opcodes() -> None:
    """RFC 6455 section 5.2."""
    assert {opcode.name: opcode.value for opcode in Opcode} == {
        "CONTINUATION": 0,
        "TEXT": 1,
        "BINARY": 2,
        "CLOSE": 8,
        "PING": 9,
        "PONG": 10,
    }


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_reserved_opcodes(opcode: int) -> None:
    with pytest.raises(ProtocolError, match=f"reserved opcode 0x{opcode:X}"):
        check_first_bytes(0x80 | opcode, 0, masked=False)


@pytest.mark.parametrize("bit", [0x10, 0x20, 0x40])
def test_reserved_bits(bit: int) -> None:
    with pytest.raises(ProtocolError, match=f"reserved bit set that no extension uses: 0x{bit:X}"):
        check_first_bytes(0x81 | bit, 0, masked=False, reserved_bits=0x70 & ~bit)
    check_first_bytes(0x81 | bit, 0, masked=False, reserved_bits=bit)


@pytest.mark.parametrize("opcode", [Opcode.CLOSE, Opcode.PING, Opcode.PONG])
def test_control_frames(opcode: int) -> None:
    check_first_bytes(0x80 | opcode, 125, masked=False)
    with pytest.raises(ProtocolError, match="fragmented control frame"):
        check_first_bytes(opcode, 0, masked=False)
    with pytest.raises(ProtocolError, match="control frame longer than 125 bytes"):
        check_first_bytes(0x80 | opcode, 126, masked=False)
    with pytest.raises(ProtocolError, match="reserved bit set in a control frame"):
        check_first_bytes(0xC0 | opcode, 0, masked=False, reserved_bits=0x40)


def test_masked_or_not() -> None:
    check_first_bytes(0x81, 0x80, masked=True)
    check_first_bytes(0x81, 0x00, masked=False)
    with pytest.raises(ProtocolError, match="frame from a client is not masked"):
        check_first_bytes(0x81, 0x00, masked=True)
    with pytest.raises(ProtocolError, match="frame from a server is masked"):
        check_first_bytes(0x81, 0x80, masked=False)


# Serializing


def test_large_payloads_are_not_copied() -> None:
    small, large = bytes(COPY_BELOW - 1), bytes(COPY_BELOW)
    assert encode_frame(0x82, small) == [b"\x82\x7e\x3f\xff" + small]
    header, payload = encode_frame(0x82, large)
    assert header == b"\x82\x7e\x40\x00"
    assert payload is large
    header, payload = encode_frame(0x82, bytearray(large))
    assert type(payload) is bytes
    header, payload = encode_frame(0x82, large, KEY)
    assert header == b"\x82\xfe\x40\x00" + KEY
    assert payload == apply_mask(large, KEY)


# Whole frames


# Payloads


@pytest.mark.parametrize(
    ("data", "opcode", "payload"),
    [
        ("tea", Opcode.TEXT, b"tea"),
        ("café", Opcode.TEXT, b"caf\xc3\xa9"),
        (b"tea", Opcode.BINARY, b"tea"),
        (bytearray(b"tea"), Opcode.BINARY, b"tea"),
        (memoryview(b"tea"), Opcode.BINARY, b"tea"),
        (memoryview(b"tteeaa")[::2], Opcode.BINARY, b"tea"),
        (memoryview(array.array("H", [1, 2])), Opcode.BINARY, array.array("H", [1, 2]).tobytes()),
        ("", Opcode.TEXT, b""),
        (b"", Opcode.BINARY, b""),
    ],
)
def test_prepare_and_encode_data(data: str | bytes, opcode: Opcode, payload: bytes) -> None:
    prepared = prepare_data(data)
    assert prepared == (opcode, payload)
    assert len(prepared[1]) == len(payload)
    encoded = encode_data(data)
    assert type(encoded) is bytes
    assert encoded == payload


@pytest.mark.parametrize("data", [None, 3, ["tea"], object()])
def test_data_of_another_type(data: object) -> None:
    message = f"^data must be str or bytes-like, not {type(data).__name__}$"
    with pytest.raises(TypeError, match=message):
        prepare_data(data)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=message):
        encode_data(data)  # type: ignore[arg-type]


def test_data_that_is_a_dict() -> None:
    with pytest.raises(TypeError, match=r"not dict: json.dumps\(\) makes a str of it$"):
        prepare_data({"tea": 1})  # type: ignore[arg-type]


@pytest.mark.parametrize("data", ["é", "é".encode(), bytearray("é".encode())])
def test_control_payload(data: str | bytes) -> None:
    payload = control_payload("ping", data)
    assert type(payload) is bytes
    assert payload == "é".encode()


def test_control_payload_that_is_too_long() -> None:
    assert control_payload("ping", "é" * 62 + "a") == ("é" * 62 + "a").encode()
    with pytest.raises(ValueError, match="pong payload is 126 bytes, at most 125 fit"):
        control_payload("pong", "é" * 63)


# Close frames

VALID_CODES = [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
INVALID_CODES = [0, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", VALID_CODES)
def test_close_codes(code: int) -> None:
    data = code.to_bytes(2, "big") + "é".encode()
    assert check_close_code(code)
    assert serialize_close(code, "é") == data
    assert parse_close(data) == (code, "é")
    assert parse_close_frame(data) == Close(code, "é")


@pytest.mark.parametrize("code", INVALID_CODES)
def test_close_codes_that_are_refused(code: int) -> None:
    assert not check_close_code(code)
    with pytest.raises(ValueError, match=f"close code must be .*, not {code}"):
        serialize_close(code, "reason")
    with pytest.raises(ProtocolError, match=f"invalid close code {code}"):
        parse_close(code.to_bytes(2, "big") + b"reason")


@pytest.mark.parametrize("code", [-1, 100_000])
def test_close_codes_that_fit_into_no_frame(code: int) -> None:
    with pytest.raises(ValueError, match="close code must be"):
        serialize_close(code, "")


def test_close_without_a_code() -> None:
    assert parse_close(b"") == (CloseCode.NO_STATUS_RECEIVED, "")
    assert serialize_close(1005, "") == b""


def test_close_of_one_byte() -> None:
    with pytest.raises(ProtocolError, match="too short for a close code"):
        parse_close(b"\x03")


def test_close_with_a_reason_that_is_not_utf8() -> None:
    with pytest.raises(UnicodeDecodeError):
        parse_close(b"\x03\xe8\xff")
    with pytest.raises(InvalidPayload, match="reason in the close frame is not UTF-8") as raised:
        parse_close_frame(b"\x03\xe8\xff")
    assert raised.value.code == 1007


def test_longest_reason() -> None:
    assert len(serialize_close(1000, "é" * 61 + "a")) == 125
    with pytest.raises(ValueError, match="close reason is 124 bytes in UTF-8, at most 123 fit"):
        serialize_close(1000, "é" * 62)


@pytest.mark.parametrize(
    ("reason", "shortened"),
    [("", ""), ("a" * 123, "a" * 123), ("a" * 124, "a" * 123), ("é" * 100, "é" * 61), ("😀" * 31, "😀" * 30)],
)
def test_shorten_reason(reason: str, shortened: str) -> None:
    assert shorten_reason(reason) == shortened
    serialize_close(1000, shortened)
