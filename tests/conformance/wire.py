"""One end of a WebSocket connection, made by hand on a blocking socket, for the cases on permessage-deflate.

Nothing of the library is used here, so no fault of it is on both ends: frames and handshakes are built and
checked byte by byte, and ``zlib`` of the standard library compresses.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import socket
import time
import zlib
from collections.abc import Iterator, Mapping

from .deflate_cases import Parameters

__all__ = ["CLOSE", "TEXT", "Broken", "Deflater", "Inflater", "Late", "Wire", "parse_extensions"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

FIN, RSV1, RSV2_AND_3, OPCODE, MASK, LENGTH = 0x80, 0x40, 0x30, 0x0F, 0x80, 0x7F

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

TAIL = b"\x00\x00\xff\xff"
"""What a sender leaves out at the end of a compressed message (RFC 7692 section 7.2.1)."""

PIECE = 256
"""Bytes that are inflated at once when the window is limited."""

READ_SIZE = 2**18


class Broken(Exception):
    """The peer did what it must not do."""


class Ended(Broken):
    """The stream has ended."""


class Late(Broken):
    """The time of the case is over."""


class Wire:
    """A socket with frames on it.

    Attributes:
        is_client: whether this end is the client, which masks.
    """

    def __init__(self, sock: socket.socket, *, is_client: bool, seconds: float) -> None:
        """
        Args:
            sock: a connected socket.
            is_client: whether this end is the client, which masks.
            seconds: how long the connection may last.
        """
        self.is_client = is_client
        self._sock = sock
        self._buffer = bytearray()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.limit(seconds)

    def limit(self, seconds: float) -> None:
        """From now on, reading and writing may last for some seconds in all."""
        self._deadline = time.monotonic() + seconds

    def _limit_time(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise Late("the time of the case is over")
        self._sock.settimeout(left)

    def _read_some(self) -> None:
        self._limit_time()
        try:
            data = self._sock.recv(READ_SIZE)
        except TimeoutError:
            raise Late("the time of the case is over") from None
        except OSError as error:
            raise Ended(f"the connection is lost: {error}") from error
        if not data:
            raise Ended("the stream has ended")
        self._buffer += data

    def _read(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._read_some()
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def write(self, data: bytes) -> None:
        self._limit_time()
        try:
            self._sock.sendall(data)
        except TimeoutError:
            raise Late("the time of the case is over") from None
        except OSError as error:
            raise Ended(f"the connection is lost: {error}") from error

    # Handshakes

    def read_head(self) -> tuple[str, dict[str, str]]:
        """Read a request or a response: its first line and its headers, with names in lower case."""
        while b"\r\n\r\n" not in self._buffer:
            self._read_some()
        head = self._read(self._buffer.index(b"\r\n\r\n") + 4).decode("latin-1")
        first, *lines = head.rstrip("\r\n").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return first, headers

    def open(self, host: str, target: str, extensions: str) -> str:
        """Do the opening handshake as a client; return the extensions of the answer."""
        key = base64.b64encode(secrets.token_bytes(16))
        self.write(
            f"GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Extensions: {extensions}\r\n\r\n".encode()
        )
        first, headers = self.read_head()
        if first.split(" ")[1:2] != ["101"]:
            raise Broken(f"the handshake was refused: {first}")
        if headers.get("sec-websocket-accept") != accept_value(key):
            raise Broken("the answer has a wrong Sec-WebSocket-Accept")
        return headers.get("sec-websocket-extensions", "")

    def answer(self, headers: Mapping[str, str], extensions: str) -> None:
        """Answer a request as a server; no extensions are an empty string."""
        accept = accept_value(headers["sec-websocket-key"].encode())
        line = f"Sec-WebSocket-Extensions: {extensions}\r\n" if extensions else ""
        self.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n{line}\r\n".encode()
        )

    # Frames

    def frame(self, opcode: int, payload: bytes, *, fin: bool = True, rsv1: bool = False) -> bytes:
        """Return a frame as bytes."""
        first = opcode | (FIN if fin else 0) | (RSV1 if rsv1 else 0)
        size = len(payload)
        if size < 126:
            length = bytes([size])
        elif size < 2**16:
            length = b"\x7e" + size.to_bytes(2)
        else:
            length = b"\x7f" + size.to_bytes(8)
        if not self.is_client:
            return bytes([first]) + length + payload
        key = secrets.token_bytes(4)
        return bytes([first, length[0] | MASK]) + length[1:] + key + xor(payload, key)

    def read_frame(self) -> tuple[int, int, bytes]:
        """Read a frame: its opcode, its bits FIN and RSV1, and its payload without the mask."""
        first, second = self._read(2)
        if first & RSV2_AND_3:
            raise Broken(f"a frame with RSV2 or RSV3: {first:#04x}")
        if bool(second & MASK) == self.is_client:
            raise Broken("a frame of a client without a mask, or one of a server with it")
        size = second & LENGTH
        if size >= 126:
            width, least = (2, 126) if size == 126 else (8, 2**16)
            size = int.from_bytes(self._read(width))
            if size < least:
                raise Broken("a length that is longer than it need be")
        opcode = first & OPCODE
        if opcode >= CLOSE and (size > 125 or first & (FIN | RSV1) != FIN):
            raise Broken("a control frame that is long, fragmented or compressed")
        key = self._read(4) if second & MASK else b""
        payload = self._read(size)
        return opcode, first & (FIN | RSV1), xor(payload, key) if key else payload

    def message_frames(self, text: bool, payload: bytes, fragment: int) -> Iterator[bytes]:
        """Yield the frames of a compressed message, the first with RSV1 (RFC 7692 section 6)."""
        step = fragment or max(len(payload), 1)
        for start in range(0, len(payload), step):
            opcode = CONTINUATION if start else TEXT if text else BINARY
            piece = payload[start : start + step]
            yield self.frame(opcode, piece, fin=start + step >= len(payload), rsv1=not start)

    def read_message(self) -> tuple[int, bool, bytes]:
        """Read a message, or a close frame: its opcode, whether it is compressed, and its payload."""
        opcode, compressed = CONTINUATION, False
        pieces: list[bytes] = []
        while True:
            kind, bits, payload = self.read_frame()
            if kind == CLOSE:
                return CLOSE, False, payload
            if kind == PING:
                self.write(self.frame(PONG, payload))
            elif kind in (CONTINUATION, TEXT, BINARY):
                if (kind == CONTINUATION) != bool(pieces):
                    raise Broken("a fragment that does not belong there")
                if not pieces:
                    opcode, compressed = kind, bool(bits & RSV1)
                elif bits & RSV1:
                    raise Broken("RSV1 on a fragment that is not the first")
                pieces.append(payload)
                if bits & FIN:
                    return opcode, compressed, b"".join(pieces)
            elif kind != PONG:
                raise Broken(f"a frame with the reserved opcode {kind:#x}")

    def has_ended(self) -> bool:
        """Wait for the end of the stream; say whether it comes, and nothing before it."""
        try:
            self._read_some()
        except Late:
            return False
        except Ended:
            return not self._buffer
        return False


class Deflater:
    """Compresses messages as RFC 7692 section 7.2.1 says."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._compressor = self._make()

    def _make(self) -> zlib._Compress:
        # The fastest level: how well it compresses makes no difference for the peer.
        return zlib.compressobj(level=1, wbits=-(self._parameters.bits or 15))

    def compress(self, payload: bytes) -> bytes:
        if self._parameters.no_context_takeover:
            self._compressor = self._make()
        data = self._compressor.compress(payload) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        return data.removesuffix(TAIL)


