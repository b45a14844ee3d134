"""A server's opening handshake: any bytes in the place of a request.

- No input raises, in any chunking, and all chunkings give the same events and the same output.
- A request that is accepted has what RFC 6455 section 4.2.1 asks for, by a reading of its own.
- The output is a well-formed response, with nothing after it if the connection is refused.
- The memory for a head, and for what follows it before there is an answer, has the limits of the options.
"""

from __future__ import annotations

import binascii
import re
from typing import Any

from fuzz.peer import parse_head
from fuzz.source import Source, play_chunkings
from wsproto_core import (
    AbortHandshake,
    Failure,
    Headers,
    Request,
    Response,
    ServerProtocol,
    State,
    make_response,
)
from wsproto_core.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from wsproto_core.handshake.answers import ServerHandshake

SERVER_DEFLATE = ServerPerMessageDeflateFactory(server_no_context_takeover=True, server_max_window_bits=9)


def mark(path: str, headers: Headers, response: Response) -> None:
    """Add a header to each response, as ``process_response``."""
    response.headers["X-Marked"] = "1"


OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"compression": None, "origins": [None, "https://example.com"]},
    {"subprotocols": ["chat", "superchat"], "extra_headers": {"X-Extra": "1"}},
    {"max_headers": 8, "max_header_line": 64, "max_header_bytes": 512, "read_limit": 256},
    {"server_header": None, "max_headers": None, "max_header_line": None, "max_header_bytes": None},
    {"process_response": mark, "extra_headers": lambda path, headers: {"X-Path": path}},
    {"extensions": [SERVER_DEFLATE], "origins": [re.compile(r"https://.*\.com"), None]},
)

ANSWERS = (
    "accept",
    "answer",
    "late",
    "reject",
    "shut down",
    "not at all",
    "configure",
    "fail",
    "abort",
    "refuse",
)

CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def fuzz(data: bytes) -> None:
    source = Source(data)
    options = source.choice(OPTIONS)
    answer = source.choice(ANSWERS)
    seed = source.seed()
    stream = source.rest()
    _, output, opened = play_chunkings(lambda pieces: play(pieces, options, answer), stream, seed)
    if opened:
        check_accepted(stream)
        assert parse_head(output).start == "HTTP/1.1 101 Switching Protocols"
    elif output:
        check_refusal(stream, output)


def play(pieces: list[bytes], options: dict[str, Any], answer: str) -> tuple[list[object], bytes, bool]:
    """Let a server receive pieces; return its events, its output before frames, and whether it has opened."""
    server = ServerProtocol(clock=lambda: 0.0, random=bytes, **options)
    seen: list[object] = []
    output = b""
    asked = opened = False
    for piece in pieces:
        server.receive_data(piece)
        check_memory(server, len(piece))
        while events := server.events():
            if not opened:
                seen += [describe(event) for event in events if not isinstance(event, str | bytes)]
            for event in events:
                if isinstance(event, Request):
                    assert not asked, "two requests"
                    asked = True
                    give(server, answer)
            opened = has_opened(server)
        if not opened:
            output += write(server)
        else:
            break
    if asked and answer == "late" and server.handshake_error is None:
        server.accept()
        seen += [describe(event) for event in server.events(messages=False)]
        opened = has_opened(server)
    if not opened:
        if server.state is State.CONNECTING:
            server.receive_eof()
            seen += [describe(event) for event in server.events()]
            assert server.handshake_error is not None
        output += write(server)
        server.receive_data(b"GET / HTTP/1.1\r\n\r\n")
        server.connection_lost()
        assert server.data_to_send() == [], "output after the end of the stream"
        assert server.state is State.CLOSED
    else:
        # Frames may have been received behind the request: their answers are not of this target.
        head, blank, _ = write(server).partition(b"\r\n\r\n")
        output += head + blank
        seen = [event for event in seen if isinstance(event, tuple) and event[0] == "Request"]
    return seen, output, opened


