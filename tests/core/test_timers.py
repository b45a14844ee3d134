"""Deadlines, and what happens when they are looked at late."""

from __future__ import annotations

import sys

import pytest

from wsproto_core.timers import Timer, Timers


def test_nothing_runs_at_first() -> None:
    timers = Timers()
    assert timers.next is None
    assert timers.expired(1e9) == []
    assert not any(timers.is_running(timer) for timer in Timer)


def test_a_deadline() -> None:
    timers = Timers()
    timers.start(Timer.PONG, 100, 20)
    assert timers.is_running(Timer.PONG)
    assert not timers.is_running(Timer.PING)
    assert timers.next == 120
    assert timers.expired(119.9) == []
    assert timers.expired(120) == [Timer.PONG]
    assert timers.expired(120) == [Timer.PONG]  # until it is stopped or started anew


def test_the_earliest_deadline_is_next() -> None:
    timers = Timers()
    timers.start(Timer.PING, 100, 20)
    timers.start(Timer.CLOSING, 100, 10)
    timers.start(Timer.WRITE, 100, 30)
    assert timers.next == 110
    timers.stop(Timer.CLOSING)
    assert timers.next == 120


def test_those_that_expire_together_are_handled_in_order() -> None:
    timers = Timers()
    for timer in reversed(Timer):
        timers.start(timer, 0, 10)
    assert timers.expired(10) == [
        Timer.OPENING,
        Timer.CLOSING,
        Timer.WRITE,
        Timer.PONG,
        Timer.PING,
        Timer.IDLE,
    ]


def test_a_timer_starts_anew() -> None:
    timers = Timers()
    timers.start(Timer.PING, 100, 20)
    timers.start(Timer.PING, 110, 20)
    assert timers.next == 130


def test_no_period_is_no_deadline() -> None:
    timers = Timers()
    timers.start(Timer.PING, 100, 20)
    timers.start(Timer.PING, 110, None)
    assert timers.next is None
    assert not timers.is_running(Timer.PING)


def test_a_deadline_is_brought_nearer() -> None:
    timers = Timers()
    timers.shorten(Timer.CLOSING, 100, 10)
    assert timers.next == 110
    timers.shorten(Timer.CLOSING, 101, 10)
    assert timers.next == 110
    timers.shorten(Timer.CLOSING, 102, 1)
    assert timers.next == 103


def test_stopping_what_does_not_run() -> None:
    timers = Timers()
    timers.stop(Timer.PING)
    assert timers.next is None


@pytest.mark.parametrize(("now", "late"), [(120, None), (130, None), (130.5, 10.5), (1000, 880)])
def test_lateness(now: float, late: float | None) -> None:
    """More than half the period too late, it starts anew; otherwise it is as it was."""
    timers = Timers()
    timers.start(Timer.PONG, 100, 20)
    assert timers.forgive(Timer.PONG, now) == late
    assert timers.next == (120 if late is None else now + 20)


def test_lateness_is_forgiven_once_in_a_row() -> None:
    timers = Timers()
    timers.start(Timer.PONG, 100, 20)
    assert timers.forgive(Timer.PONG, 200) == 80
    assert timers.forgive(Timer.PONG, 300) is None


@pytest.mark.parametrize("stop", [False, True])
def test_lateness_is_forgiven_again_after_a_new_start(stop: bool) -> None:
    timers = Timers()
    timers.start(Timer.PONG, 100, 20)
    timers.forgive(Timer.PONG, 200)
    if stop:
        timers.stop(Timer.PONG)
    timers.start(Timer.PONG, 300, 20)
    assert timers.forgive(Timer.PONG, 400) == 80


def test_timers_are_forgiven_apart() -> None:
    timers = Timers()
    timers.start(Timer.PONG, 100, 20)
    timers.start(Timer.WRITE, 100, 20)
    assert timers.forgive(Timer.PONG, 200) == 80
    assert timers.forgive(Timer.WRITE, 200) == 80


def test_starting_and_stopping_takes_no_memory() -> None:
    timers = Timers()
    size = sys.getsizeof(timers.running)
    for _ in range(100):
        for timer in Timer:
            timers.start(timer, 0, 10)
            timers.start(timer, 1, 10)
            timers.stop(timer)
    assert sys.getsizeof(timers.running) == size
