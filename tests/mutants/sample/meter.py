"""A module whose tests kill some of its mutants."""

from __future__ import annotations

LEAST = 3
UNUSED = 0


def is_enough(number: int) -> bool:
    return number >= LEAST


def describe(number: int) -> str:
    if number > LEAST:
        return "many"
    return "few"


def take_all(numbers: list[int]) -> int:
    total = 0
    while numbers:
        total += sum(numbers)
        numbers.clear()
    return total


def never_called(number: int) -> int:
    return number


START = take_all([3])


class Meter:
    """Counts."""

    def __init__(self, start: int = 0) -> None:
        self.count = start
        self.unread = 0

    def add(self, number: int) -> None:
        self.count += number
