"""The closing handshake, failures, and the end of the stream (RFC 6455 section 7)."""

from __future__ import annotations

from typing import Any

import pytest

from wsproto_core import (
    ClientProtocol,
    Close,
    ConnectionClosedError,
    ConnectionClosedOK,
    Failure,
    InvalidState,
    Ping,
    ServerProtocol,
    Side,
    State,
    StreamAction,
    TimerOverdue,
    make_response,
)
from wsproto_core.timers import Timer

from .helpers import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    URI,
    Clock,
    Frame,
    both_sides,
    close_payload,
    feed,
    from_peer,
    opened,
    opened_client,
    opened_server,
    reach_deadline,
    sent,
)

NORMAL = Frame(CLOSE, close_payload(1000))


# Our close frame


@both_sides
@pytest.mark.parametrize(
    ("arguments", "payload"),
    [
        ((), close_payload(1000)),
        ((1001, "going away"), close_payload(1001, "going away")),
        ((4000, "grüße"), close_payload(4000, "grüße")),
        ((1011, "x" * 123), close_payload(1011, "x" * 123)),
        ((1005,), b""),
    ],
)
def test_close(side: Side, arguments: tuple[Any, ...], payload: bytes) -> None:
    protocol = opened(side)
    protocol.close(*arguments)
    assert protocol.state is State.CLOSING
    assert protocol.receiving
    assert protocol.close_code is None
    assert protocol.close_reason is None
    assert protocol.stream_action is StreamAction.KEEP
    assert sent(protocol) == [Frame(CLOSE, payload)]
    assert protocol.events() == []


@both_sides
@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 1016, 2999, 5000, -1])
def test_close_codes_that_are_refused(side: Side, code: int) -> None:
    protocol = opened(side)
    with pytest.raises(ValueError, match="close code must be"):
        protocol.close(code)
    with pytest.raises(ValueError, match="close code must be"):
        protocol.fail(OSError(), code)
    with pytest.raises(ValueError, match="close code must be"):
        protocol.close(1005, "a reason without a code")
    assert protocol.state is State.OPEN
    assert sent(protocol) == []


@both_sides
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bye",), "close code must be an int, not 'bye': the reason is the second argument"),
        ((b"bye",), "close code must be an int, not b'bye': the reason is the second argument"),
        ((None,), "close code must be an int, not None"),
        ((1000.0,), "close code must be an int, not 1000.0"),
        ((True,), "close code must be an int, not True"),
        ((1000, b"bye"), "close reason must be a str, not b'bye'"),
        ((1000, None), "close reason must be a str, not None"),
    ],
)
def test_arguments_of_the_wrong_type(side: Side, arguments: tuple[Any, ...], message: str) -> None:
    protocol = opened(side)
    for command in (protocol.close, lambda *arguments: protocol.fail(RuntimeError(), *arguments)):
        with pytest.raises(TypeError) as raised:
            command(*arguments)
        assert str(raised.value) == message
    assert protocol.state is State.OPEN


@both_sides
def test_no_time_to_close(side: Side) -> None:
    """close_timeout=0 waits neither for the peer's close frame nor for the end of TCP."""
    clock = Clock()
    protocol = opened(side, clock, close_timeout=0)
    protocol.close()
    assert len(sent(protocol)) == 1
    clock.advance(0.001)
    for _ in range(2):
        assert protocol.deadline() is not None
        protocol.handle_timeout()
    assert protocol.stream_action is StreamAction.ABORT
    assert not any(isinstance(event, TimerOverdue) for event in protocol.events())


@both_sides
def test_close_is_idempotent(side: Side) -> None:
    protocol = opened(side)
    protocol.close(4000, "first")
    protocol.close(4001, "second")
    assert sent(protocol) == [Frame(CLOSE, close_payload(4000, "first"))]
    protocol.close(4002)
    protocol.receive_data(from_peer(protocol, Frame(CLOSE, close_payload(4000))))
    protocol.close(4003)
    protocol.connection_lost()
    protocol.close(4004)
    assert sent(protocol) == []
    # The arguments are checked all the same.
    with pytest.raises(ValueError, match="close code must be"):
        protocol.close(0)


@both_sides
def test_we_close_first(side: Side) -> None:
    protocol = opened(side)
    protocol.close(1000, "ours")
    sent(protocol)
    assert feed(protocol, from_peer(protocol, Frame(CLOSE, close_payload(1001, "theirs")))) == [
        Close(1001, "theirs")
    ]
    assert sent(protocol) == []
    assert not protocol.receiving
    assert (protocol.close_code, protocol.close_reason) == (1001, "theirs")
    exception = protocol.close_exception()
    assert type(exception) is ConnectionClosedOK
    assert (exception.code, exception.reason) == (1001, "theirs")
    assert exception.received == Close(1001, "theirs")
    assert exception.sent == Close(1000, "ours")
    assert exception.received_first is False
    assert exception.__cause__ is None


