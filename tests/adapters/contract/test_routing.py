"""Routing: `route` and `unix_route`, on each adapter."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.routing import Map, Rule

from adapters.shared.routing import Router
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, client_context, server_context
from tests.core.helpers import Head, request
from wsproto_core import ConnectionClosedError, InvalidStatusCode
from wsproto_core.http import Headers, Request, Response

pytestmark = pytest.mark.needs("sockets")


async def channel(websocket: Any, channel_id: int) -> None:
    await websocket.send(f"channel {channel_id!r}")


async def lobby(websocket: Any) -> None:
    await websocket.send(f"lobby {websocket.path}")


async def home(websocket: Any, user: str) -> None:
    await websocket.send(f"home of {user}")


async def numbered(websocket: Any, n: int) -> None:
    await websocket.send(str(n))


def rules(runtime: Runtime) -> list[Rule]:
    return [
        Rule("/channel/<int:channel_id>", endpoint=runtime.native_handler(channel)),
        Rule("/lobby/", endpoint=runtime.native_handler(lobby)),
        Rule("/old/<int:n>", redirect_to="/channel/<n>"),
    ]


@contextlib.asynccontextmanager
async def routing(runtime: Runtime, **options: Any) -> AsyncIterator[Any]:
    async with runtime.route(rules(runtime), HOST, 0, **options) as server:
        yield server


async def ask(runtime: Runtime, server: Any, start: str, **changes: Any) -> Head:
    """What is answered to a request that does not lead to a connection."""
    async with runtime.raw_connection(server) as client:
        await client.send(request(start, **changes))
        return await client.read_response()


async def refused(runtime: Runtime, uri: str, **options: Any) -> int:
    """The status that a client is refused with."""
    with pytest.raises(InvalidStatusCode) as raised:
        await runtime.open(uri, **options)
    return raised.value.status_code


async def test_handler_is_the_rules_and_gets_its_values(runtime: Runtime) -> None:
    async with routing(runtime) as server:
        for path, message in {
            "/channel/7": "channel 7",
            "/channel/8?x=y": "channel 8",
            "/lobby/?x=y": "lobby /lobby/?x=y",
        }.items():
            async with runtime.connect(runtime.uri_of(server, path), close_timeout=1) as client:
                assert await client.recv() == message
                await client.wait_closed()
                assert client.close_code == 1000


async def test_route_is_known_to_the_connection(runtime: Runtime) -> None:
    routes = []

    async def handler(websocket: Any, **arguments: Any) -> None:
        routes.append((runtime.native(websocket).route, arguments))

    endpoint = runtime.native_handler(handler)
    async with (
        runtime.route([Rule("/<a>/<int:b>", endpoint=endpoint)], HOST, 0) as server,
        runtime.connect(runtime.uri_of(server, "/x/1")) as client,
    ):
        await client.wait_closed()
    arguments = {"a": "x", "b": 1}
    assert routes == [(("/<a>/<int:b>", endpoint, arguments), arguments)]


async def test_error_of_a_handler_closes_with_1011(runtime: Runtime) -> None:
    async def handler(websocket: Any) -> None:
        raise ZeroDivisionError

    async with (
        runtime.route([Rule("/", endpoint=runtime.native_handler(handler))], HOST, 0) as server,
        runtime.connect(runtime.uri_of(server)) as client,
    ):
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert raised.value.code == 1011


async def test_path_that_no_rule_matches(runtime: Runtime) -> None:
    async with routing(runtime) as server:
        assert await refused(runtime, runtime.uri_of(server, "/channel/x")) == 404
        response = await ask(runtime, server, "GET /<b>evil</b> HTTP/1.1")
        assert response.status == 404
        assert response.headers["content-length"] == str(len(response.body))
        assert response.headers["connection"] == "close"
        assert b"no route" in response.body
        assert b"evil" not in response.body
        response = await ask(runtime, server, "HEAD /nowhere HTTP/1.1")
        assert (response.status, response.body) == (404, b"")


async def test_malformed_path(runtime: Runtime) -> None:
    async with routing(runtime) as server:
        for path in ("/lobby%2F", "/%00", "/%FF"):
            assert (await ask(runtime, server, f"GET {path} HTTP/1.1")).status == 400


async def test_redirect(runtime: Runtime) -> None:
    async with routing(runtime) as server:
        for path, location in {"/lobby?x=y": "/lobby/?x=y", "/old/7": "/channel/7"}.items():
            response = await ask(runtime, server, f"GET {path} HTTP/1.1")
            assert (response.status, response.headers["location"]) == (308, location)
            assert response.headers["content-length"] == str(len(response.body))


async def test_client_follows_redirects(runtime: Runtime) -> None:
    async with routing(runtime) as server, runtime.connect(runtime.uri_of(server, "/old/7")) as client:
        assert await client.recv() == "channel 7"
        assert client.path == "/channel/7"


async def test_request_that_is_not_for_websocket(runtime: Runtime) -> None:
    async with routing(runtime) as server:
        for path, status in {"/channel/7": 426, "/channel/x": 404, "/lobby": 308}.items():
            response = await ask(runtime, server, f"GET {path} HTTP/1.1", Upgrade=None, Connection="close")
            assert response.status == status


async def test_process_request_comes_first(runtime: Runtime) -> None:
    async def process_request(path: str, request_headers: Headers) -> object:
        return (200, {}, b"OK\n") if path in ("/health", "/channel/1") else None

    async with routing(runtime, process_request=process_request) as server:
        for path in ("/health", "/channel/1"):
            response = await ask(runtime, server, f"GET {path} HTTP/1.1")
            assert (response.status, response.body) == (200, b"OK\n")
        assert await refused(runtime, runtime.uri_of(server, "/nowhere")) == 404
        async with runtime.connect(runtime.uri_of(server, "/channel/2")) as client:
            assert await client.recv() == "channel 2"


async def test_overriding_process_request_leaves_the_routes(runtime: Runtime) -> None:
    class Guarded(runtime.ServerConnection):  # type: ignore[misc, name-defined]
        def process_request(self, path: str, request_headers: Headers) -> Response | None:
            return None if "Authorization" in request_headers else Response(401)

    headers = {"Authorization": "Bearer x"}
    async with routing(runtime, create_protocol=Guarded) as server:
        for path in ("/channel/1", "/nowhere"):
            assert await refused(runtime, runtime.uri_of(server, path)) == 401
        assert await refused(runtime, runtime.uri_of(server, "/nowhere"), extra_headers=headers) == 404
        uri = runtime.uri_of(server, "/channel/2")
        async with runtime.connect(uri, extra_headers=headers) as client:
            assert await client.recv() == "channel 2"


async def test_options_of_serve(runtime: Runtime) -> None:
    async with routing(runtime, subprotocols=["chat"], extra_headers={"X-Extra": "1"}) as server:
        uri = runtime.uri_of(server, "/channel/1")
        async with runtime.connect(uri, subprotocols=["chat"]) as client:
            assert client.subprotocol == "chat"
            assert client.response_headers["X-Extra"] == "1"


async def test_hosts(runtime: Runtime) -> None:
    url_map = Map(
        [
            Rule("/", endpoint=runtime.native_handler(lobby), host="lobby.example"),
            Rule("/", endpoint=runtime.native_handler(home), host="<user>.home.example"),
        ],
        host_matching=True,
    )
    async with runtime.route(url_map, HOST, 0) as server:
        uris = [runtime.uri_of(server, host=host) for host in ("lobby.example", "anna.home.example")]
        for uri, message in zip(uris, ["lobby /", "home of anna"], strict=True):
            async with runtime.connect(uri, host=HOST) as client:
                assert await client.recv() == message
        assert await refused(runtime, runtime.uri_of(server)) == 404


async def test_subdomains(runtime: Runtime) -> None:
    rule = Rule("/", endpoint=runtime.native_handler(home), subdomain="<user>")
    async with runtime.route([rule], HOST, 0, server_name="bücher.example") as server:
        uri = runtime.uri_of(server, host="anna.bücher.example")
        async with runtime.connect(uri, host=HOST) as client:
            assert await client.recv() == "home of anna"


@pytest.mark.parametrize("ends_tls", [True, False])
async def test_tls_here_or_in_a_proxy(runtime: Runtime, ends_tls: bool) -> None:
    url_map = Map(
        [
            Rule("/<int:n>", endpoint=runtime.native_handler(numbered), host=HOST),
            Rule("/", endpoint=runtime.native_handler(numbered), host="new.example", defaults={"n": 1}),
        ],
        host_matching=True,
    )
    context = server_context() if ends_tls else True
    async with runtime.route(url_map, HOST, 0, ssl=context) as server:
        uri = runtime.uri_of(server, "/2", scheme="wss" if ends_tls else "ws")
        async with runtime.connect(uri, **({"ssl": client_context()} if ends_tls else {})) as client:
            assert await client.recv() == "2"
        async with runtime.raw_connection(server, tls=ends_tls) as peer:
            await peer.send(request("GET /1 HTTP/1.1", Host=HOST))
            assert (await peer.read_head()).headers["location"] == "wss://new.example/"


async def test_router_of_ones_own(runtime: Runtime) -> None:
    class Custom(Router):
        def not_found(self, request: Request) -> Response:
            return Response(410)

    async with routing(runtime, create_router=Custom) as server:
        assert await refused(runtime, runtime.uri_of(server, "/nowhere")) == 410


async def test_error_in_a_rule_is_500(runtime: Runtime) -> None:
    def target(adapter: Any) -> str:
        raise ZeroDivisionError

    async with runtime.route([Rule("/", redirect_to=target)], HOST, 0) as server:
        assert await refused(runtime, runtime.uri_of(server)) == 500


async def test_unix_route(runtime: Runtime, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with (
        runtime.unix_route(rules(runtime), path),
        runtime.unix_connect(path, "ws://localhost/channel/1") as client,
    ):
        assert await client.recv() == "channel 1"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"server_name": 1}, TypeError, "server_name must be a str or None, not 1"),
        ({"server_name": "a b"}, ValueError, "server_name must be a host name"),
        ({"create_router": 1}, TypeError, "create_router must be callable or None, not 1"),
        ({"sever_name": "a"}, TypeError, "unexpected keyword argument 'sever_name'"),
        ({"ping_interval": -1}, ValueError, "ping_interval must be a positive number"),
    ],
)
async def test_options_that_are_not_allowed(
    runtime: Runtime, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        async with routing(runtime, **options):
            pass


async def test_handler_that_does_not_take_what_its_rule_provides(runtime: Runtime) -> None:
    rule = Rule("/channel/<int:channel_id>", endpoint=runtime.native_handler(lobby))
    for route, args in ((runtime.route, (HOST, 0)), (runtime.unix_route, ("/nowhere/socket",))):
        with pytest.raises(TypeError, match="rule '/channel/<int:channel_id>' provides 'channel_id', but"):
            async with route(Map([rule.empty()]), *args):
                pass
