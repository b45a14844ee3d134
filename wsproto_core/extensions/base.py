"""The interface of extensions (RFC 6455 section 9).

An extension sees a message's payload piece by piece, as it arrives or as it is sent, so that a
transformation costs no more memory than it needs itself. :class:`FrameExtension` and
:class:`MessageExtension` are for those that want frames or messages whole. Extensions apply in the
order in which they were negotiated when sending, and in the reverse order when receiving
(section 9.1).

A factory negotiates, an extension transforms. One factory serves any number of connections; each
connection has extensions of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from ..types import Data, ExtensionName, ExtensionParameter

__all__ = [
    "RSV1",
    "ClientExtensionFactory",
    "CompressionExtension",
    "EncodingKey",
    "Extension",
    "FrameExtension",
    "MessageExtension",
    "ServerExtensionFactory",
]


RSV1 = 0x40
"""The reserved bit of RFC 7692, as it stands in a frame's first byte."""


class EncodingKey(ABC):
    """The way in which a message is encoded that refers to no message before it.

    Connections on which a message is encoded in the same way have one and the same key, and send the same
    frame: see :mod:`.prepared`.
    """

    __slots__ = ()

    @abstractmethod
    def encode(self, payload: bytes, compress: bool | None) -> tuple[int, bytes]:
        """Encode a whole message.

        Args:
            payload: the message.
            compress: whether it is to be compressed; ``None`` leaves it to the extension. Keys of
                extensions that do not compress ignore it.

        Returns:
            The reserved bits and the payload of its frame; the argument itself if it is not transformed.
        """


class Extension(ABC):
    """One negotiated extension of one connection.

    Attributes:
        name: the name under which it is negotiated.
        reserved_bits: the reserved bits of data frames that it uses, as they stand in a frame's
            first byte: 0x40 (RSV1), 0x20 (RSV2), 0x10 (RSV3).
        marks_messages: whether a message without its reserved bits is none of its business. Such
            messages take the fast path.
        has_more: whether :meth:`decode` can return more without being given more.
        idle_timeout: seconds without a message after which :meth:`release` is called; ``None`` for
            never.
    """

    __slots__ = ("has_more", "idle_timeout")

    name: ClassVar[ExtensionName]
    reserved_bits: ClassVar[int] = 0
    marks_messages: ClassVar[bool] = False

    def __init__(self) -> None:
        self.has_more = False
        self.idle_timeout: float | None = None

    @abstractmethod
    def begin_decoding(self, reserved_bits: int) -> None:
        """A message begins to arrive; ``reserved_bits`` are those of its first frame."""

    @abstractmethod
    def decode(self, data: bytes, *, frame_end: bool, final: bool, max_length: int) -> bytes:
        """Transform the next piece of the payload that arrives.

        Args:
            data: the piece, in any chunking; may be empty.
            frame_end: whether it is the last of its frame.
            final: whether it is the last of its message.
            max_length: bytes to return at most. If there are more, set ``has_more``: the method is
                called again, without data, when there is room. An extension whose output is no
                longer than its input may ignore this.

        Raises:
            InvalidPayload: the data is not what this extension produces (close code 1007).
            ProtocolError: the peer broke a rule of this extension (close code 1002).
        """

    @abstractmethod
    def encode(self, data: bytes, *, first: bool, final: bool) -> tuple[int, bytes]:
        """Transform the payload of the next data frame to send.

        Args:
            data: the frame's payload.
            first: whether it is the first of its message.
            final: whether it is the last of its message.

        Returns:
            The reserved bits for that frame (only those of a message's first frame count) and the payload.
        """

    def cancel_encoding(self) -> None:  # noqa: B027
        """Forget the payload of the last call of :meth:`encode`: it is not sent. It may be given again."""

    def encoding_key(self) -> EncodingKey | None:
        """Return the key of connections on which a message is encoded in the same way as here.

        Returns:
            The key, or ``None`` (the default) if frames cannot be shared with other connections. A frame
            that was encoded by the key is sent as if :meth:`encode` had made it, and
            :meth:`cancel_encoding` is called before the next call of :meth:`encode`: the peer has seen a
            message that this extension has not.
        """
        return None

    def release(self) -> None:  # noqa: B027
        """The connection is idle: give up the memory that is not needed to go on."""


