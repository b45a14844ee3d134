"""Messages (RFC 6455 sections 5.4 to 5.6 and 6): frames into messages, and messages into frames.

:class:`MessageReader` takes bytes in any chunking. A frame that is complete, unfragmented and
untouched by an extension, which is nearly every one, is turned into its message by a few lines at
the head of :meth:`MessageReader.receive`. Everything else (frames that arrive in pieces, fragments,
extensions, control frames) goes through the methods below, which see each payload byte once, when
it arrives: it is unmasked, transformed, checked and added to the message under construction. So a
text message fails at its first bad byte, time is linear for any chunking, and nothing is allocated
because a header announced it.

Both ways obey the same rules, and a property test holds them equal.

Control frames may come between the fragments of a message (section 5.5). They share nothing with
the message under construction and are handed over as they come.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from .decoding import Utf8Decoder
from .exceptions import InvalidPayload, PayloadTooBig, ProtocolError
from .extensions.base import Extension
from .frames import (
    FIN,
    MASKED,
    MAX_FRAME_HEADER,
    RESERVED_BITS,
    Opcode,
    apply_mask,
    check_first_bytes,
    parse_frame_header,
    prepare_data,
    serialize_frame,
)
from .prepared import Message, PreparedMessage, sharing
from .types import BytesLike, Data

__all__ = ["MessageReader", "MessageWriter"]

MESSAGE_OVERHEAD = 64
"""Bytes that a message counts for beyond its own, while it waits to be taken."""

BYTES_PER_FRAGMENT = 64
"""Bytes of payload for each of which a message may have one fragment more than ``max_fragments``."""

DECODED_AT_ONCE = 2**16
"""Bytes that an extension is asked for at once."""

FINAL_TEXT = FIN | Opcode.TEXT
FINAL_BINARY = FIN | Opcode.BINARY


class MessageReader:
    """Turns the bytes that a peer sends into messages and control frames.

    Attributes:
        messages: complete messages, in order.
        pending: their size: their bytes, and ``overhead`` more for each.
        frames: number of frames received.
        building: opcode of the message under construction, 0 when there is none.
        bounded: whether there is a limit on messages.
        buffered: bytes that have arrived of the message under construction and are still here.
        closed: whether a close frame has been received, or what was received is wrong; bytes after that
            are dropped.
        is_full: whether there is no room for more. Only extensions heed it, whose output may be a
            thousand times longer than their input.
        suspended: whether they have stopped; what is received meanwhile is kept for later.
    """

    __slots__ = (
        "_backlog",
        "_backlog_position",
        "_buffer",
        "_control",
        "_control_payload",
        "_decoder",
        "_decoding",
        "_every_message",
        "_extensions",
        "_fin",
        "_fragments",
        "_has_pieces",
        "_head",
        "_key",
        "_lost",
        "_masked",
        "_max_fragment_size",
        "_max_fragments",
        "_max_frame",
        "_max_size",
        "_opcode",
        "_remaining",
        "_reserved_bits",
        "_sizes",
        "_sizes_after",
        "_wire_size",
        "bounded",
        "buffered",
        "building",
        "closed",
        "frames",
        "is_full",
        "messages",
        "pending",
        "suspended",
    )

    def __init__(
        self,
        *,
        masked: bool,
        control: Callable[[int, bytes], None],
        max_size: int | None = None,
        max_fragment_size: int | None = None,
        max_fragments: int | None = None,
        extensions: Sequence[Extension] = (),
    ) -> None:
        """
        Args:
            masked: whether frames must be masked, i.e. whether a client sends them.
            control: called with the opcode and the payload of each control frame, in order.
            max_size: bytes in a message, on the wire and after extensions.
            max_fragment_size: bytes in one frame's payload.
            max_fragments: fragments in one message, beside one more for each 64 bytes of its payload.
            extensions: in the order in which they were negotiated.
        """
        self.messages: deque[Data] = deque()
        self.pending = 0
        self.frames = 0
        self.closed = False
        self.bounded = max_size is not None
        self._sizes: deque[int] = deque()
        self._masked = masked
        self._control = control
        self._max_size = max_size
        self._max_fragment_size = max_fragment_size
        self._max_fragments = max_fragments
        # one limit for a frame that is a whole message, for the fast path
        limits = [limit for limit in (max_size, max_fragment_size) if limit is not None]
        self._max_frame = min(limits, default=1 << 63)
        self._extensions = tuple(reversed(extensions))
        # whether even messages without reserved bits are the extensions' business
        self._every_message = not all(extension.marks_messages for extension in extensions)
        self._reserved_bits = 0
        for extension in extensions:
            self._reserved_bits |= extension.reserved_bits
        # the frame that is being received
        self._head = b""  # an incomplete header
        self._remaining = 0  # bytes of payload still to come
        self._opcode = 0
        self._fin = False
        self._key = b""
        self._control_payload = b""
        # the message that is being received
        self.building = 0  # its opcode, 0 for none
        self.buffered = 0  # its bytes in the buffer
        self._lost = False  # whether it will not be delivered
        self._decoder = Utf8Decoder()
        self._buffer: io.StringIO | io.BytesIO = io.BytesIO()
        self._has_pieces = False
        self._decoding: Iterator[tuple[bytes, bool]] | None = None  # what extensions have not returned yet
        # What was received since they stopped, and how much of the first piece has been parsed before.
        self._backlog: deque[bytes] = deque()
        self._backlog_position = 0
        self.is_full: Callable[[], bool] = bool
        self.suspended = False
        self._wire_size = 0
        self._sizes_after = [0] * len(self._extensions)
        self._fragments = 0

    def receive(self, data: bytes, position: int = 0) -> None:
        """Parse ``data`` from ``position`` on; messages and control frames that precede an error are kept.

        Not to be called while ``suspended``: see :meth:`resume`.

        Raises:
            ProtocolError: the peer broke a rule.
            PayloadTooBig: a limit is exceeded; decided at the frame's header where that tells.
        """
        if self._head:
            data = self._head + data
            self._head = b""
        elif self._remaining:
            position = self._receive_payload(data, position)
        end = len(data)
        masked = self._masked
        max_frame = self._max_frame
        not_here = end + 1
        while position < end and not (self.closed or self.suspended):
            first = data[position]
            # The fast path: a whole unfragmented message without reserved bits.
            if (
                (first == FINAL_TEXT or first == FINAL_BINARY)
                and not self.building
                and not self._every_message
                and end - position >= 4
                and (data[position + 1] & MASKED != 0) is masked
            ):
                length = data[position + 1] & 0x7F
                start = position + 2
                if length == 126:
                    length = data[position + 2] << 8 | data[position + 3]
                    start = position + 4 if length >= 126 else not_here
                elif length == 127:
                    start = not_here
                if masked:
                    start += 4
                stop = start + length
                if stop <= end and length <= max_frame:
                    payload: bytes | str = data[start:stop]
                    if masked:
                        payload = apply_mask(data[start:stop], data[start - 4 : start])
                    if first == FINAL_TEXT:
                        try:
                            payload = str(payload, "utf-8")  # type: ignore[arg-type]
                        except UnicodeDecodeError as error:
                            raise _not_utf8() from error
                    self.messages.append(payload)
                    length += MESSAGE_OVERHEAD
                    self._sizes.append(length)
                    self.pending += length
                    self.frames += 1
                    position = stop
                    continue
            position = self._receive_frame(data, position)
        if self.suspended and position < end:
            # It is not copied, so that to stop and go on many times within a long input costs nothing.
            self._backlog.appendleft(data)
            self._backlog_position = position

    def resume(self, data: bytes) -> None:
        """Go on after extensions have stopped, if there is room, and parse what was kept and ``data``.

        Raises:
            ProtocolError, PayloadTooBig: see :meth:`receive`.
        """
        if data:
            self._backlog.append(data)
        if self.is_full():
            return
        self.suspended = False
        if self._decoding is not None:
            self._decode()
        while self._backlog and not self.suspended:
            position, self._backlog_position = self._backlog_position, 0
            self.receive(self._backlog.popleft(), position)

    def _receive_frame(self, data: bytes, position: int) -> int:
        """Begin with a frame, as far as it is there; return the position after what was used."""
        end = len(data)
        if end - position >= 2:
            self._check_first_bytes(data[position], data[position + 1])
        # Of a large input, only what may be the header is looked at.
        header = parse_frame_header(data, position)
        if header is None:
            self._check_length_so_far(data, position)
            self._head = data[position:]
            return end
        first, length, key, size = header
        self._opcode = opcode = first & 0x0F
        self._fin = first & FIN != 0
        self._key = key
        self._remaining = length
        if opcode < Opcode.CLOSE:
            self._check_size(length)
            self._begin_data_frame(first, opcode)
        position += size
        if position < end or not length:
            return self._receive_payload(data, position)
        return end

    def _check_first_bytes(self, first: int, second: int) -> None:
        check_first_bytes(first, second, masked=self._masked, reserved_bits=self._reserved_bits)
        opcode = first & 0x0F
        if opcode == Opcode.CONTINUATION:
            if not self.building:
                raise ProtocolError("continuation frame without a message to continue")
            if first & RESERVED_BITS:
                # RFC 7692 section 6.1: RSV1 is set on a message's first fragment only
                raise ProtocolError("reserved bit set in a continuation frame")
        elif opcode < Opcode.CLOSE and self.building:
            raise ProtocolError("new message before the end of a fragmented one")

    def _check_length_so_far(self, data: bytes, position: int) -> None:
        """Judge the length of a data frame whose masking key is still missing."""
        available = len(data) - position
        if available < 2 or data[position] & 0x0F >= Opcode.CLOSE:
            return
        header = parse_frame_header(
            bytes((data[position], data[position + 1] & ~MASKED))
            + data[position + 2 : position + MAX_FRAME_HEADER]
        )
        if header is not None:
            self._check_size(header.length)

    def _check_size(self, length: int) -> None:
        if self._max_fragment_size is not None and length > self._max_fragment_size:
            raise PayloadTooBig(
                f"frame of {length} bytes exceeds the limit of {self._max_fragment_size} bytes"
            )
        size = self._wire_size + length
        if self._max_size is not None and size > self._max_size:
            raise PayloadTooBig(f"message of {size} bytes exceeds the limit of {self._max_size} bytes")

    def _begin_data_frame(self, first: int, opcode: int) -> None:
        self._fragments += 1
        if self._max_fragments is not None:
            # A large message may have many fragments, but not many tiny ones.
            limit = self._max_fragments + self._wire_size // BYTES_PER_FRAGMENT
            if self._fragments > limit:
                raise PayloadTooBig(f"message of {self._wire_size} bytes in more than {limit} fragments")
        self._wire_size += self._remaining
        if opcode:
            self.building = opcode
            for extension in self._extensions:
                extension.begin_decoding(first & RESERVED_BITS & extension.reserved_bits)

    def _receive_payload(self, data: bytes, position: int) -> int:
        """Use the bytes of the current frame's payload that are there."""
        chunk = data[position : position + self._remaining]
        used = len(chunk)
        self._remaining -= used
        if self._key and used:
            chunk = apply_mask(chunk, self._key)
            turn = used % 4
            self._key = self._key[turn:] + self._key[:turn]
        complete = not self._remaining
        self.frames += complete
        if self._opcode < Opcode.CLOSE:
            self._receive_data(chunk, complete)
        else:
            self._control_payload += chunk
            if complete:
                payload = self._control_payload
                self._control_payload = b""
                self.closed = self._opcode == Opcode.CLOSE
                self._control(self._opcode, payload)
        return position + used

    def _receive_data(self, chunk: bytes, complete: bool) -> None:
        """Pass a piece of payload to the message under construction."""
        final = complete and self._fin
        if not self._extensions:
            self._add_payload(chunk, final)
        else:
            self._decoding = self._apply_extensions(0, chunk, complete, final)
            self._decode()

    def _apply_extensions(
        self, index: int, data: bytes, frame_end: bool, final: bool
    ) -> Iterator[tuple[bytes, bool]]:
        """Yield what the extensions from ``index`` on make of ``data``, and whether it is the last."""
        if index == len(self._extensions):
            yield data, final
            return
        extension = self._extensions[index]
        more = True
        while more:
            room = DECODED_AT_ONCE
            if self._max_size is not None:
                # One byte more than allowed is enough to know.
                room = min(room, self._max_size - self._sizes_after[index] + 1)
            output = extension.decode(data, frame_end=frame_end, final=final, max_length=room)
            self._sizes_after[index] += len(output)
            if self._max_size is not None and self._sizes_after[index] > self._max_size:
                raise PayloadTooBig(f"message exceeds the limit of {self._max_size} bytes")
            more = extension.has_more
            data = b""
            yield from self._apply_extensions(index + 1, output, frame_end and not more, final and not more)

    def _decode(self) -> None:
        """Take what extensions return, until they have no more or there is no more room."""
        assert self._decoding is not None
        for payload, final in self._decoding:
            self._add_payload(payload, final)
            if self.is_full():
                self.suspended = True
                if final:
                    self._decoding = None
                return
        self._decoding = None

    def _add_payload(self, payload: bytes, final: bool) -> None:
        """Add a piece of payload to the message under construction."""
        piece: Data = payload
        if self.building == Opcode.TEXT:
            try:
                piece = self._decoder.decode(payload, final)
            except UnicodeDecodeError as error:
                raise _not_utf8() from error
        if final:
            self._end_message(piece, len(payload))
        elif piece and not self._lost:
            self._add(piece)
            self.buffered += len(payload)

    def _add(self, piece: Data) -> None:
        if not self._has_pieces:
            # One of the two kinds of buffer that grow in place: the memory of a message in a
            # thousand pieces is that of its bytes.
            self._buffer = io.StringIO(newline="") if isinstance(piece, str) else io.BytesIO()
            self._has_pieces = True
        self._buffer.write(piece)  # type: ignore[arg-type]

    def _end_message(self, piece: Data, size: int) -> None:
        if self._has_pieces:
            self._add(piece)
            piece = self._buffer.getvalue()
        if not self._lost:
            size += self.buffered + MESSAGE_OVERHEAD
            self.messages.append(piece)
            self._sizes.append(size)
            self.pending += size
        self._forget_message()

    def _forget_message(self) -> None:
        self._buffer = io.BytesIO()
        self._has_pieces = False
        self._lost = False
        self.building = 0
        self.buffered = 0
        self._wire_size = 0
        self._sizes_after = [0] * len(self._extensions)
        self._fragments = 0

    def take_message(self) -> Data:
        """Take the oldest message; there must be one."""
        self.pending -= self._sizes.popleft()
        return self.messages.popleft()

    def take_piece(self) -> Data | None:
        """Take what has arrived of the message under construction; ``None`` if that is nothing."""
        if not self._has_pieces:
            return None
        piece = self._buffer.getvalue()
        self._buffer = io.BytesIO()
        self._has_pieces = False
        self.buffered = 0
        return piece

    def drop_last(self) -> None:
        """Forget the latest message; there must be one."""
        self.pending -= self._sizes.pop()
        self.messages.pop()

    def drop_building(self) -> None:
        """Forget the message under construction: what is still to come of it is only checked."""
        self.take_piece()
        self._lost = True

    def drop_all_but_messages(self) -> None:
        """Forget all that is not complete; what is received from now on is dropped."""
        self._forget_message()
        self.closed = True
        self._remaining = 0
        self._head = b""
        self._control_payload = b""
        self._backlog.clear()
        self._backlog_position = 0
        self._decoding = None
        self.suspended = False

    @property
    def incomplete(self) -> bool:
        """Whether a frame or a message has begun and is not complete."""
        return bool(self._head or self._remaining or self.building)


