"""Redirects of the opening handshake: their targets, the headers and credentials that go along, refusals."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from adapters.shared import tls
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import CERTIFICATES, HOST
from tests.ports import free_port
from wsproto_core import HandshakeTimeout, Headers, InvalidHandshake, InvalidStatusCode, InvalidURI
from wsproto_core.exceptions import InvalidHeader, RedirectHandshake, SecurityError

pytestmark = pytest.mark.needs("sockets", "features")


async def tell_path(websocket: Any) -> None:
    await websocket.send(websocket.path)


class Requests:
    """Answers requests by a function of the path that returns where to go, and keeps their headers."""

    def __init__(self, where: Callable[[str], str | None], status: int = 302) -> None:
        self._where = where
        self._status = status
        self.paths: list[str] = []
        self.headers: list[Headers] = []

    def __call__(self, path: str, headers: Headers) -> Any:
        self.paths.append(path)
        self.headers.append(headers)
        location = self._where(path)
        return None if location is None else (self._status, {"Location": location}, b"elsewhere" * 100)


@contextlib.asynccontextmanager
async def redirecting(
    runtime: Runtime, where: Callable[[str], str | None], status: int = 302, **options: Any
) -> AsyncIterator[tuple[Any, str, Requests]]:
    """A server that redirects; gives also its URI, without a slash in the end."""
    requests = Requests(where, status)
    async with runtime.serving(tell_path, process_request=requests, **options) as (server, uri):
        yield server, uri.removesuffix("/"), requests


# Where to


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(runtime: Runtime, status: int) -> None:
    def where(path: str) -> str | None:
        return "/new?x=1" if path == "/old" else None

    async with redirecting(runtime, where, status) as (server, uri, requests):
        async with runtime.connect(f"{uri}/old") as client:
            assert await client.recv() == "/new?x=1"
            assert client.path == "/new?x=1"
        assert requests.paths == ["/old", "/new?x=1"]
        await runtime.until(lambda: not server.connections)


@pytest.mark.parametrize("status", [300, 305, 306, 200, 404])
async def test_other_statuses_lead_nowhere(runtime: Runtime, status: int) -> None:
    async with redirecting(runtime, lambda path: "/new", status) as (_, uri, requests):
        with pytest.raises(InvalidStatusCode, match=f"HTTP status {status}"):
            await runtime.open(uri)
        assert len(requests.paths) == 1


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("new", "/a/b/new"),
        ("../new", "/a/new"),
        ("?y=2", "/a/b/old?y=2"),
        ("/new", "/new"),
        ("//{authority}/new", "/new"),
        ("ws://{authority}/new", "/new"),
        ("http://{authority}/new", "/new"),
        ("HTTP://{authority}", "/"),
        ("ws://{authority}/new#fragment", "/new"),
        ("/caf\udcc3\udca9", "/caf%C3%A9"),
    ],
)
async def test_references(runtime: Runtime, location: str, expected: str) -> None:
    def where(path: str) -> str | None:
        return location.format(authority=authority) if path == "/a/b/old?x=1" else None

    async with redirecting(runtime, where) as (_, uri, _):
        authority = uri.partition("//")[2]
        async with runtime.connect(f"{uri}/a/b/old?x=1") as client:
            assert await client.recv() == expected


@pytest.mark.parametrize(
    "headers",
    [{}, [("Location", "/a"), ("Location", "/b")], {"Location": ""}, {"Location": "ftp://example.com/"}],
)
async def test_location_that_is_none(runtime: Runtime, headers: Any) -> None:
    async with runtime.serving(process_request=lambda path, _: (302, headers, b"")) as (_, uri):
        with pytest.raises(InvalidHeader, match="Location") as raised:
            await runtime.open(uri)
        assert isinstance(raised.value.__cause__, InvalidStatusCode | InvalidURI)


async def test_another_origin(runtime: Runtime) -> None:
    async with (
        redirecting(runtime, lambda path: None) as (second, second_uri, requests),
        redirecting(runtime, lambda path: f"{second_uri}/new") as (_, uri, _),
        runtime.connect(uri) as client,
    ):
        assert await client.recv() == "/new"
        assert client.remote_address == (HOST, runtime.port_of(second))
        assert requests.headers[0]["Host"] == f"{HOST}:{runtime.port_of(second)}"


async def test_redirect_to_a_server_that_is_not_there(runtime: Runtime) -> None:
    port = free_port()
    async with redirecting(runtime, lambda path: f"ws://{HOST}:{port}/") as (_, uri, _):
        with pytest.raises(OSError, match=r"refused|failed"):
            await runtime.open(uri)


async def test_each_uri_gets_a_connection_of_its_own(runtime: Runtime) -> None:
    made = []

    def create(uri: Any, **options: Any) -> Any:
        made.append(runtime.ClientConnection(uri, **options))
        return made[-1]

    def where(path: str) -> str | None:
        return "/new" if path == "/" else None

    options = {"create_protocol": create, "subprotocols": ["chat"], "max_size": 10}
    async with redirecting(runtime, where, subprotocols=["chat"]) as (_, uri, requests):
        async with runtime.connect(uri, **options) as client:
            assert runtime.native(client) is made[1]
            assert client.subprotocol == "chat"
            assert await client.recv() == "/new"
        assert len(made) == 2
        assert [headers["Sec-WebSocket-Protocol"] for headers in requests.headers] == ["chat", "chat"]
        # A key is for one handshake.
        assert len({headers["Sec-WebSocket-Key"] for headers in requests.headers}) == 2


# What goes along

SECRETS = {"Cookie": "session=1", "Proxy-Authorization": "Basic eDp5", "Host": "virtual"}


async def test_same_origin_gets_credentials(runtime: Runtime) -> None:
    def where(path: str) -> str | None:
        return "/new" if path == "/" else None

    async with redirecting(runtime, where) as (_, uri, requests):
        uri = uri.replace("//", "//user:secret@")
        async with runtime.connect(uri, extra_headers={**SECRETS, "X-Kept": "1"}) as client:
            assert await client.recv() == "/new"
        for headers in requests.headers:
            assert headers["Authorization"] == "Basic dXNlcjpzZWNyZXQ="
            assert SECRETS.items() <= dict(headers.raw_items()).items()
            assert headers["X-Kept"] == "1"


@pytest.mark.parametrize("authorization", ["header", "uri"])
async def test_another_origin_gets_no_credentials(runtime: Runtime, authorization: str) -> None:
    extra = {**SECRETS, "X-Kept": "1"}
    if authorization == "header":
        extra["Authorization"] = "Bearer secret"
    async with (
        redirecting(runtime, lambda path: None) as (_, second_uri, requests),
        redirecting(runtime, lambda path: f"{second_uri}/new") as (_, uri, first_requests),
    ):
        if authorization == "uri":
            uri = uri.replace("//", "//user:secret@")
        async with runtime.connect(uri, extra_headers=extra) as client:
            assert await client.recv() == "/new"
        assert "Authorization" in first_requests.headers[0]
        (headers,) = requests.headers
        assert not {"authorization", "cookie", "proxy-authorization"} & set(headers)
        assert headers["Host"] in second_uri
        assert headers["X-Kept"] == "1"


async def test_credentials_do_not_come_back(runtime: Runtime) -> None:
    """From the first origin to another and back again: what asks for them now may be the other one."""

    def where(path: str) -> str | None:
        return f"{second_uri}/" if path == "/" else None

    async with (
        redirecting(runtime, where) as (_, uri, requests),
        redirecting(runtime, lambda path: f"{uri}/back") as (_, second_uri, _),
    ):
        secret_uri = uri.replace("//", "//user:secret@")
        async with runtime.connect(secret_uri, extra_headers={"Cookie": "session=1"}) as client:
            assert await client.recv() == "/back"
        first, last = requests.headers
        assert {"authorization", "cookie"} <= set(first)
        assert not {"authorization", "cookie"} & set(last)


async def test_location_does_not_choose_credentials(runtime: Runtime) -> None:
    def where(path: str) -> str | None:
        return uri.replace("//", "//mallory:other@") + "/new" if path == "/" else None

    async with redirecting(runtime, where) as (_, uri, requests):
        async with runtime.connect(uri) as client:
            assert await client.recv() == "/new"
        assert "Authorization" not in requests.headers[1]


# What is refused


async def test_never_from_tls_to_none(runtime: Runtime) -> None:
    async with (
        redirecting(runtime, lambda path: None) as (_, plain_uri, requests),
        redirecting(runtime, lambda path: f"{plain_uri}/", **runtime.server_tls(True)) as (server, uri, _),
    ):
        with pytest.raises(SecurityError, match="not encrypted"):
            await runtime.open(uri, **runtime.client_tls(True))
        assert not requests.paths
        await runtime.until(lambda: not server.connections)


async def test_in_a_circle(runtime: Runtime) -> None:
    async with redirecting(runtime, lambda path: "/") as (server, uri, requests):
        with pytest.raises(SecurityError, match="more than 10 redirects") as raised:
            await runtime.open(uri)
        assert isinstance(raised.value.__cause__, InvalidStatusCode | InvalidURI)
        assert len(requests.paths) == 11
        await runtime.until(lambda: not server.connections)


def count_down(path: str) -> str | None:
    number = int(path[1:])
    return f"/{number - 1}" if number else None


async def test_max_redirects(runtime: Runtime) -> None:
    async with redirecting(runtime, count_down) as (_, uri, requests):
        async with runtime.connect(f"{uri}/2", max_redirects=2) as client:
            assert await client.recv() == "/0"
        with pytest.raises(SecurityError, match="more than 2 redirects"):
            await runtime.open(f"{uri}/3", max_redirects=2)
        async with runtime.connect(f"{uri}/20", max_redirects=None) as client:
            assert await client.recv() == "/0"
        requests.paths.clear()
        with pytest.raises(RedirectHandshake, match="/4") as raised:
            await runtime.open(f"{uri}/5", max_redirects=0)
        assert raised.value.uri == f"{uri}/4"
        assert requests.paths == ["/5"]


async def test_all_of_it_has_one_deadline(runtime: Runtime) -> None:
    async def slow(path: str, headers: Headers) -> Any:
        await runtime.sleep(0.1)
        return 302, {"Location": "/"}, b""

    async with runtime.serving(process_request=slow) as (server, uri):
        with pytest.raises(HandshakeTimeout) as raised:
            await runtime.open(uri, open_timeout=0.5, max_redirects=None)
        assert isinstance(raised.value, InvalidHandshake)
        await runtime.until(lambda: not server.connections)


# TLS


async def test_redirects_on_tls(runtime: Runtime) -> None:
    tls = runtime.server_tls(True)

    def where(path: str) -> str | None:
        return f"{second_uri}/first" if path == "/" else None

    async with (
        redirecting(runtime, lambda path: "/new" if path == "/first" else None, **tls) as (_, second_uri, _),
        redirecting(runtime, where, **tls) as (_, uri, _),
        runtime.connect(uri, **runtime.client_tls(True)) as client,
    ):
        assert await client.recv() == "/new"


async def test_from_no_tls_to_tls(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with (
        redirecting(runtime, lambda path: None, **runtime.server_tls(True)) as (_, second_uri, _),
        redirecting(runtime, lambda path: f"{second_uri}/new") as (_, uri, _),
    ):
        # Of the default context: nobody has given another one.
        with pytest.raises(ssl.SSLCertVerificationError):
            await runtime.open(uri)
        # As if the process had not made it yet.
        monkeypatch.setattr(tls._default_context, "_context", None)
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "localhost.pem"))
        async with runtime.connect(uri) as client:
            assert await client.recv() == "/new"


async def test_name_in_the_certificate_is_that_of_the_new_origin(runtime: Runtime) -> None:
    tls = runtime.server_tls(True)
    async with (
        redirecting(runtime, lambda path: None, **tls) as (second, _, _),
        redirecting(runtime, lambda path: location, **tls) as (_, uri, _),
    ):
        options = runtime.client_tls(True)
        # The certificate is good for these two, and the name that was given is for the first origin only.
        location = runtime.uri_of(second, "/new", "wss", "localhost")
        async with runtime.connect(uri, server_hostname=HOST, **options) as client:
            assert await client.recv() == "/new"
        with pytest.raises(ssl.SSLCertVerificationError):
            await runtime.open(uri, server_hostname="other.example", **options)


# Where something else says where to connect to


async def test_host_and_port_still_say_where_to(runtime: Runtime) -> None:
    def where(path: str) -> str | None:
        return {"/": "/same", "/away": "ws://other.example/"}.get(path)

    async with redirecting(runtime, where) as (server, _, requests):
        options = {"host": HOST, "port": runtime.port_of(server)}
        async with runtime.connect("ws://example.com/", **options) as client:
            assert await client.recv() == "/same"
        assert requests.headers[1]["Host"] == "example.com"
        with pytest.raises(SecurityError, match="host says where to connect to"):
            await runtime.open("ws://example.com/away", **options)
        with pytest.raises(SecurityError, match="port says where to connect to"):
            await runtime.open(f"ws://{HOST}:1/away", port=runtime.port_of(server))


async def test_socket_cannot_be_used_again(runtime: Runtime) -> None:
    async with redirecting(runtime, lambda path: "/new") as (server, uri, requests):
        sock = socket.create_connection((HOST, runtime.port_of(server)))
        with pytest.raises(SecurityError, match="it cannot be used again"):
            await runtime.open(uri, sock=sock)
        assert len(requests.paths) == 1
        await runtime.until(lambda: not server.connections)
        assert sock.fileno() == -1


async def test_redirects_on_a_unix_socket(runtime: Runtime, tmp_path: Path) -> None:
    def where(path: str) -> str | None:
        return {"/": "/same", "/away": "ws://other.example/"}.get(path)

    path = str(tmp_path / "socket")
    async with runtime.unix_serve(tell_path, path, process_request=Requests(where)):
        async with runtime.unix_connect(path) as client:
            assert await client.recv() == "/same"
        with pytest.raises(SecurityError, match="path says where to connect to"):
            async with runtime.unix_connect(path, "ws://localhost/away"):
                raise AssertionError
