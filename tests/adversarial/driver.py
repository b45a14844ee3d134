"""Plays a case on a socket with plain blocking calls, and tells what the other side did.

The driver is the peer of a server or of a client. It builds and reads all bytes by itself: nothing of the
library is used here, so the same driver plays against any implementation.
"""

from __future__ import annotations

import select
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.core.helpers import (
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    Frame,
    close_payload,
    frame,
    frame_header,
    parse_head,
    request,
    response,
)

from .cases import Case, Drip, End, Flood, Header, Part, Pause, Reset, Send, Step, Wait

HOST = "127.0.0.1"
READ_SIZE = 2**16
PATIENCE = 0.5
"""Seconds without any progress after which a flood is over: the other side does not read any more."""
SMALL = 2**12
"""Bytes that the system is asked to buffer for who does not read."""
TAIL = b"\x00\x00\xff\xff"
"""What RFC 7692 section 7.2.1 takes off the end of a compressed message."""


@dataclass
class Observed:
    """What the other side did.

    Attributes:
        status: of the response, if it is a server.
        headers: of the response, or of a client's request; names in lower case.
        body: of the response.
        frames: all frames, with the payloads of compressed messages inflated.
        end: how the stream ended: `end`, `reset`, or `open` if it did not.
        flooded: bytes of floods that were accepted.
        masking_keys: of all frames.
        wrong: what cannot be read as HTTP or as frames.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    frames: list[Frame] = field(default_factory=list)
    end: str = "open"
    flooded: int = 0
    masking_keys: list[bytes] = field(default_factory=list)
    wrong: str = ""

    @property
    def messages(self) -> list[bytes]:
        """The payloads of all messages."""
        return [each.payload for each in self.frames if each.opcode < CLOSE]

    @property
    def pongs(self) -> list[bytes]:
        return [each.payload for each in self.frames if each.opcode == PONG]

    @property
    def close(self) -> int | None:
        """The code in the close frame, 1005 if there is none in it, `None` without a close frame."""
        for each in self.frames:
            if each.opcode == CLOSE:
                return int.from_bytes(each.payload[:2], "big") if each.payload else 1005
        return None

    def describe(self) -> str:
        """Describe it for people, in a few words."""
        words = [] if self.status in (None, 101) else [f"status {self.status}"]
        if self.status == 101 and not self.frames:
            words.append("connection accepted")
        if self.wrong:
            words.append(self.wrong)
        if self.messages:
            words.append(f"{len(self.messages)} message{'s' * (len(self.messages) > 1)}")
        if self.pongs:
            words.append(f"{len(self.pongs)} pong{'s' * (len(self.pongs) > 1)}")
        if self.close is not None:
            words.append("close frame without a code" if self.close == 1005 else f"close code {self.close}")
        elif self.end == "open":
            words.append("stream stays open")
        elif self.status in (None, 101):
            words.append("reset" if self.end == "reset" else "end of the stream without a close frame")
        return ", ".join(words)


class Driver:
    """One connection, on which a case is played.

    Args:
        sock: a connected socket.
        masks: whether this side masks its frames, as a client does.
        deadline: seconds that the whole case may take.
    """

    def __init__(self, sock: socket.socket, masks: bool, deadline: float) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._masks = masks
        self._deadline = time.monotonic() + deadline
        self._output = b""
        self._input = b""
        self._fragments: list[bytes] = []
        self._first = Frame(0)
        self._inflater: zlib._Decompress | None = None
        self._forgetful = False
        self._opened = False
        self.observed = Observed()

    # Reading and writing

    def _exchange(self, seconds: float, reading: bool = True) -> bool:
        """Write and read what is possible at once, or wait for that; return whether anything was."""
        poll = select.poll()
        mask = select.POLLIN * reading | select.POLLOUT * bool(self._output)
        poll.register(self._sock, mask)
        ready = poll.poll(max(0, seconds) * 1000)
        if not ready:
            return False
        _, events = ready[0]
        if events & select.POLLOUT:
            self._write()
        if events & (select.POLLIN | select.POLLHUP | select.POLLERR) and self.observed.end == "open":
            if reading:
                self._read()
            elif events & (select.POLLHUP | select.POLLERR):
                self._lose()
        return True

    def _write(self) -> None:
        try:
            self._output = self._output[self._sock.send(self._output[:READ_SIZE]) :]
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            # What was sent before may be readable still.
            self._output = b""

    def _lose(self) -> None:
        self._output = b""
        self.observed.end = "reset"

    def _read(self) -> None:
        try:
            data = self._sock.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self._lose()
            return
        if data:
            self._input += data
            self._parse()
        else:
            self._output = b""
            self.observed.end = "end"

    def left(self) -> float:
        """Seconds that are left."""
        return self._deadline - time.monotonic()

    def is_over(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.left() <= 0 or self.observed.end != "open" or self.observed.close is not None

    # What comes in

    def _parse(self) -> None:
        if self._opened:
            for each in self._frames():
                self._take(each)
        elif b"\r\n\r\n" in self._input:
            self._parse_response()

    def _parse_response(self) -> None:
        head, _, rest = self._input.partition(b"\r\n\r\n")
        try:
            parsed = parse_head(head + b"\r\n\r\n")
            self.observed.status = parsed.status
            self.observed.headers = parsed.headers
        except (AssertionError, ValueError, UnicodeDecodeError, IndexError):
            self.observed.wrong = f"answer {self._input[:20]!r}"
            return
        if self.observed.status == 101:
            self._input = rest
            self._open(self.observed.headers.get("sec-websocket-extensions", ""))
            self._parse()
        else:
            self.observed.body = rest

    def _open(self, extensions: str) -> None:
        """Go on with frames, by what has been negotiated."""
        self._opened = True
        if "permessage-deflate" in extensions:
            ours = "client" if not self._masks else "server"
            self._forgetful = f"{ours}_no_context_takeover" in extensions
            self._inflater = zlib.decompressobj(wbits=-15)

    def _frames(self) -> Iterator[Frame]:
        while len(self._input) >= 2:
            first, second = self._input[:2]
            size = {126: 2, 127: 8}.get(second & 0x7F, 0)
            start = 2 + size + 4 * (second >> 7)
            length = int.from_bytes(self._input[2 : 2 + size], "big") if size else second & 0x7F
            if len(self._input) < start + length:
                return
            payload = self._input[start : start + length]
            if second & 0x80:
                key = self._input[start - 4 : start]
                self.observed.masking_keys.append(key)
                payload = unmask(payload, key)
            if bool(second & 0x80) is self._masks:
                self.observed.wrong = "masks wrongly"
            self._input = self._input[start + length :]
            yield Frame(first & 0x0F, payload, bool(first & 0x80), first & 0x70)

    def _take(self, each: Frame) -> None:
        """Note a frame; fragments are joined and inflated."""
        if each.opcode >= CLOSE:
            self.observed.frames.append(each)
            return
        if each.opcode != CONTINUATION:
            self._first = each
            self._fragments = []
        self._fragments.append(each.payload)
        if each.fin:
            payload = b"".join(self._fragments)
            if self._first.reserved & RSV1:
                payload = self._inflate(payload)
            self.observed.frames.append(Frame(self._first.opcode, payload))

    def _inflate(self, payload: bytes) -> bytes:
        if self._inflater is None:
            self.observed.wrong = "compresses without having negotiated it"
            return payload
        if self._forgetful:
            self._inflater = zlib.decompressobj(wbits=-15)
        try:
            return self._inflater.decompress(payload + TAIL)
        except zlib.error as error:
            self.observed.wrong = f"sends what cannot be inflated: {error}"
            return payload

    # What goes out

    def build(self, part: Part) -> bytes:
        """The bytes of a part of a step."""
        if isinstance(part, bytes):
            return part
        if isinstance(part, Header):
            data = frame_header(
                part.opcode,
                part.length,
                fin=part.fin,
                reserved=part.reserved,
                masked=self._masks is not part.wrong_mask,
                length_bytes=part.length_bytes,
            )
            return data + bytes(4 * self._masks) * part.key
        opcode, payload, fin, reserved = part
        if self._masks and len(payload) > 1000:
            # A key of zeros: masking is not what a large frame is about.
            header = frame_header(opcode, len(payload), fin=fin, reserved=reserved, masked=True)
            return header + bytes(4) + payload
        return frame(opcode, payload, fin=fin, reserved=reserved, masked=self._masks)

    def play(self, steps: tuple[Step, ...], bytewise: bool = False) -> None:
        """Play all steps, unless the stream ends before."""
        for step in steps:
            if self.is_over():
                return
            self._play(step, bytewise)

    def _play(self, step: Step, bytewise: bool) -> None:
        if isinstance(step, Send):
            self.send(b"".join(map(self.build, step.parts)), bytewise)
        elif isinstance(step, Drip):
            for index in range(len(step.data)):
                if self.is_over():
                    break
                self.send(step.data[index : index + 1])
                self._read_for(step.interval)
        elif isinstance(step, Flood):
            self._flood(step)
        elif isinstance(step, Wait):
            while not self.is_over() and len(getattr(self.observed, step.kind)) < step.count:
                self._exchange(self.left())
        elif isinstance(step, Pause):
            self._read_for(step.seconds)
        elif isinstance(step, End):
            self._sock.shutdown(socket.SHUT_WR)
        elif isinstance(step, Reset):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._sock.close()
            self.observed.end = "reset"

    def send(self, data: bytes, bytewise: bool = False) -> None:
        """Write all of it, and read meanwhile."""
        for chunk in (data[index : index + 1] for index in range(len(data))) if bytewise else (data,):
            self._output = chunk
            while self._output and self.observed.end == "open" and self.left() > 0:
                self._exchange(self.left())
        self._output = b""

    def _read_for(self, seconds: float) -> None:
        end = time.monotonic() + min(seconds, self.left())
        while not self.is_over() and time.monotonic() < end:
            self._exchange(end - time.monotonic())

    def _flood(self, step: Flood) -> None:
        """Write without reading, until all is written or the other side does not read any more."""
        unit = b"".join(map(self.build, step.parts))
        unit *= max(1, READ_SIZE // len(unit))
        sent = 0
        moved = time.monotonic()
        while sent < step.size and self.observed.end == "open" and self.left() > 0:
            self._output = unit
            while self._output and self.observed.end == "open":
                before = len(self._output)
                self._exchange(0.05, reading=False)
                if len(self._output) < before:
                    moved = time.monotonic()
                elif time.monotonic() - moved > PATIENCE:
                    break
            sent += len(unit) - len(self._output)
            if self._output:
                break
        self._output = b""
        self.observed.flooded += sent

    def finish(self, closed: bool = False) -> None:
        """Read until the close frame, or until the end of the stream."""
        while self.left() > 0 and self.observed.end == "open" and (closed or self.observed.close is None):
            self._exchange(self.left())

    def finish_response(self, closed: bool) -> None:
        """Read to the end of a response, or also to the end of the stream."""
        while self.left() > 0 and self.observed.end == "open":
            if self._opened:
                self.finish(closed)
                return
            length = self.observed.headers.get("content-length", "")
            if length.isdecimal() and int(length) <= len(self.observed.body) and not closed:
                return
            self._exchange(self.left())

    def read_request(self) -> dict[str, str]:
        """Read the request of a client; return its headers, names in lower case."""
        while b"\r\n\r\n" not in self._input and self.left() > 0 and self.observed.end == "open":
            try:
                data = self._sock.recv(READ_SIZE)
            except BlockingIOError:
                select.select([self._sock], [], [], self.left())
                continue
            if not data:
                self.observed.end = "end"
            self._input += data
        head, _, self._input = self._input.partition(b"\r\n\r\n")
        self.observed.headers = parse_head(head + b"\r\n\r\n").headers if head else {}
        return self.observed.headers


def unmask(payload: bytes, key: bytes) -> bytes:
    size = len(payload)
    keys = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(size, "big")


CLOSE_FRAME = Frame(CLOSE, close_payload(1000))
PROBE = Frame(PING, b"probe")


def attack_server(case: Case, port: int, *, deadline: float, bytewise: bool = False) -> Observed:
    """Play a case against a server.

    Args:
        case: the case.
        port: where the server listens.
        deadline: seconds that the case may take.
        bytewise: whether every byte is sent by a call of its own.
    """
    with socket.socket() as sock:
        if any(isinstance(step, Flood) for step in case.steps):
            # The system shall not take much of what nobody reads.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        sock.settimeout(deadline)
        sock.connect((HOST, port))
        driver = Driver(sock, True, deadline)
        if case.opened:
            driver.send(request(f"GET {case.path} HTTP/1.1", Sec_WebSocket_Extensions=case.offer))
            while driver.observed.status is None and not driver.is_over():
                driver._exchange(driver.left())
            if driver.observed.status != 101:
                return driver.observed
        driver.play(case.steps, bytewise)
        if driver.observed.end == "open":
            if case.opened:
                driver.finish(case.expect.closed)
            else:
                driver.finish_response(case.expect.closed)
        return driver.observed


def attack_client(
    case: Case, listener: socket.socket, *, deadline: float, bytewise: bool = False
) -> Observed:
    """Play a case against the next client that connects; see :func:`attack_server`."""
    listener.settimeout(deadline)
    sock, _ = listener.accept()
    with sock:
        driver = Driver(sock, False, deadline)
        headers = driver.read_request()
        if case.opened:
            answer = response(headers["sec-websocket-key"], Sec_WebSocket_Extensions=case.answer)
            driver._open(case.answer or "")
            driver.send(answer)
            driver.play(case.steps, bytewise)
        else:
            driver._open(case.answer or "")
            driver.play(case.answering(headers), bytewise)
        driver.finish(case.expect.closed)
        return driver.observed
