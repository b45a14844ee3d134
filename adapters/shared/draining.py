"""Draining: the connections of a server are closed one after the other, over a time.

Clients that lose their connections all at once come back in the same second. Here is the schedule of the
close frames. It has no clock and no timer of its own: the server's runtime gives both.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection
from typing import Generic, TypeAlias, TypeVar

from wsproto_core.checks import check_seconds

__all__ = ["CallAt", "Drain", "check_drain"]

T = TypeVar("T")

CallAt: TypeAlias = Callable[[float, Callable[[], bool]], Callable[[], object]]
"""Calls a function at a time of the clock; returns a function that cancels this."""


def check_drain(drain: float) -> None:
    """Check the option ``drain``.

    Raises:
        TypeError: it is not a number.
        ValueError: it is negative, or not finite.
    """
    if drain is None:
        raise TypeError("drain must be a number of seconds, 0 for none, not None")
    check_seconds("drain", drain, zero=True)


class Drain(Generic[T]):
    """Closes connections in equal steps over a time, the first of them at once.

    A signal handler may make one while another is at work, and on threads, :meth:`discard` and
    :meth:`cancel` may be called by any thread: each change is one call of a built-in type.
    """

    def __init__(
        self,
        connections: Collection[T],
        seconds: float,
        clock: Callable[[], float],
        call_at: CallAt,
        close: Callable[[T], object],
        before: Drain[T] | None = None,
    ) -> None:
        """
        Args:
            connections: those to close.
            seconds: the time, which is divided by their number.
            clock: returns the time in seconds.
            call_at: calls a function at a time of this clock.
            close: begins to close a connection.
            before: a drain that this one replaces: no connection is closed later than it was to be.
        """
        times: dict[T, float] = {} if before is None else {each: when for when, each in before._queue}
        ordered = sorted(connections, key=lambda each: times.get(each, math.inf))
        now, step = clock(), seconds / max(1, len(ordered))
        steps = [(now + step * position, each) for position, each in enumerate(ordered)]
        self._queue: deque[tuple[float, T]] = deque(
            (min(when, times.get(each, math.inf)), each) for when, each in steps
        )
        self._left = set(ordered)
        self._clock, self._call_at, self._close = clock, call_at, close
        self._cancel_call: Callable[[], object] | None = None

    def __bool__(self) -> bool:
        """Whether there are connections that are still to be closed."""
        return bool(self._left)

    @property
    def seconds_left(self) -> float:
        """Seconds until the last connection is to be closed; 0 if there is none."""
        return max(0.0, self._queue[-1][0] - self._clock()) if self._queue and self._left else 0.0

    def close_due(self) -> bool:
        """Close the connections whose time has come, and have this called again for the next; return true."""
        queue, left, self._cancel_call = self._queue, self._left, None
        while queue and (queue[0][1] not in left or queue[0][0] <= self._clock()):
            _, connection = queue.popleft()
            if connection in left:
                left.discard(connection)
                self._close(connection)
        if queue:
            self._cancel_call = self._call_at(queue[0][0], self.close_due)
        return True

    def discard(self, connection: T) -> None:
        """Forget a connection that has ended by itself."""
        self._left.discard(connection)
        if not self._left:
            self.cancel()

    def cancel(self) -> None:
        """Close no more connections."""
        self._left.clear()
        cancel, self._cancel_call = self._cancel_call, None
        if cancel is not None:
            cancel()
