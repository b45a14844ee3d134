"""Timeouts of test tools that are to expire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.adapters.runtimes.base import DEADLINE

EXPIRING = 0.2
"""Seconds of a timeout that is to expire."""

EXPIRES: dict[str, Any] = {
    "timeout": EXPIRING,
    "open_timeout": DEADLINE,
    "server": {"open_timeout": DEADLINE},
}
"""Options of the tools for a connection whose waits expire, but not its opening."""


@contextmanager
def may_close_late() -> Iterator[None]:
    """Accept that the closing at the end of a block was too slow, but nothing else.

    The timeout of the tools limits the closing, too, and a busy machine may need longer for it.
    """
    try:
        yield
    except TimeoutError as error:
        if "closed" not in str(error):
            raise
