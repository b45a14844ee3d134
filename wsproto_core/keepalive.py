"""Pings: those that wait for their pong, and those that find out whether the peer still lives. Idleness.

Any byte that is received proves life, a pong is only the surest way to get one. So the deadline for
a pong compares how many bytes had been received when the ping was written with how many there are now,
and nothing has to be done when bytes come in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from .extensions.base import Extension
from .timers import Timer, Timers

__all__ = ["Idleness", "Keepalive", "Pings"]


class Pings:
    """The pings sent and not answered yet, in order (RFC 6455 section 5.5.3); their number is bounded.

    Attributes:
        latency: seconds from the last ping that was answered to its pong; 0.0 before there was one.
        smoothed: a moving average of these seconds; ``None`` before there was one.
        shortest: the fewest of them.
    """

    __slots__ = ("_limit", "_random", "_sent", "latency", "shortest", "smoothed")

    def __init__(self, random: Callable[[int], bytes], limit: int | None) -> None:
        self.latency = 0.0
        self.smoothed: float | None = None
        self.shortest: float | None = None
        self._random = random
        self._limit = limit
        # The oldest is taken first, which of a dict would take longer and longer.
        self._sent: OrderedDict[bytes, float] = OrderedDict()

    @property
    def full(self) -> bool:
        """Whether there may be no more."""
        return self._limit is not None and len(self._sent) >= self._limit

    def add(self, payload: bytes | None, now: float) -> bytes:
        """Remember a ping; return its payload, by default four random bytes.

        Raises:
            RuntimeError: there are too many.
            ValueError: one with this payload is there already: their pongs could not be told apart.
        """
        if self.full:
            raise RuntimeError(f"{self._limit} pings wait for their pong already")
        if payload is None:
            payload = self._random(4)
            while payload in self._sent:
                payload = self._random(4)
        elif payload in self._sent:
            raise ValueError(f"a ping with the payload {payload!r} waits for its pong already")
        self._sent[payload] = now
        return payload

    def answer(self, payload: bytes, now: float) -> tuple[tuple[bytes, float], ...]:
        """Take the pings that a pong answers, oldest first, with their latencies in seconds.

        Pings are answered in order, and perhaps only the latest of several, so that those sent
        before it are answered with it.
        """
        if payload not in self._sent:
            return ()
        answered: list[tuple[bytes, float]] = []
        while not answered or answered[-1][0] != payload:
            oldest, sent = self._sent.popitem(last=False)
            answered.append((oldest, now - sent))
        self._measured(answered[-1][1])
        return tuple(answered)

    def _measured(self, latency: float) -> None:
        self.latency = latency
        if self.smoothed is None or self.shortest is None:
            self.smoothed = self.shortest = latency
        else:
            # the average of RFC 6298 section 2.3
            self.smoothed += (latency - self.smoothed) / 8
            self.shortest = min(self.shortest, latency)


class Keepalive:
    """When to send a ping, and how long to wait for a sign of life after it.

    Attributes:
        unwritten: whether a ping has been given and not been written; :meth:`written` resets this.
    """

    __slots__ = (
        "_awaited",
        "_heard",
        "_interval",
        "_pings",
        "_suspended",
        "_timeout",
        "_timers",
        "unwritten",
    )

    def __init__(self, pings: Pings, timers: Timers, interval: float | None, timeout: float | None) -> None:
        """
        Args:
            interval: seconds between pings; ``None`` for none.
            timeout: seconds without a sign of life; ``None`` for any number.
        """
        self._pings = pings
        self._timers = timers
        self._interval = interval
        self._timeout = timeout
        self._awaited = False
        self._suspended = False
        self.unwritten = False
        self._heard = 0

    def start(self, now: float) -> None:
        """The connection is open."""
        self._timers.start(Timer.PING, now, self._interval)

    def next_ping(self, now: float, heard: int) -> bytes | None:
        """It is time for a ping: return its payload, or ``None`` if one more would tell nothing.

        Args:
            heard: bytes received so far.
        """
        self.start(now)
        if self.unwritten:
            # The peer does not read: the deadline for writing runs.
            return None
        if self._pings.full:
            # Any of the pings that are unanswered asks for a sign of life as well.
            self.written(now, heard)
            return None
        self.unwritten = True
        return self._pings.add(None, now)

    def written(self, now: float, heard: int) -> None:
        """The ping has been written: now the peer can answer it.

        Args:
            heard: bytes received so far.
        """
        self.unwritten = False
        if not self._awaited or heard != self._heard:
            self._awaited = True
            self._heard = heard
            if not self._suspended:
                self._timers.start(Timer.PONG, now, self._timeout)

    def lives(self, heard: int) -> bool:
        """The deadline for a pong has come: whether the peer gave a sign of life meanwhile."""
        if heard == self._heard:
            return False
        self._awaited = False
        self._timers.stop(Timer.PONG)
        return True

    def suspend(self) -> None:
        """Reading has stopped: a pong may be there, behind what is not read."""
        self._suspended = True
        self._timers.stop(Timer.PONG)

    def resume(self, now: float) -> None:
        """Reading goes on: the deadline starts anew, in full."""
        self._suspended = False
        if self._awaited:
            self._timers.start(Timer.PONG, now, self._timeout)


class Idleness:
    """Lets extensions give up memory when no message has passed for a while."""

    __slots__ = ("_count", "_extensions", "_period", "_timers")

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._extensions: Sequence[Extension] = ()
        self._period: float | None = None
        self._count = 0

    def start(self, extensions: Sequence[Extension], now: float) -> None:
        """The connection is open, with these extensions."""
        periods = [extension.idle_timeout for extension in extensions if extension.idle_timeout is not None]
        self._extensions = extensions
        self._period = min(periods, default=None)
        self._timers.start(Timer.IDLE, now, self._period)

    def expire(self, now: float, count: int) -> None:
        """A period is over, after so many messages in all."""
        self._timers.start(Timer.IDLE, now, self._period)
        if count == self._count:
            for extension in self._extensions:
                extension.release()
        self._count = count
