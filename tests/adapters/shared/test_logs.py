"""What is logged: lines that are safe whatever a peer sends, on records that say whom they are about."""

from __future__ import annotations

import json
import logging
import pickle
import zlib
from collections.abc import Callable, MutableMapping
from itertools import repeat
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.shared.connection import BaseConnection
from adapters.shared.logs import ConnectionLogger, FrameLog, describe, negotiated, shown
from adapters.shared.options import ConnectSettings, Logger
from adapters.shared.reconnect import AsyncReconnecting
from tests.core.helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    TEXT,
    URI,
    Chunking,
    Clock,
    Frame,
    answer,
    any_chunking,
    close_payload,
    from_peer,
    request,
    sent,
    written,
)
from tests.core.sample_extensions import Counting, Xor
from wsproto_core import (
    ClientProtocol,
    Headers,
    InvalidState,
    Protocol,
    Request,
    Response,
    ServerProtocol,
    Side,
)
from wsproto_core.broadcast import Delivery, deliver
from wsproto_core.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from wsproto_core.options import resolve
from wsproto_core.prepared import PreparedMessage

HOSTILE = "\r\n\x1b[31m\x00\x7f\x9b\u202e\U000e0041\ud800"


class Kept(logging.Handler):
    """A logger's records, and the logger."""

    def __init__(self, level: int = logging.DEBUG) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.logger = logging.Logger("kept", level)
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    def about(self, word: str) -> list[str]:
        return [line for line in self.lines if word in line]


def is_safe(line: str) -> bool:
    return line.isascii() and line.isprintable() and len(line) < 1000


def server_connection(
    kept: Kept, logger: Logger | None = None, clock: Clock | None = None, **options: Any
) -> BaseConnection:
    protocol = ServerProtocol(clock=clock or Clock(), **{"compression": None, **options})
    return BaseConnection(protocol, logger or kept.logger)


def opened(kept: Kept, clock: Clock | None = None, **options: Any) -> BaseConnection:
    """A server's connection that is open, and whose log is empty."""
    connection = server_connection(kept, clock=clock, **options)
    protocol = connection.protocol
    assert isinstance(protocol, ServerProtocol)
    compresses = options.get("compression") or options.get("extensions")
    headers = {"Sec_WebSocket_Extensions": "permessage-deflate"} if compresses else {}
    protocol.receive_data(request(**headers))
    protocol.accept()
    written(protocol)
    protocol.events(messages=False)
    kept.records.clear()
    return connection


# Attributes of records


def test_records_say_which_connection_they_are_about() -> None:
    kept = Kept()
    connection = opened(kept)
    connection.remote_address = ("192.0.2.1", 1234)
    connection._log_open()
    record = kept.records[0]
    assert record.getMessage() == "connection open"
    assert record.__dict__["connection_id"] == str(connection.id)
    assert record.__dict__["side"] == "server"
    assert record.__dict__["remote_address"] == ("192.0.2.1", 1234)
    assert record.__dict__["path"] == "/chat"
    # They can be sent to another process, and written as JSON.
    assert pickle.loads(pickle.dumps(record)).connection_id == str(connection.id)
    json.dumps({name: value for name, value in record.__dict__.items() if name != "args"})


def test_before_there_is_a_stream_or_a_request() -> None:
    kept = Kept()
    server_connection(kept).logger.info("early")
    (record,) = kept.records
    assert (record.__dict__["remote_address"], record.__dict__["path"]) == (None, None)


def test_formatter() -> None:
    kept = Kept()
    connection = opened(kept)
    connection._log_open()
    text = logging.Formatter("%(connection_id)s %(path)s %(message)s").format(kept.records[0])
    assert text == f"{connection.id} /chat connection open"


@pytest.mark.parametrize(
    ("side", "name"), [(Side.CLIENT, "wsproto_core.client"), (Side.SERVER, "wsproto_core.server")]
)
def test_default_loggers(side: Side, name: str) -> None:
    connection = BaseConnection(Protocol(side, clock=Clock()), None)
    assert connection.logger.logger is logging.getLogger(name)


