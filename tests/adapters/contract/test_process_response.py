"""`process_response`: a function of the application for every response of a server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import Log
from tests.core.helpers import request
from wsproto_core import Headers, InvalidStatusCode, Response

pytestmark = pytest.mark.needs("features")


async def test_it_alters_the_response(runtime: Runtime) -> None:
    seen = []

    def process_response(path: str, request_headers: Headers, response: Response) -> None:
        seen.append((path, request_headers["X-Asked"], response.status))
        response.headers["X-Answered"] = request_headers["X-Asked"]

    async with runtime.serving(process_response=process_response) as (_, uri):
        path = uri.removesuffix("/") + "/path"
        async with runtime.connect(path, extra_headers={"X-Asked": "this"}) as client:
            assert client.response_headers["X-Answered"] == "this"
            await runtime.check_echo(client)
    assert seen == [("/path", "this", 101)]


async def test_it_sees_refusals_too(runtime: Runtime) -> None:
    def process_response(path: str, request_headers: Headers, response: Response) -> Response:
        return Response(429, Headers({"Retry-After": "7"}), response.body)

    answer = (503, {}, b"busy")
    options = {"process_request": lambda path, headers: answer, "process_response": process_response}
    async with runtime.serving(**options) as (_, uri):
        with pytest.raises(InvalidStatusCode, match="429") as raised:
            await runtime.open(uri)
        assert raised.value.response is not None
        assert raised.value.response.headers["Retry-After"] == "7"
        assert raised.value.response.body == b"busy"


async def test_its_error_is_a_500(runtime: Runtime) -> None:
    def process_response(path: str, request_headers: Headers, response: Response) -> None:
        raise ZeroDivisionError

    log = Log()
    async with runtime.serving(process_response=process_response, logger=log) as (server, uri):
        with pytest.raises(InvalidStatusCode, match="500"):
            await runtime.open(uri)
        await runtime.until(lambda: not server.connections)
    assert [error for _, error in log.errors()] == [ZeroDivisionError]


@pytest.mark.parametrize("name", ["Sec-WebSocket-Accept", "Upgrade", "Connection"])
async def test_handshake_stays_as_it_is(runtime: Runtime, name: str) -> None:
    def process_response(path: str, request_headers: Headers, response: Response) -> None:
        del response.headers[name]

    log = Log()
    async with runtime.serving(process_response=process_response, logger=log) as (_, uri):
        with pytest.raises(InvalidStatusCode, match="500"):
            await runtime.open(uri)
    assert len(log.errors()) == 1


@pytest.mark.needs("sockets")
async def test_it_sees_the_refusal_of_one_connection_too_many(runtime: Runtime) -> None:
    def process_response(path: str, request_headers: Headers, response: Response) -> None:
        response.headers["X-Status"] = str(response.status)

    options: dict[str, Any] = {"max_connections": 1, "process_response": process_response}
    async with (
        runtime.serving(**options) as (server, uri),
        runtime.connect(uri) as client,
        runtime.raw_connection(server) as peer,
    ):
        assert client.response_headers["X-Status"] == "101"
        await peer.send(request())
        assert (await peer.read_response()).headers["x-status"] == "503"


@pytest.mark.needs("sockets")
async def test_values_that_are_not_allowed(runtime: Runtime) -> None:
    async def coroutine(path: str, request_headers: Headers, response: Response) -> None: ...

    for value in (1, coroutine):
        with pytest.raises(TypeError, match="process_response must be"):
            async with runtime.serving(process_response=value):
                raise AssertionError
