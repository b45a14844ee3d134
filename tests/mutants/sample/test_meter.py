"""The tests of the sample: some of them would not notice a mistake."""

from __future__ import annotations

from .meter import START, Meter, describe, is_enough, take_all


def test_enough() -> None:
    assert is_enough(3)
    assert not is_enough(2)


def test_describe() -> None:
    assert describe(1000) == "many"
    assert describe(1) == "few"


def test_take_all() -> None:
    assert take_all([2, 1]) == 3


def test_start() -> None:
    assert START == 3


def test_meter() -> None:
    meter = Meter()
    meter.add(2)
    assert meter.count == 2
