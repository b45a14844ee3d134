"""Keepalive: pings that wait for their pong, the liveness of the peer, and idle connections.

Any byte that is received is a sign of life; a pong is only the surest way to get one. So the deadline
for a pong compares the number of bytes that had been received when the ping was written with the
number at the deadline, and nothing has to be done when bytes arrive.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from .extensions.base import Extension
from .timers import Timer, Timers

__all__ = ["Idleness", "Keepalive", "Pings"]


class Pings:
    """The pings that wait for their pong, in order (RFC 6455 section 5.5.3); their number is limited.

    Attributes:
        latency: seconds from the last ping that was answered to its pong; 0.0 before there was one.
        smoothed: a moving average of these seconds; ``None`` before there was one.
        shortest: the fewest of them.
    """

    __slots__ = ("_limit", "_random", "_sent", "latency", "shortest", "smoothed")

    def __init__(self, random: Callable[[int], bytes], limit: int | None) -> None:
        """
        Args:
            random: a source of bytes for payloads, given their number.
            limit: the number of pings that may wait; ``None`` for any number.
        """
        self.latency = 0.0
        self.smoothed: float | None = None
        self.shortest: float | None = None
        self._random = random
        self._limit = limit
        # The oldest is taken first, which takes longer and longer with a dict.
        self._sent: OrderedDict[bytes, float] = OrderedDict()

    @property
    def full(self) -> bool:
        """Whether no more pings may be sent."""
        return self._limit is not None and len(self._sent) >= self._limit

    def add(self, payload: bytes | None, now: float) -> bytes:
        """Add a ping.

        Args:
            payload: its payload; ``None`` for four random bytes.
            now: the time.

        Returns:
            The payload.

        Raises:
            RuntimeError: too many pings wait.
            ValueError: a ping with this payload waits already: their pongs would look the same.
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
        """Remove the pings that a pong answers.

        Pings are answered in order, and a peer may answer only the latest of several: its pong answers the
        pings that were sent before, too.

        Args:
            payload: the pong's payload.
            now: the time.

        Returns:
            The payloads of these pings, oldest first, with their latencies in seconds.
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
        pings: the pings that wait for their pong.
    """

    __slots__ = ("_heard", "_interval", "_timeout", "_timers", "pings")

    def __init__(self, pings: Pings, timers: Timers, interval: float | None, timeout: float | None) -> None:
        """
        Args:
            pings: the pings that wait for their pong.
            timers: where the deadlines for pings and pongs are set.
            interval: seconds between pings; ``None`` for none.
            timeout: seconds without a sign of life; ``None`` for any number.
        """
        self.pings = pings
        self._timers = timers
        self._interval = interval
        self._timeout = timeout
        # Bytes that had been received when a ping was written, until there is a sign of life.
        self._heard: int | None = None

    def start(self, now: float) -> None:
        """Begin, or begin the next interval: a ping is due when it is over."""
        self._timers.start(Timer.PING, now, self._interval)

    def next_ping(self, now: float) -> bytes | None:
        """Make the ping that is due.

        Returns:
            Its payload; ``None`` if there are too many pings already: any of those that are unanswered asks
            for a sign of life as well.
        """
        return None if self.pings.full else self.pings.add(None, now)

    def ping_written(self, now: float, heard: int, *, reading: bool) -> None:
        """Start the deadline for a pong: the ping has been written, and the peer can answer it.

        Args:
            now: the time.
            heard: bytes received so far.
            reading: whether the stream is being read: otherwise the deadline starts when it is.
        """
        if heard != self._heard:
            self._heard = heard
            if reading:
                self._timers.start(Timer.PONG, now, self._timeout)

    def peer_is_alive(self, heard: int) -> bool:
        """Return whether there was a sign of life before the deadline for a pong; if so, end the deadline.

        Args:
            heard: bytes received so far.
        """
        if heard == self._heard:
            return False
        self._heard = None
        self._timers.stop(Timer.PONG)
        return True

    def suspend(self) -> None:
        """Reading has stopped: a pong may have arrived behind the bytes that are not read."""
        self._timers.stop(Timer.PONG)

    def resume(self, now: float) -> None:
        """Reading goes on: the deadline for a pong starts anew, in full."""
        if self._heard is not None:
            self._timers.start(Timer.PONG, now, self._timeout)


class Idleness:
    """Tells extensions to release memory when no message has passed for a while."""

    __slots__ = ("_count", "_extensions", "_period", "_timers")

    def __init__(self, timers: Timers) -> None:
        """
        Args:
            timers: where the deadline is set.
        """
        self._timers = timers
        self._extensions: Sequence[Extension] = ()
        self._period: float | None = None
        self._count = 0

    def start(self, extensions: Sequence[Extension], now: float) -> None:
        """Begin: the connection is open.

        Args:
            extensions: those that were negotiated.
            now: the time.
        """
        periods = [extension.idle_timeout for extension in extensions if extension.idle_timeout is not None]
        self._extensions = extensions
        self._period = min(periods, default=None)
        self._timers.start(Timer.IDLE, now, self._period)

    def expire(self, now: float, count: int) -> None:
        """A period is over: release memory if no message has passed in it.

        Args:
            now: the time.
            count: messages that have passed so far.
        """
        self._timers.start(Timer.IDLE, now, self._period)
        if count == self._count:
            for extension in self._extensions:
                extension.release()
        self._count = count
