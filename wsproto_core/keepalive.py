"""Keepalive: pings that wait for their pong, the liveness of the peer, and idle connections.

Any byte that is received is a sign of life; a pong is only the surest way to get one. So the deadline
for a pong compares the number of bytes that had been received when the ping was written with the
number at the deadline, and nothing has to be done when bytes arrive.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from .extensions.base import Extension
from .options import CommonSettings
from .timers import Timer, Timers

__all__ = ["Keepalive"]


class Keepalive:
    """When to send a ping, how long to wait for a sign of life after it, and when a connection is idle.

    It has the pings that wait for their pong, in order (RFC 6455 section 5.5.3); their number is limited.

    Attributes:
        latency: seconds from the last ping that was answered to its pong; 0.0 before there was one.
        smoothed: a moving average of these seconds; ``None`` before there was one.
        shortest: the fewest of them.
    """

    __slots__ = (
        "_count", "_extensions", "_heard", "_idle_period", "_random", "_sent", "_settings", "_timers",
        "latency", "shortest", "smoothed",
    )  # fmt: skip

    def __init__(self, timers: Timers, settings: CommonSettings, random: Callable[[int], bytes]) -> None:
        """
        Args:
            timers: where the deadlines are set.
            settings: the options: the interval between pings, and the limits on time and number.
            random: a source of bytes for payloads, given their number.
        """
        self.latency = 0.0
        self.smoothed: float | None = None
        self.shortest: float | None = None
        self._timers = timers
        self._settings = settings
        self._random = random
        # The oldest is taken first, which takes longer and longer with a dict. Most connections are closed,
        # or idle, before there is a ping.
        self._sent: OrderedDict[bytes, float] | None = None
        # Bytes that had been received when a ping was written, until there is a sign of life.
        self._heard: int | None = None
        self._extensions: Sequence[Extension] = ()
        self._idle_period: float | None = None
        self._count = 0

    def open(self, extensions: Sequence[Extension], now: float) -> None:
        """Begin: the connection is open.

        Args:
            extensions: those that were negotiated.
            now: the time.
        """
        self._extensions = extensions
        if extensions:
            periods = [each.idle_timeout for each in extensions if each.idle_timeout is not None]
            self._idle_period = min(periods, default=None)
            self._timers.start(Timer.IDLE, now, self._idle_period)
        self.start(now)

    # Pings that wait for their pong

    @property
    def full(self) -> bool:
        """Whether no more pings may be sent."""
        limit = self._settings.max_pings
        return limit is not None and self._sent is not None and len(self._sent) >= limit

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
            raise RuntimeError(f"{self._settings.max_pings} pings wait for their pong already")
        if self._sent is None:
            self._sent = OrderedDict()
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
        if self._sent is None or payload not in self._sent:
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

    # Liveness

    def start(self, now: float) -> None:
        """Begin, or begin the next interval: a ping is due when it is over."""
        self._timers.start(Timer.PING, now, self._settings.ping_interval)

    def next_ping(self, now: float) -> bytes | None:
        """Make the ping that is due.

        Returns:
            Its payload; ``None`` if there are too many pings already: any of those that are unanswered asks
            for a sign of life as well.
        """
        return None if self.full else self.add(None, now)

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
                self._timers.start(Timer.PONG, now, self._settings.ping_timeout)

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
            self._timers.start(Timer.PONG, now, self._settings.ping_timeout)

    def release_idle(self, now: float, count: int) -> None:
        """An idle period is over: extensions release memory if no message has passed in it.

        Args:
            now: the time.
            count: messages that have passed so far.
        """
        self._timers.start(Timer.IDLE, now, self._idle_period)
        if count == self._count:
            for extension in self._extensions:
                extension.release()
        self._count = count
