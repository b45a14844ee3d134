"""trio."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import trio
import trio.testing

import adapters.trio
from adapters.trio import (
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


class TrioTask(Task):
    def start(self, nursery: trio.Nursery) -> None:
        self._scope = trio.CancelScope()
        nursery.start_soon(self._run_in_scope)

    async def _run_in_scope(self) -> None:
        with self._scope:
            await self.run()

    def cancel(self) -> None:
        self._scope.cancel()


class Trio(Runtime):
    ClientConnection = ClientConnection
    ServerConnection = ServerConnection
    adapter = adapters.trio

    nursery: trio.Nursery

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        self._failure: Exception | None = None
        self._cancelled: trio.Cancelled | None = None
        try:
            trio.run(self._supervise, test)
        except BaseException as other:
            failure = self._failure or other
            self.explain(failure, other, self._cancelled)
            raise failure from failure.__cause__
        collect_garbage()

    async def _supervise(self, test: Coroutine[Any, Any, None]) -> None:
        with trio.fail_after(self.deadline):
            async with trio.open_nursery() as self.nursery:
                tasks = trio.lowlevel.current_statistics().tasks_living
                try:
                    await test
                    await trio.testing.wait_all_tasks_blocked()
                    for task in self.tasks:
                        task.check()
                    left = trio.lowlevel.current_statistics().tasks_living - tasks
                    assert not left, f"{left} tasks are left: {self.nursery.child_tasks}"
                except Exception as failure:
                    self._failure = failure
                    raise
                except trio.Cancelled as cancelled:
                    # Where the test was when its time was over.
                    self._cancelled = cancelled
                    raise

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    def event(self) -> Event:
        return trio.Event()

    def start(self, function: Callable[..., Awaitable[Any]], args: Any) -> Task:
        task = TrioTask(self, function, args)
        task.start(self.nursery)
        return task

    async def timeout(
        self, seconds: float, function: Callable[..., Awaitable[Any]], *args: Any, **options: Any
    ) -> Any:
        with trio.move_on_after(seconds):
            return await function(*args, **options)
        raise TimeoutError

    async def readable(self, sock: socket.socket) -> None:
        await trio.lowlevel.wait_readable(sock)

    async def writable(self, sock: socket.socket) -> None:
        await trio.lowlevel.wait_writable(sock)

    def connect(self, uri: str, **options: Any) -> AbstractAsyncContextManager[Any]:
        return connect(uri, **options)

    async def open(self, uri: str, **options: Any) -> Any:
        return await connect(uri, nursery=self.nursery, **options)

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
