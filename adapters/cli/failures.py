"""What ends a command with one line on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .escapes import escape_line

__all__ = ["CommandFailure", "describe", "needs_extra"]


class CommandFailure(Exception):
    """The command cannot go on; the message says why, and what to do.

    Attributes:
        status: the exit status.
    """

    def __init__(self, message: str, status: int = 1) -> None:
        self.status = status
        super().__init__(message)


def describe(error: BaseException) -> str:
    """Describe an error and its notes in one line, escaped for a terminal."""
    text = str(error) or type(error).__name__
    return escape_line("; ".join([text, *getattr(error, "__notes__", ())]))


@contextmanager
def needs_extra(what: str, extra: str = "cli") -> Iterator[None]:
    """Turn a failed import into an error that says which command installs what is missing.

    Args:
        what: what needs it.
        extra: the extra of this distribution.

    Raises:
        CommandFailure: a module is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise CommandFailure(
            f"{what} needs {error.name}: pip install 'wsproto-core[{extra}]', "
            f"or in a checkout: pip install '.[{extra}]'"
        ) from error
