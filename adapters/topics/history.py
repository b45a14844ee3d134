"""Histories of topics: which messages are kept, and which a subscriber has missed. No I/O, and no clock.

Messages are trimmed by their number and by their age. A position says what a subscriber has; whether the
history still has all messages after it is decided by the offsets alone, which have no holes. So a subscriber
either gets the messages after its position, in order, or a :class:`.Gap` says which are missing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from wsproto_core.checks import check_count, check_seconds
from wsproto_core.prepared import PreparedMessage
from wsproto_core.types import Data

from ..shared.positions import START, Gap, Position

__all__ = ["PLAIN", "Entry", "Format", "History", "Plain", "Retention", "Window", "missed"]


class Format(ABC):
    """The form in which clients get messages and gaps."""

    @abstractmethod
    def encode(self, entry: Entry) -> PreparedMessage:
        """Encode a message.

        Args:
            entry: the message.
        """

    @abstractmethod
    def encode_gap(self, gap: Gap) -> PreparedMessage | None:
        """Encode a gap; return ``None`` if clients are not told.

        Args:
            gap: the gap.
        """


class Plain(Format):
    """Messages as they were published; clients are not told of gaps."""

    def encode(self, entry: Entry) -> PreparedMessage:
        return PreparedMessage(entry.message)

    def encode_gap(self, gap: Gap) -> None:
        return None


PLAIN = Plain()
"""Messages as they were published."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of a topic is kept: the first limit that is reached decides.

    Attributes:
        entries: the limit on the number of messages.
        seconds: the limit on their age; ``None`` for none.
    """

    entries: int = 1000
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.entries is None:
            raise TypeError("entries must be an int: a history without a limit grows for ever")
        check_count("entries", self.entries)
        check_seconds("seconds", self.seconds)


class Entry:
    """A published message.

    It is encoded once for each format, however many subscribers get it, now or from the history.

    Attributes:
        topic: its topic.
        message: the message: ``str`` for text, ``bytes`` for binary.
        position: its position; ``None`` if its topic has no history.
    """

    __slots__ = ("_prepared", "message", "position", "topic")

    def __init__(self, topic: str, message: Data, position: Position | None) -> None:
        self.topic = topic
        self.message = message
        self.position = position
        self._prepared: dict[Format, PreparedMessage] = {}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.topic} {self.position}>"

    def prepared(self, form: Format) -> PreparedMessage:
        """Return the message, encoded by a format.

        Args:
            form: the format.
        """
        found = self._prepared.get(form)
        if found is None:
            found = self._prepared[form] = form.encode(self)
        return found


class Window(NamedTuple):
    """What a history has at one moment.

    Attributes:
        latest: the position of the last message that was published; offset 0 if there was none.
        entries: the messages that were asked for and that the history has, in order, up to the latest.
    """

    latest: Position
    entries: Sequence[Entry]


def missed(topic: str, after: Position | None, window: Window) -> tuple[Gap | None, Sequence[Entry]]:
    """Return what a subscriber has missed: the gap that comes first, if there is one, then messages.

    Args:
        topic: the topic.
        after: the last position that the subscriber has; ``None`` if it wants only what is published from
            now on; :data:`.START` if it wants all that the history has.
        window: the messages after that position, or more.
    """
    latest, entries = window
    if after is None:
        return None, ()
    same = after.epoch == latest.epoch and after.offset <= latest.offset
    if same:
        entries = entries[_index_after(entries, after.offset) :]
    first = entries[0].position if entries else None
    until = latest if first is None else first.previous
    if after == START or until == after:
        return None, entries
    return Gap(topic, "trimmed" if same else "lost", after, until), entries


def _index_after(entries: Sequence[Entry], offset: int) -> int:
    """Return the index of the first entry after an offset."""
    if not entries or entries[0].position is None:
        return 0
    # The offsets have no holes.
    return max(0, offset + 1 - entries[0].position.offset)


class History:
    """The history of one topic.

    Attributes:
        latest: the position of the last message; offset 0 before the first.
    """

    __slots__ = ("_entries", "_times", "latest", "retention", "topic")

    def __init__(self, topic: str, retention: Retention, epoch: str) -> None:
        """
        Args:
            topic: the topic.
            retention: how much is kept.
            epoch: an identifier that no other history of this topic has.
        """
        self.topic = topic
        self.retention = retention
        self.latest = Position(epoch, 0)
        self._entries: deque[Entry] = deque()
        self._times: deque[float] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, message: Data, now: float) -> Entry:
        """Add a message; return its entry.

        Args:
            message: the message.
            now: the time in seconds.
        """
        self.latest = Position(self.latest.epoch, self.latest.offset + 1)
        entry = Entry(self.topic, message, self.latest)
        self._entries.append(entry)
        self._times.append(now)
        self.trim(now)
        return entry

    def trim(self, now: float) -> None:
        """Remove what is not to be kept.

        Args:
            now: the time in seconds.
        """
        entries, times, retention = self._entries, self._times, self.retention
        while len(entries) > retention.entries:
            entries.popleft()
            times.popleft()
        if retention.seconds is not None:
            while times and now - times[0] >= retention.seconds:
                entries.popleft()
                times.popleft()

    def window(self, after: Position | None, now: float) -> Window:
        """Return the messages after a position, or all of them if the position has another epoch.

        Args:
            after: the position; ``None`` for no messages.
            now: the time in seconds.
        """
        self.trim(now)
        entries = self._entries
        if after is None or not entries:
            return Window(self.latest, ())
        if after.epoch != self.latest.epoch or after.offset > self.latest.offset:
            return Window(self.latest, tuple(entries))
        first = entries[0].position
        assert first is not None
        return Window(self.latest, tuple(islice(entries, max(0, after.offset + 1 - first.offset), None)))
