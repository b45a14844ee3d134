"""Threads and blocking sockets: coroutines that never suspend, and connections that look asynchronous."""

from __future__ import annotations

import contextlib
import functools
import inspect
import select
import socket
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from typing import Any, Self

import adapters.threading
from adapters.threading import ClientConnection, ServerConnection, connect, serve, unix_connect, unix_serve

from .base import DEADLINE, ENDING, Event, Handler, Runtime, Task, collect_garbage


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise AssertionError("a coroutine has suspended, but all that it awaits should have blocked")


def blocking(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of a coroutine function that never suspends; it may return other things too."""

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        result = function(*args, **options)
        return drive(result) if inspect.iscoroutine(result) else result

    return call


class ThreadEvent:
    def __init__(self) -> None:
        self._event = threading.Event()
        self.set = self._event.set
        self.is_set = self._event.is_set

    async def wait(self) -> None:
        # Before the deadline of the whole test, so that the traceback tells where.
        if not self._event.wait(0.8 * DEADLINE):
            raise TimeoutError("nobody has set the event")


class Pong:
    """What ``ping`` returns, to be awaited as on other runtimes."""

    def __init__(self, pong: Any) -> None:
        self.native = pong

    def __await__(self) -> Generator[None, None, float]:
        return self.native.wait()  # type: ignore[no-any-return]
        yield


class Blocking:
    """A connection whose methods are coroutine functions that block."""

    def __init__(self, native: Any) -> None:
        self.native = native

    def __getattr__(self, name: str) -> Any:
        return getattr(self.native, name)

    def __repr__(self) -> str:
        return repr(self.native)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blocking) and self.native is other.native

    def __hash__(self) -> int:
        return hash(self.native)

    async def recv(self, decode: bool | None = None, **timeout: Any) -> Any:
        return self.native.recv(decode, **timeout)

    async def recv_streaming(self, decode: bool | None = None, **timeout: Any) -> AsyncIterator[Any]:
        with contextlib.closing(self.native.recv_streaming(decode, **timeout)) as pieces:
            for piece in pieces:
                yield piece

    async def send(self, *args: Any, **options: Any) -> None:
        self.native.send(*args, **options)

    async def ping(self, *args: Any) -> Pong:
        return Pong(self.native.ping(*args))

    async def pong(self, *args: Any) -> None:
        self.native.pong(*args)

    async def close(self, *args: Any) -> None:
        self.native.close(*args)

    async def wait_closed(self, **timeout: Any) -> None:
        self.native.wait_closed(**timeout)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self.native)
        except StopIteration:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        self.native.__enter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        self.native.__exit__(*exc_info)


class BlockingBroadcast:
    def __init__(self, native: Any) -> None:
        self.native = native
        self.skipped = [Blocking(connection) for connection in native.skipped]

    def __await__(self) -> Generator[None, None, None]:
        self.native.wait(DEADLINE)
        return
        yield


class BlockingIterator:
    """An iterator over connections, in a block."""

    def __init__(self, native: Any) -> None:
        self.native = native

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Blocking:
        return Blocking(next(self.native))

    async def __aenter__(self) -> Self:
        self.native.__enter__()
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        self.native.__exit__(*exc_info)


class BlockingServer:
    def __init__(self, native: Any) -> None:
        self.native = native

    def __getattr__(self, name: str) -> Any:
        return getattr(self.native, name)

    @property
    def connections(self) -> set[Blocking]:
        return {Blocking(connection) for connection in self.native.connections}

    async def wait_closed(self, **timeout: Any) -> None:
        self.native.wait_closed(**timeout)

    async def serve_forever(self) -> None:
        self.native.serve_forever()


class ThreadTask(Task):
    def start(self) -> None:
        self.thread = threading.Thread(target=self._drive, name=self.name, daemon=True)
        self.thread.start()

    def _drive(self) -> None:
        with contextlib.suppress(BaseException):
            drive(self.run())

    def check(self) -> None:
        self.thread.join(ENDING)
        super().check()


class Threads(Runtime):
    ClientConnection = ClientConnection
    ServerConnection = ServerConnection
    adapter = adapters.threading

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._handlers: dict[Handler, Callable[..., Any]] = {}

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        before = set(threading.enumerate())
        task = ThreadTask(self, lambda: test, ())
        task.name = test.__qualname__
        task.start()
        task.thread.join(self.deadline)
        try:
            assert task.done(), f"the test has not ended\n{stacks()}"
            drive(task.result())
        except BaseException as failure:
            self.explain(failure)
            raise
        for each in self.tasks:
            each.check()
        if self.alone:
            self._check_threads(before)
        collect_garbage()

    def _check_threads(self, before: set[threading.Thread]) -> None:
        deadline = time.monotonic() + ENDING
        # The adapter's one background thread is there to stay.
        while left := [
            each for each in threading.enumerate() if each not in before and not is_background(each)
        ]:
            assert time.monotonic() < deadline, f"threads are left: {left}\n{stacks()}"
            time.sleep(0.005)

    async def sleep(self, seconds: float) -> None:
        threading.Event().wait(seconds)

    def event(self) -> Event:
        return ThreadEvent()

    def start(self, function: Callable[..., Awaitable[Any]], args: Any) -> Task:
        task = ThreadTask(self, function, args)
        task.start()
        return task

    async def timeout(
        self, seconds: float, function: Callable[..., Awaitable[Any]], *args: Any, **options: Any
    ) -> Any:
        return await function(*args, timeout=seconds, **options)

    async def pong(self, waiter: Any, **timeout: Any) -> float:
        return waiter.native.wait(**timeout)  # type: ignore[no-any-return]

    def fragments(self, go_on: Any) -> Any:
        yield "a"
        drive(go_on.wait())
        yield "b"

    async def readable(self, sock: socket.socket) -> None:
        self._poll(sock, select.POLLIN)

    async def writable(self, sock: socket.socket) -> None:
        self._poll(sock, select.POLLOUT)

    def _poll(self, sock: socket.socket, mask: int) -> None:
        poll = select.poll()
        poll.register(sock, mask)
        if not poll.poll(DEADLINE * 1000):
            raise TimeoutError("a socket was not ready in time")

    @contextlib.asynccontextmanager
    async def _opened(self, connecting: Any) -> AsyncIterator[Any]:
        with connecting as connection:
            yield Blocking(connection)

    def connect(self, uri: str, **options: Any) -> Any:
        return self._opened(connect(uri, **options))

    def unix_connect(self, *args: Any, **options: Any) -> Any:
        return self._opened(unix_connect(*args, **options))

    async def open(self, uri: str, **options: Any) -> Any:
        return Blocking(connect(uri, **options)())

    @contextlib.asynccontextmanager
    async def _served(self, serving: Any) -> AsyncIterator[Any]:
        with serving as server:
            accepting = self.spawn(BlockingServer(server).serve_forever)
            yield BlockingServer(server)
        await accepting.result()

    def serve(self, handler: Handler, *args: Any, **options: Any) -> Any:
        return self._served(serve(self.native_handler(handler), *args, **self._blocking(options)))

    def unix_serve(self, handler: Handler, *args: Any, **options: Any) -> Any:
        return self._served(unix_serve(self.native_handler(handler), *args, **self._blocking(options)))

    def route(self, rules: Any, *args: Any, **options: Any) -> Any:
        return self._served(adapters.threading.route(rules, *args, **self._blocking(options)))

    def unix_route(self, rules: Any, *args: Any, **options: Any) -> Any:
        return self._served(adapters.threading.unix_route(rules, *args, **self._blocking(options)))

    def _blocking(self, options: dict[str, Any]) -> dict[str, Any]:
        function = options.get("process_request")
        return {**options, "process_request": blocking(function)} if callable(function) else options

    def reconnect(self, uri: str, **options: Any) -> Any:
        return BlockingIterator(adapters.threading.reconnect(uri, **options))

    def broadcast(self, connections: Any, message: Any, *policy: Any) -> Any:
        return BlockingBroadcast(super().broadcast(connections, message, *policy))

    def native(self, connection: Any) -> Any:
        return connection.native

    def native_handler(self, handler: Any) -> Any:
        if not callable(handler):
            return handler
        if handler not in self._handlers:
            function = blocking(handler)
            self._handlers[handler] = functools.wraps(handler)(
                lambda connection, *path, **values: function(Blocking(connection), *path, **values)
            )
        return self._handlers[handler]


def is_background(thread: threading.Thread) -> bool:
    return thread.name == "wsproto-core background reader"


def stacks() -> str:
    """Where all threads are."""
    frames = sys._current_frames()
    return "\n".join(
        f"{thread.name}:\n{''.join(traceback.format_stack(frames[thread.ident or 0]))}"
        for thread in threading.enumerate()
        if thread.ident in frames
    )
