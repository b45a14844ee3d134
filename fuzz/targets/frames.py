"""The frame and message machine: any bytes from a peer, on an open connection of either side.

- No input raises, in any chunking, by ``receive_data`` or by ``get_buffer``. All give the same events: those
  of a plain reading of RFC 6455 in this module, frame by frame. With compression, they only agree.
- An observer is told of all frames.
- Each ping is answered, unless the connection fails before the pong is written; the close frame is the last
  one, and nothing is sent behind it.
- Less is kept than the limits of the options allow, and nothing after an error.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Any

from fuzz.peer import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, apply_key, parse_frames
from fuzz.source import Source, chunkings
from tests.halves import receive
from wsproto_core import Close, Failure, Ping, Pong, Protocol, Side, State
from wsproto_core.exceptions import PayloadTooBig, ProtocolError
from wsproto_core.extensions.permessage_deflate import PerMessageDeflate
from wsproto_core.observing import Excerpt, Observer

OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"max_size": 200},
    {"max_size": (300, 100)},
    {"max_size": None, "read_limit": 500},
    {"max_fragments": 2},
    {"max_queue": 1},
)


def fuzz(data: bytes) -> None:
    source = Source(data)
    side = Side.SERVER if source.flag() else Side.CLIENT
    options = source.choice(OPTIONS)
    way = source.choice(("receive_data", "get_buffer", "observed", "compressed"))
    seed = source.seed()
    stream = source.rest()
    expected = None if way == "compressed" else list(read(stream, side is Side.SERVER, options))
    for pieces in chunkings(stream, seed):
        seen, output = play(side, options, pieces, way)
        check_output(seen, parse_frames(output, masked=side is Side.CLIENT))
        if way == "compressed" and seen[-1] in (("failure", 1007), ("failure", 1009)):
            # What is wrong with compressed data may follow what is too long, or not be looked at.
            seen[-1] = ("failure", 1007)
        expected = seen if expected is None else expected
        assert seen == expected, f"{seen} instead of {expected}"


def play(side: Side, options: dict[str, Any], pieces: list[bytes], way: str) -> tuple[list[object], bytes]:
    """Let a connection receive pieces; return its events and its output."""
    extensions = [make_deflate()] if way == "compressed" else []
    protocol = Protocol(
        side, clock=lambda: 0.0, random=bytes, extensions=extensions, ping_interval=None, **options
    )
    observer = Frames()
    if way == "observed":
        protocol.observe(observer)
    seen: list[object] = []
    output = b""
    for piece in pieces:
        receive(protocol, piece, way == "get_buffer")
        seen += take(protocol)
        check_memory(protocol, seen[-1:] != [] and is_failure(seen[-1]), options)
        output += b"".join(protocol.data_to_send())
        protocol.data_sent()
    if protocol.state is State.OPEN:
        protocol.receive_eof()
    seen += take(protocol)
    output += b"".join(protocol.data_to_send())
    protocol.data_sent()
    assert not protocol.receiving
    assert protocol.has_input
    check_end(protocol)
    if way == "observed":
        check_observed(observer, seen, output, protocol)
    return seen, output


def is_failure(event: object) -> bool:
    return isinstance(event, tuple) and event[0] == "failure"


def make_deflate() -> PerMessageDeflate:
    return PerMessageDeflate(remote_no_context_takeover=False, local_no_context_takeover=False)


class Frames(Observer):
    """The first bytes of the frames that pass, and the sizes of their payloads."""

    def __init__(self) -> None:
        self.received: list[tuple[int, int]] = []
        self.sent: list[tuple[int, int]] = []

    def frame_received(self, first: int, payload: Excerpt) -> None:
        self.received.append((first, payload.length))

    def frame_sent(self, first: int, payload: Excerpt, original: Excerpt) -> None:
        self.sent.append((first, payload.length))


def check_observed(observer: Frames, seen: list[object], output: bytes, protocol: Protocol) -> None:
    """Check that an observer has been told of all frames."""
    frames = parse_frames(output, masked=protocol.side is Side.CLIENT)
    assert observer.sent == [(frame.first, len(frame.payload)) for frame in frames]
    controls = [first for first, _ in observer.received if first & 0x0F in (PING, PONG)]
    kinds = {"ping": 0x80 | PING, "pong": 0x80 | PONG}
    assert controls == [kinds[event[0]] for event in seen if isinstance(event, tuple) and event[0] in kinds]
    ends = [first for first, _ in observer.received if first & 0x88 == 0x80]
    assert len(ends) >= sum(isinstance(event, str | bytes) for event in seen)
    assert len(observer.received) == protocol.statistics.frames_received


def take(protocol: Protocol) -> list[object]:
    """Take all events: a close frame behind messages takes effect when more is asked for."""
    seen: list[object] = []
    while events := protocol.events():
        for event in events:
            if isinstance(event, Failure):
                code = getattr(event.error, "code", None)
                assert isinstance(event.error, ProtocolError | PayloadTooBig | EOFError)
                assert event.remote
                seen.append(("failure", None if code is None else int(code)))
            elif isinstance(event, Pong):
                assert event.answered == ()
                seen.append(("pong", event.data))
            elif isinstance(event, Ping):
                seen.append(("ping", event.data))
            elif isinstance(event, Close):
                seen.append(("close", int(event.code), event.reason))
            else:
                seen.append(event)
    return seen


def check_memory(protocol: Protocol, failed: bool, options: dict[str, Any]) -> None:
    """Check what is kept when all events have been taken: only a message that has begun, and nothing of it
    after an error."""
    reader = protocol._inbox.reader
    assert protocol.undelivered == 0
    assert reader.pending == 0
    limit = options.get("max_size", 2**20)
    limit = limit[0] if isinstance(limit, tuple) else limit
    if limit is not None:
        assert reader.buffered <= limit
    if failed:
        assert not reader.incomplete
        assert reader.buffered == 0


def check_end(protocol: Protocol) -> None:
    """Check that a connection that has ended does nothing more, and keeps nothing."""
    key = b"\0\0\0\0" if protocol.side is Side.SERVER else b""
    protocol.receive_data(bytes((0x89, 0x80 if key else 0)) + key)
    protocol.receive_eof()
    assert protocol.events() == []
    assert protocol.data_to_send() == [], "output behind the close frame"
    protocol.connection_lost()
    assert protocol.events() == []
    assert protocol.data_to_send() == []
    assert protocol.state is State.CLOSED
    assert protocol.deadline() is None
    assert protocol.queued == 0


def check_output(seen: list[object], frames: list[Frame]) -> None:
    """Check the answers to what was received: pongs in the order of the pings, and one close frame."""
    pings = [(0x80 | PONG, event[1]) for event in seen if isinstance(event, tuple) and event[0] == "ping"]
    *pongs, close = frames
    last = seen[-1]
    assert isinstance(last, tuple)
    # A failure drops what has not been written.
    assert [tuple(frame) for frame in pongs] == (pings if last[0] == "close" else pings[: len(pongs)])
    assert close.first == 0x80 | CLOSE
    code = 1002 if last == ("failure", None) else last[1]
    assert close.payload[:2] == (b"" if code == 1005 else code.to_bytes(2, "big"))


# A plain reading of RFC 6455 section 5


class Broken(Exception):
    """The peer has broken a rule; the argument is the close code."""


def read(data: bytes, masked: bool, options: dict[str, Any]) -> Iterator[object]:
    """Read frame by frame what a peer has sent, up to its end."""
    reading = Reading(masked, options)
    try:
        while data:
            events, data = reading.read_frame(data)
            yield from events
            if events and isinstance(events[-1], tuple) and events[-1][0] == "close":
                return
    except Broken as error:
        yield "failure", error.args[0]
        return
    yield "failure", None


class Reading:
    """The message that is being received."""

    def __init__(self, masked: bool, options: dict[str, Any]) -> None:
        limit = options.get("max_size", 2**20)
        self.max_message, self.max_frame = limit if isinstance(limit, tuple) else (limit, None)
        self.max_fragments = options.get("max_fragments", 16384)
        self.masked = masked
        self.opcode = 0
        self.payload = b""
        self.fragments = 0
        self.decoder = codecs.getincrementaldecoder("utf-8")()

    def read_frame(self, data: bytes) -> tuple[list[object], bytes]:
        """Read one frame, complete or not; return what it completes, and what follows it."""
        if len(data) < 2:
            return [], b""
        first, second = data[:2]
        self.check(first, second)
        length, start = second & 0x7F, 2
        size = {126: 2, 127: 8}.get(length, 0)
        if size:
            start += size
            if len(data) < start:
                return [], b""
            length = int.from_bytes(data[2:start], "big")
            if length >> 63 or length < {2: 126, 8: 65536}[size]:
                raise Broken(1002)
        opcode = first & 0x0F
        if opcode < CLOSE:
            self.check_size(length)
        key = data[start : start + 4 * self.masked]
        start += len(key)
        if self.masked and len(key) < 4:
            return [], b""
        payload = data[start : start + length]
        if key:
            payload = apply_key(payload, key)
        complete = len(payload) == length
        if opcode < CLOSE:
            return self.add(first, payload, length, complete), data[start + length :]
        return self.control(opcode, payload) if complete else [], data[start + length :]

    def check(self, first: int, second: int) -> None:
        """Check what the first two bytes tell (sections 5.1, 5.2, 5.4 and 5.5)."""
        opcode = first & 0x0F
        if first & 0x70 or opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise Broken(1002)
        if bool(second & 0x80) != self.masked:
            raise Broken(1002)
        if opcode >= CLOSE:
            if not first & 0x80 or second & 0x7F > 125:
                raise Broken(1002)
        elif (opcode == CONTINUATION) != bool(self.opcode):
            raise Broken(1002)

    def check_size(self, length: int) -> None:
        if self.max_frame is not None and length > self.max_frame:
            raise Broken(1009)
        if self.max_message is not None and len(self.payload) + length > self.max_message:
            raise Broken(1009)

    def add(self, first: int, payload: bytes, length: int, complete: bool) -> list[object]:
        """Add what is there of a data frame to the message."""
        self.fragments += 1
        if self.fragments > self.max_fragments + len(self.payload) // 64:
            raise Broken(1009)
        self.opcode = self.opcode or first & 0x0F
        final = complete and first & 0x80 != 0
        if self.opcode == TEXT:
            try:
                self.decoder.decode(payload, final)
            except UnicodeDecodeError:
                raise Broken(1007) from None
        self.payload += payload
        if not final:
            return []
        message = self.payload.decode() if self.opcode == TEXT else self.payload
        self.opcode, self.payload, self.fragments = 0, b"", 0
        self.decoder.reset()
        return [message]

    def control(self, opcode: int, payload: bytes) -> list[object]:
        """Read the payload of a control frame (sections 5.5 and 7.4)."""
        if opcode != CLOSE:
            return [("ping" if opcode == PING else "pong", payload)]
        if not payload:
            return [("close", 1005, "")]
        code = int.from_bytes(payload[:2], "big")
        # The codes of section 7.4.1 and of the registry of the IANA, and those for applications.
        if len(payload) == 1 or code not in {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}:
            raise Broken(1002)
        try:
            return [("close", code, payload[2:].decode())]
        except UnicodeDecodeError:
            raise Broken(1007) from None
