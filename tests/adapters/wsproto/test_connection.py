"""A connection after its opening handshake: frames as events, in any chunking; errors; the end."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.wsproto.connection import CLIENT, SERVER, Connection, ConnectionState
from adapters.wsproto.events import (
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    TextMessage,
)
from adapters.wsproto.extensions import Extension, PerMessageDeflate
from adapters.wsproto.frame_protocol import CloseReason, Opcode, RsvBits
from adapters.wsproto.utilities import LocalProtocolError

PIECE = 2**17
"""Bytes of a part of a compressed message, at most."""


def frame(first: int, payload: bytes = b"") -> bytes:
    """A frame of a server."""
    assert len(payload) < 65536
    length = len(payload)
    header = bytes((first, length)) if length < 126 else bytes((first, 126)) + length.to_bytes(2, "big")
    return header + payload


def deflated() -> PerMessageDeflate:
    extension = PerMessageDeflate()
    extension.finalize("permessage-deflate")
    return extension


def compressor() -> Callable[[bytes], bytes]:
    stream = zlib.compressobj(wbits=-15)
    return lambda data: (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(
        b"\0\0\xff\xff"
    )


def received(data: bytes, extensions: Iterable[Extension] = ()) -> list[Event]:
    client = Connection(CLIENT, list(extensions), data)
    return list(client.events())


# Parts of messages


def test_fragments_are_told_as_they_arrive() -> None:
    client = Connection(CLIENT)
    data = frame(0x01, b"ab\xc3") + frame(0x80, b"\xa9c")
    client.receive_data(data[:4])
    assert list(client.events()) == [TextMessage("ab", False, False)]
    client.receive_data(data[4:6])
    # Half of a character is kept until there is the rest of it.
    assert list(client.events()) == [TextMessage("", True, False)]
    client.receive_data(data[6:])
    assert list(client.events()) == [TextMessage("éc", True, True)]


def test_control_frames_among_fragments() -> None:
    data = frame(0x02, b"a") + frame(0x89, b"?") + frame(0x00) + frame(0x8A, b"!") + frame(0x80, b"b")
    assert received(data) == [
        BytesMessage(b"a", True, False),
        Ping(b"?"),
        BytesMessage(b"", True, False),
        Pong(b"!"),
        BytesMessage(b"b", True, True),
    ]


def merged(events: Iterable[Event]) -> list[Any]:
    """Events with the parts of each message joined."""
    found: list[Any] = []
    parts: list[Any] = []
    for event in events:
        if not isinstance(event, Message):
            found.append(event)
            continue
        parts.append(event.data)
        if event.message_finished:
            found.append(type(event.data)().join(parts))
            parts.clear()
    return [*found, parts and parts[0][:0] + type(parts[0])().join(parts)]


MESSAGES = st.lists(st.one_of(st.text(max_size=200), st.binary(max_size=300)), max_size=5)


@given(MESSAGES, st.lists(st.integers(1, 60), min_size=1, max_size=8), st.booleans(), st.booleans())
def test_any_chunking(
    messages: list[str | bytes], sizes: list[int], to_server: bool, compressed: bool
) -> None:
    def extensions() -> list[Extension]:
        return [deflated()] if compressed else []

    sender = Connection(CLIENT if to_server else SERVER, extensions())
    receiver = Connection(SERVER if to_server else CLIENT, extensions())
    data = b""
    for message in messages:
        half = len(message) // 2
        event: Any = TextMessage if isinstance(message, str) else BytesMessage
        data += sender.send(event(message[:half], message_finished=False)) + sender.send(Ping(b"x"))
        data += sender.send(event(message[half:]))
    found = []
    position = 0
    turn = 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        receiver.receive_data(data[position : position + size])
        found += receiver.events()
        position += size
        turn += 1
    expected = [each for message in messages for each in (Ping(b"x"), message)]
    assert merged(found) == [*expected, []]


def test_events_are_parsed_when_they_are_asked_for() -> None:
    client = Connection(CLIENT, trailing_data=frame(0x81, b"a") + frame(0x88) + b"more")
    events = client.events()
    assert next(events) == TextMessage("a")
    assert client.state is ConnectionState.OPEN
    assert next(client.events()) == CloseConnection(CloseReason.NO_STATUS_RCVD, "")
    assert client.state is ConnectionState.REMOTE_CLOSING
    assert list(events) == []


# Compression


def test_control_frame_between_compressed_fragments() -> None:
    data = compressor()(b"hello " * 10)
    frames = frame(0x41, data[:4]) + frame(0x89, b"x") + frame(0x80, data[4:])
    assert merged(received(frames, [deflated()])) == [Ping(b"x"), "hello " * 10, []]


def test_compressed_message_is_inflated_in_pieces() -> None:
    size = 50 * PIECE
    client = Connection(CLIENT, [deflated()], frame(0xC2, compressor()(bytes(size))))
    parts = [event.data for event in client.events() if isinstance(event, BytesMessage)]
    assert sum(map(len, parts)) == size
    assert max(map(len, parts)) <= PIECE


def test_program_can_stop_within_a_compressed_message() -> None:
    deflate = compressor()
    data = frame(0xC2, deflate(bytes(10 * PIECE))) + frame(0x89, b"x") + frame(0xC1, deflate(b"next"))
    client = Connection(CLIENT, [deflated()], data)
    first = next(client.events())
    assert isinstance(first, BytesMessage)
    assert (first.frame_finished, first.message_finished) == (False, False)
    rest = list(client.events())
    assert merged([first, *rest]) == [bytes(10 * PIECE), Ping(b"x"), "next", []]


@pytest.mark.parametrize("own", [PerMessageDeflate(), None], ids=["not negotiated", "not there"])
def test_compressed_message_without_compression(own: PerMessageDeflate | None) -> None:
    (event,) = received(frame(0xC1, b"x"), [own] if own is not None else [])
    assert isinstance(event, CloseConnection)
    assert event.code == CloseReason.PROTOCOL_ERROR


def test_broken_compressed_message() -> None:
    (event,) = received(frame(0xC1, b"\xff\xff\xff"), [deflated()])
    assert isinstance(event, CloseConnection)
    assert event.code == CloseReason.INVALID_FRAME_PAYLOAD_DATA


# The end


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(0x83), 1002),
        (frame(0x80), 1002),
        (frame(0x88, b"x"), 1002),
        (frame(0x81, b"\xff"), 1007),
        (frame(0x88, b"\x03\xe8\xff"), 1007),
        (b"\x81\x7e\x00\x01", 1002),
    ],
)
def test_program_can_tell_the_peer_of_its_error(data: bytes, code: int) -> None:
    client = Connection(CLIENT, None, frame(0x81, b"before") + data + frame(0x81, b"behind"))
    before, error = client.events()
    assert before == TextMessage("before")
    assert isinstance(error, CloseConnection)
    assert error.code is CloseReason(code)
    assert error.reason
    assert client.state is ConnectionState.REMOTE_CLOSING
    # Nothing is parsed behind the error, nor kept.
    client.receive_data(frame(0x81, b"later"))
    assert list(client.events()) == []
    with pytest.raises(LocalProtocolError):
        client.send(TextMessage("more"))
    server = Connection(SERVER, None, client.send(error.response()))
    assert list(server.events()) == [error]
    assert client.state is ConnectionState.CLOSED


def test_error_of_the_peer_after_the_close_frame() -> None:
    client = Connection(CLIENT)
    client.send(CloseConnection(1000))
    client.receive_data(frame(0x83))
    (error,) = client.events()
    assert isinstance(error, CloseConnection)
    assert client.state is ConnectionState.CLOSED


def test_end_of_the_stream_behind_messages() -> None:
    client = Connection(CLIENT, None, frame(0x81, b"last"))
    client.receive_data(None)
    assert client.state is ConnectionState.CLOSED
    assert list(client.events()) == [TextMessage("last"), CloseConnection(CloseReason.ABNORMAL_CLOSURE)]
    assert list(client.events()) == []


def test_end_of_the_stream_behind_a_close_frame() -> None:
    client = Connection(CLIENT, None, frame(0x88, b"\x03\xe8"))
    client.receive_data(None)
    assert list(client.events()) == [CloseConnection(CloseReason.NORMAL_CLOSURE, "")]
    assert client.state is ConnectionState.CLOSED


def test_end_of_the_stream_after_the_closing_handshake() -> None:
    client = Connection(CLIENT, None, frame(0x88, b"\x03\xe8"))
    (event,) = client.events()
    assert isinstance(event, CloseConnection)
    client.send(event.response())
    client.receive_data(None)
    assert list(client.events()) == []


def test_close_code_that_was_registered_later() -> None:
    assert received(frame(0x88, b"\x03\xf6")) == [CloseConnection(1014, "")]


# Sending


@pytest.mark.parametrize("code", [999, 1004, 2999, 5000, 70000])
def test_close_code_that_no_frame_may_have(code: int) -> None:
    client = Connection(CLIENT)
    with pytest.raises(LocalProtocolError, match=str(code)):
        client.send(CloseConnection(code))
    assert client.state is ConnectionState.OPEN


def test_control_frame_that_is_too_long() -> None:
    for event in Ping(bytes(126)), Pong(bytes(126)):
        with pytest.raises(ValueError, match="126 bytes"):
            Connection(CLIENT).send(event)


def test_fragments_of_two_types() -> None:
    client = Connection(CLIENT)
    client.send(TextMessage("a", message_finished=False))
    with pytest.raises(TypeError):
        client.send(BytesMessage(b"b"))


# Extensions with hooks


class Upper(Extension):
    """Marks its messages by RSV2, and sends them in the other case; ends received ones with a dot."""

    name = "upper"

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return True

    def frame_inbound_header(
        self, proto: Any, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        if payload_length == 13:
            return CloseReason.POLICY_VIOLATION
        return RsvBits(False, True, False)

    def frame_inbound_payload_data(self, proto: Any, data: bytes) -> bytes | CloseReason:
        return CloseReason.UNSUPPORTED_DATA if b"?" in data else data.swapcase()

    def frame_inbound_complete(self, proto: Any, fin: bool) -> bytes | CloseReason | None:
        return b"." if fin else None

    def frame_outbound(
        self, proto: Any, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        return RsvBits(rsv.rsv1, opcode is Opcode.TEXT, rsv.rsv3), data.swapcase()


def test_hooks() -> None:
    server = Connection(SERVER, [Upper()])
    data = server.send(TextMessage("Ab", message_finished=False)) + server.send(TextMessage("Cd"))
    assert data == frame(0x21, b"aB") + frame(0x80, b"cD")
    assert server.send(BytesMessage(b"Ab")) == frame(0x82, b"aB")
    assert received(data, [Upper()]) == [TextMessage("Ab", True, False), TextMessage("Cd.", True, True)]


def test_hooks_beside_compression() -> None:
    server = Connection(SERVER, [Upper(), deflated()])
    data = server.send(TextMessage("Ab" * 50)) + server.send(Ping(b"Ab"))
    assert data[0] == 0xE1
    assert merged(received(data, [Upper(), deflated()])) == ["Ab" * 50 + ".", Ping(b"Ab"), []]


@pytest.mark.parametrize(
    ("data", "code"), [(frame(0x81, b"x" * 13), 1008), (frame(0x81, b"what?"), 1003), (frame(0x91), 1002)]
)
def test_hooks_that_fail(data: bytes, code: int) -> None:
    (event,) = received(data, [Upper()])
    assert isinstance(event, CloseConnection)
    assert event.code == code
