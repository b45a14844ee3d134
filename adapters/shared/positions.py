"""Positions of messages in the history of a topic, and gaps between them.

A topic's history has an *epoch*, which changes when the history is lost, and each message in it has an
*offset*: 1, 2, 3 and so on. Two positions can be compared only if they have the same epoch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

__all__ = ["START", "Gap", "GapReason", "Position"]

_TEXT = re.compile(r"([0-9A-Za-z_-]{0,64}):([0-9]{1,18})", re.ASCII)

GapReason: TypeAlias = Literal["trimmed", "lost", "slow", "disconnected", "evicted"]
"""Why messages are missing: "trimmed": the history does not have them any more; "lost": the history itself
was lost, and has another epoch; "slow": the policy of a slow subscription; "disconnected": the process was
not connected to the backplane, and messages without positions may have been published meanwhile; "evicted":
the process had removed the position of a topic to which it subscribes by patterns alone, and does not know
whether messages are missing."""


class Position(NamedTuple):
    """The position of a message in the history of its topic; ``str`` of it is a short text.

    Attributes:
        epoch: identifies the history; another epoch means that the history was lost and began anew.
        offset: the number of the message in this history; the first one has 1.
    """

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    @property
    def previous(self) -> Position:
        """The position before this one."""
        return Position(self.epoch, self.offset - 1)

    @classmethod
    def parse(cls, text: str) -> Position:
        """Return the position that ``str`` has made a text of.

        Args:
            text: the text, which may come from a client.

        Raises:
            ValueError: it is not the text of a position.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"a position is an epoch, a colon and a number, not {text[:100]!r}")
        return cls(match[1], int(match[2]))


START = Position("", 0)
"""The position before all messages that a history still has."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages of a topic that a subscriber does not get.

    Attributes:
        topic: the topic, or the pattern of a subscription.
        reason: why they are missing: see :data:`GapReason`.
        after: the position of the last message before the gap; ``None`` if it is not known.
        until: the position of the last missing message: the next one that the subscriber gets follows it.
            ``None`` if it is not known.
    """

    topic: str
    reason: GapReason
    after: Position | None = None
    until: Position | None = None

    @property
    def count(self) -> int | None:
        """The number of missing messages; ``None`` if it is not known."""
        if self.after is None or self.until is None or self.after.epoch != self.until.epoch:
            return None
        return self.until.offset - self.after.offset
