"""Autobahn's sections 12 and 13, and a section of this project's own: permessage-deflate (RFC 7692).

Autobahn's numbers, sizes, counts, fragments, deadlines and parameters; the data is of our own making. A
case sends messages, each when the one before has come back. In section 12 all parameters are the defaults,
and each subsection has other data. In section 13 the data is JSON, and each subsection has other
parameters.

In Autobahn a parameter limits one direction: as a client, it asks the server for it, and may itself be
limited only by the server's choice; as a server, it asks the client for it. In section 14, which is not
Autobahn's, the same parameters hold in both directions, so each end compresses and decompresses with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from .corpora import CORPORA, Corpus, json_records

__all__ = ["CASES", "Case", "Parameters", "choose"]

COUNT = 1000
"""Messages in each of Autobahn's cases."""

OWN_COUNT = 100
"""Messages in each case of section 14."""

SIZES = (
    *((2**power, 0) for power in (4, 6, 8, 10, 12, 13, 14, 15, 16, 17)),
    *((2**power, 256) for power in (13, 14, 15, 16, 17)),
    *((2**17, fragment) for fragment in (1024, 4096, 32768)),
)
"""Characters or bytes of a message, and bytes of compressed data in a frame; 0 for one frame."""

DEADLINES = {16: 60, 64: 60, 256: 120, 1024: 240}
"""Seconds that a case may take, by the size of its messages; longer ones have :data:`LONGEST`."""

LONGEST = 480


@dataclass(frozen=True)
class Parameters:
    """Parameters of RFC 7692 section 7.1 for one direction.

    Attributes:
        no_context_takeover: each message is compressed on its own.
        bits: the window is of 2 to this power bytes; ``None`` for no word of it, which means 15.
    """

    no_context_takeover: bool = False
    bits: int | None = None

    def text(self, side: str) -> str:
        """The parameters as they are written in the header, for the direction from a client or a server."""
        takeover = f"; {side}_no_context_takeover" if self.no_context_takeover else ""
        return takeover + (f"; {side}_max_window_bits={self.bits}" if self.bits else "")


DEFAULTS = Parameters()

SETS = {
    1: (DEFAULTS,),
    2: (Parameters(True),),
    3: (Parameters(False, 9),),
    4: (Parameters(False, 15),),
    5: (Parameters(True, 9),),
    6: (Parameters(True, 15),),
    7: (Parameters(True, 9), Parameters(True), DEFAULTS),
}
"""By the number of the subsection of section 13: what is offered and accepted, in this order."""


@dataclass(frozen=True)
class Case:
    """A case.

    Attributes:
        name: its number.
        corpus: gives what is sent.
        size: characters or bytes of a message.
        fragment: bytes of compressed data in a frame; 0 for all.
        count: messages.
        seconds: how long it may take.
        sets: what is offered and accepted, in this order.
        both_ways: the parameters hold in both directions.
    """

    name: str
    corpus: Corpus
    size: int
    fragment: int
    count: int
    seconds: int
    sets: Sequence[Parameters]
    both_ways: bool = False

    def offer(self) -> str:
        """The value of ``Sec-WebSocket-Extensions`` in the request of a client."""
        return ", ".join(self._offer(wanted) for wanted in self.sets)

    def _offer(self, wanted: Parameters) -> str:
        if not self.both_ways:
            # That a client offers its own parameters means that the server may choose them.
            own = "; client_no_context_takeover; client_max_window_bits"
        else:
            own = wanted.text("client") if wanted.bits else f"{wanted.text('client')}; client_max_window_bits"
        return f"permessage-deflate{own}{wanted.text('server')}"

    def messages(self) -> Iterator[tuple[bool, bytes]]:
        """Yield for each message whether it is text, and its payload: the next piece of the data."""
        data = self.corpus()
        start = 0
        for _ in range(self.count):
            end = (start + self.size) % len(data)
            piece = data[start:end] if end > start else data[start:] + data[:end]  # type: ignore[operator]
            start = end
            yield (True, piece.encode()) if isinstance(piece, str) else (False, piece)


def _cases() -> Iterator[Case]:
    for subsection, (_, corpus) in CORPORA.items():
        yield from _subsection(f"12.{subsection}", corpus, COUNT, SETS[1])
    for subsection, sets in SETS.items():
        yield from _subsection(f"13.{subsection}", json_records, COUNT, sets)
    for subsection, sets in SETS.items():
        yield from _subsection(f"14.{subsection}", json_records, OWN_COUNT, sets, both_ways=True)


def _subsection(
    name: str,
    corpus: Corpus,
    count: int,
    sets: Sequence[Parameters],
    both_ways: bool = False,
) -> Iterator[Case]:
    for number, (size, fragment) in enumerate(SIZES, 1):
        seconds = DEADLINES.get(size, LONGEST)
        yield Case(f"{name}.{number}", corpus, size, fragment, count, seconds, sets, both_ways)


CASES = {case.name: case for case in _cases()}


def choose(patterns: Sequence[str]) -> list[Case]:
    """Return the cases whose numbers match one of the patterns, such as ``12.*``; all without a pattern."""
    return [
        case
        for name, case in CASES.items()
        if not patterns or any(fnmatch(name, pattern) for pattern in patterns)
    ]
