"""Sending one message on many connections, without waiting for any of them.

With thousands of connections, the cost of a broadcast is the memory that it has to look at for each. So
everything that it needs of a connection is in one small object, the send queue, which also remembers, as
long as nothing else happens, that a shared frame can be written at once. In all other cases the broadcast
takes a longer way.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Generic, Literal, TypeAlias, TypeVar, get_args
from typing import Protocol as Interface

from .outbox import Outbox
from .prepared import PreparedMessage
from .protocol import Protocol
from .types import BytesLike, CloseCode, Data

__all__ = ["BaseBroadcast", "Delivery", "SlowPolicy", "check_policy", "deliver", "not_written"]

SlowPolicy: TypeAlias = Literal["skip", "close", "wait"]
"""The treatment of a connection that has no room for a message: "skip": it does not get the message;
"close": it is closed with code 1013; "wait": it gets the message later."""


class Delivery(enum.Enum):
    """The outcome for one connection on which the message is not written at once."""

    QUEUED = "queued"
    """It is in the send queue, behind other frames: write :meth:`~.Protocol.data_to_send`."""
    SKIPPED = "skipped"
    """There is no room for it, and it will not be sent."""
    CLOSING = "closing"
    """There is no room for it, and the connection is being closed: handle events, and write."""
    WAITING = "waiting"
    """There is no room for it yet: it is to be sent when there is, by ``send``."""
    CLOSED = "closed"
    """The connection is not open, and it will not be sent."""


def check_policy(policy: object) -> None:
    """Check that a value is a :data:`SlowPolicy`.

    Raises:
        ValueError: it is not.
    """
    if policy not in get_args(SlowPolicy):
        raise ValueError(f"policy must be 'skip', 'close' or 'wait', not {policy!r}")


def deliver(
    protocol: Protocol, message: PreparedMessage, policy: SlowPolicy = "skip"
) -> list[bytes] | Delivery:
    """Send a message on one of many connections.

    There is no room for it while the connection is not :attr:`~.Protocol.writable`. Nor is there within
    a message that is being sent in fragments; the connection is not closed for that, but skipped.

    Args:
        policy: what to do when there is no room; see :func:`check_policy`.

    Returns:
        Buffers to write now, which must not be altered. They count as written: call
        :func:`not_written` for bytes that could not be. Or, if there is nothing to write now, the
        outcome.
    """
    queue, frame = protocol.send_queue, message.frame
    if queue.ready is not frame.key or (frame.transformed and not queue.context_is_stale):
        if not queue.accepts_broadcasts:
            return Delivery.CLOSED
        if not queue.make_ready(message):
            return _deliver_later(protocol, message, policy)
        frame = message.frame
    queue.shared += 1
    queue.bytes_sent += frame.size
    return frame.buffers


def _deliver_later(protocol: Protocol, message: PreparedMessage, policy: SlowPolicy) -> Delivery:
    if protocol.writable and not protocol.send_queue.building:
        protocol.send(message)
        return Delivery.QUEUED
    if policy == "wait":
        return Delivery.WAITING
    if policy == "skip" or protocol.writable:
        return Delivery.SKIPPED
    protocol.close(CloseCode.TRY_AGAIN_LATER, "too slow")
    return Delivery.CLOSING


def not_written(protocol: Protocol, count: int) -> None:
    """So many bytes of the buffers that :func:`deliver` returned last could not be written yet.

    Tell by :meth:`~.Protocol.data_sent` when they have been.
    """
    protocol.send_queue.not_written(count)


class BroadcastTarget(Interface):
    """A connection of an adapter, with all that a broadcast needs of it."""

    _send_queue: Outbox

    @property
    def protocol(self) -> Protocol:
        """The state machine of the connection."""

    def _write_at_once(self, buffers: list[bytes]) -> None:
        """Write the buffers that :func:`deliver` returned; keep those that cannot be written yet."""

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
        """Send the message on a connection; return what has become of it, unless it is being written."""
        outcome = deliver(connection.protocol, self._message, policy)
        if isinstance(outcome, list):
            connection._write_at_once(outcome)
            return None
        if outcome is Delivery.QUEUED or outcome is Delivery.CLOSING:
            connection._react()
        return outcome
