"""The hot path of the data transfer (RFC 6455 section 5): three functions that every message goes through.

- :func:`decode_messages`: bytes that were received into whole messages, in the receive queue;
- :func:`encode_frame`: a frame from a payload;
- :func:`apply_mask`: masking and unmasking.

They contain no rare case. What :func:`decode_messages` does not understand (a fragment, a control frame,
a frame that is incomplete, that is too long or that breaks a rule) it leaves to :mod:`.messages`, which
decides about every frame and finds every error. So these functions keep no state and raise no errors. The
extension that decompresses keeps state, and does the same: see :meth:`.CompressionExtension.decode_whole`.

Where the extension module was built, the functions in C take the place of these, which are their
specification: property tests compare the two, and the messages that :func:`decode_messages` finds with those
that :mod:`.messages` finds frame by frame.

Masking dominates the cost of a frame in pure Python, so :func:`apply_mask` has two ways. Up to
about 1 KiB the payload is one big integer, XORed at once. Beyond, integers lose: CPython converts
them bit group by bit group, and four strided ``bytes.translate`` calls are more than twice as fast.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from ._speedups import prefer_compiled
from .extensions.base import RSV1, CompressionExtension
from .types import BytesLike, Data

__all__ = ["MESSAGE_OVERHEAD", "apply_mask", "decode_messages", "encode_frame"]

MESSAGE_OVERHEAD = 64
"""Bytes that a message in the receive queue counts for beyond its own."""

# Bytes below which header and payload are joined: a copy is cheaper than a second buffer to write.
COPY_BELOW = 16384

Queue: TypeAlias = deque[tuple[Data, int]]
Decoder: TypeAlias = CompressionExtension | None

# The first byte of a frame that is a whole message: FIN, no reserved bit, and the opcode (section 5.2). That
# of a compressed message has RSV1, too (RFC 7692 section 6).
_TEXT = 0x81
_BINARY = 0x82

# Bytes of messages at which :func:`decode_messages` decompresses no more, so that its caller can look whether
# the receive queue has room; and bytes of a message that it decompresses.
DECOMPRESSED_AT_ONCE = 2**16

_MASKED = 0x80


_IDENTITY = int.from_bytes(bytes(range(256)), "little")
_ONES = int.from_bytes(b"\x01" * 256, "little")
_TABLES = [(_IDENTITY ^ _ONES * byte).to_bytes(256, "little") for byte in range(256)]
_STRIDED_FROM = 1024

# A key multiplied by the number at an index is the key repeated that many times.
_REPEATED = [int.from_bytes(b"\x01\0\0\0" * count, "little") for count in range(_STRIDED_FROM // 4 + 1)]


@prefer_compiled
def apply_mask(data: BytesLike, key: BytesLike, /) -> bytes:
    """Mask or unmask ``data`` with the four bytes of ``key`` (RFC 6455 section 5.3).

    Costs about 1 ns a byte from 1 KiB up, and 0.2 to 2.3 us below.
    """
    length = len(data)
    if length < _STRIDED_FROM:
        words = (length + 3) // 4
        pad = _REPEATED[words] * int.from_bytes(key, "little")
        return (int.from_bytes(data, "little") ^ pad).to_bytes(4 * words, "little")[:length]
    data = bytes(data)
    output = bytearray(length)
    for index in range(4):
        output[index::4] = data[index::4].translate(_TABLES[key[index]])
    return bytes(output)


@prefer_compiled
def decode_messages(
    data: bytes, position: int, masked: bool, max_length: int, messages: Queue, extension: Decoder = None, /
) -> tuple[int, int]:
    """Decode the messages that ``data`` has from ``position`` on, as long as each is one whole frame.

    Stops before the first frame that is incomplete, not a whole message, too long, masked against the
    rules (section 5.1) or not UTF-8 (section 8.1), and before one with a reserved bit or an invalid length.
    With an extension, it goes on after a frame with RSV1 whose message that decompresses.

    Args:
        data: bytes that were received.
        position: where a frame begins that is not within a fragmented message.
        masked: whether frames must be masked, i.e. whether a client sends them.
        max_length: limit of a payload in bytes.
        messages: the queue to which each message is added, with the size that it counts for: the bytes
            of its payload and :data:`MESSAGE_OVERHEAD`.
        extension: decompresses messages, if it is the only extension of the connection.

    Returns:
        The position of the first byte that was not decoded, and the sum of the sizes.
    """
    total = 0
    end = len(data)
    mask_bit, header = (_MASKED, 6) if masked else (0, 2)
    while position + header <= end:
        first = data[position]
        length = data[position + 1] - mask_bit
        kind = first & ~RSV1
        compressed = first != kind
        if (kind != _TEXT and kind != _BINARY) or not 0 <= length < _MASKED:
            break
        if compressed and (extension is None or total >= DECOMPRESSED_AT_ONCE):
            break
        start = position + header
        if length == 126:
            start += 2
            if start > end:
                break
            length = data[position + 2] << 8 | data[position + 3]
            if length < 126:
                # "the minimal number of bytes MUST be used to encode the length" (section 5.2)
                break
        elif length == 127:
            start += 8
            length = int.from_bytes(data[position + 2 : position + 10], "big")
            if start > end or length < 65536:
                break
        stop = start + length
        if stop > end or length > max_length:
            break
        payload: Data = data[start:stop]
        if masked:
            if length < _STRIDED_FROM:
                # apply_mask without the call
                words = (length + 3) // 4
                pad = _REPEATED[words] * int.from_bytes(data[start - 4 : start], "little")
                unmasked = int.from_bytes(payload, "little") ^ pad  # type: ignore[arg-type]
                payload = unmasked.to_bytes(4 * words, "little")[:length]
            else:
                payload = apply_mask(payload, data[start - 4 : start])  # type: ignore[arg-type]
        if compressed:
            assert extension is not None
            limit = min(max_length, DECOMPRESSED_AT_ONCE)
            found = extension.decode_whole(payload, kind == _TEXT, limit)  # type: ignore[arg-type]
            if found is None:
                break
            payload, length = found
        elif kind == _TEXT:
            try:
                payload = str(payload, "utf-8")  # type: ignore[arg-type]
            except UnicodeDecodeError:
                break
        length += MESSAGE_OVERHEAD
        messages.append((payload, length))
        total += length
        position = stop
    return position, total


@prefer_compiled
def encode_frame(first: int, payload: str | BytesLike, key: BytesLike = b"", /) -> list[bytes]:
    """Encode a frame (RFC 6455 section 5.2).

    Args:
        first: the first byte: FIN, the reserved bits and the opcode.
        payload: the payload; a ``str`` is encoded to UTF-8.
        key: the masking key, four bytes; ``b""`` for a frame that is not masked.

    Returns:
        One buffer, or the header and the payload as two if copying the payload would cost more than
        writing two buffers.
    """
    if isinstance(payload, str):
        payload = payload.encode()
    length = len(payload)
    mask_bit = _MASKED if key else 0
    if length < 126:
        header = bytes((first, mask_bit | length))
    elif length < 65536:
        header = bytes((first, mask_bit | 126, length >> 8, length & 0xFF))
    else:
        header = bytes((first, mask_bit | 127)) + length.to_bytes(8, "big")
    if key:
        header += key
        payload = apply_mask(payload, key)
    if length < COPY_BELOW:
        return [header + payload]
    return [header, bytes(payload)]