def _not_utf8() -> InvalidPayload:
    # section 8.1: the connection fails at once
    return InvalidPayload("text message is not UTF-8")


class MessageWriter:
    """Turns messages, whole or in fragments, into frames.

    Attributes:
        building: whether a fragmented message has begun and is not complete.
        text: whether that message is text.
        frames: number of frames built.
        sharing: what decides how whole messages are encoded; ``None`` if their frames cannot be shared.
        outdated: whether the extensions have to start anew, as the peer has seen what they have not.
    """

    __slots__ = (
        "_decoder",
        "_extensions",
        "_random",
        "building",
        "frames",
        "outdated",
        "sharing",
        "text",
    )

    def __init__(
        self, *, random: Callable[[int], bytes] | None = None, extensions: Sequence[Extension] = ()
    ) -> None:
        """
        Args:
            random: source of masking keys, given the number of bytes; ``None`` for unmasked frames.
            extensions: in the order in which they were negotiated.
        """
        self.building = False
        self.frames = 0
        self.text = False
        self._decoder = Utf8Decoder()
        self._random = random
        self._extensions = tuple(extensions)
        self.sharing = sharing(extensions) if random is None else None
        self.outdated = False

    def message(
        self, message: Message, *, text: bool | None, fin: bool, compress: bool | None
    ) -> list[bytes]:
        """Return the frame for a message, or for the next fragment of one.

        Args:
            text: whether it is sent as text; ``None``: ``str`` as text, bytes-like as binary.
            fin: whether it is whole, or its last fragment.
            compress: whether it is to be compressed; ``None`` leaves it to the extensions.

        Raises:
            TypeError: ``message`` is neither ``str`` nor bytes-like, or a fragment is not of the
                type of those before.
            UnicodeDecodeError: bytes that are to be sent as text are not UTF-8.
        """
        if fin and text is None and not self.building and not self._extensions:
            # The fast path: nearly every message is one of these two.
            if type(message) is str:
                return self.frame(FINAL_TEXT, message.encode())
            if type(message) is bytes:
                return self.frame(FINAL_BINARY, message)
        if isinstance(message, PreparedMessage):
            return message.write(self, text=text, fin=fin, compress=compress)
        opcode, payload = prepare_data(message)
        if text is not None:
            opcode = Opcode.TEXT if text else Opcode.BINARY
        first = not self.building
        if first:
            self.text = opcode == Opcode.TEXT
        elif self.text != (opcode == Opcode.TEXT):
            raise TypeError("fragments of a message must be all text or all binary, not both")
        if text and not isinstance(message, str):
            self._check_utf8(payload, first, fin)
        reserved_bits = 0
        if self._extensions:
            reserved_bits, payload = self._apply_extensions(bytes(payload), first, fin, compress)
        self.building = not fin
        byte = fin << 7 | (opcode | reserved_bits if first else Opcode.CONTINUATION)
        return self.frame(byte, payload)

    def _apply_extensions(
        self, payload: bytes, first: bool, fin: bool, compress: bool | None
    ) -> tuple[int, bytes]:
        reserved_bits = 0
        called: list[Extension] = []
        if self.outdated:
            self.outdated = False
            for extension in self._extensions:
                extension.cancel_encoding()
        try:
            for extension in self._extensions:
                called.append(extension)
                bits, payload = extension.encode(payload, first=first, final=fin, compress=compress)
                reserved_bits |= bits & extension.reserved_bits
        except BaseException:
            # It will not be sent: the peer will not see what they have seen.
            for extension in called:
                extension.cancel_encoding()
            raise
        return reserved_bits, payload

    def _check_utf8(self, payload: BytesLike, first: bool, fin: bool) -> None:
        if first:
            self._decoder.reset()
        self._decoder.decode(bytes(payload), fin)

    def frame(self, first: int, payload: BytesLike) -> list[bytes]:
        """Return the frame with this first byte."""
        self.frames += 1
        if self._random is None:
            return serialize_frame(first, payload)
        return serialize_frame(first, payload, self._random(4))
