"""Limits in parsed form: watermarks of queues, limits on messages, limits on the head of an HTTP message."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

__all__ = [
    "DEFAULT_HEAD_LIMITS",
    "HeadLimits",
    "MessageLimits",
    "Pair",
    "Watermarks",
    "message_limits",
    "watermarks",
]

Pair: TypeAlias = tuple[int | None, int | None]
"""A high and a low watermark, or the limits of a message and of a fragment, as an option gives them."""


class Watermarks(NamedTuple):
    """Watermarks of a queue: work stops at the high one and resumes at the low one (backpressure)."""

    high: float
    low: float


def watermarks(value: int | Pair | None, divisor: int) -> Watermarks:
    """Return the watermarks of an option; by default, the low one is the high one divided by ``divisor``."""
    high, low = value if isinstance(value, tuple) else (value, None)
    if high is None:
        return Watermarks(math.inf, math.inf)
    return Watermarks(high, high // divisor if low is None else low)


class MessageLimits(NamedTuple):
    """Limits on what is received, in bytes; ``None`` for no limit.

    Attributes:
        message: the limit on a message.
        fragment: the limit on a single fragment.
    """

    message: int | None
    fragment: int | None


def message_limits(value: int | Pair | None) -> MessageLimits:
    """Return the limits for a value of the option ``max_size``; without a pair, fragments have none."""
    return MessageLimits(*value) if isinstance(value, tuple) else MessageLimits(value, None)


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Limits on the head of a request or of a response; ``None`` for no limit.

    Attributes:
        max_headers: number of header lines (a folded header is several).
        max_header_line: bytes in a line, with its end; the request line and the status line too.
        max_header_bytes: bytes in the whole head, with the blank line that ends it. A reader holds at
            most this much memory, and the chunk that it has just received.
    """

    max_headers: int | None = 128
    max_header_line: int | None = 8192
    max_header_bytes: int | None = 32768


DEFAULT_HEAD_LIMITS = HeadLimits()
