"""Broadcasts on all adapters; on threads, the coroutines block.

:mod:`wsproto_core.broadcast` decides for each connection.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any, Generic, TypeVar
from typing import Protocol as Interface

from wsproto_core.broadcast import Delivery, SlowPolicy, check_policy, deliver
from wsproto_core.outbox import Outbox
from wsproto_core.prepared import PreparedMessage
from wsproto_core.protocol import Protocol
from wsproto_core.types import BytesLike, Data

from .asynchronous import AsyncConnection, RuntimeEvent
from .waiting import Turn, TurnQueue, Waiters

__all__ = ["BaseBroadcast", "Broadcast", "BroadcastTarget", "SlowTarget", "broadcast", "send_now"]


class BroadcastTarget(Interface):
    """A connection of an adapter, with all that a broadcast needs of it."""

    _send_queue: Outbox
    _senders: TurnQueue
    _waiters: Waiters

    @property
    def protocol(self) -> Protocol:
        """The state machine of the connection."""

    def _write_at_once(self, buffers: list[bytes]) -> None:
        """Write the buffers that :func:`.deliver` returned; keep those that cannot be written yet."""

    def _react(self) -> object:
        """Handle events, and write."""

    def _has_ended(self) -> bool:
        """Whether the connection has ended."""

    def _may_write(self) -> bool:
        """Whether the connection is writable, or has ended."""


BroadcastTargetT = TypeVar("BroadcastTargetT", bound=BroadcastTarget)


def send_now(
    connection: BroadcastTarget, message: PreparedMessage, policy: SlowPolicy = "skip"
) -> Delivery | None:
    """Send a message on a connection without waiting.

    Args:
        connection: the connection.
        message: the message.
        policy: see :func:`.deliver`.

    Returns:
        The outcome; ``None`` if the message is being written.
    """
    outcome = deliver(connection.protocol, message, policy)
    if isinstance(outcome, list):
        connection._write_at_once(outcome)
        return None
    if outcome is Delivery.QUEUED or outcome is Delivery.CLOSING:
        connection._react()
    return outcome


class BaseBroadcast(Generic[BroadcastTargetT]):
    """A message that goes to many connections of an adapter, and the connections that did not get it.

    Attributes:
        skipped: open connections that do not get the message.
        waiting: connections that have yet to get it, when they have room.

    Raises:
        TypeError: the message has another type.
        ValueError: the policy is unknown.
    """

    def __init__(
        self,
        connections: Iterable[BroadcastTargetT],
        message: Data | BytesLike | PreparedMessage,
        policy: SlowPolicy,
    ) -> None:
        check_policy(policy)
        self._message = message if isinstance(message, PreparedMessage) else PreparedMessage(message)
        self.skipped: list[BroadcastTargetT] = []
        self.waiting: list[BroadcastTargetT] = []
        self._deliver(connections, policy)

    def _deliver(self, connections: Iterable[BroadcastTargetT], policy: SlowPolicy) -> None:
        message = self._message
        key, buffers, size, transformed = message.frame
        for connection in connections:
            queue = connection._send_queue
            # The short way of deliver, without a call: most of thousands of connections take it.
            if queue.ready is key and (queue.context_is_stale or not transformed):
                queue.shared += 1
                queue.bytes_sent += size
                connection._write_at_once(buffers)
                continue
            outcome = send_now(connection, message, policy)
            key, buffers, size, transformed = message.frame
            if outcome is Delivery.SKIPPED:
                self.skipped.append(connection)
            elif outcome is Delivery.WAITING:
                self.waiting.append(connection)

    def _change(self, function: Callable[[SlowTarget[BroadcastTargetT]], Any], slow: Any) -> Any:
        """Call a function that changes a slow connection: on threads, with the connection's lock."""
        return function(slow)

    async def _serve_waiting(self, make_event: Callable[[], RuntimeEvent]) -> None:
        """Send the message on the waiting connections, when they have room.

        Args:
            make_event: makes an event of the runtime.
        """
        woken: dict[SlowTarget[BroadcastTargetT], None] = {}
        event = make_event()

        def wake(slow: SlowTarget[BroadcastTargetT]) -> None:
            woken[slow] = None
            event.set()

        # The same order as ``waiting``.
        left = [SlowTarget(connection, index, wake) for index, connection in enumerate(self.waiting)]
        try:
            for slow in left:
                self._change(SlowTarget.join, slow)
            woken.update(dict.fromkeys(left))
            while left:
                while not woken:
                    event = make_event()
                    # On threads, a connection may have woken this one since.
                    if not woken:
                        await event.wait()
                slow, _ = woken.popitem()
                if self._change(self._serve, slow):
                    woken.pop(slow, None)
                    # The last connection takes its index, and the others keep theirs.
                    last = left.pop()
                    self.waiting.pop()
                    if last is not slow:
                        last.index = slow.index
                        left[last.index], self.waiting[last.index] = last, last.connection
        finally:
            # On threads, a signal may interrupt the first call: then the second call follows.
            try:
                self._leave(left)
            except BaseException:
                self._leave(left)
                raise

    def _leave(self, left: list[SlowTarget[BroadcastTargetT]]) -> None:
        for slow in left:
            self._change(SlowTarget.leave, slow)

    def _serve(self, slow: SlowTarget[BroadcastTargetT]) -> bool:
        """Send the message if the connection is writable and its turn has come; return whether it is done."""
        if not slow.may_send():
            return False
        if send_now(slow.connection, self._message, "wait") is Delivery.WAITING:
            slow.wait_for_room()
            return False
        slow.leave()
        return True


