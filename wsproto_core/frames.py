"""The parts of a frame (RFC 6455 section 5): its header, and the payloads of control frames.

The rules for a sequence of frames (fragments, messages) are in :mod:`.messages`, those that depend on the
state of the connection in :mod:`.protocol`; frames are encoded and masked in :mod:`.codec`.
"""

from __future__ import annotations

import enum

from .exceptions import ProtocolError
from .types import BytesLike, Close, CloseCode, Data

__all__ = ["Close", "CloseCode", "Opcode", "encode_data", "parse_length", "prepare_data"]

FIN = 0x80
RSV1 = 0x40
RSV2 = 0x20
RSV3 = 0x10
RESERVED_BITS = RSV1 | RSV2 | RSV3
MASKED = 0x80

# Bytes in a control frame's payload (RFC 6455 section 5.5).
MAX_CONTROL_PAYLOAD = 125

# Bytes in a frame's header: two, an eight-byte length and a masking key.
MAX_HEADER = 14


class Opcode(enum.IntEnum):
    """What a frame is (RFC 6455 section 5.2)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


OPCODES = frozenset(int(opcode) for opcode in Opcode)


# Headers


def parse_length(data: bytes, position: int = 0) -> tuple[int, int] | None:
    """Parse the beginning of the frame header at ``position``, to its masking key, which may be missing.

    Returns:
        Bytes in the payload, and bytes in this part of the header; ``None`` when that is not complete.

    Raises:
        ProtocolError: the length is not in its shortest form or has its top bit set.
    """
    available = len(data) - position
    if available < 2:
        return None
    length = data[position + 1] & 0x7F
    if length < 126:
        return length, 2
    size = 4 if length == 126 else 10
    if available < size:
        return None
    length = int.from_bytes(data[position + 2 : position + size], "big")
    if length >> 63:
        raise ProtocolError("64-bit length has its most significant bit set")
    if length < 126 and size == 4:
        # "the minimal number of bytes MUST be used to encode the length" (section 5.2)
        raise ProtocolError(f"length {length} not encoded in its shortest form, 7 bits")
    if length < 65536 and size == 10:
        raise ProtocolError(f"length {length} not encoded in its shortest form")
    return length, size


def check_first_bytes(first: int, second: int, *, masked: bool, reserved_bits: int = 0) -> None:
    """Check all that the first two bytes of a frame tell.

    Args:
        masked: whether the frame must be masked, i.e. whether a client sent it.
        reserved_bits: the reserved bits that negotiated extensions use.

    Raises:
        ProtocolError: a rule of section 5.1, 5.2 or 5.5 is broken.
    """
    opcode = first & 0x0F
    if opcode not in OPCODES:
        raise ProtocolError(f"reserved opcode 0x{opcode:X}")
    unexpected = first & RESERVED_BITS & ~reserved_bits
    if unexpected:
        raise ProtocolError(f"reserved bit set that no extension uses: 0x{unexpected:02X}")
    if bool(second & MASKED) != masked:
        # sections 5.1 and 5.3: a client masks all its frames, a server none
        raise ProtocolError(f"frame from a {'client is not' if masked else 'server is'} masked")
    if opcode >= Opcode.CLOSE:
        if not first & FIN:
            raise ProtocolError("fragmented control frame")
        if second & 0x7F > MAX_CONTROL_PAYLOAD:
            raise ProtocolError("control frame longer than 125 bytes")
        if first & RESERVED_BITS:
            raise ProtocolError("reserved bit set in a control frame")


# Payloads


def prepare_data(data: Data | BytesLike) -> tuple[Opcode, bytes | bytearray | memoryview]:
    """Return the opcode for a message and its payload: a ``str`` is encoded to UTF-8.

    Raises:
        TypeError: ``data`` is neither ``str`` nor bytes-like.
    """
    if isinstance(data, str):
        return Opcode.TEXT, data.encode()
    if isinstance(data, (bytes, bytearray)):
        return Opcode.BINARY, data
    if isinstance(data, memoryview):
        return Opcode.BINARY, _contiguous_bytes(data)
    raise _wrong_type(data)


def _wrong_type(data: object) -> TypeError:
    hint = ": json.dumps() makes a str of it" if isinstance(data, dict) else ""
    return TypeError(f"data must be str or bytes-like, not {type(data).__name__}{hint}")


def encode_data(data: Data | BytesLike) -> bytes:
    """Return the payload of a ping or pong as ``bytes``: a ``str`` is encoded to UTF-8.

    Raises:
        TypeError: ``data`` is neither ``str`` nor bytes-like.
    """
    return bytes(prepare_data(data)[1])


def control_payload(kind: str, data: Data | BytesLike) -> bytes:
    """Like :func:`encode_data`, for a control frame of this kind.

    Raises:
        TypeError: see :func:`encode_data`.
        ValueError: the payload is longer than 125 bytes.
    """
    payload = encode_data(data)
    if len(payload) > MAX_CONTROL_PAYLOAD:
        raise ValueError(f"{kind} payload is {len(payload)} bytes, at most {MAX_CONTROL_PAYLOAD} fit")
    return payload


def _contiguous_bytes(view: memoryview) -> memoryview:
    # len() of a view counts items, not bytes, and strides are not written by any transport
    return view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
