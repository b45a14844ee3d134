"""HTTP of other implementations: forms of requests, answers of real servers, other protocols.

No deadline helps here: `open_timeout` is off, so that what is not judged at once would hang.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import Log, wait_closed
from tests.adapters.runtimes.peers import RawServer
from tests.core.helpers import Head, request, response
from wsproto_core import InvalidStatusCode, make_response
from wsproto_core.exceptions import InvalidMessage, NegotiationError, SecurityError

needs_sockets = pytest.mark.needs("sockets")

with_and_without_tls = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])

FOREVER: dict[str, Any] = {"open_timeout": None}


# Servers


async def exchange(runtime: Runtime, server: Any, data: bytes, tls: bool) -> Head:
    """Send something and read what is answered to the end of the stream, without ending it."""
    async with runtime.raw_connection(server, tls=tls) as peer:
        await peer.send(data)
        return await peer.read_response()


def guard(path: str, request_headers: Any) -> Any:
    """A ``process_request`` that guards a path and answers another."""
    if path == "/health":
        return make_response(200, {"X-Host": request_headers.get("Host", "none")}, b"OK\n")
    return make_response(403) if path.startswith("/private") else None


@needs_sockets
@with_and_without_tls
async def test_target_in_absolute_form_is_a_path(runtime: Runtime, tls: bool) -> None:
    paths = []

    async def handler(websocket: Any) -> None:
        paths.append((websocket.path, websocket.request_headers["Host"]))

    options = {**FOREVER, **runtime.server_tls(tls), "process_request": guard, "close_timeout": 0.2}
    async with runtime.serving(handler, **options) as (server, _):
        for target, status in [
            ("http://localhost/health", 200),
            ("https://localhost/private?x=1", 403),
            ("http://localhost:1/chat?x=1", 101),
            ("*", 400),
            ("chat", 400),
            ("/chat#part", 400),
        ]:
            head = await exchange(runtime, server, request(f"GET {target} HTTP/1.1"), tls)
            assert head.status == status
            if status == 200:
                assert (head.headers["x-host"], head.body) == ("localhost", b"OK\n")
        assert paths == [("/chat?x=1", "localhost:1")]
        await runtime.until(lambda: not server.connections)


@needs_sockets
@with_and_without_tls
async def test_other_requests(runtime: Runtime, tls: bool) -> None:
    options = {**FOREVER, **runtime.server_tls(tls), "process_request": guard}
    async with runtime.serving(wait_closed, **options) as (server, _):
        for data, status in [
            (request("POST /chat HTTP/1.1", Content_Length="100000") + b"hello", 405),
            (request("POST /chat HTTP/1.1", Transfer_Encoding="chunked"), 405),
            (b"\r\n\r\n" + request("GET /health HTTP/1.1"), 200),
            (b"GET /health HTTP/1.0\r\n\r\n", 200),
            (request("GET /chat HTTP/1.0"), 505),
            # These have no blank line: whoever sent them waits.
            (b"SSH-2.0-x\r\n", 400),
            (b"EHLO localhost\r\n", 400),
            (b'{"id": 1, "method": "hello"}', 400),
            (b"GET / HTTP/2.0\r\n", 505),
        ]:
            head = await exchange(runtime, server, data, tls)
            assert head.status == status
            assert head.headers.get("allow") == ("GET, HEAD" if status == 405 else None)
        await runtime.until(lambda: not server.connections)


@pytest.mark.parametrize("method", [False, True], ids=["option", "method"])
async def test_select_subprotocol_is_asked_for_every_request(runtime: Runtime, method: bool) -> None:
    seen = []

    def select(client: Sequence[Any], server: Sequence[Any]) -> Any:
        seen.append((list(client), list(server)))
        if "chat" not in client:
            raise NegotiationError("the subprotocol chat is needed")
        return "chat"

    class Connection(runtime.ServerConnection):
        def select_subprotocol(self, client_subprotocols: Any, server_subprotocols: Any) -> Any:
            return select(client_subprotocols, server_subprotocols)

    options: dict[str, Any] = {"create_protocol": Connection} if method else {"select_subprotocol": select}
    for available in (None, ["news"]):
        async with runtime.serving(logger=Log(), subprotocols=available, **options) as (_, uri):
            for offered in (None, ["news"]):
                with pytest.raises(InvalidStatusCode) as raised:
                    await runtime.open(uri, subprotocols=offered)
                assert raised.value.status_code == 400
                assert seen.pop() == (offered or [], available or [])
            async with runtime.connect(uri, subprotocols=["chat"]) as client:
                assert client.subprotocol == "chat"
                await runtime.check_echo(client)
    assert seen == [(["chat"], []), (["chat"], ["news"])]


# Clients


@contextlib.asynccontextmanager
async def answering(runtime: Runtime, tls: bool, *data: bytes) -> AsyncIterator[str]:
    """A server that sends this, after the request, and waits for the client to leave; gives its URI."""
    async with runtime.raw_listener(tls=tls) as listener:

        async def serve_one() -> None:
            peer = await listener.accept()
            await peer.read_head()
            with contextlib.suppress(OSError):
                await peer.send(*data)
                await peer.read_to_end()

        serving = runtime.spawn(serve_one)
        yield listener.uri
        await serving.result()


@needs_sockets
@with_and_without_tls
@pytest.mark.parametrize(
    ("greeting", "shown"),
    [
        (b"SSH-2.0-x\r\n", "SSH-2.0-x"),
        (b"220 mail.example.com ESMTP\r\n", "220 mail.example"),
        (b"more than sixteen bytes", "more than sixtee"),
    ],
)
async def test_server_that_speaks_another_protocol(
    runtime: Runtime, greeting: bytes, shown: str, tls: bool
) -> None:
    async with answering(runtime, tls, greeting) as uri:
        with pytest.raises(InvalidMessage, match=f"malformed HTTP response.*{shown}"):
            await runtime.open(uri, **FOREVER, **runtime.client_tls(tls))


@needs_sockets
@with_and_without_tls
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 1000\r\n", b"sorry"),
        (b"Transfer-Encoding: chunked\r\n", b"5\r\nsorry\r\n"),
        (b"", b"sorry"),
    ],
    ids=["length", "chunked", "to the end"],
)
async def test_refusal_whose_body_does_not_end(
    runtime: Runtime, framing: bytes, body: bytes, tls: bool
) -> None:
    async with answering(runtime, tls, b"HTTP/1.1 401 No\r\n", framing, b"\r\n", body) as uri:
        with pytest.raises(InvalidStatusCode) as raised:
            await runtime.open(uri, **FOREVER, **runtime.client_tls(tls))
    assert raised.value.response is not None
    assert (raised.value.status_code, raised.value.response.body) == (401, b"sorry")


@needs_sockets
@with_and_without_tls
async def test_responses_without_end_that_answer_nothing(runtime: Runtime, tls: bool) -> None:
    async with runtime.raw_listener(tls=tls) as listener:

        async def serve_one() -> None:
            peer = await listener.accept()
            with contextlib.suppress(OSError):
                while True:
                    await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 10)

        serving = runtime.spawn(serve_one)
        with pytest.raises(SecurityError, match="more than 64 HTTP responses with a status from 100 to 199"):
            await runtime.open(listener.uri, **FOREVER, **runtime.client_tls(tls))
        await serving.result()


@needs_sockets
@pytest.mark.parametrize(
    "extensions",
    [
        # gorilla, nhooyr, Jetty, AWS
        "permessage-deflate",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "",
        None,
    ],
)
async def test_answers_of_real_servers_to_the_default_client(
    runtime: Runtime, extensions: str | None
) -> None:
    """They ignore ``server_max_window_bits``, and refuse it, and add headers that mean nothing."""
    async with runtime.raw_listener() as listener:

        async def accept() -> RawServer:
            peer = await listener.accept()
            head = await peer.read_head()
            offer = head.headers["sec-websocket-extensions"]
            if "server_max_window_bits" in offer:
                await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            changes = {"Sec_WebSocket_Extensions": extensions, "Sec_WebSocket_Protocol": ""}
            key = head.headers["sec-websocket-key"]
            await peer.send(response(key, Transfer_Encoding="chunked", **changes))
            return peer

        accepting = runtime.spawn(accept)
        async with runtime.connect(listener.uri) as client:
            peer = await accepting.result()
            await client.send("x" * 1000)
            sent = await peer.read_frame()
            assert bool(sent.reserved) is bool(extensions)
            await peer.send(sent)
            assert await client.recv() == "x" * 1000
            finishing = runtime.spawn(peer.finish)
        await finishing.result()
