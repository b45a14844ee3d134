"""Which connections are closed at which time, by a clock and a timer of the test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adapters.shared.draining import Drain


class Timetable:
    """A clock, the calls that are due, and the connections that were closed, with their times."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[tuple[float, Callable[[], bool]]] = []
        self.closed: list[tuple[float, str]] = []

    def call_at(self, when: float, function: Callable[[], bool]) -> Callable[[], object]:
        call = when, function
        self.calls.append(call)
        return lambda: self.calls.remove(call)

    def drain(self, names: str, seconds: float, before: Drain[str] | None = None) -> Drain[str]:
        drain = Drain(names, seconds, lambda: self.now, self.call_at, self.close, before)
        if before is not None:
            before.cancel()
        drain.close_due()
        return drain

    def close(self, name: str) -> None:
        self.closed.append((self.now - 100, name))

    def run(self, until: float = 1000.0) -> None:
        """Make the calls that are due until a time, in seconds from the beginning on."""
        while self.calls and min(self.calls)[0] <= 100 + until:
            self.now, function = self.calls.pop(self.calls.index(min(self.calls)))
            assert function() is True
        self.now = max(self.now, 100 + until)


@pytest.fixture
def table() -> Timetable:
    return Timetable()


def test_equal_steps(table: Timetable) -> None:
    drain = table.drain("abcd", 2.0)
    assert table.closed == [(0.0, "a")]
    assert drain
    assert drain.seconds_left == 1.5
    table.run()
    assert table.closed == [(0.0, "a"), (0.5, "b"), (1.0, "c"), (1.5, "d")]
    assert not drain
    assert drain.seconds_left == 0


def test_no_time(table: Timetable) -> None:
    drain = table.drain("abc", 0.0)
    assert table.closed == [(0.0, "a"), (0.0, "b"), (0.0, "c")]
    assert not drain
    assert not table.calls


def test_no_connections(table: Timetable) -> None:
    drain = table.drain("", 1.0)
    assert not drain
    assert drain.seconds_left == 0
    assert not table.calls


def test_late_call_closes_all_that_are_due(table: Timetable) -> None:
    table.drain("abcd", 2.0)
    table.now += 1.25
    table.calls.pop()[1]()
    assert table.closed == [(0.0, "a"), (1.25, "b"), (1.25, "c")]
    table.run()
    assert table.closed[3:] == [(1.5, "d")]


def test_early_call_closes_nothing(table: Timetable) -> None:
    """Timers of an event loop may be called a little early."""
    table.drain("ab", 2.0)
    table.now += 0.9
    table.calls.pop()[1]()
    assert table.closed == [(0.0, "a")]
    table.run()
    assert table.closed[1:] == [(1.0, "b")]


def test_connection_that_ends_by_itself(table: Timetable) -> None:
    drain = table.drain("abcd", 2.0)
    drain.discard("b")
    table.run()
    assert table.closed == [(0.0, "a"), (1.0, "c"), (1.5, "d")]


def test_end_of_the_last_connection_cancels_the_call(table: Timetable) -> None:
    drain = table.drain("abc", 2.0)
    drain.discard("b")
    assert len(table.calls) == 1
    drain.discard("c")
    assert not table.calls
    assert not drain
    assert drain.seconds_left == 0
    drain.discard("a")


def test_longer_drain_closes_nothing_later(table: Timetable) -> None:
    first = table.drain("abcd", 2.0)
    table.run(0.6)
    second = table.drain("dc", 1000.0, first)
    assert not first
    assert second
    table.run()
    # The first of the second drain is closed at once.
    assert [name for _, name in table.closed] == ["a", "b", "c", "d"]
    assert [when for when, _ in table.closed] == pytest.approx([0.0, 0.5, 0.6, 1.5])


def test_shorter_drain_closes_earlier(table: Timetable) -> None:
    first = table.drain("abcd", 1000.0)
    table.run(1.0)
    table.drain("bcd", 3.0, first)
    table.run()
    assert table.closed == [(0.0, "a"), (1.0, "b"), (2.0, "c"), (3.0, "d")]


def test_connections_that_a_drain_did_not_know(table: Timetable) -> None:
    first = table.drain("ab", 10.0)
    table.drain("cb", 4.0, first)
    table.run()
    assert table.closed == [(0.0, "a"), (0.0, "b"), (2.0, "c")]


def test_cancelled_drain_closes_nothing_more(table: Timetable) -> None:
    """Also if it is cancelled by what its own call does."""
    drain = table.drain("abc", 3.0)
    call = table.calls[0][1]
    drain.cancel()
    assert not table.calls
    table.now += 10
    call()
    assert table.closed == [(0.0, "a")]
    assert not table.calls
