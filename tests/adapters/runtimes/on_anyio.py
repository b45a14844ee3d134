"""anyio, on both of its backends."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import anyio.abc

import adapters.anyio
from adapters.anyio import (
    ClientConnection,
    ServerConnection,
    connect,
    route,
    serve,
    unix_connect,
    unix_route,
    unix_serve,
)

from .base import Event, Handler, Runtime, Task, collect_garbage


class AnyioTask(Task):
    def start(self, task_group: anyio.abc.TaskGroup) -> None:
        self._scope = anyio.CancelScope()
        task_group.start_soon(self._run_in_scope)

    async def _run_in_scope(self) -> None:
        with self._scope:
            await self.run()

    def cancel(self) -> None:
        self._scope.cancel()


class Anyio(Runtime):
    ClientConnection = ClientConnection
    ServerConnection = ServerConnection
    adapter = adapters.anyio

    task_group: anyio.abc.TaskGroup

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        self._failure: Exception | None = None
        self._cancelled: BaseException | None = None
        try:
            anyio.run(self._supervise, test, backend=self.name.removeprefix("anyio-"))
        except BaseException as other:
            failure = self._failure or other
            self.explain(failure, other, self._cancelled)
            raise failure from failure.__cause__
        collect_garbage()

    async def _supervise(self, test: Coroutine[Any, Any, None]) -> None:
        with anyio.fail_after(self.deadline):
            async with anyio.create_task_group() as self.task_group:
                before = anyio.get_running_tasks()
                try:
                    await test
                    left = await self._left(before)
                    for task in self.tasks:
                        task.check()
                    assert not left, f"tasks are left: {left}"
                except Exception as failure:
                    self._failure = failure
                    raise
                except anyio.get_cancelled_exc_class() as cancelled:
                    # Where the test was when its time was over.
                    self._cancelled = cancelled
                    raise

    async def _left(self, before: list[anyio.TaskInfo]) -> list[anyio.TaskInfo]:
        """The tasks that do not end by themselves."""
        left: list[anyio.TaskInfo] = []
        for _ in range(10):
            # On asyncio, a task counts as blocked whose child has ended, until it is told so.
            await anyio.wait_all_tasks_blocked()
            left = [task for task in anyio.get_running_tasks() if task not in before]
            if not left:
                break
        return left

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)

    def event(self) -> Event:
        return anyio.Event()

    def start(self, function: Callable[..., Awaitable[Any]], args: Any) -> Task:
        task = AnyioTask(self, function, args)
        task.start(self.task_group)
        return task

    async def timeout(
        self, seconds: float, function: Callable[..., Awaitable[Any]], *args: Any, **options: Any
    ) -> Any:
        with anyio.move_on_after(seconds):
            return await function(*args, **options)
        raise TimeoutError

    async def readable(self, sock: socket.socket) -> None:
        await anyio.wait_readable(sock)

    async def writable(self, sock: socket.socket) -> None:
        await anyio.wait_writable(sock)

    def connect(self, uri: str, **options: Any) -> AbstractAsyncContextManager[Any]:
        return connect(uri, **options)

    async def open(self, uri: str, **options: Any) -> Any:
        return await connect(uri, task_group=self.task_group, **options)

    def serve(self, handler: Handler, *args: Any, **options: Any) -> AbstractAsyncContextManager[Any]:
        return serve(handler, *args, **options)

    def unix_connect(self, *args: Any, **options: Any) -> AbstractAsyncContextManager[Any]:
        return unix_connect(*args, **options)

    def unix_serve(self, handler: Handler, *args: Any, **options: Any) -> AbstractAsyncContextManager[Any]:
        return unix_serve(handler, *args, **options)

    def route(self, rules: Any, *args: Any, **options: Any) -> AbstractAsyncContextManager[Any]:
        return route(rules, *args, **options)

    def unix_route(self, rules: Any, *args: Any, **options: Any) -> AbstractAsyncContextManager[Any]:
        return unix_route(rules, *args, **options)