def test_nothing_is_looked_up_for_what_is_not_logged() -> None:
    drawn = []

    def random(count: int) -> bytes:
        drawn.append(count)
        return bytes(count)

    kept = Kept(logging.WARNING)
    connection = BaseConnection(ServerProtocol(clock=Clock(), random=random), kept.logger)
    connection.logger.info("not logged")
    connection._log_event(Response(101, Headers()))
    assert drawn == []
    connection.logger.warning("logged")
    connection.logger.warning("logged")
    assert drawn == [16]


def test_extra_of_an_adapter_and_of_a_message_are_kept() -> None:
    kept = Kept()
    inner = logging.LoggerAdapter(kept.logger, {"application": "a", "tenant": 1})
    outer = logging.LoggerAdapter(inner, {"tenant": 2})
    connection = server_connection(kept, outer)
    connection.logger.info("text", extra={"order": 3})
    (record,) = kept.records
    values = record.__dict__
    assert values["application"] == "a"
    assert values["order"] == 3
    assert values["connection_id"] == str(connection.id)
    # logging itself lets the innermost adapter win.
    assert values["tenant"] == 1


def test_what_the_application_says_goes_first() -> None:
    kept = Kept()
    connection = server_connection(kept, logging.LoggerAdapter(kept.logger, {"path": "mine"}))
    connection.logger.info("text", extra={"side": "left"})
    assert (kept.records[0].__dict__["path"], kept.records[0].__dict__["side"]) == ("mine", "left")


def test_an_adapter_may_alter_the_message() -> None:
    class Prefix(logging.LoggerAdapter[logging.Logger]):
        def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
            return f"[mine] {msg}", kwargs

    kept = Kept()
    server_connection(kept, Prefix(kept.logger, {})).logger.info("%d text", 1)
    assert kept.lines == ["[mine] 1 text"]


def test_records_name_the_caller() -> None:
    kept = Kept()
    server_connection(kept).logger.info("text")
    assert kept.records[0].funcName == "test_records_name_the_caller"


# Texts


@pytest.mark.parametrize("text", [HOSTILE, "x" * 2**20, HOSTILE * 2**16])
def test_shown(text: str) -> None:
    assert is_safe(shown(text)) or len(shown(text)) <= 10 * 200 + 5
    assert "\n" not in shown(text)
    assert shown(text).isascii()


def test_a_long_text_says_that_it_was_cut() -> None:
    assert shown("x" * 200) == f"'{'x' * 200}'"
    assert shown("x" * 201) == f"'{'x' * 200}'..."


def test_causes_are_described() -> None:
    error = InvalidState("outside")
    error.__cause__ = EOFError("in\nside")
    assert describe(error) == r"'outside', caused by EOFError: 'in\nside'"


# The opening handshake


def test_handshake_on_a_server() -> None:
    kept = Kept()
    connection = server_connection(kept)
    protocol = connection.protocol
    assert isinstance(protocol, ServerProtocol)
    protocol.receive_data(request("GET /chat?a=b HTTP/1.1", X_Strange="a\x9bb" + "c" * 1000))
    assert kept.lines[0] == "request: 'GET' '/chat?a=b'"
    assert "request header: Upgrade: 'websocket'" in kept.lines
    assert kept.about("X-Strange")[0].endswith("ccc'...")
    protocol.accept()
    assert "response: 101, 0 bytes in the body" in kept.lines
    assert kept.about("response header: Sec-WebSocket-Accept: ")
    assert all(map(is_safe, kept.lines))
    assert {record.levelno for record in kept.records} == {logging.DEBUG}


def test_handshake_that_is_refused() -> None:
    kept = Kept()
    connection = server_connection(kept)
    connection.protocol.receive_data(request("POST /chat HTTP/1.1"))
    assert kept.about("request: 'POST' '/chat'")
    (line,) = kept.about("response: ")
    assert line.startswith("response: 405, ")


def test_handshake_on_a_client() -> None:
    kept = Kept()
    client = ClientProtocol("ws://user:secret@host.example/a", clock=Clock())
    BaseConnection(client, kept.logger)
    assert kept.lines[0] == "request: 'GET' '/a'"
    client.receive_data(answer(client))
    assert "response: 101 'Switching Protocols', 0 bytes in the body" in kept.lines


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "Proxy-Authorization", "Set-Cookie", "COOKIE"])
def test_credentials_are_never_shown(name: str) -> None:
    kept = Kept()
    log = FrameLog(kept.logger)
    log.request(Request("/", Headers({name: "secret"})))
    log.response(Response(200, Headers({name: "secret"})))
    assert kept.about("secret") == []
    assert f"request header: {name}: (not shown)" in kept.lines
    assert f"response header: {name}: (not shown)" in kept.lines


