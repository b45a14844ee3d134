"""Topics: connections subscribe, and anyone publishes.

Decisions are made without I/O: :mod:`.history`, :mod:`.feed` and :mod:`.backlog`. This module binds them to
connections and to a backplane. Two tasks run as long as topics are open: one serves slow connections, the
other talks to the backplane, in batches: it listens to what is subscribed to, and reads the histories that
subscribers wait for.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self, get_args

from wsproto_core.checks import check_count
from wsproto_core.frames import prepare_data
from wsproto_core.types import BytesLike, CloseCode, Data, State

from ..shared.asynchronous import AsyncConnection, RuntimeEvent
from ..shared.blocks import AsyncOnce
from ..shared.options import Logger
from ..shared.positions import Gap, Position
from .backlog import Policy, check_policy
from .backplane import Backplane, BackplaneLost, Request
from .delivery import Audience, Pump, Subscription
from .feed import Feed
from .history import PLAIN, Entry, Format, Retention
from .memory import MemoryBackplane
from .patterns import check_name, check_topic, is_pattern, pattern_matches
from .tasks import Tasks, tasks_here

__all__ = ["Health", "Topics"]

OnLoss = Literal["keep", "close"]

BATCH = 100
"""Topics whose histories are read together."""

MOST_MATCHES = 10_000
"""Limit on the topics for which the patterns that match are remembered."""


@dataclass(frozen=True, slots=True)
class Health:
    """The condition of topics at one moment.

    Attributes:
        healthy: whether there is a connection to the engine.
        last_heard: when the engine last answered, in seconds since 1970; ``None`` if it never did.
        losses: how often the connection to the engine was lost, or could not be made.
        reconnections: how often there was a connection again after a loss.
        published: messages that this process has published.
        received: live messages that this process has got, of its own and of others.
        delivered: messages that were written to connections at once, without a backlog.
        gaps: gaps that subscribers were told of.
        dropped: messages that the policies of slow connections have removed.
        closed: connections that were closed because they were slow.
        subscriptions: subscriptions of this process.
        connections: connections of this process with subscriptions.
    """

    healthy: bool
    last_heard: float | None
    losses: int
    reconnections: int
    published: int
    received: int
    delivered: int
    gaps: int
    dropped: int
    closed: int
    subscriptions: int
    connections: int


class _Name:
    """A topic or a pattern with subscriptions.

    Attributes:
        audience: the live subscriptions.
        count: the number of subscriptions, live or not.
        joining: subscriptions that wait until the backplane listens, with their positions.
    """

    __slots__ = ("audience", "count", "joining")

    def __init__(self) -> None:
        self.audience = Audience()
        self.count = 0
        self.joining: dict[Subscription, Position | None] = {}


class _Attached:
    """A connection with subscriptions."""

    __slots__ = ("subscriptions", "wake")

    def __init__(self, wake: Callable[[], object]) -> None:
        self.wake = wake
        self.subscriptions: dict[str, Subscription] = {}


class Topics(AsyncOnce):
    """Topics, to which connections subscribe; an asynchronous context manager, for one use.

    ::

        async with Topics() as topics, serve(handler, "localhost", 8765) as server:
            await server.serve_forever()

    A subscription ends with its connection. At the end of the block, all subscriptions end; connections stay
    open. All methods are for the event loop in which the block was entered.
    """

    made_by = "Topics"

    def __init__(
        self,
        backplane: Backplane | None = None,
        *,
        history: Retention | Mapping[str, Retention] | None = None,
        max_pattern_topics: int | None = 10_000,
        on_loss: OnLoss = "keep",
        on_gap: Callable[[Subscription, Gap], object] | None = None,
        on_health: Callable[[bool, Exception | None], object] | None = None,
        logger: Logger | None = None,
    ) -> None:
        """
        Args:
            backplane: connects processes; ``None`` for topics of this process alone.
            history: how much of each topic is kept; a mapping has topics and patterns, of which the first
                that matches decides. ``None``, or no match, keeps nothing.
            max_pattern_topics: the limit on topics with a history to which this process subscribes by
                patterns alone, and of which it knows the position: about 1 KB each. Above it, the position
                that was not used for the longest time is removed. If a message of its topic comes later,
                subscribers are told of a gap first, ``"evicted"``, whether messages are missing or not.
                ``None`` for no limit, if nobody else chooses the names of topics.
            on_loss: ``"keep"`` keeps connections open when the engine is lost, ``"close"`` closes those with
                subscriptions with code 1012.
            on_gap: called with a subscription and a gap when the subscriber is told of the gap.
            on_health: called with false and the error when the engine is lost, and with true and ``None``
                when there is a connection to it.
            logger: the logger; ``None`` for ``wsproto_core.topics``.

        Raises:
            TypeError, ValueError: an argument is not allowed.
        """
        if on_loss not in get_args(OnLoss):
            raise ValueError(f"on_loss must be 'keep' or 'close', not {on_loss!r}")
        if backplane is not None and not isinstance(backplane, Backplane):
            raise TypeError(f"backplane must be a Backplane or None, not {backplane!r}")
        check_count("max_pattern_topics", max_pattern_topics)
        self._backplane = MemoryBackplane() if backplane is None else backplane
        self._history = {"**": history} if isinstance(history, Retention) else dict(history or {})
        for name, retention in self._history.items():
            check_name(name)
            if not isinstance(retention, Retention):
                raise TypeError(f"history must have objects of Retention, not {retention!r}")
        self._max_pattern_topics = max_pattern_topics
        self._on_loss = on_loss
        self._on_gap = on_gap
        self._on_health = on_health
        self._logger: Logger = logger or logging.getLogger("wsproto_core.topics")
        self._pump = Pump(self._told, self._end)
        self._receiver = _Receiver(self)
        self._attached: dict[AsyncConnection, _Attached] = {}
        self._names: dict[str, _Name] = {}
        self._patterns: dict[str, _Name] = {}  # those of the names that are patterns
        self._feeds: dict[str, Feed[Subscription]] = {}
        # Topics whose feeds only patterns need, in the order of use; whether feeds were removed from it.
        self._unnamed: OrderedDict[str, None] = OrderedDict()
        self._evicted = False
        self._matches: dict[str, tuple[_Name, ...]] = {}
        # What the backplane listens to, and the names whose subscriptions have changed since.
        self._listening: set[str] = set()
        self._changed: dict[str, None] = {}
        # Topics whose history is to be read.
        self._to_read: dict[str, None] = {}
        self._work: RuntimeEvent | None = None
        self._tasks: Tasks | None = None
        self._healthy = False
        self._renewed = False
        self._losses = self._reconnections = self._published = self._received = 0
        self._delivered = self._gaps = self._subscriptions = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self._names)} names, {self._subscriptions} subscriptions>"

    # The block

    async def __aenter__(self) -> Self:
        self._begin()
        tasks = tasks_here()
        if tasks.runtime not in self._backplane.runtimes:
            needed = " or ".join(self._backplane.runtimes)
            raise RuntimeError(
                f"{type(self._backplane).__name__} needs {needed}, but {tasks.runtime} runs this"
            )
        await tasks.open()
        self._tasks = tasks
        try:
            tasks.start(partial(self._pump.run, tasks.make_event, tasks.checkpoint))
            tasks.start(self._run)
            await self._backplane.open(self._receiver, tasks)
        except BaseException:
            await self._close(tasks)
            raise
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        tasks = self._open_tasks()
        for websocket in list(self._attached):
            self._end(websocket)
        try:
            await self._close(tasks)
        finally:
            await self._backplane.close(self._receiver)

    async def _close(self, tasks: Tasks) -> None:
        self._tasks = None
        self._healthy = False
        await tasks.close()

    def _open_tasks(self) -> Tasks:
        if self._tasks is None:
            raise RuntimeError("the topics are not open: use 'async with Topics() as topics:'")
        return self._tasks

    # What users call

    async def subscribe(
        self,
        websocket: AsyncConnection,
        topic: str,
        *,
        after: Position | str | None = None,
        policy: Policy = "skip",
        queue: int | None = 128,
        form: Format = PLAIN,
    ) -> Subscription:
        """Subscribe a connection to a topic, or to all topics that a pattern stands for.

        When this returns, the messages that are published from now on are delivered. While the engine is
        lost, it returns as well, and the subscription becomes live when there is a connection again.

        Args:
            websocket: a connection of an adapter with coroutines.
            topic: the topic, such as ``"room.1"``; or a pattern, in which ``*`` stands for one word, and
                ``**`` at the end for one or more.
            after: the last position that the subscriber has: it gets what was published after it. It may be
                the text of a position. :data:`.START` stands for all that the history has, ``None`` for what
                is published from now on.
            policy: what happens when the connection is slow and the queue is full: see :data:`.Policy`.
            queue: the limit on live messages that wait for a slow connection; ``None`` for no limit.
            form: the form in which messages are sent; by default as they were published.

        Returns:
            The subscription.

        Raises:
            ConnectionClosed: the connection is not open.
            ValueError: the connection has this subscription already, or an argument is not allowed.
            RuntimeError: the topics are not open.
        """
        tasks = self._open_tasks()
        check_name(topic)
        check_policy(policy)
        check_count("queue", queue)
        if isinstance(after, str):
            after = Position.parse(after)
        if after is not None and is_pattern(topic):
            raise ValueError(f"a pattern has no position, and {topic!r} is a pattern: leave out after")
        if is_pattern(topic) and not self._backplane.patterns:
            raise ValueError(
                f"{type(self._backplane).__name__} has no patterns, and {topic!r} is one: "
                "subscribe to each topic"
            )
        if not websocket.open:
            raise websocket.protocol.close_exception()
        subscription = Subscription(websocket, topic, policy, queue, form, self._pump)
        self._add(subscription, after)
        if not subscription.live and self._healthy:
            subscription._begun = tasks.make_event()
            try:
                await subscription._begun.wait()
            except BaseException:
                self._remove(subscription)
                raise
            if not websocket.open:
                raise websocket.protocol.close_exception()
        return subscription

    async def unsubscribe(self, websocket: AsyncConnection, topic: str) -> None:
        """End a subscription; do nothing if there is none.

        Args:
            websocket: the connection.
            topic: the topic, or the pattern, of the subscription.
        """
        attached = self._attached.get(websocket)
        subscription = None if attached is None else attached.subscriptions.get(topic)
        if subscription is not None:
            self._remove(subscription)
        await self._open_tasks().checkpoint()

    async def publish(self, topic: str, message: Data | BytesLike) -> Position | None:
        """Publish a message: all subscribers get it, in all processes.

        While the engine is lost, a message of a topic without a history is delivered in this process.

        Args:
            topic: the topic.
            message: ``str`` is sent as text, bytes-like as binary.

        Returns:
            The position of the message; ``None`` if the topic has no history.

        Raises:
            BackplaneLost: the engine is lost. If it was lost during the call, the message may have been
                published or not.
            TypeError, ValueError: an argument is not allowed.
            RuntimeError: the topics are not open.
        """
        tasks = self._open_tasks()
        check_topic(topic)
        _, payload = prepare_data(message)
        data: Data = message if isinstance(message, str) else bytes(payload)
        await tasks.checkpoint()
        retention = self._retention(topic)
        if self._healthy:
            position = await self._backplane.publish(topic, data, retention)
            self._published += 1
            return position
        if retention is not None:
            raise BackplaneLost(
                f"there is no connection to the engine: the message for {topic!r} was not published"
            )
        self._published += 1
        self._take(Entry(topic, data, None))
        return None

    def subscribers(self, topic: str) -> int:
        """Return the number of subscriptions of this process that get the messages of a topic.

        Args:
            topic: the topic.
        """
        check_topic(topic)
        name = self._names.get(topic)
        return (0 if name is None else name.count) + sum(each.count for each in self._matching(topic))

    @property
    def healthy(self) -> bool:
        """Whether there is a connection to the engine."""
        return self._healthy

    @property
    def health(self) -> Health:
        """The condition, with counters, at this moment."""
        return Health(
            healthy=self._healthy,
            last_heard=self._backplane.last_heard,
            losses=self._losses,
            reconnections=self._reconnections,
            published=self._published,
            received=self._received,
            delivered=self._delivered,
            gaps=self._gaps,
            dropped=self._pump.dropped,
            closed=self._pump.closed,
            subscriptions=self._subscriptions,
            connections=len(self._attached),
        )

    # Subscriptions

    def _retention(self, topic: str) -> Retention | None:
        for name, retention in self._history.items():
            if pattern_matches(name, topic):
                return retention
        return None

    def _add(self, subscription: Subscription, after: Position | None) -> None:
        websocket, topic = subscription.websocket, subscription.topic
        attached = self._attached.get(websocket)
        if attached is None:
            attached = self._attached[websocket] = _Attached(partial(self._pump.gone, websocket))
            # The connection wakes it when it has ended, however it ends.
            websocket._waiters.add(websocket._has_ended, attached.wake)
        elif topic in attached.subscriptions:
            raise ValueError(f"this connection subscribes to {topic!r} already")
        attached.subscriptions[topic] = subscription
        self._subscriptions += 1
        name = self._names.get(topic)
        if name is None:
            name = self._names[topic] = _Name()
            self._unnamed.pop(topic, None)
            if is_pattern(topic):
                self._patterns[topic] = name
                self._matches.clear()
        name.count += 1
        subscription._audience = name.audience
        if self._healthy and not self._renewed and topic in self._listening and topic not in self._changed:
            self._join(subscription, after)
        else:
            name.joining[subscription] = after
            self._changed[topic] = None
            self._set_work()

    def _join(self, subscription: Subscription, after: Position | None) -> None:
        """Make a subscription live, now or after a read."""
        topic = subscription.topic
        if topic in self._patterns:
            subscription.begin(None, None, ())
            return
        feed = self._feeds.get(topic)
        if feed is None:
            feed = self._make_feed(topic, None)
        feed.join(subscription, after)
        self._look_at(feed)

    def _remove(self, subscription: Subscription) -> None:
        websocket, topic = subscription.websocket, subscription.topic
        attached = self._attached[websocket]
        if attached.subscriptions.get(topic) is not subscription:
            return
        del attached.subscriptions[topic]
        self._subscriptions -= 1
        if not attached.subscriptions:
            del self._attached[websocket]
            websocket._waiters.remove(websocket._has_ended, attached.wake)
        feed = self._feeds.get(topic)
        if feed is not None:
            feed.leave(subscription)
        subscription._leave()
        name = self._names[topic]
        name.joining.pop(subscription, None)
        name.count -= 1
        if name.count:
            return
        del self._names[topic]
        if self._healthy:
            self._changed[topic] = None
            self._set_work()
        else:
            # With the next connection, the backplane listens to all names anew.
            self._changed.pop(topic, None)
        if self._patterns.pop(topic, None) is not None:
            self._matches.clear()
            for each in [each for each in self._unnamed if not self._matching(each)]:
                del self._feeds[each], self._unnamed[each]
            self._evicted = self._evicted and bool(self._patterns)
        elif feed is not None and self._retention(topic) is not None and self._matching(topic):
            self._use(topic)
        else:
            self._feeds.pop(topic, None)

    def _end(self, websocket: AsyncConnection) -> None:
        """End all subscriptions of a connection."""
        attached = self._attached.get(websocket)
        if attached is not None:
            for subscription in list(attached.subscriptions.values()):
                self._remove(subscription)

    # Messages

    def _make_feed(self, topic: str, position: Position | None) -> Feed[Subscription]:
        """Make the feed of a topic, which begins after a position; ``None`` if that is not known."""
        feed: Feed[Subscription] = Feed(
            topic,
            resumable=self._retention(topic) is not None,
            deliver=self._deliver,
            tell=self._tell,
        )
        self._feeds[topic] = feed
        first = position is not None and position.offset == 0
        if self._evicted and feed.resumable and not first:
            # It may be a topic whose feed was removed.
            self._tell(Gap(topic, "evicted", None, position))
        return feed

    def _use(self, topic: str) -> None:
        """Use a feed that only patterns need, and remove the one that was not used for the longest time."""
        self._unnamed[topic] = None
        self._unnamed.move_to_end(topic)
        if self._max_pattern_topics is None or len(self._unnamed) <= self._max_pattern_topics:
            return
        oldest, _ = self._unnamed.popitem(last=False)
        feed = self._feeds.pop(oldest)
        self._evicted = True
        if feed.stale:
            # It may have messages that wait for a read.
            self._tell(Gap(oldest, "evicted", feed.position))

    def _matching(self, topic: str) -> tuple[_Name, ...]:
        """Return the patterns that stand for a topic."""
        if not self._patterns:
            return ()
        found = self._matches.get(topic)
        if found is None:
            found = tuple(name for each, name in self._patterns.items() if pattern_matches(each, topic))
            if len(self._matches) >= MOST_MATCHES:
                self._matches.clear()
            self._matches[topic] = found
        return found

    def _audiences(self, topic: str) -> list[Audience]:
        name = self._names.get(topic)
        found = [each.audience for each in self._matching(topic)]
        return found if name is None else [name.audience, *found]

    def _take(self, entry: Entry) -> None:
        """Take a live message of the backplane."""
        feed = self._feeds.get(entry.topic)
        if feed is None:
            if not self._matching(entry.topic):
                return
            if entry.position is None:
                self._received += 1
                self._deliver(entry)
                return
            feed = self._make_feed(entry.topic, entry.position.previous)
        self._received += 1
        if entry.topic not in self._names:
            self._use(entry.topic)
        feed.received(entry)
        self._look_at(feed)

    def _deliver(self, entry: Entry) -> None:
        for audience in self._audiences(entry.topic):
            self._delivered += audience.deliver(entry)

    def _tell(self, gap: Gap) -> None:
        for audience in self._audiences(gap.topic):
            audience.tell(gap)

    def _told(self, subscription: Subscription, gap: Gap) -> None:
        self._gaps += 1
        if self._on_gap is not None:
            self._call(self._on_gap, subscription, gap)

    def _call(self, hook: Callable[..., object], *args: Any) -> None:
        try:
            hook(*args)
        except Exception as error:
            self._logger.error("a function given to Topics failed", exc_info=error)

    # The backplane

    def _lost(self, error: Exception) -> None:
        self._healthy = False
        self._losses += 1
        self._logger.warning("the engine of the topics is lost: %s", error)
        for attached in list(self._attached.values()):
            for subscription in attached.subscriptions.values():
                if subscription._begun is not None:
                    subscription._begun.set()
        if self._on_loss == "close":
            for websocket in list(self._attached):
                if websocket.protocol.state is State.OPEN:
                    websocket.protocol.close(CloseCode.SERVICE_RESTART, "the server is reconnecting")
                    websocket._react()
        if self._on_health is not None:
            self._call(self._on_health, False, error)

    def _restored(self) -> None:
        self._healthy = self._renewed = True
        if self._losses:
            self._reconnections += 1
            self._logger.info("the engine of the topics is there again")
        self._set_work()
        if self._on_health is not None:
            self._call(self._on_health, True, None)

    def _set_work(self) -> None:
        if self._work is not None:
            self._work.set()

    def _look_at(self, feed: Feed[Subscription]) -> None:
        if feed.needs_read:
            self._to_read[feed.topic] = None
            self._set_work()

    async def _run(self) -> None:
        """Listen to what is subscribed to, and read what is waited for, until the task is cancelled."""
        tasks = self._open_tasks()
        while True:
            self._work = tasks.make_event()
            if not self._healthy or not (self._renewed or self._changed or self._to_read):
                await self._work.wait()
                continue
            try:
                await self._listen()
                await self._read()
            except BackplaneLost:
                if self._healthy:
                    # The backplane has still to notice, or only this call has failed.
                    await tasks.sleep(0.1)

    async def _listen(self) -> None:
        renewed, self._renewed = self._renewed, False
        before = set(self._listening)
        if renewed:
            self._listening.clear()
            self._changed = dict.fromkeys(self._names)
        changed = list(self._changed)
        add = [each for each in changed if each in self._names and each not in self._listening]
        remove = [each for each in changed if each not in self._names and each in self._listening]
        try:
            if add:
                await self._backplane.listen(add)
                self._listening.update(add)
            if remove:
                await self._backplane.ignore(remove)
                self._listening.difference_update(remove)
        except BackplaneLost:
            self._renewed = self._renewed or renewed
            self._listening |= before
            raise
        if renewed:
            self._disconnected(before)
        for each in changed:
            name = self._names.get(each)
            if each in self._listening and name is not None:
                joining, name.joining = name.joining, {}
                for subscription, after in joining.items():
                    self._join(subscription, after)
            if (name is not None) is (each in self._listening):
                self._changed.pop(each, None)

    def _disconnected(self, before: set[str]) -> None:
        """The backplane listens again: messages may have been missed since it listened before."""
        for feed in list(self._feeds.values()):
            feed.disconnected()
            self._look_at(feed)
        for pattern, name in list(self._patterns.items()):
            if pattern in before:
                name.audience.tell(Gap(pattern, "disconnected"))

    async def _read(self) -> None:
        while self._to_read:
            feeds: dict[str, tuple[Feed[Subscription], Request]] = {}
            for topic in list(self._to_read)[:BATCH]:
                del self._to_read[topic]
                feed = self._feeds.get(topic)
                retention = self._retention(topic)
                if feed is not None and feed.needs_read and retention is not None:
                    feeds[topic] = feed, Request(feed.begin_read(), retention)
            if not feeds:
                continue
            try:
                windows = await self._backplane.read({topic: each[1] for topic, each in feeds.items()})
            except BackplaneLost:
                for topic, (feed, _) in feeds.items():
                    feed.failed_read()
                    self._to_read[topic] = None
                raise
            for topic, (feed, _) in feeds.items():
                if self._feeds.get(topic) is feed:
                    feed.finish_read(windows[topic])
                    self._look_at(feed)


class _Receiver:
    """What a backplane calls."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics

    def received(self, entry: Entry) -> None:
        self._topics._take(entry)

    def lost(self, error: Exception) -> None:
        self._topics._lost(error)

    def restored(self) -> None:
        self._topics._restored()
