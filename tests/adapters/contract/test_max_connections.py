"""The limit on connections: `max_connections`, and status 503 beyond it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import Log, wait_closed
from tests.core.helpers import request
from wsproto_core import Headers, InvalidStatusCode, Response

pytestmark = pytest.mark.needs("features")


async def refusal(runtime: Runtime, uri: str) -> Response:
    with pytest.raises(InvalidStatusCode, match="HTTP status 503") as raised:
        await runtime.open(uri)
    assert raised.value.response is not None
    return raised.value.response


async def test_one_too_many(runtime: Runtime) -> None:
    log = Log()
    async with runtime.serving(max_connections=2, logger=log) as (server, uri):
        async with runtime.connect(uri) as first, runtime.connect(uri) as second:
            for _ in range(3):
                response = await refusal(runtime, uri)
                assert int(response.headers["Retry-After"]) > 0
                assert response.headers["Connection"] == "close"
                assert int(response.headers["Content-Length"]) == len(response.body or b"")
            await runtime.check_echo(first)
            await runtime.check_echo(second)
        # There is room again, when these have ended.
        await runtime.until(lambda: not server.connections)
        async with runtime.connect(uri) as third:
            await runtime.check_echo(third)
    assert not log.errors()


async def test_each_that_ends_makes_room(runtime: Runtime) -> None:
    async with runtime.serving(max_connections=1) as (server, uri):
        for _ in range(5):
            async with runtime.connect(uri) as client:
                await runtime.check_echo(client)
                await refusal(runtime, uri)
            await runtime.until(lambda: not server.connections)


async def test_handlers_that_fail_make_room(runtime: Runtime) -> None:
    async def fail(websocket: Any) -> None:
        raise ZeroDivisionError

    async with runtime.serving(fail, max_connections=1, logger=Log()) as (server, uri):
        for _ in range(3):
            async with runtime.connect(uri) as client:
                await client.wait_closed()
                assert client.close_code == 1011
            await runtime.until(lambda: not server.connections)


async def test_requests_that_are_refused_make_room(runtime: Runtime) -> None:
    answers: list[Any] = [(404, {}, b""), ZeroDivisionError(), None]

    def process_request(path: str, headers: Headers) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    options = {"max_connections": 1, "logger": Log(), "process_request": process_request}
    async with runtime.serving(**options) as (server, uri):
        for status in (404, 500):
            with pytest.raises(InvalidStatusCode, match=str(status)):
                await runtime.open(uri)
            await runtime.until(lambda: not server.connections)
        async with runtime.connect(uri) as client:
            await runtime.check_echo(client)


async def test_handshakes_count(runtime: Runtime) -> None:
    """Otherwise a flood of requests would be without limit while they are thought about."""
    go_on = runtime.event()
    thinking = runtime.event()

    async def process_request(path: str, headers: Headers) -> Any:
        thinking.set()
        await go_on.wait()

    options = {"max_connections": 1, "process_request": process_request}
    async with runtime.serving(wait_closed, **options) as (server, uri):
        opening = runtime.spawn(lambda: runtime.open(uri))
        await thinking.wait()
        await refusal(runtime, uri)
        go_on.set()
        client = await opening.result()
        await client.close()
        await runtime.until(lambda: not server.connections)


@pytest.mark.needs("sockets")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_connections_that_have_asked_for_nothing_yet_count(runtime: Runtime, tls: bool) -> None:
    """Otherwise they would be without limit; their deadline frees their places."""
    options = {**runtime.server_tls(tls), "max_connections": 2, "logger": Log()}
    client = runtime.client_tls(tls)
    async with runtime.serving(**options) as (server, uri):
        async with runtime.raw_connection(server), runtime.raw_connection(server):
            await runtime.until(lambda: len(server.connections) == 2)
            with pytest.raises(InvalidStatusCode, match="HTTP status 503"):
                await runtime.open(uri, **client)
        await runtime.until(lambda: not server.connections)
        async with runtime.connect(uri, **client) as websocket:
            await runtime.check_echo(websocket)


@pytest.mark.needs("sockets")
async def test_place_that_has_become_free_when_the_request_is_there(runtime: Runtime) -> None:
    async with runtime.serving(max_connections=1) as (server, _), runtime.raw_connection(server) as first:
        await runtime.until(lambda: len(server.connections) == 1)
        async with runtime.raw_connection(server) as second:
            await runtime.until(lambda: len(server.connections) == 2)
            first.close()
            await runtime.until(lambda: len(server.connections) == 1)
            await second.send(request())
            assert (await second.read_head()).status == 101


@pytest.mark.needs("sockets")
async def test_client_that_is_lost_makes_room(runtime: Runtime) -> None:
    async with runtime.serving(max_connections=1, logger=Log()) as (server, uri):
        async with runtime.raw_client(server) as peer:
            await refusal(runtime, uri)
            peer.reset()
            await runtime.until(lambda: not server.connections)
        async with runtime.connect(uri) as client:
            await runtime.check_echo(client)


@pytest.mark.needs("sockets")
async def test_answer_to_one_too_many(runtime: Runtime) -> None:
    async with (
        runtime.serving(wait_closed, max_connections=1, server_header="mine") as (server, uri),
        runtime.connect(uri),
        runtime.raw_connection(server) as peer,
    ):
        await peer.send(request())
        response = await peer.read_response()
        assert response.start.startswith("HTTP/1.1 503 ")
        assert response.headers["server"] == "mine"
        assert "date" in response.headers


async def test_each_server_has_its_own(runtime: Runtime) -> None:
    async with (
        runtime.serving(max_connections=1) as (_, first_uri),
        runtime.serving(max_connections=1) as (_, second_uri),
        runtime.connect(first_uri) as first,
        runtime.connect(second_uri) as second,
    ):
        await runtime.check_echo(first)
        await runtime.check_echo(second)
        await refusal(runtime, first_uri)


@pytest.mark.needs("sockets")
@pytest.mark.parametrize(("value", "error"), [(0, ValueError), ("1", TypeError), (True, TypeError)])
async def test_values_that_are_not_allowed(runtime: Runtime, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_connections must be"):
        async with runtime.serving(max_connections=value):
            raise AssertionError
