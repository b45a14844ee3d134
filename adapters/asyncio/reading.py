"""Reading in turn: on event loops that would read one stream many times before any other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["read_in_next_turn", "reads_on"]


def reads_on(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop goes on reading a stream as long as reads fill the buffer.

    asyncio's own read once in a turn. libuv, and with it uvloop, reads up to 32 times: with buffers of
    64 KiB, that is 2 MiB of one stream before any other task or stream has its turn.
    """
    return not isinstance(loop, asyncio.BaseEventLoop)


def read_in_next_turn(
    loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, wanted: Callable[[], bool]
) -> None:
    """Stop reading for the rest of this turn of the loop.

    Args:
        wanted: whether to go on then; otherwise somebody else resumes the reading.
    """

    def read_on() -> None:
        if wanted() and not transport.is_closing():
            transport.resume_reading()

    if not transport.is_closing():
        transport.pause_reading()
        loop.call_soon(read_on)
