"""From topics to connections: subscriptions, and the task that serves slow connections.

A live message goes to all connections that are writable in one call, which does not wait. A connection that
is not writable gets a backlog. Its subscription joins the queue of the connection's senders and is woken by
the connection; one task serves all that were woken. So a connection that is stuck takes a bounded backlog,
and no time of others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from wsproto_core.broadcast import Delivery
from wsproto_core.types import CloseCode, State

from ..shared.asynchronous import AsyncConnection, RuntimeEvent
from ..shared.broadcast import Broadcast, SlowTarget, send_now
from ..shared.positions import Gap, Position
from .backlog import Backlog, Policy
from .history import Entry, Format

__all__ = ["Audience", "Pump", "Subscription"]

TURN = 64
"""Messages that a slow connection gets before others have their turn."""


class Subscription:
    """A connection's subscription to a topic or a pattern; :meth:`.Topics.subscribe` returns it.

    Attributes:
        websocket: the connection.
        topic: the topic, or the pattern.
        policy: what happens when the connection is slow.
        live: whether live messages are delivered. Before that, the history is still to be read.
        position: the position after which live messages began; ``None`` before, and without a history.
    """

    def __init__(
        self,
        websocket: AsyncConnection,
        topic: str,
        policy: Policy,
        queue: int | None,
        form: Format,
        pump: Pump,
    ) -> None:
        self.websocket = websocket
        self.topic = topic
        self.policy = policy
        self.live = False
        self.position: Position | None = None
        self._form = form
        self._pump = pump
        self._backlog = Backlog(policy, queue)
        self._slow: SlowTarget[AsyncConnection] | None = None
        # Messages that are left of this turn among the connection's senders.
        self._left = 0
        self._audience: Audience | None = None
        self._begun: RuntimeEvent | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.topic} {self.websocket!r}>"

    @property
    def dropped(self) -> int:
        """The number of messages that were not sent because the connection was slow."""
        return self._backlog.dropped

    @property
    def queued(self) -> int:
        """The number of messages that wait until the connection is writable."""
        return len(self._backlog)

    def begin(self, position: Position | None, gap: Gap | None, entries: Sequence[Entry]) -> None:
        """Take what was missed; live messages follow. The feed of the topic calls this.

        Args:
            position: the position before the live messages.
            gap: the gap before the messages.
            entries: the messages.
        """
        if self._audience is None:
            return
        self.live = True
        self.position = position
        self._audience.add(self)
        if gap is not None or entries:
            before = self._backlog.dropped
            self._backlog.replay(gap, entries)
            self._pump.dropped += self._backlog.dropped - before
            self._become_slow()
        if self._begun is not None:
            self._begun.set()

    def _add(self, entry: Entry) -> None:
        """Put a live message behind the backlog, or apply the policy."""
        backlog = self._backlog
        before = backlog.dropped
        if not backlog.add(entry):
            self._refuse()
            return
        self._pump.dropped += backlog.dropped - before
        if self._slow is None:
            self._become_slow()

    def _refuse(self) -> None:
        self._backlog.clear()
        protocol = self.websocket.protocol
        if protocol.state is State.OPEN:
            self._pump.closed += 1
            protocol.close(CloseCode.TRY_AGAIN_LATER, "too slow")
            self.websocket._react()

    def _tell(self, gap: Gap) -> None:
        self._backlog.tell(gap)
        if self._slow is None:
            self._become_slow()

    def _become_slow(self) -> None:
        """Wait for room, and for the turn among the connection's senders."""
        if self._audience is not None:
            self._audience.set_slow(self)
        self._join()

    def _join(self) -> None:
        self._left = TURN
        self._slow = SlowTarget(self.websocket, 0, self._wake)
        self._slow.join()
        self._pump.wake(self)

    def _wake(self, slow: SlowTarget[AsyncConnection]) -> None:
        self._pump.wake(self)

    def _leave(self) -> None:
        """End the subscription."""
        self._backlog.clear()
        slow, self._slow = self._slow, None
        if slow is not None:
            slow.leave()
        audience, self._audience = self._audience, None
        if audience is not None:
            audience.remove(self)
        if self._begun is not None:
            self._begun.set()

    def _serve(self, told: Callable[[Subscription, Gap], object]) -> None:
        """Send from the backlog as much as there is room for."""
        slow, backlog = self._slow, self._backlog
        if slow is None or not slow.may_send():
            return
        while backlog and self._left:
            item = backlog.first
            gap = item if isinstance(item, Gap) else None
            message = self._form.encode_gap(item) if isinstance(item, Gap) else item.prepared(self._form)
            if message is not None and send_now(self.websocket, message, "wait") is Delivery.WAITING:
                slow.wait_for_room()
                return
            self._left -= 1
            # What was sent may have ended the subscription.
            if self._slow is not slow:
                return
            if backlog:
                backlog.pop()
            if gap is not None:
                told(self, gap)
        if self._slow is not slow:
            return
        # Other senders of this connection have their turn.
        slow.leave()
        if backlog:
            self._join()
        else:
            self._slow = None
            if self._audience is not None:
                self._audience.set_ready(self)


