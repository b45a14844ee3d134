"""Broadcasts of blocking connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

from wsproto_core.broadcast import SlowPolicy
from wsproto_core.prepared import PreparedMessage
from wsproto_core.types import BytesLike, Data

from ..shared.broadcast import BaseBroadcast
from .connection import Connection
from .streams import run
from .wakeups import Gate, deadline

__all__ = ["Broadcast", "broadcast"]


class Broadcast(BaseBroadcast[Connection]):
    """The result of :func:`broadcast`.

    Attributes:
        skipped: open connections that do not get the message.
        waiting: connections that have yet to get it, when they have room: only in :meth:`wait`.
    """

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the slow connections have room for the message, and send it on them.

        Args:
            timeout: seconds to wait; ``None`` for any time.

        Raises:
            TimeoutError: some of them have no room yet; they are in :attr:`waiting`.
        """
        until = deadline(timeout)

        def make_event() -> Any:
            gate = Gate()

            async def wait() -> None:
                if not gate.sleep(until):
                    raise TimeoutError(f"{len(self.waiting)} connections have no room for the message yet")

            return SimpleNamespace(set=gate.open, wait=wait)

        run(self._serve_waiting(make_event))

    def _change(self, function: Callable[[Any], Any], slow: Any) -> Any:
        return slow.connection._locked(function, slow)

    def _deliver(self, connections: Iterable[Connection], policy: SlowPolicy) -> None:
        for connection in connections:
            connection._locked_or_deferred(self._deliver_to, connection, policy)

    def _deliver_to(self, connection: Connection, policy: SlowPolicy) -> None:
        if connection._senders.last is None or not connection.protocol.writable:
            super()._deliver([connection], policy)
        elif connection.open:
            # A thread is sending a message in parts on this connection.
            (self.waiting if policy == "wait" else self.skipped).append(connection)


def broadcast(
    connections: Iterable[Connection],
    message: Data | BytesLike | PreparedMessage,
    policy: SlowPolicy = "skip",
) -> Broadcast:
    """Send a message on many connections, without waiting for any of them.

    With the policy ``"wait"``, slow connections get the message in :meth:`Broadcast.wait` of the result.

    Args:
        connections, message, policy: see :func:`adapters.shared.broadcast.broadcast`.

    Raises:
        TypeError, ValueError: see there.
    """
    return Broadcast(connections, message, policy)