class CompressionExtension(Extension):
    """An extension that compresses: it is told whether to, and counts bytes for the statistics.

    Attributes:
        compressed_bytes_received, decompressed_bytes_received: bytes of payload that were received,
            before and after they were decompressed: see :class:`~.statistics.Statistics`.
        compressed_bytes_sent, decompressed_bytes_sent: bytes of payload that were sent, after and before
            they were compressed.
    """

    __slots__ = (
        *("compressed_bytes_received", "compressed_bytes_sent"),
        *("decompressed_bytes_received", "decompressed_bytes_sent"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.compressed_bytes_received = 0
        self.decompressed_bytes_received = 0
        self.compressed_bytes_sent = 0
        self.decompressed_bytes_sent = 0

    @abstractmethod
    def encode(
        self, data: bytes, *, first: bool, final: bool, compress: bool | None = None
    ) -> tuple[int, bytes]:
        """Transform the payload of the next data frame to send: see :meth:`Extension.encode`.

        Args:
            compress: the argument of ``send``; ``None`` leaves it to the extension. The argument of a
                message's first frame holds for all of them.
        """

    def decode_whole(self, data: bytes, text: bool, max_length: int) -> tuple[Data, int] | None:
        """Decompress a message at once that has arrived in one frame with RSV1: nearly every one.

        Called if this is the only extension of a connection. It saves time to override this method.

        Args:
            data: the payload of the frame.
            text: whether the message is text.
            max_length: limit of the message in bytes.

        Returns:
            The message and the bytes of its payload; or ``None`` (the default), and nothing has changed: the
            message is long, too long or invalid, and :meth:`decode` is called for it, which decides.
        """
        return None


class _Collecting(Extension):
    """An extension that keeps what has arrived of a frame or of a message until it is complete."""

    def __init__(self) -> None:
        super().__init__()
        self._reserved_bits = 0
        self._received: list[bytes] = []

    def begin_decoding(self, reserved_bits: int) -> None:
        self._reserved_bits = reserved_bits


class FrameExtension(_Collecting):
    """An extension that sees each frame's payload as a whole, at the cost of the memory for it."""

    def decode(self, data: bytes, *, frame_end: bool, final: bool, max_length: int) -> bytes:
        self._received.append(data)
        if not frame_end:
            return b""
        payload = b"".join(self._received)
        self._received.clear()
        return self.decode_frame(payload, self._reserved_bits)

    @abstractmethod
    def decode_frame(self, payload: bytes, reserved_bits: int) -> bytes:
        """Transform the payload of a frame that has arrived.

        Args:
            payload: the frame's.
            reserved_bits: those of the message's first frame.
        """


class MessageExtension(_Collecting):
    """An extension that sees each message as a whole, at the cost of the memory for it."""

    def __init__(self) -> None:
        super().__init__()
        self._sent: list[bytes] = []
        self._encoded: list[bytes] | None = None

    def decode(self, data: bytes, *, frame_end: bool, final: bool, max_length: int) -> bytes:
        self._received.append(data)
        if not final:
            return b""
        message = b"".join(self._received)
        self._received.clear()
        return self.decode_message(message, self._reserved_bits)

    def encode(self, data: bytes, *, first: bool, final: bool) -> tuple[int, bytes]:
        if not final:
            # Everything is in the last fragment; the bits are needed in the first one.
            self._encoded = None
            self._sent.append(data)
            return self.reserved_bits, b""
        self._encoded, self._sent = self._sent, []
        return self.reserved_bits, self.encode_message(b"".join((*self._encoded, data)))

    def cancel_encoding(self) -> None:
        if self._encoded is None:
            self._sent.pop()
        else:
            self._sent = self._encoded

    def release(self) -> None:
        if self._encoded is not None:
            self._encoded = []

    @abstractmethod
    def decode_message(self, message: bytes, reserved_bits: int) -> bytes:
        """Transform a message that has arrived."""

    @abstractmethod
    def encode_message(self, message: bytes) -> bytes:
        """Transform a message that is to be sent; its reserved bits are those of the class."""


class ClientExtensionFactory(ABC):
    """Offers one extension to a server."""

    name: ClassVar[ExtensionName]

    @abstractmethod
    def get_request_params(self) -> list[ExtensionParameter]:
        """Return the parameters to offer, as (name, value or ``None``)."""

    @abstractmethod
    def process_response_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> Extension:
        """Make the extension from the parameters with which the server accepted the offer.

        Raises:
            NegotiationError: they are not acceptable.
        """


class ServerExtensionFactory(ABC):
    """Accepts one extension that a client offers."""

    name: ClassVar[ExtensionName]

    @abstractmethod
    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], Extension]:
        """Return the parameters for the response, and the extension.

        Raises:
            NegotiationError: this offer is declined.
        """