class Audience:
    """The subscriptions to one topic, or to one pattern, that are live.

    Those of writable connections are apart from the slow ones, by their format, so that a message goes to all
    of them in one call.
    """

    def __init__(self) -> None:
        self._ready: dict[Format, dict[AsyncConnection, Subscription]] = {}
        self._slow: dict[Subscription, None] = {}

    def add(self, subscription: Subscription) -> None:
        """Add a subscription, which is ready."""
        self.set_ready(subscription)

    def remove(self, subscription: Subscription) -> None:
        """Remove a subscription, if it is there."""
        self._slow.pop(subscription, None)
        self._take_ready(subscription)

    def set_ready(self, subscription: Subscription) -> None:
        """The backlog of a subscription is empty."""
        self._slow.pop(subscription, None)
        self._ready.setdefault(subscription._form, {})[subscription.websocket] = subscription

    def set_slow(self, subscription: Subscription) -> None:
        """A subscription has a backlog."""
        self._take_ready(subscription)
        self._slow[subscription] = None

    def _take_ready(self, subscription: Subscription) -> None:
        ready = self._ready.get(subscription._form)
        if ready is not None and ready.get(subscription.websocket) is subscription:
            del ready[subscription.websocket]
            if not ready:
                del self._ready[subscription._form]

    def deliver(self, entry: Entry) -> int:
        """Send a live message to all; return the number of connections that it was written to at once.

        Args:
            entry: the message.
        """
        count = 0
        slow = list(self._slow)
        for form, ready in list(self._ready.items()):
            subscriptions = dict(ready)
            waiting = Broadcast(subscriptions, entry.prepared(form), "wait").waiting
            count += len(subscriptions) - len(waiting)
            for websocket in waiting:
                subscriptions[websocket]._add(entry)
        for subscription in slow:
            subscription._add(entry)
        return count

    def tell(self, gap: Gap) -> None:
        """Tell all of a gap.

        Args:
            gap: the gap.
        """
        ready = [each for subscriptions in self._ready.values() for each in subscriptions.values()]
        for subscription in [*self._slow, *ready]:
            subscription._tell(gap)


class Pump:
    """The task that serves slow connections, and notices the end of connections.

    Attributes:
        dropped: the number of messages that policies have removed.
        closed: the number of connections that were closed because they were slow.
    """

    def __init__(
        self,
        told: Callable[[Subscription, Gap], object],
        ended: Callable[[AsyncConnection], object],
    ) -> None:
        """
        Args:
            told: called when a subscriber has been told of a gap.
            ended: called when a connection has ended.
        """
        self.dropped = 0
        self.closed = 0
        self._told = told
        self._ended = ended
        self._woken: dict[Subscription, None] = {}
        self._gone: dict[AsyncConnection, None] = {}
        self._event: RuntimeEvent | None = None

    def wake(self, subscription: Subscription) -> None:
        """A subscription may have room, or its turn. This may be called within a change of a connection."""
        self._woken[subscription] = None
        self._set()

    def gone(self, connection: AsyncConnection) -> None:
        """A connection has ended. This may be called within a change of it."""
        self._gone[connection] = None
        self._set()

    def _set(self) -> None:
        if self._event is not None:
            self._event.set()

    async def run(
        self, make_event: Callable[[], RuntimeEvent], checkpoint: Callable[[], Awaitable[None]]
    ) -> None:
        """Serve connections until the task is cancelled.

        Args:
            make_event: makes an event of the runtime.
            checkpoint: an asynchronous function that lets other tasks run.
        """
        while True:
            self._event = make_event()
            if not self._woken and not self._gone:
                await self._event.wait()
            await checkpoint()
            gone, self._gone = self._gone, {}
            for connection in gone:
                self._ended(connection)
            woken, self._woken = self._woken, {}
            for subscription in woken:
                subscription._serve(self._told)
