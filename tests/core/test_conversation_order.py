"""A conversation keeps its order: a close frame or an error waits behind messages that can be answered.

An answer to a message goes out before the close frame, although the peer's close frame, or what is wrong
in its input, was received together with that message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wsproto_core import (
    Close,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    Failure,
    Protocol,
    Side,
    State,
    StreamAction,
)
from wsproto_core.broadcast import Delivery, deliver
from wsproto_core.exceptions import PayloadTooBig, ProtocolError
from wsproto_core.prepared import PreparedMessage
from wsproto_core.testing import connect

from .helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    Clock,
    Frame,
    both_sides,
    close_payload,
    from_peer,
    header_from_peer,
    opened,
    sent,
)

MESSAGE = Frame(TEXT, b"request")
GOODBYE = Frame(CLOSE, close_payload(1000, "bye"))

End = Callable[[Protocol], bytes]


def close_frame(protocol: Protocol) -> bytes:
    return from_peer(protocol, GOODBYE)


def reserved_opcode(protocol: Protocol) -> bytes:
    return from_peer(protocol, Frame(0x3))


def too_large(protocol: Protocol) -> bytes:
    return header_from_peer(protocol, BINARY, 2**21)


def within_a_frame(protocol: Protocol) -> bytes:
    """Wrong UTF-8 at the beginning of a frame whose end is missing."""
    return from_peer(protocol, Frame(TEXT, b"\xff" * 100))[:-50]


ends = pytest.mark.parametrize(
    ("end", "code"),
    [(close_frame, 1000), (reserved_opcode, 1002), (too_large, 1009), (within_a_frame, 1007)],
    ids=["close", "protocol error", "too large", "not UTF-8"],
)


def told(protocol: Protocol, end: End, *messages: Frame, **options: Any) -> Protocol:
    """Let it receive messages and an end in one piece."""
    protocol.receive_data(from_peer(protocol, *(messages or [MESSAGE])) + end(protocol))
    return protocol


def last_frame(protocol: Protocol) -> tuple[list[bytes], int]:
    """The messages that go out, and the code of the close frame behind them."""
    *messages, close = sent(protocol)
    assert all(frame.opcode == TEXT for frame in messages)
    assert close.opcode == CLOSE
    return [frame.payload for frame in messages], int.from_bytes(close.payload[:2], "big")


@both_sides
@ends
def test_answers_go_out_before_the_close_frame(side: Side, end: End, code: int) -> None:
    protocol = told(opened(side), end, MESSAGE, MESSAGE)
    for _ in range(2):
        assert protocol.state is State.OPEN
        assert protocol.receiving
        assert protocol.next_message() == "request"
        protocol.send("answer")
    assert protocol.close_code is None
    assert protocol.next_message() is None
    assert protocol.state is State.CLOSING
    assert not protocol.receiving
    assert last_frame(protocol) == ([b"answer"] * 2, code)
    (event,) = protocol.events()
    assert isinstance(event, Close if code == 1000 else Failure)


@both_sides
@ends
def test_several_answers_to_one_message(side: Side, end: End, code: int) -> None:
    """Output that is asked for between them is not the end of the conversation."""
    protocol = told(opened(side), end)
    assert protocol.next_message() == "request"
    for number in range(3):
        protocol.send(str(number))
        assert sent(protocol) == [Frame(TEXT, b"%d" % number)]
    assert protocol.next_message() is None
    assert last_frame(protocol) == ([], code)


@both_sides
@ends
def test_by_events(side: Side, end: End, code: int) -> None:
    """Who takes messages by events() answers them, then asks for what is to be written."""
    protocol = told(opened(side), end)
    assert protocol.events() == ["request"]
    protocol.send("answer")
    assert last_frame(protocol) == ([b"answer"], code)
    (event,) = protocol.events()
    assert isinstance(event, Close if code == 1000 else Failure)


@both_sides
@ends
def test_by_events_that_are_asked_for_again(side: Side, end: End, code: int) -> None:
    protocol = told(opened(side), end)
    assert protocol.events() == ["request"]
    protocol.send("answer")
    assert len(protocol.events()) == 1
    with pytest.raises(ConnectionClosed):
        protocol.send("too late")
    assert last_frame(protocol) == ([b"answer"], code)


@both_sides
@ends
def test_output_before_the_messages_are_taken(side: Side, end: End, code: int) -> None:
    """It does not ask for more: what is to be written may be asked for at any time."""
    protocol = opened(side)
    protocol.send("before")
    protocol.events()
    told(protocol, end)
    assert sent(protocol) == [Frame(TEXT, b"before")]
    assert protocol.events(messages=False) == []
    assert sent(protocol) == []
    assert protocol.events() == ["request"]
    protocol.send("answer")
    assert last_frame(protocol) == ([b"answer"], code)


@both_sides
@ends
def test_in_pieces(side: Side, end: End, code: int) -> None:
    protocol = told(opened(side), end)
    fragment = protocol.next_fragment()
    assert fragment is not None
    assert (fragment.data, fragment.final) == ("request", True)
    protocol.send("answer")
    assert protocol.next_fragment() is None
    assert last_frame(protocol) == ([b"answer"], code)


@both_sides
@ends
def test_at_once_without_messages(side: Side, end: End, code: int) -> None:
    protocol = opened(side)
    protocol.receive_data(end(protocol))
    assert protocol.state is State.CLOSING
    assert last_frame(protocol) == ([], code)


@both_sides
@ends
def test_at_once_while_we_close(side: Side, end: End, code: int) -> None:
    """Nothing can be answered any more."""
    protocol = opened(side)
    protocol.close(3000)
    told(protocol, end)
    assert not protocol.receiving
    assert protocol.next_message() == "request"
    assert last_frame(protocol) == ([], 3000)


@both_sides
@ends
def test_at_the_latest(side: Side, end: End, code: int) -> None:
    """Messages that are not received within half of close_timeout can be received later."""
    clock = Clock()
    protocol = told(opened(side, clock, close_timeout=8, ping_interval=1), end)
    assert protocol.deadline() == 1004
    clock.now = 1003.9
    protocol.handle_timeout()
    assert protocol.state is State.OPEN
    clock.now = 1004
    protocol.handle_timeout()
    assert protocol.state is State.CLOSING
    assert protocol.deadline() == 1012
    assert last_frame(protocol) == ([], code)
    assert protocol.next_message() == "request"
    assert protocol.next_message() is None


@both_sides
def test_without_a_deadline(side: Side) -> None:
    protocol = told(opened(side, close_timeout=None), close_frame)
    assert protocol.deadline() is None


@both_sides
@ends
@pytest.mark.parametrize("command", ["close", "fail"])
def test_closing_asks_for_no_more(side: Side, end: End, code: int, command: str) -> None:
    """What the peer has said before takes effect first."""
    protocol = told(opened(side), end)
    protocol.send("something")
    if command == "close":
        protocol.close(4000)
    else:
        protocol.fail(RuntimeError(), 1011)
    assert protocol.state is State.CLOSING
    assert last_frame(protocol) == ([b"something"], code)
    assert protocol.next_message() == "request"
    received = protocol.close_exception().received
    assert received == (Close(1000, "bye") if code == 1000 else None)


@both_sides
@ends
def test_nothing_is_read_meanwhile(side: Side, end: End, code: int) -> None:
    """Nothing after the end means anything, pings included, and none of our pings is due."""
    clock = Clock()
    protocol = told(opened(side, clock, ping_interval=1, ping_timeout=1), end)
    assert not protocol.wants_read
    protocol.receive_data(from_peer(protocol, Frame(PING), Frame(TEXT, b"late")) * 1000)
    assert sent(protocol) == []
    assert protocol.next_message() == "request"
    assert not protocol.wants_read
    clock.advance(3)
    protocol.handle_timeout()
    assert sent(protocol) == []
    assert protocol.next_message() is None
    assert protocol.wants_read
    assert last_frame(protocol) == ([], code)
    assert protocol.events()[1:] == []


@both_sides
def test_a_message_that_is_not_complete_is_dropped(side: Side) -> None:
    protocol = told(opened(side), reserved_opcode, MESSAGE, Frame(TEXT, b"begin", fin=False))
    assert protocol.next_fragment() is not None
    assert protocol.next_fragment() is None
    assert not protocol.receiving


@both_sides
@ends
def test_the_end_of_the_stream_behind_it(side: Side, end: End, code: int) -> None:
    protocol = told(opened(side), end)
    protocol.receive_eof()
    assert protocol.state is State.OPEN
    assert protocol.next_message() == "request"
    protocol.send("answer")
    assert protocol.next_message() is None
    assert protocol.stream_action is StreamAction.CLOSE
    assert last_frame(protocol) == ([b"answer"], code)


@both_sides
@ends
def test_the_stream_is_lost_meanwhile(side: Side, end: End, code: int) -> None:
    """The close frame that was received before is not forgotten, nor are the messages."""
    protocol = told(opened(side), end)
    protocol.connection_lost(ConnectionResetError())
    assert protocol.state is State.CLOSED
    assert protocol.close_code == (1000 if code == 1000 else 1006)
    assert protocol.next_message() == "request"
    assert protocol.next_message() is None
    exception = protocol.close_exception()
    if code == 1000:
        assert type(exception) is ConnectionClosedOK
    else:
        assert isinstance(exception.__cause__, (ProtocolError, PayloadTooBig))


@both_sides
def test_a_peer_that_does_not_read_the_answers(side: Side) -> None:
    clock = Clock()
    protocol = told(opened(side, clock, close_timeout=8, ping_timeout=1), close_frame)
    assert protocol.next_message() == "request"
    protocol.send(bytes(100_000))
    protocol.data_to_send()
    assert not protocol.writable
    for deadline in (1004, 1012):
        assert protocol.deadline() == deadline
        clock.now = deadline
        protocol.handle_timeout()
    assert protocol.stream_action is StreamAction.ABORT
    assert protocol.close_code == 1000


@both_sides
def test_all_commands_meanwhile(side: Side) -> None:
    protocol = told(opened(side), close_frame)
    protocol.send("a", fin=False)
    protocol.ping(b"b")
    protocol.pong(b"c")
    protocol.end_message()
    assert [frame.payload for frame in sent(protocol)] == [b"a", b"b", b"c", b""]
    assert not isinstance(deliver(protocol, PreparedMessage("broadcast")), list)
    assert deliver(protocol, PreparedMessage("broadcast")) is Delivery.CLOSED


@both_sides
def test_a_fragmented_answer_that_is_not_finished(side: Side) -> None:
    protocol = told(opened(side), reserved_opcode)
    protocol.next_message()
    protocol.send("a", fin=False)
    assert protocol.next_message() is None
    with pytest.raises(ConnectionClosedError):
        protocol.send("b")
    frames = sent(protocol)
    assert [frame.opcode for frame in frames] == [TEXT, CLOSE]


@pytest.mark.parametrize("chunk", [None, 1, 7])
def test_an_echo_over_a_link(chunk: int | None) -> None:
    """Any embedder that follows the documented loop keeps the order."""

    def echo(protocol: Protocol, event: object) -> None:
        if protocol.side is Side.SERVER and isinstance(event, str):
            protocol.send(event)

    link = connect(on_event=echo, chunk=chunk)
    for number in range(5):
        link.client.send(str(number))
    link.client.close(3000, "done")
    link.run()
    assert link.client_events == [*map(str, range(5)), Close(3000)]
    assert link.client.state is link.server.state is State.CLOSED


@both_sides
def test_fragments_of_a_message_before_the_close_frame(side: Side) -> None:
    protocol = opened(side)
    pieces = [Frame(TEXT, b"re", fin=False), Frame(PING), Frame(CONTINUATION, b"quest")]
    told(protocol, close_frame, *pieces)
    assert protocol.next_message() == "request"
    protocol.send("answer")
    assert protocol.next_message() is None
    assert [frame.opcode for frame in sent(protocol)] == [0xA, TEXT, CLOSE]
