"""Who waits, and for what: the work grows with the number of those who wait, not with its square.

Those who wait for the same thing are together: it is looked at once, and when it is there, all of them
are woken. Those of whom one at a time may go on stand in a line: whoever leaves wakes the next one only.
Somebody who gives up is gone at once, wherever they have been.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Line", "Place", "Waiters", "Wake"]

Wake: TypeAlias = Callable[[], object]
"""Wakes somebody who waits. To be called again changes nothing."""


class Waiters(dict[Callable[[], bool], dict[Wake, None]]):
    """Those who wait until something is true, by the function that tells whether it is.

    Functions that are equal are looked at once. The methods of one object are equal if they are the
    same method; a function that is made for each who waits is looked at as often as there are of them.
    """

    __slots__ = ()

    def add(self, ready: Callable[[], bool], wake: Wake) -> None:
        """Somebody waits, and is to be woken once."""
        self.setdefault(ready, {})[wake] = None

    def remove(self, ready: Callable[[], bool], wake: Wake) -> None:
        """Somebody does not wait any more, because they have been woken or for another reason."""
        together = self.get(ready)
        if together is not None:
            together.pop(wake, None)
            if not together:
                del self[ready]

    def wake(self) -> None:
        """Something has changed: wake those for whom it is true."""
        if not self:
            return
        for ready in list(self):
            if ready():
                for wake in self.pop(ready):
                    wake()


class Line:
    """Those of whom one at a time has the turn, in the order of arrival. It is true if there are any.

    Attributes:
        last: the last place; ``None`` if there is none.
    """

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last: Place | None = None

    def __bool__(self) -> bool:
        return self.last is not None

    def join(self, wake: Wake) -> Place:
        """Stand behind all others.

        Args:
            wake: is called when it is one's turn, unless it is at once.
        """
        self.last = place = Place(self, self.last, wake)
        return place


class Place:
    """A place in a :class:`Line`. To leave it, wherever it is, takes the same time."""

    __slots__ = ("_after", "_before", "_line", "_wake")

    def __init__(self, line: Line, before: Place | None, wake: Wake) -> None:
        self._line = line
        self._before = before
        self._after: Place | None = None
        self._wake = wake
        if before is not None:
            before._after = self

    @property
    def first(self) -> bool:
        """Whether it is one's turn."""
        return self._before is None

    def leave(self) -> None:
        """Be gone, once; whoever is first then, and was not before, is woken."""
        before, after = self._before, self._after
        if after is None:
            self._line.last = before
        else:
            after._before = before
        if before is not None:
            before._after = after
        elif after is not None:
            after._wake()
