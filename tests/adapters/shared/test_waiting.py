"""Who waits, and for what: in which order they are woken, and how much is done for it."""

from __future__ import annotations

from adapters.shared.waiting import Turn, TurnQueue, Waiters


class Flag:
    """Something to wait for, which counts how often it is looked at."""

    def __init__(self) -> None:
        self.up = False
        self.looked_at = 0

    def is_up(self) -> bool:
        self.looked_at += 1
        return self.up


def test_those_who_wait_for_the_same_are_woken_together_by_one_look() -> None:
    waiters, flag, other, woken = Waiters(), Flag(), Flag(), list[int]()
    for number in range(3):
        waiters.add(flag.is_up, lambda number=number: woken.append(number))  # type: ignore[misc]
    waiters.add(other.is_up, lambda: woken.append(3))
    waiters.wake()
    assert (woken, flag.looked_at, other.looked_at) == ([], 1, 1)
    flag.up = True
    waiters.wake()
    assert (woken, flag.looked_at) == ([0, 1, 2], 2)
    waiters.wake()
    assert (woken, flag.looked_at) == ([0, 1, 2], 2)
    assert list(waiters) == [other.is_up]


def test_who_does_not_wait_any_more_is_not_woken() -> None:
    waiters, flag, woken = Waiters(), Flag(), list[str]()

    def wake() -> None:
        woken.append("first")

    waiters.add(flag.is_up, wake)
    waiters.add(flag.is_up, lambda: woken.append("second"))
    waiters.remove(flag.is_up, wake)
    waiters.remove(flag.is_up, wake)
    flag.up = True
    waiters.wake()
    assert woken == ["second"]
    # What was woken is removed as well, by those who do not know that.
    waiters.remove(flag.is_up, wake)
    assert not waiters


def test_the_last_who_leaves_leaves_nothing() -> None:
    waiters, flag = Waiters(), Flag()
    waiters.add(flag.is_up, flag.is_up)
    waiters.remove(flag.is_up, flag.is_up)
    assert not waiters


class Standing:
    """Some who stand in a line, and the order in which they are woken."""

    def __init__(self, count: int) -> None:
        self.line = TurnQueue()
        self.woken: list[int] = []
        self.places = [self.join(number) for number in range(count)]

    def join(self, number: int) -> Turn:
        return self.line.join(lambda: self.woken.append(number))


def test_first_in_first_out() -> None:
    standing = Standing(3)
    assert [place.first for place in standing.places] == [True, False, False]
    for place in standing.places:
        assert place.first
        assert standing.line
        place.leave()
    assert standing.woken == [1, 2]
    assert not standing.line


def test_who_is_not_first_leaves_without_waking_anybody() -> None:
    standing = Standing(4)
    first, second, third, last = standing.places
    third.leave()
    last.leave()
    assert standing.woken == []
    new = standing.join(4)
    first.leave()
    assert standing.woken == [1]
    second.leave()
    assert standing.woken == [1, 4]
    assert new.first
    new.leave()
    assert not standing.line
