"""The backplane in memory: topics of one process, without an engine. It is the reference for the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from wsproto_core.checks import check_count
from wsproto_core.randomness import random_bytes
from wsproto_core.types import Data

from ..shared.positions import Position
from .backplane import Backplane, Receiver, Request
from .history import Entry, History, Retention, Window
from .tasks import Tasks

__all__ = ["MemoryBackplane", "new_epoch"]


def new_epoch() -> str:
    """Return an epoch that no other history has."""
    return random_bytes(8).hex()


class MemoryBackplane(Backplane):
    """Topics within one process. Histories end with this object.

    Histories take the memory of their messages, and of a frame for each kind of connection that has got them:
    see ``prepare``. There is a history for each topic with a retention that was published or subscribed to.
    """

    def __init__(
        self,
        *,
        max_histories: int | None = 10_000,
        clock: Callable[[], float] = time.monotonic,
        date: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            max_histories: the limit on histories. Above it, the one that was not used for the longest time is
                removed: whoever comes back to its topic, or is subscribed to it, is told of a gap. ``None``
                for no limit, if nobody else chooses the names of topics.
            clock: returns the time in seconds, for the age of messages.
            date: returns the seconds since 1970.

        Raises:
            TypeError, ValueError: the limit is not allowed.
        """
        check_count("max_histories", max_histories)
        self._max_histories = max_histories
        self._clock = clock
        self._date = date
        self._receivers: list[Receiver] = []
        self._histories: dict[str, History] = {}

    @property
    def last_heard(self) -> float:
        """This moment, in seconds since 1970: memory always answers."""
        return self._date()

    async def open(self, receiver: Receiver, tasks: Tasks) -> None:
        self._receivers.append(receiver)
        receiver.restored()

    async def close(self, receiver: Receiver) -> None:
        self._receivers.remove(receiver)

    async def publish(self, topic: str, message: Data, retention: Retention | None) -> Position | None:
        if retention is None:
            entry = Entry(topic, message, None)
        else:
            history = self._history(topic, retention)
            entry = history.append(message, self._clock())
        for receiver in tuple(self._receivers):
            receiver.received(entry)
        return entry.position

    def _history(self, topic: str, retention: Retention) -> History:
        # The dictionary is in the order of use.
        history = self._histories.pop(topic, None)
        if history is None:
            history = History(topic, retention, new_epoch())
        self._histories[topic] = history
        history.retention = retention
        if self._max_histories is not None and len(self._histories) > self._max_histories:
            del self._histories[next(iter(self._histories))]
        return history

    async def listen(self, names: Collection[str]) -> None:
        """Receivers get every message."""

    async def ignore(self, names: Collection[str]) -> None:
        """Receivers get every message."""

    async def read(self, requests: Mapping[str, Request]) -> Mapping[str, Window]:
        now = self._clock()
        return {
            topic: self._history(topic, request.retention).window(request.after, now)
            for topic, request in requests.items()
        }

    def forget(self, topic: str) -> None:
        """Remove the history of a topic; the next one has another epoch.

        Args:
            topic: the topic.
        """
        self._histories.pop(topic, None)
