"""Broadcasts on asynchronous adapters: see :mod:`.broadcast` for what is decided about each connection."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

from .asynchronous import AsyncConnection, Waiter
from .broadcast import BaseBroadcast, SlowPolicy
from .prepared import PreparedMessage
from .typing import BytesLike, Data

__all__ = ["Broadcast", "broadcast"]


class Broadcast(BaseBroadcast[AsyncConnection]):
    """What :func:`broadcast` returns. Awaiting it waits until the slow connections have been served.

    Attributes:
        skipped: open connections that do not get the message.
        waiting: connections that have yet to get it, when they have room: only while this is awaited.
    """

    def __await__(self) -> Generator[Any, Any, None]:
        return self._serve_waiting().__await__()

    async def _serve_waiting(self) -> None:
        while self.waiting:
            event = self.waiting[0]._make_event()
            waiters = [(slow, Waiter(_has_room(slow), event.set)) for slow in self.waiting]
            for slow, waiter in waiters:
                slow._waiters.append(waiter)
            try:
                if not any(waiter.ready() for _, waiter in waiters):
                    await event.wait()
            finally:
                for slow, waiter in waiters:
                    slow._waiters.remove(waiter)
            slow_ones, self.waiting = self.waiting, []
            self._deliver(slow_ones, "wait")


def _has_room(connection: AsyncConnection) -> Callable[[], bool]:
    protocol = connection.protocol
    return lambda: (protocol.writable and not connection._senders) or not protocol.receiving


def broadcast(
    connections: Iterable[AsyncConnection],
    message: Data | BytesLike | PreparedMessage,
    policy: SlowPolicy = "skip",
) -> Broadcast:
    """Send a message on many connections, without waiting for any of them.

    It is encoded once, and compressed once for all connections with the same settings, when these are
    a server's. Connections that are not open are passed over. One is slow if it is not writable: if
    more than ``write_limit`` bytes are on their way to it.

    Arguments:
        connections: this adapter's connections.
        message: ``str`` is sent as text, bytes-like as binary; or what ``prepare`` returns.
        policy: what becomes of slow connections: ``"skip"`` them, ``"close"`` them with code 1013, or
            ``"wait"``: they get the message when they have room for it, while what this returns is
            awaited. Within a message that is sent in fragments, a connection is skipped or waits.

    Returns:
        Who has been skipped; to be awaited if the policy is ``"wait"``.

    Raises:
        TypeError: the message has another type.
        ValueError: the policy is unknown.
    """
    return Broadcast(connections, message, policy)
