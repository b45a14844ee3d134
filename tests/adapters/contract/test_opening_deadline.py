"""The deadline of the opening handshake on a server: `open_timeout` includes TLS and hooks."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import AMPLE, Log, wait_closed
from tests.adapters.runtimes.on_threads import blocking
from tests.core.helpers import request
from wsproto_core import Headers, InvalidHandshake, InvalidStatusCode

pytestmark = pytest.mark.needs("sockets", "features")

plain_or_tls = pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
NO_END: dict[str, Any] = {"close_timeout": None}


BEGINNINGS = {False: b"GET / HT", True: b"\x16\x03\x01\x02\x00\x01\x00"}
"""Of a request, and of TLS's handshake."""


@plain_or_tls
@pytest.mark.parametrize("begins", [False, True], ids=["nothing", "a beginning"])
async def test_client_that_stops(runtime: Runtime, tls: bool, begins: bool) -> None:
    """In TLS's handshake as in the request: it counts, and its place is free in the end."""
    options = {**NO_END, **runtime.server_tls(tls), "open_timeout": AMPLE, "max_connections": 1}
    log = Log()
    async with runtime.serving(**options, logger=log) as (server, uri):
        async with runtime.raw_connection(server) as peer:
            await runtime.until(lambda: server.connections)
            await peer.send(BEGINNINGS[tls] * begins)
            with contextlib.suppress(ConnectionError):
                await peer.read_to_end()
            await runtime.until(lambda: not server.connections)
        async with runtime.connect(uri, **runtime.client_tls(tls)) as websocket:
            await runtime.check_echo(websocket)
    assert f"was not done within {AMPLE} seconds" in log.messages()[1]
    assert not log.errors()


async def test_client_in_its_tls_handshake_counts(runtime: Runtime) -> None:
    options = {**runtime.server_tls(True), "max_connections": 1}
    client = runtime.client_tls(True)
    async with runtime.serving(**options) as (server, uri), runtime.raw_connection(server) as peer:
        await peer.send(BEGINNINGS[True])
        await runtime.until(lambda: len(server.connections) == 1)
        with pytest.raises(InvalidStatusCode, match="HTTP status 503"):
            await runtime.open(uri, **client)


class Hook:
    """A ``process_request`` that does not return by itself, but for one path."""

    def __init__(self, runtime: Runtime) -> None:
        self.begun = runtime.event()
        self.go_on = runtime.event()
        self.ended = runtime.event()

    async def __call__(self, path: str, headers: Headers) -> Any:
        if path == "/fast":
            return None
        self.begun.set()
        try:
            await self.go_on.wait()
        finally:
            self.ended.set()
        return None


def can_cancel(runtime: Runtime) -> bool:
    return runtime.name != "threading"


@contextlib.asynccontextmanager
async def serving_slowly(runtime: Runtime, **options: Any) -> Any:
    """A server with room for one connection and a hook that does not return."""
    hook = Hook(runtime)
    handled: list[Any] = []

    async def handler(websocket: Any) -> None:
        handled.append(websocket)
        await websocket.wait_closed()

    async def process_request(path: str, headers: Headers) -> Any:
        return await hook(path, headers)

    log = Log()
    options = {"max_connections": 1, "process_request": process_request, "logger": log, **options}
    async with runtime.serving(handler, **options) as (server, _):
        try:
            yield server, hook
            # On threads it goes on: nothing ends it, but nobody waits for it.
            if can_cancel(runtime):
                await hook.ended.wait()
        finally:
            hook.go_on.set()
        await hook.ended.wait()
        assert [websocket.path for websocket in handled] in ([], ["/fast"])
    assert not log.errors()


@plain_or_tls
async def test_process_request_that_does_not_return(runtime: Runtime, tls: bool) -> None:
    client = runtime.client_tls(tls)
    options = {**runtime.server_tls(tls), "open_timeout": AMPLE}
    async with serving_slowly(runtime, **options) as (server, _):
        scheme = "wss" if tls else "ws"
        with pytest.raises(InvalidHandshake):
            await runtime.open(runtime.uri_of(server, scheme=scheme), **client)
        await runtime.until(lambda: not server.connections)
        async with runtime.connect(runtime.uri_of(server, "/fast", scheme), **client) as websocket:
            assert websocket.open
        server.close()
        await server.wait_closed()


