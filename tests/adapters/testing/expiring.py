"""Timeouts of test tools that are to expire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

EXPIRING = 0.2
"""Seconds of a timeout that is to expire."""


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
