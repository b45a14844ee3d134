"""The attributes of a connection that are set when something changes, not computed when asked."""

from __future__ import annotations

import pytest

from wsproto_core import (
    ClientProtocol,
    Close,
    Fragment,
    Ping,
    Protocol,
    ServerProtocol,
    Side,
    State,
    StreamAction,
)

from .helpers import BINARY, CLOSE, PING, TEXT, Clock, Frame, both_sides, from_peer, opened


def receive(protocol: Protocol, *frames: Frame) -> None:
    protocol.receive_data(from_peer(protocol, *frames))


@both_sides
def test_a_message_is_input_until_it_is_taken(side: Side) -> None:
    protocol = opened(side)
    assert not protocol.has_input
    receive(protocol, Frame(TEXT, b"a"), Frame(TEXT, b"b"))
    assert protocol.has_input
    assert protocol.next_message() == "a"
    assert protocol.has_input
    assert protocol.next_message() == "b"
    assert not protocol.has_input
    assert protocol.next_message() is None
    assert not protocol.has_input


def test_events_take_input_and_events() -> None:
    protocol = opened(Side.CLIENT)
    receive(protocol, Frame(TEXT, b"a"), Frame(PING, b"b"))
    assert protocol.has_input
    assert protocol.has_events
    assert protocol.events(messages=False) == [Ping(b"b")]
    assert protocol.has_input
    assert not protocol.has_events
    receive(protocol, Frame(PING, b"c"))
    assert protocol.events() == ["a", Ping(b"c")]
    assert not protocol.has_input
    assert not protocol.has_events


@both_sides
def test_the_end_is_input(side: Side) -> None:
    protocol = opened(side)
    protocol.receive_eof()
    assert protocol.has_input
    assert protocol.has_events
    assert protocol.next_message() is None
    assert protocol.has_input


@both_sides
def test_a_deferred_close_frame_is_input_when_a_message_has_been_asked_for(side: Side) -> None:
    protocol = opened(side)
    receive(protocol, Frame(TEXT, b"a"), Frame(CLOSE, b"\x03\xe8"))
    assert protocol.next_message() == "a"
    assert not protocol.has_input
    assert not protocol.has_events
    assert protocol.next_message() is None
    assert protocol.has_input
    assert protocol.has_events


def test_a_deferred_close_frame_that_events_ask_for() -> None:
    protocol = opened(Side.CLIENT)
    receive(protocol, Frame(TEXT, b"a"), Frame(CLOSE, b"\x03\xe8"))
    assert protocol.events() == ["a"]
    assert protocol.events() == [Close(1000, "")]
    assert not protocol.has_events
    assert protocol.has_input


def test_pieces_are_input_for_those_who_ask_for_pieces() -> None:
    protocol = opened(Side.CLIENT)
    protocol.receive_data(b"\x81\x05He")
    assert not protocol.has_input
    assert protocol.next_fragment() == Fragment("He", False)
    assert not protocol.has_input
    protocol.receive_data(b"l")
    assert protocol.has_input
    protocol.stop_waiting()
    assert not protocol.has_input
    assert protocol.next_fragment() == Fragment("l", False)
    protocol.receive_data(b"lo")
    assert protocol.has_input
    assert protocol.next_fragment() == Fragment("lo", True)
    assert not protocol.has_input


def test_frames_behind_the_opening_handshake_are_input() -> None:
    server = ServerProtocol(clock=Clock())
    client = ClientProtocol("ws://localhost/", clock=Clock())
    server.receive_data(client.request.serialize() + from_peer(server, Frame(TEXT, b"early")))
    assert not server.has_input
    assert server.has_events
    server.accept()
    assert server.has_input
    client.receive_data(b"".join(server.data_to_send()) + from_peer(client, Frame(BINARY, b"late")))
    assert client.has_input


@both_sides
def test_backpressure(side: Side) -> None:
    protocol = opened(side, write_limit=4, max_queue=2)
    assert protocol.writable
    assert protocol.wants_read
    protocol.send("hello")
    assert not protocol.writable
    protocol.data_to_send()
    protocol.data_sent()
    assert protocol.writable
    receive(protocol, Frame(TEXT, b"a"), Frame(TEXT, b"b"))
    assert not protocol.wants_read
    protocol.next_message()
    assert protocol.wants_read


@pytest.mark.parametrize(
    ("side", "action"), [(Side.SERVER, StreamAction.SEND_EOF), (Side.CLIENT, StreamAction.KEEP)]
)
def test_the_phase_sets_the_rest(side: Side, action: StreamAction) -> None:
    protocol = opened(side)
    assert (protocol.state, protocol.receiving) == (State.OPEN, True)
    protocol.fail(RuntimeError("something is wrong"))
    assert (protocol.state, protocol.receiving) == (State.CLOSING, False)
    assert protocol.stream_action is action
    assert protocol.wants_read
