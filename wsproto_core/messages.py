"""Messages (RFC 6455 sections 5.4 to 5.6 and 6): frames into messages, and messages into frames.

:class:`MessageReader` takes bytes in any chunking. Nearly every frame is complete, unfragmented and not
the business of an extension: :func:`.decode_messages` turns those into messages. All other frames (frames
that arrive in pieces, fragments, extensions, control frames) go through the methods here, which see each
payload byte once, when it arrives: it is unmasked, transformed, checked and added to the message under
construction. So a text message fails at its first bad byte, time is linear for any chunking, and nothing
is allocated because a header announced it.

Both ways obey the same rules, and a property test compares them.

Control frames may come between the fragments of a message (section 5.5). They share nothing with
the message under construction and are passed on as they come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol as Interface

from .assembly import PayloadBuffer
from .codec import MESSAGE_OVERHEAD, apply_mask, decode_messages, encode_frame
from .exceptions import InvalidPayload, InvalidState, PayloadTooBig, ProtocolError
from .extensions.base import RSV1, CompressionExtension, Extension
from .frames import FIN, MAX_HEADER, RESERVED_BITS, Opcode, check_first_bytes, parse_length, prepare_data
from .observing import NOBODY, Observer, ReceivedExcerpts, excerpt_of
from .prepared import Message, PreparedMessage, encoding_key
from .types import BytesLike, Data
from .utf8 import Utf8Decoder

__all__ = ["MessageReader", "MessageWriter", "Receiver"]

# Bytes of payload for each of which a message may have one fragment more than ``max_fragments``.
BYTES_PER_FRAGMENT = 64

# Bytes that an extension is asked for at once.
DECODED_AT_ONCE = 2**16

# Bytes that are missing of a frame's payload, at least, to be received in place. Control frames are shorter.
LEAST_IN_PLACE = 2**16

_NO_LIMIT = 1 << 63
"""More bytes than a frame can have."""

# While no message is under construction.
_NO_PAYLOAD = PayloadBuffer(False)


# An empty deque takes 760 bytes: it is there only while extensions are suspended.
_NO_BACKLOG: deque[bytes] = deque()
_NO_SIZES: list[int] = []

# While extensions have nothing more to return.
_NOTHING: Iterator[tuple[bytes, bool]] = iter(())


def only_compression(extensions: Sequence[Extension]) -> CompressionExtension | None:
    """Return the extension that compresses, by RSV1, if there is no other one: then there is a short way."""
    only = extensions[0] if len(extensions) == 1 else None
    return only if isinstance(only, CompressionExtension) and only.reserved_bits == RSV1 else None


class Receiver(Interface):
    """What a reader tells of control frames, and asks for room: one reference, not a method for each."""

    def receive_control(self, opcode: int, payload: bytes) -> None:
        """A control frame has been received."""

    def is_full(self) -> bool:
        """Whether the receive queue has no room for more.

        Only decoding by extensions asks, whose output may be a thousand times longer than their input.
        """


class MessageReader:
    """Turns the bytes that a peer sends into messages and control frames.

    Attributes:
        messages: the complete messages that have not been taken, in order, each with the size that it
            counts for: the bytes of its payload and :data:`.MESSAGE_OVERHEAD`.
        pending: the sum of these sizes.
        frames: number of frames received.
        building: opcode of the message under construction; 0 if there is none.
        bounded: whether there is a limit on the size of messages.
        buffered: bytes of the message under construction that have arrived and not been taken.
        closed: whether a close frame has been received, an error has been found, or the stream has ended;
            bytes that are received afterwards are dropped.
        suspended: whether decoding by extensions has stopped because there is no room for more; bytes that
            are received meanwhile are kept.
        between_messages: whether the next byte begins a frame that :func:`.decode_messages` may decode:
            no frame or message has begun, and neither extensions nor an observer want to see each frame.
        masked, max_frame, decompressing: arguments for it.
    """

    __slots__ = (
        *("messages", "pending", "frames", "building", "bounded", "buffered", "closed"),
        *("suspended", "between_messages", "masked", "max_frame", "decompressing"),
        *("receiver", "_max_size", "_max_fragment_size", "_max_fragments"),
        *("_extensions", "_every_message", "_reserved_bits", "_excerpts", "_is_plain"),
        # the frame that is being received
        *("_head", "_remaining", "_first", "_key", "_control_payload"),
        # the message that is being received
        *("_payload", "_wire_size", "_fragments", "_sizes_after"),
        # what extensions have not decoded yet
        *("_decoding", "_backlog", "_backlog_position"),
    )

    def __init__(
        self,
        *,
        masked: bool,
        receiver: Receiver,
        max_size: int | None = None,
        max_fragment_size: int | None = None,
        max_fragments: int | None = None,
        extensions: Sequence[Extension] = (),
        observer: Observer = NOBODY,
    ) -> None:
        """
        Args:
            masked: whether frames must be masked, i.e. whether a client sends them.
            receiver: is told of each control frame, in order.
            max_size: bytes in a message, on the wire and after extensions; ``None`` for no limit.
            max_fragment_size: bytes in one frame's payload; ``None`` for no limit.
            max_fragments: fragments in one message, beside one more for each 64 bytes of its payload;
                ``None`` for no limit.
            extensions, observer: see :meth:`use_extensions`.
        """
        self.messages: deque[tuple[Data, int]] = deque()
        self.pending = 0
        self.frames = 0
        self.closed = False
        self.bounded = max_size is not None
        self.masked = masked
        self.receiver = receiver
        self._max_size = max_size
        self._max_fragment_size = max_fragment_size
        self._max_fragments = max_fragments
        # one limit for a frame that is a whole message
        limit = _NO_LIMIT if max_size is None else max_size
        self.max_frame = limit if max_fragment_size is None else min(limit, max_fragment_size)
        # the frame that is being received
        self._head = b""  # an incomplete header
        self._remaining = 0  # bytes of payload still to come
        self._first = 0  # its first byte
        self._key = b""
        self._control_payload = b""
        # the message that is being received
        self.building = 0  # its opcode, 0 for none
        self.buffered = 0
        self._payload = _NO_PAYLOAD
        self._decoding = _NOTHING  # what extensions have not returned yet
        # The bytes received since extensions stopped, and how many of the first piece have been parsed.
        self._backlog = _NO_BACKLOG
        self._backlog_position = 0
        self.suspended = False
        self._wire_size = 0
        self._fragments = 0
        self.use_extensions(extensions, observer)

    def use_extensions(self, extensions: Sequence[Extension], observer: Observer = NOBODY) -> None:
        """Decode by extensions, and tell an observer of frames; none may have been received yet.

        Args:
            extensions: in the order in which they were negotiated.
            observer: is told of each frame.
        """
        self._extensions = tuple(reversed(extensions))
        self._sizes_after = [0] * len(extensions) if extensions else _NO_SIZES
        # whether even messages without reserved bits are the extensions' business
        self._every_message = False
        self._reserved_bits = 0
        for extension in extensions:
            self._every_message |= not extension.marks_messages
            self._reserved_bits |= extension.reserved_bits
        self._excerpts = None if observer is NOBODY else ReceivedExcerpts(observer)
        self._is_plain = not self._extensions and self._excerpts is None
        self.decompressing = only_compression(extensions) if extensions and observer is NOBODY else None
        self.between_messages = not self._every_message and self._excerpts is None

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
            position = self._receive_payload(data, position, len(data))
        end = len(data)
        while position < end and not (self.closed or self.suspended):
            if not (self.building or self._every_message):
                messages = self.messages
                count = len(messages)
                position, size = decode_messages(
                    data, position, self.masked, self.max_frame, messages, self.decompressing
                )
                self.pending += size
                self.frames += len(messages) - count
                if self._excerpts is not None:
                    self._excerpts.add_messages(islice(messages, count, None))
                if position == end:
                    break
            position = self._receive_frame(data, position)
        self._set_between_messages()
        if self.suspended and position < end:
            # It is not copied, so that to stop and go on many times within a long input costs nothing.
            self._backlog.appendleft(data)
            self._backlog_position = position

    def reserve(self) -> memoryview | None:
        """Return memory for payload of the current frame, if much is missing and nobody else sees it."""
        in_place = self._remaining >= LEAST_IN_PLACE and self._is_plain
        return self._payload.reserve(self._remaining) if in_place else None

    def receive_reserved(self, count: int) -> None:
        """Take ``count`` bytes that have been written into the memory that was reserved.

        Raises:
            ProtocolError: the peer broke a rule.
        """
        self._receive_payload(None, 0, count)
        self._set_between_messages()

    def _set_between_messages(self) -> None:
        sees_each_frame = self._every_message or self._excerpts is not None
        self.between_messages = not (sees_each_frame or self.incomplete or self.suspended or self.closed)

    def resume(self, data: bytes) -> None:
        """Go on after extensions have stopped, if there is room, and parse what was kept and ``data``.

        Raises:
            ProtocolError, PayloadTooBig: see :meth:`receive`.
        """
        if data:
            self._backlog.append(data)
        if self.receiver.is_full():
            return
        self.suspended = False
        self._decode()
        while self._backlog and not self.suspended:
            position, self._backlog_position = self._backlog_position, 0
            self.receive(self._backlog.popleft(), position)
        self._set_between_messages()

    def _receive_frame(self, data: bytes, position: int) -> int:
        """Begin with a frame, as far as it is there; return the position after what was used."""
        end = len(data)
        if end - position >= 2:
            self._check_first_bytes(data[position], data[position + 1])
        first = data[position]
        opcode = first & 0x0F
        # An incomplete header is shorter than the longest one.
        length, size = parse_length(data, position) or (0, MAX_HEADER)
        if opcode < Opcode.CLOSE:
            # before the masking key is there
            self._check_size(length)
        start = position + size + 4 * self.masked
        if start > end:
            self._head = data[position:]
            return end
        self._first = first
        self._key = data[start - 4 : start] if self.masked else b""
        self._remaining = length
        if opcode < Opcode.CLOSE:
            self._begin_data_frame(first, opcode)
        return self._receive_payload(data, start, end)

    def _check_first_bytes(self, first: int, second: int) -> None:
        check_first_bytes(first, second, masked=self.masked, reserved_bits=self._reserved_bits)
        opcode = first & 0x0F
        if opcode == Opcode.CONTINUATION:
            if not self.building:
                raise ProtocolError("continuation frame without a message to continue")
            if first & RESERVED_BITS:
                # RFC 7692 section 6.1: RSV1 is set on a message's first fragment only
                raise ProtocolError("reserved bit set in a continuation frame")
        elif opcode < Opcode.CLOSE and self.building:
            raise ProtocolError("new message before the end of a fragmented one")

    def _check_size(self, length: int) -> None:
        limit = self._max_fragment_size
        if limit is not None and length > limit:
            raise PayloadTooBig(f"frame of {length} bytes exceeds the limit of {limit} bytes")
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
            self._payload = PayloadBuffer(opcode == Opcode.TEXT)
            if self._excerpts is not None:
                self._excerpts.begin_message(self._every_message or first & RESERVED_BITS != 0)
            for extension in self._extensions:
                extension.begin_decoding(first & RESERVED_BITS & extension.reserved_bits)

    def _receive_payload(self, data: bytes | None, position: int, end: int) -> int:
        """Use the bytes of the current frame's payload that are there: in reserved memory if ``None``."""
        stop = min(position + self._remaining, end)
        used = stop - position
        self._remaining -= used
        complete = not self._remaining
        self.frames += complete
        opcode, key = self._first & 0x0F, self._key
        self._key = key[used % 4 :] + key[: used % 4]
        final = complete and self._first & FIN != 0
        if data is None or (opcode < Opcode.CLOSE and self._is_plain):
            self._add_payload(data, position, stop, key, final)
            return stop
        chunk = data[position:stop]
        if key:
            chunk = apply_mask(chunk, key)
        if self._excerpts is not None:
            self._excerpts.add_payload(self._first, chunk, complete)
        if opcode < Opcode.CLOSE and not self._extensions:
            self._add_payload(chunk, 0, used, b"", final)
        elif opcode < Opcode.CLOSE:
            self._decoding = self._apply_extensions(0, chunk, complete, final)
            self._decode()
        else:
            self._control_payload += chunk
            if complete:
                payload = self._control_payload
                self._control_payload = b""
                self.closed = opcode == Opcode.CLOSE
                self.receiver.receive_control(opcode, payload)
        return stop

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
        for payload, final in self._decoding:
            if self._excerpts is not None:
                self._excerpts.add_decoded(payload, final)
            self._add_payload(payload, 0, len(payload), b"", final)
            if self.receiver.is_full():
                self.suspended = True
                self._backlog = self._backlog or deque()
                break

    def _add_payload(self, data: bytes | None, start: int, stop: int, key: bytes, final: bool) -> None:
        """Add a piece of payload to the message under construction."""
        payload = self._payload
        try:
            if data is None:
                payload.commit(stop, key)
            else:
                rest = self._remaining if self._is_plain and self._first & FIN else 0
                payload.add(data, start, stop, key, rest)
            self.buffered = payload.size
            if not final:
                return
            message = payload.finish()
        except UnicodeDecodeError as error:
            # section 8.1: the connection fails at once
            raise InvalidPayload("text message is not UTF-8") from error.with_traceback(None)
        if not payload.dropped:
            size = self.buffered + MESSAGE_OVERHEAD
            self.messages.append((message, size))
            self.pending += size
        self._forget_message()

    def _forget_message(self) -> None:
        self._payload = _NO_PAYLOAD
        self.building = 0
        self.buffered = 0
        self._wire_size = 0
        self._sizes_after = [0] * len(self._extensions)
        self._fragments = 0

    def take_piece(self) -> Data | None:
        """Take what has arrived of the message under construction; ``None`` if that is nothing."""
        self.buffered = 0
        return self._payload.take()

    def drop_last(self) -> None:
        """Drop the latest message; there must be one."""
        self.pending -= self.messages.pop()[1]

    def drop_building(self) -> None:
        """Drop the message under construction: the rest of it is only checked."""
        self._payload.drop()
        self.buffered = 0

    def drop_all_but_messages(self) -> None:
        """Drop whatever is not a complete message; bytes that are received from now on are dropped, too."""
        self._forget_message()
        self.closed = True
        self.between_messages = False
        self._remaining = 0
        self._head = b""
        self._backlog.clear()
        self._decoding = _NOTHING
        self.suspended = False

    @property
    def incomplete(self) -> bool:
        """Whether a frame or a message has begun and is not complete."""
        return bool(self._head or self._remaining or self.building)


