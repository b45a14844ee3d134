"""Messages that are encoded once and sent many times.

A server's frames are not masked, so that the same bytes serve all its clients. With permessage-deflate
that holds as well (RFC 7692 section 7.2.1): a message that was compressed on its own refers to nothing
before it, and so means the same to every receiver whose window is large enough, whatever is in it. It
goes into the window, though, and the sender's compressor does not know that. So that one has to start
anew before it compresses the next message, as a sender may at any time.

What can't be shared is encoded for the connection alone: a client's frames, of which each needs a
masking key of its own, and what other extensions make of a message.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from .exceptions import InvalidState
from .extensions.base import Extension
from .extensions.permessage_deflate import PerMessageDeflate
from .frames import FIN, Opcode, prepare_data, serialize_frame
from .types import BytesLike, Data

if TYPE_CHECKING:
    from .messages import MessageWriter

__all__ = ["Message", "PreparedMessage", "SharedFrame", "Sharing", "prepare", "sharing"]


class Sharing:
    """What decides how a message is encoded; connections that have the same one share frames."""

    __slots__ = ("_bits", "_settings", "_threshold")

    def __init__(self, bits: int, threshold: int, settings: tuple[tuple[str, Any], ...]) -> None:
        """
        Args:
            bits: window of the compression; 0 for none.
            threshold: bytes below which a message is not compressed, unless that is asked for.
            settings: those of the compressor.
        """
        self._bits = bits
        self._threshold = threshold
        self._settings = settings

    def encode(self, payload: bytes, compress: bool | None) -> tuple[int, bytes]:
        """Return the reserved bits and the payload of a frame, compressed or not."""
        if not self._bits:
            return 0, payload
        extension = PerMessageDeflate(
            remote_no_context_takeover=True,
            local_no_context_takeover=True,
            local_max_window_bits=self._bits,
            compress_settings=dict(self._settings),
            threshold=self._threshold,
        )
        return extension.encode(payload, first=True, final=True, compress=compress)


UNCOMPRESSED = Sharing(0, 0, ())

# One object for each set of parameters, so that two connections' can be compared at once. There are as
# many as an application's factories and its clients' choices of a window make.
_compressed = functools.cache(Sharing)


def sharing(extensions: Sequence[Extension]) -> Sharing | None:
    """Return what decides how messages are encoded with these extensions, ``None`` if that is more."""
    if not extensions:
        return UNCOMPRESSED
    extension = extensions[0]
    if len(extensions) > 1 or type(extension) is not PerMessageDeflate:
        return None
    settings = tuple(sorted(extension.compress_settings.items()))
    return _compressed(extension.used_window_bits, extension.threshold, settings)


class SharedFrame(NamedTuple):
    """A frame for many connections.

    Attributes:
        sharing: which ones.
        buffers: the frame, in one or two buffers, which must not be altered.
        size: its size in bytes.
        compressed: whether the compressors of those connections have to start anew after it.
    """

    sharing: Sharing
    buffers: list[bytes]
    size: int
    compressed: bool


NOBODYS = SharedFrame(Sharing(0, 0, ()), [], 0, False)
"""A frame of no connection."""


class PreparedMessage:
    """A message that is encoded once for many sends.

    It takes the memory of the message, and of one frame for each :class:`Sharing` that its connections
    have: one or two, unless clients ask for other windows. A connection's own messages compress a little
    worse after it, as they cannot refer to what came before.

    Attributes:
        message: the message.
        text: whether it is sent as text.
        compress: whether it is to be compressed; ``None`` leaves it to the extension.
        frame: the latest of its frames, since most connections take the same one as those before.
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
        self._frames: dict[Sharing, SharedFrame] = {}
        self.frame = NOBODYS

    def __repr__(self) -> str:
        kind = "text" if self.text else "binary"
        unit = "characters" if isinstance(self.message, str) else "bytes"
        return f"<{type(self).__name__} {kind}, {len(self.message)} {unit}>"

    def frame_for(self, sharing: Sharing) -> SharedFrame:
        """Return the frame for all connections with this sharing."""
        frame = self._frames.get(sharing)
        if frame is None:
            payload = self.message.encode() if isinstance(self.message, str) else self.message
            reserved_bits, payload = sharing.encode(payload, self.compress)
            opcode = Opcode.TEXT if self.text else Opcode.BINARY
            buffers = serialize_frame(FIN | reserved_bits | opcode, payload)
            frame = SharedFrame(sharing, buffers, sum(map(len, buffers)), bool(reserved_bits))
            self._frames[sharing] = frame
        self.frame = frame
        return frame

    def write(
        self, writer: MessageWriter, *, text: bool | None, fin: bool, compress: bool | None
    ) -> list[bytes]:
        """Return the frame that a connection sends, be it shared or its own.

        Raises:
            InvalidState: a fragmented message is being sent.
            TypeError: there are arguments, as for other messages.
        """
        if text is not None or compress is not None:
            raise TypeError("a prepared message is sent as it was prepared: give text and compress there")
        if not fin:
            raise TypeError("a prepared message is sent whole, not as a fragment")
        if writer.building:
            raise InvalidState("a prepared message cannot be sent among the fragments of another one")
        if writer.sharing is None:
            return writer.message(self.message, text=self.text, fin=True, compress=self.compress)
        frame = self.frame_for(writer.sharing)
        writer.frames += 1
        writer.outdated = writer.outdated or frame.compressed
        return frame.buffers


Message: TypeAlias = Data | BytesLike | PreparedMessage
"""What is sent as one message."""


def prepare(
    message: Data | BytesLike, *, text: bool | None = None, compress: bool | None = None
) -> PreparedMessage:
    """Encode a message once, to send it many times: ``send`` and ``broadcast`` take what this returns.

    Arguments and errors: see :class:`PreparedMessage`.
    """
    return PreparedMessage(message, text=text, compress=compress)
