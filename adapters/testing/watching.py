"""What the clients for tests share: the limit on each wait, and the failure of what is tested.

A handler is served by the real server of its adapter, and its client is the real one, on a Unix socket in a
folder of its own. A subclass of the client's class lets waits end in time, and raises the exception of the
handler in the place of :exc:`ConnectionClosed`.
"""

from __future__ import annotations

import socket
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..shared.server import BaseServerConnection

__all__ = [
    "HOST",
    "NOT_RETURNED",
    "TIMEOUT",
    "ServerUnderTest",
    "Watch",
    "add_failure",
    "check_options",
    "connected_listener",
    "full_uri",
]

HOST = "127.0.0.1"

TIMEOUT = 5.0
"""Seconds that a test waits for something, by default."""

NOT_RETURNED = "the connection is closed, but the handler has not returned"


class ServerUnderTest:
    """A server that a test has started.

    Attributes:
        server: the adapter's server.
        uri: its URI, without a path: ``ws://127.0.0.1:port``.
    """

    def __init__(self, server: Any, *, secure: bool) -> None:
        """
        Args:
            server: the adapter's server.
            secure: whether it is on TLS.
        """
        self.server = server
        self.uri = f"{'wss' if secure else 'ws'}://{HOST}:{server.port}"


class Watch:
    """The limit on the waits of a test, and the exception of the handler that it tests.

    Attributes:
        timeout: the limit on each wait, in seconds.
        failure: the exception of the handler; ``None`` if there is none.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.failure: Exception | None = None
        self._raised = False

    def handler_raised(self, connection: BaseServerConnection, error: Exception) -> None:
        """Note the exception of a handler, unless it only says that the connection is closed.

        Args:
            connection: the handler's connection.
            error: the exception.
        """
        if self.failure is None and not connection._tells_of_end(error):
            self.failure = error

    def check(self) -> None:
        """Raise the exception of the handler if there is one."""
        if self.failure is not None:
            self._raised = True
            raise self.failure

    def check_at_end(self, leaving: BaseException | None) -> None:
        """Raise the exception of the handler, unless the test has seen it.

        Args:
            leaving: the exception that leaves the block of the test, to which the handler's is added as a
                note; ``None`` if there is none.
        """
        if self.failure is None or self._raised:
            return
        if leaving is None:
            raise self.failure
        add_failure(leaving, "the handler", self.failure)

    def deadlines(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options of a client or a server, with deadlines that are not later than the timeout.

        Args:
            options: those of the test, which take precedence.
        """
        # The closing handshake takes at most twice close_timeout.
        return {"open_timeout": self.timeout, "close_timeout": self.timeout / 2, **options}


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse the options that a connection in memory has no use for.

    Raises:
        TypeError: one of them is given.
    """
    for name in ("create_protocol", "host", "port", "proxy", "sock", "stream"):
        if name in options:
            raise TypeError(f"{name!r} cannot be given: the connection of a test is made in memory")


def full_uri(uri: str) -> str:
    """Return the URI for a path, which is one of this machine, or for a URI."""
    return f"ws://localhost{uri}" if uri.startswith("/") else uri


def add_failure(error: BaseException, name: str, failure: BaseException) -> None:
    """Add to the exception of a test the one that may be its reason, which the test has not seen.

    Args:
        error: the exception of the test.
        name: what has failed.
        failure: its exception.
    """
    if error is not failure:
        error.add_note(f"{name} has failed: {''.join(traceback.format_exception(failure))}")


@contextmanager
def connected_listener() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give a Unix socket that listens, and one that is connected to it and waits to be accepted."""
    with tempfile.TemporaryDirectory(prefix="ws-") as folder:
        listener = socket.socket(socket.AF_UNIX)
        client = socket.socket(socket.AF_UNIX)
        with listener, client:
            path = str(Path(folder) / "socket")
            listener.bind(path)
            listener.listen()
            client.connect(path)
            yield listener, client
