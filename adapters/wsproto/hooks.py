"""The extensions of this package as those of the core.

The core knows pieces of messages, and the hooks of an :class:`.Extension` know frames: headers are given to
them by :func:`check_header`, before the core sees them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from wsproto_core.extensions.base import Extension as CoreExtension
from wsproto_core.frames import RESERVED_BITS, RSV1, RSV2, RSV3

from .extensions import Extension, PerMessageDeflate
from .frames import CloseReason, Endpoint, Opcode, ParseFailed, RsvBits

__all__ = ["check_header", "codecs_for"]

T = TypeVar("T", bytes, RsvBits)

_BITS = (RSV1, RSV2, RSV3)


def codecs_for(extensions: Iterable[Extension], proto: Endpoint) -> list[CoreExtension]:
    """Return the core's extensions for those of a connection."""
    return [
        extension.codec(proto.client)
        if isinstance(extension, PerMessageDeflate)
        else _Hooks(extension, proto)
        for extension in extensions
    ]


def check_header(extensions: Sequence[Extension], proto: Endpoint, first: int, length: int) -> None:
    """Give the header of a frame to extensions with hooks.

    Args:
        extensions: all of the connection.
        proto: the connection's end.
        first: the first byte of the frame.
        length: bytes in its payload.

    Raises:
        ParseFailed: an extension refuses the frame, or a reserved bit is set that none uses.
    """
    opcode = first & 0x0F
    if opcode not in (Opcode.CONTINUATION, Opcode.TEXT, Opcode.BINARY):
        return
    bits = RsvBits(*(bool(first & bit) for bit in _BITS))
    used = 0
    for extension in extensions:
        if isinstance(extension, PerMessageDeflate):
            used |= RSV1
        else:
            answer = extension.frame_inbound_header(proto, Opcode(opcode), bits, length)
            used |= _to_bits(_or_fail(answer))
    if first & RESERVED_BITS & ~used:
        raise ParseFailed("Reserved bit set unexpectedly")


class _Hooks(CoreExtension):
    """An extension of the core that calls the hooks of one of this package."""

    reserved_bits = RESERVED_BITS

    def __init__(self, extension: Extension, proto: Endpoint) -> None:
        super().__init__()
        self._extension = extension
        self._proto = proto

    def begin_decoding(self, reserved_bits: int) -> None:
        pass  # the hook for the header has been called

    def decode(self, data: bytes, *, frame_end: bool, final: bool, max_length: int) -> bytes:
        output = _or_fail(self._extension.frame_inbound_payload_data(self._proto, data))
        if frame_end:
            output += _or_fail(self._extension.frame_inbound_complete(self._proto, final) or b"")
        return output

    def encode(self, data: bytes, *, first: bool, final: bool) -> tuple[int, bytes]:
        opcode = self._proto.outbound_opcode if first else Opcode.CONTINUATION
        bits = RsvBits(False, False, False)
        bits, data = self._extension.frame_outbound(self._proto, opcode, bits, data, final)
        return _to_bits(bits), data


def _to_bits(bits: RsvBits) -> int:
    return sum(bit for bit, is_set in zip(_BITS, bits, strict=True) if is_set)


def _or_fail(answer: T | CloseReason) -> T:
    if isinstance(answer, CloseReason):
        raise ParseFailed("error in extension", answer)
    return answer
