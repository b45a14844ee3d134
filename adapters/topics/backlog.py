"""What a slow subscriber has still to get: a bounded queue, and the policy when it is full.

Messages that a policy removes leave a gap in their place, which the subscriber is told of in its turn. No
I/O, and no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal, TypeAlias, get_args

from ..shared.positions import Gap
from .history import Entry

__all__ = ["Backlog", "Policy", "check_policy"]

Policy: TypeAlias = Literal["skip", "oldest", "latest", "close"]
"""What happens to a message when the queue of a subscriber is full: "skip": this message is removed;
"oldest": the oldest one in the queue is; "latest": only the latest message is kept at any time; "close": the
connection is closed with code 1013."""


def check_policy(policy: object) -> None:
    """Check that a value is a :data:`Policy`.

    Raises:
        ValueError: it is not.
    """
    if policy not in get_args(Policy):
        names = ", ".join(map(repr, get_args(Policy)))
        raise ValueError(f"policy must be one of {names}, not {policy!r}")


# What all backlogs have that are empty, as most are at any time: a deque takes 760 bytes, also without items.
_NOTHING: deque[Entry | Gap] = deque()


class Backlog:
    """A queue of messages and gaps. It is true if it is not empty.

    Attributes:
        dropped: the number of messages that the policy has removed.
    """

    __slots__ = ("_items", "_limit", "_live", "_policy", "_replayed", "dropped")

    def __init__(self, policy: Policy, limit: int | None) -> None:
        """
        Args:
            policy: what happens when the queue is full.
            limit: the limit on live messages in the queue; the policy ``"latest"`` has a limit of 1; ``None``
                for no limit.
        """
        self._policy = policy
        self._limit = 1 if policy == "latest" else limit
        self._items = _NOTHING
        # Messages of the history, which come first. The history limits their number.
        self._replayed = 0
        self._live = 0
        self.dropped = 0

    def __bool__(self) -> bool:
        return bool(self._items)

    def __len__(self) -> int:
        """The number of messages."""
        return self._replayed + self._live

    def _append(self, item: Entry | Gap) -> None:
        if self._items is _NOTHING:
            self._items = deque()
        self._items.append(item)

    def replay(self, gap: Gap | None, entries: Iterable[Entry]) -> None:
        """Add what a subscriber has missed.

        Args:
            gap: the gap that comes first.
            entries: messages.
        """
        if gap is not None:
            self._append(gap)
        for entry in entries:
            if self._policy == "latest":
                self.add(entry)
            else:
                self._append(entry)
                self._replayed += 1

    def tell(self, gap: Gap) -> None:
        """Add a gap."""
        self._append(gap)

    def add(self, entry: Entry) -> bool:
        """Add a live message, or apply the policy.

        Args:
            entry: the message.

        Returns:
            Whether the connection may stay open.
        """
        if self._limit is None or self._live < self._limit:
            self._append(entry)
            self._live += 1
            return True
        if self._policy == "close":
            return False
        self.dropped += 1
        if self._policy == "skip":
            self._add_missing(entry)
            return True
        # Messages of the history come before live ones, and are older.
        if self._replayed:
            self._replayed -= 1
            self._live += 1
        self._drop_oldest()
        self._append(entry)
        return True

    def _add_missing(self, entry: Entry) -> None:
        """A message at the end is missing."""
        if entry.position is None:
            return
        last = self._items[-1] if self._items else None
        if isinstance(last, Gap) and last.reason == "slow" and last.until == entry.position.previous:
            self._items[-1] = Gap(entry.topic, "slow", last.after, entry.position)
        else:
            self._append(Gap(entry.topic, "slow", entry.position.previous, entry.position))

    def _drop_oldest(self) -> None:
        """Remove the oldest message, and leave a gap in its place."""
        before: list[Gap] = []
        while isinstance(item := self._items.popleft(), Gap):
            before.append(item)
        if item.position is not None:
            last = before[-1] if before else None
            if last is not None and last.until == item.position.previous and last.topic == item.topic:
                before[-1] = Gap(item.topic, last.reason, last.after, item.position)
            else:
                before.append(Gap(item.topic, "slow", item.position.previous, item.position))
        self._items.extendleft(reversed(before))

    @property
    def first(self) -> Entry | Gap:
        """The next item to send."""
        return self._items[0]

    def pop(self) -> None:
        """Remove the next item, which has been sent."""
        item = self._items.popleft()
        if not self._items:
            self._items = _NOTHING
        if isinstance(item, Gap):
            return
        if self._replayed:
            self._replayed -= 1
        else:
            self._live -= 1

    def clear(self) -> None:
        """Remove all."""
        self._items = _NOTHING
        self._replayed = self._live = 0