# Frames


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        (Frame(TEXT, b"hello"), "received text frame, FIN, 5 bytes: 'hello'"),
        (Frame(TEXT, b"hel", fin=False), "received text frame, 3 bytes: 'hel'"),
        (Frame(TEXT), "received text frame, FIN, 0 bytes: ''"),
        (Frame(TEXT, "é\n".encode()), r"received text frame, FIN, 3 bytes: '\xe9\n'"),
        (Frame(BINARY, b"\x00\xffa"), r"received binary frame, FIN, 3 bytes: b'\x00\xffa'"),
        (Frame(PING, b"\x1b"), r"received ping frame, FIN, 1 bytes: b'\x1b'"),
        (Frame(PONG), "received pong frame, FIN, 0 bytes: b''"),
        (Frame(CLOSE), "received close frame, FIN, 0 bytes: b''"),
        (Frame(CLOSE, b"\x03"), r"received close frame, FIN, 1 bytes: b'\x03'"),
        (Frame(CLOSE, close_payload(1000)), "received close frame, FIN, 2 bytes: 1000 (normal closure)"),
        (
            Frame(CLOSE, close_payload(4000, "bye\n")),
            r"received close frame, FIN, 6 bytes: 4000 (private use) 'bye\n'",
        ),
        (
            Frame(CLOSE, close_payload(1004) + b"\xff"),
            r"received close frame, FIN, 3 bytes: 1004 (unknown) '\\xff'",
        ),
    ],
)
@any_chunking
def test_frames_that_are_received(frame: Frame, line: str, chunking: Chunking) -> None:
    kept = Kept()
    protocol = opened(kept).protocol
    for chunk in chunking(from_peer(protocol, frame)):
        protocol.receive_data(chunk)
    assert kept.lines[:1] == [line]


def test_frames_that_are_sent() -> None:
    kept = Kept()
    protocol = opened(kept).protocol
    protocol.send("hello")
    protocol.send(memoryview(b"bytes"))
    protocol.send("frag", fin=False)
    protocol.send("ment")
    protocol.ping(b"data")
    protocol.close(1001, "away")
    assert len(sent(protocol)) == 6
    assert kept.lines == [
        "sent text frame, FIN, 5 bytes: 'hello'",
        "sent binary frame, FIN, 5 bytes: b'bytes'",
        "sent text frame, 4 bytes: 'frag'",
        "sent continuation frame, FIN, 4 bytes: 'ment'",
        "sent ping frame, FIN, 4 bytes: b'data'",
        "sent close frame, FIN, 6 bytes: 1001 (going away) 'away'",
    ]


def test_a_client_shows_what_it_masks() -> None:
    kept = Kept()
    client = ClientProtocol(URI, clock=Clock(), compression=None)
    BaseConnection(client, kept.logger)
    client.receive_data(answer(client))
    kept.records.clear()
    client.send("hello")
    assert kept.lines == ["sent text frame, FIN, 5 bytes: 'hello'"]


def test_control_frames_between_fragments() -> None:
    kept = Kept()
    protocol = opened(kept).protocol
    frames = Frame(BINARY, b"a", fin=False), Frame(PING, b"b"), Frame(CONTINUATION, b"c")
    protocol.receive_data(from_peer(protocol, *frames))
    assert kept.lines == [
        "received binary frame, 1 bytes: b'a'",
        "received ping frame, FIN, 1 bytes: b'b'",
        "received continuation frame, FIN, 1 bytes: b'c'",
    ]
    assert protocol.next_message() == b"ac"


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@any_chunking
def test_long_payloads_are_cut(opcode: int, chunking: Chunking) -> None:
    kept = Kept()
    protocol = opened(kept, max_size=None).protocol
    protocol.next_message()
    for chunk in chunking(from_peer(protocol, Frame(opcode, b"x" * 5000))):
        protocol.receive_data(chunk)
    (line,) = kept.lines
    assert "5000 bytes: " in line
    assert line.count("x") - line.count("text") == 128
    assert line.endswith("x'...")
    kept.records.clear()
    protocol.send("y" * 2**20)
    (line,) = kept.lines
    assert f"{2**20} bytes: '{'y' * 128}'..." in line