class Inflater:
    """Decompresses messages, and sees that the peer keeps to what was agreed.

    A message that refers to one before it cannot be inflated by itself. A distance beyond the window is an
    error, too: ``zlib`` only looks at it where the output of one call ends, so calls have short outputs.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._decompressor = self._make()

    def _make(self) -> zlib._Decompress:
        return zlib.decompressobj(wbits=-(self._parameters.bits or 15))

    def decompress(self, payload: bytes, limit: int) -> bytes:
        """Decompress a message.

        Raises:
            Broken: it cannot be decompressed, or is longer than the limit.
        """
        if self._parameters.no_context_takeover:
            self._decompressor = self._make()
        try:
            data = self._inflate(payload + TAIL, limit + 1)
        except zlib.error as error:
            raise Broken(f"a message that cannot be inflated: {error}") from error
        if self._decompressor.eof:
            raise Broken("a message with a final block, which these cases do not expect")
        if len(data) > limit:
            raise Broken("a message that is longer than the one sent")
        return data

    def _inflate(self, payload: bytes, limit: int) -> bytes:
        if (self._parameters.bits or 15) == 15:
            return self._decompressor.decompress(payload, limit)
        output, size = [], 0
        for start in range(0, len(payload), PIECE):
            rest = payload[start : start + PIECE]
            while size < limit and (piece := self._decompressor.decompress(rest, PIECE)):
                output.append(piece)
                size += len(piece)
                rest = self._decompressor.unconsumed_tail
        return b"".join(output)


def accept_value(key: bytes) -> str:
    return base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()


def xor(data: bytes, key: bytes) -> bytes:
    size = len(data)
    repeated = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data) ^ int.from_bytes(repeated)).to_bytes(size)


def parse_extensions(header: str) -> list[tuple[str, dict[str, str]]]:
    """Parse a header into the names of extensions with their parameters; no value is an empty string.

    Raises:
        Broken: a parameter is there twice.
    """
    extensions = []
    for item in filter(None, map(str.strip, header.split(","))):
        name, *parameters = (part.strip() for part in item.split(";"))
        found: dict[str, str] = {}
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() in found:
                raise Broken(f"the parameter {key.strip()} is there twice")
            found[key.strip()] = value.strip().strip('"')
        extensions.append((name, found))
    return extensions
