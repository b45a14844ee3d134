"""The interface of backplanes: what carries messages between the processes that share topics.

A backplane delivers live messages, and keeps histories. It need not deliver every live message: those of
topics with a history are found missing by their positions, and are read from the history; for others, it
tells of the loss. :class:`.MemoryBackplane` is the reference.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import NamedTuple
from typing import Protocol as Interface

from wsproto_core.types import Data

from ..shared.positions import Position
from .history import Entry, Retention, Window
from .tasks import Tasks

__all__ = ["Backplane", "BackplaneLost", "Receiver", "Request"]


class BackplaneLost(ConnectionError):
    """The engine behind the topics does not answer."""


class Receiver(Interface):
    """What a backplane calls; none of these methods waits."""

    def received(self, entry: Entry) -> object:
        """A live message has come.

        Args:
            entry: the message. It is delivered to all that subscribe to its topic, or to patterns for it.
        """

    def lost(self, error: Exception) -> object:
        """The connection to the engine is lost, and calls fail until :meth:`restored`.

        Args:
            error: the reason.
        """

    def restored(self) -> object:
        """There is a connection to the engine, which listens to nothing yet."""


class Request(NamedTuple):
    """A question about the history of a topic.

    Attributes:
        after: the position after which messages are wanted; ``None`` for the latest position alone.
        retention: how much the topic keeps.
    """

    after: Position | None
    retention: Retention


class Backplane(ABC):
    """A backplane, for one engine. Subclass it to bring another engine.

    Attributes:
        runtimes: the runtimes on which it works.
        patterns: whether it listens to patterns, too.
    """

    runtimes: Collection[str] = ("asyncio", "trio")
    patterns: bool = True

    @abstractmethod
    async def open(self, receiver: Receiver, tasks: Tasks) -> None:
        """Begin; call :meth:`Receiver.restored` now, or when there is a connection to the engine.

        Args:
            receiver: gets live messages, and is told of losses.
            tasks: run tasks as long as the topics are open.
        """

    @abstractmethod
    async def close(self, receiver: Receiver) -> None:
        """End; the tasks have ended already.

        Args:
            receiver: the one that :meth:`open` was given.
        """

    @abstractmethod
    async def publish(self, topic: str, message: Data, retention: Retention | None) -> Position | None:
        """Publish a message.

        Args:
            topic: its topic.
            message: ``str`` for text, ``bytes`` for binary.
            retention: how much of the topic is kept; ``None`` for nothing.

        Returns:
            Its position; ``None`` if nothing of the topic is kept.

        Raises:
            BackplaneLost: it is not known whether the message was published.
        """

    @abstractmethod
    async def listen(self, names: Collection[str]) -> None:
        """Receive the live messages of topics and patterns, also of those that are published soon after.

        Args:
            names: names of topics, and patterns.

        Raises:
            BackplaneLost: the engine does not answer.
        """

    @abstractmethod
    async def ignore(self, names: Collection[str]) -> None:
        """Receive no more live messages of topics and patterns.

        Args:
            names: names of topics, and patterns.

        Raises:
            BackplaneLost: the engine does not answer.
        """

    @abstractmethod
    async def read(self, requests: Mapping[str, Request]) -> Mapping[str, Window]:
        """Read histories.

        Args:
            requests: questions, by topic.

        Returns:
            What the histories have after the positions, by topic; if a position has another epoch, or an
            offset after the latest one, all that the history has.

        Raises:
            BackplaneLost: the engine does not answer.
        """

    @property
    @abstractmethod
    def last_heard(self) -> float | None:
        """When the engine last answered, in seconds since 1970; ``None`` if it never did."""
