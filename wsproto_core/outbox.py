"""The send queue: frames that have not been written, their order, and write backpressure.

Frames that must be sent are built when they are asked for. Nothing is written here; an embedder asks for
the bytes when there is room for them. So a peer that does not read cannot make the queue grow: while bytes
are unwritten, only its latest ping is answered.

The order is: the opening handshake, the pongs that are due, then messages, pings and pongs in the order
in which they were added, then the close frame, and nothing after it (RFC 6455 section 5.5.1). A ping that
we send never overtakes a message: its pong proves that the messages before it have arrived.

The send queue owns the writer (:class:`~.messages.MessageWriter`), which builds the frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol as Interface

from .codec import encode_frame
from .extensions.base import EncodingKey
from .frames import FIN, Opcode
from .limits import Watermarks
from .messages import MessageWriter
from .pongs import Pongs
from .prepared import Message, PreparedMessage
from .timers import Stopwatch

__all__ = ["Outbox"]

# First bytes of frames that are whole messages.
_TEXT = FIN | Opcode.TEXT
_BINARY = FIN | Opcode.BINARY

# They are never changed: most connections have nothing else.
_NO_BUFFERS: list[bytes] = []
_NO_PONGS = Pongs()


class Owner(Interface):
    """The connection, which is told of what is written."""

    writable: bool
    _clock: Callable[[], float]

    def _ping_written(self) -> None:
        """The ping that :meth:`Outbox.time_ping` has marked has been written."""


class Outbox:
    """The send queue.

    Attributes:
        queued: bytes that have not been handed out.
        unwritten: bytes that have been handed out and not been written.
        bytes_sent: bytes that have been handed out so far.
        writable: turns false when more bytes than the high watermark wait to be written, and true
            again when they are down to the low one.
        blocked: how long ``writable`` has been false while the connection was open; ``None`` if it has
            not been.
        measures: whether the connection is open, so that this time counts.
        writer: builds the frames.
        accepts_broadcasts: whether the connection is open and no close frame of the peer waits.

    Broadcasts, which send one frame on thousands of connections, look at as little memory of each
    connection as possible: at these attributes, and change only those of the first and the last.

    Attributes:
        ready: the key of the shared frames that can be written at once; ``None`` if it is not known that
            they can: see :meth:`make_ready`.
        context_is_stale: while ready, whether the writer's extensions have to start anew in any case.
        shared: number of shared frames that were sent by broadcasts, beside those that the writer built.
    """

    __slots__ = (
        *("_buffers", "_close", "_close_taken", "_opening", "_ping_end", "_ping_queued", "_pongs"),
        *("_random", "_watermarks", "accepts_broadcasts", "blocked", "bytes_sent"),
        *("context_is_stale", "_owner", "queued", "ready", "shared"),
        *("unwritten", "writable", "measures", "writer"),
    )

    def __init__(
        self,
        owner: Owner,
        random: Callable[[int], bytes] | None,
        watermarks: Watermarks,
    ) -> None:
        """
        Args:
            owner: is told of what is written.
            random: source of masking keys, given the number of bytes; ``None`` for unmasked frames.
            watermarks: of the bytes that wait to be written.
        """
        self._owner = owner
        self._random = random
        self.blocked: Stopwatch | None = None
        self.measures = True
        self.queued = 0
        self.unwritten = 0
        self.bytes_sent = 0
        self.writable = True
        self.accepts_broadcasts = False
        self.ready: EncodingKey | None = None
        self.context_is_stale = False
        self.shared = 0
        self._watermarks = watermarks
        self._opening = _NO_BUFFERS
        self._buffers: list[bytes] = []
        self._pongs = _NO_PONGS
        # Where the ping that is timed ends: in what is queued, and in all that has been handed out.
        self._ping_queued: int | None = None
        self._ping_end: int | None = None
        self._close: bytes | None = None
        self._close_taken = False
        self.writer = MessageWriter(random=random)

    def set_open(self, accepts_broadcasts: bool) -> None:
        """Set the attribute; the phase of the connection has changed."""
        self.accepts_broadcasts = accepts_broadcasts
        self.ready = None

    def finish_measuring(self) -> None:
        """The connection is closing: that it is not writable does not count any more."""
        if self.blocked is not None:
            self.blocked.stop()
        self.measures = False

    def open(self, data: bytes) -> None:
        """Add bytes of the opening handshake: they go before all frames, and are never dropped."""
        self._opening = [*self._opening, data]
        self.queued += len(data)

    def encode(self, message: Message, text: bool | None, fin: bool, compress: bool | None) -> list[bytes]:
        """Return the frame for a message, or for the next fragment of one, to be added by :meth:`add`.

        Arguments and errors: see :meth:`.MessageWriter.message`.
        """
        return self.writer.message(message, text=text, fin=fin, compress=compress)

    def add_message(self, message: Message, text: bool | None, fin: bool, compress: bool | None) -> None:
        """Add a message, or the next fragment of one: :meth:`encode` and :meth:`add`."""
        writer = self.writer
        kind = type(message)
        if text is None and fin and writer.plain and not writer.building and (kind is str or kind is bytes):
            # The fast path: nearly every message is one of these two.
            writer.frames += 1
            first = _TEXT if kind is str else _BINARY
            key = b"" if self._random is None else self._random(4)
            buffers = encode_frame(first, message, key)  # type: ignore[arg-type]
        else:
            buffers = writer.message(message, text=text, fin=fin, compress=compress)
        # add, without the call
        self.ready = None
        self._buffers += buffers
        queued = self.queued
        for buffer in buffers:
            queued += len(buffer)
        self.queued = queued
        if queued + self.unwritten > self._watermarks.high:
            self._block()

    def add(self, buffers: list[bytes]) -> None:
        """Add a frame, in one or two buffers."""
        self.ready = None
        self._buffers += buffers
        self.queued += sum(map(len, buffers))
        if self.queued + self.unwritten > self._watermarks.high:
            self._block()

    def add_control(self, opcode: Opcode, payload: bytes) -> None:
        """Add a control frame."""
        self.add(self.writer.frame(FIN | opcode, payload))

    @property
    def ping_unwritten(self) -> bool:
        """Whether the ping that :meth:`time_ping` has marked has not been written."""
        return self._ping_queued is not None or self._ping_end is not None

    def time_ping(self) -> None:
        """Call :meth:`.Owner._ping_written` when all that has been added so far has been written."""
        self._ping_queued = self.queued

    def answer_ping(self, payload: bytes, received: int) -> None:
        """Add the pong that is due for a ping: see :meth:`.Pongs.answer`."""
        if not self._close_taken:
            self.ready = None
            self._pongs = self._pongs or Pongs()
            self._pongs.answer(payload, received, blocked=self.unwritten > 0)

    def close(self, payload: bytes) -> None:
        """Set the close frame, which is the last one; there is only one."""
        self._close = payload

    def drop(self) -> None:
        """Drop all that has not been handed out, except for the opening handshake and the close frame."""
        self._buffers = []
        self.queued = sum(map(len, self._opening))
        self._pongs = _NO_PONGS
        self._ping_queued = None

    def drop_all(self) -> None:
        """Drop all that has not been handed out: the connection is closed."""
        self._opening, self._close, self._ping_end = _NO_BUFFERS, None, None
        self.drop()
        # As Inbox.drop_owner. There is nothing to tell it, because no watermark is reached from now on.
        self._owner, self._watermarks = None, Watermarks(float("inf"), -1)  # type: ignore[assignment]

    def take(self, written: bool = False) -> list[bytes]:
        """Hand out everything, in order.

        Args:
            written: whether the bytes count as written, for a stream that is written at once. Call
                :meth:`not_written` for bytes that could not be written. But bytes of which the writing is
                timed (``writable`` is false, or there is a ping that is timed) count as ``unwritten``.
        """
        own = self.queued
        if self._pongs:
            pongs, self._pongs = self._pongs, _NO_PONGS
            frames = [buffer for payload in pongs for buffer in self.writer.frame(FIN | Opcode.PONG, payload)]
            self._buffers[:0] = frames
            self.queued += sum(map(len, frames))
        if self._ping_queued is not None:
            self._ping_end = self.bytes_sent + self._ping_queued + self.queued - own
            self._ping_queued = None
        if self._opening:
            self._buffers[:0] = self._opening
            self._opening = _NO_BUFFERS
        if self._close is not None:
            self.add(self.writer.frame(FIN | Opcode.CLOSE, self._close))
            self._close, self._close_taken = None, True
        buffers = self._buffers
        if buffers:
            self._buffers = []
            if not written or not self.writable or self._ping_end is not None:
                self.unwritten += self.queued
            self.bytes_sent += self.queued
            self.queued = 0
        return buffers

    def make_ready(self, message: PreparedMessage) -> bool:
        """Make ready for the shared frame of a prepared message, and for others with the same key.

        It is :attr:`~.PreparedMessage.frame` then.

        Returns:
            Whether the frame can be written at once: nothing else is to be written before it.
        """
        writer = self.writer
        key = writer.encoding_key
        if key is None or self.queued or self.unwritten or self._pongs or writer.building:
            return False
        frame = message.frame_for(key)
        writer.context_is_stale = writer.context_is_stale or frame.transformed
        self.ready, self.context_is_stale = key, writer.context_is_stale
        return True

    def not_written(self, count: int) -> None:
        """Of the bytes that were handed out and counted as written, ``count`` have not been written."""
        self.ready = None
        self.unwritten += count
        if self.queued + self.unwritten > self._watermarks.high:
            self._block()

    def _block(self) -> None:
        if self.writable:
            self.writable = False
            if self.measures:
                self.blocked = self.blocked or Stopwatch(self._owner._clock)
                self.blocked.start()
            self._owner.writable = False

    def written(self, count: int | None) -> None:
        """Of the bytes that were handed out, ``count`` have been written; ``None``: all."""
        self.unwritten = 0 if count is None or count >= self.unwritten else self.unwritten - count
        if self._ping_end is not None and self.bytes_sent - self.unwritten >= self._ping_end:
            self._ping_end = None
            self._owner._ping_written()
        if not self.writable and self.queued + self.unwritten <= self._watermarks.low:
            self.writable = True
            if self.measures and self.blocked is not None:
                self.blocked.stop()
            self._owner.writable = True
