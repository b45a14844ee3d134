"""A clock, peers made by hand, and connections that are open already.

What stands for the peer builds and reads its bytes here, without the library's own serializers and
parsers: otherwise a mistake that both of these make would never be seen.
"""

from __future__ import annotations

import base64
import hashlib
import tracemalloc
from collections.abc import Callable, Iterable
from itertools import cycle
from typing import Any, NamedTuple

import pytest

from wsproto_core import ClientProtocol, Event, Failure, Protocol, ServerProtocol, Side, State

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA
RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10

# RFC 6455 sections 1.3 and 5.7
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
MASKING_KEY = b"\x37\xfa\x21\x3d"

URI = "ws://server.example.com/chat"


class Clock:
    """A clock that stands still unless it is told to go on."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


# Frames


class Frame(NamedTuple):
    opcode: int
    payload: bytes = b""
    fin: bool = True
    reserved: int = 0


def mask(payload: bytes, key: bytes) -> bytes:
    return bytes(byte ^ key_byte for byte, key_byte in zip(payload, cycle(key), strict=False))


def frame_header(
    opcode: int,
    length: int,
    *,
    fin: bool = True,
    reserved: int = 0,
    masked: bool = False,
    length_bytes: int | None = None,
) -> bytes:
    """All of a frame that precedes the masking key; ``length_bytes`` chooses among 0, 2 and 8."""
    first = fin << 7 | reserved | opcode
    if length_bytes is None:
        length_bytes = 0 if length < 126 else 2 if length < 65536 else 8
    second = {0: length, 2: 126, 8: 127}[length_bytes]
    return bytes((first, masked << 7 | second)) + (
        length.to_bytes(length_bytes, "big") if length_bytes else b""
    )


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, masked: bool = False
) -> bytes:
    header = frame_header(opcode, len(payload), fin=fin, reserved=reserved, masked=masked)
    return header + (MASKING_KEY + mask(payload, MASKING_KEY) if masked else payload)


def from_peer(protocol: Protocol, *frames: Frame) -> bytes:
    """The bytes of frames, as the peer of this protocol sends them."""
    masked = protocol.side is Side.SERVER
    return b"".join(
        frame(opcode, payload, fin=fin, reserved=reserved, masked=masked)
        for opcode, payload, fin, reserved in frames
    )


def header_from_peer(protocol: Protocol, opcode: int, length: int, **options: Any) -> bytes:
    """The header of a frame from the peer, without the masking key."""
    return frame_header(opcode, length, masked=protocol.side is Side.SERVER, **options)


def close_payload(code: int, reason: str = "") -> bytes:
    return code.to_bytes(2, "big") + reason.encode()


def parse_frames(data: bytes, *, masked: bool) -> list[Frame]:
    """Take output apart, which must be whole frames, masked or not."""
    frames = []
    while data:
        first, second = data[:2]
        assert bool(second & 0x80) is masked
        size = {126: 2, 127: 8}.get(second & 0x7F, 0)
        length = int.from_bytes(data[2 : 2 + size], "big") if size else second & 0x7F
        data = data[2 + size :]
        key = b"\0\0\0\0"
        if masked:
            key, data = data[:4], data[4:]
        payload, data = data[:length], data[length:]
        assert len(payload) == length
        frames.append(Frame(first & 0x0F, mask(payload, key), bool(first & 0x80), first & 0x70))
    return frames


def written(protocol: Protocol) -> bytes:
    """Write all that is to be written."""
    data = b"".join(protocol.data_to_send())
    protocol.data_sent()
    return data


def sent(protocol: Protocol) -> list[Frame]:
    """Write all that is to be written, which must be frames."""
    return parse_frames(written(protocol), masked=protocol.side is Side.CLIENT)


# Chunkings


def whole(data: bytes) -> Iterable[bytes]:
    return [data]


def one_by_one(data: bytes) -> Iterable[bytes]:
    return (data[index : index + 1] for index in range(len(data)))


def by_sevens(data: bytes) -> Iterable[bytes]:
    return (data[index : index + 7] for index in range(0, len(data), 7))


def first_apart(data: bytes) -> Iterable[bytes]:
    return [data[:1], data[1:]]


Chunking = Callable[[bytes], Iterable[bytes]]

any_chunking = pytest.mark.parametrize("chunking", [whole, one_by_one, by_sevens, first_apart])
both_sides = pytest.mark.parametrize("side", list(Side), ids=lambda side: side.value)


def feed(protocol: Protocol, data: bytes, chunking: Chunking = whole) -> list[Event]:
    """Let a protocol receive data; return the events of all chunks together.

    A close frame or an error behind messages takes effect when more is asked for.
    """
    events: list[Event] = []
    for chunk in chunking(data):
        protocol.receive_data(chunk)
        while more := protocol.events():
            events += more
    return events


# The opening handshake


def headers(defaults: dict[str, str], changes: dict[str, Any]) -> str:
    """Header lines; in the changes a list stands for several of a name, and None for none."""
    lines = []
    for name, value in {**defaults, **changes}.items():
        values = [] if value is None else [value] if isinstance(value, str) else value
        lines += [f"{name.replace('_', '-')}: {each}\r\n" for each in values]
    return "".join(lines)


def request(start: str = "GET /chat HTTP/1.1", **changes: Any) -> bytes:
    """A valid request, but for the changes."""
    defaults = {
        "Host": "server.example.com",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Key": KEY,
        "Sec_WebSocket_Version": "13",
    }
    return f"{start}\r\n{headers(defaults, changes)}\r\n".encode("latin-1")


def response(key: str, start: str = "HTTP/1.1 101 Switching Protocols", **changes: Any) -> bytes:
    """A valid response to the request with this key, but for the changes."""
    accept = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    defaults = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec_WebSocket_Accept": base64.b64encode(accept).decode(),
    }
    return f"{start}\r\n{headers(defaults, changes)}\r\n".encode("latin-1")


class Head(NamedTuple):
    """A request or a response: its first line, its headers by lower-case name, and its body."""

    start: str
    headers: dict[str, str]
    body: bytes

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1])


def parse_head(data: bytes) -> Head:
    head, blank, body = data.partition(b"\r\n\r\n")
    assert blank
    start, *lines = head.decode("ascii").split("\r\n")
    pairs = [line.split(": ", 1) for line in lines]
    names = [name.lower() for name, _ in pairs]
    assert len(set(names)) == len(names)
    return Head(start, dict(zip(names, (value for _, value in pairs), strict=True)), body)


def answer(client: ClientProtocol, **changes: Any) -> bytes:
    """Take a client's request and return a valid response to it, but for the changes."""
    return response(parse_head(written(client)).headers["sec-websocket-key"], **changes)


