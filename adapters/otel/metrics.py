"""Metrics of connections.

What statistics count (messages, bytes, time blocked in writing) is not counted again: it is read when the
metrics are collected, by observable instruments. So a message costs nothing. An SDK may collect in a thread
of its own: that reads counters, and takes no lock of a connection.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from typing import TypeAlias

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from wsproto_core.types import Side

from ..shared.connection import BaseConnection

__all__ = ["Labels", "Metrics"]

Labels: TypeAlias = "tuple[tuple[str, str], ...]"
"""Attributes of measurements: names and values."""

SECONDS_OPEN = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14400, 43200, 86400)
"""Boundaries of the histogram of durations: connections last from a moment to days."""

SECONDS_ROUND_TRIP = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)
"""Boundaries of the histogram of round-trip times."""

RECEIVE, TRANSMIT = ("network.io.direction", "receive"), ("network.io.direction", "transmit")


class Metrics:
    """The instruments, and the connections that they observe."""

    def __init__(self, meter: Meter) -> None:
        """
        Args:
            meter: makes the instruments.
        """
        # A signal handler may open or close a connection in the thread that has the lock.
        self._lock = threading.RLock()
        # A connection whose event loop has died never ends, and is not kept alive.
        self._open: weakref.WeakKeyDictionary[BaseConnection, Labels] = weakref.WeakKeyDictionary()
        self._ended: dict[Labels, list[float]] = {}
        self._reported: dict[tuple[str, Labels], float] = {}
        self._durations = meter.create_histogram(
            "websocket.connection.duration",
            "s",
            "Time from the end of the opening handshake until the stream is closed.",
            explicit_bucket_boundaries_advisory=SECONDS_OPEN,
        )
        self._round_trips = meter.create_histogram(
            "websocket.connection.ping.round_trip_time",
            "s",
            "Time from a ping to its pong.",
            explicit_bucket_boundaries_advisory=SECONDS_ROUND_TRIP,
        )
        self._closes = meter.create_counter(
            "websocket.connection.closes",
            "{connection}",
            "Connections that have been closed, by close code and by who began.",
        )
        for side in Side:
            meter.create_observable_up_down_counter(
                f"websocket.{side.value}.active_connections",
                [self._count_open(side)],
                "{connection}",
                "Connections that are open or closing.",
            )
        for name, unit, description, values in (
            ("messages", "{message}", "Messages received and sent.", ((0, RECEIVE), (1, TRANSMIT))),
            (
                "io",
                "By",
                "Bytes received and sent, with opening handshakes and frame headers, without TLS.",
                ((2, RECEIVE), (3, TRANSMIT)),
            ),
            (
                "write_blocked_time",
                "s",
                "Time during which the peer or the network did not take what was to be sent.",
                ((4, None),),
            ),
        ):
            name = f"websocket.connection.{name}"
            meter.create_observable_counter(name, [self._sum(name, values)], unit, description)

    def opened(self, connection: BaseConnection, labels: Labels) -> None:
        """A connection is open."""
        with self._lock:
            self._open[connection] = labels
            # A sum is reported as 0 before the first connection has ended, and ever after.
            self._ended.setdefault(labels, [0] * 5)

    def answered(self, labels: Labels, seconds: float) -> None:
        """A ping was answered after this time."""
        self._round_trips.record(seconds, dict(labels))

    def closed(
        self, connection: BaseConnection, labels: Labels, seconds: float, code: int, initiator: str
    ) -> None:
        """A connection that was open is closed.

        Args:
            connection: the connection.
            labels: those with which it was opened.
            seconds: how long it was open.
            code: the close code.
            initiator: who began.
        """
        counts = _counts(connection)
        with self._lock:
            if self._open.pop(connection, None) is None:
                return
            self._ended[labels] = _added(self._ended[labels], counts)
        self._durations.record(seconds, dict(labels))
        self._closes.add(
            1, {**dict(labels), "websocket.close.code": code, "websocket.close.initiator": initiator}
        )

    def _snapshot(self) -> tuple[list[tuple[BaseConnection, Labels]], dict[Labels, list[float]]]:
        """Return the open connections, and the sums of those that have ended."""
        with self._lock:
            return list(self._open.items()), dict(self._ended)

    def _count_open(self, side: Side) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:
            connections, ended = self._snapshot()
            numbers = {labels: 0 for labels in ended if ("websocket.side", side.value) in labels}
            for _, labels in connections:
                if labels in numbers:
                    numbers[labels] += 1
            return [Observation(number, dict(labels)) for labels, number in numbers.items()]

        return observe

    def _sum(
        self, name: str, values: Iterable[tuple[int, tuple[str, str] | None]]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        """Make the callback of a counter.

        Args:
            name: its name.
            values: the positions of its values in the counts, with an attribute for each.
        """

        def observe(options: CallbackOptions) -> Iterable[Observation]:
            # Without the lock: there may be many connections, and none of them has to wait.
            connections, sums = self._snapshot()
            for connection, labels in connections:
                sums[labels] = _added(sums[labels], _counts(connection))
            return [
                Observation(
                    self._increased((name, all_labels), counts[position]),
                    dict(all_labels),
                )
                for labels, counts in sums.items()
                for position, label in values
                for all_labels in [labels if label is None else (*labels, label)]
            ]

        return observe

    def _increased(self, key: tuple[str, Labels], value: float) -> float:
        """Return a value, or the last one reported if that is more.

        A counter that another thread changes may be read a little too high.
        """
        self._reported[key] = value = max(value, self._reported.get(key, 0))
        return value


def _counts(connection: BaseConnection) -> list[float]:
    """Read what is summed up over connections."""
    statistics = connection.statistics
    return [
        statistics.messages_received,
        statistics.messages_sent,
        statistics.bytes_received,
        statistics.bytes_sent,
        statistics.seconds_not_writable,
    ]


def _added(some: list[float], others: list[float]) -> list[float]:
    return [one + other for one, other in zip(some, others, strict=True)]
