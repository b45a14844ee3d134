"""What is needed of a runtime with structured concurrency; trio and anyio have it by the same names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from typing import Protocol as Interface

from ..asynchronous import Event

__all__ = ["Opening", "Runtime", "Scope", "Tasks", "Transport"]

T = TypeVar("T", bound=AbstractAsyncContextManager[Any])


class Scope(Interface):
    """A cancel scope."""

    deadline: float
    shield: bool

    def cancel(self) -> object:
        """Cancel what is in it."""


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

    make_event: Callable[[], Event]
    open_tasks: Callable[[], AbstractAsyncContextManager[Any]]
    """Open a nursery or task group."""
    open_scope: Callable[[float], AbstractContextManager[Scope]]
    """Open a cancel scope with a deadline."""
    get_clock: Callable[[], Callable[[], float]]
    """Return the clock of the running event loop."""
    environment: Mapping[str, str]
    date: Callable[[], float]
    """Return the seconds since 1970."""
    sleep_until: Callable[[float], Awaitable[object]]
    checkpoint: Callable[[], Awaitable[object]]
    checkpoint_if_cancelled: Callable[[], Awaitable[object]]


class Transport(Interface):
    """A stream whose operations do not wait; waiting is apart.

    Each raises :exc:`OSError` when the stream is broken. One task at a time reads, one writes.

    Attributes:
        has_halves: whether one half can be ended alone.
        writes_at_once: whether writing ever takes no waiting.
        stream: what a user knows as the stream.
        local_address, remote_address: where it leads, if that is known.
    """

    has_halves: bool
    writes_at_once: bool
    stream: Any
    local_address: Any
    remote_address: Any

    def read(self) -> bytes | None:
        """Return bytes, none at the end of the stream; ``None`` if one has to wait for them."""

    async def wait_readable(self) -> object:
        """Wait until there is something to read. Cancelling it loses nothing."""

    def write(self, buffers: list[memoryview]) -> int:
        """Write what takes no waiting; return how many bytes that was."""

    async def wait_writable(self) -> object:
        """Wait until more can be written."""

    def send_eof(self) -> object:
        """End the sending half."""

    async def aclose(self) -> object:
        """Close the stream in order."""

    async def abort(self, reset: bool) -> object:
        """Close the stream at once, if it is not closed yet, without waiting for anything.

        Arguments:
            reset: whether what has not been sent is to be dropped, if there is a choice.
        """


class Opening(ABC, Generic[T]):
    """Something that has tasks of its own as long as its block: entered and left as what it opens."""

    runtime: Runtime

    @abstractmethod
    async def _open(self, tasks: Tasks) -> T:
        """Open it."""

    async def __aenter__(self) -> T:
        self._manager = self.runtime.open_tasks()
        self._tasks: Tasks = await self._manager.__aenter__()
        try:
            self._opened = await self._open(self._tasks)
        except BaseException:
            await self._end_tasks()
            raise
        return self._opened

    async def __aexit__(self, *exc_info: Any) -> None:
        try:
            await self._opened.__aexit__(*exc_info)
        finally:
            await self._end_tasks()

    async def _end_tasks(self) -> None:
        # What the block raises shall come out as it is. Left in the usual way, a nursery would put it
        # into a group; so it sees neither that nor a cancellation from outside, which comes after it.
        scope = self._tasks.cancel_scope
        scope.shield = True
        scope.cancel()
        await self._manager.__aexit__(None, None, None)
