"""Blocks of connections, servers and loops that reconnect: entered once, and left by which exception."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from .options import Logger

__all__ = ["Once", "keep_exception"]


class Once:
    """Something that is entered, awaited or called once, since it keeps what it has opened.

    Attributes:
        made_by: the function that makes it, for the error.
        made_for: the URI that is connected to, or the address that a server listens on.
        opens: the class of what it opens.
        usage: a sentence for those who use it as if it was open already.
    """

    made_by: str
    made_for: object = ""
    opens: type = object
    usage: str = ""

    if not TYPE_CHECKING:
        # A type checker would allow any attribute.
        def __getattr__(self, name: str) -> NoReturn:
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            if not name.startswith("_") and hasattr(self.opens, name):
                message += f"; {self.usage}"
            raise AttributeError(message, name=name, obj=self)

    def __repr__(self) -> str:
        return f"<{self.made_by}({str(self.made_for)!r})>"

    def _begin(self) -> None:
        """Begin, for the first time.

        Raises:
            RuntimeError: it has begun before.
        """
        # No other thread comes between looking and setting.
        mark = object()
        if vars(self).setdefault("_begun_by", mark) is not mark:
            raise RuntimeError(
                f"what {self.made_by}() returned has been used already, and can be used once: "
                f"call {self.made_by}() for each use"
            )


@contextmanager
def keep_exception(leaving: BaseException | None, logger: Logger) -> Iterator[None]:
    """Close what a block was for: the exception that leaves the block comes out, whatever closing raises.

    An error of closing is logged. A cancellation that arrives while closing waits gives way, as it would
    to an exception that is raised in a ``finally``. What ends the program does not.

    Args:
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
