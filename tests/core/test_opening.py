"""The first stage of a connection: any opening handshake can be it, or none."""

from __future__ import annotations

import pytest

from wsproto_core import (
    ClientProtocol,
    Failure,
    InvalidState,
    Protocol,
    Request,
    Response,
    ServerProtocol,
    Side,
    State,
)
from wsproto_core.exceptions import InvalidMessage
from wsproto_core.observing import Observer
from wsproto_core.opening import Answer, End, Handshake

from .helpers import TEXT, URI, Clock, Frame, from_peer, opened, transfer, written


class Greeting(Handshake):
    """One line: a greeting opens the connection, another one is refused."""

    def __init__(self) -> None:
        self.line = b""

    def receive_data(self, data: bytes) -> Request | End | None:
        self.line += data
        self.time_left = 5
        if b"\n" not in self.line:
            return None
        if self.line.startswith(b"hello\n"):
            return Answer(Response(101), b"welcome\n")
        return Answer(Response(400), b"go away\n", error=InvalidMessage("no greeting"))

    def receive_eof(self) -> End:
        return InvalidMessage("the end")

    def connection_lost(self, error: Exception | None) -> End:
        return InvalidMessage("lost")

    def expire(self) -> End:
        return InvalidMessage("late")

    @property
    def trailing_data(self) -> bytes:
        return self.line.partition(b"\n")[2]


def greeted() -> tuple[Protocol, Clock]:
    clock = Clock()
    return Protocol(Side.SERVER, clock=clock, handshake=Greeting()), clock


def test_a_handshake_opens_the_connection() -> None:
    protocol, _ = greeted()
    protocol.receive_data(b"hel")
    assert protocol.state is State.CONNECTING
    with pytest.raises(InvalidState, match="the opening handshake is not done"):
        protocol.send("early")
    protocol.receive_data(b"lo\n" + from_peer(protocol, Frame(TEXT, b"a")))
    assert protocol.state is State.OPEN
    assert written(protocol) == b"welcome\n"
    assert protocol.has_input
    assert protocol.next_message() == "a"


def test_a_handshake_refuses_the_connection() -> None:
    protocol, _ = greeted()
    protocol.receive_data(b"good morning\n")
    assert protocol.state is State.CLOSING
    assert written(protocol) == b"go away\n"
    assert isinstance(protocol.handshake_error, InvalidMessage)
    assert protocol.response == Response(400)
    assert protocol.events() == []


def test_a_handshake_ends_without_an_answer() -> None:
    for name, text in (("receive_eof", "the end"), ("connection_lost", "lost"), ("handle_timeout", "late")):
        protocol, clock = greeted()
        if name == "handle_timeout":
            protocol.receive_data(b"h")
            assert protocol.deadline() == clock.now + 5
            clock.advance(5)
        getattr(protocol, name)()
        (failure,) = protocol.events()
        assert isinstance(failure, Failure)
        assert str(failure.error) == str(protocol.handshake_error) == text
        assert written(protocol) == b""


def test_a_stream_that_was_opened_in_another_way() -> None:
    assert opened(Side.SERVER).state is State.OPEN
    assert Protocol(Side.CLIENT, clock=Clock()).state is State.OPEN


# Observers


class Heads(Observer):
    """Collects the heads of the opening handshake."""

    def __init__(self) -> None:
        self.heads: list[Request | Response] = []

    def request(self, request: Request) -> None:
        self.heads.append(request)

    def response(self, response: Response) -> None:
        self.heads.append(response)


def test_observers_of_an_opening_handshake() -> None:
    """Both sides tell of the request when it is there, once, and of the response."""
    client, server = ClientProtocol(None, clock=Clock()), ServerProtocol(clock=Clock())
    of_client, of_server = Heads(), Heads()
    client.observe(of_client)
    server.observe(of_server)
    assert of_client.heads == of_server.heads == []
    client.ask(URI)
    assert of_client.heads == [client.request]
    transfer(client, server)
    assert of_server.heads == [server.request]
    server.accept()
    transfer(server, client)
    assert of_client.heads == [client.request, client.response]
    assert of_server.heads == [server.request, server.response]
    late = Heads()
    client.observe(late)
    assert late.heads == [client.request]
