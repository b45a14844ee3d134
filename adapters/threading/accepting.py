"""What accepts connections, as an event loop would: a thread of its own, which gives each a thread.

There is a bound on these threads: while it is reached, clients wait to be accepted.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from adapters.shared.logs import log_failure

from .wakeups import Wakeup

if TYPE_CHECKING:
    from .server import Server, ServerConnection

__all__ = ["PAUSE", "Acceptor"]

# Seconds to wait when the operating system refuses something that accepting takes.
PAUSE = 1.0


class Acceptor:
    """Accepts connections in a thread of its own."""

    def __init__(self, server: Server, listeners: Sequence[socket.socket], max_threads: int | None) -> None:
        """
        Args:
            server: whom the connections are for.
            listeners: non-blocking sockets that listen; they are closed in the end.
            max_threads: how many connections have a thread at once, at most; ``None`` for any number.
        """
        self._server = server
        self._listeners = listeners
        self._max_threads = max_threads
        self._threads = 0
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._wakeup = Wakeup()
        self._thread = threading.Thread(target=self._run, name="wsproto-core server", daemon=True)

    def start(self) -> None:
        """Begin to accept."""
        self._thread.start()

    def stop(self) -> None:
        """The server is closing: accept no more, and close the listeners."""
        with self._lock:
            self._changed.notify_all()
        self._wakeup.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            # As long as it polls them, they accept.
            self._thread.join(PAUSE)
        for listener in self._listeners:
            listener.close()

    def _run(self) -> None:
        poll = select.poll()
        for fd in [self._wakeup.fd, *(listener.fileno() for listener in self._listeners)]:
            poll.register(fd, select.POLLIN)
        while poll.poll() and not self._server.closing:
            for listener in self._listeners:
                with self._lock:
                    self._changed.wait_for(self._has_room)
                try:
                    sock, _ = listener.accept()
                except (BlockingIOError, ConnectionAbortedError):
                    pass
                except OSError:
                    # There are too many open files, say.
                    self._pause()
                else:
                    self._begin(sock)

    def _has_room(self) -> bool:
        return self._server.closing or self._max_threads is None or self._threads < self._max_threads

    def _pause(self) -> None:
        """Tell of what the operating system refuses, and wait: it would do so again at once."""
        if not self._server.closing:
            log_failure(self._server._logger, "accepting a connection failed; trying again")
            with self._lock:
                self._changed.wait_for(lambda: self._server.closing, PAUSE)

    def _begin(self, sock: socket.socket) -> None:
        connection = self._server._accept()
        if connection is None:
            sock.close()
            return
        with self._lock:
            self._threads += 1
        try:
            threading.Thread(target=self._serve, args=(connection, sock), daemon=True).start()
        except RuntimeError:
            # There are too many threads.
            sock.close()
            self._end(connection)
            self._pause()

    def _serve(self, connection: ServerConnection, sock: socket.socket) -> None:
        try:
            self._server._run(connection, sock)
        finally:
            self._end(connection)

    def _end(self, connection: ServerConnection) -> None:
        with self._lock:
            self._threads -= 1
            self._changed.notify_all()
        self._server._leave(connection)
