"""What the demo prints: who said what to whom, and in the end what has come of it.

Everything in it is reported when it has happened. The summary is made from these reports, and what
was never reported counts as failed.
"""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass, field
from typing import TextIO

from wsproto_core import Data, Statistics

WHO = 8  # columns for a name
BAR = 24  # columns for a progress bar


class Step(enum.Enum):
    """What has to happen."""

    PAGE = "the page came by HTTP, with status 200"
    NOT_FOUND = "another path gave 404"
    JOINED = "three clients joined and were counted"
    TEXT = "a text message arrived"
    ANSWER = "an answer from the bare core arrived"
    BINARY = "a binary message arrived as it was sent"
    FRAGMENTS = "a message sent in fragments arrived as one"
    PING = "pings were answered, by either kind of client"
    FILE_IN_PIECES = "a file arrived in pieces, with the right SHA-256"
    FILE_WHOLE = "the file arrived whole, with the right SHA-256"
    LEFT = "two clients left with code 1000, and were counted out"
    SERVER_CLOSED = "the server closed with code 1001"
    COUNTERS = "the connections' own counters say the same as this transcript"


@dataclass
class Tally:
    """What one client has exchanged."""

    messages_sent: int = 0
    messages_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    latencies: list[float] = field(default_factory=list)
    close_code: int | None = None
    statistics: Statistics = field(default_factory=Statistics)

    def agrees(self) -> bool:
        """Whether the library has counted the same messages, and at least as many bytes."""
        return (
            self.statistics.messages_sent == self.messages_sent
            and self.statistics.messages_received == self.messages_received
            and self.statistics.bytes_sent > self.bytes_sent
            and self.statistics.bytes_received > self.bytes_received
        )


class Transcript:
    """Prints lines as things happen, and remembers them for the summary."""

    def __init__(self, stream: TextIO) -> None:
        self.tallies: dict[str, Tally] = {}
        self._stream = stream
        self._start = time.monotonic()
        self._steps: set[Step] = set()
        self._progress_shown = -1

    def title(self, text: str) -> None:
        self._print(f"\n{text}\n")

    def line(self, who: str, text: str) -> None:
        """Print a line about what somebody did."""
        self._print(self._line(who, text))

    def done(self, step: Step) -> None:
        """Remember that a step has succeeded."""
        self._steps.add(step)

    def progress(self, who: str, text: str, done: int, total: int) -> None:
        """Show how far something is: redrawn on a terminal, else in a few lines."""
        quarter = 4 * done // total
        full = BAR * done // total
        bar = "#" * full + "-" * (BAR - full)
        line = self._line(who, f"{text} [{bar}] {100 * done // total:3}%")
        if self._stream.isatty():
            self._print(f"\r{line}", end="\n" if done == total else "")
        elif quarter != self._progress_shown:
            self._print(line)
        self._progress_shown = quarter if done < total else -1

    def summary(self) -> bool:
        """Print what was exchanged and what is missing; return whether nothing is."""
        if self.tallies:
            self.title("What was exchanged")
            self._print(f"{'':{WHO}}  {'sent':>24}  {'received':>24}  {'pings':>14}  {'closed':>6}")
            for name, tally in self.tallies.items():
                self._print(
                    f"{name:{WHO}}  {_amount(tally.messages_sent, tally.bytes_sent):>24}"
                    f"  {_amount(tally.messages_received, tally.bytes_received):>24}"
                    f"  {_pings(tally.latencies):>14}  {tally.close_code or 'no':>6}"
                )
            messages = sum(tally.messages_sent + tally.messages_received for tally in self.tallies.values())
            frames = sum(
                tally.statistics.frames_sent + tally.statistics.frames_received
                for tally in self.tallies.values()
            )
            wire = sum(
                tally.statistics.bytes_sent + tally.statistics.bytes_received
                for tally in self.tallies.values()
            )
            self._print(f"\nIn all {messages} messages in {frames} frames, {size(wire)} on the wire.")
        missing = [step for step in Step if step not in self._steps]
        for step in missing:
            self._print(f"MISSING: {step.value}")
        total = time.monotonic() - self._start
        verdict = "FAILED: only" if missing else "OK:"
        self._print(f"{verdict} {len(self._steps)} of {len(Step)} steps done, in {total:.2f} s")
        return not missing

    def _line(self, who: str, text: str) -> str:
        return f"{time.monotonic() - self._start:7.3f}  {who:<{WHO}} {text}"

    def _print(self, text: str, end: str = "\n") -> None:
        print(text, end=end, file=self._stream, flush=True)


def describe(message: Data) -> str:
    """Say what a message is, safe for a terminal whatever is in it."""
    if isinstance(message, bytes):
        return f"binary, {size(len(message))}"
    shown = message if len(message) <= 60 else message[:59] + "…"
    return f"text, {size(len(message.encode()))}: {shown!r}"


def size(count: int) -> str:
    """A number of bytes in a unit that suits it."""
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KiB" if count < 2**20 else f"{count / 2**20:.2f} MiB"


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.2f} ms"


def _amount(messages: int, count: int) -> str:
    return f"{messages} messages, {size(count)}"


def _pings(latencies: list[float]) -> str:
    return f"{len(latencies)}, {milliseconds(min(latencies))}" if latencies else "0"
