"""What the connections of all adapters share: the getters, the log, and the users' arguments."""

import logging
from typing import Any

import pytest

from adapters.shared.connection import BaseConnection, fragments_of
from adapters.shared.handlers import takes_path
from wsproto_core import ServerProtocol
from wsproto_core.events import Close, Failure, Ping, TimerOverdue
from wsproto_core.exceptions import InvalidHandshake
from wsproto_core.http import Response
from wsproto_core.timers import Timer
from wsproto_core.types import State


class Connection(BaseConnection):
    """A connection of no adapter."""

    def __init__(self) -> None:
        super().__init__(ServerProtocol(clock=lambda: 0.0), None)


def log_of(caplog: pytest.LogCaptureFixture, event: Any) -> tuple[str, str] | None:
    """Return the level and the text of the line for an event."""
    connection = Connection()
    with caplog.at_level(logging.DEBUG):
        connection._log_event(event)
    if not caplog.records:
        return None
    (record,) = caplog.records
    assert record.name == "wsproto_core.server"
    return record.levelname, record.getMessage()


def test_getters_before_the_handshake() -> None:
    connection = Connection()
    assert connection.state is State.CONNECTING
    assert not connection.open
    assert not connection.closed
    assert (connection.close_code, connection.close_reason) == (None, None)
    assert (connection.request, connection.response, connection.path) == (None, None, None)
    assert (connection.request_headers, connection.response_headers) == (None, None)
    assert (connection.subprotocol, connection.extensions, connection.latency) == (None, (), 0.0)
    assert connection.statistics.frames_received == 0
    assert str(connection.id) in repr(connection)


def test_a_logger_of_ones_own() -> None:
    logger = logging.getLogger("mine")
    assert BaseConnection(ServerProtocol(clock=lambda: 0.0), logger).logger.logger is logger


@pytest.mark.parametrize(
    ("event", "level", "text"),
    [
        (Close(1000, "bye"), "DEBUG", "received \"1000 (normal closure) 'bye'\""),
        (Failure(EOFError("gone"), True), "DEBUG", "connection failed: 'gone'"),
        (TimerOverdue(Timer.PONG, 12.34), "WARNING", "the pong deadline was handled 12.3 seconds too late"),
    ],
)
def test_log(caplog: pytest.LogCaptureFixture, event: Any, level: str, text: str) -> None:
    logged = log_of(caplog, event)
    assert logged is not None
    assert logged[0] == level
    assert text in logged[1]


def test_log_of_an_opening(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Connection()._log_event(Response(101))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "connection open")
    ]


def test_log_escapes_what_came_from_the_peer(caplog: pytest.LogCaptureFixture) -> None:
    logged = log_of(caplog, Close(4000, "\x1b[31m\n"))
    assert logged == ("DEBUG", r"""connection closing: received "4000 (private use) '\\x1b[31m\\n'" """[:-1])


def test_log_of_handshakes_that_fail(caplog: pytest.LogCaptureFixture) -> None:
    """One line each: at INFO if it is the peer's fault, at ERROR if it is ours, or when it is refused."""

    def lines(*events: Failure) -> list[tuple[str, str]]:
        caplog.clear()
        connection = Connection()
        connection.protocol.handshake_error = InvalidHandshake("answered with\nHTTP status 500")
        with caplog.at_level(logging.INFO):
            for event in events:
                connection._log_event(event)
            connection._log_closed()
        return [(record.levelname, record.getMessage()) for record in caplog.records]

    assert lines(Failure(EOFError("gone\n"), True)) == [("INFO", r"opening handshake failed: 'gone\n'")]
    assert lines(Failure(TypeError("wrong"), False)) == [("ERROR", "opening handshake failed")]
    assert caplog.records[0].exc_info is not None
    assert lines() == [("INFO", r"opening handshake refused: 'answered with\nHTTP status 500'")]


def test_log_of_a_closing(caplog: pytest.LogCaptureFixture) -> None:
    connection = Connection()
    connection.protocol.connection_lost()
    connection.protocol.handshake_error = None
    with caplog.at_level(logging.INFO):
        connection._log_closed()
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert record.getMessage().startswith(
        "connection closed: 'connection failed: the stream was closed before the opening handshake was done; "
        "no close frame was received or sent', caused by InvalidMessage: "
    )


def test_pings_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert log_of(caplog, Ping(b"")) is None


@pytest.mark.parametrize("message", ["text", b"bytes", bytearray(b"bytes"), memoryview(b"bytes")])
def test_whole_messages(message: Any) -> None:
    assert fragments_of(message) is None


@pytest.mark.parametrize("message", [["a", "b"], iter([b"a"]), ("a",)])
def test_fragments(message: Any) -> None:
    assert fragments_of(message) is message


@pytest.mark.parametrize("message", [None, 1, {"a": 1}, object()])
def test_no_messages(message: Any) -> None:
    with pytest.raises(TypeError, match="message must"):
        fragments_of(message)


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (lambda websocket: None, False),
        (lambda websocket, path: None, True),
        (lambda websocket, path="/": None, False),
        (lambda *arguments: None, False),
        (iter, False),  # has no signature
    ],
)
def test_handlers_that_take_the_path(handler: Any, expected: bool) -> None:
    assert takes_path(handler) is expected


@pytest.mark.parametrize("handler", [lambda: None, lambda websocket, path, more: None])
def test_handlers_that_cannot_be_called(handler: Any) -> None:
    with pytest.raises(TypeError, match="handler must take the connection"):
        takes_path(handler)