@plain_or_tls
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_client_that_leaves_while_its_request_is_processed(
    runtime: Runtime, how: str, tls: bool
) -> None:
    client = runtime.client_tls(tls)
    options = {**runtime.server_tls(tls), "open_timeout": None, "close_timeout": 0.2}
    async with serving_slowly(runtime, **options) as (server, hook):
        async with runtime.raw_connection(server, tls=tls) as peer:
            await peer.send(request())
            await hook.begun.wait()
            getattr(peer, how)()
        await runtime.until(lambda: not server.connections)
        uri = runtime.uri_of(server, "/fast", "wss" if tls else "ws")
        async with runtime.connect(uri, **client) as websocket:
            assert websocket.open


@plain_or_tls
async def test_server_that_closes_while_a_request_is_processed(runtime: Runtime, tls: bool) -> None:
    options = {**runtime.server_tls(tls), "open_timeout": None}
    async with serving_slowly(runtime, **options) as (server, hook):
        connecting = runtime.spawn(
            lambda: runtime.open(
                runtime.uri_of(server, scheme="wss" if tls else "ws"), **runtime.client_tls(tls)
            )
        )
        await hook.begun.wait()
        server.close()
        with pytest.raises(InvalidStatusCode, match="HTTP status 503"):
            await connecting.result()
        await server.wait_closed()


async def test_check_credentials_that_does_not_return(runtime: Runtime) -> None:
    hook = Hook(runtime)

    async def check_credentials(username: str, password: str) -> bool:
        await hook("/", Headers())
        return True

    check = check_credentials if can_cancel(runtime) else blocking(check_credentials)
    create = runtime.basic_auth("realm", check_credentials=check)
    log = Log()
    async with runtime.serving(create_protocol=create, open_timeout=AMPLE, logger=log) as (server, uri):
        with pytest.raises(InvalidHandshake):
            await runtime.open(uri.replace("://", "://user:secret@"))
        await runtime.until(lambda: not server.connections)
        if can_cancel(runtime):
            await hook.ended.wait()
        hook.go_on.set()
        await hook.ended.wait()
    assert not log.errors()


async def test_hook_with_a_timeout_of_its_own(runtime: Runtime) -> None:
    """A TimeoutError of the application is an error of the application."""

    async def process_request(path: str, headers: Headers) -> Any:
        raise TimeoutError("of the database")

    log = Log()
    async with runtime.serving(process_request=process_request, logger=log) as (_, uri):
        with pytest.raises(InvalidStatusCode, match="HTTP status 500"):
            await runtime.open(uri)
    assert log.errors() == [("opening handshake failed", TimeoutError)]


async def test_hook_that_fails_when_it_is_too_late(runtime: Runtime) -> None:
    """No answer tells of that; so it is logged."""
    begun, go_on = runtime.event(), runtime.event()

    async def process_request(path: str, headers: Headers) -> Any:
        begun.set()
        try:
            await go_on.wait()
        finally:
            raise ZeroDivisionError

    log = Log()
    options = {"process_request": process_request, "open_timeout": None, "logger": log}
    async with runtime.serving(**options) as (server, uri):
        connecting = runtime.spawn(runtime.open, uri)
        await begun.wait()
        server.close()
        with pytest.raises(InvalidStatusCode, match="HTTP status 503"):
            await connecting.result()
        go_on.set()
        await runtime.until(log.errors)
    assert log.errors() == [("opening handshake failed", ZeroDivisionError)]


async def test_hook_that_takes_its_time(runtime: Runtime) -> None:
    async def process_request(path: str, headers: Headers) -> Any:
        await runtime.sleep(0.3)

    async with (
        runtime.serving(wait_closed, process_request=process_request) as (_, uri),
        runtime.connect(uri) as client,
    ):
        await runtime.settle(0.2)
        assert client.open
