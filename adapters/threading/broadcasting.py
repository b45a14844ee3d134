"""Broadcasts of blocking connections."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from wsproto_core.broadcast import Delivery, SlowPolicy, check_policy, deliver
from wsproto_core.exceptions import ConnectionClosed
from wsproto_core.prepared import PreparedMessage
from wsproto_core.typing import BytesLike, Data

from .connection import Connection

__all__ = ["Broadcast", "broadcast"]


class Broadcast:
    """What :func:`broadcast` returns.

    Attributes:
        skipped: open connections that do not get the message.
    """

    def __init__(self) -> None:
        self.skipped: list[Connection] = []


def broadcast(
    connections: Iterable[Connection],
    message: Data | BytesLike | PreparedMessage,
    policy: SlowPolicy = "skip",
    *,
    timeout: float | None = None,
) -> Broadcast:
    """Send a message on many connections, without waiting for any of them but with ``"wait"``.

    It is encoded once, and compressed once for all connections with the same settings, when these are
    a server's. Connections that are not open are passed over. One is slow if it is not writable: if
    more than ``write_limit`` bytes are on their way to it.

    Arguments:
        connections: this adapter's connections.
        message: ``str`` is sent as text, bytes-like as binary; or what ``prepare`` returns.
        policy: what becomes of slow connections: ``"skip"`` them, ``"close"`` them with code 1013, or
            ``"wait"`` until they have room for the message; all others have got it by then.
        timeout: seconds to wait for each of these; ``None`` for any time.

    Returns:
        Who has been skipped.

    Raises:
        TypeError: the message has another type.
        ValueError: the policy is unknown.
    """
    check_policy(policy)
    prepared = message if isinstance(message, PreparedMessage) else PreparedMessage(message)
    result = Broadcast()
    waiting: list[Connection] = []
    for connection in connections:
        with connection._lock:
            outcome = deliver(connection.protocol, prepared, policy)
            if isinstance(outcome, list):
                connection._write_at_once(outcome)
            elif outcome is Delivery.SKIPPED:
                result.skipped.append(connection)
            elif outcome is Delivery.WAITING:
                waiting.append(connection)
            elif outcome is not Delivery.CLOSED:
                connection._react()
    for connection in waiting:
        try:
            with contextlib.suppress(ConnectionClosed):
                connection.send(prepared, timeout=timeout)
        except TimeoutError:
            result.skipped.append(connection)
    return result
