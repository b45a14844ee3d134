"""Opening handshakes between the two ends of this package, and what wsproto does not check."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters import wsproto
from adapters.wsproto.connection import CLIENT, SERVER, ConnectionState
from adapters.wsproto.events import (
    AcceptConnection,
    Event,
    Ping,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from adapters.wsproto.extensions import PerMessageDeflate
from adapters.wsproto.handshake import client_extensions_handshake, server_extensions_handshake
from adapters.wsproto.utilities import LocalProtocolError, RemoteProtocolError, split_comma_header

HEADERS = [
    (b"Host", b"localhost"),
    (b"Upgrade", b"websocket"),
    (b"Connection", b"keep-alive, Upgrade"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Sec-WebSocket-Version", b"13"),
]
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
)


def request(headers: list[tuple[bytes, bytes]] = HEADERS, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([line, *(b"%b: %b" % field for field in headers), b"", b""])


def replaced(name: bytes, *values: bytes) -> list[tuple[bytes, bytes]]:
    return [field for field in HEADERS if field[0] != name] + [(name, value) for value in values]


def connect(**arguments: Any) -> tuple[wsproto.WSConnection, wsproto.WSConnection, Request]:
    client, server = wsproto.WSConnection(CLIENT), wsproto.WSConnection(SERVER)
    server.receive_data(client.send(Request("localhost", "/chat?a=b", **arguments)))
    (event,) = server.events()
    assert isinstance(event, Request)
    return client, server, event


def answers(client: wsproto.WSConnection, data: bytes, size: int = 2**16) -> list[Event]:
    found: list[Event] = []
    for start in range(0, len(data), size):
        client.receive_data(data[start : start + size])
        found += client.events()
    return found


@pytest.mark.parametrize("size", [1, 2**16])
def test_handshake(size: int) -> None:
    client, server, event = connect(
        subprotocols=["a", "b"], extensions=[PerMessageDeflate()], extra_headers=[(b"X-One", b"1")]
    )
    assert (event.host, event.target, event.subprotocols) == ("localhost", "/chat?a=b", ["a", "b"])
    assert event.extensions == ["permessage-deflate; client_max_window_bits=15; server_max_window_bits=15"]
    assert (b"x-one", b"1") in event.extra_headers
    data = server.send(AcceptConnection("b", [PerMessageDeflate()], [(b"X-Two", b"2")]))
    data += server.send(TextMessage("x" * 100))
    accepted, *messages = answers(client, data, size)
    assert isinstance(accepted, AcceptConnection)
    assert (accepted.subprotocol, accepted.extra_headers) == ("b", [(b"x-two", b"2")])
    assert [extension.enabled() for extension in accepted.extensions] == [True]
    assert "".join(each.data for each in messages if isinstance(each, TextMessage)) == "x" * 100
    assert client.state is server.state is ConnectionState.OPEN


def test_frames_behind_the_request_are_kept() -> None:
    server = wsproto.WSConnection(SERVER)
    ping = bytes.fromhex("898100000000") + b"x"
    server.receive_data(request() + ping)
    server.receive_data(ping)
    assert len(list(server.events())) == 1
    server.send(AcceptConnection())
    assert list(server.events()) == [Ping(b"x"), Ping(b"x")]


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        (request(line=b"POST / HTTP/1.1"), 405, "Request method must be GET"),
        (request(line=b"GET / HTTP/1.0"), 505, "Request version must be HTTP/1.1"),
        (request(replaced(b"Upgrade")), 400, "Missing header, 'Upgrade: websocket'"),
        (request(replaced(b"Sec-WebSocket-Key", b"short")), 400, "Missing header, 'Sec-WebSocket-Key'"),
        (request(replaced(b"Sec-WebSocket-Key", b"a", b"b")), 400, "Missing header, 'Sec-WebSocket-Key'"),
        (request(replaced(b"Sec-WebSocket-Version")), 400, "Missing header, 'Sec-WebSocket-Version'"),
        (request(replaced(b"Sec-WebSocket-Version", b"8")), 426, "Missing header, 'Sec-WebSocket-Version'"),
        (request(replaced(b"Host", b"xn--0")), 400, "Malformed header, 'Host'"),
        (
            request(replaced(b"Sec-WebSocket-Protocol", b"a b")),
            400,
            "Missing header, 'Sec-WebSocket-Protocol'",
        ),
        (request(replaced(b"X", b"a" * 100_000)), 431, "Bad HTTP message"),
        (b"\x16\x03\x01", 400, "Bad HTTP message"),
    ],
)
def test_bad_request(data: bytes, status: int, message: str) -> None:
    server = wsproto.WSConnection(SERVER)
    with pytest.raises(RemoteProtocolError) as caught:
        server.receive_data(data)
    assert str(caught.value) == message
    assert isinstance(caught.value.event_hint, RejectConnection)
    assert caught.value.event_hint.status_code == status
    assert server.send(caught.value.event_hint).startswith(b"HTTP/1.1 %d " % status)
    assert server.state is ConnectionState.CLOSED


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "'Connection: Upgrade'"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "Bad HTTP message"),
        (ACCEPTED + b"\r\n", "Bad accept token"),
    ],
)
def test_bad_response(data: bytes, message: str) -> None:
    client, _, _ = connect()
    with pytest.raises(RemoteProtocolError, match=message) as caught:
        client.receive_data(data)
    # A client has no way to answer.
    assert caught.value.event_hint is None


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("Sec-WebSocket-Extensions: foo", "unrecognized extension foo"),
        ("Sec-WebSocket-Extensions: =", "Malformed header"),
        ("Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate", "unrecognized extension"),
        ("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16", "16"),
        ("Sec-WebSocket-Protocol: a, b", "unrecognized subprotocol a, b"),
    ],
)
def test_bad_acceptance(header: str, message: str) -> None:
    client, server, _ = connect(subprotocols=["a", "b"], extensions=[PerMessageDeflate()])
    data = server.send(AcceptConnection()).replace(b"\r\n\r\n", b"\r\n%b\r\n\r\n" % header.encode())
    with pytest.raises(RemoteProtocolError, match=message):
        client.receive_data(data)


def test_response_before_the_request() -> None:
    with pytest.raises(RemoteProtocolError, match="Bad HTTP message"):
        wsproto.WSConnection(CLIENT).receive_data(ACCEPTED + b"\r\n")


def test_interim_response() -> None:
    client, server, _ = connect()
    data = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + server.send(AcceptConnection())
    assert answers(client, data) == [AcceptConnection()]


@pytest.mark.parametrize("headers", [[], [(b"Content-Length", b"8")]], ids=["chunked", "length"])
@pytest.mark.parametrize("size", [1, 2**16])
def test_refusal_in_parts(headers: list[tuple[bytes, bytes]], size: int) -> None:
    client, server, _ = connect()
    data = server.send(RejectConnection(403, headers, has_body=True))
    assert server.state is ConnectionState.REJECTING
    data += server.send(RejectData(b"not ", body_finished=False)) + server.send(RejectData(b"here"))
    assert server.state is ConnectionState.CLOSED
    head, body, end = answers(client, data, size)
    assert isinstance(head, RejectConnection)
    assert (head.status_code, head.has_body) == (403, True)
    assert (body, end) == (RejectData(b"not here", False), RejectData(b"", True))
    assert client.state is ConnectionState.CLOSED
    client.receive_data(b"more")
    assert list(client.events()) == []


def test_refusal_that_is_not_as_long_as_it_says() -> None:
    _, server, _ = connect()
    server.send(RejectConnection(403, [(b"Content-Length", b"8")], has_body=True))
    with pytest.raises(LocalProtocolError, match="Too little data"):
        server.send(RejectData(b"short"))


@pytest.mark.parametrize("end", [None, b""])
def test_end_of_the_stream(end: bytes | None) -> None:
    for side in CLIENT, SERVER:
        connection = wsproto.WSConnection(side)
        connection.receive_data(end)
        assert list(connection.events()) == []
        connection.receive_data(b"HTTP/1.1 1" if side is CLIENT else b"GET / H")
        with pytest.raises(RemoteProtocolError, match="Bad HTTP message"):
            connection.receive_data(end)


def test_end_of_the_stream_ends_a_body() -> None:
    client, _, _ = connect()
    client.receive_data(b"HTTP/1.1 500 Oops\r\n\r\nwhat")
    client.receive_data(None)
    _, body, end = client.events()
    assert (body, end) == (RejectData(b"what", False), RejectData(b"", True))


@pytest.mark.parametrize(
    ("side", "event"),
    [
        (CLIENT, AcceptConnection()),
        (CLIENT, RejectConnection()),
        (CLIENT, RejectData(b"")),
        (CLIENT, Request("localhost", "/a b")),
        (CLIENT, Request("localhost", "/", extra_headers=[(b"a", b"b\nc")])),
        (SERVER, Request("localhost", "/")),
        (SERVER, AcceptConnection()),
        (SERVER, RejectData(b"")),
        (SERVER, Ping()),
    ],
)
def test_event_that_cannot_be_sent(side: wsproto.ConnectionType, event: Event) -> None:
    connection = wsproto.WSConnection(side)
    with pytest.raises(LocalProtocolError):
        connection.send(event)
    assert connection.state is ConnectionState.CONNECTING


def test_answers_that_cannot_be_sent() -> None:
    client, server, _ = connect()
    with pytest.raises(LocalProtocolError):
        client.send(Request("localhost", "/"))
    for event in AcceptConnection("x"), AcceptConnection(extra_headers=[(b"a", b"b\nc")]):
        with pytest.raises(LocalProtocolError):
            server.send(event)
    server.send(AcceptConnection())
    with pytest.raises(LocalProtocolError):
        server.handshake.send(RejectConnection())
    with pytest.raises(LocalProtocolError):
        server.handshake.send(AcceptConnection())


def test_headers_may_be_texts() -> None:
    headers: Any = [("X-One", "1")]
    _, server, event = connect(extra_headers=headers)
    assert (b"x-one", b"1") in event.extra_headers
    assert b"X-One: 1\r\n" in server.send(AcceptConnection(extra_headers=headers))


# Extensions


def accept(offer: str, **wanted: Any) -> tuple[PerMessageDeflate, bytes | None]:
    extension = PerMessageDeflate(**wanted)
    return extension, server_extensions_handshake(split_comma_header(offer.encode()), [extension])


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("permessage-deflate", b"permessage-deflate"),
        ("foo, permessage-deflate", b"permessage-deflate"),
        ("permessage-deflate; client_max_window_bits", b"permessage-deflate; client_max_window_bits=15"),
        ("permessage-deflate; server_max_window_bits=8", b"permessage-deflate; server_max_window_bits=8"),
        ("permessage-deflate; foo, permessage-deflate", b"permessage-deflate"),
        # "the server accepts at most one" (RFC 7692 section 5.1)
        (
            "permessage-deflate; server_max_window_bits=10, permessage-deflate; server_max_window_bits=9",
            b"permessage-deflate; server_max_window_bits=10",
        ),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; server_max_window_bits=10; server_max_window_bits=11", None),
        ("foo", None),
    ],
)
def test_accepted_offers(offer: str, answer: bytes | None) -> None:
    extension, given = accept(offer)
    assert given == answer
    assert extension.enabled() is (answer is not None)


def test_accepted_parameters() -> None:
    extension, answer = accept(
        "permessage-deflate; client_max_window_bits=10; server_max_window_bits=11",
        client_max_window_bits=12,
        server_max_window_bits=9,
        client_no_context_takeover=True,
    )
    assert (extension.client_max_window_bits, extension.server_max_window_bits) == (10, 9)
    assert extension.client_no_context_takeover
    client = PerMessageDeflate(client_max_window_bits=12, server_max_window_bits=11)
    assert answer is not None
    assert client_extensions_handshake([answer.decode()], [client]) == [client]
    assert repr(client) == repr(extension)


def test_client_keeps_to_its_own_window() -> None:
    extension = PerMessageDeflate(client_max_window_bits=10, client_no_context_takeover=True)
    extension.finalize("permessage-deflate")
    assert extension.client_max_window_bits == 10
    assert extension.client_no_context_takeover


@pytest.mark.parametrize("bits", [8, 16])
def test_window_that_is_not_allowed(bits: int) -> None:
    with pytest.raises(ValueError, match="between 9 and 15"):
        PerMessageDeflate(client_max_window_bits=bits)
    with pytest.raises(ValueError, match="between 9 and 15"):
        PerMessageDeflate(server_max_window_bits=bits)


CHANGES = st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=3)), max_size=3)


@given(st.booleans(), CHANGES, st.integers(1, 400))
def test_wrong_bytes(to_client: bool, changes: list[tuple[int, bytes]], size: int) -> None:
    """Whatever the peer sends, the error says that it is the peer's."""
    connection, server, _ = connect(extensions=[PerMessageDeflate()], subprotocols=["a"])
    data = server.send(AcceptConnection("a", [PerMessageDeflate()], [(b"X-Two", b"2")]))
    if not to_client:
        connection = wsproto.WSConnection(SERVER)
        data = request(
            [*HEADERS, (b"Sec-WebSocket-Extensions", b"permessage-deflate; client_max_window_bits")]
        )
    for position, replacement in changes:
        data = data[:position] + replacement + data[position + len(replacement) :]
    try:
        answers(connection, data, size)
        connection.receive_data(None)
    except RemoteProtocolError:
        assert connection.state is not ConnectionState.OPEN
