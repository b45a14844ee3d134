"""What has come in and nobody has taken yet, and when to stop reading because of it.

There are two ways out. Messages are taken one by one, and they alone count against the marks.
Everything else that happens, here called a notice, waits beside them with the number of messages
that came before it, so that both can be merged in order; but it can be taken without them, and never
hides behind a message that nobody wants.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

from .events import Event, Fragment
from .exceptions import ConcurrencyError, PayloadTooBig, ProtocolError
from .extensions.base import Extension
from .limits import watermarks
from .observing import NOBODY, Observer, make_reader
from .options import CommonOptions
from .statistics import Stopwatch
from .types import Data

__all__ = ["Inbox"]

KEPT_NOTICES = 1024
"""Notices that are kept for somebody who takes messages one by one and never asks for the rest."""


class _Demand(enum.Enum):
    """What somebody waits for, which decides whether a message under construction may grow."""

    NOTHING = enum.auto()
    MESSAGE = enum.auto()
    FRAGMENT = enum.auto()


# It is set for each message, and to look a member up in its class is dear.
_NOTHING, _MESSAGE, _FRAGMENT = _Demand


class Inbox:
    """Messages and notices.

    Attributes:
        collecting: whether :meth:`events` is taking messages that its caller has not seen yet.
        reader: makes the messages.
        stopped: for how long it has not wanted more, while the connection was open.
        taken: number of messages that have been taken.
        wants_read: turns false when what is here has reached a high-water mark, and true again when
            it is down to both low ones.
    """

    __slots__ = (
        "_control",
        "_demand",
        "_dropping",
        "_end_waits",
        "_masked",
        "_max_queue",
        "_notices",
        "_on_end",
        "_on_error",
        "_on_resume",
        "_on_stop",
        "_options",
        "_read_limit",
        "_reading_to_end",
        "_streaming",
        "collecting",
        "reader",
        "stopped",
        "taken",
        "wants_read",
    )

    def __init__(
        self,
        options: CommonOptions,
        *,
        masked: bool,
        control: Callable[[int, bytes], None],
        on_error: Callable[[ProtocolError | PayloadTooBig], None],
        on_end: Callable[[], None],
        on_stop: Callable[[], None],
        on_resume: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """
        Args:
            options: of them ``max_size``, ``max_fragments``, ``max_queue`` and ``read_limit``.
            masked: whether frames must be masked, i.e. whether a client sends them.
            control: called with the opcode and the payload of each control frame, in order.
            on_error: called when what comes in is wrong, or too much.
            on_end: called when the end of the stream is reached, if it had to wait.
            on_stop, on_resume: called when ``wants_read`` has changed.
            clock: returns the time in seconds.
        """
        self.collecting = False
        self.taken = 0
        self.wants_read = True
        self._options = options
        self._masked = masked
        self._control = control
        self._max_queue = watermarks(options["max_queue"], 2)
        self._read_limit = watermarks(options["read_limit"], 2)
        self._on_error = on_error
        self._on_end = on_end
        self._on_stop = on_stop
        self._on_resume = on_resume
        self.stopped = Stopwatch(clock)
        self._notices: list[tuple[int, Event]] = []
        self._demand = _NOTHING
        self._streaming = False
        self._reading_to_end = False
        self._dropping = False
        self._end_waits = False
        self.use_extensions(())

    def use_extensions(self, extensions: Sequence[Extension], observer: Observer = NOBODY) -> None:
        """Apply these to what comes in, and tell the observer of it; nothing may have come in yet."""
        max_size = self._options["max_size"]
        size, fragment_size = max_size if isinstance(max_size, tuple) else (max_size, None)
        self.reader = make_reader(
            observer,
            masked=self._masked,
            control=self._control,
            max_size=size,
            max_fragment_size=fragment_size,
            max_fragments=self._options["max_fragments"],
            extensions=extensions,
        )
        self.reader.is_full = self._is_full

    @property
    def has_piece(self) -> bool:
        """Whether a piece of the message under construction was asked for and is here."""
        return self._demand is _FRAGMENT and self.reader.buffered > 0

    @property
    def begun(self) -> bool:
        """Whether a frame has come in, or a part of one."""
        return bool(self.reader.frames) or self.reader.incomplete

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
            raise _streaming()
        notices, self._notices = self._notices, []
        events: list[Event] = []
        for position, event in notices:
            events += self._next_messages(position - self.taken)
            events.append(event)
        # One more than there are: it is asked for.
        return events + self._next_messages(len(self.reader.messages) + 1)

    def _next_messages(self, count: int) -> list[Event]:
        messages: list[Event] = []
        while len(messages) < count and (message := self._take_or_ask()) is not None:
            messages.append(message)
        return messages

    def next_message(self) -> Data | None:
        """Take the next message, or ask for it."""
        if self._streaming:
            raise _streaming()
        if self.reader.messages:
            return self._take()
        message = self._take_or_ask()
        if message is None and self.reader.suspended:
            self.resume()
            message = self._take_or_ask()
        return message

    def _take_or_ask(self) -> Data | None:
        if self.reader.messages:
            return self._take()
        self._demand = _MESSAGE
        if not self.wants_read:
            self.update()
        return None

    def next_fragment(self) -> Fragment | None:
        """Take what is there of the next message, or ask for it."""
        fragment = self._take_fragment()
        if self.reader.suspended:
            self.resume()
            fragment = fragment or self._take_fragment()
        return fragment

    def _take_fragment(self) -> Fragment | None:
        if self.reader.messages:
            self._streaming = False
            return Fragment(self._take(), True)
        self._demand = _FRAGMENT
        piece = self.reader.take_piece()
        self.update()
        if piece is None:
            return None
        self._streaming = True
        return Fragment(piece, False)

    def _take(self) -> Data:
        self.taken += 1
        self._demand = _NOTHING
        message = self.reader.take_message()
        if not self.wants_read:
            self.update()
        return message

    def stop_waiting(self) -> None:
        """Nobody waits any more for what was asked for last."""
        self._demand = _NOTHING
        self.update()

    # Backpressure

    def receive(self, data: bytes) -> None:
        """Parse bytes that have come in."""
        reader = self.reader
        queued = len(reader.messages)
        reading_to_end = self._reading_to_end
        if len(self._notices) > KEPT_NOTICES:
            del self._notices[:-KEPT_NOTICES]
        try:
            try:
                if reader.suspended:
                    reader.resume(data)
                else:
                    reader.receive(data)
            finally:
                if reading_to_end:
                    self._drop_beyond_marks(queued)
                elif (
                    len(reader.messages) >= self._max_queue.high
                    or reader.pending + reader.buffered >= self._read_limit.high
                ):
                    self.update()
        except (ProtocolError, PayloadTooBig) as error:
            self._on_error(error)

    def resume(self) -> None:
        """Go on with what was received while extensions had no room, if there is any and there is some."""
        if self.reader.suspended:
            self.receive(b"")
        if self._end_waits and not self.reader.suspended:
            self._end_waits = False
            self._on_end()

    def end_of_stream(self, *, waits: bool) -> bool:
        """The stream has ended. Return whether all that came before it has taken effect: if not, it waits.

        Args:
            waits: whether the peer's close frame, or an error before the end, waits itself.
        """
        self._end_waits = waits or self.reader.suspended
        return not self._end_waits

    def read_to_end(self, wants_read: bool) -> None:
        """The connection is closing: from now on, ``wants_read`` is what is given here.

        The peer's close frame, or the end of its stream, must be reached: messages for which there
        is no room are dropped.
        """
        self._reading_to_end = True
        self.wants_read = wants_read
        self.stopped.finish()

    def end(self) -> None:
        """There will be no more messages, nor more of one that has been taken in part."""
        if self.reader.suspended:
            self.reader.drop_all_but_messages()
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
                self.stopped.start()
                self._on_stop()
        elif count <= self._max_queue.low and size <= self._read_limit.low:
            self.wants_read = True
            self.stopped.stop()
            self._on_resume()

    def _size(self) -> int:
        """Bytes that count against ``read_limit``."""
        reader = self.reader
        return reader.pending + reader.buffered if self._limits_building() else reader.pending

    def _limits_building(self) -> bool:
        """Whether nobody asks for the whole of the message under construction, which so has a limit."""
        if self._demand is _NOTHING:
            return not self.reader.bounded
        return self._demand is _FRAGMENT

    def _is_full(self) -> bool:
        """Whether extensions have to stop, because there is no room for what they return."""
        reader, limit = self.reader, self._read_limit.high
        too_large = self._limits_building() and reader.buffered >= limit
        if self._reading_to_end:
            if too_large:
                reader.drop_building()
                self._dropping = True
            return False
        return too_large or reader.pending >= limit or len(reader.messages) >= self._max_queue.high

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
