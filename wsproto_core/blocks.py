"""What comes out of a block that is left: of a connection, of a server, of a loop that reconnects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .options import Logger

__all__ = ["keep_exception"]


@contextmanager
def keep_exception(leaving: BaseException | None, logger: Logger) -> Iterator[None]:
    """Close what a block was for: the exception that leaves the block comes out, whatever closing raises.

    An error of closing is logged. A cancellation that arrives while closing waits gives way, as it would
    to an exception that is raised in a ``finally``. What ends the program does not.

    Arguments:
        leaving: the exception that leaves the block; ``None`` lets everything out.
        logger: where to log.
    """
    try:
        yield
    except BaseException as error:
        if leaving is None or _ends_program(error):
            raise
        if isinstance(error, Exception):
            logger.error("closing failed", exc_info=error)
        else:
            logger.debug("closing was interrupted: %s", type(error).__name__)


def _ends_program(error: BaseException) -> bool:
    # A coroutine or generator that is closed must end, too.
    ends = (KeyboardInterrupt, SystemExit, GeneratorExit)
    group = error if isinstance(error, BaseExceptionGroup) else BaseExceptionGroup("", [error])
    return group.split(ends)[0] is not None
