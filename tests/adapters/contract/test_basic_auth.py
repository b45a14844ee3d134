"""HTTP Basic authentication: RFC 7617, on both sides."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, Log
from tests.core.helpers import KEY, request
from wsproto_core import Headers, InvalidStatusCode, Response

pytestmark = pytest.mark.needs("features")

PAIR = ("Aladdin", "open sesame")


async def tell_user(websocket: Any) -> None:
    await websocket.send(str(websocket.username))


def basic(credentials: str | bytes) -> dict[str, str]:
    data = credentials if isinstance(credentials, bytes) else credentials.encode()
    return {"Authorization": f"Basic {base64.b64encode(data).decode()}"}


async def user(runtime: Runtime, uri: str, **options: Any) -> str:
    """Connect, and return the name that the server knows."""
    async with runtime.connect(uri, **options) as client:
        name: str = await client.recv()
        return name


async def refusal(runtime: Runtime, uri: str, **options: Any) -> Response:
    with pytest.raises(InvalidStatusCode) as raised:
        await runtime.open(uri, **options)
    assert raised.value.status_code == 401
    assert raised.value.response is not None
    assert raised.value.response.headers["WWW-Authenticate"] == 'Basic realm="staff", charset="UTF-8"'
    return raised.value.response


async def test_good_credentials(runtime: Runtime) -> None:
    auth = runtime.basic_auth("staff", credentials=PAIR)
    async with runtime.serving(tell_user, create_protocol=auth) as (server, uri):
        assert await user(runtime, uri, extra_headers=basic("Aladdin:open sesame")) == "Aladdin"
        port = runtime.port_of(server) if uri.startswith(f"ws://{HOST}:") else None
        if port is not None:
            # In the URI, percent-encoded.
            assert await user(runtime, f"ws://Aladdin:open%20sesame@{HOST}:{port}/") == "Aladdin"


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({}, b"Missing credentials"),
        (basic("Aladdin:wrong"), b"Invalid credentials"),
        (basic("aladdin:open sesame"), b"Invalid credentials"),
        (basic("Aladdin:open sesame "), b"Invalid credentials"),
        (basic(":"), b"Invalid credentials"),
        ({"Authorization": "Bearer token"}, b"Unsupported credentials"),
        ({"Authorization": "Basic"}, b"Unsupported credentials"),
        ({"Authorization": "Basic !!!"}, b"Unsupported credentials"),
        (basic("no colon"), b"Unsupported credentials"),
        (basic(b"\xff\xfe:x"), b"Unsupported credentials"),
        ([*basic("Aladdin:open sesame").items()] * 2, b"Unsupported credentials"),
    ],
)
async def test_bad_credentials(runtime: Runtime, headers: Any, problem: bytes) -> None:
    auth = runtime.basic_auth("staff", credentials=PAIR)
    log = Log()
    async with runtime.serving(tell_user, create_protocol=auth, logger=log) as (server, uri):
        response = await refusal(runtime, uri, extra_headers=headers)
        assert response.body is not None
        assert response.body.startswith(problem)
        await runtime.until(lambda: not server.connections)
    assert not log.errors()


async def test_several_pairs(runtime: Runtime) -> None:
    pairs = [("a", "1"), ("b", "2"), ("c:d".replace(":", ""), "3:4")]
    auth = runtime.basic_auth("staff", credentials=pairs)
    async with runtime.serving(tell_user, create_protocol=auth) as (_, uri):
        for name, password in pairs:
            assert await user(runtime, uri, extra_headers=basic(f"{name}:{password}")) == name
        await refusal(runtime, uri, extra_headers=basic("a:2"))


async def test_credentials_that_are_not_ascii(runtime: Runtime) -> None:
    auth = runtime.basic_auth("staff", credentials=("ren\xe9", "m\xfcde\N{SNOWMAN}"))
    async with runtime.serving(tell_user, create_protocol=auth) as (_, uri):
        name = await user(runtime, uri, extra_headers=basic("ren\xe9:m\xfcde\N{SNOWMAN}"))
        assert name == "ren\xe9"
        await refusal(runtime, uri, extra_headers=basic("ren\xe9:m\xfcde\N{SNOWMAN}".encode("utf-16")))


async def test_realm_is_quoted(runtime: Runtime) -> None:
    auth = runtime.basic_auth('the "staff" \\ only', credentials=PAIR)
    async with runtime.serving(create_protocol=auth) as (_, uri):
        with pytest.raises(InvalidStatusCode) as raised:
            await runtime.open(uri)
        assert raised.value.response is not None
        challenge = raised.value.response.headers["WWW-Authenticate"]
        assert challenge == 'Basic realm="the \\"staff\\" \\\\ only", charset="UTF-8"'


# Functions that check


async def test_check_credentials_is_a_function(runtime: Runtime) -> None:
    asked = []

    def check(username: str, password: str) -> bool:
        asked.append((username, password))
        return password == "good"

    auth = runtime.basic_auth("staff", check_credentials=check)
    async with runtime.serving(tell_user, create_protocol=auth) as (_, uri):
        assert await user(runtime, uri, extra_headers=basic("x:good")) == "x"
        await refusal(runtime, uri, extra_headers=basic("x:bad"))
        await refusal(runtime, uri)
        assert asked == [("x", "good"), ("x", "bad")]


@pytest.mark.needs("coroutines")
async def test_check_credentials_is_a_coroutine_function(runtime: Runtime) -> None:
    async def check(username: str, password: str) -> bool:
        await runtime.sleep(0.01)
        return password == "good"

    auth = runtime.basic_auth("staff", check_credentials=check)
    async with runtime.serving(tell_user, create_protocol=auth) as (_, uri):
        assert await user(runtime, uri, extra_headers=basic("x:good")) == "x"
        await refusal(runtime, uri, extra_headers=basic("x:bad"))


async def test_check_credentials_that_fails(runtime: Runtime) -> None:
    def check(username: str, password: str) -> bool:
        raise ZeroDivisionError

    log = Log()
    auth = runtime.basic_auth("staff", check_credentials=check)
    async with runtime.serving(tell_user, create_protocol=auth, logger=log) as (_, uri):
        with pytest.raises(InvalidStatusCode, match="500"):
            await runtime.open(uri, extra_headers=basic("x:good"))
    assert [error for _, error in log.errors()] == [ZeroDivisionError]


# With other ways to answer


async def test_process_request_comes_after_it(runtime: Runtime) -> None:
    async def process_request(path: str, headers: Headers) -> Any:
        return (418, {}, b"") if path == "/teapot" else None

    auth = runtime.basic_auth("staff", credentials=PAIR)
    options = {"create_protocol": auth, "process_request": process_request}
    good = {"extra_headers": basic("Aladdin:open sesame")}
    async with runtime.serving(tell_user, **options) as (_, uri):
        assert await user(runtime, uri, **good) == "Aladdin"
        teapot = uri.removesuffix("/") + "/teapot"
        await refusal(runtime, teapot)
        with pytest.raises(InvalidStatusCode, match="418"):
            await runtime.open(teapot, **good)


async def test_subclass(runtime: Runtime) -> None:
    base = runtime.adapter.BasicAuthWebSocketServerProtocol
    made = []

    class OurConnection(base):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            made.append(self)

    auth = runtime.basic_auth("staff", credentials=PAIR, create_protocol=OurConnection)
    async with runtime.serving(tell_user, create_protocol=auth) as (_, uri):
        assert await user(runtime, uri, extra_headers=basic("Aladdin:open sesame")) == "Aladdin"
        await refusal(runtime, uri)
    assert [connection.username for connection in made] == ["Aladdin", None]
    assert made[0].realm == "staff"


@pytest.mark.needs("sockets")
async def test_credentials_are_needed_for_plain_requests_too(runtime: Runtime) -> None:
    async with runtime.serving(create_protocol=runtime.basic_auth("staff", credentials=PAIR)) as (server, _):
        async with runtime.raw_connection(server) as peer:
            await peer.send(b"GET /secret HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await peer.read_response()).status == 401
        async with runtime.raw_connection(server) as peer:
            await peer.send(request(Sec_WebSocket_Key=KEY, **basic("Aladdin:open sesame")))
            assert (await peer.read_head()).status == 101
            await runtime.until(lambda: {each.username for each in server.connections} == {"Aladdin"})


# Arguments


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, TypeError, "either credentials or check_credentials"),
        ({"credentials": PAIR, "check_credentials": print}, TypeError, "either credentials or check_creden"),
        ({"credentials": "user:secret"}, TypeError, "credentials must be a pair"),
        ({"credentials": 1}, TypeError, "credentials must be a pair"),
        ({"credentials": [("user", "secret"), "x"]}, TypeError, "credentials must be a pair"),
        ({"credentials": []}, ValueError, "credentials must hold at least one"),
        ({"credentials": ("us:er", "secret")}, ValueError, "colon"),
        ({"check_credentials": 1}, TypeError, "check_credentials must be callable"),
    ],
)
async def test_arguments_that_are_not_allowed(
    runtime: Runtime, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as raised:
        runtime.basic_auth("staff", **arguments)
    assert "secret" not in str(raised.value)
    with pytest.raises((TypeError, ValueError), match="realm"):
        runtime.basic_auth(1, credentials=PAIR)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="realm"):
        runtime.basic_auth("a\nb", credentials=PAIR)
