"""Sending one message on many connections, without waiting for any of them.

This is a part of the state machine that has a file of its own. It reaches into :class:`.Protocol`:
with thousands of connections, what a broadcast costs is how much memory of each it has to look at. So
what it needs of a connection is in one small object, the outbox, which also knows, as long as nothing
else happens, that there is nothing to look at. All others take longer ways.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Generic, Literal, TypeAlias, TypeVar, get_args
from typing import Protocol as Interface

from .outbox import Outbox
from .prepared import PreparedMessage
from .protocol import Protocol
from .states import Phase
from .types import BytesLike, CloseCode, Data

__all__ = ["BaseBroadcast", "Delivery", "SlowPolicy", "check_policy", "deliver", "not_written"]

SlowPolicy: TypeAlias = Literal["skip", "close", "wait"]
"""What becomes of a connection that has no room for a message: it does not get it, or is closed with
code 1013, or gets it later."""

_OPEN = Phase.OPEN


class Delivery(enum.Enum):
    """What has become of a message on one connection, unless it is to be written at once."""

    QUEUED = "queued"
    """It is to be sent, behind what is on its way: ask :meth:`~.Protocol.data_to_send`, as ever."""
    SKIPPED = "skipped"
    """There is no room for it, and it will not be sent."""
    CLOSING = "closing"
    """There is no room for it, and the connection is being closed: handle events, and write."""
    WAITING = "waiting"
    """There is no room for it yet: it is to be sent when there is, by ``send``."""
    CLOSED = "closed"
    """The connection is not open, and it will not be sent."""


def check_policy(policy: object) -> None:
    """Refuse what is no :data:`SlowPolicy`.

    Raises:
        ValueError: it is none.
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
        :func:`not_written` for those that could not be. Or, if there is nothing to write now, what
        has become of the message.
    """
    outbox, frame = protocol._outbox, message.frame
    if outbox.ready is not frame.sharing or (frame.compressed and not outbox.outdated):
        delivery = _look(protocol, message, policy)
        if delivery is not None:
            return delivery
        frame = message.frame
    outbox.shared += 1
    outbox.bytes_sent += frame.size
    return frame.buffers


def _look(protocol: Protocol, message: PreparedMessage, policy: SlowPolicy) -> Delivery | None:
    """See whether there is anything in the way; if not, make the outbox ready and return ``None``."""
    outbox = protocol._outbox
    writer = outbox.writer
    if protocol._phase is not _OPEN:
        return Delivery.CLOSED
    if writer.sharing is None or outbox.queued or outbox.unwritten or outbox._pongs or writer.building:
        return _deliver_later(protocol, message, policy)
    writer.outdated = message.frame_for(writer.sharing).compressed or writer.outdated
    outbox.ready, outbox.outdated = writer.sharing, writer.outdated
    return None


def _deliver_later(protocol: Protocol, message: PreparedMessage, policy: SlowPolicy) -> Delivery:
    if protocol.writable and not protocol._outbox.writer.building:
        protocol.send(message)
        return Delivery.QUEUED
    if policy == "wait":
        return Delivery.WAITING
    if policy == "skip" or protocol.writable:
        return Delivery.SKIPPED
    protocol.close(CloseCode.TRY_AGAIN_LATER, "too slow")
    return Delivery.CLOSING


def not_written(protocol: Protocol, count: int) -> None:
    """So many bytes of what :func:`deliver` returned last could not be written yet.

    Tell by :meth:`~.Protocol.data_sent` when they have been.
    """
    protocol._outbox.hold(count)


class Target(Interface):
    """A connection of an adapter, as a broadcast needs it."""

    _outbox: Outbox

    @property
    def protocol(self) -> Protocol:
        """Its state machine."""

    def _write_at_once(self, buffers: list[bytes]) -> None:
        """Write what :func:`deliver` returned; keep what cannot be written yet."""

    def _react(self) -> object:
        """Handle events, and write."""


TargetT = TypeVar("TargetT", bound=Target)


class BaseBroadcast(Generic[TargetT]):
    """A message that goes to many connections of an adapter, and who has not got it.

    Attributes:
        skipped: open connections that do not get the message.
        waiting: connections that have yet to get it, when they have room.

    Raises:
        TypeError: the message has another type.
        ValueError: the policy is unknown.
    """

    def __init__(
        self,
        connections: Iterable[TargetT],
        message: Data | BytesLike | PreparedMessage,
        policy: SlowPolicy,
    ) -> None:
        check_policy(policy)
        self._message = message if isinstance(message, PreparedMessage) else PreparedMessage(message)
        self.skipped: list[TargetT] = []
        self.waiting: list[TargetT] = []
        self._deliver(connections, policy)

    def _deliver(self, connections: Iterable[TargetT], policy: SlowPolicy) -> None:
        message = self._message
        sharing, buffers, size, compressed = message.frame
        for connection in connections:
            outbox = connection._outbox
            # What deliver begins with, for the thousands for which it is all, without a call.
            if outbox.ready is sharing and (outbox.outdated or not compressed):
                outbox.shared += 1
                outbox.bytes_sent += size
                connection._write_at_once(buffers)
                continue
            outcome = self._try(connection, policy)
            sharing, buffers, size, compressed = message.frame
            if outcome is Delivery.SKIPPED:
                self.skipped.append(connection)
            elif outcome is Delivery.WAITING:
                self.waiting.append(connection)

    def _try(self, connection: TargetT, policy: SlowPolicy) -> Delivery | None:
        """Send the message on a connection; return what has become of it, unless it is being written."""
        outcome = deliver(connection.protocol, self._message, policy)
        if isinstance(outcome, list):
            connection._write_at_once(outcome)
            return None
        if outcome is Delivery.QUEUED or outcome is Delivery.CLOSING:
            connection._react()
        return outcome
