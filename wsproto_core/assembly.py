"""The payload of the message under construction (RFC 6455 section 5.4).

Payload comes in pieces: a frame may arrive in many reads, and a message in many frames. Each piece is
unmasked, checked and appended once, when it arrives. Memory grows with the bytes that have arrived, whatever
length a header has announced.

Where the extension module was built, its class takes the place of the one here. It puts payload straight
into the object that becomes the message, and memory that is reserved is that of this object, so that large
payloads can be received without a copy.
"""

from __future__ import annotations

import io

from ._speedups import prefer_compiled
from .codec import apply_mask
from .types import BytesLike, Data
from .utf8 import Utf8Decoder

__all__ = ["PayloadBuffer"]

# Bytes that are reserved at least, if so many are wanted.
LEAST_RESERVED = 131072


@prefer_compiled
class PayloadBuffer:
    """The payload of a message under construction.

    Methods that add payload raise :exc:`UnicodeDecodeError` at the first byte that makes a text invalid
    (section 8.1). After that, the buffer is of no use.

    Attributes:
        size: bytes that have been added and can be taken: of a text, those of complete characters.
        dropped: whether the message will not be delivered: what is added is only checked.
    """

    __slots__ = ("_buffer", "_decoder", "_window", "dropped", "size")

    def __init__(self, text: bool, /) -> None:
        """
        Args:
            text: whether the message is text.
        """
        self.size = 0
        self.dropped = False
        self._decoder = Utf8Decoder() if text else None
        # The two kinds of buffer that grow in place: the memory of a message in a thousand pieces is that of
        # its bytes.
        self._buffer = io.StringIO(newline="") if text else io.BytesIO()

    def add(self, data: bytes, start: int, stop: int, key: BytesLike = b"", rest: int = 0, /) -> None:
        """Add the payload in ``data[start:stop]``.

        Args:
            key: the masking key, beginning with the byte for the first of these; ``b""`` if they are not
                masked.
            rest: the bytes that follow as the last ones of the message; 0 if that is not known. Memory that
                is taken for more than what has arrived does not go beyond them.
        """
        piece: Data = apply_mask(data[start:stop], key) if key else data[start:stop]
        size = len(piece)
        if self._decoder is not None:
            size += len(self._decoder.buffer)
            piece = self._decoder.decode(piece)  # type: ignore[arg-type]
            size -= len(self._decoder.buffer)
        if not self.dropped:
            self._buffer.write(piece)  # type: ignore[arg-type]
            self.size += size

    def take(self) -> Data | None:
        """Take what is there; a text is cut between two characters. ``None`` if nothing is there."""
        if not self.size:
            return None
        piece = self._buffer.getvalue()
        self._buffer.truncate(self._buffer.seek(0))
        self.size = 0
        return piece

    def finish(self) -> Data:
        """Return the message, or what has not been taken of it. After that, the buffer is of no use.

        Raises:
            UnicodeDecodeError: a text ends within a character.
        """
        if self._decoder is not None:
            self._decoder.decode(b"", True)
        return self._buffer.getvalue()

    def drop(self) -> None:
        """Drop what is there and what will be added."""
        self.take()
        self.dropped = True

    def reserve(self, size: int, /) -> memoryview:
        """Return memory into which payload can be written, for :meth:`commit`.

        Args:
            size: the bytes that are wanted, at least 1. If that is more than 128 KiB, the memory may have
                fewer, as many as have been added.
        """
        self._window = memoryview(bytearray(min(size, max(self.size, LEAST_RESERVED))))
        return self._window

    def commit(self, count: int, key: BytesLike = b"", /) -> None:
        """Add the first ``count`` bytes of the memory that was reserved last.

        It must not be written to after that, and nothing may have been added meanwhile.

        Args:
            key: see :meth:`add`.
        """
        self.add(bytes(self._window[:count]), 0, count, key)
