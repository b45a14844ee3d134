"""What has come in and nobody has taken yet, and when to stop reading because of it.

There are two ways out. Messages are taken one by one, and they alone count against the marks.
Everything else that happens, here called a notice, waits beside them with the number of messages
that came before it, so that both can be merged in order; but it can be taken without them, and never
hides behind a message that nobody wants.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable

from .events import Event, Fragment
from .exceptions import ConcurrencyError
from .messages import MessageReader
from .options import Marks
from .typing import Data

__all__ = ["Inbox"]

KEPT_NOTICES = 1024
"""Notices that are kept for somebody who takes messages one by one and never asks for the rest."""


class _Demand(enum.Enum):
    """What somebody waits for, which decides whether a message under construction may grow."""

    NOTHING = enum.auto()
    MESSAGE = enum.auto()
    FRAGMENT = enum.auto()


class Inbox:
    """Messages and notices.

    Attributes:
        reader: makes the messages.
        taken: number of messages that have been taken.
        wants_read: turns false when what is here has reached a high-water mark, and true again when
            it is down to both low ones.
    """

    __slots__ = (
        "_demand",
        "_dropping",
        "_max_queue",
        "_notices",
        "_on_resume",
        "_on_stop",
        "_read_limit",
        "_reading_to_end",
        "_streaming",
        "reader",
        "taken",
        "wants_read",
    )

    def __init__(
        self,
        reader: MessageReader,
        max_queue: Marks,
        read_limit: Marks,
        *,
        on_stop: Callable[[], None],
        on_resume: Callable[[], None],
    ) -> None:
        """
        Arguments:
            max_queue: marks for the number of messages.
            read_limit: marks for their bytes.
            on_stop, on_resume: called when ``wants_read`` has changed.
        """
        self.reader = reader
        self.taken = 0
        self.wants_read = True
        self._max_queue = max_queue
        self._read_limit = read_limit
        self._on_stop = on_stop
        self._on_resume = on_resume
        self._notices: deque[tuple[int, Event]] = deque()
        self._demand = _Demand.NOTHING
        self._streaming = False
        self._reading_to_end = False
        self._dropping = False

    def notify(self, event: Event) -> None:
        """Add a notice, after the messages that are here."""
        self._notices.append((self.taken + len(self.reader.messages), event))

    # Taking

    def notices(self) -> list[Event]:
        """Take the notices."""
        if not self._notices:
            return []
        events = [event for _, event in self._notices]
        self._notices.clear()
        return events

    def events(self) -> list[Event]:
        """Take everything, in order."""
        if self._streaming:
            raise _streaming()
        notices, self._notices = self._notices, deque()
        events: list[Event] = []
        for position, event in notices:
            events += self._next_messages(position - self.taken)
            events.append(event)
        # One more than there are: it is asked for.
        return events + self._next_messages(len(self.reader.messages) + 1)

    def _next_messages(self, count: int) -> list[Event]:
        messages: list[Event] = []
        while len(messages) < count and (message := self.next_message()) is not None:
            messages.append(message)
        return messages

    def next_message(self) -> Data | None:
        """Take the next message, or ask for it."""
        if self._streaming:
            raise _streaming()
        if self.reader.messages:
            return self._take()
        self._demand = _Demand.MESSAGE
        if not self.wants_read:
            self.update()
        return None

    def next_fragment(self) -> Fragment | None:
        """Take what is there of the next message, or ask for it."""
        if self.reader.messages:
            self._streaming = False
            return Fragment(self._take(), True)
        self._demand = _Demand.FRAGMENT
        piece = self.reader.take_piece()
        self.update()
        if piece is None:
            return None
        self._streaming = True
        return Fragment(piece, False)

    def _take(self) -> Data:
        self.taken += 1
        self._demand = _Demand.NOTHING
        message = self.reader.take_message()
        if not self.wants_read:
            self.update()
        return message

    def stop_waiting(self) -> None:
        """Nobody waits any more for what was asked for last."""
        self._demand = _Demand.NOTHING
        self.update()

    # Backpressure

    def receive(self, data: bytes) -> None:
        """Give bytes to the reader; raises what it raises."""
        reader = self.reader
        queued = len(reader.messages)
        reading_to_end = self._reading_to_end
        while len(self._notices) > KEPT_NOTICES:
            self._notices.popleft()
        try:
            reader.receive(data)
        finally:
            if reading_to_end:
                self._drop_beyond_marks(queued)
            elif (
                len(reader.messages) >= self._max_queue.high
                or reader.pending + reader.buffered >= self._read_limit.high
            ):
                self.update()

    def read_to_end(self, wants_read: bool) -> None:
        """The connection is closing: from now on, ``wants_read`` is what is given here.

        The peer's close frame, or the end of its stream, must be reached: messages for which there
        is no room are dropped.
        """
        self._reading_to_end = True
        self.wants_read = wants_read

    def end(self) -> None:
        """There will be no more messages, nor more of one that has been taken in part."""
        if not self.reader.messages:
            self._streaming = False

    def update(self) -> None:
        """Compare what is here with the marks."""
        if self._reading_to_end:
            return
        count, size = len(self.reader.messages), self._size()
        if self.wants_read:
            if count >= self._max_queue.high or size >= self._read_limit.high:
                self.wants_read = False
                self._on_stop()
        elif count <= self._max_queue.low and size <= self._read_limit.low:
            self.wants_read = True
            self._on_resume()

    def _size(self) -> int:
        """Bytes that count against ``read_limit``."""
        reader = self.reader
        if self._demand is _Demand.MESSAGE or (self._demand is _Demand.NOTHING and reader.bounded):
            return reader.pending
        # Nobody asks for the whole of the message under construction.
        return reader.pending + reader.buffered

    def _drop_beyond_marks(self, queued: int) -> None:
        """Drop of the messages beyond the first ``queued`` those for which there is no room.

        And all that follow: what is delivered must have no gaps.
        """
        reader = self.reader
        dropping = self._dropping
        while len(reader.messages) > queued and (
            dropping or len(reader.messages) > self._max_queue.high or self._size() > self._read_limit.high
        ):
            reader.drop_last()
            self._dropping = True
        if reader.building and (self._dropping or self._size() > self._read_limit.high):
            reader.drop_building()
            self._dropping = True


def _streaming() -> ConcurrencyError:
    return ConcurrencyError("a message is being received in pieces: receive its last piece first")
