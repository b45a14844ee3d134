"""Connecting through proxies: requests to proxies, their answers, and the choice of a proxy."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import AMPLE, HOST, client_context, server_context
from tests.adapters.runtimes.proxies import HTTPProxy, Proxy, SocksProxy, Target
from tests.ports import free_port
from wsproto_core import HandshakeTimeout, InvalidHandshake, InvalidStatusCode
from wsproto_core.connect.proxy import parse_proxy
from wsproto_core.exceptions import (
    InvalidProxy,
    InvalidProxyMessage,
    InvalidProxyStatus,
    ProxyError,
    SocksError,
)
from wsproto_core.options import USER_AGENT

pytestmark = pytest.mark.needs("sockets", "features")

VARIABLES = ("ws", "wss", "socks", "http", "https", "all", "no")


@pytest.fixture(autouse=True)
def _no_proxies_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)


async def check(runtime: Runtime, uri: str, **options: Any) -> None:
    """Connect and talk: little, and much."""
    async with runtime.connect(uri, max_size=None, **options) as client:
        await runtime.check_echo(client)
        for large in ("x" * 2**20, bytes(2**20)):
            sending = runtime.spawn(client.send, large)
            assert await client.recv() == large
            await sending.result()
        assert await runtime.pong(await client.ping()) >= 0


def large(runtime: Runtime, **options: Any) -> Any:
    return runtime.serving(max_size=None, **options)


# HTTP proxies


async def test_tunnel(runtime: Runtime) -> None:
    async with large(runtime) as (server, uri):
        with HTTPProxy() as proxy:
            await check(runtime, uri, proxy=proxy.url)
            (request,) = proxy.requests
        target = f"{HOST}:{runtime.port_of(server)}"
        assert request.start == f"CONNECT {target} HTTP/1.1"
        assert request.headers == {"host": target, "user-agent": USER_AGENT}


async def test_tunnel_as_the_options_say(runtime: Runtime) -> None:
    async with runtime.serving() as (server, _):
        port = runtime.port_of(server)
        with HTTPProxy() as proxy:
            options: dict[str, Any] = {"proxy": parse_proxy(proxy.url), "user_agent_header": "mine"}
            # Where TCP leads to; what the request is for is another thing.
            async with runtime.connect("ws://example.com/", host=HOST, port=port, **options) as client:
                await runtime.check_echo(client)
                assert client.request_headers["Host"] == "example.com"
            options["user_agent_header"] = None
            async with runtime.connect(f"ws://localhost:{port}/", **options) as client:
                await runtime.check_echo(client)
            first, second = proxy.requests
        assert first.start == f"CONNECT {HOST}:{port} HTTP/1.1"
        assert first.headers["user-agent"] == "mine"
        # The proxy looks it up.
        assert second.start == f"CONNECT localhost:{port} HTTP/1.1"
        assert "user-agent" not in second.headers


async def test_names_are_the_proxys_business(runtime: Runtime) -> None:
    async with runtime.serving() as (server, _):
        with HTTPProxy() as proxy:
            proxy.names["only.the.proxy.example"] = HOST
            uri = f"ws://only.the.proxy.example:{runtime.port_of(server)}/"
            async with runtime.connect(uri, proxy=proxy.url) as client:
                await runtime.check_echo(client)


async def test_ipv6_target(runtime: Runtime) -> None:
    with HTTPProxy(b"HTTP/1.1 502 Bad Gateway\r\n\r\n") as proxy:
        with pytest.raises(InvalidProxyStatus):
            await runtime.open("ws://[::1]:9/", proxy=proxy.url)
        assert proxy.requests[0].start == "CONNECT [::1]:9 HTTP/1.1"
        assert proxy.requests[0].headers["host"] == "[::1]:9"


async def test_credentials_are_for_the_proxy_alone(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri):
        with HTTPProxy() as proxy:
            url = proxy.url_for("Aladdin:open%20sesame@")
            async with runtime.connect(uri, proxy=url) as client:
                (accepted,) = server.connections
                assert "authorization" not in set(accepted.request_headers)
                assert "proxy-authorization" not in set(accepted.request_headers)
                assert client.request_headers["Host"] == f"{HOST}:{runtime.port_of(server)}"
            # And those for the server are not for the proxy.
            user_uri = uri.replace("//", "//user:secret@")
            async with runtime.connect(user_uri, proxy=proxy.url_for("ren%C3%A9:@")) as client:
                assert client.request_headers["Authorization"] == "Basic dXNlcjpzZWNyZXQ="
            first, second = proxy.requests
        assert first.headers["proxy-authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        assert second.headers["proxy-authorization"] == "Basic cmVuw6k6"
        assert "authorization" not in second.headers


@pytest.mark.parametrize("server_tls", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("proxy_tls", [False, True], ids=["http", "https"])
async def test_tls_in_the_tunnel_and_to_the_proxy(
    runtime: Runtime, server_tls: bool, proxy_tls: bool
) -> None:
    options = runtime.client_tls(server_tls)
    async with large(runtime, **runtime.server_tls(server_tls)) as (_, uri):
        if proxy_tls:
            options["proxy_ssl"] = client_context()
        with HTTPProxy(context=server_context() if proxy_tls else None) as proxy:
            await check(runtime, uri, proxy=proxy.url, **options)
            assert len(proxy.requests) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_versions_of_tls(runtime: Runtime, version: ssl.TLSVersion) -> None:
    contexts = [server_context(), server_context()]
    for context in contexts:
        context.minimum_version = context.maximum_version = version
    async with large(runtime, ssl=contexts[0]) as (_, uri):
        with HTTPProxy(context=contexts[1]) as proxy:
            await check(runtime, uri, proxy=proxy.url, proxy_ssl=client_context(), ssl=client_context())


async def test_closing_through_tls_within_tls(runtime: Runtime) -> None:
    codes = []

    async def handler(websocket: Any) -> None:
        await websocket.wait_closed()
        codes.append(websocket.close_code)

    async with runtime.serving(handler, **runtime.server_tls(True)) as (_, uri):
        with HTTPProxy(context=server_context()) as proxy:
            options = {"proxy_ssl": client_context(), **runtime.client_tls(True)}
            async with runtime.connect(uri, proxy=proxy.url, **options) as client:
                await client.close(4000, "done")
            assert client.close_code == 4000
        await runtime.until(lambda: codes)
        assert codes == [4000]


async def test_certificates_are_verified(runtime: Runtime) -> None:
    async with runtime.serving(**runtime.server_tls(True)) as (server, uri):
        with HTTPProxy() as proxy:
            with pytest.raises(ssl.SSLCertVerificationError):
                await runtime.open(uri, proxy=proxy.url)
            other = f"wss://other.example:{runtime.port_of(server)}/"
            with pytest.raises(ssl.SSLCertVerificationError):
                await runtime.open(other, host=HOST, proxy=proxy.url, **runtime.client_tls(True))
            assert len(proxy.requests) == 2
        with HTTPProxy(context=server_context()) as proxy:
            # The proxy's own comes first.
            with pytest.raises(ssl.SSLCertVerificationError):
                await runtime.open(uri, proxy=proxy.url, **runtime.client_tls(True))
            assert not proxy.requests


async def test_server_in_the_tunnel_is_refused_like_any_other(runtime: Runtime) -> None:
    answer = (404, {}, b"")
    async with runtime.serving(process_request=lambda path, headers: answer) as (_, uri):
        with HTTPProxy() as proxy, pytest.raises(InvalidStatusCode, match="HTTP status 404"):
            await runtime.open(uri, proxy=proxy.url)


async def test_redirects_go_through_the_proxy(runtime: Runtime) -> None:
    def elsewhere(path: str, headers: Any) -> Any:
        return 302, {"Location": second_uri}, b""

    async with (
        runtime.serving() as (second, second_uri),
        runtime.serving(process_request=elsewhere) as (first, uri),
    ):
        with HTTPProxy() as proxy:
            async with runtime.connect(uri, proxy=proxy.url_for("user:secret@")) as client:
                await runtime.check_echo(client)
            assert [request.headers["host"] for request in proxy.requests] == [
                f"{HOST}:{runtime.port_of(server)}" for server in (first, second)
            ]
            # It is the same proxy, wherever it leads to.
            assert all("proxy-authorization" in request.headers for request in proxy.requests)


# What a proxy may answer


@pytest.mark.parametrize("status", [101, 302, 403, 407, 502])
async def test_proxy_refuses(runtime: Runtime, status: int) -> None:
    # A redirect is none: whom it should lead to is the server's to say.
    head = f"HTTP/1.1 {status} Reason\r\nX-Reason: some\r\nLocation: http://{HOST}/\r\n\r\n"
    with HTTPProxy(head.encode() + b"body") as proxy:
        with pytest.raises(ProxyError) as raised:
            await runtime.open("ws://example.com/", proxy=proxy.url_for("user:secret@"))
        assert "secret" not in str(raised.value)
        assert isinstance(raised.value, InvalidProxyStatus)
        assert raised.value.status_code == status
        assert raised.value.response is not None
        assert raised.value.response.headers["X-Reason"] == "some"
        assert len(proxy.requests) == 1


@pytest.mark.parametrize("then", ["close", "wait"])
async def test_proxy_asks_for_credentials(runtime: Runtime, then: str) -> None:
    answer = b"HTTP/1.1 407 X\r\nProxy-Authenticate: Basic\r\nContent-Length: 1000000\r\n\r\nbody"
    with HTTPProxy(answer, then=then) as proxy, pytest.raises(InvalidProxyStatus, match="407"):
        await runtime.open("ws://example.com/", proxy=proxy.url)
    # The stream is closed, and nothing was sent on it any more.
    assert proxy.leftovers == [b""] * (then == "wait")


HOSTILE = {
    "end of file": b"",
    "end of file in the head": b"HTTP/1.1 200 OK\r\nX: ",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "zeros": bytes(1000),
    "a line of 64 KiB": b"HTTP/1.1 200 " + b"x" * 2**16,
    "a header of 64 KiB": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2**16,
    "1000 headers": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    "more than the head": b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n",
    "a frame after the head": b"HTTP/1.1 200 OK\r\n\r\n\x81\x02hi",
}


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE.keys())
async def test_answer_of_a_hostile_proxy(runtime: Runtime, answer: bytes, tls: bool) -> None:
    context = server_context() if tls else None
    options = {"proxy_ssl": client_context()} if tls else {}
    with HTTPProxy(answer, context=context) as proxy:
        with pytest.raises(ProxyError) as raised:
            await runtime.open("ws://example.com/", proxy=proxy.url, **options)
        assert isinstance(raised.value, InvalidProxyMessage)
        assert not isinstance(raised.value, HandshakeTimeout)


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
async def test_bytes_before_tls_are_none_of_the_servers(runtime: Runtime, tls: bool) -> None:
    """What a proxy, or somebody on the way, puts before the server's first byte."""
    with HTTPProxy(b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x01") as proxy:
        uri = "wss://example.com/" if tls else "ws://example.com/"
        with pytest.raises(InvalidProxyMessage, match="nothing from the proxy after"):
            await runtime.open(uri, proxy=proxy.url, **runtime.client_tls(tls))


async def test_proxy_resets_the_stream(runtime: Runtime) -> None:
    with HTTPProxy(b"HTTP/1.1 200", then="reset") as proxy, pytest.raises((OSError, InvalidProxyMessage)):
        await runtime.open("ws://example.com/", proxy=proxy.url)


async def test_proxy_that_never_answers(runtime: Runtime) -> None:
    with HTTPProxy(b"", then="wait") as proxy:
        with pytest.raises(HandshakeTimeout, match="open_timeout"):
            await runtime.open("ws://example.com/", proxy=proxy.url, open_timeout=AMPLE)
        # The stream is closed.
        await runtime.until(lambda: proxy.leftovers == [b""])


async def test_proxy_that_never_finishes(runtime: Runtime) -> None:
    with HTTPProxy(b"HTTP/1.1 200 OK\r\n", then="wait") as proxy:
        with pytest.raises(HandshakeTimeout, match="open_timeout"):
            await runtime.open("ws://example.com/", proxy=proxy.url, open_timeout=AMPLE)
        await runtime.until(lambda: proxy.leftovers == [b""])


async def test_proxy_that_does_not_speak_tls(runtime: Runtime) -> None:
    with HTTPProxy(b"", then="wait") as proxy, pytest.raises(HandshakeTimeout, match="open_timeout"):
        await runtime.open("ws://example.com/", proxy=proxy.url_for(scheme="https"), open_timeout=0.3)


async def test_tunnel_that_leads_nowhere(runtime: Runtime) -> None:
    with HTTPProxy(b"HTTP/1.1 200 OK\r\n\r\n", then="wait") as proxy:
        for uri in ("ws://example.com/", "wss://example.com/"):
            with pytest.raises(HandshakeTimeout):
                await runtime.open(uri, proxy=proxy.url, open_timeout=AMPLE)
    assert b"GET / HTTP/1.1\r\n" in proxy.leftovers[0]


@pytest.mark.parametrize("head", ["HTTP/1.0 200 OK", "HTTP/1.1 201 Created", "HTTP/1.1 200 OK\r\nA: b"])
async def test_unusual_answers_that_are_right(runtime: Runtime, head: str) -> None:
    async with runtime.serving() as (_, uri):
        with HTTPProxy(head=f"{head}\r\n\r\n".encode()) as proxy:
            async with runtime.connect(uri, proxy=proxy.url) as client:
                await runtime.check_echo(client)


async def test_lengths_mean_nothing_in_the_answer(runtime: Runtime) -> None:
    """RFC 9110 section 9.3.6"""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with runtime.serving() as (_, uri):
        with HTTPProxy(head=head) as proxy:
            async with runtime.connect(uri, proxy=proxy.url) as client:
                await runtime.check_echo(client)


@pytest.mark.parametrize("scheme", ["http", "https", "socks4a", "socks5"])
async def test_proxy_that_is_not_there(runtime: Runtime, scheme: str) -> None:
    with pytest.raises((OSError, SocksError), match=r"refused|failed|connect"):
        await runtime.open("ws://example.com/", proxy=f"{scheme}://{HOST}:{free_port()}")


@pytest.mark.needs("coroutines")
@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_cancelling_while_the_proxy_thinks(runtime: Runtime, scheme: str) -> None:
    proxy: Any
    with HTTPProxy(b"", then="wait") if scheme == "http" else SocksProxy(silent=True) as proxy:
        task = runtime.spawn(lambda: runtime.open("ws://example.com/", proxy=proxy.url))
        await runtime.until(proxy.waits.is_set)
        await runtime.settle(0.1)
        task.cancel()
        with pytest.raises(BaseException, match=r".*") as raised:
            await task.result()
        assert type(raised.value).__name__ == "Cancelled"
        await runtime.until(lambda: proxy.leftovers)


async def test_server_that_speaks_before_it_is_asked(runtime: Runtime) -> None:
    """Within TLS, which is established through the proxy: what it says comes together with the handshake."""
    async with runtime.raw_listener(tls=True) as listener:
        with HTTPProxy() as proxy:

            async def connect() -> None:
                async with runtime.connect(listener.uri, proxy=proxy.url, **runtime.client_tls(True)):
                    raise AssertionError

            task = runtime.spawn(connect)
            peer = await listener.accept()
            await peer.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            with pytest.raises(InvalidHandshake):
                await task.result()


async def test_server_that_speaks_with_its_last_word_of_the_handshake(runtime: Runtime) -> None:
    """In one segment: it is there as soon as TLS is."""
    context = server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with runtime.raw_listener() as listener:

        async def serve_one() -> None:
            peer = await listener.accept()
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = context.wrap_bio(incoming, outgoing, server_side=True)
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await peer.send(outgoing.read())
                    incoming.write(await peer.read())
            tls.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            await peer.send(outgoing.read())
            with contextlib.suppress(ConnectionResetError):
                await peer.read_to_end()

        serving = runtime.spawn(serve_one)
        with HTTPProxy() as proxy:
            uri = listener.uri.replace("ws:", "wss:")
            with pytest.raises(InvalidHandshake):
                async with runtime.connect(uri, proxy=proxy.url, **runtime.client_tls(True)):
                    raise AssertionError
        await serving.result()


async def test_tls_that_ends_in_the_tunnel(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        with HTTPProxy() as proxy:
            uri = listener.uri.replace("ws:", "wss:")
            task = runtime.spawn(lambda: runtime.open(uri, proxy=proxy.url, **runtime.client_tls(True)))
            peer = await listener.accept()
            assert await peer.read()
            peer.close()
            with pytest.raises(OSError, match=r".*"):
                await task.result()


# SOCKS


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h"])
async def test_socks(runtime: Runtime, scheme: str, tls: bool) -> None:
    async with large(runtime, **runtime.server_tls(tls)) as (server, _):
        uri = runtime.uri_of(server, "/", "wss" if tls else "ws", "localhost")
        with SocksProxy() as proxy:
            options = runtime.client_tls(tls)
            if scheme == "socks5":
                # It is looked up here, perhaps as an address that nobody listens on.
                options["host"] = HOST
            await check(runtime, uri, proxy=proxy.url_for(scheme=scheme), **options)
            (target,) = proxy.targets
        assert target.version == (4 if scheme.startswith("socks4") else 5)
        assert target.is_name is scheme.endswith(("a", "h"))
        assert target.host == ("localhost" if target.is_name else HOST)
        assert target.port == runtime.port_of(server)


async def test_socks_credentials(runtime: Runtime) -> None:
    async with runtime.serving() as (server, uri):
        port = runtime.port_of(server)
        with SocksProxy(("user", "pass:word")) as proxy:
            url = proxy.url_for("user:pass%3Aword@")
            async with runtime.connect(uri, proxy=url) as client:
                await runtime.check_echo(client)
            assert proxy.targets == [Target(5, HOST, False, port, "user", "pass:word")]
            for user_info in ("user:wrong@", ""):
                with pytest.raises(SocksError) as raised:
                    await runtime.open(uri, proxy=proxy.url_for(user_info))
                assert "wrong" not in str(raised.value)
        with SocksProxy() as proxy:
            async with runtime.connect(uri, proxy=proxy.url_for("user@", "socks4")) as client:
                await runtime.check_echo(client)
            assert proxy.targets == [Target(4, HOST, False, port, "user")]


@pytest.mark.parametrize(("scheme", "code"), [("socks5h", 4), ("socks5h", 5), ("socks4a", 91)])
async def test_socks_proxy_refuses(runtime: Runtime, scheme: str, code: int) -> None:
    with SocksProxy(code=code) as proxy:
        with pytest.raises(SocksError) as raised:
            await runtime.open("ws://nowhere.example/", proxy=proxy.url_for(scheme=scheme))
        assert raised.value.code == code


async def test_socks_proxy_that_never_answers(runtime: Runtime) -> None:
    with SocksProxy(silent=True) as proxy:
        with pytest.raises(HandshakeTimeout, match="open_timeout"):
            await runtime.open("ws://nowhere.example/", proxy=proxy.url, open_timeout=0.3)
        await runtime.until(lambda: proxy.leftovers)


async def test_socks_proxy_that_does_not_speak_socks(runtime: Runtime) -> None:
    # It never sees the end of a request, and says nothing.
    with HTTPProxy(b"") as proxy, pytest.raises((ProxyError, HandshakeTimeout)):
        await runtime.open("ws://x.example/", proxy=proxy.url_for(scheme="socks5h"), open_timeout=0.3)


async def test_without_python_socks(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] == "python_socks":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "python_socks", None)
    with pytest.raises(ImportError, match=r"wsproto-core\[proxy\]"):
        await runtime.open("ws://x.example/", proxy="socks5://proxy.example")


# Which one


Make = Callable[[], Proxy]


@pytest.mark.parametrize(
    ("variable", "make", "used"),
    [
        ("ws_proxy", HTTPProxy, True),
        ("WS_PROXY", HTTPProxy, True),
        ("http_proxy", HTTPProxy, True),
        ("https_proxy", HTTPProxy, True),
        ("all_proxy", HTTPProxy, True),
        ("wss_proxy", HTTPProxy, False),
        ("socks_proxy", SocksProxy, True),
    ],
)
async def test_proxy_of_the_environment(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, variable: str, make: Make, used: bool
) -> None:
    async with runtime.serving() as (_, uri):
        with make() as proxy:
            monkeypatch.setenv(variable, proxy.url)
            for options, uses in (({}, used), ({"proxy": True}, used), ({"proxy": None}, False)):
                asked: list[Any] = getattr(proxy, "requests", None) or getattr(proxy, "targets", [])
                asked.clear()
                async with runtime.connect(uri, **options) as client:
                    await runtime.check_echo(client)
                asked = getattr(proxy, "requests", None) or getattr(proxy, "targets", [])
                assert bool(asked) is uses


@pytest.mark.parametrize(
    ("no_proxy", "used"),
    [(HOST, False), ("*", False), ("127.0.0.0/8", False), ("example.com, 10.0.0.0/8", True)],
)
async def test_no_proxy(runtime: Runtime, monkeypatch: pytest.MonkeyPatch, no_proxy: str, used: bool) -> None:
    async with runtime.serving() as (_, uri):
        with HTTPProxy() as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            monkeypatch.setenv("no_proxy", no_proxy)
            async with runtime.connect(uri) as client:
                await runtime.check_echo(client)
            assert bool(proxy.requests) is used
            # It is for the environment's proxies only.
            async with runtime.connect(uri, proxy=proxy.url) as client:
                await runtime.check_echo(client)
            assert len(proxy.requests) == 1 + used


async def test_each_redirect_chooses_its_proxy(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(path: str, headers: Any) -> Any:
        return 302, {"Location": second_uri}, b""

    async with (
        runtime.serving() as (second, _),
        runtime.serving(process_request=elsewhere) as (_, uri),
    ):
        second_uri = runtime.uri_of(second, host="localhost")
        with HTTPProxy() as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            monkeypatch.setenv("no_proxy", HOST)
            async with runtime.connect(uri) as client:
                await runtime.check_echo(client)
            assert [request.headers["host"] for request in proxy.requests] == [
                f"localhost:{runtime.port_of(second)}"
            ]


async def test_invalid_proxy_in_the_environment(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "ftp://user:secret@proxy")
    with pytest.raises(InvalidProxy) as raised:
        await runtime.open(f"ws://{HOST}:{free_port()}/")
    assert "http_proxy" in "".join(raised.value.__notes__)
    assert "secret" not in str(raised.value)


async def test_streams_that_are_given_need_no_proxy(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://{HOST}:{free_port()}")
    async with runtime.serving() as (server, uri):
        sock = socket.create_connection((HOST, runtime.port_of(server)))
        async with runtime.connect(uri, sock=sock) as client:
            await runtime.check_echo(client)
