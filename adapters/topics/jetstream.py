"""Histories of topics in JetStream, the store of NATS: publishing with positions, and reading. No connection.

A stream has all topics whose histories have the same limit on entries, with a subject for each topic. With a
stream for each topic, the server would count offsets by itself. But each stream costs a server 65 KiB and two
open files, and making one takes the longer the more there are: 20,000 topics would take 1.3 GB and minutes.
As subjects of one stream they take 19 MB and a second.

The sequence numbers of such a stream have holes for each topic. So the publisher gives a message its epoch
and its offset, and the server accepts it only if the last message of the topic is still the one that the
publisher knows (``Nats-Expected-Last-Subject-Sequence``). Of two processes that publish at once, the server
refuses one, which looks at the last message and tries again at once: who waits longer than others would not
get its turn. A refused message was not published, so nothing appears twice. When there is no answer, there is
no other attempt. So a topic takes about one message in the time of a question and its answer.

The last message of a topic has its epoch and its offset. When it is lost, with the stream, by a purge or with
the server's memory, the next message begins another epoch. So nothing is removed by its age alone before
``FORGET``. What is too old is not delivered, and is purged when the topic is published to. A stream that is
made again has another name, so that its sequence numbers are not taken for those of the one that was deleted.

Each message has the sequence numbers of some messages before it in its topic. A history is read backwards
from the last message, as far as it is wanted: without state in the server, and only what is missing.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from typing import Protocol as Interface

from wsproto_core.types import Data

from ..shared.positions import Position
from .backplane import BackplaneLost, Request
from .history import Entry, Retention, Window
from .memory import new_epoch

__all__ = ["Ask", "Histories", "decode", "encode", "together"]

T = TypeVar("T")

FORGET = 30 * 86400
"""Seconds after which an unused topic is forgotten: its next history has another epoch."""

LINKS = 8
"""The sequence numbers of earlier messages that a message has: so many are read at once."""

MOST_TOPICS = 10_000
"""Limit on the topics whose last message is remembered for the next publishing."""

RETRY_DELAY = 0.05
"""Seconds before the next attempt when nobody answers for a stream that exists: it has no leader yet."""

# Codes of JetStream's errors.
_NO_MESSAGE = 10037
_NO_STREAM = 10059
_OTHER_STREAM = 10060
_SUBJECTS_OVERLAP = 10065
_WRONG_SEQUENCE = 10071


class Ask(Interface):
    """Sends a request."""

    def __call__(
        self, subject: str, payload: bytes, headers: Mapping[str, str] | None = None
    ) -> Awaitable[bytes | None]:
        """Return the answer; ``None`` if nobody listens to the subject.

        Raises:
            OSError: there was no answer.
        """


# The form of messages


def encode(epoch: str, number: str, links: Iterable[int], message: Data | None) -> bytes:
    """Return the payload for a message.

    Args:
        epoch: its epoch; ``"-"`` without a history.
        number: its offset; without a history, an identifier without spaces.
        links: sequence numbers of the messages before it in its topic, in order.
        message: the message; ``None`` for the mark of a history without messages.
    """
    if message is None:
        data = b"-"
    else:
        data = b"b" + message if isinstance(message, bytes) else b"t" + message.encode()
    return f"{epoch} {number} {','.join(map(str, links)) or '-'} ".encode() + data


def decode(payload: bytes) -> tuple[str, str, tuple[int, ...], Data | None]:
    """Return what :func:`encode` was given.

    Raises:
        ValueError: somebody else has published it.
    """
    epoch, number, links, data = payload.split(b" ", 3)
    kind, data = data[:1], data[1:]
    message: Data | None
    if kind == b"t":
        message = data.decode()
    elif kind == b"b":
        message = data
    elif kind == b"-":
        message = None
    else:
        raise ValueError("neither text nor binary")
    numbers = () if links == b"-" else tuple(int(each) for each in links.split(b","))
    return epoch.decode(), number.decode(), numbers, message


class _Stored(NamedTuple):
    """A message in a stream.

    Attributes:
        stream: the stream.
        position: its position; offset 0 for the mark of a history without messages.
        sequence: its sequence number in the stream; 0 if there is no message yet.
        links: sequence numbers of the messages before it in its topic.
        message: the message.
        time: when it was published, in seconds since 1970.
    """

    stream: str
    position: Position
    sequence: int
    links: tuple[int, ...] = ()
    message: Data | None = None
    time: float = 0.0


class _Head:
    """What this process knows of the end of a topic.

    Attributes:
        last: the last message that is known; ``None`` if the server is to be asked.
        turn: publishers of this process wait here for each other.
        purged: when what was too old was last purged, and the message that was the last one then.
    """

    __slots__ = ("last", "purged", "turn")

    def __init__(self) -> None:
        self.last: _Stored | None = None
        self.turn = asyncio.Lock()
        self.purged: tuple[float, _Stored] | None = None

    def hear(self, stored: _Stored) -> None:
        """Take a message, which may be the last one."""
        last = self.last
        if last is None or last.stream != stored.stream or last.sequence < stored.sequence:
            self.last = stored


class _Refused(BackplaneLost):
    """JetStream has refused a request, and has done nothing.

    Attributes:
        code: the code of the error.
        description: the error.
    """

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"NATS has refused a request: {description}")
        self.description = description
        self.code = code


class Histories:
    """The histories of topics in JetStream."""

    def __init__(
        self,
        ask: Ask,
        send: Callable[[str, bytes], Awaitable[None]],
        prefix: str,
        *,
        timeout: float,
        storage: str,
    ) -> None:
        """
        Args:
            ask: sends a request.
            send: sends a request whose answer nobody waits for.
            prefix: the beginning of the names of streams and subjects.
            timeout: the deadline in seconds for publishing a message.
            storage: ``"memory"`` or ``"file"``.
        """
        self._ask = ask
        self._send = send
        self._prefix = prefix
        self._timeout = timeout
        self._storage = storage
        # The names of streams by their limits on entries, and topics in the order of use.
        self._streams: dict[int, str] = {}
        self._heads: dict[str, _Head] = {}

    def reset(self) -> None:
        """Forget what is known: there is another connection, to a server that may have lost everything."""
        self._streams.clear()
        self._heads.clear()

    def heard(
        self, name: str, stream: str, position: Position, links: tuple[int, ...], sequence: int
    ) -> None:
        """Take the position of a live message, so that the next one is not refused.

        Args:
            name: the topic, as it is in subjects.
            stream: the stream that has the message.
            position: the position.
            links: the sequence numbers of the messages before it.
            sequence: the sequence number of the message.
        """
        head = self._heads.get(name)
        if head is not None and head.last is not None:
            head.hear(_Stored(stream, position, sequence, links))

    # Publishing

    async def publish(self, name: str, message: Data, retention: Retention) -> Position:
        """Publish a message.

        Args:
            name: its topic, as it is in subjects.
            message: the message.
            retention: how much of the topic is kept.

        Returns:
            Its position.

        Raises:
            BackplaneLost: it was not published.
            OSError: it is not known whether it was published.
        """
        head = self._head(name)
        async with head.turn:
            try:
                async with asyncio.timeout(self._timeout):
                    await self._purge(name, head, retention)
                    while True:
                        added = await self._publish(name, message, retention, head)
                        if added is not None:
                            head.hear(added)
                            return added.position
            except TimeoutError as error:
                head.last = None
                raise TimeoutError(f"there was no answer for {self._timeout:g} seconds") from error
            except BaseException:
                # It may have been published or not: the server is asked before the next one.
                head.last = None
                raise

    def _head(self, name: str) -> _Head:
        head = self._heads.pop(name, None) or _Head()
        self._heads[name] = head
        if len(self._heads) > MOST_TOPICS:
            del self._heads[next(iter(self._heads))]
        return head

    async def _publish(self, name: str, message: Data, retention: Retention, head: _Head) -> _Stored | None:
        """Publish a message; return ``None`` if it was refused because it is not the next one."""
        stream = await self._stream(retention.entries)
        last = head.last
        if last is None or last.stream != stream:
            found = await self._last(stream, name, retention)
            # The next one may be later, and begins an epoch if there is none.
            last = found or _Stored(stream, Position(new_epoch(), 0), 0)
            last = head.last = last._replace(message=None)
        position = Position(last.position.epoch, last.position.offset + 1)
        links = (*last.links, last.sequence)[-LINKS:] if last.position.offset else ()
        added = _Stored(stream, position, last.sequence, links)
        sequence = await self._add(name, retention, added, message)
        if sequence is not None:
            return added._replace(sequence=sequence)
        if head.last is last:
            head.last = None
        return None

    async def _add(self, name: str, retention: Retention, added: _Stored, message: Data | None) -> int | None:
        """Add a message.

        Args:
            name: its topic, as it is in subjects.
            retention: how much of the topic is kept.
            added: what it is to be, with the sequence number of the one before it.
            message: the message.

        Returns:
            Its sequence number; ``None`` if it was refused because another one is before it.
        """
        stream, position, before, links, *_ = added
        payload = encode(position.epoch, str(position.offset), links, message)
        headers = {"Nats-Expected-Stream": stream, "Nats-Expected-Last-Subject-Sequence": str(before)}
        answer = await self._ask(self._subject(retention.entries, name), payload, headers)
        if answer is None:
            # The stream was deleted, or it has no leader: nobody has got the message.
            self._streams.pop(retention.entries, None)
            await asyncio.sleep(RETRY_DELAY)
            return None
        try:
            found = _checked(answer)
        except _Refused as error:
            if error.code == _OTHER_STREAM:
                self._streams.pop(retention.entries, None)
            elif error.code != _WRONG_SEQUENCE:
                raise BackplaneLost(
                    f"NATS has refused the message, which was not published: {error.description}"
                ) from error
            return None
        if found.get("stream") != stream:
            raise BackplaneLost(f"the answer is not of the stream {stream}: {answer[:200]!r}")
        return int(found["seq"])

    async def _purge(self, name: str, head: _Head, retention: Retention) -> None:
        """Remove messages that are too old, now and then."""
        if retention.seconds is None or head.last is None:
            return
        now = time.monotonic()
        if head.purged is not None:
            then, last = head.purged
            if now - then < retention.seconds:
                return
            # With 1, which has none before it, NATS purges everything.
            if last.sequence > 1:
                request = {"filter": self._subject(retention.entries, name), "seq": last.sequence}
                await self._send(f"$JS.API.STREAM.PURGE.{last.stream}", json.dumps(request).encode())
        head.purged = now, head.last

    # Reading

    async def read(self, topic: str, name: str, request: Request) -> Window:
        """Read a history.

        Args:
            topic: the topic.
            name: the topic, as it is in subjects.
            request: what is wanted.

        Returns:
            What the history has.

        Raises:
            OSError: the history could not be read.
        """
        after, retention = request
        last = None
        while last is None:
            stream = await self._stream(retention.entries)
            last = await self._last(stream, name, retention)
            if last is None:
                # A mark keeps the epoch until the first message. Somebody else may publish before.
                mark = _Stored(stream, Position(new_epoch(), 0), 0)
                await self._add(name, retention, mark, None)
        latest = last.position
        if after is None:
            return Window(latest, ())
        known = after.offset if after.epoch == latest.epoch and after.offset <= latest.offset else 0
        found = await self._backwards(name, retention, last, max(known, latest.offset - retention.entries))
        entries = [
            Entry(topic, each.message, each.position) for each in reversed(found) if each.message is not None
        ]
        return Window(latest, entries)

    async def _backwards(self, name: str, retention: Retention, last: _Stored, known: int) -> list[_Stored]:
        """Return the messages after an offset, from the last one backwards."""
        found: list[_Stored] = []
        got: list[_Stored | None] = [last] if last.position.offset > known else []
        while got:
            for each in got:
                if each is None or (found and each.position != found[-1].position.previous):
                    return found  # this one and all before it were trimmed
                if retention.seconds is not None and time.time() - each.time >= retention.seconds:
                    return found
                found.append(each)
            links = found[-1].links
            count = min(len(links), found[-1].position.offset - 1 - known)
            wanted = links[len(links) - count :]
            got = await together(
                self._get(last.stream, name, retention, {"seq": sequence}) for sequence in reversed(wanted)
            )
        return found

    async def _last(self, stream: str, name: str, retention: Retention) -> _Stored | None:
        """Return the last message of a topic."""
        subject = self._subject(retention.entries, name)
        return await self._get(stream, name, retention, {"last_by_subj": subject})

    async def _get(
        self, stream: str, name: str, retention: Retention, wanted: dict[str, Any]
    ) -> _Stored | None:
        """Return a message; remove what is no message of topics."""
        removed = None
        while True:
            try:
                answer = await self._call(f"STREAM.MSG.GET.{stream}", wanted)
            except _Refused as error:
                if error.code == _NO_STREAM:
                    self._streams.pop(retention.entries, None)
                elif error.code != _NO_MESSAGE:
                    raise
                return None
            raw = answer["message"]
            sequence = raw["seq"]
            if raw["subject"] != self._subject(retention.entries, name):
                return None
            try:
                epoch, offset, links, message = decode(base64.b64decode(raw.get("data", "")))
                position = Position.parse(f"{epoch}:{offset}")
            except ValueError as error:
                if sequence == removed:
                    raise BackplaneLost(f"a message of another program stays in {stream}") from error
                removed = sequence
                with suppress(_Refused):
                    await self._call(f"STREAM.MSG.DELETE.{stream}", {"seq": sequence, "no_erase": True})
                continue
            stamp = datetime.fromisoformat(raw["time"]).timestamp()
            return _Stored(stream, position, sequence, links, message, stamp)

    # Streams

    def _subject(self, entries: int, name: str) -> str:
        return f"{self._prefix}.kept.{entries}.{name}"

    async def _stream(self, entries: int) -> str:
        """Return the name of the stream for a limit on entries; make it if there is none."""
        name = self._streams.get(entries)
        if name is None:
            name = await self._find_stream(entries) or await self._make_stream(entries)
            self._streams[entries] = name
        return name

    async def _find_stream(self, entries: int) -> str | None:
        answer = await self._call("STREAM.LIST", {"subject": self._subject(entries, ">")})
        for each in answer.get("streams") or ():
            if each["config"]["name"].startswith(f"{self._prefix}-{entries}-"):
                return self._checked_name(each)
        return None

    def _checked_name(self, found: dict[str, Any]) -> str:
        """Return the name of a stream, if it has the right storage."""
        name: str = found["config"]["name"]
        storage: str = found["config"]["storage"]
        if storage != self._storage:
            raise BackplaneLost(
                f"the stream {name} is in the {storage} of NATS, and durable asks for {self._storage}: "
                "use the same durable in all processes, or delete the stream"
            )
        if storage == "memory" and (found.get("cluster") or {}).get("name"):
            # It would be empty, with the same name, after a restart that only its own server notices.
            raise BackplaneLost("NATS is a cluster, where histories have to be in files: use durable=True")
        return name

    async def _make_stream(self, entries: int) -> str:
        name = f"{self._prefix}-{entries}-{new_epoch()}"
        subjects = self._subject(entries, ">")
        settings = {
            "name": name,
            "subjects": [subjects],
            "retention": "limits",
            "discard": "old",
            "max_msgs_per_subject": entries,
            "max_age": FORGET * 10**9,
            "storage": self._storage,
            # With replicas, the check of the last message is made by the leader before they agree: when the
            # leader changes, two messages could have the same offset.
            "num_replicas": 1,
            # The server passes on what it has accepted, and nothing else.
            "republish": {"src": subjects, "dest": f"{self._prefix}.live.>"},
        }
        try:
            return self._checked_name(await self._call(f"STREAM.CREATE.{name}", settings))
        except _Refused as error:
            # Another process may have been faster.
            found = await self._find_stream(entries) if error.code == _SUBJECTS_OVERLAP else None
            if found is None:
                raise BackplaneLost(
                    f"NATS has refused to make the stream {name}: {error.description}"
                ) from error
            return found

    async def _call(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        """Call a function of JetStream."""
        answer = await self._ask(f"$JS.API.{name}", json.dumps(request).encode())
        if answer is None:
            raise BackplaneLost("NATS has no JetStream, which histories need: start nats-server with -js")
        return _checked(answer)


def _checked(answer: bytes) -> dict[str, Any]:
    """Return the answer to a request.

    Raises:
        _Refused: it was refused.
        BackplaneLost: it is no answer of JetStream.
    """
    try:
        found: dict[str, Any] = json.loads(answer)
        error = found.get("error")
    except (ValueError, AttributeError) as problem:
        raise BackplaneLost(f"this is no answer of JetStream: {answer[:200]!r}") from problem
    if error is not None:
        raise _Refused(error.get("err_code", 0), error.get("description", "no description"))
    return found


def _is_old(stored: _Stored, retention: Retention) -> bool:
    return retention.seconds is not None and time.time() - stored.time >= retention.seconds


async def together(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines at once; return their results. If one fails, end the others.

    Args:
        calls: the coroutines.
    """
    tasks = [asyncio.ensure_future(each) for each in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
