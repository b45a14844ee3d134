"""The backplane on NATS: topics of several processes and machines. It needs the extra ``nats``.

Each topic has a subject for its live messages, ``PREFIX.live.TOPIC``. A message without a history is
published there. One with a history is published to a stream of JetStream, and the server passes on what the
stream has accepted: see :mod:`.jetstream`. NATS does not deliver what is published while the connection is
lost, or a subscriber is too slow: the offsets show that, and the history is read.

Subjects have only ASCII letters and digits, ``-``, ``_`` and ``~``: all else in topics is percent-encoded.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any
from urllib.parse import quote, unquote

from wsproto_core.types import Data

from ..shared.positions import Position
from .backplane import BackplaneLost, Receiver, Request
from .engine import EngineBackplane
from .history import Entry, Retention, Window
from .jetstream import Histories, decode, encode, together
from .memory import new_epoch
from .nats_connection import FAILURES, Connection
from .patterns import check_topic

__all__ = ["NatsBackplane"]

ROOM_FOR_HEADERS = 512
"""Bytes of the server's limit on messages that their headers may take."""

AT_ONCE = 16
"""Topics whose histories are read at once."""

LISTEN_AT_ONCE = 500
"""Subscriptions that are sent before the server is waited for."""

MOST_RECENT = 10_000
"""Limit on the identifiers of messages that are remembered, so that none is taken twice."""


class NatsBackplane(EngineBackplane):
    """Topics of all processes that use the same NATS servers, version 2.9 or newer, on asyncio.

    A process has one connection. Histories need JetStream.
    """

    _failures = FAILURES
    _prefix_form = re.compile(r"[0-9A-Za-z_-]{1,32}")
    _prefix_rule = "has 1 to 32 letters, digits, '_' and '-'"

    def __init__(
        self,
        servers: str | list[str] = "nats://localhost:4222",
        *,
        prefix: str = "topics",
        timeout: float = 5.0,
        check_interval: float = 5.0,
        durable: bool = False,
        **options: Any,
    ) -> None:
        """
        Args:
            servers: the address of a server, ``nats://host:port`` or ``tls://host:port``, or of several
                servers of a cluster.
            prefix: the beginning of the names of subjects and streams.
            timeout: the deadline in seconds for connecting, for publishing and for each answer.
            check_interval: the seconds between two questions whether the server is there.
            durable: whether histories are in the server's files, and not in its memory. Then they outlive the
                server; the end of a history must not be lost when its machine fails: let the server write at
                once (``sync_interval: always``). A cluster needs this.
            options: those of ``nats.connect``, without its callbacks and those on reconnecting.

        Raises:
            TypeError, ValueError: an argument is not allowed.
        """
        super().__init__(prefix, timeout, check_interval)
        self._servers = servers
        self._options = options
        self._prefix = prefix
        self._timeout = timeout
        self._check_interval = check_interval
        self._histories = Histories(
            self._ask,
            self._send,
            prefix,
            timeout=timeout,
            storage="file" if durable else "memory",
        )
        self._connection: Connection | None = None
        # Messages of transient topics have identifiers: NATS sends a message once for each subject that it
        # matches, also while subscriptions change.
        self._process = new_epoch()
        self._published = 0
        self._recent: dict[str, None] = {}

    @property
    def last_heard(self) -> float | None:
        """When the server last sent anything, in seconds since 1970; ``None`` if it never did."""
        if self._connection is not None and self._connection.last_heard is not None:
            self._last_heard = self._connection.last_heard
        return self._last_heard

    async def close(self, receiver: Receiver) -> None:
        """Nothing is left: the task has closed the connection."""

    async def _connect(self) -> None:
        connection = Connection(self._prefix, self._timeout, self._take)
        try:
            await connection.open(self._servers, self._options)
        except BaseException:
            await connection.close()
            raise
        self._connection = connection
        self._histories.reset()

    async def _receive(self) -> None:
        await self._connected().run(self._check_interval)

    async def _disconnect(self) -> None:
        self._last_heard = self.last_heard
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _connected(self) -> Connection:
        if self._connection is None:
            raise BackplaneLost("there is no connection to NATS")
        return self._connection

    async def _ask(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None
    ) -> bytes | None:
        return await self._connected().ask(subject, payload, headers)

    async def _send(self, subject: str, payload: bytes) -> None:
        await self._connected().send(subject, payload)

    # Live messages

    def _live(self, name: str) -> str:
        """Return the subject for the live messages of a topic or a pattern."""
        words = [">" if word == "**" else quote(word, safe="*") for word in name.split(".")]
        return f"{self._prefix}.live.{'.'.join(words)}"

    def _take(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        assert self._receiver is not None
        name = subject.removeprefix(f"{self._prefix}.live.")
        try:
            topic = check_topic(unquote(name, errors="strict"))
            epoch, number, links, message = decode(payload)
            position = None if epoch == "-" else Position.parse(f"{epoch}:{number}")
            sequence = int(headers.get("Nats-Sequence", 0))
            stream = headers.get("Nats-Stream", "")
        except ValueError:
            return  # somebody else has published it
        if message is None:
            return
        if position is not None:
            self._histories.heard(name, stream, position, links, sequence)
        elif number in self._recent:
            return
        else:
            self._recent[number] = None
            if len(self._recent) > MOST_RECENT:
                del self._recent[next(iter(self._recent))]
        self._receiver.received(Entry(topic, message, position))

    # What topics call

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
            ValueError: the message is too large for the server.
        """
        connection = self._connected()
        size = len(message.encode() if isinstance(message, str) else message) + ROOM_FOR_HEADERS
        if size > connection.max_payload:
            raise ValueError(
                f"the message has {size} bytes with its headers, and this NATS server takes "
                f"{connection.max_payload} at most: see max_payload in its configuration"
            )
        try:
            if retention is not None:
                return await self._histories.publish(quote(topic, safe="."), message, retention)
            self._published += 1
            payload = encode("-", f"{self._process}{self._published}", (), message)
            await connection.send(self._live(topic), payload)
            await connection.check()
        except BackplaneLost:
            raise
        except FAILURES as error:
            raise BackplaneLost(f"it is not known whether the message was published: {error!r}") from error
        return None

    async def read(self, requests: Mapping[str, Request]) -> Mapping[str, Window]:
        found: dict[str, Window] = {}
        topics = list(requests)
        try:
            for start in range(0, len(topics), AT_ONCE):
                part = topics[start : start + AT_ONCE]
                calls = (
                    self._histories.read(topic, quote(topic, safe="."), requests[topic]) for topic in part
                )
                found.update(zip(part, await together(calls), strict=True))
        except BackplaneLost:
            raise
        except FAILURES as error:
            raise BackplaneLost(f"reading the history has failed: {error!r}") from error
        return found

    async def listen(self, names: Collection[str]) -> None:
        await self._change(names, Connection.subscribe)

    async def ignore(self, names: Collection[str]) -> None:
        await self._change(names, Connection.unsubscribe)

    async def _change(
        self, names: Collection[str], change: Callable[[Connection, str], Awaitable[None]]
    ) -> None:
        """Subscribe or unsubscribe, and wait until the server has done it."""
        connection = self._connected()
        subjects = list(map(self._live, names))
        try:
            for start in range(0, len(subjects), LISTEN_AT_ONCE):
                for subject in subjects[start : start + LISTEN_AT_ONCE]:
                    await change(connection, subject)
                await connection.check()
        except FAILURES as error:
            raise BackplaneLost(f"the connection to NATS was lost: {error!r}") from error
