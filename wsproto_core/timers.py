"""The table of deadlines.

A timer is a deadline and the period that led to it. Whether it has expired is judged by the clock,
never by having been woken. Who is woken late cannot tell a silent peer from its own absence: the
peer's bytes may be waiting to be read. So a timer that is found expired by more than half its
period is not expired: it reports how late it was asked, and starts once more.
"""

from __future__ import annotations

import enum

__all__ = ["Timer", "Timers"]


class Timer(enum.Enum):
    """What there is a deadline for. Those that expire together are handled in this order.

    Attributes:
        position: in this order, from 0 on.
    """

    position: int

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


class Timers:
    """The deadlines of one connection, in seconds of its clock."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        # By position: deadline, period, and whether being late has been forgiven. As small as it gets:
        # a dictionary grows when what is in it changes often.
        self._running: list[tuple[float, float, bool] | None] = [None] * len(Timer)

    def start(self, timer: Timer, now: float, period: float | None) -> None:
        """Set a deadline ``period`` seconds from ``now``; ``None`` stops the timer."""
        self._running[timer.position] = None if period is None else (now + period, period, False)

    def shorten(self, timer: Timer, now: float, period: float) -> None:
        """Set a deadline ``period`` seconds from ``now``, unless there is one before that."""
        running = self._running[timer.position]
        if running is None or running[0] > now + period:
            self.start(timer, now, period)

    def stop(self, timer: Timer) -> None:
        """Remove a deadline, if there is one."""
        self._running[timer.position] = None

    def stop_all_but(self, timer: Timer) -> None:
        """Remove all deadlines but one."""
        kept = self._running[timer.position]
        self._running = [None] * len(Timer)
        self._running[timer.position] = kept

    def is_running(self, timer: Timer) -> bool:
        """Whether there is such a deadline."""
        return self._running[timer.position] is not None

    def next(self) -> float | None:
        """The earliest deadline."""
        return min((running[0] for running in self._running if running), default=None)

    def expired(self, now: float) -> list[Timer]:
        """The timers whose deadline has come, in the order in which to handle them."""
        return [
            timer
            for timer, running in zip(Timer, self._running, strict=True)
            if running is not None and running[0] <= now
        ]

    def forgive(self, timer: Timer, now: float) -> float | None:
        """Start an expired timer anew if it is looked at too late, but only once in a row.

        Returns by how many seconds it was late; ``None`` if it is not forgiven.
        """
        running = self._running[timer.position]
        assert running is not None
        deadline, period, forgiven = running
        late = now - deadline
        if late <= period / 2 or forgiven or not period:
            return None
        self._running[timer.position] = now + period, period, True
        return late
