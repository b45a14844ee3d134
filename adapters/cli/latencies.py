"""Latencies in constant memory: counted in classes, each a hundredth longer than the one before."""

from __future__ import annotations

import math
from collections import Counter

__all__ = ["Latencies"]

STEP = math.log(1.01)

SHOWN = 0.9999
"""The bars leave out what is longer than nearly all, so that one value does not press the others together."""


class Latencies:
    """Percentiles of many latencies. They are exact to a hundredth.

    Attributes:
        count: how many there are.
        total: their sum in seconds.
        longest: the longest one in seconds.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.longest = 0.0
        self._counts: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.count += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)
        self._counts[_class(seconds)] += 1

    @property
    def mean(self) -> float:
        """The mean in seconds; 0 of none."""
        return self.total / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float:
        """Return the number of seconds that so many percent of the latencies do not exceed; 0 of none."""
        left = self.count * percent / 100
        for index in sorted(self._counts):
            left -= self._counts[index]
            if left <= 0:
                return min(math.exp(index * STEP), self.longest)
        return self.longest

    def bars(self, number: int) -> list[tuple[float, float, int]]:
        """Return a histogram of nearly all latencies, on a logarithmic scale.

        Args:
            number: how many bars at most.

        Returns:
            For each bar where it begins and ends, in seconds, and how many latencies are in it.
        """
        if not self._counts:
            return []
        first = min(self._counts)
        last = max(first, min(_class(self.percentile(100 * SHOWN)), max(self._counts)))
        width = -(-(last + 1 - first) // number)
        return [
            (
                math.exp((start - 1) * STEP),
                math.exp((start - 1 + width) * STEP),
                sum(self._counts[index] for index in range(start, start + width)),
            )
            for start in range(first, last + 1, width)
        ]


def _class(seconds: float) -> int:
    # The clock may stand still.
    return math.ceil(math.log(max(seconds, 1e-9)) / STEP)
