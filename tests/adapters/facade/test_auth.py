"""``websockets.auth``: HTTP Basic authentication."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest

from adapters import websockets
from adapters.websockets.auth import BasicAuthWebSocketServerProtocol, basic_auth_protocol_factory
from adapters.websockets.exceptions import InvalidStatusCode
from adapters.websockets.headers import build_authorization_basic
from adapters.websockets.http import Headers
from adapters.websockets.server import WebSocketServerProtocol

from .peers import idle, serving, uri_of

CREDENTIALS = ("hello", "iloveyou")


async def status_of(server: Any, user: str) -> int:
    """The HTTP status that the server answers with."""
    try:
        async with websockets.connect(uri_of(server, user=user)):
            return 101
    except InvalidStatusCode as error:
        return error.status_code


@pytest.mark.parametrize(
    "make_credentials",
    [
        lambda: CREDENTIALS,
        lambda: [CREDENTIALS],
        lambda: [("other", "x"), CREDENTIALS],
        lambda: iter([CREDENTIALS]),
    ],
    ids=["pair", "list of one", "list", "iterator"],
)
async def test_credentials_may_be_a_pair_or_pairs(make_credentials: Callable[[], Any]) -> None:
    factory = basic_auth_protocol_factory(realm="my dev server", credentials=make_credentials())
    async with serving(idle, create_protocol=factory) as (server, _):
        assert await status_of(server, "hello:iloveyou@") == 101
        assert await status_of(server, "hello:wrong@") in (401, 403)
        assert await status_of(server, "wrong:iloveyou@") in (401, 403)
        assert await status_of(server, "") == 401


async def test_realm_is_in_the_answer_and_the_username_on_the_connection() -> None:
    usernames = []

    async def handler(websocket: Any, path: str) -> None:
        assert isinstance(websocket, BasicAuthWebSocketServerProtocol)
        usernames.append(websocket.username)

    factory = basic_auth_protocol_factory("my dev server", CREDENTIALS)
    async with serving(handler, create_protocol=factory) as (server, uri):
        async with websockets.connect(uri_of(server, user="hello:iloveyou@")) as websocket:
            await websocket.wait_closed()
        with pytest.raises(InvalidStatusCode) as raised:
            await websockets.connect(uri)
    assert usernames == ["hello"]
    response = raised.value.response
    assert response is not None
    assert 'realm="my dev server"' in response.headers["WWW-Authenticate"]


async def test_check_credentials_is_a_coroutine() -> None:
    async def check_credentials(username: str, password: str) -> bool:
        return (username, password) == CREDENTIALS

    factory = basic_auth_protocol_factory("realm", check_credentials=check_credentials)
    async with serving(idle, create_protocol=factory) as (server, _):
        assert await status_of(server, "hello:iloveyou@") == 101
        assert await status_of(server, "hello:wrong@") == 401


async def test_create_protocol() -> None:
    class Protocol(BasicAuthWebSocketServerProtocol):
        async def process_request(self, path: str, request_headers: Headers) -> Any:
            if path == "/open":
                return HTTPStatus.OK, {}, b"for all"
            return await super().process_request(path, request_headers)

    factory = basic_auth_protocol_factory("realm", CREDENTIALS, create_protocol=Protocol)
    async with serving(idle, create_protocol=factory) as (server, uri):
        with pytest.raises(InvalidStatusCode, match="HTTP status 200"):
            await websockets.connect(uri + "open")
        async with websockets.connect(uri_of(server, user="hello:iloveyou@")):
            (connection,) = server.connections
            assert isinstance(connection, Protocol)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"credentials": CREDENTIALS, "check_credentials": lambda username, password: True},
        {"credentials": "hello:iloveyou"},
        {"credentials": ("hello", 1)},
        {"credentials": 1},
        {"check_credentials": 1},
    ],
    ids=["none", "both", "a str", "a password that is no str", "an int", "no function"],
)
def test_wrong_arguments(arguments: Any) -> None:
    with pytest.raises(TypeError):
        basic_auth_protocol_factory("realm", **arguments)


async def test_process_request_of_the_class() -> None:
    async def check_credentials(username: str, password: str) -> bool:
        return password == "right"

    connection = BasicAuthWebSocketServerProtocol(
        idle, None, realm="realm", check_credentials=check_credentials, max_size=1
    )
    assert isinstance(connection, WebSocketServerProtocol)
    assert connection.max_size == 1
    for headers in (
        Headers(),
        Headers(Authorization="Bearer x"),
        Headers(Authorization="Basic ="),
        Headers(Authorization=build_authorization_basic("user", "wrong")),
    ):
        status, _, _ = await connection.process_request(path="/", request_headers=headers)
        assert status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
        assert connection.username is None
    headers = Headers(Authorization=build_authorization_basic("user", "right"))
    assert await connection.process_request("/", headers) is None
    assert connection.username == "user"
