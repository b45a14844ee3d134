"""One WebSocket frame at a time, read and written (RFC 6455 section 5)."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

from adapters.asyncio.streams import read_frame
from wsproto_core import frames
from wsproto_core.codec import encode_frame
from wsproto_core.exceptions import PayloadTooBig
from wsproto_core.extensions.base import Extension
from wsproto_core.frames import (
    RESERVED_BITS,
    RSV1,
    RSV2,
    RSV3,
    Opcode,
    encode_data,
    parse_close,
    prepare_data,
    serialize_close,
)
from wsproto_core.randomness import random_bytes

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
    "prepare_data",
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


class Frame(frames.Frame):
    """One WebSocket frame.

    The extensions that are given to :meth:`read` and :meth:`write` are those of
    :mod:`.extensions.base`, or objects with ``decode(frame)`` and ``encode(frame)`` that return a new
    frame; ``decode`` may take ``max_size`` as a keyword.

    Args:
        fin: the FIN bit.
        opcode: ``OP_TEXT``, ...
        data: the payload.
        rsv1, rsv2, rsv3: the reserved bits.
    """

    __slots__ = ()

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
