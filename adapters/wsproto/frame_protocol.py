"""Frames and parts of frames, in the order in which they arrive (RFC 6455 section 5).

The core's :class:`~wsproto_core.messages.MessageReader` makes messages of bytes. Here, it is given the bytes
of one frame at most, and what there is of the message is taken after that: so each part is told as it
arrives. A compressed message is inflated in parts, the next one when the one before has been taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wsproto_core.closing import parse_close_frame, serialize_close, shorten_reason
from wsproto_core.exceptions import ProtocolError
from wsproto_core.frames import FIN, MAX_HEADER, control_payload, parse_length
from wsproto_core.messages import MessageReader, MessageWriter
from wsproto_core.randomness import random_bytes
from wsproto_core.types import BytesLike, Data

from .extensions import Extension
from .frames import LOCAL_ONLY_CLOSE_REASONS, CloseReason, Frame, Opcode, ParseFailed, RsvBits
from .hooks import check_header, codecs_for
from .utilities import LocalProtocolError

__all__ = [
    "LOCAL_ONLY_CLOSE_REASONS",
    "CloseReason",
    "Frame",
    "FrameProtocol",
    "Opcode",
    "ParseFailed",
    "RsvBits",
]

ENOUGH = 2**16
"""Bytes of a compressed message after which it is not inflated further until they have been taken."""


class FrameProtocol:
    """One end of a connection, as frames.

    Attributes:
        client: whether it is the client's end.
        extensions: those that were negotiated.
    """

    def __init__(self, client: bool, extensions: Sequence[Extension]) -> None:
        """
        Args:
            client: whether it is the client's end.
            extensions: those that are not enabled are left out.
        """
        self.client = client
        self.extensions = [extension for extension in extensions if extension.enabled()]
        codecs = codecs_for(self.extensions, self)
        self._reader = MessageReader(masked=not client, receiver=self, extensions=codecs)
        self._writer = MessageWriter(random=random_bytes if client else None, extensions=codecs)
        self._received: list[bytes] = []
        self._data = b""
        self._position = 0  # bytes of it that have been given to the reader
        self._head = b""  # an incomplete header, which the reader has as well
        self._rest = 0  # bytes of a frame that the reader has not been given
        self._control: Frame | None = None

    # Receiving

    def receive_bytes(self, data: bytes) -> None:
        """Take bytes from the peer.

        Args:
            data: the bytes.
        """
        self._received.append(data)

    def received_frames(self) -> Iterator[Frame]:
        """Return an iterator over the frames, and parts of frames, that have been received.

        Each of them is parsed when it is asked for. Nothing follows a close frame.

        Raises:
            ParseFailed: the peer broke a rule.
        """
        while not (self._reader.closed and self._control is None):
            try:
                if not self._advance():
                    return
            except ProtocolError as error:
                self._drop()
                raise ParseFailed(str(error), error.code) from error
            except ParseFailed:
                self._drop()
                raise
            yield from self._take()

    def _advance(self) -> bool:
        """Let the reader go on; return whether there was something to do."""
        if self._reader.suspended:
            self._reader.resume(b"")
            return True
        if self._position == len(self._data):
            self._data = b"".join(self._received)
            self._received.clear()
            self._position = 0
            if not self._data:
                return False
        stop = len(self._data)
        if self._rest or self._begin_frame():
            stop = min(stop, self._position + self._rest)
            self._rest -= stop - self._position
        piece = self._data[self._position : stop]
        self._position = stop
        self._reader.receive(piece)
        return True

    def _begin_frame(self) -> bool:
        """Find the end of the next frame; return whether its header tells."""
        head = self._head + self._data[self._position : self._position + MAX_HEADER]
        found = parse_length(head)
        if found is None:
            self._head = head
            return False
        length, size = found
        check_header(self.extensions, self, head[0], length)
        self._rest = size + (0 if self.client else 4) + length - len(self._head)
        self._head = b""
        return True

    def _take(self) -> Iterator[Frame]:
        """Take what the reader has found."""
        reader = self._reader
        if self._control is not None:
            control, self._control = self._control, None
            yield control
        elif reader.messages:
            message, _ = reader.messages.popleft()
            yield Frame(Opcode.TEXT if isinstance(message, str) else Opcode.BINARY, message, True, True)
        elif reader.building:
            opcode = Opcode(reader.building)
            piece = reader.take_piece()
            finished = not (self._rest or self._head or reader.suspended)
            if piece is not None or finished:
                yield Frame(opcode, piece or ("" if opcode is Opcode.TEXT else b""), finished, False)

    def _drop(self) -> None:
        """Drop what was received behind an error, and what will be."""
        self._reader.drop_all_but_messages()
        self._received.clear()
        self._data = b""

    def receive_control(self, opcode: int, payload: bytes) -> None:
        """Take a control frame; the reader calls this.

        Args:
            opcode: its opcode.
            payload: its payload.
        """
        content: bytes | tuple[int, str] = payload
        if opcode == Opcode.CLOSE:
            close = parse_close_frame(payload)
            known = close.code in CloseReason.__members__.values()
            content = CloseReason(close.code) if known else close.code, close.reason
        self._control = Frame(Opcode(opcode), content, True, True)

    def is_full(self) -> bool:
        """Whether there is enough to be taken before more is inflated; the reader calls this."""
        return self._reader.buffered >= ENOUGH

    # Sending

    @property
    def outbound_opcode(self) -> Opcode:
        """The opcode of the message that is being sent."""
        return Opcode.TEXT if self._writer.text else Opcode.BINARY

    def send_data(self, payload: Data | BytesLike = b"", fin: bool = True) -> bytes:
        """Return the frame for a message, or for the next fragment of one.

        Args:
            payload: ``str`` is sent as text, bytes-like as binary.
            fin: whether it is the end of the message.

        Raises:
            TypeError: the payload is neither, or a fragment is not of the type of those before.
        """
        return b"".join(self._writer.message(payload, text=None, fin=fin, compress=None))

    def ping(self, payload: bytes = b"") -> bytes:
        """Return a ping.

        Args:
            payload: at most 125 bytes.

        Raises:
            ValueError: it is longer.
        """
        return self._control_frame(Opcode.PING, control_payload("ping", payload))

    def pong(self, payload: bytes = b"") -> bytes:
        """Return a pong.

        Args:
            payload: at most 125 bytes.

        Raises:
            ValueError: it is longer.
        """
        return self._control_frame(Opcode.PONG, control_payload("pong", payload))

    def close(self, code: int | None = None, reason: str | None = None) -> bytes:
        """Return a close frame.

        Args:
            code: the close code; 1006 and 1015, which no frame may have, become 1000; ``None`` and 1005
                are no code.
            reason: the reason; it is cut to 123 bytes.

        Raises:
            TypeError: there is a reason without a code.
            LocalProtocolError: a close frame may not have this code (RFC 6455 section 7.4).
        """
        if code is None:
            code = CloseReason.NO_STATUS_RCVD
        elif code in LOCAL_ONLY_CLOSE_REASONS and code != CloseReason.NO_STATUS_RCVD:
            code = CloseReason.NORMAL_CLOSURE
        if reason and code == CloseReason.NO_STATUS_RCVD:
            raise TypeError("cannot specify a reason without a code")
        try:
            payload = serialize_close(code, shorten_reason(reason or ""))
        except ValueError as error:
            raise LocalProtocolError(str(error)) from error
        return self._control_frame(Opcode.CLOSE, payload)

    def _control_frame(self, opcode: Opcode, payload: bytes) -> bytes:
        return b"".join(self._writer.frame(FIN | opcode, payload))
