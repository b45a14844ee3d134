"""Blocks (``with``, ``async with``): objects that can be entered once, and the exception that is raised."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from .options import Logger

__all__ = ["AsyncOnce", "Once", "keep_exception"]


class Once:
    """An object that opens a connection or a server, and can be entered, awaited or called once.

    Attributes:
        made_by: the function that makes it, for the error.
        made_for: the URI that is connected to, or the address that a server listens on.
        _opens: the class of the connection or server.
        _usage: a sentence for the error of a program that uses the object as the connection or server.
    """

    made_by: str
    made_for: object = ""
    _opens: type = object
    _usage: str = ""

    if not TYPE_CHECKING:
        # A type checker would allow any attribute.
        def __getattr__(self, name: str) -> NoReturn:
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            if not name.startswith("_") and hasattr(self._opens, name):
                message += f"; {self._usage}"
            raise AttributeError(message, name=name, obj=self)

    def __repr__(self) -> str:
        return f"<{self.made_by}({str(self.made_for)!r})>"

    def _begin(self) -> None:
        """Begin the only use.

        Raises:
            RuntimeError: it has been used before.
        """
        # This is atomic among threads.
        mark = object()
        if vars(self).setdefault("_begun_by", mark) is not mark:
            raise RuntimeError(
                f"what {self.made_by}() returned has been used already, and can be used once: "
                f"call {self.made_by}() for each use"
            )


class AsyncOnce(Once):
    """The same on an asynchronous runtime, where ``with`` is a mistake."""

    if not TYPE_CHECKING:
        # Python says nothing of 'async with' where these two are missing.
        def __enter__(self) -> NoReturn:
            raise TypeError(f"{self.made_by}() is entered by 'async with', not by 'with'")

        def __exit__(self, *exc_info: object) -> None: ...


@contextmanager
def keep_exception(leaving: BaseException | None, logger: Logger) -> Iterator[None]:
    """Close the connection or server of a block, so that the block's own exception is raised in the end.

    An exception while closing is logged. A cancellation while closing is dropped. ``KeyboardInterrupt``,
    ``SystemExit`` and ``GeneratorExit`` are raised.

    Args:
        leaving: the exception that leaves the block; ``None`` raises every exception of closing.
        logger: the logger for exceptions while closing.
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
    # A coroutine or generator that is closed must end as well.
    ends = (KeyboardInterrupt, SystemExit, GeneratorExit)
    group = error if isinstance(error, BaseExceptionGroup) else BaseExceptionGroup("", [error])
    return group.split(ends)[0] is not None
