"""The deadline of a client's opening handshake, when a part of ``open_timeout`` has been spent before."""

from __future__ import annotations

from wsproto_core import ClientProtocol

from .helpers import URI, Clock, feed, response, written


def test_the_deadline_is_moved_and_the_message_tells_what_was_configured() -> None:
    clock = Clock()
    client = ClientProtocol(URI, clock=clock, open_timeout=10)
    client.open_by(clock.now + 0.75)
    assert client.deadline() == clock.now + 0.75
    clock.advance(0.75)
    client.handle_timeout()
    assert str(client.handshake_error) == "the server did not answer within 10 seconds"


def test_being_late_is_judged_by_the_configured_timeout() -> None:
    """What is left may be next to nothing, and anybody is late by that much."""
    clock = Clock()
    client = ClientProtocol(URI, clock=clock, open_timeout=10)
    client.open_by(clock.now + 0.01)
    clock.advance(0.5)
    client.handle_timeout()
    assert client.handshake_error is not None


def test_no_timeout_has_no_deadline() -> None:
    client = ClientProtocol(URI, clock=Clock(), open_timeout=None)
    client.open_by(1001)
    assert client.deadline() is None


def test_an_open_connection_has_no_deadline_of_its_opening() -> None:
    clock = Clock()
    client = ClientProtocol(URI, clock=clock, ping_interval=None)
    written(client)
    feed(client, response(client.request.headers["Sec-WebSocket-Key"]))
    client.open_by(clock.now + 1)
    assert client.deadline() is None