@both_sides
def test_the_peer_closes_first(side: Side) -> None:
    protocol = opened(side)
    assert feed(protocol, from_peer(protocol, Frame(CLOSE, close_payload(4000, "theirs")))) == [
        Close(4000, "theirs")
    ]
    assert protocol.state is State.CLOSING
    assert not protocol.receiving
    assert (protocol.close_code, protocol.close_reason) == (4000, "theirs")
    # "it typically echos the status code it received"
    assert sent(protocol) == [Frame(CLOSE, close_payload(4000))]
    exception = protocol.close_exception()
    assert type(exception) is ConnectionClosedError
    assert (exception.code, exception.reason) == (4000, "theirs")
    assert exception.sent == Close(4000)
    assert exception.received_first is True
    assert exception.__cause__ is None


@both_sides
def test_messages_arrive_until_the_peer_closes(side: Side) -> None:
    protocol = opened(side)
    protocol.close()
    frames = [Frame(TEXT, b"late"), Frame(PING, b"1"), NORMAL, Frame(TEXT, b"too late")]
    assert feed(protocol, from_peer(protocol, *frames)) == ["late", Ping(b"1"), Close(1000)]


@both_sides
def test_a_ping_after_our_close_frame_is_not_answered(side: Side) -> None:
    """Once the close frame has been handed out, nothing follows it."""
    protocol = opened(side)
    protocol.close()
    protocol.receive_data(from_peer(protocol, Frame(PING, b"before")))
    assert sent(protocol) == [Frame(PONG, b"before"), NORMAL]
    protocol.receive_data(from_peer(protocol, Frame(PING, b"after")))
    assert sent(protocol) == []


@both_sides
def test_what_was_given_before_is_sent_before(side: Side) -> None:
    for close in (
        lambda protocol: protocol.close(),
        lambda protocol: protocol.receive_data(from_peer(protocol, NORMAL)),
    ):
        protocol = opened(side)
        protocol.send("a")
        close(protocol)
        assert sent(protocol) == [Frame(TEXT, b"a"), NORMAL]


@both_sides
def test_the_exception_before_the_close(side: Side) -> None:
    protocol = opened(side)
    with pytest.raises(InvalidState, match="the connection is open, not closed"):
        protocol.close_exception()
    protocol.close(4000, "ours")
    exception = protocol.close_exception()
    assert type(exception) is ConnectionClosedError
    assert (exception.code, exception.reason) == (4000, "ours")
    assert exception.received is None
    assert exception.received_first is None


# Failures of our own


@both_sides
def test_fail(side: Side) -> None:
    protocol = opened(side)
    protocol.send("dropped")
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"kept"), Frame(PING, b"dropped")))
    error = OSError("the database is gone")
    protocol.fail(error, 1011, "sorry")
    protocol.fail(OSError("another"), 1008)
    message, ping, failure = protocol.events()
    assert (message, ping) == ("kept", Ping(b"dropped"))
    assert failure == Failure(error, False, Close(1011, "sorry"))
    assert not protocol.receiving
    assert protocol.close_code == 1006
    assert sent(protocol) == [Frame(CLOSE, close_payload(1011, "sorry"))]
    exception = protocol.close_exception()
    assert type(exception) is ConnectionClosedError
    assert exception.code == 1006
    assert exception.sent == Close(1011, "sorry")
    assert exception.__cause__ is error
    assert protocol.stream_action is (StreamAction.SEND_EOF if side is Side.SERVER else StreamAction.KEEP)


@both_sides
@pytest.mark.parametrize("written_before", [True, False])
def test_fail_after_close(side: Side, written_before: bool) -> None:
    """There is one close frame, the first one; what it was to follow is dropped."""
    protocol = opened(side)
    protocol.send("a")
    protocol.close(1001)
    if written_before:
        assert len(sent(protocol)) == 2
    protocol.fail(OSError(), 1011)
    assert sent(protocol) == ([] if written_before else [Frame(CLOSE, close_payload(1001))])
    (failure,) = protocol.events()
    assert isinstance(failure, Failure)
    assert failure.close == Close(1001)
    assert protocol.close_code == 1006


@both_sides
def test_fail_after_the_end(side: Side) -> None:
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, NORMAL))
    protocol.fail(OSError())
    assert protocol.events() == [Close(1000)]
    assert protocol.close_exception().__cause__ is None
    assert sent(protocol) == [NORMAL]


