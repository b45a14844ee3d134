"""Functions of the application that fail: the stream is closed, the error logged, others are served."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import Log, wait_closed
from wsproto_core import ConnectionClosed, Headers

pytestmark = pytest.mark.needs("sockets", "features")

plain_or_tls = pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])


class Stop(BaseException):
    """As ``pytest.fail`` raises it: no error, and nothing that a runtime knows."""


def contains_stop(error: BaseException | None) -> bool:
    group = error if isinstance(error, BaseExceptionGroup) else BaseExceptionGroup("", [error or KeyError()])
    return group.split(Stop)[0] is not None


@contextlib.asynccontextmanager
async def stopping(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, log: Log, *args: Any, **options: Any
) -> AsyncIterator[Any]:
    """A server one of whose functions raises Stop, which must come out.

    Where a nursery is above the handlers, it comes out of the block; a thread gives it to the hook for
    that; on asyncio nobody would see it, so that it is logged.
    """
    hooked: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: hooked.append(args.exc_value))
    raised: BaseException | None = None
    try:
        async with runtime.serving(*args, logger=log, **options) as (server, _):
            yield server
            await runtime.until(lambda: not server.connections)
            if runtime.name == "threading":
                await runtime.until(lambda: hooked)
            # Others are served, unless all have been cancelled.
            await runtime.settle()
    except BaseException as error:
        if not contains_stop(error):
            raise
        raised = error
    if runtime.name == "threading":
        assert contains_stop(hooked[0])
    elif runtime.name in ("asyncio", "uvloop"):
        assert log.errors() == [("connection failed", Stop)]
    else:
        assert contains_stop(raised)


@plain_or_tls
async def test_handler_that_raises_no_error(
    runtime: Runtime, tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients: list[Any] = []

    async def handler(websocket: Any) -> None:
        raise Stop

    options = runtime.server_tls(tls)
    async with stopping(runtime, monkeypatch, Log(), handler, **options) as server:
        uri = runtime.uri_of(server, scheme="wss" if tls else "ws")
        clients.append(await runtime.open(uri, **runtime.client_tls(tls)))
        await clients[0].wait_closed()
    await clients[0].wait_closed()
    assert clients[0].close_code in (1001, 1006, 1011)


@pytest.mark.parametrize("name", ["process_request", "select_subprotocol"])
async def test_hook_that_raises_no_error(
    runtime: Runtime, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, *args: Any) -> Any:
        raise Stop

    connection = type("Connection", (runtime.ServerConnection,), {name: fail})
    options = {"subprotocols": ["a"], "create_protocol": connection}
    async with stopping(runtime, monkeypatch, Log(), wait_closed, **options) as server:
        with contextlib.suppress(Exception):
            await runtime.open(runtime.uri_of(server), subprotocols=["a"])


@plain_or_tls
async def test_close_that_raises(runtime: Runtime, tls: bool) -> None:
    """A method that was overridden, after a handler that has returned."""
    faulty = True

    class Faulty(runtime.ServerConnection):  # type: ignore[name-defined,misc]
        def close(self, *args: Any) -> Any:
            if faulty:
                raise ZeroDivisionError
            return super().close(*args)

    async def handler(websocket: Any) -> None:
        await websocket.send(await websocket.recv())

    log = Log()
    options = {"create_protocol": Faulty, "logger": log, **runtime.server_tls(tls)}
    client = {"close_timeout": 1, **runtime.client_tls(tls)}
    async with runtime.serving(handler, **options) as (server, uri):
        async with runtime.connect(uri, **client) as websocket:
            await runtime.check_echo(websocket)
            await websocket.wait_closed()
        await runtime.until(lambda: not server.connections)
        assert log.errors() == [("connection failed", ZeroDivisionError)]
        faulty = False
        async with runtime.connect(uri, **client) as websocket:
            await runtime.check_echo(websocket)
            await websocket.wait_closed()
            assert websocket.close_code == 1000


@plain_or_tls
async def test_connection_that_cannot_be_created(runtime: Runtime, tls: bool) -> None:
    log = Log()
    results: list[Any] = [KeyError("configuration"), None, object()]
    if runtime.name == "threading":
        # Elsewhere, this ends the program.
        results.append(SystemExit(1))
    errors = [TypeError if not isinstance(each, BaseException) else type(each) for each in results]

    def create(*args: Any, **options: Any) -> Any:
        if not results:
            return runtime.ServerConnection(*args, **options)
        result = results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result

    options = {"create_protocol": create, "logger": log, **runtime.server_tls(tls)}
    async with runtime.serving(**options) as (server, uri):
        for _ in errors:
            async with runtime.raw_connection(server) as peer:
                with contextlib.suppress(ConnectionError):
                    assert await peer.read_to_end() == b""
        async with runtime.connect(uri, **runtime.client_tls(tls)) as client:
            await runtime.check_echo(client)
    # Accepting has not failed, and does not pause.
    assert log.errors() == [("connection could not be created", error) for error in errors]


class Broken(Log):
    """A logger whose filter raises for what is worse than a warning."""

    def __init__(self) -> None:
        super().__init__()
        self.logger.addFilter(self.filter)
        self.refused: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            self.refused.append(record.getMessage())
            raise OverflowError("the disk is full")
        return True


async def test_filter_of_the_log_that_raises(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be logged is written to standard error; the server goes on."""
    written: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda *args: written.append(args[0]))

    async def handler(websocket: Any) -> None:
        if await websocket.recv() == "raise":
            raise ZeroDivisionError
        await websocket.send("good")

    broken = Broken()
    async with runtime.serving(handler, logger=broken) as (server, uri):
        for _ in range(2):
            async with runtime.connect(uri) as client:
                await client.send("raise")
                await client.wait_closed()
            await runtime.until(lambda: not server.connections)
        async with runtime.connect(uri) as client:
            await client.send("go on")
            assert await client.recv() == "good"
    assert broken.refused == ["connection handler failed", "connection failed"] * 2
    assert written == [OverflowError] * 2


