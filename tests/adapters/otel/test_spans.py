"""Spans of connections, on each runtime."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

from adapters.otel import span_of
from tests.adapters.runtimes import Runtime
from wsproto_core import ConnectionClosed, InvalidStatusCode, Response
from wsproto_core.http import Headers

from .conftest import Reports


async def ended(runtime: Runtime, reports: Reports, kind: str, number: int = 1) -> Any:
    """Return the last span of a kind, when this many have ended."""
    await runtime.until(lambda: len(reports.spans(kind)) == number)
    return reports.spans(kind)[-1]


async def test_one_span_a_connection_which_continues_that_of_the_client(
    runtime: Runtime, reports: Reports
) -> None:
    current = []

    async def handler(websocket: Any) -> None:
        current.append((trace.get_current_span(), span_of(runtime.native(websocket))))
        async for message in websocket:
            await websocket.send(message)

    async with runtime.serving(handler, **reports.server) as (_, uri):
        with reports.tracer.start_as_current_span("request") as request:
            async with runtime.connect(f"{uri}chat?token=secret", **reports.client) as client:
                for _ in range(20):
                    await client.send("hello")
                    assert await client.recv() == "hello"
        server_span = await ended(runtime, reports, "SERVER")
        client_span = await ended(runtime, reports, "CLIENT")
    assert current[0][0] is current[0][1]
    assert len(reports.spans("SERVER") + reports.spans("CLIENT")) == 2
    assert client_span.parent.span_id == request.get_span_context().span_id
    assert server_span.context.trace_id == client_span.context.trace_id
    assert server_span.parent.span_id == client_span.context.span_id
    assert [link.context.span_id for link in server_span.links] == [client_span.context.span_id]
    port = int(uri.rpartition(":")[2].strip("/"))
    for span in (client_span, server_span):
        assert span.name == "websocket"
        assert span.status.status_code is StatusCode.UNSET
        assert (
            span.attributes.items()
            >= {
                "url.scheme": "ws",
                "url.path": "/chat",
                "server.address": "127.0.0.1",
                "server.port": port,
                "network.protocol.name": "websocket",
                "network.transport": "tcp",
                "network.peer.address": "127.0.0.1",
                "http.response.status_code": 101,
                "websocket.messages_received": 20,
                "websocket.messages_sent": 20,
                "websocket.close.code": 1000,
                "websocket.close.initiator": "client",
            }.items()
        )
        assert "secret" not in str(span.attributes)
    assert server_span.attributes["network.local.port"] == client_span.attributes["network.peer.port"] == port


async def test_request_without_a_trace_begins_one(runtime: Runtime, reports: Reports) -> None:
    with reports.tracer.start_as_current_span("program"):
        async with runtime.serving(**reports.server) as (_, uri), runtime.connect(uri):
            pass
    span = await ended(runtime, reports, "SERVER")
    assert span.parent is None
    assert not span.links


async def test_own_headers_are_sent_with_the_trace(runtime: Runtime, reports: Reports) -> None:
    headers: list[Headers] = []

    async def handler(websocket: Any) -> None:
        headers.append(websocket.request_headers)

    mine = {"X-Own": "1", "Traceparent": "00-00000000000000000000000000000001-0000000000000001-00"}
    async with runtime.serving(handler) as (_, uri):
        async with runtime.connect(uri, extra_headers=mine, **reports.client) as client:
            await client.wait_closed()
        span = await ended(runtime, reports, "CLIENT")
    assert headers[0]["X-Own"] == "1"
    (parent,) = headers[0].get_all("traceparent")
    assert parent.startswith(f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-")


async def test_handler_that_fails(runtime: Runtime, reports: Reports) -> None:
    async def handler(websocket: Any) -> None:
        raise LookupError("lost")

    async with (
        runtime.serving(handler, **reports.server) as (_, uri),
        runtime.connect(uri, **reports.client) as client,
    ):
        with pytest.raises(ConnectionClosed):
            await client.recv()
    for kind, error in (("SERVER", "LookupError"), ("CLIENT", "ConnectionClosedError")):
        span = await ended(runtime, reports, kind)
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes["error.type"] == error
        assert [event.name for event in span.events] == ["exception"]
        assert span.attributes["websocket.close.code"] == 1011
        assert span.attributes["websocket.close.initiator"] == "server"


@pytest.mark.parametrize(("status", "server"), [(404, StatusCode.UNSET), (503, StatusCode.ERROR)])
async def test_request_that_is_refused(
    runtime: Runtime, reports: Reports, status: int, server: StatusCode
) -> None:
    def refuse(path: str, headers: Headers) -> Response:
        return Response(status, Headers(), b"")

    async with runtime.serving(process_request=refuse, **reports.server) as (_, uri):
        with pytest.raises(InvalidStatusCode):
            await runtime.open(uri, **reports.client)
        for kind, code in (("SERVER", server), ("CLIENT", StatusCode.ERROR)):
            span = await ended(runtime, reports, kind)
            assert span.attributes["http.response.status_code"] == status
            assert span.status.status_code is code
            assert "websocket.close.code" not in span.attributes


async def test_redirect_is_a_span_of_its_own(runtime: Runtime, reports: Reports) -> None:
    def redirect(path: str, headers: Headers) -> Response | None:
        return Response(302, Headers(Location="/there"), b"") if path == "/" else None

    async with runtime.serving(process_request=redirect, **reports.server) as (_, uri):
        async with runtime.connect(uri, **reports.client):
            pass
        await ended(runtime, reports, "CLIENT", 2)
        await ended(runtime, reports, "SERVER", 2)
    first, second = reports.spans("CLIENT")
    assert [each.attributes["url.path"] for each in (first, second) if each.attributes] == ["/", "/there"]
    assert first.attributes is not None
    assert first.attributes["http.response.status_code"] == 302
    assert first.status.status_code is StatusCode.UNSET


async def test_server_that_is_not_there(runtime: Runtime, reports: Reports) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match=r"."):
            await runtime.open(f"ws://127.0.0.1:{bound.getsockname()[1]}/", **reports.client)
    (span,) = reports.spans("CLIENT")
    assert span.status.status_code is StatusCode.ERROR
    assert reports.value("websocket.connection.closes") == 0


async def test_rule_of_a_route(runtime: Runtime, reports: Reports) -> None:
    from werkzeug.routing import Map, Rule

    async def channel(websocket: Any, number: int) -> None:
        await websocket.send(str(number))

    rules = Map([Rule("/channel/<int:number>", endpoint=runtime.native_handler(channel))])
    async with runtime.route(rules, "127.0.0.1", 0, **reports.server) as server:
        async with runtime.connect(runtime.uri_of(server, "/channel/7")) as client:
            assert await client.recv() == "7"
        span = await ended(runtime, reports, "SERVER")
    assert span.attributes["http.route"] == "/channel/<int:number>"
    assert reports.value("websocket.connection.closes", http__route="/channel/<int:number>") == 1


async def test_bytes_of_a_peer_that_are_no_text(runtime: Runtime, reports: Reports) -> None:
    headers = {"User-Agent": "caf\udce9"}
    async with (
        runtime.serving(**reports.server) as (_, uri),
        runtime.connect(uri, extra_headers=headers, user_agent_header=None),
    ):
        pass
    span = await ended(runtime, reports, "SERVER")
    assert span.attributes["user_agent.original"] == r"caf\udce9"


async def test_scheme_of_tls(runtime: Runtime, reports: Reports) -> None:
    async with runtime.connected(reports.client, reports.server, tls=True):
        pass
    for kind in ("SERVER", "CLIENT"):
        span = await ended(runtime, reports, kind)
        assert span.attributes["url.scheme"] == "wss"


async def test_trace_of_a_client_that_is_not_ours(runtime: Runtime, reports: Reports) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with (
        runtime.serving(**reports.server) as (_, uri),
        runtime.connect(uri, extra_headers={"TraceParent": parent}),
    ):
        pass
    span = await ended(runtime, reports, "SERVER")
    assert f"{span.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
