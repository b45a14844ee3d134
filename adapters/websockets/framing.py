"""One WebSocket frame at a time, read and written (RFC 6455 section 5)."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from wsproto_core.closing import parse_close, serialize_close
from wsproto_core.codec import apply_mask, encode_frame
from wsproto_core.exceptions import PayloadTooBig, ProtocolError
from wsproto_core.extensions.base import Extension
from wsproto_core.frames import (
    FIN,
    MASKED,
    RESERVED_BITS,
    RSV1,
    RSV2,
    RSV3,
    Opcode,
    check_first_bytes,
    encode_data,
    parse_length,
    prepare_data,
)
from wsproto_core.randomness import random_bytes
from wsproto_core.types import BytesLike

__all__ = [
    "OP_BINARY",
    "OP_CLOSE",
    "OP_CONT",
    "OP_PING",
    "OP_PONG",
    "OP_TEXT",
    "Frame",
    "encode_data",
    "parse_close",
    "parse_frame",
    "prepare_data",
    "read_frame",
    "serialize_close",
]

OP_CONT = Opcode.CONTINUATION
OP_TEXT = Opcode.TEXT
OP_BINARY = Opcode.BINARY
OP_CLOSE = Opcode.CLOSE
OP_PING = Opcode.PING
OP_PONG = Opcode.PONG

PIECE = 2**16
"""Bytes that an extension is asked for at once."""


class FrameHeader(NamedTuple):
    """The first 2 to 14 bytes of a frame."""

    first: int
    """The first byte: FIN, the reserved bits, the opcode."""
    length: int
    """Bytes in the payload."""
    key: bytes
    """The masking key, or b"" when the frame is not masked."""
    size: int
    """Bytes in the header itself."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One WebSocket frame, unmasked (RFC 6455 section 5.2).

    The extensions that are given to :meth:`read` and :meth:`write` are those of
    :mod:`.extensions.base`, or objects with ``decode(frame)`` and ``encode(frame)`` that return a new
    frame; ``decode`` may take ``max_size`` as a keyword.

    Args:
        fin: the FIN bit.
        opcode: ``OP_TEXT``, ...
        data: the payload.
        rsv1, rsv2, rsv3: the reserved bits.
    """

    fin: bool
    opcode: int
    data: bytes
    rsv1: bool = False
    rsv2: bool = False
    rsv3: bool = False

    @property
    def first(self) -> int:
        """The frame's first byte: FIN, the reserved bits and the opcode."""
        return self.fin << 7 | self.rsv1 << 6 | self.rsv2 << 5 | self.rsv3 << 4 | self.opcode

    def check(self) -> None:
        """Check that the reserved bits, the opcode and the length of a control frame are valid.

        Raises:
            ProtocolError: one of them is not.
        """
        if not 0 <= self.opcode <= 0x0F:
            raise ProtocolError(f"opcode {self.opcode} does not fit in four bits")
        check_first_bytes(self.first, min(len(self.data), 126), masked=False)

    def serialize(self, key: BytesLike = b"") -> bytes:
        """Return the frame's bytes, masked when ``key`` is given (four bytes, clients only).

        Raises:
            ProtocolError: the frame is not valid.
        """
        self.check()
        return b"".join(encode_frame(self.first, self.data, key))

    @classmethod
    async def read(
        cls,
        reader: Callable[[int], Awaitable[bytes]],
        *,
        mask: bool,
        max_size: int | None = None,
        extensions: Sequence[Any] | None = None,
    ) -> Self:
        """Read a frame.

        Args:
            reader: reads exactly the number of bytes that it is given, or fewer at the end of file.
            mask: whether the frame must be masked, i.e. whether a client sends it.
            max_size: bytes that the payload may have, before and after ``extensions``; ``None`` for
                no limit.
            extensions: are applied in reverse order.

        Raises:
            EOFError: the stream ends before the frame does.
            PayloadTooBig: the payload is longer than ``max_size``.
            ProtocolError: the frame breaks a rule that does not depend on other frames.
        """
        reserved_bits = RESERVED_BITS if extensions else 0
        received = await read_frame(reader, mask=mask, max_size=max_size, reserved_bits=reserved_bits)
        frame = cls(*(getattr(received, field.name) for field in dataclasses.fields(received)))
        for extension in reversed(extensions or ()):
            frame = _decode(extension, frame, max_size)
        frame.check()
        return frame

    def write(
        self,
        writer: Callable[[bytes], Any],
        *,
        mask: bool,
        extensions: Sequence[Any] | None = None,
    ) -> None:
        """Write the frame.

        Args:
            writer: is called with all of its bytes.
            mask: whether to mask it, i.e. whether a client sends it.
            extensions: are applied in order.

        Raises:
            ProtocolError: the frame is not valid.
        """
        self.check()
        frame = self
        for extension in extensions or ():
            frame = _encode(extension, frame)
        key = random_bytes(4) if mask else b""
        writer(b"".join(encode_frame(frame.first, frame.data, key)))

    def _with_bits(self, reserved_bits: int, data: bytes) -> Self:
        return dataclasses.replace(
            self,
            data=data,
            rsv1=bool(reserved_bits & RSV1),
            rsv2=bool(reserved_bits & RSV2),
            rsv3=bool(reserved_bits & RSV3),
        )