class MessageWriter:
    """Turns messages, whole or in fragments, into frames.

    Attributes:
        building: whether a fragmented message has begun and is not complete.
        text: whether that message is text.
        frames: number of frames built.
        plain: whether there are neither extensions nor an observer.
        compressing: the extension, if there is no other one, it compresses, and nobody observes.
        encoding_key: the key by which frames of whole messages are shared with other connections;
            ``None`` if they cannot be shared.
        context_is_stale: whether the extensions have to start anew before they encode a message, as the
            peer has received shared frames, of which their context knows nothing.
    """

    __slots__ = (
        *("building", "text", "frames", "plain", "compressing", "encoding_key", "context_is_stale"),
        *("_decoder", "_extensions", "_observer", "_random"),
    )

    def __init__(
        self,
        *,
        random: Callable[[int], bytes] | None = None,
        extensions: Sequence[Extension] = (),
        observer: Observer = NOBODY,
    ) -> None:
        """
        Args:
            random: source of masking keys, given the number of bytes; ``None`` for unmasked frames.
            extensions, observer: see :meth:`use_extensions`.
        """
        self.building = False
        self.frames = 0
        self.text = False
        self._decoder: Utf8Decoder | None = None  # for fragments of a text that come as bytes
        self._random = random
        self.context_is_stale = False
        self.use_extensions(extensions, observer)

    def use_extensions(self, extensions: Sequence[Extension], observer: Observer = NOBODY) -> None:
        """Encode by extensions, and tell an observer of frames; none may have been built yet.

        Args:
            extensions: in the order in which they were negotiated.
            observer: is told of each frame.
        """
        self._extensions = tuple(extensions)
        self._observer = None if observer is NOBODY else observer
        self.plain = not extensions and self._observer is None
        self.compressing = only_compression(extensions) if extensions and observer is NOBODY else None
        # A masking key serves one frame only (section 5.3); and the observer is told of no shared frame.
        shares = self._random is None and self._observer is None
        self.encoding_key = encoding_key(extensions) if shares else None

    def message(
        self, message: Message, *, text: bool | None, fin: bool, compress: bool | None
    ) -> list[bytes]:
        """Return the frame for a message, or for the next fragment of one.

        Args:
            text: whether it is sent as text; ``None``: ``str`` as text, bytes-like as binary.
            fin: whether it is whole, or its last fragment.
            compress: whether it is to be compressed; ``None`` leaves it to the extensions.

        Raises:
            TypeError: ``message`` is neither ``str`` nor bytes-like, a fragment is not of the type of
                those before, or a prepared message comes with arguments.
            UnicodeDecodeError: bytes that are to be sent as text are not UTF-8.
            InvalidState: a prepared message comes among the fragments of another one.
        """
        if isinstance(message, PreparedMessage):
            if text is not None or compress is not None:
                raise TypeError("a prepared message is sent as it was prepared: give text and compress there")
            if not fin:
                raise TypeError("a prepared message is sent whole, not as a fragment")
            if self.building:
                raise InvalidState("a prepared message cannot be sent among the fragments of another one")
            if self.encoding_key is not None:
                frame = message.frame_for(self.encoding_key)
                self.frames += 1
                self.context_is_stale = self.context_is_stale or frame.transformed
                return frame.buffers
            text, compress, message = message.text, message.compress, message.message
        opcode, payload = prepare_data(message)
        if text is not None:
            opcode = Opcode.TEXT if text else Opcode.BINARY
        first = not self.building
        if first:
            self.text = opcode == Opcode.TEXT
        elif self.text != (opcode == Opcode.TEXT):
            raise TypeError("fragments of a message must be all text or all binary, not both")
        if text and not isinstance(message, str):
            if first or self._decoder is None:
                self._decoder = Utf8Decoder()
            self._decoder.decode(bytes(payload), fin)
        reserved_bits, encoded = 0, payload
        if self._extensions:
            reserved_bits, encoded = self._apply_extensions(bytes(payload), first, fin, compress)
        self.building = not fin
        byte = fin << 7 | (opcode | reserved_bits if first else Opcode.CONTINUATION)
        return self.frame(byte, encoded, payload)

    def _apply_extensions(
        self, payload: bytes, first: bool, fin: bool, compress: bool | None
    ) -> tuple[int, bytes]:
        reserved_bits = 0
        called: list[Extension] = []
        if self.context_is_stale:
            self.context_is_stale = False
            for extension in self._extensions:
                extension.cancel_encoding()
        try:
            for extension in self._extensions:
                called.append(extension)
                if isinstance(extension, CompressionExtension):
                    bits, payload = extension.encode(payload, first=first, final=fin, compress=compress)
                else:
                    bits, payload = extension.encode(payload, first=first, final=fin)
                reserved_bits |= bits & extension.reserved_bits
        except BaseException:
            # The message is not sent, and the extensions that were called must not go on from it.
            for extension in called:
                extension.cancel_encoding()
            raise
        return reserved_bits, payload

    def frame(self, first: int, payload: BytesLike, original: BytesLike | None = None) -> list[bytes]:
        """Return a frame.

        Args:
            first: its first byte.
            payload: its payload, as it is sent.
            original: the payload before extensions encoded it; ``None`` if none did.
        """
        self.frames += 1
        if self._observer is not None:
            excerpt = excerpt_of(payload)
            before = excerpt if original is None or original == payload else excerpt_of(original)
            self._observer.frame_sent(first, excerpt, before)
        if self._random is None:
            return encode_frame(first, payload)
        return encode_frame(first, payload, self._random(4))
