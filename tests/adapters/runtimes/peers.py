"""Peers made by hand: the other end of a connection, bytes and no more.

They read the stream only when they are told to, and build and read their bytes without the library.
"""

from __future__ import annotations

import socket
import ssl
import struct
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from tests.core.helpers import CLOSE, Frame, Head, close_payload, parse_head, response
from tests.core.helpers import frame as build_frame

if TYPE_CHECKING:
    from .base import Runtime

READ_SIZE = 65536


def unmask(payload: bytes, key: bytes) -> bytes:
    """Unmask (RFC 6455 section 5.3) at once what may be large."""
    size = len(payload)
    keys = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(size, "big")


class Stream(ABC):
    """One end of a stream of bytes."""

    @abstractmethod
    async def read(self) -> bytes:
        """Wait for bytes; nothing at the end of file."""

    @abstractmethod
    async def write(self, data: bytes) -> None: ...

    @abstractmethod
    def end(self) -> None:
        """End this half of the stream."""

    @abstractmethod
    def reset(self) -> None:
        """Close the stream by a reset."""

    async def arrived(self) -> None:
        """Wait until bytes have arrived that are not read yet."""
        raise NotImplementedError

    @abstractmethod
    def close(self) -> None: ...


class SocketStream(Stream):
    def __init__(self, runtime: Runtime, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family == socket.AF_INET:
            # What is sent by the byte shall arrive by the byte.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._runtime = runtime
        self.socket = sock

    async def read(self) -> bytes:
        while True:
            try:
                return self.socket.recv(READ_SIZE)
            except BlockingIOError:
                await self._runtime.readable(self.socket)

    async def arrived(self) -> None:
        await self._runtime.readable(self.socket)

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                await self._runtime.writable(self.socket)

    def end(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


class TLSStream(Stream):
    """TLS on another stream; it ends without a word, as a process does that is killed."""

    def __init__(
        self,
        stream: Stream,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )

    async def handshake(self) -> None:
        await self._do(self._tls.do_handshake)

    async def read(self) -> bytes:
        try:
            data: bytes = await self._do(self._tls.read, READ_SIZE)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""
        return data

    async def arrived(self) -> None:
        await self._stream.arrived()

    async def write(self, data: bytes) -> None:
        if data:
            await self._do(self._tls.write, data)

    async def _do(self, function: Any, *args: Any) -> Any:
        while True:
            try:
                result = function(*args)
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._stream.read()
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                await self._flush()
                return result

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._stream.write(self._outgoing.read())

    def end(self) -> None:
        self._stream.end()

    def reset(self) -> None:
        self._stream.reset()

    def close(self) -> None:
        self._stream.close()


class Peer:
    """The other end of a connection."""

    masks = False
    """Whether it masks its frames, as a client does."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._received = b""

    async def send(self, *data: bytes | Frame) -> None:
        await self.stream.write(b"".join(map(self.build, data)))

    def build(self, data: bytes | Frame) -> bytes:
        """The bytes of a frame."""
        if isinstance(data, bytes):
            return data
        opcode, payload, fin, reserved = data
        return build_frame(opcode, payload, fin=fin, reserved=reserved, masked=self.masks)

    async def read(self) -> bytes:
        """Read what is there, or wait for it; nothing at the end of file."""
        data, self._received = self._received, b""
        return data or await self.stream.read()

    async def _receive_more(self) -> None:
        data = await self.stream.read()
        if not data:
            raise EOFError(f"end of file after {self._received!r}")
        self._received += data

    async def read_exactly(self, count: int) -> bytes:
        while len(self._received) < count:
            await self._receive_more()
        data, self._received = self._received[:count], self._received[count:]
        return data

    async def read_head(self) -> Head:
        """Read a request or a response without a body."""
        while b"\r\n\r\n" not in self._received:
            await self._receive_more()
        head, self._received = self._received.split(b"\r\n\r\n", 1)
        return parse_head(head + b"\r\n\r\n")

    async def read_response(self) -> Head:
        """Read a response and its body, which ends with the stream."""
        return parse_head(await self.read_to_end())

    async def read_frame(self) -> Frame:
        first, second = await self.read_exactly(2)
        assert bool(second & 0x80) is not self.masks
        length = second & 0x7F
        if length >= 126:
            length = int.from_bytes(await self.read_exactly(2 if length == 126 else 8), "big")
        key = b"" if self.masks else await self.read_exactly(4)
        payload = await self.read_exactly(length)
        if key:
            payload = unmask(payload, key)
        return Frame(first & 0x0F, payload, bool(first & 0x80), first & 0x70)

    async def read_to_end(self) -> bytes:
        data = b""
        while chunk := await self.read():
            data += chunk
        return data

    async def read_frames_to_end(self) -> list[Frame]:
        """Read frames until the stream ends, which must be the end of one."""
        frames = []
        while self._received or await self._more():
            frames.append(await self.read_frame())
        return frames

    async def read_frames_to_end_or_reset(self) -> list[Frame]:
        """Read frames until the stream ends in any way."""
        frames = []
        try:
            while True:
                frames.append(await self.read_frame())
        except (EOFError, ConnectionResetError):
            return frames

    async def _more(self) -> bool:
        self._received = await self.read()
        return bool(self._received)

    async def finish(self, code: int = 1000) -> None:
        """Do the closing handshake as the one who begins it, and read to the end."""
        await self.send(Frame(CLOSE, close_payload(code)))
        *_, last = await self.read_frames_to_end()
        assert last == Frame(CLOSE, close_payload(code))

    def end(self) -> None:
        """End this half of the stream."""
        self.stream.end()

    def reset(self) -> None:
        """Close the stream by a reset."""
        self.stream.reset()

    def close(self) -> None:
        self.stream.close()


class RawClient(Peer):
    masks = True


class RawServer(Peer):
    async def finish(self, code: int = 1000) -> None:
        # RFC 6455 section 7.1.1: the server ends TCP first, and the client waits for that.
        await self.send(Frame(CLOSE, close_payload(code)))
        while (last := await self.read_frame()).opcode != CLOSE:
            pass
        assert last == Frame(CLOSE, close_payload(code))
        self.end()
        assert await self.read_frames_to_end_or_reset() == []

    async def answer(self, **changes: Any) -> Head:
        """Read a request and accept it; return the request."""
        head = await self.read_head()
        await self.send(response(head.headers["sec-websocket-key"], **changes))
        return head


class RawListener:
    """A listening socket."""

    def __init__(self, runtime: Runtime, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        sock.setblocking(False)
        self._runtime = runtime
        self._context = context
        self.socket = sock
        self.address: tuple[str, int] = sock.getsockname()
        host, port = self.address
        self.uri = f"ws{'s' * (context is not None)}://{host}:{port}/"
        self.peers: list[RawServer] = []

    def small_socket(self) -> socket.socket:
        """A connection to it with small buffers."""
        sock = socket.socket()
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            size = self.socket.getsockopt(socket.SOL_SOCKET, option)
            sock.setsockopt(socket.SOL_SOCKET, option, size // 2)
        sock.connect(self.address)
        return sock

    async def accept(self) -> RawServer:
        """Accept a connection."""
        while True:
            try:
                sock, _ = self.socket.accept()
                break
            except BlockingIOError:
                await self._runtime.readable(self.socket)
        stream: Stream = SocketStream(self._runtime, sock)
        if self._context is not None:
            stream = TLSStream(stream, self._context, server_side=True)
            try:
                await stream.handshake()
            except BaseException:
                sock.close()
                raise
        self.peers.append(RawServer(stream))
        return self.peers[-1]

    async def accept_and_answer(self, **changes: Any) -> RawServer:
        """Accept a connection and do the opening handshake."""
        peer = await self.accept()
        await peer.answer(**changes)
        return peer
