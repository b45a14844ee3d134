"""Messages that are encoded once and sent many times.

A server's frames are not masked, so the same bytes serve all its clients. That holds for an extension as
well if it can encode a message on its own, without the messages before it: permessage-deflate can (RFC 7692
section 7.2.1). The receiver's context (the window of an inflater) gets the message, though, and the context
of the sender's compressor does not: it is stale, and the compressor has to start anew before it compresses
the next message, as a sender may at any time.

Connections that encode a message in the same way have one :class:`~.extensions.base.EncodingKey`. Frames
that cannot be shared are encoded for the connection alone: a client's frames, each of which needs a masking
key of its own, and those of extensions that have no key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from .codec import encode_frame
from .extensions.base import EncodingKey, Extension
from .frames import FIN, Opcode, prepare_data
from .types import BytesLike, Data

__all__ = ["Message", "PreparedMessage", "SharedFrame", "encoding_key", "prepare"]


class _Plain(EncodingKey):
    """No extension transforms the message."""

    __slots__ = ()

    def encode(self, payload: bytes, compress: bool | None) -> tuple[int, bytes]:
        return 0, payload


PLAIN = _Plain()


def encoding_key(extensions: Sequence[Extension]) -> EncodingKey | None:
    """Return the key for these extensions; ``None`` if their frames cannot be shared."""
    if not extensions:
        return PLAIN
    return extensions[0].encoding_key() if len(extensions) == 1 else None


class SharedFrame(NamedTuple):
    """A frame for many connections.

    Attributes:
        key: the key of these connections.
        buffers: the frame, in one or two buffers, which must not be altered.
        size: its size in bytes.
        transformed: whether the extension has transformed it: after it, the context of the extensions of
            those connections is stale.
    """

    key: EncodingKey
    buffers: list[bytes]
    size: int
    transformed: bool


# A frame of no connection.
_NO_FRAME = SharedFrame(_Plain(), [], 0, False)


class PreparedMessage:
    """A message that is encoded once for many sends.

    It takes the memory of the message, and of one frame for each encoding key of its connections: one or
    two, unless clients ask for other windows. The next message of a connection compresses a little worse
    after it, as it cannot refer to the messages before.

    Attributes:
        message: the message.
        text: whether it is sent as text.
        compress: whether it is to be compressed; ``None`` leaves it to the extension.
        frame: the latest of its frames: most connections take the same one as the connection before.
    """

    __slots__ = ("_frames", "compress", "frame", "message", "text")

    def __init__(
        self, message: Data | BytesLike, *, text: bool | None = None, compress: bool | None = None
    ) -> None:
        """
        Args:
            message: ``str`` is sent as text, bytes-like as binary.
            text: ``True`` or ``False`` forces text or binary.
            compress: ``True`` or ``False`` compresses it or does not, where compression was negotiated;
                ``None`` leaves it to the extension.

        Raises:
            TypeError: the message is neither ``str`` nor bytes-like.
            UnicodeDecodeError: bytes that are to be sent as text are not UTF-8.
        """
        opcode, payload = prepare_data(message)
        # The caller may alter a buffer of its own before this is sent.
        self.message: Data = message if isinstance(message, str) else bytes(payload)
        self.text = opcode == Opcode.TEXT if text is None else text
        self.compress = compress
        if self.text and isinstance(self.message, bytes):
            self.message.decode()
        self._frames: dict[EncodingKey, SharedFrame] = {}
        self.frame = _NO_FRAME

    def __repr__(self) -> str:
        kind = "text" if self.text else "binary"
        unit = "characters" if isinstance(self.message, str) else "bytes"
        return f"<{type(self).__name__} {kind}, {len(self.message)} {unit}>"

    def frame_for(self, key: EncodingKey) -> SharedFrame:
        """Return the frame for all connections with this key."""
        frame = self._frames.get(key)
        if frame is None:
            payload = self.message.encode() if isinstance(self.message, str) else self.message
            reserved_bits, encoded = key.encode(payload, self.compress)
            opcode = Opcode.TEXT if self.text else Opcode.BINARY
            buffers = encode_frame(FIN | reserved_bits | opcode, encoded)
            frame = SharedFrame(key, buffers, sum(map(len, buffers)), encoded is not payload)
            self._frames[key] = frame
        self.frame = frame
        return frame


Message: TypeAlias = Data | BytesLike | PreparedMessage
"""The types of a message that can be sent."""


def prepare(
    message: Data | BytesLike, *, text: bool | None = None, compress: bool | None = None
) -> PreparedMessage:
    """Encode a message once, to send it many times: ``send`` and ``broadcast`` take what this returns.

    Arguments and errors: see :class:`PreparedMessage`.
    """
    return PreparedMessage(message, text=text, compress=compress)