@both_sides
def test_the_first_error_is_the_cause(side: Side) -> None:
    protocol = opened(side)
    error = OSError("first")
    protocol.fail(error)
    protocol.receive_eof()
    protocol.connection_lost(OSError("second"))
    assert len(protocol.events()) == 1
    assert protocol.close_exception().__cause__ is error


@both_sides
def test_two_errors(side: Side) -> None:
    """What follows from the first is told, but is not the cause."""
    clock = Clock()
    protocol = opened(side, clock)
    protocol.close()
    reach_deadline(protocol, clock)
    first, *others = protocol.events()
    assert isinstance(first, Failure)
    assert others == []
    protocol.connection_lost(OSError())
    assert protocol.close_exception().__cause__ is first.error


# The end of the stream (section 7.1.1)


def test_a_server_ends_tcp() -> None:
    server = opened_server()
    server.receive_data(from_peer(server, NORMAL))
    assert server.stream_action is StreamAction.SEND_EOF
    sent(server)
    assert server.wants_read
    server.eof_sent()
    assert server.stream_action is StreamAction.KEEP
    assert server.wants_read
    assert server.state is State.CLOSING
    assert feed(server, b"still there") == [Close(1000)]
    server.receive_eof()
    assert server.stream_action is StreamAction.CLOSE
    server.connection_lost()
    assert server.state is State.CLOSED
    assert server.close_code == 1000
    assert server.events() == []
    assert server.deadline() is None


def test_a_client_waits_for_the_server() -> None:
    client = opened_client()
    client.receive_data(from_peer(client, NORMAL))
    sent(client)
    assert client.stream_action is StreamAction.KEEP
    assert client.wants_read
    client.receive_eof()
    assert client.stream_action is StreamAction.CLOSE
    client.connection_lost()
    assert client.state is State.CLOSED
    assert client.close_code == 1000


def test_a_client_that_ends_tcp_itself() -> None:
    """A server need not wait for its turn."""
    server = opened_server()
    server.receive_data(from_peer(server, NORMAL))
    server.receive_eof()
    assert server.stream_action is StreamAction.CLOSE
    assert sent(server) == [NORMAL]


@both_sides
def test_the_end_of_the_stream_without_a_close_frame(side: Side) -> None:
    protocol = opened(side)
    protocol.send("dropped")
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"kept")))
    protocol.receive_eof()
    assert sent(protocol) == [Frame(CLOSE, close_payload(1002, "end of stream without a close frame"))]
    message, failure = protocol.events()
    assert message == "kept"
    assert isinstance(failure, Failure)
    assert str(failure.error) == "the peer ended the stream without a close frame"
    assert protocol.stream_action is StreamAction.CLOSE
    exception = protocol.close_exception()
    assert (exception.code, exception.reason) == (1006, "")
    assert exception.__cause__ is failure.error
    protocol.receive_eof()
    assert protocol.events() == []


@both_sides
def test_a_reset_without_an_error(side: Side) -> None:
    protocol = opened(side)
    protocol.connection_lost()
    (failure,) = protocol.events()
    assert isinstance(failure, Failure)
    assert str(failure.error) == "the stream was closed without a close frame"
    assert protocol.stream_action is StreamAction.CLOSE


@both_sides
def test_a_reset_after_the_close_frames_is_no_error(side: Side) -> None:
    protocol = opened(side)
    protocol.receive_data(from_peer(protocol, NORMAL))
    protocol.connection_lost(ConnectionResetError())
    assert protocol.events() == [Close(1000)]
    assert protocol.close_exception().__cause__ is None


@both_sides
def test_inputs_after_the_end_change_nothing(side: Side) -> None:
    protocol = opened(side)
    protocol.connection_lost()
    protocol.events()
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"x")))
    protocol.receive_eof()
    protocol.eof_sent()
    protocol.data_sent()
    protocol.connection_lost(OSError())
    protocol.handle_timeout()
    assert protocol.events() == []
    assert protocol.state is State.CLOSED
    assert not protocol.wants_read


@both_sides
@pytest.mark.parametrize("closes", [False, True])
def test_a_closed_stream_leaves_nothing_in_the_send_queue(side: Side, closes: bool) -> None:
    """A message, the pong that is due and the close frame can't be written any more, and take no memory."""
    protocol = opened(side)
    protocol.send(bytes(100_000))
    protocol.receive_data(from_peer(protocol, Frame(PING, b"x")))
    if closes:
        protocol.close()
    before = protocol.statistics
    protocol.connection_lost(ConnectionResetError())
    assert protocol.queued == 0
    assert protocol.data_to_send() == []
    assert protocol.unwritten == 0
    assert protocol.statistics == before


