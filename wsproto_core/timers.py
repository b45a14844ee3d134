"""Deadlines, and stopwatches for backpressure.

A timer is a deadline and the period that led to it. Whether it has expired is judged by the clock,
never by having been woken. A program that looks at a deadline late cannot tell a silent peer from its
own absence: the peer's bytes may be waiting to be read. So a timer that is found expired by more than
half its period has not expired: it starts once more, and is reported as overdue.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection

__all__ = ["Stopwatch", "Timer", "Timers"]


class Timer(enum.Enum):
    """What there is a deadline for. Timers that expire together are handled in this order.

    Attributes:
        position: the position in this order, from 0 on.
    """

    position: int

    __hash__ = object.__hash__  # Enum's own method is written in Python

    def __new__(cls, value: str) -> Timer:
        timer = object.__new__(cls)
        timer._value_ = value
        timer.position = len(cls.__members__)
        return timer

    OPENING = "opening handshake"
    CLOSING = "closing handshake"
    WRITE = "write"
    PONG = "pong"
    PING = "ping"
    IDLE = "idle"


_TIMERS = tuple(Timer)


class Timers:
    """The deadlines of one connection, in seconds of its clock.

    Attributes:
        next: the earliest deadline, or ``None``.
        running: by :attr:`Timer.position`, the deadline, the period, and whether lateness has been
            forgiven; ``None`` for a timer that is not running.
    """

    __slots__ = ("_allowed", "next", "running")

    def __init__(self, allowed: Collection[Timer] = _TIMERS) -> None:
        """
        Args:
            allowed: see :meth:`allow`.
        """
        # A list takes less memory than a dictionary, which grows when its keys change often.
        self.running: list[tuple[float, float, bool] | None] = [None] * len(_TIMERS)
        self._allowed = allowed
        self.next: float | None = None

    def allow(self, timers: Collection[Timer]) -> None:
        """Stop all timers but these and the closing one; :meth:`start` will start no others."""
        before, self._allowed = self._allowed, timers
        if self.next is None or timers is before:
            return
        for timer, running in zip(_TIMERS, self.running, strict=True):
            if running is not None and timer not in timers and timer is not Timer.CLOSING:
                self.running[timer.position] = None
        self._update()

    def start(self, timer: Timer, now: float, period: float | None) -> None:
        """Set a deadline ``period`` seconds from ``now``; ``None`` stops the timer."""
        if period is None or not (timer in self._allowed or timer is Timer.CLOSING):
            self.stop(timer)
            return
        before, self.running[timer.position] = self.running[timer.position], (now + period, period, False)
        if before is not None:
            self._update()
        else:
            self.next = now + period if self.next is None else min(self.next, now + period)

    def shorten(self, timer: Timer, now: float, period: float) -> None:
        """Set a deadline ``period`` seconds from ``now``, unless there is an earlier one."""
        running = self.running[timer.position]
        if running is None or running[0] > now + period:
            self.start(timer, now, period)

    def stop(self, timer: Timer) -> None:
        """Remove a deadline, if there is one."""
        if self.running[timer.position] is not None:
            self.running[timer.position] = None
            self._update()

    def is_running(self, timer: Timer) -> bool:
        """Whether there is such a deadline."""
        return self.running[timer.position] is not None

    def period(self, timer: Timer) -> float:
        """The seconds that led to the deadline of a timer, which must be running."""
        running = self.running[timer.position]
        assert running is not None
        return running[1]

    def expired(self, now: float) -> list[Timer]:
        """The timers whose deadline has come, in the order in which to handle them."""
        return [
            timer
            for timer, running in zip(_TIMERS, self.running, strict=True)
            if running is not None and running[0] <= now
        ]

    def forgive(self, timer: Timer, now: float) -> float | None:
        """Start an expired timer anew if it is looked at too late, but only once in a row.

        Returns:
            By how many seconds it was late; ``None`` if it is not forgiven.
        """
        running = self.running[timer.position]
        assert running is not None
        deadline, period, forgiven = running
        late = now - deadline
        if late <= period / 2 or forgiven or not period:
            return None
        self.running[timer.position] = now + period, period, True
        self._update()
        return late

    def _update(self) -> None:
        self.next = min([running[0] for running in self.running if running is not None], default=None)


class Stopwatch:
    """How many seconds a condition has held, in all."""

    __slots__ = ("_clock", "_state")

    def __init__(self, clock: Callable[[], float]) -> None:
        """
        Args:
            clock: returns the time in seconds.
        """
        self._clock = clock
        # The seconds before, and since when the condition holds: together, because another thread may read.
        self._state: tuple[float, float | None] = 0.0, None

    def start(self) -> None:
        """The condition holds from now on; it did not hold before."""
        self._state = self._state[0], self._clock()

    def stop(self) -> None:
        """The condition does not hold any more; it may not have held before."""
        self._state = self.seconds, None

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        seconds, since = self._state
        return seconds if since is None else seconds + self._clock() - since
