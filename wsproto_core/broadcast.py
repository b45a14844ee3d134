"""Sending one message on many connections, without waiting for any of them.

With thousands of connections, the cost of a broadcast is the memory that it has to look at for each. So
everything that it needs of a connection is in one small object, the send queue, which also remembers, as
long as nothing else happens, that a shared frame can be written at once. In all other cases the broadcast
takes a longer way.
"""

from __future__ import annotations

import enum
from typing import Literal, TypeAlias, get_args

from .prepared import PreparedMessage
from .protocol import Protocol
from .types import CloseCode

__all__ = ["Delivery", "SlowPolicy", "check_policy", "deliver", "not_written"]

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
    if protocol.writable and not protocol.send_queue.writer.building:
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