def parse_frame_header(data: bytes, position: int = 0) -> FrameHeader | None:
    """Parse the frame header that begins at ``position``; ``None`` when it is not complete.

    Raises:
        ProtocolError: see :func:`parse_length`; found before the masking key is there.
    """
    found = parse_length(data, position)
    if found is None:
        return None
    length, size = found
    key_size = 4 if data[position + 1] & MASKED else 0
    key = data[position + size : position + size + key_size]
    return FrameHeader(data[position], length, key, size + key_size) if len(key) == key_size else None


def parse_frame(
    data: bytes, *, mask: bool, max_size: int | None = None, reserved_bits: int = 0
) -> tuple[Frame, int] | None:
    """Parse the frame that ``data`` begins with.

    Args:
        mask: whether the frame must be masked, i.e. whether a client sent it.
        max_size: bytes that the payload may have; ``None`` for no limit.
        reserved_bits: the reserved bits that may be set in a data frame, as they stand in its first byte.

    Returns:
        The frame and the number of bytes it took, or ``None`` when it is not complete.

    Raises:
        PayloadTooBig: the payload's length exceeds ``max_size``; decided at the header.
        ProtocolError: the frame breaks a rule that does not depend on other frames.
    """
    if len(data) >= 2:
        check_first_bytes(data[0], data[1], masked=mask, reserved_bits=reserved_bits)
    header = parse_frame_header(data)
    if header is None:
        return None
    if max_size is not None and header.length > max_size:
        raise PayloadTooBig(f"frame of {header.length} bytes exceeds the limit of {max_size} bytes")
    end = header.size + header.length
    if len(data) < end:
        return None
    payload = data[header.size : end]
    if header.key:
        payload = apply_mask(payload, header.key)
    first = header.first
    bits = (bool(first & bit) for bit in (RSV1, RSV2, RSV3))
    return Frame(bool(first & FIN), Opcode(first & 0x0F), payload, *bits), end


def missing_bytes(data: bytes) -> int:
    """Return how many bytes to read next of a frame that begins with ``data``.

    They belong to this frame: no byte of the next one is read.
    """
    if len(data) < 2:
        return 2 - len(data)
    size = 2 + {126: 2, 127: 8}.get(data[1] & 0x7F, 0) + (4 if data[1] & MASKED else 0)
    if len(data) < size:
        return size - len(data)
    header = parse_frame_header(data)
    assert header is not None
    return header.size + header.length - len(data)


async def read_frame(
    read: Callable[[int], Awaitable[bytes]],
    *,
    mask: bool,
    max_size: int | None = None,
    reserved_bits: int = 0,
) -> Frame:
    """Read a frame (RFC 6455 section 5.2).

    Args:
        read: reads exactly that many bytes, as :meth:`asyncio.StreamReader.readexactly` does, or fewer
            at the end of the stream.
        mask: whether the frame must be masked, i.e. whether a client sends it.
        max_size: bytes that the payload may have; ``None`` for no limit.
        reserved_bits: the reserved bits that may be set in a data frame, as they stand in its first byte.

    Raises:
        EOFError: the stream ends before the frame does.
        PayloadTooBig: the payload is longer than ``max_size``.
        ProtocolError: the frame breaks a rule that does not depend on other frames.
    """
    data = b""
    while (parsed := parse_frame(data, mask=mask, max_size=max_size, reserved_bits=reserved_bits)) is None:
        missing = missing_bytes(data)
        part = await read(missing)
        data += part
        if len(part) < missing:
            raise EOFError(f"stream ended within a frame, after {len(data)} bytes of it")
    return parsed[0]


def _decode(extension: Any, frame: Any, max_size: int | None) -> Any:
    if not isinstance(extension, Extension):
        limit = {"max_size": max_size} if _takes_max_size(extension.decode) else {}
        return extension.decode(frame, **limit)
    if frame.opcode >= OP_CLOSE:
        return frame
    reserved_bits = frame.first & RESERVED_BITS
    if frame.opcode != OP_CONT:
        extension.begin_decoding(reserved_bits & extension.reserved_bits)
    data = extension.decode(frame.data, frame_end=True, final=frame.fin, max_length=PIECE)
    while extension.has_more and (max_size is None or len(data) <= max_size):
        data += extension.decode(b"", frame_end=True, final=frame.fin, max_length=PIECE)
    if max_size is not None and len(data) > max_size:
        raise PayloadTooBig(f"frame is longer than the limit of {max_size} bytes, after {extension.name}")
    return frame._with_bits(reserved_bits & ~extension.reserved_bits, data)


def _encode(extension: Any, frame: Any) -> Any:
    if not isinstance(extension, Extension):
        return extension.encode(frame)
    if frame.opcode >= OP_CLOSE:
        return frame
    first = frame.opcode != OP_CONT
    reserved_bits, data = extension.encode(frame.data, first=first, final=frame.fin)
    return frame._with_bits(frame.first & RESERVED_BITS | (reserved_bits if first else 0), data)


def _takes_max_size(decode: Callable[..., Any]) -> bool:
    parameters = inspect.signature(decode).parameters.values()
    return any(
        parameter.name == "max_size" or parameter.kind is parameter.VAR_KEYWORD for parameter in parameters
    )
