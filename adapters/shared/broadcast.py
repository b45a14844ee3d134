"""Broadcasts on all adapters, and the rest of those on asynchronous adapters.

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

from .asynchronous import AsyncConnection

__all__ = ["BaseBroadcast", "Broadcast", "broadcast"]


class BroadcastTarget(Interface):
    """A connection of an adapter, with all that a broadcast needs of it."""

    _send_queue: Outbox

    @property
    def protocol(self) -> Protocol:
        """The state machine of the connection."""

    def _write_at_once(self, buffers: list[bytes]) -> None:
        """Write the buffers that :func:`.deliver` returned; keep those that cannot be written yet."""

    def _react(self) -> object:
        """Handle events, and write."""


BroadcastTargetT = TypeVar("BroadcastTargetT", bound=BroadcastTarget)


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
            outcome = self._try(connection, policy)
            key, buffers, size, transformed = message.frame
            if outcome is Delivery.SKIPPED:
                self.skipped.append(connection)
            elif outcome is Delivery.WAITING:
                self.waiting.append(connection)

    def _try(self, connection: BroadcastTargetT, policy: SlowPolicy) -> Delivery | None:
        """Send the message on a connection; return the outcome, ``None`` if it is being written."""
        outcome = deliver(connection.protocol, self._message, policy)
        if isinstance(outcome, list):
            connection._write_at_once(outcome)
            return None
        if outcome is Delivery.QUEUED or outcome is Delivery.CLOSING:
            connection._react()
        return outcome


class Broadcast(BaseBroadcast[AsyncConnection]):
    """The result of :func:`broadcast`. With the policy ``"wait"``, awaiting it sends to the slow connections.

    Attributes:
        skipped: open connections that do not get the message.
        waiting: slow connections that have not got the message yet, in no particular order. They get it
            when they are writable, while this object is awaited.
    """

    def __await__(self) -> Generator[Any, Any, None]:
        return self._serve_waiting().__await__()

    async def _serve_waiting(self) -> None:
        if not self.waiting:
            return
        woken: dict[_Slow, None] = {}
        event = self.waiting[0]._make_event()

        def wake(slow: _Slow) -> None:
            woken[slow] = None
            event.set()

        # The same order as ``waiting``.
        left = [_Slow(connection, index, wake) for index, connection in enumerate(self.waiting)]
        woken.update(dict.fromkeys(left))
        try:
            while left:
                if not woken:
                    event = left[0].connection._make_event()
                    await event.wait()
                slow, _ = woken.popitem()
                if self._serve(slow):
                    slow.leave()
                    woken.pop(slow, None)
                    # The last connection takes its index, and the others keep theirs.
                    last = left.pop()
                    self.waiting.pop()
                    if last is not slow:
                        last.index = slow.index
                        left[last.index], self.waiting[last.index] = last, last.connection
        finally:
            for slow in left:
                slow.leave()

    def _serve(self, slow: _Slow) -> bool:
        """Send the message if the connection is writable and its turn has come; return whether it is done."""
        if not slow.may_send():
            return False
        if self._try(slow.connection, "wait") is not Delivery.WAITING:
            return True
        slow.wait_for_room()
        return False


class _Slow:
    """A slow connection of a broadcast, which is in the queue of the connection's senders.

    Attributes:
        connection: the connection.
        index: its index among the waiting connections.
    """

    def __init__(self, connection: AsyncConnection, index: int, wake: Callable[[_Slow], None]) -> None:
        self.connection = connection
        self.index = index
        self._wake = partial(wake, self)
        self._place = connection._senders.join(self._wake)
        connection._waiters.add(connection._has_ended, self._wake)

    def may_send(self) -> bool:
        """Whether the broadcast is the first of the senders, or the connection has ended."""
        return self._place.first or self.connection._has_ended()

    def wait_for_room(self) -> None:
        self.connection._waiters.add(self.connection._may_write, self._wake)

    def leave(self) -> None:
        """Stop waiting."""
        self._place.leave()
        waiters = self.connection._waiters
        waiters.remove(self.connection._has_ended, self._wake)
        waiters.remove(self.connection._may_write, self._wake)


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
