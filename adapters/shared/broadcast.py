"""Broadcasts on asynchronous adapters: what is decided for each connection is in the core."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any

from wsproto_core.broadcast import BaseBroadcast, Delivery, SlowPolicy
from wsproto_core.prepared import PreparedMessage
from wsproto_core.types import BytesLike, Data

from .asynchronous import AsyncConnection

__all__ = ["Broadcast", "broadcast"]


class Broadcast(BaseBroadcast[AsyncConnection]):
    """What :func:`broadcast` returns. Awaiting it waits until the slow connections have been served.

    Attributes:
        skipped: open connections that do not get the message.
        waiting: connections that have yet to get it, when they have room: only while this is awaited.
            They are in no particular order.
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

        # In the same order as ``waiting``, always.
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
                    # The last one takes its index, so that the others keep theirs.
                    last = left.pop()
                    self.waiting.pop()
                    if last is not slow:
                        last.index = slow.index
                        left[last.index], self.waiting[last.index] = last, last.connection
        finally:
            for slow in left:
                slow.leave()

    def _serve(self, slow: _Slow) -> bool:
        """Send the message, if it is the connection's turn and there is room; return whether that is all."""
        if not slow.may_send():
            return False
        if self._try(slow.connection, "wait") is not Delivery.WAITING:
            return True
        slow.wait_for_room()
        return False


class _Slow:
    """A connection that a message waits for, in line with those who send on it.

    Attributes:
        connection: the connection.
        index: its place among those that wait.
    """

    def __init__(self, connection: AsyncConnection, index: int, wake: Callable[[_Slow], None]) -> None:
        self.connection = connection
        self.index = index
        self._wake = partial(wake, self)
        self._place = connection._senders.join(self._wake)
        connection._waiters.add(connection._has_ended, self._wake)

    def may_send(self) -> bool:
        """Whether it is its turn, or there will be none."""
        return self._place.first or self.connection._has_ended()

    def wait_for_room(self) -> None:
        self.connection._waiters.add(self.connection._may_write, self._wake)

    def leave(self) -> None:
        """Wait no more."""
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

    It is encoded once, and compressed once for all connections with the same settings, when these are
    a server's. Connections that are not open are passed over. One is slow if it is not writable: if
    more than ``write_limit`` bytes are on their way to it.

    Args:
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
