"""What is sent, byte by byte: messages, fragments, pings and pongs."""

from __future__ import annotations

from typing import Any

import pytest

from wsproto_core import ConnectionClosed, InvalidState, Protocol, Side, State

from .helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MASKING_KEY,
    PING,
    PONG,
    TEXT,
    Clock,
    Frame,
    both_sides,
    feed,
    from_peer,
    opened,
    opened_client,
    opened_server,
    sent,
    transfer,
    written,
)


def test_bytes_of_a_server() -> None:
    """RFC 6455 section 5.7: a single unmasked text frame."""
    server = opened_server()
    server.send("Hello")
    assert server.data_to_send() == [b"\x81\x05Hello"]


def test_bytes_of_a_client() -> None:
    """RFC 6455 section 5.7: a single masked text frame."""
    client = opened_client(random=lambda count: MASKING_KEY if count == 4 else b"x" * count)
    client.send("Hello")
    assert client.data_to_send() == [b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"]


@both_sides
@pytest.mark.parametrize(
    ("message", "frame"),
    [
        ("", Frame(TEXT)),
        ("grüße", Frame(TEXT, "grüße".encode())),
        (b"", Frame(BINARY)),
        (b"\0\xff", Frame(BINARY, b"\0\xff")),
        (bytearray(b"abc"), Frame(BINARY, b"abc")),
        (memoryview(b"abc"), Frame(BINARY, b"abc")),
        (memoryview(b"abcdef")[::2], Frame(BINARY, b"ace")),
    ],
)
def test_the_type_of_a_message(side: Side, message: Any, frame: Frame) -> None:
    protocol = opened(side)
    protocol.send(message)
    assert sent(protocol) == [frame]


@both_sides
def test_the_type_is_forced(side: Side) -> None:
    protocol = opened(side)
    protocol.send(b"text", text=True)
    protocol.send("binary", text=False)
    protocol.send_text("text")
    protocol.send_text("ü".encode())
    protocol.send_binary("ü")
    protocol.send_binary(bytearray(b"\xff"))
    assert sent(protocol) == [
        Frame(TEXT, b"text"),
        Frame(BINARY, b"binary"),
        Frame(TEXT, b"text"),
        Frame(TEXT, "ü".encode()),
        Frame(BINARY, "ü".encode()),
        Frame(BINARY, b"\xff"),
    ]


@both_sides
def test_what_is_no_message(side: Side) -> None:
    protocol = opened(side)
    for message in (None, 1, ["a"], {"a": "b"}):
        with pytest.raises(TypeError, match="data must be str or bytes-like, not"):
            protocol.send(message)  # type: ignore[arg-type]
    with pytest.raises(UnicodeDecodeError):
        protocol.send_text(b"\xff")
    with pytest.raises(UnicodeEncodeError):
        protocol.send("\ud800")
    assert sent(protocol) == []
    assert protocol.statistics.messages_sent == 0


@both_sides
@pytest.mark.parametrize("size", [125, 126, 65535, 65536, 2**20])
def test_sizes(side: Side, size: int) -> None:
    """A large payload is not copied behind its header: there are two buffers."""
    protocol = opened(side)
    protocol.send(b"x" * size)
    buffers = protocol.data_to_send()
    assert len(buffers) == (1 if size < 16384 else 2)
    protocol.data_sent()
    other = opened(Side.CLIENT if side is Side.SERVER else Side.SERVER)
    assert feed(other, b"".join(buffers)) == [b"x" * size]


@both_sides
def test_fragments(side: Side) -> None:
    protocol = opened(side)
    protocol.send("a", fin=False)
    protocol.send("b", fin=False)
    protocol.send("c")
    protocol.send(b"d", fin=False)
    protocol.send(b"", fin=True)
    protocol.send("e")
    assert sent(protocol) == [
        Frame(TEXT, b"a", fin=False),
        Frame(CONTINUATION, b"b", fin=False),
        Frame(CONTINUATION, b"c"),
        Frame(BINARY, b"d", fin=False),
        Frame(CONTINUATION),
        Frame(TEXT, b"e"),
    ]
    assert protocol.statistics.messages_sent == 3


@both_sides
def test_fragments_of_bytes_that_are_text(side: Side) -> None:
    """A character may be split across fragments, but not be wrong, nor left incomplete."""
    protocol = opened(side)
    protocol.send_text(b"\xc3", fin=False)
    protocol.send_text(b"\xbc\xe2", fin=False)
    with pytest.raises(UnicodeDecodeError):
        protocol.send_text(b"\x82")
    protocol = opened(side)
    protocol.send_text(b"\xc3", fin=False)
    protocol.send_text(b"\xbc")
    protocol.send_text(b"a")
    assert sent(protocol) == [
        Frame(TEXT, b"\xc3", fin=False),
        Frame(CONTINUATION, b"\xbc"),
        Frame(TEXT, b"a"),
    ]


@both_sides
def test_fragments_of_different_types(side: Side) -> None:
    protocol = opened(side)
    protocol.send("a", fin=False)
    with pytest.raises(TypeError, match="all text or all binary"):
        protocol.send(b"b")
    protocol.send("c")
    assert sent(protocol) == [Frame(TEXT, b"a", fin=False), Frame(CONTINUATION, b"c")]


@both_sides
@pytest.mark.parametrize("message", ["text", b"binary"])
def test_the_end_of_a_message_without_more_data(side: Side, message: Any) -> None:
    protocol = opened(side)
    with pytest.raises(InvalidState, match="no fragmented message is being sent"):
        protocol.end_message()
    protocol.send(message, fin=False)
    protocol.end_message()
    first, last = sent(protocol)
    assert not first.fin
    assert last == Frame(CONTINUATION)
    with pytest.raises(InvalidState, match="no fragmented message is being sent"):
        protocol.end_message()


@both_sides
def test_control_frames_between_fragments(side: Side) -> None:
    protocol = opened(side)
    protocol.send("a", fin=False)
    protocol.ping(b"ping")
    protocol.send("b")
    assert [frame.opcode for frame in sent(protocol)] == [TEXT, PING, CONTINUATION]


@both_sides
def test_ping(side: Side) -> None:
    protocol = opened(side)
    payloads = [
        protocol.ping(),
        protocol.ping(),
        protocol.ping("ü"),
        protocol.ping(b""),
        protocol.ping(b"x" * 125),
    ]
    assert len(payloads[0]) == 4
    assert payloads[0] != payloads[1]
    assert payloads[2:] == ["ü".encode(), b"", b"x" * 125]
    assert sent(protocol) == [Frame(PING, payload) for payload in payloads]


@both_sides
def test_pings_that_are_refused(side: Side) -> None:
    protocol = opened(side, max_pings=3)
    with pytest.raises(ValueError, match="ping payload is 126 bytes, at most 125 fit"):
        protocol.ping(b"x" * 126)
    with pytest.raises(TypeError, match="data must be str or bytes-like, not int"):
        protocol.ping(1)  # type: ignore[arg-type]
    protocol.ping("1")
    with pytest.raises(ValueError, match="a ping with the payload b'1' waits for its pong already"):
        protocol.ping(b"1")
    protocol.ping("2")
    protocol.ping("3")
    with pytest.raises(RuntimeError, match="3 pings wait for their pong already"):
        protocol.ping("4")
    assert len(sent(protocol)) == 3
    # A pong makes room for those that it answers.
    protocol.receive_data(from_peer(protocol, Frame(PONG, b"2")))
    protocol.ping("1")
    protocol.ping("2")
    with pytest.raises(RuntimeError):
        protocol.ping("4")


def test_the_payload_of_a_ping_is_not_one_that_waits() -> None:
    drawn = iter([b"a", b"b", b"a", b"a", b"c"])
    server = opened_server(random=lambda count: next(drawn) * count)
    assert server.ping() == b"aaaa"
    assert server.ping() == b"bbbb"
    assert server.ping() == b"cccc"


def test_pings_without_a_limit() -> None:
    server = opened_server(max_pings=None)
    assert len({server.ping() for _ in range(2000)}) == 2000


@both_sides
def test_pong(side: Side) -> None:
    protocol = opened(side)
    protocol.pong()
    protocol.pong("ü")
    with pytest.raises(ValueError, match="pong payload is 126 bytes"):
        protocol.pong(b"x" * 126)
    assert sent(protocol) == [Frame(PONG), Frame(PONG, "ü".encode())]


@both_sides
def test_nothing_is_sent_twice(side: Side) -> None:
    protocol = opened(side)
    protocol.send("a")
    assert protocol.data_to_send() != []
    assert protocol.data_to_send() == []
    protocol.send("b")
    assert sent(protocol) == [Frame(TEXT, b"b")]


def test_each_side_understands_the_other() -> None:
    client, server = opened_client(), opened_server()
    for one, other in ((client, server), (server, client)):
        one.send("text")
        one.send(b"x" * 70_000)
        one.send("a", fin=False)
        one.ping(b"p")
        one.send("b")
        transfer(one, other)
        assert other.next_message() == "text"
        assert other.next_message() == b"x" * 70_000
        assert other.next_message() == "ab"
        assert other.next_message() is None
        assert Frame(PONG, b"p") in sent(other)


@both_sides
def test_a_stream_that_was_opened_in_another_way(side: Side) -> None:
    """RFC 8441: the opening handshake is somebody else's."""
    protocol = Protocol(side, clock=Clock(), subprotocol="chat", max_size=10)  # type: ignore[arg-type]
    assert protocol.state is State.OPEN
    assert protocol.subprotocol == "chat"
    assert protocol.extensions == ()
    assert (protocol.request, protocol.response, protocol.handshake_error) == (None, None, None)
    assert protocol.deadline() == 1020
    protocol.send("x")
    assert sent(protocol) == [Frame(TEXT, b"x")]
    assert feed(protocol, from_peer(protocol, Frame(TEXT, b"y"))) == ["y"]
    with pytest.raises(TypeError, match="unexpected keyword argument 'origin'"):
        Protocol(side, clock=Clock(), origin="x")  # type: ignore[call-arg]
    protocol.close()
    with pytest.raises(ConnectionClosed):
        protocol.send("x")
    assert [frame.opcode for frame in sent(protocol)] == [CLOSE]


def test_the_clock_must_be_given() -> None:
    with pytest.raises(TypeError, match="clock"):
        Protocol(Side.SERVER)  # type: ignore[call-arg]


def test_the_identifier() -> None:
    server = opened_server(random=lambda count: b"x" * count)
    assert server.id == server.id
    assert server.id.version == 4
    assert opened_server().id != opened_server().id
    assert written(server) == b""
