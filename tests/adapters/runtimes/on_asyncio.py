"""asyncio, on its own event loop and on uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import uvloop

import adapters.asyncio
from adapters.asyncio import (
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

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}


class AsyncioTask(Task):
    def start(self) -> None:
        self._task = asyncio.create_task(self.run())
        # How it has ended is known to the test.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    def cancel(self) -> None:
        self._task.cancel()


class Asyncio(Runtime):
    ClientConnection = ClientConnection
    ServerConnection = ServerConnection
    adapter = adapters.asyncio

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.reports: list[dict[str, Any]] = []
        """What was reported to the event loop's exception handler; a test that expects some removes it."""

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=LOOPS[self.name]) as runner:
            loop = runner.get_loop()
            loop.set_exception_handler(lambda loop, context: self.reports.append(context))
            try:
                runner.run(self._supervise(test))
            except BaseException as failure:
                self.explain(failure, *self.reports)
                raise
        # Exceptions that were never retrieved, and transports that were never closed, are
        # reported when they are collected.
        collect_garbage()
        assert not self.reports, f"reported to the event loop: {self.reports}"

    async def _supervise(self, test: Coroutine[Any, Any, None]) -> None:
        async with asyncio.timeout(self.deadline):
            await test
        for _ in range(10):
            await asyncio.sleep(0)
        for task in self.tasks:
            task.check()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks are left: {left}"

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def event(self) -> Event:
        return asyncio.Event()

    def start(self, function: Callable[..., Awaitable[Any]], args: Any) -> Task:
        task = AsyncioTask(self, function, args)
        task.start()
        return task

    async def timeout(
        self, seconds: float, function: Callable[..., Awaitable[Any]], *args: Any, **options: Any
    ) -> Any:
        async with asyncio.timeout(seconds):
            return await function(*args, **options)

    async def readable(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await self._ready(sock, loop.add_reader, loop.remove_reader)

    async def writable(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await self._ready(sock, loop.add_writer, loop.remove_writer)

    async def _ready(self, sock: socket.socket, add: Callable[..., Any], remove: Callable[..., Any]) -> None:
        ready = asyncio.Event()
        add(sock, ready.set)
        try:
            await ready.wait()
        finally:
            remove(sock)

    def tls_handshake_timeout(self, seconds: float) -> dict[str, Any]:
        return {"ssl_handshake_timeout": seconds}

    def connect(self, uri: str, **options: Any) -> AbstractAsyncContextManager[Any]:
        return connect(uri, **options)

    async def open(self, uri: str, **options: Any) -> Any:
        return await connect(uri, **options)

    def serve(self, handler: Handler, *args: Any, **options: Any) -> AbstractAsyncContextManager[Any]:
        return serve(handler, *args, **options)

    def unix_connect(self, *args: Any, **options: Any) -> AbstractAsyncContextManager[Any]:
        return unix_connect(*args, **options)

    @contextlib.asynccontextmanager
    async def unix_serve(self, handler: Handler, *args: Any, **options: Any) -> AsyncIterator[Any]:
        async with unix_serve(handler, *args, **options) as server:
            yield server

    def route(self, rules: Any, *args: Any, **options: Any) -> AbstractAsyncContextManager[Any]:
        return route(rules, *args, **options)

    def unix_route(self, rules: Any, *args: Any, **options: Any) -> AbstractAsyncContextManager[Any]:
        return unix_route(rules, *args, **options)
