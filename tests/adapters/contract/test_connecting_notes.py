"""Notes on the errors of connecting: the URI, the proxy, and the usual causes."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, client_context, server_context
from tests.ports import free_port
from wsproto_core.exceptions import InvalidHandshake, InvalidMessage, InvalidStatusCode

pytestmark = pytest.mark.needs("sockets")

CERTIFICATE_CAUSES = (
    "The usual causes: the certificate is signed by an authority that is not trusted here (load the "
    "authority's certificate into a context: ssl=ssl.create_default_context(cafile=...)), or the certificate "
    "is for another name than {!r} (server_hostname=)."
)
TLS_CAUSES = (
    "The usual causes: this port does not speak TLS (then the URI begins with ws:), or the peer and this "
    "client have no version of TLS and no cipher in common."
)
SAYS_WSS = "If this port speaks TLS, the URI begins with wss:."


async def notes_of(runtime: Runtime, error: type[Exception], uri: str, **options: Any) -> list[str]:
    """Open a connection, which fails; return the notes on the error."""
    with pytest.raises(error) as raised:
        await runtime.open(uri, **options)
    return raised.value.__notes__


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY"])
async def test_proxy_of_the_environment(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    proxy = f"http://{HOST}:{free_port()}"
    monkeypatch.setenv(variable, proxy.replace("//", "//user:secret@"))
    assert await notes_of(runtime, ConnectionRefusedError, "ws://example.com/") == [
        f"while connecting to ws://example.com/ through {proxy} (from the environment variable {variable})"
    ]


async def test_certificate_that_is_not_accepted(runtime: Runtime) -> None:
    async with runtime.serving(ssl=server_context()) as (server, _):
        uri = runtime.uri_of(server, "/", "wss", "localhost")
        for options, name in (
            ({}, "localhost"),
            ({"ssl": client_context(), "server_hostname": "example.com"}, "example.com"),
        ):
            assert await notes_of(runtime, ssl.SSLCertVerificationError, uri, **options) == [
                f"while connecting to {uri}",
                CERTIFICATE_CAUSES.format(name),
            ]


async def test_wss_to_a_port_without_tls(runtime: Runtime) -> None:
    async with runtime.serving() as (server, _):
        uri = runtime.uri_of(server, "/", "wss", "localhost")
        assert await notes_of(runtime, ssl.SSLError, uri) == [
            f"while connecting to {uri}",
            TLS_CAUSES,
        ]


async def test_tls_to_a_proxy(runtime: Runtime) -> None:
    """The notes speak of the proxy, which is the one that TLS fails with."""
    uri = "ws://example.com/"
    for options, error, causes in (
        (
            {"ssl": server_context()},
            ssl.SSLCertVerificationError,
            CERTIFICATE_CAUSES.format("localhost")
            .replace("ssl=", "proxy_ssl=")
            .replace("(server", "(proxy_server"),
        ),
        (
            {},
            ssl.SSLError,
            TLS_CAUSES.replace("the URI begins with ws:", "the proxy's URL begins with http:"),
        ),
    ):
        async with runtime.serving(**options) as (server, _):
            proxy = f"https://localhost:{runtime.port_of(server)}"
            assert await notes_of(runtime, error, uri, proxy=proxy) == [
                f"while connecting to {uri} through {proxy}",
                causes,
            ]


async def test_ws_to_a_port_with_tls(runtime: Runtime) -> None:
    async with runtime.serving(ssl=server_context()) as (server, _):
        uri = runtime.uri_of(server, "/", "ws", "localhost")
        assert await notes_of(runtime, InvalidMessage, uri) == [f"while connecting to {uri}", SAYS_WSS]


def page(status: str, text: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


@pytest.mark.parametrize(
    ("answer", "error", "hint"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x46", InvalidMessage, True),
        (page("400 Bad Request", "The plain HTTP request was sent to HTTPS port"), InvalidStatusCode, True),
        (page("400 Bad Request", "Client sent an HTTP request to an HTTPS server."), InvalidStatusCode, True),
        (page("400 Bad Request", "speaking plain HTTP to an SSL-enabled port"), InvalidStatusCode, True),
        (page("400 Bad Request", "no such header"), InvalidStatusCode, False),
        (page("404 Not Found", "see https://example.com"), InvalidStatusCode, False),
        (b"SSH-2.0-OpenSSH_9.6\r\n", InvalidMessage, False),
    ],
    ids=["alert", "nginx", "Go", "Apache", "400", "404", "ssh"],
)
async def test_answers_of_others(
    runtime: Runtime, answer: bytes, error: type[InvalidHandshake], hint: bool
) -> None:
    async def serve() -> None:
        peer = await listener.accept()
        await peer.read_head()
        await peer.send(answer)
        peer.end()

    async with runtime.raw_listener() as listener:
        serving = runtime.spawn(serve)
        notes = await notes_of(runtime, error, listener.uri)
        await serving.result()
    assert notes == [f"while connecting to {listener.uri}", *([SAYS_WSS] if hint else [])]


async def test_connection_that_is_used_before_it_is_open(runtime: Runtime) -> None:
    connecting = runtime.adapter.connect("ws://localhost/")
    with pytest.raises(AttributeError, match=r"'recv'; it is no connection yet: use '.*connect\(\.\.\.\) as"):
        await connecting.recv()
    assert not hasattr(connecting, "received")
