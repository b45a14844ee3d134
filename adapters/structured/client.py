"""Clients on runtimes with structured concurrency."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Any, Generic, NoReturn, TypeVar

from wsproto_core.types import Side

from ..shared.client import AsyncClientConnection, BaseConnect, Connecting
from ..shared.logs import default_logger
from ..shared.reconnect import AsyncReconnecting
from ..shared.stream_options import StreamConnectOptions, check_reconnect, check_tasks
from .connection import StructuredConnection
from .runtime import Opening, Tasks
from .streams import open_transport
from .transport import Transport

__all__ = [
    "StructuredClientConnection",
    "StructuredConnect",
    "StructuredConnectOptions",
    "StructuredReconnect",
]

StreamT = TypeVar("StreamT")


class StructuredConnectOptions(StreamConnectOptions, Generic[StreamT], total=False):
    """Options of ``connect``. The type of ``stream`` is the runtime's."""

    stream: StreamT | None
    local_address: str | None


class StructuredClientConnection(AsyncClientConnection, StructuredConnection):
    """A client's connection."""


T = TypeVar("T", bound=StructuredClientConnection)


class StructuredConnect(BaseConnect, Opening[T], Generic[T]):
    """What ``connect`` returns: an asynchronous context manager; awaitable, if it was given tasks.

    Attributes:
        _create: the default of the option ``create_protocol``.
        _tasks_name: the option by which it is given tasks.
    """

    _options = StructuredConnectOptions
    _opens = StructuredClientConnection

    _create: Callable[..., T]
    _tasks_name: str

    def __init__(self, uri: str, path: str | None, tasks: Tasks | None, options: Mapping[str, Any]) -> None:
        """
        Args:
            uri: a WebSocket URI.
            path: where a Unix socket is; ``None`` for TCP.
            tasks: where the connection lives, if it is awaited.
            options: those of ``connect``.

        Raises:
            InvalidURI, TypeError, ValueError: see :class:`.BaseConnect`.
        """
        self._usage = (
            "it is no connection yet: use 'async with connect(...) as websocket:' or "
            f"'websocket = await connect(..., {self._tasks_name}={self._tasks_name})'"
        )
        check_tasks(self._tasks_name, tasks)
        super().__init__(uri, path, options)
        self._given_tasks = tasks
        self._logger = self._target.settings.logger or default_logger(Side.CLIENT)
        if options.get("stream") is not None:
            self._runtime.check_stream(options["stream"])

    async def _open(self, tasks: Tasks) -> T:
        connecting = self._connecting(self._runtime.get_clock())
        return await connecting.open(self._create, partial(self._open_stream, connecting, tasks))

    async def _open_stream(self, connecting: Connecting, tasks: Tasks, connection: T) -> None:
        transport: Transport | None = None
        with self._runtime.open_scope(
            deadline=math.inf if connecting.deadline is None else connecting.deadline
        ):
            transport = await open_transport(self._runtime, connecting)
        if transport is None:
            raise connecting.timed_out()
        await connection._start(tasks, transport)

    def __await__(self) -> Generator[Any, Any, T]:
        if self._given_tasks is None:
            raise TypeError(
                f"connect() cannot be awaited without {self._tasks_name}=: use "
                "'async with connect(...) as websocket:' or "
                f"'websocket = await connect(..., {self._tasks_name}={self._tasks_name})'"
            )
        self._begin()
        return self._open(self._given_tasks).__await__()

    def __aiter__(self) -> NoReturn:
        raise TypeError(
            "connect() cannot be iterated over: use 'async with reconnect(...) as connections:' and "
            "'async for websocket in connections:'"
        )


class StructuredReconnect(Opening[AsyncReconnecting[T]], Generic[T]):
    """What ``reconnect`` returns: an asynchronous context manager that gives an iterator."""

    made_by = "reconnect"

    def __init__(self, connect: StructuredConnect[T]) -> None:
        check_reconnect(connect._target.stream_options)
        self._connect = connect
        self._runtime = connect._runtime
        self._logger = connect._logger

    async def _open(self, tasks: Tasks) -> AsyncReconnecting[T]:
        return AsyncReconnecting(
            self._connect._target,
            partial(self._connect._open, tasks),
            sleep=self._sleep,
            clock=self._runtime.get_clock(),
        )

    async def _sleep(self, seconds: float) -> None:
        await self._runtime.sleep_until(self._runtime.get_clock()() + seconds)
