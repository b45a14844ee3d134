"""Choices out of the bytes that a fuzzer gives.

A target takes its few choices (side, options, sizes of chunks) from the first bytes of the input, and reads
the rest as what a peer sends. So a mutation of the rest stays one of the peer's bytes, and the entries of the
dictionary fit. When the input is at its end, each choice is the first one: a shorter input is a simpler one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

__all__ = ["Source", "chunkings", "cut"]

T = TypeVar("T")

# An input is played byte by byte only if it is not longer.
LONGEST_BY_BYTES = 400


class Source:
    """Reads an input from its beginning."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def __bool__(self) -> bool:
        """Whether bytes are left."""
        return self._position < len(self._data)

    def take(self, count: int) -> bytes:
        """Return the next bytes; fewer at the end."""
        data = self._data[self._position : self._position + count]
        self._position += len(data)
        return data

    def rest(self) -> bytes:
        """Return all bytes that are left."""
        return self.take(len(self._data))

    def number(self, low: int, high: int) -> int:
        """Return a number from ``low`` to ``high``, of one byte, or of two if there are more than 256."""
        size = 1 if high - low < 256 else 2
        return low + int.from_bytes(self.take(size), "big") % (high - low + 1)

    def flag(self) -> bool:
        """Return whether the next byte is odd."""
        return self.number(0, 1) == 1

    def choice(self, choices: Sequence[T]) -> T:
        """Return one of several values."""
        return choices[self.number(0, len(choices) - 1)]

    def block(self, longest: int) -> bytes:
        """Return bytes behind a length of one or two bytes."""
        return self.take(self.number(0, longest))

    def text(self, longest: int) -> str:
        """Return a text, made of bytes in UTF-8 of which those that are wrong are left out."""
        return self.block(longest).decode(errors="ignore")

    def seed(self) -> random.Random:
        """Return a generator of numbers, for what need not be chosen by the fuzzer byte by byte."""
        return random.Random(self.number(0, 0xFFFF))


def cut(data: bytes, positions: Iterable[int]) -> list[bytes]:
    """Cut bytes at positions."""
    edges = [0, *sorted(min(position, len(data)) for position in positions), len(data)]
    return [data[start:stop] for start, stop in pairwise(edges)]


def chunkings(data: bytes, source: random.Random) -> Iterator[list[bytes]]:
    """Return chunkings of the same bytes: all at once, at random positions, one by one if they are few."""
    yield [data]
    yield cut(data, [source.randint(0, len(data)) for _ in range(source.randint(1, 8))])
    if len(data) <= LONGEST_BY_BYTES:
        yield [data[index : index + 1] for index in range(len(data))]


def play_chunkings(play: Callable[[list[bytes]], T], data: bytes, source: random.Random) -> T:
    """Call a function with each of :func:`chunkings`; return its result, which must be the same."""
    results = [play(pieces) for pieces in chunkings(data, source)]
    for result in results[1:]:
        assert result == results[0], "the result depends on the chunking"
    return results[0]
