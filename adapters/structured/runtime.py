"""What is needed of a runtime with structured concurrency; trio and anyio have it by the same names."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from socket import socket
from typing import Any, Generic, TypeVar
from typing import Protocol as Interface

from ..shared.asynchronous import RuntimeEvent
from ..shared.blocks import AsyncOnce, keep_exception
from ..shared.options import Logger
from ..shared.tunnels import SocksRuntime

__all__ = ["Opening", "Runtime", "Scope", "Tasks"]

T = TypeVar("T", bound=AbstractAsyncContextManager[Any])


class Scope(Interface):
    """A cancel scope."""

    deadline: float
    shield: bool

    def cancel(self) -> object:
        """Cancel the tasks in it."""


class Tasks(Interface):
    """A nursery, or task group."""

    @property
    def cancel_scope(self) -> Any:
        """What all of them are in."""

    def start_soon(self, function: Any, /, *args: Any) -> object:
        """Run a function as a task."""

    async def start(self, function: Any, /, *args: Any) -> Any:
        """Run a function as a task, and wait until it says that it has started."""


@dataclass(frozen=True)
class Runtime:
    """A runtime's functions."""

    check_running: Callable[[], object]
    """Raise :exc:`RuntimeError` if another runtime runs the caller."""
    stream_methods: tuple[str, ...]
    """What its streams of bytes have."""
    make_event: Callable[[], RuntimeEvent]
    open_tasks: Callable[[], AbstractAsyncContextManager[Any]]
    """Open a nursery or task group."""
    open_scope: Callable[..., AbstractContextManager[Scope]]
    """Open a cancel scope; its keyword ``deadline`` is infinite by default."""
    get_clock: Callable[[], Callable[[], float]]
    """Return the clock of the running event loop."""
    date: Callable[[], float]
    """Return the seconds since 1970."""
    sleep_until: Callable[[float], Awaitable[object]]
    checkpoint: Callable[[], Awaitable[object]]
    get_check_cancelled: Callable[[], Callable[[], Awaitable[object] | None]]
    """Return the running event loop's ``checkpoint_if_cancelled``, or a function that calls it if need be."""
    current_task: Callable[[], object]
    """Return a value that identifies the running task."""
    getaddrinfo: Callable[..., Awaitable[Any]]
    """:func:`socket.getaddrinfo`."""
    wait_readable: Callable[[socket], Awaitable[object]]
    wait_writable: Callable[[socket], Awaitable[object]]
    notify_closing: Callable[[socket], object]
    """A socket is about to be closed: end the waits for it."""
    frees_at_once: Callable[[], bool]
    """Whether the waits have given the socket's descriptor up when ``notify_closing`` returns."""
    take_socket: Callable[[Any], socket | None]
    """Return a socket, or the socket of a socket stream, which loses it; ``None`` for other streams."""
    make_transport: Callable[[Any], Any]
    """Return a stream of the runtime as a :class:`.WaitingTransport`."""
    make_lower_stream: Callable[[Any], Any]
    """Return the stream that TLS goes over, for a socket or a stream of the runtime."""
    start_tls: Callable[[Any, ssl.SSLContext, str | None, bool], Awaitable[Any]]
    """Do TLS's handshake over a lower stream, given the server's name and whether this is the server."""
    close_forcefully: Callable[[Any], Awaitable[object]]
    """Close a stream of the runtime at once."""
    socks: SocksRuntime
    """Functions for ``python_socks``."""

    def check_stream(self, stream: object) -> None:
        """Refuse an object that is no stream of this runtime.

        Raises:
            TypeError: it is none.
        """
        if not all(hasattr(stream, method) for method in self.stream_methods):
            methods = ", ".join(self.stream_methods)
            raise TypeError(f"stream must have the methods of the runtime's own ({methods}), not {stream!r}")


class Opening(AsyncOnce, ABC, Generic[T]):
    """An asynchronous context manager, for one use, that opens something and runs its tasks in the block.

    Attributes:
        _runtime: the runtime of the adapter.
        _logger: the logger for errors.
    """

    _runtime: Runtime
    _logger: Logger

    @abstractmethod
    async def _open(self, tasks: Tasks) -> T:
        """Open it."""

    def _begin(self) -> None:
        self._runtime.check_running()
        super()._begin()

    async def __aenter__(self) -> T:
        self._begin()
        self._manager = self._runtime.open_tasks()
        self._tasks: Tasks = await self._manager.__aenter__()
        try:
            self._opened = await self._open(self._tasks)
        except BaseException:
            await self._end_tasks()
            raise
        return self._opened

    async def __aexit__(self, exc_type: Any, exc: BaseException | None, traceback: Any) -> None:
        with keep_exception(exc, self._logger):
            try:
                await self._opened.__aexit__(exc_type, exc, traceback)
            finally:
                await self._end_tasks()

    async def _end_tasks(self) -> None:
        # What the block raises shall come out as it is. Left in the usual way, a nursery would put it
        # into a group; so it sees neither that nor a cancellation from outside, which comes after it.
        scope = self._tasks.cancel_scope
        scope.shield = True
        scope.cancel()
        await self._manager.__aexit__(None, None, None)
