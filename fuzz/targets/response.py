"""A client's opening handshake: any bytes in the place of a response.

- No input raises, in any chunking, and all chunkings give the same events and the same end.
- A response that opens the connection has what RFC 6455 section 4.1 asks for, by a reading of its own.
- The memory for a head has the limits of the options, and 64 KiB of a body are kept at most.
"""

from __future__ import annotations

from typing import Any

from fuzz.peer import parse_head
from fuzz.source import Source, play_chunkings
from fuzz.targets.request import CONTROL, describe, listed
from wsproto_core import ClientProtocol, State
from wsproto_core.handshake.client import ClientHandshake

URI = "ws://example.com/chat"

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"compression": None},
    {"subprotocols": ["chat", "superchat"]},
    {"max_headers": 8, "max_header_line": 64, "max_header_bytes": 512},
    {"max_headers": None, "max_header_line": None, "max_header_bytes": None},
)

ENDS = ("end of stream", "lost", "deadline")

# The answer to the key of sixteen zero bytes, which is what this target's source of randomness gives.
ACCEPT = "ICX+Yqv66kxgM0FcWaLWlFLwTAI="

MAX_BODY = 65536


def fuzz(data: bytes) -> None:
    source = Source(data)
    options = source.choice(OPTIONS)
    end = source.choice(ENDS)
    seed = source.seed()
    stream = source.rest()
    if play_chunkings(lambda pieces: play(pieces, options, end), stream, seed)[1]:
        check_accepted(stream, options.get("subprotocols", []))


def play(pieces: list[bytes], options: dict[str, Any], end: str) -> tuple[list[object], bool]:
    """Let a client receive pieces; return its events, and whether it has opened."""
    now = 0.0
    client = ClientProtocol(URI, clock=lambda: now, random=bytes, **options)
    request = parse_head(b"".join(client.data_to_send()))
    client.data_sent()
    assert request.start == "GET /chat HTTP/1.1"
    assert request.rest == b""
    seen: list[object] = []
    for piece in pieces:
        client.receive_data(piece)
        check_memory(client, len(piece))
        seen += [describe(event) for event in client.events(messages=False)]
        if client.state is State.OPEN or not client.receiving:
            break
    opened = seen[:1] != [] and client.response is not None and client.response.status == 101
    opened = opened and client.handshake_error is None
    if not opened:
        if client.state is State.CONNECTING:
            if end == "end of stream":
                client.receive_eof()
            elif end == "lost":
                client.connection_lost(ConnectionResetError())
            else:
                deadline = client.deadline()
                assert deadline is not None
                now = deadline
                client.handle_timeout()
            seen += [describe(event) for event in client.events()]
        check_failure(client)
        client.receive_data(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        assert client.data_to_send() == [], "output of a client that was refused"
        client.connection_lost()
        assert client.state is State.CLOSED
    else:
        seen = seen[:1]
    return seen, opened


def check_failure(client: ClientProtocol) -> None:
    """Check what a client tells whose opening handshake has failed."""
    assert client.handshake_error is not None
    assert client.state is not State.OPEN
    if client.response is not None:
        assert len(client.response.body) <= MAX_BODY
    assert not client.receiving
    assert client.close_code == 1006
    assert str(client.close_exception())


def check_memory(client: ClientProtocol, received: int) -> None:
    """Check what the handshake keeps beside the bytes that it has just received."""
    handshake = client._handshake
    limit = client._settings.max_header_bytes
    if isinstance(handshake, ClientHandshake):
        reading = handshake._reading
        assert len(reading._body) <= MAX_BODY + received
        if limit is not None and reading.head is None:
            assert len(reading._data) <= limit + received, "more of a head is kept than the limit"


def check_accepted(stream: bytes, offered: list[str]) -> None:
    """Check a response that was accepted, by RFC 6455 section 4.1."""
    text = stream.decode("latin-1")
    while True:
        lines: list[str] = []
        while text:
            line, _, text = text.partition("\n")
            line = line.removesuffix("\r")
            if not line:
                break
            if line[0] in " \t":
                lines[-1] += " " + line.strip(" \t")
            else:
                lines.append(line)
        assert not any(CONTROL.search(line) for line in lines)
        version, status = lines[0].split(" ")[:2]
        if status == "101" or not status.startswith("1"):
            break
    assert (version, status) == ("HTTP/1.1", "101")
    headers: dict[str, list[str]] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers.setdefault(name.lower(), []).append(value.strip(" \t"))
    assert headers["sec-websocket-accept"] == [ACCEPT]
    assert [each for each in listed(headers["upgrade"]) if each] == ["websocket"]
    assert "upgrade" in listed(headers["connection"])
    for name in listed(headers.get("sec-websocket-protocol", [])):
        assert name == "" or name in [each.lower() for each in offered]
    assert all(int(value) == 0 for value in headers.get("content-length", []))
