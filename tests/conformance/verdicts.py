"""What a runner says about a case, in Autobahn's words; the runners print it as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = [
    "FAILED",
    "INFORMATIONAL",
    "NON_STRICT",
    "OK",
    "OUTCOMES",
    "UNIMPLEMENTED",
    "Verdict",
    "dump",
    "load",
]

OK = "OK"
INFORMATIONAL = "INFORMATIONAL"
NON_STRICT = "NON-STRICT"
UNIMPLEMENTED = "UNIMPLEMENTED"
FAILED = "FAILED"

OUTCOMES = (OK, INFORMATIONAL, NON_STRICT, UNIMPLEMENTED, FAILED)
"""From the best to the worst."""


@dataclass(frozen=True)
class Verdict:
    """The verdict about a case.

    Attributes:
        behavior: about the messages.
        closing: about the closing handshake.
        late: the runner's own deadlines that have passed; a busy machine may be the reason.
        reason: what was wrong.
        compressed: messages of the peer that were compressed, if the runner counts them.
    """

    behavior: str
    closing: str
    late: tuple[str, ...] = ()
    reason: str = ""
    compressed: int = 0

    @property
    def outcome(self) -> str:
        """The worse one of both; what has no place among the outcomes is a failure."""
        both = (self.behavior, self.closing)
        return max(
            (word if word in OUTCOMES else FAILED for word in both), key=lambda word: OUTCOMES.index(word)
        )


def dump(verdicts: Mapping[str, Verdict]) -> str:
    """Return JSON, short enough to fit into a pipe."""
    return json.dumps({case: _fields(verdict) for case, verdict in verdicts.items()})


def _fields(verdict: Verdict) -> dict[str, object]:
    fields = {name: value for name, value in asdict(verdict).items() if value}
    if verdict.outcome in (OK, INFORMATIONAL):
        fields.pop("reason", None)
    return fields


def load(text: str) -> dict[str, Verdict]:
    return {case: _verdict(**fields) for case, fields in json.loads(text).items()}


def _verdict(late: Sequence[str] = (), **fields: Any) -> Verdict:
    return Verdict(late=tuple(late), **fields)


def is_late(case: str, verdict: Verdict) -> bool:
    """Whether a case has failed for want of time; those of section 9 must be done within one."""
    return bool(verdict.late) or (case.startswith("9.") and verdict.outcome != OK)