@both_sides
def test_a_stream_that_is_closed_before_it_opens_leaves_nothing_in_the_send_queue(side: Side) -> None:
    protocol = ClientProtocol(URI, clock=Clock()) if side is Side.CLIENT else ServerProtocol(clock=Clock())
    if isinstance(protocol, ServerProtocol):
        protocol.reject(make_response(503))
    assert protocol.queued > 0
    protocol.connection_lost()
    assert protocol.queued == 0
    assert protocol.data_to_send() == []
    assert protocol.state is State.CLOSED


@both_sides
def test_events_keep_their_order_when_messages_are_dropped(side: Side) -> None:
    """There is no room for the messages behind the first one."""
    protocol = opened(side, max_queue=1)
    protocol.close()
    texts = [Frame(TEXT, b"a"), Frame(TEXT, b"b"), Frame(TEXT, b"c")]
    protocol.receive_data(from_peer(protocol, *texts, Frame(PING, b"x"), Frame(PING, b"y"), NORMAL))
    assert protocol.events() == ["a", Ping(b"x"), Ping(b"y"), Close(1000)]


@both_sides
def test_eof_sent_out_of_turn_changes_nothing(side: Side) -> None:
    protocol = opened(side)
    protocol.eof_sent()
    assert protocol.state is State.OPEN


# Deadlines


@both_sides
def test_the_closing_deadline_starts_with_each_step(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock, close_timeout=5)
    protocol.close()
    assert protocol.deadline() == 1005
    clock.now = 1004
    protocol.receive_data(from_peer(protocol, NORMAL))
    assert protocol.deadline() == 1009
    # What is left of TCP is one step.
    clock.now = 1005
    protocol.eof_sent()
    assert protocol.deadline() == 1009
    clock.now = 1006
    protocol.receive_eof()
    assert protocol.deadline() == 1009
    reach_deadline(protocol, clock)
    assert protocol.stream_action is StreamAction.ABORT
    assert not protocol.wants_read
    assert protocol.deadline() is None
    protocol.connection_lost()
    assert protocol.state is State.CLOSED


@both_sides
def test_the_closing_deadline_after_the_end_of_the_stream(side: Side) -> None:
    """That the close frame can be written may take as long."""
    clock = Clock()
    protocol = opened(side, clock, close_timeout=5)
    protocol.receive_eof()
    assert protocol.deadline() == 1005
    reach_deadline(protocol, clock)
    assert protocol.stream_action is StreamAction.ABORT


@both_sides
def test_the_closing_deadline_after_a_failure(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock, close_timeout=5)
    protocol.receive_data(b"\xff\xff")
    assert protocol.deadline() == 1005
    reach_deadline(protocol, clock)
    assert protocol.stream_action is StreamAction.ABORT
    assert len(protocol.events()) == 1


@both_sides
def test_no_close_frame_in_time(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock, close_timeout=5)
    protocol.close()
    clock.now = 1004.9
    protocol.handle_timeout()
    assert protocol.receiving
    reach_deadline(protocol, clock)
    (failure,) = protocol.events()
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, TimeoutError)
    assert failure.remote
    assert str(failure.error) == "no close frame received for 5 seconds"
    assert protocol.close_code == 1006
    assert protocol.deadline() == 1010


@both_sides
def test_the_closing_deadline_seen_late(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock, close_timeout=5)
    protocol.close()
    clock.now = 1008
    protocol.handle_timeout()
    assert protocol.events() == [TimerOverdue(Timer.CLOSING, 3)]
    assert protocol.deadline() == 1013
    assert protocol.receiving
    clock.now = 1100
    protocol.handle_timeout()
    assert not protocol.receiving


@both_sides
def test_no_closing_deadline(side: Side) -> None:
    protocol = opened(side, close_timeout=None)
    protocol.close()
    assert protocol.deadline() is None


@both_sides
def test_keepalive_ends_with_the_close(side: Side) -> None:
    clock = Clock()
    protocol = opened(side, clock, close_timeout=100)
    reach_deadline(protocol, clock)
    protocol.data_to_send()
    assert protocol.deadline() == clock.now + 20
    protocol.close()
    assert protocol.deadline() == clock.now + 100


@both_sides
def test_no_output_after_the_end(side: Side) -> None:
    """What a lost stream has not taken is let go: it would keep its memory as long as the connection."""
    protocol = opened(side)
    protocol.send("x" * 100_000)
    protocol.ping()
    protocol.receive_data(from_peer(protocol, Frame(PING)))
    protocol.close()
    assert protocol.queued > 100_000
    protocol.connection_lost(ConnectionResetError())
    assert protocol.queued == 0
    assert protocol.data_to_send() == []