def opened_client(
    clock: Clock | None = None, response_headers: dict[str, str] | None = None, **options: Any
) -> ClientProtocol:
    client = ClientProtocol(URI, clock=clock or Clock(), **{"compression": None, **options})
    client.receive_data(answer(client, **response_headers or {}))
    assert client.state is State.OPEN
    client.events(messages=False)
    return client


def opened_server(
    clock: Clock | None = None, request_headers: dict[str, str] | None = None, **options: Any
) -> ServerProtocol:
    server = ServerProtocol(clock=clock or Clock(), **{"compression": None, **options})
    server.receive_data(request(**request_headers or {}))
    assert server.accept().status == 101
    assert server.state is State.OPEN
    written(server)
    server.events(messages=False)
    return server


def opened(side: Side, clock: Clock | None = None, **options: Any) -> Protocol:
    return (opened_client if side is Side.CLIENT else opened_server)(clock, **options)


def opened_pair(
    client_options: dict[str, Any] | None = None, server_options: dict[str, Any] | None = None
) -> tuple[ClientProtocol, ServerProtocol]:
    """A client and a server that have opened a connection to each other."""
    client = ClientProtocol(URI, clock=Clock(), **{"compression": None, **(client_options or {})})
    server = ServerProtocol(clock=Clock(), **{"compression": None, **(server_options or {})})
    server.receive_data(written(client))
    server.accept()
    client.receive_data(written(server))
    assert client.state is server.state is State.OPEN
    client.events(messages=False)
    server.events(messages=False)
    return client, server


def transfer(sender: Protocol, receiver: Protocol, chunking: Chunking = whole) -> None:
    """Write what one protocol has to send, and let another one receive it."""
    for chunk in chunking(written(sender)):
        receiver.receive_data(chunk)


# Memory, time and failure


def peak_memory(function: Callable[[], object]) -> int:
    """The most bytes that are allocated at the same time while a function runs."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        function()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def reach_deadline(protocol: Protocol, clock: Clock) -> None:
    """Let time pass until the deadline, and tell."""
    deadline = protocol.deadline()
    assert deadline is not None
    assert deadline >= clock.now
    clock.now = deadline
    protocol.handle_timeout()


def check_failed(protocol: Protocol, events: list[Event], code: int, error: type[Exception]) -> list[Event]:
    """Check that the connection has failed by the peer's fault; return the events before that."""
    *before, failure = events
    assert isinstance(failure, Failure)
    assert type(failure.error) is error
    assert failure.remote
    assert failure.close is not None
    assert failure.close.code == code
    assert protocol.state is State.CLOSING
    assert not protocol.receiving
    assert protocol.close_code == 1006
    *_, last = sent(protocol)
    assert last == Frame(CLOSE, close_payload(code, failure.close.reason))
    assert failure.close.reason
    # Nothing means anything any more.
    assert feed(protocol, b"\xff" * 1000 + from_peer(protocol, Frame(PING), Frame(TEXT, b"late"))) == []
    assert written(protocol) == b""
    return before
