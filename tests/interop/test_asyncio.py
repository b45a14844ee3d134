"""adapters.asyncio against other implementations, over loopback, in each case of :mod:`.cases`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from adapters.asyncio import ClientConnection, Connection, ServerConnection
from wsproto_core import (
    CloseCode,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    Event,
    InvalidStatusCode,
    Ping,
)
from wsproto_core.options import USER_AGENT

from .cases import Case, cases, closed, collect, pass_on, port_of, scenario
from .peers import PEERS, PeerConnection, PeerRefused, Settings

if_they_send_fragments = pytest.mark.parametrize(
    "case", cases(lambda peer, ours: peer.sends_fragments), indirect=True
)
if_they_share_our_loop = pytest.mark.parametrize(
    "case", cases(lambda peer, ours: not peer.blocking), indirect=True
)
if_we_serve = pytest.mark.parametrize("case", cases(lambda peer, ours: ours == "server"), indirect=True)


@pytest.fixture(name="case", params=cases())
def make_case(request: pytest.FixtureRequest) -> Case:
    name, ours, loop, tls = request.param
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="the package uvloop is not installed")
    return Case(PEERS[name](), ours, loop, tls)


# Messages

TEXTS = [
    "",
    "a",
    "Hello, world!",
    "Grüße, Ἀθήνα, 世界, 🎉",
    "x" * 125,
    "x" * 126,
    "é" * 32767 + "x",
    "é" * 32768,
    "0123456789abcdef" * 2**16,
]
SIZES = [0, 1, 125, 126, 127, 65535, 65536, 2**20 + 1, 3 * 2**20]


@scenario
async def test_text(case: Case) -> None:
    async with case.joined() as (ours, theirs):
        await pass_on(ours, theirs, TEXTS)


@scenario
async def test_binary(case: Case) -> None:
    async with case.joined(Settings(max_size=2**22), max_size=2**22) as (ours, theirs):
        await pass_on(ours, theirs, [os.urandom(size) for size in SIZES])


@scenario
async def test_traffic_in_both_directions_at_once(case: Case) -> None:
    messages: list[str | bytes] = [
        str(number) * 400 if number % 3 else os.urandom(20 * number) for number in range(300)
    ]

    async def send(end: Connection | PeerConnection) -> None:
        for message in messages:
            await end.send(message)

    async def receive(receive_one: Callable[[], Awaitable[str | bytes]]) -> list[str | bytes]:
        return [await receive_one() for _ in messages]

    async with case.joined() as (ours, theirs):
        received = await asyncio.gather(receive(ours.recv), receive(theirs.receive), send(ours), send(theirs))
    assert received[0] == messages
    assert received[1] == messages


@pytest.mark.parametrize(
    "fragments",
    [["Gr", "üße", "", ", 世界"], [b"\x00", b"\xff" * 70000, b""], ["one"]],
    ids=["text", "binary", "single"],
)
@scenario
async def test_fragments_from_us(case: Case, fragments: list[Any]) -> None:
    async with case.joined() as (ours, theirs):

        async def one_by_one() -> AsyncIterator[Any]:
            for fragment in fragments:
                yield fragment
                # Control frames may come between fragments.
                await ours.ping()

        whole = fragments[0][:0].join(fragments)
        _, received = await asyncio.gather(ours.send(one_by_one()), theirs.receive())
        assert received == whole
        _, received = await asyncio.gather(ours.send(fragments), theirs.receive())
        assert received == whole
        await pass_on(ours, theirs, ["and then"])


@if_they_send_fragments
@pytest.mark.parametrize(
    "fragments", [["Gr", "üße", "", ", 世界"], [b"\x00", b"\xff" * 70000, b""]], ids=["text", "binary"]
)
@scenario
async def test_fragments_from_them(case: Case, fragments: list[Any]) -> None:
    async with case.joined() as (ours, theirs):
        whole = fragments[0][:0].join(fragments)
        _, received = await asyncio.gather(theirs.send_fragments(fragments), ours.recv())
        assert received == whole
        _, pieces = await asyncio.gather(theirs.send_fragments(fragments), collect(ours.recv_streaming()))
        assert fragments[0][:0].join(pieces) == whole
        await pass_on(ours, theirs, ["and then"])


# Pings


@scenario
async def test_their_pings(case: Case) -> None:
    async with case.joined(Settings(sees_pongs=True)) as (_, theirs):
        for _ in range(2):
            latency = await theirs.ping()
            assert latency is None or latency >= 0


@scenario
async def test_our_pings(case: Case) -> None:
    async with case.joined() as (ours, theirs):
        echo = asyncio.create_task(theirs.echo())
        first = await ours.ping()
        second = await ours.ping(b"\x00" * 125)
        assert await first > 0
        assert await second == ours.latency > 0
        await ours.close()
        await echo


@scenario
async def test_their_keepalive(case: Case) -> None:
    pinged = asyncio.Event()
    pings: list[bytes] = []

    def count(event: Event) -> None:
        if isinstance(event, Ping):
            pings.append(event.data)
            # Each of these libraries sends another one only when it has got the last one's pong.
            if len(pings) == 2:
                pinged.set()

    class Client(ClientConnection):
        def _log_event(self, event: Event) -> None:
            count(event)

    class Server(ServerConnection):
        def _log_event(self, event: Event) -> None:
            count(event)

    settings = Settings(keepalive=case.peer.shortest_keepalive)
    create_protocol = Client if case.ours == "client" else Server
    async with case.joined(settings, create_protocol=create_protocol) as (ours, theirs):
        echo = asyncio.create_task(theirs.echo())
        await pinged.wait()
        assert ours.open
        await ours.close()
        await echo


@scenario
async def test_our_keepalive(case: Case) -> None:
    async with case.joined(ping_interval=0.05) as (ours, theirs):
        # The peer receives, or it might not see our pings.
        while not ours.latency:
            await pass_on(ours, theirs, ["still there?"])
        assert ours.open


# Opening


@pytest.mark.parametrize(
    ("client", "server", "chosen"),
    [
        (["chat"], ["chat"], "chat"),
        (["superchat", "chat"], ["chat"], "chat"),
        (["chat"], ["superchat", "chat"], "chat"),
        (["chat"], [], None),
    ],
)
@scenario
async def test_subprotocols(case: Case, client: list[str], server: list[str], chosen: str | None) -> None:
    of = {"client": client, "server": server}
    settings = Settings(subprotocols=of[case.their_side])
    async with case.joined(settings, subprotocols=of[case.ours]) as (ours, theirs):
        assert ours.subprotocol == chosen
        assert theirs.subprotocol == chosen
        await pass_on(ours, theirs, ["Hello"])


@scenario
async def test_headers(case: Case) -> None:
    settings = Settings(headers={"X-Theirs": "their value"})
    options: dict[str, Any] = {"extra_headers": {"X-Ours": "our value"}}
    if case.ours == "client":
        options["origin"] = "https://example.com"
    else:
        options["origins"] = ["https://example.com"]
        settings = replace(settings, origin="https://example.com", user_agent="Their/1.0")
    async with case.joined(settings, **options) as (ours, theirs):
        assert ours.path == "/chat?room=1"
        assert ours.request_headers is not None
        assert ours.response_headers is not None
        received = ours.response_headers if case.ours == "client" else ours.request_headers
        assert received["X-Theirs"] == "their value"
        assert theirs.headers["X-Ours"] == "our value"
        if case.ours == "client":
            assert theirs.headers["Origin"] == "https://example.com"
            assert theirs.headers["User-Agent"] == USER_AGENT
            assert theirs.headers["Host"] == ours.request_headers["Host"]
        else:
            assert received["Origin"] == "https://example.com"
            assert received["User-Agent"] == "Their/1.0"
            assert theirs.headers["Server"] == USER_AGENT


@scenario
async def test_compression_is_negotiated(case: Case) -> None:
    async with case.joined(Settings(offers_deflate=True)) as (ours, theirs):
        assert [extension.name for extension in ours.extensions] == ["permessage-deflate"]
        assert theirs.compressed
        await pass_on(ours, theirs, ["compressible" * 1000, b"\x00" * 10000])


@scenario
async def test_compression_is_declined(case: Case) -> None:
    async with case.joined(Settings(offers_deflate=True), compression=None) as (ours, theirs):
        assert ours.request_headers is not None
        if case.ours == "server":
            # Otherwise this would show nothing.
            assert "permessage-deflate" in ours.request_headers["Sec-WebSocket-Extensions"]
        else:
            assert "Sec-WebSocket-Extensions" not in ours.request_headers
        assert list(ours.extensions) == []
        assert not theirs.compressed
        await pass_on(ours, theirs, ["compressible" * 1000, b"\x00" * 10000])


@pytest.mark.parametrize("status", [200, 403, 404, 503])
@scenario
async def test_refusal(case: Case, status: int) -> None:
    async def handler(connection: Any) -> None:
        pytest.fail("this connection has been refused")

    if case.ours == "client":
        async with case.peer_serve(handler, Settings(status=status)) as port:
            with pytest.raises(InvalidStatusCode) as caught:
                await case.connect(port)
        assert caught.value.status_code == status
        assert caught.value.response is not None
        assert b"not here" in caught.value.response.body
    else:

        def process_request(path: str, request_headers: Mapping[str, str]) -> Any:
            return status, {"X-Reason": "busy"}, b"not here\n"

        async with case.serve(handler, process_request=process_request) as server:
            with pytest.raises(PeerRefused) as refused:
                async with case.peer_connect(port_of(server)):
                    pytest.fail("this connection has been refused")
        assert refused.value.status == status


@if_we_serve
@scenario
async def test_refusal_of_an_origin(case: Case) -> None:
    async def handler(connection: Any) -> None:
        pytest.fail("this connection has been refused")

    async with case.serve(handler, origins=["https://example.com"]) as server:
        for origin in (None, "https://example.org"):
            with pytest.raises(PeerRefused) as refused:
                async with case.peer_connect(port_of(server), Settings(origin=origin)):
                    pytest.fail("this connection has been refused")
            assert refused.value.status == 403


# Closing

CLOSES = [(1000, ""), (1001, "going away"), (4999, "größer als 世界")]


@pytest.mark.parametrize(("code", "reason"), CLOSES)
@scenario
async def test_we_close(case: Case, code: int, reason: str) -> None:
    async with case.joined() as (ours, theirs):
        await ours.send("last words")
        _, seen = await asyncio.gather(ours.close(code, reason), theirs.closed())
        assert seen == (code, reason)
        assert ours.closed
        assert ours.close_code == case.peer.answer_to_close(code)
        error = await closed(ours)
        assert error.sent is not None
        assert error.received is not None
        assert (error.sent.code, error.sent.reason) == (code, reason)
        assert error.received_first is False


@pytest.mark.parametrize(("code", "reason"), CLOSES)
@scenario
async def test_they_close(case: Case, code: int, reason: str) -> None:
    async with case.joined() as (ours, theirs):
        await theirs.send("last words")
        _, error = await asyncio.gather(theirs.close(code, reason), closed(ours))
        assert type(error) is (ConnectionClosedOK if code < 1002 else ConnectionClosedError)
        assert (error.code, error.reason) == (code, reason)
        assert error.received_first is True
        assert (ours.close_code, ours.close_reason) == (code, reason)
        assert theirs.close_code() == code


@if_they_share_our_loop
@scenario
async def test_both_close(case: Case) -> None:
    async with case.joined() as (ours, theirs):
        await asyncio.gather(ours.close(4001, "ours"), theirs.close(4002, "theirs"))
        assert ours.close_code == 4002
        assert theirs.close_code() == 4001


@scenario
async def test_the_stream_ends_at_their_end(case: Case) -> None:
    async with case.joined() as (ours, theirs):
        await pass_on(ours, theirs, ["Hello"])
        theirs.cut()
        error = await closed(ours)
        assert isinstance(error, ConnectionClosedError)
        assert error.code == ours.close_code == CloseCode.ABNORMAL_CLOSURE
        assert error.received is None


@scenario
async def test_the_stream_ends_at_our_end(case: Case) -> None:
    async with case.joined() as (ours, theirs):
        await pass_on(ours, theirs, ["Hello"])
        ours.transport.abort()
        assert await theirs.closed() == (CloseCode.ABNORMAL_CLOSURE, "")
        error = await closed(ours)
        assert error.code == CloseCode.ABNORMAL_CLOSURE


@pytest.mark.parametrize("size", [1001, 200000])
@scenario
async def test_a_message_too_big_for_us(case: Case, size: int) -> None:
    async with case.joined(max_size=1000) as (ours, theirs):
        await pass_on(ours, theirs, [b"x" * 1000])
        await theirs.send(b"x" * size)
        error, (code, reason) = await asyncio.gather(closed(ours), theirs.closed())
        assert error.sent is not None
        assert code == error.sent.code == CloseCode.MESSAGE_TOO_BIG
        assert reason == error.sent.reason != ""


@pytest.mark.parametrize("size", [1001, 200000])
@scenario
async def test_a_message_too_big_for_them(case: Case, size: int) -> None:
    async with case.joined(Settings(max_size=1000)) as (ours, theirs):
        await pass_on(ours, theirs, [b"x" * 999])
        await ours.send(b"x" * size)
        error, _ = await asyncio.gather(closed(ours), theirs.closed())
        assert error.code == ours.close_code == CloseCode.MESSAGE_TOO_BIG


@if_we_serve
@scenario
async def test_our_server_shuts_down(case: Case) -> None:
    handlers_ended: list[ConnectionClosed] = []

    async def handler(connection: ServerConnection) -> None:
        handlers_ended.append(await closed(connection))

    async with case.serve(handler) as server, case.peer_connect(port_of(server)) as theirs:
        server.close(reason="maintenance")
        _, seen = await asyncio.gather(server.wait_closed(), theirs.closed())
        assert seen == (1001, "maintenance")
        assert [type(error) for error in handlers_ended] == [ConnectionClosedOK]


# Many


@scenario
async def test_fifty_connections(case: Case) -> None:
    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async def talk_to_theirs(port: int, number: int) -> None:
        async with case.connect(port) as ours:
            for turn in range(3):
                await ours.send(f"{number} {turn}")
                assert await ours.recv() == f"{number} {turn}"

    async def talk_to_ours(port: int, number: int) -> None:
        async with case.peer_connect(port) as theirs:
            for turn in range(3):
                await theirs.send(f"{number} {turn}")
                assert await theirs.receive() == f"{number} {turn}"

    if case.ours == "client":
        async with case.peer_serve(lambda theirs: theirs.echo()) as port:
            await asyncio.gather(*(talk_to_theirs(port, number) for number in range(50)))
    else:
        async with case.serve(echo) as server:
            await asyncio.gather(*(talk_to_ours(port_of(server), number) for number in range(50)))