def test_a_character_that_is_cut_in_two_is_left_out() -> None:
    kept = Kept()
    opened(kept).protocol.send("x" + "é" * 100)
    assert kept.lines[0].endswith(r"\xe9\xe9'...")
    assert kept.lines[0].count(r"\xe9") == 63


@pytest.mark.parametrize("payload", [HOSTILE.encode(errors="surrogatepass") * 1000, b"\xff\xfe\n" * 1000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_hostile_payloads(opcode: int, payload: bytes) -> None:
    kept = Kept()
    connection = opened(kept)
    protocol = connection.protocol
    if opcode in (PING, CLOSE):
        payload = payload[:125]
    protocol.receive_data(from_peer(protocol, Frame(opcode, payload)))
    written(protocol)
    for event in protocol.events(messages=False):
        connection._log_event(event)
    assert kept.about("received ")
    assert all(map(is_safe, kept.lines))


# Extensions


def test_compressed_messages_are_shown_as_they_are_meant() -> None:
    kept = Kept()
    connection = opened(kept, extensions=[ServerPerMessageDeflateFactory(threshold=0)])
    protocol = connection.protocol
    assert len(protocol.extensions) == 1
    compressor = zlib.compressobj(wbits=-15)
    data = (compressor.compress(b"hello" * 100) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    protocol.receive_data(
        from_peer(protocol, Frame(TEXT, data[:4], fin=False, reserved=RSV1), Frame(CONTINUATION, data[4:]))
    )
    assert kept.lines == [
        f"received text frame, RSV1, 4 bytes: {data[:4]!a}",
        f"received continuation frame, FIN, {len(data) - 4} bytes: {data[4:]!a}",
        f"decoded message, 500 bytes: '{('hello' * 100)[:128]}'...",
    ]
    assert protocol.next_message() == "hello" * 100
    kept.records.clear()
    protocol.send("hello" * 100)
    (frame,) = sent(protocol)
    text = ("hello" * 100)[:128]
    assert kept.lines == [
        f"sent text frame, FIN, RSV1, {len(frame.payload)} bytes, encoded from 500: '{text}'..."
    ]
    kept.records.clear()
    # Not compressed: there is nothing to decode.
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"plain")))
    assert kept.lines == ["received text frame, FIN, 5 bytes: 'plain'"]


def test_extensions_that_see_every_message() -> None:
    kept = Kept()
    protocol = Protocol(Side.SERVER, clock=Clock(), extensions=[Counting()])
    BaseConnection(protocol, kept.logger)
    protocol.receive_data(from_peer(protocol, Frame(BINARY, b"data")))
    assert kept.lines == [
        "received binary frame, FIN, 4 bytes: b'data'",
        "decoded message, 4 bytes: b'data'",
    ]
    # What the extension has not changed is shown once.
    protocol.send(b"data")
    assert kept.lines[2] == "sent binary frame, FIN, 4 bytes: b'data'"
    assert protocol.next_message() == b"data"


def test_extensions_are_those_that_were_negotiated() -> None:
    protocol = Protocol(Side.SERVER, clock=Clock(), extensions=[Xor()])
    before = protocol.extensions
    BaseConnection(protocol, Kept().logger)
    assert protocol.extensions == before


