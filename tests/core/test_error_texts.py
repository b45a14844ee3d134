"""The text of ConnectionClosed: the failure first, the close frames after it; and of wrong arguments."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from tests.core.helpers import (
    CLOSE,
    PING,
    TEXT,
    Clock,
    Frame,
    close_payload,
    feed,
    from_peer,
    opened,
    written,
)
from wsproto_core import ConnectionClosed, ConnectionClosedOK, InvalidState, Protocol, Side

both_sides = pytest.mark.parametrize("side", list(Side))


def text_of(protocol: Protocol) -> str:
    return str(protocol.close_exception())


def text_after(protocol: Protocol) -> str:
    """The text of the exception that a command raises."""
    with pytest.raises(ConnectionClosed) as raised:
        protocol.send("a")
    assert str(raised.value).removeprefix("the connection is closed: ") == text_of(protocol).removeprefix(
        "the connection is closed: "
    )
    return str(raised.value)


class Library(Exception):
    """The error of a library, whose cause is the system's."""


def chained() -> Exception:
    error = Library("broken")
    error.__cause__ = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
    return error


LOSSES: list[tuple[Exception | None, str]] = [
    (None, "the stream was closed without a close frame"),
    (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "reset by peer"),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), "reset by peer"),
    (chained(), "reset by peer"),
    (OSError(errno.ETIMEDOUT, "Connection timed out"), "Connection timed out"),
    (OSError(), "OSError"),
    (OSError("bad"), "bad"),
    (Library("broken"), "broken"),
    (Library(), "Library"),
]


@both_sides
@pytest.mark.parametrize(("error", "text"), LOSSES, ids=[repr(error) for error, _ in LOSSES])
def test_streams_that_are_lost(side: Side, error: Exception | None, text: str) -> None:
    protocol = opened(side)
    protocol.connection_lost(error)
    assert text_of(protocol) == f"connection lost: {text}; no close frame was received or sent"
    assert text_after(protocol).startswith(f"the connection is closed: connection lost: {text}; ")
    assert protocol.close_exception().failure == f"connection lost: {text}"


@both_sides
@pytest.mark.parametrize(("data", "where"), [(b"", "without a close frame"), (b"\x81", "within a message")])
def test_end_of_the_stream(side: Side, data: bytes, where: str) -> None:
    protocol = opened(side)
    protocol.receive_data(data)
    protocol.receive_eof()
    assert text_of(protocol) == (
        f"connection lost: the peer ended the stream {where}; "
        f"sent 1002 (protocol error) 'end of stream {where}'; no close frame was received"
    )


@both_sides
def test_silent_peer(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock=clock, ping_interval=20, ping_timeout=20)
    for _ in range(2):
        clock.advance(20)
        protocol.handle_timeout()
        written(protocol)
    assert text_of(protocol) == (
        "connection lost: nothing received for 20 seconds after a ping; "
        "sent 1011 (internal error) 'keepalive ping timeout'; no close frame was received"
    )


@both_sides
def test_protocol_error(side: Side) -> None:
    protocol = opened(side)
    feed(protocol, from_peer(protocol, Frame(PING, b"a" * 126)))
    text = text_of(protocol)
    assert text.startswith("connection failed: ")
    assert "; sent 1002 (protocol error) " in text
    assert protocol.close_exception().failure is not None


@both_sides
def test_error_of_the_application(side: Side) -> None:
    protocol = opened(side)
    protocol.fail(OSError("no\x1bfile"), 1011)
    assert text_of(protocol) == (
        r"connection failed: OSError('no\x1bfile'); sent 1011 (internal error); no close frame was received"
    )


@both_sides
def test_closing_handshake(side: Side) -> None:
    protocol = opened(side)
    feed(protocol, from_peer(protocol, Frame(CLOSE, close_payload(1000, "bye"))))
    exception = protocol.close_exception()
    assert type(exception) is ConnectionClosedOK
    assert exception.failure is None
    text = "the connection is closed: received 1000 (normal closure) 'bye'; then sent 1000 (normal closure)"
    assert str(exception) == text_after(protocol) == text


@both_sides
def test_use_while_closing(side: Side) -> None:
    protocol = opened(side)
    protocol.close()
    assert text_after(protocol) == (
        "the connection is closed: sent 1000 (normal closure); no close frame was received"
    )


@both_sides
@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"a": 1}, "data must be str or bytes-like, not dict: json.dumps() makes a str of it"),
        (1, "data must be str or bytes-like, not int"),
    ],
)
def test_messages_of_a_wrong_type(side: Side, message: Any, text: str) -> None:
    protocol = opened(side)
    with pytest.raises(TypeError) as raised:
        protocol.send(message)
    assert str(raised.value) == text


@both_sides
def test_reading_in_two_ways(side: Side) -> None:
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"abc", fin=False)))
    protocol.next_fragment()
    with pytest.raises(InvalidState) as raised:
        protocol.next_message()
    assert str(raised.value) == "a message is being received in pieces: receive its last piece first"