class Broadcast(BaseBroadcast[AsyncConnection]):
    """The result of :func:`broadcast`. With the policy ``"wait"``, awaiting it sends to the slow connections.

    Attributes:
        skipped: open connections that do not get the message.
        waiting: slow connections that have not got the message yet, in no particular order. They get it
            when they are writable, while this object is awaited.
    """

    def __await__(self) -> Generator[Any, Any, None]:
        return self._wait().__await__()

    async def _wait(self) -> None:
        if self.waiting:
            await self._serve_waiting(self.waiting[0]._make_event)


class SlowTarget(Generic[BroadcastTargetT]):
    """A slow connection, and a place in the queue of its senders that needs no task.

    Attributes:
        connection: the connection.
        index: its index among the waiting connections.
    """

    def __init__(
        self,
        connection: BroadcastTargetT,
        index: int,
        wake: Callable[[SlowTarget[BroadcastTargetT]], None],
    ) -> None:
        """
        Args:
            connection: the connection.
            index: its index among the waiting connections.
            wake: called when it may be writable, or have its turn, or have ended.
        """
        self.connection = connection
        self.index = index
        self._wake = partial(wake, self)
        self._place: Turn | None = None

    def join(self) -> None:
        """Join the queue."""
        self._place = self.connection._senders.join(self._wake)
        self.connection._waiters.add(self.connection._has_ended, self._wake)

    def may_send(self) -> bool:
        """Whether the broadcast is the first of the senders, or the connection has ended."""
        return (self._place is not None and self._place.first) or self.connection._has_ended()

    def wait_for_room(self) -> None:
        """Wake when the connection is writable, or has ended."""
        self.connection._waiters.add(self.connection._may_write, self._wake)

    def leave(self) -> None:
        """Stop waiting; this may be called more than once."""
        place, self._place = self._place, None
        if place is not None:
            waiters = self.connection._waiters
            waiters.remove(self.connection._has_ended, self._wake)
            waiters.remove(self.connection._may_write, self._wake)
            place.leave()


def broadcast(
    connections: Iterable[AsyncConnection],
    message: Data | BytesLike | PreparedMessage,
    policy: SlowPolicy = "skip",
) -> Broadcast:
    """Send a message on many connections, without waiting for any of them.

    The message is encoded once, and on a server compressed once for all connections with the same settings.
    Connections that are not open are ignored. A connection is slow if it is not writable: if its send queue
    has more than ``write_limit`` bytes.

    Args:
        connections: this adapter's connections.
        message: ``str`` is sent as text, bytes-like as binary, a prepared message as it was prepared.
        policy: how slow connections are handled: ``"skip"`` does not send to them, ``"close"`` closes them
            with code 1013, ``"wait"`` sends when they are writable, while the result is awaited. A
            connection on which a fragmented message is being sent is skipped, or waits.

    Returns:
        The skipped and the waiting connections; with the policy ``"wait"``, await it.

    Raises:
        TypeError: the message has another type.
        ValueError: the policy is unknown.
    """
    return Broadcast(connections, message, policy)