async def test_error_of_a_handler_after_the_close_is_an_error(runtime: Runtime) -> None:
    ended = runtime.event()

    async def handler(websocket: Any) -> None:
        await websocket.wait_closed()
        ended.set()
        raise ZeroDivisionError

    log = Log()
    async with runtime.serving(handler, logger=log) as (server, uri):
        async with runtime.connect(uri):
            pass
        await ended.wait()
        await runtime.until(lambda: not server.connections)
    assert log.errors() == [("connection handler failed", ZeroDivisionError)]


async def test_other_connection_that_is_closed_is_an_error(runtime: Runtime) -> None:
    """A proxy may see that: its own connection is open, and is closed with 1011."""
    others: list[Any] = []

    async def handler(websocket: Any) -> None:
        await others[0].recv()

    log = Log()
    async with runtime.serving(wait_closed) as (_, other_uri), runtime.connect(other_uri) as other:
        others.append(other)
        await other.close()
        async with runtime.serving(handler, logger=log) as (_, uri), runtime.connect(uri) as client:
            await client.wait_closed()
            assert client.close_code == 1011
    ((message, error),) = log.errors()
    assert message == "connection handler failed"
    assert error is not None
    assert issubclass(error, ConnectionClosed)


# Waiting for oneself


@pytest.mark.parametrize("where", ["handler", "process_request"])
@pytest.mark.parametrize("method", ["wait_closed", "serve_forever", "shutdown"])
async def test_waiting_for_the_own_server(runtime: Runtime, where: str, method: str) -> None:
    if method == "shutdown" and runtime.name != "threading":
        method = "wait_closed"
    servers: list[Any] = []
    refused = runtime.event()

    async def wait() -> None:
        with pytest.raises(RuntimeError, match="a connection handler cannot wait until its own server"):
            # The method raises in any case, so that it does not matter which of them can be awaited.
            await getattr(servers[0], method)()
        refused.set()

    async def process_request(path: str, headers: Headers) -> None:
        if where == "process_request":
            await wait()

    async def handler(websocket: Any) -> None:
        if where == "handler":
            await wait()
        await websocket.send("served")

    log = Log()
    async with runtime.serving(handler, process_request=process_request, logger=log) as (server, uri):
        servers.append(server)
        async with runtime.connect(uri) as client:
            assert await client.recv() == "served"
        await refused.wait()
        assert server.is_serving()
    assert not log.errors()


async def test_others_may_wait_for_a_server(runtime: Runtime) -> None:
    """Another task, or a handler of another server."""
    servers: list[Any] = []

    async def handler(websocket: Any) -> None:
        servers[0].close()
        await servers[0].wait_closed()
        await websocket.send("closed")

    async def closing(websocket: Any) -> None:
        runtime.spawn(servers[0].wait_closed)
        servers[0].close()

    async with runtime.serving(handler) as (_, uri), runtime.serving() as (server, _):
        servers.append(server)
        async with runtime.connect(uri) as client:
            assert await client.recv() == "closed"
    async with runtime.serving(closing) as (server, uri):
        servers[0] = server
        async with runtime.connect(uri) as client:
            await client.wait_closed()
        await server.wait_closed()


# The connections of a server


async def test_connections_are_a_set_of_ones_own(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (server, uri), runtime.connect(uri):
        await runtime.until(lambda: len(server.connections) == 1)
        connections = server.connections
        connections.clear()
        assert len(server.connections) == 1


async def test_connections_while_clients_come_and_go(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri):

        async def come_and_go() -> None:
            for _ in range(10):
                async with runtime.connect(uri):
                    pass

        tasks = [runtime.spawn(come_and_go) for _ in range(5)]
        looks = 0
        while not all(task.done() for task in tasks) or looks < 10:
            for connection in server.connections:
                assert connection.server is not None
                await runtime.sleep(0)
            looks += 1
            await runtime.sleep(0)
        for task in tasks:
            await task.result()


# asyncio alone


@pytest.mark.needs("coroutines")
async def test_handler_that_is_cancelled_by_nobody(runtime: Runtime) -> None:
    """It waits for something that was cancelled: that is an error of the handler."""
    if runtime.name not in ("asyncio", "uvloop"):
        return

    async def handler(websocket: Any) -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    log = Log()
    async with runtime.serving(handler, logger=log) as (server, uri), runtime.connect(uri) as client:
        await client.wait_closed()
        await runtime.until(lambda: not server.connections)
    assert log.errors() == [("connection failed", asyncio.CancelledError)]
