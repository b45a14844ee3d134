"""Reconnecting: delays, errors that end it, and the connections."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.adapters.runtimes import Cancelled, Runtime
from tests.adapters.runtimes.base import HOST, QUIET, Log, wait_closed
from tests.ports import free_port
from wsproto_core import ConnectionClosed, Headers, InvalidStatusCode, InvalidURI, State

pytestmark = pytest.mark.needs("sockets", "features")

NO_DELAYS: dict[str, Any] = {"reconnect_delays": [0] * 20}


class Refusals:
    """Refuses some requests by a status, and accepts the others."""

    def __init__(self, *statuses: int | None) -> None:
        self._statuses = list(statuses)
        self.count = 0

    def __call__(self, path: str, headers: Headers) -> Any:
        self.count += 1
        status = self._statuses.pop(0) if self._statuses else None
        return None if status is None else (status, {}, b"")


async def iterate(runtime: Runtime, uri: str, **options: Any) -> None:
    """Ask for connections, although there will be none."""
    async with runtime.reconnect(uri, **options) as connections:
        async for _ in connections:
            raise AssertionError


async def send_one(websocket: Any) -> None:
    await websocket.send("one")


async def receive_on_two(runtime: Runtime, uri: str, **options: Any) -> None:
    """Receive what :func:`send_one` sends, on two connections, one after the other."""
    count = 0
    async with runtime.reconnect(uri, **options) as connections:
        async for websocket in connections:
            assert await websocket.recv() == "one"
            count += 1
            if count == 2:
                break


async def test_each_connection_follows_the_one_before(runtime: Runtime) -> None:
    async with runtime.serving(send_one) as (_, uri):
        seen = []
        async with runtime.reconnect(uri, **NO_DELAYS) as connections:
            async for websocket in connections:
                assert isinstance(runtime.native(websocket), runtime.ClientConnection)
                assert await websocket.recv() == "one"
                with pytest.raises(ConnectionClosed):
                    await websocket.recv()
                seen.append(websocket)
                if len(seen) == 4:
                    break
        assert len({websocket.id for websocket in seen}) == 4


async def test_connection_is_closed_when_the_loop_goes_on(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (server, uri):
        seen: list[Any] = []
        async with runtime.reconnect(uri, **NO_DELAYS) as connections:
            async for websocket in connections:
                assert all(earlier.state is State.CLOSED for earlier in seen)
                assert all(earlier.close_code == 1000 for earlier in seen)
                assert websocket.state is State.OPEN
                seen.append(websocket)
                if len(seen) == 3:
                    break
        assert seen[-1].state is State.CLOSED
        assert seen[-1].close_code == 1000
        await runtime.until(lambda: not server.connections)


async def test_exception_in_the_body_comes_out(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (server, uri):
        seen = []

        async def fail() -> None:
            async with runtime.reconnect(uri) as connections:
                async for websocket in connections:
                    seen.append(websocket)
                    raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        (websocket,) = seen
        assert websocket.state is State.CLOSED
        await runtime.until(lambda: not server.connections)


async def test_block_that_asks_for_nothing(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri), runtime.reconnect(uri):
        assert not server.connections


async def test_it_fails_and_succeeds(runtime: Runtime) -> None:
    refusals = Refusals(503, 500, None, 429, 408, None)
    log = Log()
    options = {**NO_DELAYS, "logger": log}
    async with runtime.serving(send_one, process_request=refusals) as (_, uri):
        await receive_on_two(runtime, uri, **options)
        assert refusals.count == 6
        failures = [message for message in log.messages() if "trying again" in message]
        assert len(failures) == 4
        assert "503" in failures[0]


async def test_server_that_comes_later(runtime: Runtime) -> None:
    port = free_port()
    received = []

    async def use() -> None:
        uri = f"ws://{HOST}:{port}/"
        async with runtime.reconnect(uri, reconnect_delays=lambda: iter([0.05] * 400)) as connections:
            async for websocket in connections:
                received.append(await websocket.recv())
                break

    using = runtime.spawn(use)
    await runtime.settle(0.2)
    async with runtime.serve(send_one, HOST, port):
        await using.result()
    assert received == ["one"]


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_fatal_error_is_raised(runtime: Runtime, status: int) -> None:
    refusals = Refusals(503, status)
    async with runtime.serving(process_request=refusals) as (_, uri):
        with pytest.raises(InvalidStatusCode, match=f"HTTP status {status}"):
            await iterate(runtime, uri, **NO_DELAYS)
        assert refusals.count == 2


async def test_what_is_fatal_is_for_the_application_to_say(runtime: Runtime) -> None:
    refusals = Refusals(404, 503, 418)

    def fatal(error: BaseException) -> bool:
        assert isinstance(error, InvalidStatusCode)
        return error.status_code == 418

    async with runtime.serving(process_request=refusals) as (_, uri):
        with pytest.raises(InvalidStatusCode, match="418"):
            await iterate(runtime, uri, reconnect_fatal=fatal, **NO_DELAYS)
        assert refusals.count == 3


async def test_delays_come_to_an_end(runtime: Runtime) -> None:
    refusals = Refusals(503, 503, 500, 200)
    async with runtime.serving(process_request=refusals) as (_, uri):
        with pytest.raises(InvalidStatusCode, match="HTTP status 500"):
            await iterate(runtime, uri, reconnect_delays=[0, 0])
        assert refusals.count == 3


async def test_delays_are_waited_for(runtime: Runtime) -> None:
    async with runtime.serving(process_request=Refusals(503, 503)) as (_, uri):
        start = time.monotonic()
        async with runtime.reconnect(uri, reconnect_delays=[0.2, 0.3]) as connections:
            async for websocket in connections:
                await runtime.check_echo(websocket)
                break
        assert time.monotonic() - start >= 0.5


async def test_delays_begin_anew_after_a_success(runtime: Runtime) -> None:
    begun = []

    def delays() -> Iterator[float]:
        begun.append(True)
        yield from (0, 0)

    # Three in a row would be one too many.
    refusals = Refusals(503, 503, None, 503, 503, None)
    async with runtime.serving(send_one, process_request=refusals) as (_, uri):
        await receive_on_two(runtime, uri, reconnect_delays=delays)
        assert refusals.count == 6
        assert len(begun) >= 2


async def test_short_connections_are_not_opened_without_end(runtime: Runtime) -> None:
    """A server that accepts and closes at once."""
    async with runtime.serving(send_one) as (_, uri):
        start = time.monotonic()
        count = 0
        async with runtime.reconnect(uri, reconnect_delays=[0.3], close_timeout=0.2) as connections:
            async for websocket in connections:
                # Half of close_timeout, as the message is not received.
                await websocket.wait_closed()
                count += 1
                if count == 4:
                    break
        # Not after the first one; the last delay stays.
        assert time.monotonic() - start >= 4 * 0.1 + 2 * 0.3


async def test_default_delay(runtime: Runtime) -> None:
    async with runtime.serving(process_request=Refusals(503)) as (_, uri):
        start = time.monotonic()
        async with runtime.reconnect(uri) as connections:
            async for websocket in connections:
                await runtime.check_echo(websocket)
                break
        assert time.monotonic() - start >= 0.5


async def test_delay_that_is_none(runtime: Runtime) -> None:
    async with runtime.serving(process_request=Refusals(503)) as (_, uri):
        with pytest.raises(ValueError, match="reconnect_delays must give non-negative"):
            await iterate(runtime, uri, reconnect_delays=lambda: [-1])


async def test_messages_in_a_loop(runtime: Runtime) -> None:
    """As it is in the documentation."""
    numbers = iter(range(100))

    async def handler(websocket: Any) -> None:
        await websocket.send(str(next(numbers)))
        await websocket.send(str(next(numbers)))
        await websocket.close(1011 if next(numbers) % 2 else 1000)

    received: list[str] = []
    async with runtime.serving(handler) as (_, uri), runtime.reconnect(uri, **NO_DELAYS) as connections:
        async for websocket in connections:
            try:
                async for message in websocket:
                    received.append(message)
            except ConnectionClosed:
                continue
            if len(received) >= 6:
                break
    assert received[:6] == ["0", "1", "3", "4", "6", "7"]


@pytest.mark.needs("coroutines")
async def test_cancelling_the_body(runtime: Runtime) -> None:
    entered = runtime.event()
    seen = []

    async def use() -> None:
        async with runtime.reconnect(uri, **QUIET) as connections:
            async for websocket in connections:
                seen.append(websocket)
                entered.set()
                await websocket.recv()

    async with runtime.serving(wait_closed) as (server, uri):
        using = runtime.spawn(use)
        await entered.wait()
        using.cancel()
        with pytest.raises(Cancelled):
            await using.result()
        assert seen[0].state is State.CLOSED
        await runtime.until(lambda: not server.connections)


@pytest.mark.needs("coroutines")
async def test_cancelling_a_delay(runtime: Runtime) -> None:
    refusals = Refusals(*[503] * 100)

    async def use() -> None:
        await iterate(runtime, uri, reconnect_delays=[1000])

    async with runtime.serving(process_request=refusals) as (_, uri):
        using = runtime.spawn(use)
        await runtime.until(lambda: refusals.count)
        await runtime.settle(0.1)
        using.cancel()
        with pytest.raises(Cancelled):
            await using.result()
        assert refusals.count == 1


# Before anything is done


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"reconnect_delays": 1}, TypeError, "reconnect_delays must be"),
        ({"reconnect_delays": "123"}, TypeError, "reconnect_delays must be"),
        ({"reconnect_delays": iter([1])}, TypeError, "reconnect_delays must be"),
        ({"reconnect_delays": [-1]}, ValueError, "reconnect_delays must hold"),
        ({"reconnect_delays": ["1"]}, TypeError, "reconnect_delays must hold"),
        ({"reconnect_fatal": True}, TypeError, "reconnect_fatal must be callable"),
        ({"reconect_delays": [1]}, TypeError, "'reconect_delays'; did you mean 'reconnect_delays'"),
        ({"max_size": "1"}, TypeError, "max_size must be"),
    ],
)
async def test_options_that_are_not_allowed(
    runtime: Runtime, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        runtime.reconnect("ws://localhost/", **options)


async def test_uri_that_is_none(runtime: Runtime) -> None:
    with pytest.raises(InvalidURI):
        runtime.reconnect("http://localhost/")


async def test_socket_is_good_for_one_connection_only(runtime: Runtime) -> None:
    with socket.socket() as sock, pytest.raises(ValueError, match="sock must not be given for reconnecting"):
        runtime.reconnect("ws://localhost/", sock=sock)
