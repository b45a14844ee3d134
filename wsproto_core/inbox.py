"""The receive queue: messages and events that the application has not taken, and read backpressure.

Messages and all other events are taken separately. Messages are taken one by one, and they alone count
against the high and low watermarks at which reading stops and resumes. The other events, here called
notices, wait with the number of messages that came before them, so that both can be merged in order; but
they can be taken without the messages, and never wait behind a message that nobody takes.

The receive queue owns the reader (:class:`~.messages.MessageReader`), which parses the bytes that are
received.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from typing import Protocol as Interface

from .codec import decode_messages
from .events import Event, Fragment
from .exceptions import ConcurrencyError, PayloadTooBig, ProtocolError
from .messages import MessageReader
from .options import CommonSettings
from .timers import Stopwatch
from .types import Data

__all__ = ["Demand", "Inbox", "Overflow"]

NO_MESSAGES: deque[tuple[Data, int]] = deque(maxlen=0)
"""The messages of a queue that has none. An empty deque of its own takes 760 bytes."""

# Notices that are kept for an application that takes messages one by one and never asks for the rest.
KEPT_NOTICES = 1024

STREAMING = "a message is being received in pieces: receive its last piece first"


class Demand(enum.Enum):
    """What the application waits for, which decides whether a message under construction may grow."""

    NOTHING = enum.auto()
    MESSAGE = enum.auto()
    FRAGMENT = enum.auto()


class Overflow(enum.Enum):
    """What happens when a high watermark is reached."""

    # Reading stops.
    PAUSE = enum.auto()
    # The connection is closing, and reading goes on to the peer's close frame: messages are dropped.
    DROP = enum.auto()
    # One message has been dropped, so all after it are: delivered messages have no gaps.
    DROP_ALL = enum.auto()


# They are compared for each message, and looking a member up in its class is slow.
_NOTHING, _MESSAGE, _FRAGMENT = Demand
_PAUSE, _DROP, _DROP_ALL = Overflow


class Owner(Interface):
    """The connection, which is told of what is received: one reference, not a method for each."""

    _clock: Callable[[], float]

    def _receive_control(self, opcode: int, payload: bytes) -> None:
        """A control frame has been received."""

    def _receive_error(self, error: ProtocolError | PayloadTooBig) -> None:
        """The peer has broken a rule or exceeded a limit."""

    def _receive_eof(self) -> None:
        """The end of the stream is reached, which had to wait."""

    def _stop_reading(self) -> None:
        """``wants_read`` has turned false."""

    def _resume_reading(self) -> None:
        """``wants_read`` has turned true."""


class Inbox:
    """The receive queue.

    Attributes:
        collecting: whether :meth:`events` is taking messages that its caller has not seen yet.
        messages: the messages that have not been taken, each with its size; to be read only.
        reader: parses the bytes that are received.
        stopped: how long ``wants_read`` has been false while the connection was open; ``None`` if it
            has not been.
        taken: number of messages that have been taken.
        wants_read: turns false when the queue has reached a high watermark, and true again when it is
            down to both low ones.
    """

    __slots__ = (
        *("_demand", "_end_waits", "_max_queue", "_notices", "_overflow", "_owner", "_read_limit"),
        *("_streaming", "collecting", "messages", "reader", "stopped", "taken", "wants_read"),
    )

    def __init__(self, owner: Owner, settings: CommonSettings, *, masked: bool) -> None:
        """
        Args:
            owner: is told of what is received.
            settings: the options: the limits on messages, and the watermarks.
            masked: whether frames must be masked, i.e. whether a client sends them.
        """
        self.collecting = False
        self.taken = 0
        self.wants_read = True
        self._owner = owner
        self._max_queue = settings.max_queue
        self._read_limit = settings.read_limit
        self.stopped: Stopwatch | None = None
        self._notices: list[tuple[int, Event]] | None = None
        self._demand = _NOTHING
        self._overflow = _PAUSE
        self._streaming = False
        self._end_waits = False
        self.reader = MessageReader(
            masked=masked,
            receiver=self,
            max_size=settings.max_size.message,
            max_fragment_size=settings.max_size.fragment,
            max_fragments=settings.max_fragments,
        )
        self.messages = self.reader.messages = NO_MESSAGES

    @property
    def has_piece(self) -> bool:
        """Whether a piece of the message under construction was asked for and is here, or may be decoded."""
        return self.reader.suspended or (self._demand is _FRAGMENT and self.reader.buffered > 0)

    def notify(self, event: Event) -> None:
        """Add a notice, after the messages that are in the queue."""
        self._notices = self._notices or []
        self._notices.append((self.taken + len(self.messages), event))

    # Taking

    def notices(self) -> list[Event]:
        """Take the notices."""
        notices, self._notices = self._notices, None
        return [event for _, event in notices] if notices else []

    def events(self) -> list[Event]:
        """Take everything, in order."""
        events = self._events()
        self.collecting = True
        try:
            while self.reader.suspended:
                self.resume()
                events += self._events()
        finally:
            self.collecting = False
        return events

    def _events(self) -> list[Event]:
        if self._streaming:
            raise ConcurrencyError(STREAMING)
        notices, self._notices = self._notices or [], None
        # All at once, which costs a fraction of as many calls of next_message.
        taken = list(self.messages)
        self.messages.clear()
        events: list[Event] = [message for message, _ in taken]
        for position, event in reversed(notices):
            # Messages before it may have been taken, or dropped.
            events.insert(min(max(position - self.taken, 0), len(taken)), event)
        self.taken += len(taken)
        self.reader.pending -= sum([size for _, size in taken])
        self._ask(_MESSAGE)
        return events

    def next_message(self) -> Data | None:
        """Take the next message, or ask for it."""
        if self._streaming:
            raise ConcurrencyError(STREAMING)
        if not self.messages:
            self._demand = _MESSAGE
            if not self.wants_read:
                self.update()
            if self.reader.suspended:
                self.resume()
            if not self.messages:
                return None
        message, size = self.messages.popleft()
        self.reader.pending -= size
        self.taken += 1
        self._demand = _NOTHING
        if not self.wants_read and len(self.messages) <= self._max_queue.low:
            self.update()
        return message

    def next_fragment(self) -> Fragment | None:
        """Take the bytes that have been received of the next message, or ask for them."""
        fragment = self._take_fragment()
        if self.reader.suspended:
            self.resume()
            fragment = fragment or self._take_fragment()
        return fragment

    def _take_fragment(self) -> Fragment | None:
        if self.messages:
            self._streaming = False
            return Fragment(self.next_message(), True)  # type: ignore[arg-type]
        piece = self.reader.take_piece()
        self._ask(_FRAGMENT)
        if piece is None:
            return None
        # After the end, nothing follows it, and whole messages can be taken again.
        self._streaming = not self.reader.closed
        return Fragment(piece, False)

    def stop_waiting(self) -> None:
        """The application does not wait any more for the message that it asked for last."""
        self._ask(_NOTHING)

    def _ask(self, demand: Demand) -> None:
        self._demand = demand
        self.update()

    # Backpressure

    def receive(self, data: bytes, reserved: int = 0) -> None:
        """Parse bytes that have been received: ``data``, or so many in the reader's reserved memory."""
        reader = self.reader
        if self.messages is NO_MESSAGES:
            self.messages = reader.messages = deque()
        queued = len(self.messages)
        overflow = self._overflow
        if self._notices and len(self._notices) > KEPT_NOTICES:
            del self._notices[:-KEPT_NOTICES]
        try:
            try:
                position = 0
                if reader.between_messages:
                    # Nearly all input is whole messages: the reader gets only the rest of it.
                    masked, max_frame = reader.masked, reader.max_frame
                    position, size = decode_messages(data, 0, masked, max_frame, self.messages)
                    reader.pending += size
                    reader.frames += len(self.messages) - queued
                if reader.suspended:
                    reader.resume(data)
                elif reserved:
                    reader.receive_reserved(reserved)
                elif position < len(data):
                    reader.receive(data, position)
            finally:
                if overflow is not _PAUSE:
                    self._drop_overflow(queued)
                elif (
                    len(self.messages) >= self._max_queue.high
                    or reader.pending + reader.buffered >= self._read_limit.high
                ):
                    self.update()
        except (ProtocolError, PayloadTooBig) as error:
            # Its traceback refers to this connection, which refers to it.
            self._owner._receive_error(error.with_traceback(None))
        if not self.messages:
            self.messages = reader.messages = NO_MESSAGES

    def resume(self) -> None:
        """Decode the bytes that were kept because the queue had no room, if there is room now."""
        if self.reader.suspended:
            self.receive(b"")
        if self._end_waits and not self.reader.suspended:
            self._end_waits = False
            self._owner._receive_eof()

    def end_of_stream(self, *, waits: bool) -> bool:
        """The stream has ended.

        Args:
            waits: whether the peer's close frame, or an error before the end, waits to take effect.

        Returns:
            Whether all bytes before the end have been parsed and taken effect; if not, the end waits.
        """
        self._end_waits = waits or self.reader.suspended
        return not self._end_waits

    def read_to_end(self, wants_read: bool) -> None:
        """The connection is closing: messages for which there is no room are dropped.

        So reading reaches the peer's close frame, or the end of its stream.

        Args:
            wants_read: the value of the attribute from now on.
        """
        if self._overflow is _PAUSE:
            self._overflow = _DROP
            if self.stopped is not None:
                self.stopped.stop()
        self.wants_read = wants_read

    def end(self) -> None:
        """No more messages will be received, nor the rest of one that has been taken in part."""
        if self.reader.suspended:
            self.reader.drop_all_but_messages()
        self.reader.closed = True
        if not self.reader.messages:
            self._streaming = False

    def drop_owner(self) -> None:
        """Refer to a closed connection no more: its memory is freed without the garbage collector."""
        self._owner = self.reader.receiver = None  # type: ignore[assignment]

    def update(self) -> None:
        """Compare the queue with the watermarks."""
        if self._overflow is not _PAUSE:
            return
        count, size = len(self.messages), self._size()
        if self.wants_read:
            if count >= self._max_queue.high or size >= self._read_limit.high:
                self.wants_read = False
                self.stopped = self.stopped or Stopwatch(self._owner._clock)
                self.stopped.start()
                self._owner._stop_reading()
        elif count <= self._max_queue.low and size <= self._read_limit.low:
            self.wants_read = True
            assert self.stopped is not None
            self.stopped.stop()
            self._owner._resume_reading()

    def _size(self) -> int:
        """Bytes that count against ``read_limit``."""
        reader = self.reader
        return reader.pending + reader.buffered if self._limits_building() else reader.pending

    def _limits_building(self) -> bool:
        """Whether the message under construction counts, as the application does not ask for all of it."""
        if self._demand is _NOTHING:
            return not self.reader.bounded
        return self._demand is _FRAGMENT

    def receive_control(self, opcode: int, payload: bytes) -> None:
        self._owner._receive_control(opcode, payload)

    def is_full(self) -> bool:
        reader, limit = self.reader, self._read_limit.high
        too_large = self._limits_building() and reader.buffered >= limit
        if self._overflow is _PAUSE:
            return too_large or reader.pending >= limit or len(self.messages) >= self._max_queue.high
        if too_large:
            self._drop_building()
        return False

    def _drop_overflow(self, queued: int) -> None:
        """Drop messages beyond the first ``queued`` for which there is no room, and all that follow them."""
        messages = self.messages
        drops_all = self._overflow is _DROP_ALL
        if self.reader.building and self._size() > self._read_limit.high:
            # It is the last one, and the first to go.
            self._drop_building()
        while len(messages) > queued and (
            drops_all or len(messages) > self._max_queue.high or self._size() > self._read_limit.high
        ):
            self.reader.drop_last()
            self._overflow = _DROP_ALL
        if self.reader.building and self._overflow is _DROP_ALL:
            self._drop_building()

    def _drop_building(self) -> None:
        self.reader.drop_building()
        self._overflow = _DROP_ALL
