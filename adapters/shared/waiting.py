"""Waiting tasks: wakeups by condition, and a queue of senders.

The cost grows linearly with the number of waiting tasks. Tasks that wait for the same condition share one
test of the condition. Tasks of which one at a time may continue form a queue, and each wakes only its
successor. A task that stops waiting is removed in constant time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["BasePongWaiter", "Turn", "TurnQueue", "Waiters", "Wake"]

Wake: TypeAlias = Callable[[], object]
"""Wakes a waiting task. Further calls have no effect."""


class Waiters(dict[Callable[[], bool], dict[Wake, None]]):
    """Waiting tasks, by the condition that they wait for.

    Equal conditions are tested once. A method of one object is equal to itself; a function that is made for
    each waiting task is tested once for each of them.
    """

    __slots__ = ()

    def add(self, ready: Callable[[], bool], wake: Wake) -> None:
        """Add a task, which is woken once."""
        self.setdefault(ready, {})[wake] = None

    def remove(self, ready: Callable[[], bool], wake: Wake) -> None:
        """Remove a task that has been woken or has stopped waiting."""
        together = self.get(ready)
        if together is not None:
            together.pop(wake, None)
            if not together:
                del self[ready]

    def wake(self) -> None:
        """Test the conditions, and wake the tasks of those that are true."""
        if not self:
            return
        for ready in list(self):
            if ready():
                # They are removed afterwards: on threads, an exception may come in between.
                for wake in list(self.get(ready, ())):
                    wake()
                self.pop(ready, None)


class BasePongWaiter:
    """The result of a ping, on adapters whose runtime has no futures; a subclass has a method that waits."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._result: float | Exception | None = None
        # Not those of the connection: each pong would be checked whenever another one comes.
        self._waiters = Waiters()

    def done(self) -> bool:
        """Return whether the pong has been received, or the connection has ended without it."""
        return self._result is not None

    def set_result(self, result: float | Exception) -> None:
        """Store the latency in seconds, or the error if no pong will arrive; the connection calls it."""
        self._result = result
        self._waiters.wake()

    set_exception = set_result

    def _latency(self) -> float:
        """Return the latency in seconds, or raise the error, when :meth:`done` is true."""
        if isinstance(self._result, Exception):
            raise self._result
        assert self._result is not None
        return self._result


class TurnQueue:
    """A queue of tasks of which only the first may continue (first in, first out). It is true if not empty.

    Attributes:
        last: the last turn in the queue; ``None`` if the queue is empty.
    """

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last: Turn | None = None

    def __bool__(self) -> bool:
        return self.last is not None

    def join(self, wake: Wake) -> Turn:
        """Add a task at the end.

        Args:
            wake: called when the task becomes the first, unless it is the first now.
        """
        self.last = turn = Turn(self, self.last, wake)
        return turn


class Turn:
    """A task's turn in a :class:`TurnQueue`."""

    __slots__ = ("_after", "_before", "_queue", "_wake")

    def __init__(self, queue: TurnQueue, before: Turn | None, wake: Wake) -> None:
        self._queue = queue
        self._before = before
        self._after: Turn | None = None
        self._wake = wake
        if before is not None:
            before._after = self

    @property
    def first(self) -> bool:
        """Whether the task may continue."""
        return self._before is None

    def leave(self) -> None:
        """Leave the queue, in constant time, and wake the task that becomes the first. Call it once."""
        before, after = self._before, self._after
        if after is None:
            self._queue.last = before
        else:
            after._before = before
        if before is not None:
            before._after = after
        elif after is not None:
            after._wake()
