"""Broadcasts of blocking connections."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress

from wsproto_core.broadcast import BaseBroadcast, SlowPolicy
from wsproto_core.prepared import PreparedMessage
from wsproto_core.typing import BytesLike, Data

from .connection import Connection
from .waiting import SENDING

__all__ = ["Broadcast", "broadcast"]

PATIENCE = 0.05
"""Seconds to wait for one slow connection before the others are looked at."""


class Broadcast(BaseBroadcast[Connection]):
    """What :func:`broadcast` returns.

    Attributes:
        skipped: open connections that do not get the message.
        waiting: connections that have yet to get it, when they have room: only in :meth:`wait`.
    """

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the slow connections have room for the message, and send it on them.

        Arguments:
            timeout: seconds to wait; ``None`` for any time.

        Raises:
            TimeoutError: some of them have no room yet; they are in :attr:`waiting`.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while self.waiting:
            slow = self.waiting[0]
            now = time.monotonic()
            with slow._lock, suppress(TimeoutError):
                slow._wait_until(slow._may_send, min(now + PATIENCE, until or now + PATIENCE), "", SENDING)
            slow_ones, self.waiting = self.waiting, []
            self._deliver(slow_ones, "wait")
            if self.waiting and until is not None and until <= time.monotonic():
                raise TimeoutError(f"{len(self.waiting)} connections have no room for the message yet")

    def _deliver(self, connections: Iterable[Connection], policy: SlowPolicy) -> None:
        for connection in connections:
            with connection._lock:
                super()._deliver([connection], policy)


def broadcast(
    connections: Iterable[Connection],
    message: Data | BytesLike | PreparedMessage,
    policy: SlowPolicy = "skip",
) -> Broadcast:
    """Send a message on many connections, without waiting for any of them.

    Arguments, return value and errors: see :func:`wsproto_core.broadcasting.broadcast`, but that those
    who are to wait do so in :meth:`Broadcast.wait` of what this returns.
    """
    return Broadcast(connections, message, policy)
