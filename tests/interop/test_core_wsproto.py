"""The core against wsproto, another implementation without I/O, in memory and in both roles."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import pytest

from wsproto_core import (
    ClientProtocol,
    Close,
    CloseCode,
    ConnectionClosedError,
    ConnectionClosedOK,
    Failure,
    InvalidStatusCode,
    Ping,
    Pong,
    Protocol,
    Request,
    Response,
    ServerProtocol,
    State,
    StreamAction,
    make_response,
)
from wsproto_core.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from wsproto_core.testing import Clock

from .peers import Agreed, Deflate

wsproto = pytest.importorskip("wsproto", reason="the package wsproto is not installed")
events = pytest.importorskip("wsproto.events")
CloseReason = pytest.importorskip("wsproto.frame_protocol").CloseReason
extensions = pytest.importorskip("wsproto.extensions")

CLIENT, SERVER = wsproto.ConnectionType.CLIENT, wsproto.ConnectionType.SERVER


class Link:
    """A protocol of ours and a connection of wsproto's, joined.

    wsproto leaves to its user to answer requests, pings and close frames, and to join the pieces of
    messages: that is done here.

    Attributes:
        ours: the protocol.
        our_events: its events, in order.
        theirs: wsproto's connection.
        their_messages: the messages that it has received, whole.
        their_events: its other events, in order.
        refusal: how our server answers the request, instead of accepting it.
        answer: how theirs does.
    """

    def __init__(self, ours: Protocol, side: Any, clock: Clock, chunk: int | None) -> None:
        self.ours = ours
        self.theirs = wsproto.WSConnection(side)
        self.clock = clock
        self.chunk = chunk
        self.our_events: list[Any] = []
        self.their_events: list[Any] = []
        self.their_messages: list[str | bytes] = []
        self.refusal: Response | None = None
        self.answer: Any = events.AcceptConnection()
        self._pieces: list[Any] = []
        self._to_ours = bytearray()

    def send(self, *their_events: Any) -> None:
        """Let wsproto send events, and go on until both are at rest."""
        for event in their_events:
            self._to_ours += self.theirs.send(event)
        self.run()

    def run(self) -> None:
        """Carry bytes until both are at rest."""
        while self._run_ours() or self._run_theirs():
            pass

    def _run_ours(self) -> bool:
        to_ours = bytes(self._to_ours)
        self._to_ours.clear()
        for chunk in self._chunks(to_ours):
            self.ours.receive_data(chunk)
            # A close frame behind messages takes effect when more is asked for.
            while new := self.ours.events():
                self.our_events += new
                if any(isinstance(event, Request) for event in new):
                    self._answer()
        return bool(to_ours)

    def _answer(self) -> None:
        assert isinstance(self.ours, ServerProtocol)
        if self.refusal is None:
            self.ours.accept()
        else:
            self.ours.reject(self.refusal)

    def _run_theirs(self) -> bool:
        to_theirs = b"".join(self.ours.data_to_send())
        self.ours.data_sent()
        for chunk in self._chunks(to_theirs):
            self.theirs.receive_data(chunk)
            for event in self.theirs.events():
                self._handle(event)
        return bool(to_theirs)

    def _chunks(self, data: bytes) -> Iterable[bytes]:
        size = self.chunk or len(data) or 1
        return (data[start : start + size] for start in range(0, len(data), size))

    def _handle(self, event: Any) -> None:
        if isinstance(event, events.Message):
            self._pieces.append(event.data)
            if event.message_finished:
                self.their_messages.append(type(event.data)().join(self._pieces))
                self._pieces.clear()
            return
        self.their_events.append(event)
        if isinstance(event, events.Request):
            self._to_ours += self.theirs.send(self.answer)
            return
        close_to_answer = self.theirs.state.name == "REMOTE_CLOSING"
        if isinstance(event, events.Ping) or (isinstance(event, events.CloseConnection) and close_to_answer):
            self._to_ours += self.theirs.send(event.response())


SIDES = ["client", "server"]
CHUNKS = [1, 3, 1000, None]


def join(
    our_side: str,
    chunk: int | None = None,
    *,
    request: dict[str, Any] | None = None,
    answer: Any = None,
    **options: Any,
) -> Link:
    """Do the opening handshake, as far as it goes.

    Args:
        chunk: bytes that are carried at once; ``None`` for all that there are.
        request: of a client of theirs.
        answer: of a server of theirs.
        options: of our protocol.
    """
    clock = Clock()
    if our_side == "client":
        ours: Protocol = ClientProtocol("ws://example.com:8080/chat?room=1", clock=clock, **options)
        link = Link(ours, SERVER, clock, chunk)
        if answer is not None:
            link.answer = answer
        link.run()
    else:
        link = Link(ServerProtocol(clock=clock, **options), CLIENT, clock, chunk)
        link.send(events.Request(**{"host": "example.com:8080", "target": "/chat?room=1"} | (request or {})))
    return link


def join_open(our_side: str, chunk: int | None = None, **options: Any) -> Link:
    link = join(our_side, chunk, **options)
    assert link.ours.state is State.OPEN
    link.our_events.clear()
    link.their_events.clear()
    return link


both_sides = pytest.mark.parametrize("our_side", SIDES)
any_chunks = pytest.mark.parametrize("chunk", CHUNKS)


# Opening


@any_chunks
def test_our_client_opens(chunk: int | None) -> None:
    answer = events.AcceptConnection(subprotocol="chat", extra_headers=[(b"x-theirs", b"their value")])
    link = join(
        "client",
        chunk,
        answer=answer,
        subprotocols=["superchat", "chat"],
        origin="https://example.com",
        extra_headers={"X-Ours": "our value"},
    )
    (request,) = link.their_events
    assert (request.host, request.target) == ("example.com:8080", "/chat?room=1")
    assert request.subprotocols == ["superchat", "chat"]
    headers = dict(request.extra_headers)
    assert headers[b"origin"] == b"https://example.com"
    assert headers[b"x-ours"] == b"our value"
    assert headers[b"user-agent"].startswith(b"wsproto-core/")
    assert link.ours.state is State.OPEN
    assert link.ours.subprotocol == "chat"
    (response,) = link.our_events
    assert isinstance(response, Response)
    assert response.headers["X-Theirs"] == "their value"


@any_chunks
def test_their_client_opens(chunk: int | None) -> None:
    request = {"subprotocols": ["superchat", "chat"], "extra_headers": [(b"Origin", b"https://example.com")]}
    link = join(
        "server",
        chunk,
        request=request,
        subprotocols=["chat"],
        origins=["https://example.com"],
        extra_headers={"X-Ours": "our value"},
    )
    assert link.ours.request is not None
    assert link.ours.request.path == "/chat?room=1"
    assert link.ours.request.headers["Host"] == "example.com:8080"
    assert link.ours.state is State.OPEN
    assert link.ours.subprotocol == "chat"
    (accepted,) = link.their_events
    assert isinstance(accepted, events.AcceptConnection)
    assert accepted.subprotocol == "chat"
    assert (b"x-ours", b"our value") in accepted.extra_headers


def test_their_offer_of_compression_is_declined() -> None:
    link = join("server", request={"extensions": [extensions.PerMessageDeflate()]}, compression=None)
    assert link.ours.request is not None
    assert "permessage-deflate" in link.ours.request.headers["Sec-WebSocket-Extensions"]
    (accepted,) = link.their_events
    assert isinstance(accepted, events.AcceptConnection)
    assert accepted.extensions == []
    assert link.ours.extensions == ()
    link.send(events.TextMessage("compressible" * 1000))
    assert link.our_events[-1] == "compressible" * 1000


def test_their_server_does_not_compress_what_was_not_offered() -> None:
    answer = events.AcceptConnection(extensions=[extensions.PerMessageDeflate()])
    link = join("client", answer=answer, compression=None)
    assert link.ours.state is State.OPEN
    assert link.ours.extensions == ()


@any_chunks
def test_their_server_refuses(chunk: int | None) -> None:
    answer = events.RejectConnection(status_code=403, headers=[(b"content-length", b"8")], has_body=True)
    link = join("client", chunk, answer=answer)
    link.send(events.RejectData(b"not here"))
    error = link.ours.handshake_error
    assert isinstance(error, InvalidStatusCode)
    assert error.status_code == 403
    assert link.ours.response is not None
    assert link.ours.response.body == b"not here"
    assert link.ours.stream_action is StreamAction.CLOSE


@any_chunks
@pytest.mark.parametrize(
    ("origins", "status"), [(["https://example.org"], 403), (["https://example.com", None], 101)]
)
def test_our_server_checks_the_origin(chunk: int | None, origins: list[Any], status: int) -> None:
    request = {"extra_headers": [(b"Origin", b"https://example.com")]}
    link = join("server", chunk, request=request, origins=origins)
    assert link.ours.response is not None
    assert link.ours.response.status == status
    if status == 101:
        assert isinstance(link.their_events[0], events.AcceptConnection)
    else:
        assert link.their_events[0].status_code == status
        assert body(link.their_events) == link.ours.response.body


@any_chunks
def test_our_server_refuses(chunk: int | None) -> None:
    clock = Clock()
    server = ServerProtocol(clock=clock)
    link = Link(server, CLIENT, clock, chunk)
    link.refusal = make_response(503, {"Retry-After": "5"}, "busy")
    link.send(events.Request("example.com", "/"))
    rejected = link.their_events[0]
    assert rejected.status_code == 503
    assert (b"retry-after", b"5") in rejected.headers
    assert body(link.their_events) == b"busy"
    assert server.stream_action is StreamAction.SEND_EOF


def body(their_events: list[Any]) -> bytes:
    return b"".join(event.data for event in their_events if isinstance(event, events.RejectData))


# Messages

MESSAGES: list[str | bytes] = [
    "",
    b"",
    "Hello, world!",
    "Grüße, 世界, 🎉",
    bytes(range(125)),
    bytes(range(126)),
    "x" * 127,
]
LARGE: list[str | bytes] = ["é" * 32767 + "x", b"\xfe" * 65536, "🎉" * 2**18, b"\x00\x01" * 2**19]


@both_sides
@any_chunks
def test_messages(our_side: str, chunk: int | None) -> None:
    messages = MESSAGES if chunk in (1, 3) else MESSAGES + LARGE
    link = join_open(our_side, chunk, max_queue=None)
    for message in messages:
        link.ours.send(message)
        link.run()
        text = isinstance(message, str)
        link.send(events.TextMessage(message) if text else events.BytesMessage(message))
    assert link.their_messages == messages
    assert link.our_events == messages


@both_sides
@any_chunks
def test_our_fragments_with_a_ping_between_them(our_side: str, chunk: int | None) -> None:
    link = join_open(our_side, chunk)
    link.ours.send("Gr", fin=False)
    link.ours.ping("between")
    link.ours.send("", fin=False)
    link.ours.send("üße", fin=False)
    link.ours.end_message()
    link.run()
    assert link.their_messages == ["Grüße"]
    assert link.their_events == [events.Ping(b"between")]
    (pong,) = link.our_events
    assert isinstance(pong, Pong)
    assert [data for data, _ in pong.answered] == [b"between"]


@both_sides
@any_chunks
def test_their_fragments_with_a_ping_between_them(our_side: str, chunk: int | None) -> None:
    link = join_open(our_side, chunk)
    link.send(
        events.BytesMessage(b"\x00\xff", message_finished=False),
        events.Ping(b"between"),
        events.BytesMessage(b"", message_finished=False),
        events.BytesMessage(b"\x01", message_finished=True),
    )
    assert link.our_events == [Ping(b"between"), b"\x00\xff\x01"]
    assert link.their_events == [events.Pong(b"between")]


@both_sides
def test_keepalive(our_side: str) -> None:
    link = join_open(our_side, ping_interval=20, ping_timeout=20)
    for _ in range(3):
        link.clock.advance(20)
        link.ours.handle_timeout()
        link.run()
    assert [type(event) for event in link.their_events] == [events.Ping] * 3
    assert [len(pong.answered) for pong in link.our_events] == [1] * 3
    assert link.ours.state is State.OPEN


# Compression

NOISE = random.Random(7692)
SAMPLE = NOISE.randbytes(75).hex()
BLOCK = NOISE.randbytes(1500).hex()
INCOMPRESSIBLE = NOISE.randbytes(3000)
TO_COMPRESS: list[str | bytes] = [
    "",
    "x",
    SAMPLE,
    b"",
    SAMPLE.encode(),
    INCOMPRESSIBLE,
    "",
    BLOCK + "Grüße, 世界, 🎉" * 100 + BLOCK,
    INCOMPRESSIBLE * 3,
    b"\x00" * 70000,
    SAMPLE,
]


def join_compressed(
    our_side: str,
    ours: Deflate,
    theirs: Deflate,
    chunk: int | None = None,
    *,
    idle_timeout: float | None = None,
    max_size: int = 2**20,
) -> Link:
    """Open a connection on which both sides ask for this."""
    factory = ClientPerMessageDeflateFactory if our_side == "client" else ServerPerMessageDeflateFactory
    supported = [extensions.PerMessageDeflate(**asdict(theirs))]
    return join_open(
        our_side,
        chunk,
        answer=events.AcceptConnection(extensions=supported),
        request={"extensions": supported},
        extensions=[factory(**asdict(ours), idle_timeout=idle_timeout)],
        max_queue=None,
        max_size=max_size,
    )


def agreed_by(link: Link) -> Agreed:
    (extension,) = link.ours.extensions
    assert isinstance(extension, PerMessageDeflate)
    return Agreed(**{name: getattr(extension, name) for name in Agreed.__annotations__})


def cost_of_sending(link: Link, message: str | bytes, compress: bool | None = None) -> int:
    """Send a message to the peer; return the bytes that it took."""
    before = link.ours.statistics.bytes_sent
    link.ours.send(message, compress=compress)
    link.run()
    assert link.their_messages == [message]
    link.their_messages.clear()
    return link.ours.statistics.bytes_sent - before


def cost_of_receiving(link: Link, message: str | bytes) -> int:
    """Let the peer send a message; return the bytes that it took."""
    before = link.ours.statistics.bytes_received
    text = isinstance(message, str)
    link.send(events.TextMessage(message) if text else events.BytesMessage(message))
    assert link.our_events == [message]
    # For its limits, the application has taken it.
    link.our_events.clear()
    return link.ours.statistics.bytes_received - before


def check_compression(link: Link, agreed: Agreed) -> None:
    """Pass messages in both directions, and see from their cost that both ends do as agreed."""
    assert agreed_by(link) == agreed
    for cost, no_context_takeover, bits in (
        (cost_of_sending, agreed.local_no_context_takeover, agreed.local_max_window_bits),
        (cost_of_receiving, agreed.remote_no_context_takeover, agreed.remote_max_window_bits),
    ):
        assert 75 < cost(link, SAMPLE) < 150
        again = cost(link, SAMPLE)
        assert 75 < again < 150 if no_context_takeover else again < 30
        blocks = cost(link, 4 * BLOCK)
        assert 1500 < blocks < 2500 if bits >= 12 else 6000 < blocks < 10000
    for message in TO_COMPRESS:
        cost_of_sending(link, message)
        cost_of_receiving(link, message)


any_takeover = pytest.mark.parametrize(
    ("server_forgets", "client_forgets"), [(False, False), (True, False), (False, True), (True, True)]
)
BITS = [None, *range(9, 16)]


@both_sides
@any_takeover
@pytest.mark.parametrize("client_bits", BITS)
@pytest.mark.parametrize("server_bits", BITS)
@pytest.mark.parametrize("who_asks", ["we", "they"])
def test_parameters_of_compression(
    our_side: str,
    server_forgets: bool,
    client_forgets: bool,
    server_bits: int | None,
    client_bits: int | None,
    who_asks: str,
) -> None:
    asked = Deflate(server_forgets, client_forgets, server_bits, client_bits)
    nothing = Deflate(client_max_window_bits=True if our_side == "client" and who_asks == "they" else None)
    if who_asks == "they" and our_side == "client":
        # Its server does not tell the client about a window that the client has not mentioned.
        asked = Deflate(server_forgets, client_forgets, None, client_bits)
        server_bits = None
    ours, theirs = (asked, nothing) if who_asks == "we" else (nothing, asked)
    link = join_compressed(our_side, ours, theirs)
    client, server = (client_forgets, client_bits or 15), (server_forgets, server_bits or 15)
    local, remote = (client, server) if our_side == "client" else (server, client)
    check_compression(link, Agreed(local[0], remote[0], local[1], remote[1]))


@both_sides
def test_compression_by_default(our_side: str) -> None:
    supported = [extensions.PerMessageDeflate()]
    answer = events.AcceptConnection(extensions=supported)
    link = join_open(our_side, answer=answer, request={"extensions": supported}, max_queue=None)
    # Their server asks for nothing, and our client neither.
    bits = 15 if our_side == "client" else 12
    check_compression(link, Agreed(False, False, bits, bits))


@pytest.mark.parametrize("side", ["client", "server"])
def test_their_server_declines_a_window_of_8_bits(side: str) -> None:
    link = join_compressed("client", Deflate(**{f"{side}_max_window_bits": 8}), Deflate())
    assert link.ours.extensions == ()
    assert cost_of_sending(link, SAMPLE) > 150


@both_sides
@any_chunks
@pytest.mark.parametrize("asked", [Deflate(), Deflate(True, True, 9, 9)], ids=["lavish", "frugal"])
def test_compressed_fragments(our_side: str, chunk: int | None, asked: Deflate) -> None:
    link = join_compressed(our_side, asked, Deflate(), chunk)
    fragments = ["Gr", "", "üße", SAMPLE, SAMPLE, ""]
    for compress in (None, True, False):
        # No ping between them: wsproto would take the rest for uncompressed.
        for fragment in fragments:
            link.ours.send(fragment, fin=False, compress=compress)
        link.ours.end_message()
        link.run()
        assert link.their_messages == ["".join(fragments)]
        link.their_messages.clear()
        link.send(*(events.TextMessage(fragment, message_finished=False) for fragment in fragments))
        assert link.our_events == []
        link.send(events.Ping(b"between"), events.TextMessage("!", message_finished=True))
        assert link.our_events == [Ping(b"between"), "".join(fragments) + "!"]
        link.our_events.clear()
        cost_of_sending(link, SAMPLE)
        cost_of_receiving(link, SAMPLE)


@both_sides
def test_compressed_bytes_one_by_one(our_side: str) -> None:
    link = join_compressed(our_side, Deflate(), Deflate(), 1)
    for message in ["", SAMPLE, SAMPLE.encode(), b"", "é" * 10000, INCOMPRESSIBLE]:
        cost_of_sending(link, message)
        cost_of_receiving(link, message)


@both_sides
@pytest.mark.parametrize("asked", [Deflate(), Deflate(True, True, 9, 9)], ids=["lavish", "frugal"])
def test_large_compressed_messages(our_side: str, asked: Deflate) -> None:
    size = 3 * 2**20
    link = join_compressed(our_side, asked, Deflate(), max_size=size + 2**20)
    noise = random.Random(4).randbytes(size)
    for message in ("é" * (size // 2), bytes(size)):
        assert cost_of_sending(link, message) < size / 50
        assert cost_of_receiving(link, message) < size / 50
    assert size < cost_of_sending(link, noise) < size + 20
    assert size < cost_of_receiving(link, noise) < size * 1.01


@both_sides
def test_messages_compressed_or_not(our_side: str) -> None:
    link = join_compressed(our_side, Deflate(), Deflate())
    overhead = 6 if our_side == "client" else 2
    assert cost_of_sending(link, "x" * 63) == 63 + overhead
    assert cost_of_sending(link, "x" * 64) < 20
    assert cost_of_sending(link, "y" * 63, compress=True) < 20
    assert cost_of_sending(link, "y" * 100, compress=False) == 100 + overhead
    assert cost_of_sending(link, "", compress=True) == 1 + overhead
    assert cost_of_sending(link, "", compress=True) == 1 + overhead
    assert cost_of_sending(link, INCOMPRESSIBLE) == 3000 + overhead + 2
    assert cost_of_sending(link, INCOMPRESSIBLE, compress=True) > 3000 + overhead + 2
    assert cost_of_sending(link, INCOMPRESSIBLE) < 100


@both_sides
@pytest.mark.parametrize("bits", [9, 15])
def test_compression_after_idling(our_side: str, bits: int) -> None:
    link = join_compressed(our_side, Deflate(False, False, bits, bits), Deflate(), idle_timeout=30)
    for _ in range(2):
        cost_of_sending(link, SAMPLE)
        cost_of_receiving(link, SAMPLE)
        # The first time there were messages since the last one.
        for _ in range(2):
            link.clock.advance(30)
            link.ours.handle_timeout()
            link.run()
        # Their compressor still knows what it has sent, and we must too. Ours starts anew.
        link.our_events.clear()
        assert cost_of_receiving(link, SAMPLE) < 30
        assert 75 < cost_of_sending(link, SAMPLE) < 150
        assert cost_of_sending(link, SAMPLE) < 30


@both_sides
def test_an_inflated_message_too_big_for_us(our_side: str) -> None:
    link = join_compressed(our_side, Deflate(), Deflate(), max_size=1000)
    link.send(events.TextMessage("x" * 1000))
    assert link.our_events == ["x" * 1000]
    link.send(events.TextMessage("x" * 1001))
    (close,) = link.their_events
    assert close.code == CloseCode.MESSAGE_TOO_BIG


# Closing

CLOSES = [(1000, ""), (1001, "going away"), (1011, "x" * 123), (3000, "größer"), (4999, "世" * 41)]


@both_sides
@any_chunks
@pytest.mark.parametrize(("code", "reason"), CLOSES)
def test_we_close(our_side: str, chunk: int | None, code: int, reason: str) -> None:
    link = join_open(our_side, chunk)
    link.ours.send("last words")
    link.ours.close(code, reason)
    link.run()
    assert link.their_messages == ["last words"]
    (close,) = link.their_events
    assert (close.code, close.reason or "") == (code, reason)
    assert link.theirs.state.name == "CLOSED"
    assert link.our_events == [Close(code, reason)]
    assert link.ours.close_exception().received_first is False
    # RFC 6455 section 7.1.1: the server ends TCP.
    expected = StreamAction.SEND_EOF if our_side == "server" else StreamAction.KEEP
    assert link.ours.stream_action is expected


@both_sides
@any_chunks
@pytest.mark.parametrize(("code", "reason"), CLOSES)
def test_they_close(our_side: str, chunk: int | None, code: int, reason: str) -> None:
    link = join_open(our_side, chunk)
    link.send(events.TextMessage("last words"), events.CloseConnection(code, reason))
    assert link.our_events == ["last words", Close(code, reason)]
    (close,) = link.their_events
    assert close.code == code
    assert link.theirs.state.name == "CLOSED"
    error = link.ours.close_exception()
    assert type(error) is (ConnectionClosedOK if code < 1002 else ConnectionClosedError)
    assert (error.code, error.reason, error.received_first) == (code, reason, True)


@both_sides
def test_close_frames_without_a_code(our_side: str) -> None:
    link = join_open(our_side)
    link.ours.close(CloseCode.NO_STATUS_RECEIVED)
    link.run()
    assert [event.code for event in link.their_events] == [1005]
    assert link.our_events == [Close(1005, "")]

    link = join_open(our_side)
    # wsproto sends 1000 if this is merely the same number.
    link.send(events.CloseConnection(CloseReason.NO_STATUS_RCVD))
    assert link.our_events == [Close(1005, "")]
    assert link.theirs.state.name == "CLOSED"


@both_sides
def test_both_close(our_side: str) -> None:
    link = join_open(our_side)
    link.ours.close(4001, "ours")
    link.send(events.CloseConnection(4002, "theirs"))
    assert link.our_events == [Close(4002, "theirs")]
    assert link.their_events == [events.CloseConnection(4001, "ours")]
    assert link.theirs.state.name == "CLOSED"
    assert link.ours.close_code == 4002


@both_sides
@any_chunks
@pytest.mark.parametrize("fragments", [1, 3])
def test_a_message_too_big_for_us(our_side: str, chunk: int | None, fragments: int) -> None:
    link = join_open(our_side, chunk, max_size=1000)
    link.send(events.BytesMessage(b"x" * 1000))
    size = 1001 // fragments + 1
    for number in range(fragments):
        link.send(events.BytesMessage(b"x" * size, message_finished=number == fragments - 1))
    message, failure = link.our_events
    assert message == b"x" * 1000
    assert isinstance(failure, Failure)
    (close,) = link.their_events
    assert close.code == CloseCode.MESSAGE_TOO_BIG
    assert failure.close == Close(1009, close.reason)


@both_sides
def test_the_stream_ends(our_side: str) -> None:
    link = join_open(our_side)
    link.ours.receive_eof()
    link.run()
    # One attempt to tell; it may have ended its half only.
    assert [type(event) for event in link.their_events] == [events.CloseConnection]
    assert link.ours.close_code == CloseCode.ABNORMAL_CLOSURE

    link = join_open(our_side)
    link.theirs.receive_data(None)
    assert list(link.theirs.events()) == [events.CloseConnection(1006)]
