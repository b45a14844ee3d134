"""The feed of one topic in one process: the order of live messages, and catching up. No I/O, and no clock.

A backplane delivers live messages at most once, and may miss some while it is not connected. Its history has
them all. The feed puts both together: it passes each message on exactly once and in order. A message that
does not follow the last one is held back until the history has been read; a message that was passed on
already is dropped. Subscribers that come with a position wait for the same read: one read serves all that
wait.

Topics without a history have messages without positions, which are passed on as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar
from typing import Protocol as Interface

from ..shared.positions import START, Gap, Position
from .history import Entry, Window, missed

__all__ = ["Feed", "Member"]

MOST_HELD = 1000
"""Limit on the messages that are held back during a read; what is over it is read again."""


class Member(Interface):
    """A subscriber of a topic."""

    def begin(self, position: Position | None, gap: Gap | None, entries: Sequence[Entry]) -> object:
        """Take what was missed; live messages follow.

        Args:
            position: the position of the last live message before those that follow.
            gap: the gap before the messages.
            entries: the messages.
        """


MemberT = TypeVar("MemberT", bound=Member)


class Feed(Generic[MemberT]):
    """The feed of one topic.

    Attributes:
        topic: the topic.
        resumable: whether it has a history.
        stale: whether messages may be missing until the history has been read.
        position: the position of the last message that was passed on, or before which live messages begin;
            ``None`` as long as it is not known.
        waiting: members that wait for a read, with the positions that they have.
    """

    def __init__(
        self,
        topic: str,
        *,
        resumable: bool,
        deliver: Callable[[Entry], object],
        tell: Callable[[Gap], object],
    ) -> None:
        """
        Args:
            topic: the topic.
            resumable: whether it has a history.
            deliver: passes a live message on to all that have begun.
            tell: tells all that have begun of a gap.
        """
        self.topic = topic
        self.resumable = resumable
        self.stale = False
        self.position: Position | None = None
        self.waiting: dict[MemberT, Position | None] = {}
        self._deliver = deliver
        self._tell = tell
        self._reading = False
        # Live messages that cannot be passed on before the history is read.
        self._held: list[Entry] = []
        # How many of them had come before the read began: the history has these, or they are lost.
        self._held_before = 0
        # Whether this read is not enough: more was missed since it began, or more came than can be held.
        self._again = False
        # The members that the read serves, and the position when it began.
        self._served: list[MemberT] = []
        self._began_at: Position | None = None
        # Live messages that were passed on during the read.
        self._recent: list[Entry] = []

    @property
    def needs_read(self) -> bool:
        """Whether the history is to be read: :meth:`begin_read`."""
        return self.resumable and not self._reading and (self.stale or bool(self.waiting))

    # Members

    def join(self, member: MemberT, after: Position | None) -> None:
        """Add a member, which begins now or after the next read.

        Args:
            member: the member.
            after: the last position that it has, or ``None`` for live messages alone.
        """
        if not self.resumable:
            lost = after is not None and after != START
            member.begin(None, Gap(self.topic, "lost", after) if lost else None, ())
        elif self.position is not None and not self.stale and after in (None, self.position):
            member.begin(self.position, None, ())
        else:
            self.waiting[member] = after

    def leave(self, member: MemberT) -> None:
        """Remove a member that may be waiting.

        Args:
            member: the member.
        """
        self.waiting.pop(member, None)

    # Live messages

    def received(self, entry: Entry) -> None:
        """Take a live message.

        Args:
            entry: the message.
        """
        self._take(entry, final=False)

    def _take(self, entry: Entry, *, final: bool) -> None:
        """Pass a message on, drop it, or hold it back; if it is ``final``, it is not held back again."""
        position = entry.position
        if position is None:
            self._deliver(entry)
            return
        if self.position is None:
            self.position = position.previous
        here = self.position
        if not self.stale:
            if position.epoch == here.epoch and position.offset <= here.offset:
                return
            follows = position == (here.epoch, here.offset + 1)
            if follows or (final and position.epoch == here.epoch):
                if not follows:
                    self._tell(Gap(self.topic, "lost", here, position.previous))
                self._pass_on(entry, position)
                return
            if final:
                return
            self.stale = True
        if len(self._held) < MOST_HELD:
            self._held.append(entry)
        else:
            # The history has it.
            self._again = True

    def _pass_on(self, entry: Entry, position: Position) -> None:
        self.position = position
        if self._reading:
            self._recent.append(entry)
        self._deliver(entry)

    def disconnected(self) -> None:
        """The backplane is connected again after a loss: live messages may be missing."""
        if self.resumable:
            self.stale = self._again = True
        else:
            self._tell(Gap(self.topic, "disconnected"))

    # Reading the history

    def begin_read(self) -> Position | None:
        """Begin a read: return the position after which messages are to be read, ``None`` for none."""
        self._reading = True
        self._held_before = len(self._held)
        self._again = False
        self._recent = []
        self._began_at = self.position
        self._served = list(self.waiting)
        wanted = [after for after in self.waiting.values() if after is not None]
        if self.position is not None and (wanted or self.stale):
            wanted.append(self.position)
        if len({position.epoch for position in wanted}) > 1:
            # At least one of them has lost its epoch and gets all that there is.
            return START
        return min(wanted, key=lambda position: position.offset, default=None)

    def failed_read(self) -> None:
        """The read has failed, and is to be repeated."""
        self._reading = False

    def finish_read(self, window: Window) -> None:
        """End a read.

        Args:
            window: what the history had at some moment since :meth:`begin_read`.
        """
        self._reading = False
        self.stale = self._again
        held, self._held = self._held, []
        latest, began_at = window.latest, self._began_at
        if self.position is None:
            self.position = latest
        elif self.position.epoch == latest.epoch and began_at is not None and latest < began_at:
            # The engine has lost the end of the history, but not its epoch.
            self._tell(Gap(self.topic, "lost", self.position, latest))
            self.position = latest
        elif self.position < latest if self.position.epoch == latest.epoch else self.position == began_at:
            gap, entries = missed(self.topic, self.position, window)
            if gap is not None:
                self._tell(gap)
            for entry in entries:
                self._deliver(entry)
            self.position = latest
        later = self._passed_on_after(latest)
        if self.position == latest or later:
            for member in self._served:
                if member in self.waiting:
                    after = self.waiting.pop(member)
                    gap, entries = missed(self.topic, after, window)
                    member.begin(self.position, gap, () if after is None else [*entries, *later])
        self._recent = []
        for index, entry in enumerate(held):
            self._take(entry, final=index < self._held_before)

    def _passed_on_after(self, latest: Position) -> list[Entry]:
        """Return the messages that were passed on during a read and follow what it found, without a hole."""
        positions = [each.position for each in self._recent]
        following = (latest.epoch, latest.offset + 1)
        return self._recent[positions.index(following) :] if following in positions else []