def test_what_was_negotiated() -> None:
    assert negotiated((), None) == "extensions: none; subprotocol: none"
    assert negotiated((), "chat\n") == r"extensions: none; subprotocol: 'chat\n'"
    extension = ServerPerMessageDeflateFactory().process_request_params([], [])[1]
    assert negotiated([extension], None).startswith("extensions: PerMessageDeflate(remote_no_context")
    kept = Kept()
    opened(kept)._log_open()
    assert kept.lines == ["connection open", "extensions: none; subprotocol: none"]


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_messages_for_many_connections(compression: str | None) -> None:
    """Those whose frames are logged do not share them; what they send is the same."""
    kept, message = Kept(), PreparedMessage("hello" * 10)
    factories = [ServerPerMessageDeflateFactory(threshold=0)] if compression else []
    protocol = opened(kept, extensions=factories).protocol
    protocol.send(message)
    assert deliver(protocol, message) is Delivery.QUEUED
    assert [line.partition(",")[0] for line in kept.lines] == ["sent text frame"] * 2
    assert all(line.endswith(f"'{'hello' * 10}'") for line in kept.lines)
    assert len(sent(protocol)) == 2
    assert protocol.statistics.messages_sent == protocol.statistics.frames_sent == 2


# Who logs frames


def test_frames_are_not_looked_at_unless_the_level_is_debug() -> None:
    kept = Kept(logging.INFO)
    connection = opened(kept)
    protocol = connection.protocol
    kept.logger.setLevel(logging.DEBUG)
    # It is decided when the connection object is made.
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"hello")))
    protocol.send("hello")
    assert kept.lines == []


def test_frames_of_one_connection_only() -> None:
    kept, frames = Kept(logging.INFO), Kept()
    connection = server_connection(kept)
    protocol = connection.protocol
    assert isinstance(protocol, ServerProtocol)
    protocol.receive_data(request())
    connection.log_frames(frames.logger)
    protocol.accept()
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"hello")))
    assert kept.lines == []
    assert frames.lines[0] == "request: 'GET' '/chat'"
    assert frames.lines[-1] == "received text frame, FIN, 5 bytes: 'hello'"
    assert frames.records[-1].__dict__["path"] == "/chat"


@pytest.mark.parametrize(
    "begin",
    [
        lambda protocol: protocol.receive_data(from_peer(protocol, Frame(TEXT, b"hello"))),
        lambda protocol: protocol.receive_data(b"\x81"),
        lambda protocol: protocol.send("hello"),
    ],
    ids=["received", "received in part", "sent"],
)
def test_it_is_too_late_for_that_when_frames_have_passed(begin: Callable[[Protocol], None]) -> None:
    connection = opened(Kept(logging.INFO))
    begin(connection.protocol)
    with pytest.raises(InvalidState, match="observe a connection from its beginning"):
        connection.log_frames()


# Pings


def test_latencies() -> None:
    kept, clock = Kept(), Clock()
    connection = opened(kept, clock)
    protocol = connection.protocol
    payload = protocol.ping()
    clock.advance(0.25)
    protocol.receive_data(from_peer(protocol, Frame(PONG, payload)))
    for event in protocol.events(messages=False):
        connection._log_event(event)
    assert kept.lines[-1] == "ping answered after 0.250000 seconds"


def test_a_logger_of_records_about_a_connection_is_an_adapter() -> None:
    kept = Kept()
    logger = ConnectionLogger(kept.logger, server_connection(kept)._log_attributes)
    assert isinstance(logger, logging.LoggerAdapter)
    assert logger.logger is kept.logger


# Connecting again


def test_attempts_to_connect_again_are_warnings() -> None:
    kept = Kept()
    failures: list[Exception] = [OSError("refused\n\x1b"), TimeoutError("late")]

    async def connect() -> Any:
        if failures:
            raise failures.pop(0)
        return "connection"

    async def sleep(seconds: float) -> None:
        pass

    target: Any = SimpleNamespace(
        uri="ws://host/\x9b",
        settings=resolve(ConnectSettings, {"logger": kept.logger, "reconnect_delays": lambda: repeat(0.5)}),
        stream_options={},
    )
    connections: AsyncReconnecting[Any] = AsyncReconnecting(target, connect, sleep=sleep, clock=Clock())
    with pytest.raises(StopIteration) as stopped:
        connections.__anext__().send(None)
    assert stopped.value.value == "connection"
    assert [(record.levelname, record.getMessage()) for record in kept.records] == [
        (
            "WARNING",
            r"connecting to 'ws://host/\x9b' failed: 'refused\n\x1b'; trying again in 0.5 seconds",
        ),
        ("WARNING", r"connecting to 'ws://host/\x9b' failed: 'late'; trying again in 0.5 seconds"),
    ]