def has_opened(server: ServerProtocol) -> bool:
    """Whether the request was accepted; frames behind it may have closed the connection at once."""
    return server.response is not None and server.response.status == 101


def give(server: ServerProtocol, answer: str) -> None:
    """Do what an application does with a request."""
    if answer == "accept":
        server.accept()
    elif answer == "answer":
        server.answer(None)
    elif answer == "reject":
        server.reject(make_response(404, body="no such page"))
    elif answer == "shut down":
        server.shut_down()
    elif answer == "configure":
        server.configure(subprotocols=["superchat"], extra_headers={"X-Configured": "1"})
        server.accept()
    elif answer == "fail":
        server.answer(OSError("no database"))
    elif answer == "abort":
        server.answer(AbortHandshake(404, {"X-Reason": "none"}, b"no such page"))
    elif answer == "refuse":
        server.refuse_connection()


def write(server: ServerProtocol) -> bytes:
    output = b"".join(server.data_to_send())
    server.data_sent()
    return output


def describe(event: object) -> tuple[object, ...]:
    """Return what two equal events have in common."""
    if isinstance(event, Failure):
        assert event.remote or not isinstance(event.error, AssertionError)
        return "Failure", type(event.error).__name__, str(event.error), event.remote
    if isinstance(event, Request):
        return "Request", event.method, event.path, tuple(event.headers.raw_items())
    if isinstance(event, Response):
        return "Response", event.status, tuple(event.headers.raw_items()), event.body
    return (repr(event),)


def check_memory(server: ServerProtocol, received: int) -> None:
    """Check what the handshake keeps beside the bytes that it has just received."""
    handshake = server._handshake
    limit = server._settings.max_header_bytes
    if isinstance(handshake, ServerHandshake):
        if handshake.request is None and limit is not None:
            assert len(handshake._reading._data) <= limit + received, "more of a head is kept than the limit"
        early = len(handshake._early)
        assert server.wants_read is (early < server._settings.read_limit.high)


def check_accepted(stream: bytes) -> None:
    """Check a request that was accepted, by RFC 6455 section 4.2.1 and RFC 9112."""
    text = stream.decode("latin-1").lstrip("\r\n")
    lines: list[str] = []
    for line in text.split("\n"):
        line = line.removesuffix("\r")
        if not line:
            break
        if line[0] in " \t":
            lines[-1] += " " + line.strip(" \t")
        else:
            lines.append(line)
    assert not any(CONTROL.search(line) for line in lines)
    method, target, version = lines[0].split(" ")
    assert method == "GET"
    assert version == "HTTP/1.1"
    assert "#" not in target
    headers: dict[str, list[str]] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers.setdefault(name.lower(), []).append(value.strip(" \t"))
    assert len(headers["host"]) == 1
    assert headers["sec-websocket-version"] == ["13"]
    (key,) = headers["sec-websocket-key"]
    assert len(binascii.a2b_base64(key)) == 16
    assert "websocket" in listed(headers["upgrade"])
    assert "upgrade" in listed(headers["connection"])
    assert "transfer-encoding" not in headers
    assert all(int(value) == 0 for value in headers.get("content-length", []))


def listed(values: list[str]) -> list[str]:
    return [element.strip(" \t").lower() for value in values for element in value.split(",")]


def check_refusal(stream: bytes, output: bytes) -> None:
    """Check a response that refuses the connection: it is whole, and the last one."""
    head = parse_head(output)
    version, status, _ = head.start.split(" ", 2)
    assert version == "HTTP/1.1"
    assert 400 <= int(status) < 600, head.start
    (length,) = head.values("content-length")
    assert "close" in listed(head.values("connection"))
    assert head.values("transfer-encoding") == []
    if head.rest or not stream.lstrip(b"\r\n").startswith(b"HEAD "):
        assert len(head.rest) == int(length)
