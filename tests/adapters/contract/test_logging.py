"""Logging: a line for an opening and one for a closing, errors, and no text without escapes."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import Log, wait_closed
from tests.core.helpers import BINARY, CLOSE, TEXT, Frame, close_payload, request
from wsproto_core import InvalidStatusCode

needs_sockets = pytest.mark.needs("sockets")

OPEN = ("INFO", "connection open")
CLOSED = ("INFO", "connection closed")
FAILED = ("INFO", "opening handshake failed")
REFUSED = ("INFO", "opening handshake refused")


def lines(log: Log) -> list[tuple[str, str]]:
    """The lines from INFO on about connections: their levels, and the text before the first colon."""
    return [
        (record.levelname, record.getMessage().partition(":")[0])
        for record in log.records
        if record.levelno >= logging.INFO and not record.getMessage().startswith("server listening")
    ]


def check_safe(log: Log) -> None:
    for record in log.records:
        message = record.getMessage()
        assert message.isascii()
        assert message.isprintable()
        assert len(message) < 1500


# One line for each course of events


@needs_sockets
@pytest.mark.parametrize("by", ["client", "server", "handler"])
async def test_openings_and_closings_are_a_line_each(runtime: Runtime, by: str) -> None:
    client_log, server_log = Log(), Log()

    async def handler(websocket: Any) -> None:
        if by != "handler":
            await websocket.wait_closed()

    async with runtime.serving(handler, logger=server_log) as (server, uri):
        async with runtime.connect(uri, logger=client_log) as client:
            if by == "server":
                server.close(reason="\x1b[31m")
            elif by == "client":
                await client.close(4000, "bad \x1b[31m")
            await client.wait_closed()
        await runtime.until(lambda: not server.connections)
    assert lines(client_log) == lines(server_log) == [OPEN, CLOSED]
    check_safe(client_log)
    check_safe(server_log)


@needs_sockets
async def test_handler_that_raises(runtime: Runtime) -> None:
    log = Log()

    async def handler(websocket: Any) -> None:
        raise ValueError("wrong")

    async with runtime.serving(handler, logger=log) as (server, uri), runtime.connect(uri) as client:
        await client.wait_closed()
        await runtime.until(lambda: not server.connections)
    assert lines(log) == [OPEN, ("ERROR", "connection handler failed"), CLOSED]
    assert log.errors() == [("connection handler failed", ValueError)]


@needs_sockets
async def test_handler_that_is_ended_by_the_end_of_its_connection(runtime: Runtime) -> None:
    log = Log()

    async def handler(websocket: Any) -> None:
        await websocket.recv()

    async with runtime.serving(handler, logger=log) as (server, uri):
        async with runtime.connect(uri):
            pass
        await runtime.until(lambda: not server.connections)
    assert lines(log) == [OPEN, CLOSED]


@needs_sockets
async def test_handshake_that_is_answered_otherwise(runtime: Runtime) -> None:
    log, client_log = Log(), Log()
    options: dict[str, Any] = {"process_request": lambda path, headers: (404, {}, b"")}
    async with runtime.serving(**options, logger=log) as (server, uri):
        log.records.clear()  # where the server listens
        with pytest.raises(InvalidStatusCode):
            await runtime.open(uri, logger=client_log)
        await runtime.until(lambda: not server.connections)
    assert lines(log) == [REFUSED]
    assert lines(client_log) == [FAILED]
    (message,) = log.messages()
    assert "HTTP status 404" in message


@needs_sockets
async def test_process_request_that_raises(runtime: Runtime) -> None:
    log = Log()

    def process_request(path: str, headers: Any) -> None:
        raise ValueError("wrong")

    async with runtime.serving(process_request=process_request, logger=log) as (server, uri):
        with pytest.raises(InvalidStatusCode):
            await runtime.open(uri)
        await runtime.until(lambda: not server.connections)
    assert lines(log) == [("ERROR", "opening handshake failed")]
    assert log.errors() == [("opening handshake failed", ValueError)]


@needs_sockets
@pytest.mark.parametrize(
    "data",
    [
        b"\x1b[31m\r\n\r\n",
        request("POST / HTTP/1.1"),
        request(Upgrade="\x1b"),
        request(Sec_WebSocket_Key="\x9b" * 5000),
        request()[:-1],
        b"",
    ],
    ids=["no HTTP", "POST", "no WebSocket", "long key", "cut off", "nothing"],
)
async def test_handshake_that_the_client_gets_wrong(runtime: Runtime, data: bytes) -> None:
    log = Log()
    async with runtime.serving(logger=log) as (server, _):
        async with runtime.raw_connection(server) as peer:
            await peer.send(data)
            peer.end()
            await peer.read_to_end()
        await runtime.until(lambda: not server.connections)
    assert lines(log) == [FAILED]
    check_safe(log)


@needs_sockets
async def test_too_many_connections(runtime: Runtime) -> None:
    log = Log()
    async with runtime.serving(wait_closed, logger=log, max_connections=1) as (server, uri):
        async with runtime.connect(uri):
            await runtime.until(lambda: lines(log) == [OPEN])
            with pytest.raises(InvalidStatusCode):
                await runtime.open(uri)
            await runtime.until(lambda: len(server.connections) == 1)
        await runtime.until(lambda: not server.connections)
    assert lines(log) == [OPEN, REFUSED, CLOSED]


@needs_sockets
@pytest.mark.parametrize("how", ["protocol error", "end", "reset"])
async def test_connection_that_fails(runtime: Runtime, how: str) -> None:
    log = Log()
    async with (
        runtime.serving(wait_closed, logger=log) as (server, _),
        runtime.raw_client(server) as peer,
    ):
        await runtime.until(lambda: lines(log) == [OPEN])
        if how == "protocol error":
            await peer.send(b"\xff\xff")
            await peer.read_to_end()
            peer.end()
        else:
            getattr(peer, how)()
        await runtime.until(lambda: not server.connections)
    assert lines(log) == [OPEN, CLOSED]
    *_, message = log.messages()
    assert "caused by" in message


@needs_sockets
async def test_connection_that_is_closed_as_soon_as_it_is_open(runtime: Runtime) -> None:
    log = Log()
    async with runtime.serving(wait_closed, logger=log) as (server, _):
        async with runtime.raw_connection(server) as peer:
            close = peer.build(Frame(CLOSE, close_payload(1000)))
            await peer.send(request() + close)
            await peer.read_to_end()
        await runtime.until(lambda: not server.connections)
    assert lines(log) == [OPEN, CLOSED]


async def test_nothing_is_worth_a_warning_in_ordinary_use(runtime: Runtime) -> None:
    log = Log()
    async with runtime.serving(logger=log) as (server, uri):
        async with runtime.connect(uri, logger=log) as client:
            for _ in range(10):
                await runtime.check_echo(client)
            await runtime.pong(await client.ping())
        await runtime.until(lambda: not server.connections)
    assert log.messages(logging.WARNING) == []


# Records


@needs_sockets
async def test_records_say_which_connection_they_are_about(runtime: Runtime) -> None:
    client_log, server_log = Log(), Log()
    async with runtime.serving(logger=server_log) as (server, uri):
        server_log.records.clear()  # where the server listens
        async with runtime.connect(uri + "chat?a=b", logger=client_log) as client:
            await runtime.check_echo(client)
            (connection,) = map(runtime.native, server.connections)
            ends = [(client_log, client, "client"), (server_log, connection, "server")]
            identities = [(str(end.id), end.remote_address) for _, end, _ in ends]
        await runtime.until(lambda: not server.connections)
    for (log, _, side), (identity, address) in zip(ends, identities, strict=True):
        records = [record.__dict__ for record in log.records if record.levelno >= logging.INFO]
        assert len(records) == 2
        for record in records:
            assert record["connection_id"] == identity
            assert record["side"] == side
            assert record["path"] == "/chat?a=b"
            assert record["remote_address"] == address
            assert address is not None


async def test_extra_of_the_applications_own_adapter_is_kept(runtime: Runtime) -> None:
    log = Log()
    adapter = logging.LoggerAdapter(log, {"tenant": 5})
    async with runtime.serving(wait_closed, logger=adapter) as (server, uri):
        log.records.clear()  # where the server listens
        async with runtime.connect(uri):
            await runtime.until(lambda: log.records)
        await runtime.until(lambda: not server.connections)
    assert {record.__dict__["tenant"] for record in log.records} == {5}
    assert len({record.__dict__["connection_id"] for record in log.records}) == 1


# Frames


async def test_frames_are_logged_at_debug(runtime: Runtime) -> None:
    client_log, server_log = Log(), Log()
    async with runtime.serving(logger=server_log) as (server, uri):
        async with runtime.connect(uri, logger=client_log) as client:
            await client.send("hello\n")
            await client.recv()
            await client.send(b"\x00" * 2**16)
            await client.recv()
            await runtime.pong(await client.ping(b"data"))
            await client.close(1000, "bye")
        await runtime.until(lambda: not server.connections)
    for log, here, there in ((client_log, "sent", "received"), (server_log, "received", "sent")):
        messages = log.messages(logging.DEBUG)
        for line in (
            r"text frame, FIN, 6 bytes: 'hello\n'",
            "binary frame, FIN, 65536 bytes: b'" + r"\x00" * 128 + "'...",
        ):
            assert f"{here} {line}" in messages
            assert f"{there} {line}" in messages
        assert f"{here} ping frame, FIN, 4 bytes: b'data'" in messages
        assert f"{there} pong frame, FIN, 4 bytes: b'data'" in messages
        assert f"{here} close frame, FIN, 5 bytes: 1000 (normal closure) 'bye'" in messages
        assert any(message.startswith("request: 'GET' ") for message in messages)
        assert any(message.startswith("response: 101") for message in messages)
        assert "extensions: none; subprotocol: none" in messages
        check_safe(log)
    assert any(message.startswith("ping answered after ") for message in client_log.messages(logging.DEBUG))


async def test_hostile_frames(runtime: Runtime) -> None:
    log = Log()
    async with runtime.serving(logger=log) as (server, _):
        async with runtime.raw_client(server, X_Header="\x1b[31m".replace("\x1b", "\x9b")) as peer:
            for frame in (
                Frame(TEXT, "\r\n\x1b[31m\u202e\x00".encode() * 1000),
                Frame(BINARY, bytes(range(256)) * 100),
                Frame(CLOSE, close_payload(4000, "\r\n\x1b[31m\u202e")),
            ):
                await peer.send(frame)
            await peer.read_frames_to_end()
        await runtime.until(lambda: not server.connections)
    assert len([line for line in log.messages(logging.DEBUG) if line.startswith("received ")]) == 3
    check_safe(log)


async def test_credentials_are_never_logged(runtime: Runtime) -> None:
    log = Log()
    async with runtime.serving(logger=log) as (server, uri):
        secret = uri.replace("://", "://user:password@")
        headers = {"Cookie": "session=secret"}
        async with runtime.connect(secret, logger=log, extra_headers=headers) as client:
            await runtime.check_echo(client)
        await runtime.until(lambda: not server.connections)
    messages = "".join(log.messages(logging.DEBUG))
    assert "Authorization: (not shown)" in messages
    assert "Cookie: (not shown)" in messages
    assert "secret" not in messages
    assert "password" not in messages
    assert "dXNlcjpwYXNzd29yZA" not in messages


async def test_no_frames_above_debug(runtime: Runtime) -> None:
    log = Log()
    log.logger.setLevel(logging.INFO)
    async with runtime.serving(logger=log) as (server, uri):
        async with runtime.connect(uri, logger=log) as client:
            await runtime.check_echo(client)
        await runtime.until(lambda: not server.connections)
    assert {record.levelno for record in log.records} == {logging.INFO}


async def test_frames_of_one_connection_only(runtime: Runtime) -> None:
    log, frames = Log(), Log()
    log.logger.setLevel(logging.INFO)

    class Watched(runtime.ServerConnection):  # type: ignore[name-defined,misc]
        def process_request(self, path: str, request_headers: Any) -> Any:
            if path == "/watched":
                self.log_frames(frames.logger)
            return super().process_request(path, request_headers)

    async with runtime.serving(logger=log, create_protocol=Watched) as (_, uri):
        async with runtime.connect(uri) as client:
            await runtime.check_echo(client)
        assert not frames.records
        async with runtime.connect(f"{uri}watched") as client:
            await runtime.check_echo(client)
    assert {record.levelno for record in log.records} == {logging.INFO}
    assert {"request: 'GET' '/watched'", "received close frame, FIN, 2 bytes: 1000 (normal closure)"} <= {
        message.replace(", mask", "") for message in frames.messages(logging.DEBUG)
    }
