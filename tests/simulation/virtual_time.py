"""Virtual time, and the clock of each endpoint.

All times are multiples of :data:`TICK`, a power of two: sums and differences of floats are exact then, so
that an endpoint is woken at its deadline and not shortly before it.
"""

from __future__ import annotations

import math

__all__ = ["TICK", "Clock", "Time", "ticks"]

TICK = 2.0**-10


def ticks(seconds: float) -> float:
    """Round seconds up to a multiple of the tick."""
    return math.ceil(seconds / TICK) * TICK


class Time:
    """The time of the simulation, in seconds since its beginning."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0.0


class Clock:
    """The clock of one endpoint: it has an origin of its own, and may jump forward.

    Attributes:
        offset: what it shows more than the time of the simulation.
    """

    __slots__ = ("_time", "offset")

    def __init__(self, time: Time, origin: float) -> None:
        self._time = time
        self.offset = origin

    def __call__(self) -> float:
        return self._time.now + self.offset
