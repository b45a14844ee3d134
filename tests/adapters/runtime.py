"""What the tests need of the runtime: event loops, connections, and peers that misbehave.

The scenarios in the test modules say what happens; everything that is peculiar to asyncio is here
or in the adapter's own tests (waking, the fast path).

A test is a coroutine function. It runs with a deadline, and must leave nothing behind: no task, no
exception that nobody looked at, no open transport.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from adapters.asyncio import ClientConnection, Connection, Server, ServerConnection, connect, serve
from tests.core.helpers import CLOSE, KEY, Frame, Head, close_payload, mask, parse_head, request, response
from tests.core.helpers import frame as build_frame

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}

DEADLINE = 30.0
"""Seconds after which a test has failed."""

HOST = "127.0.0.1"

CERTIFICATES = Path(__file__).parent.parent / "certificates"

QUIET: dict[str, Any] = {"ping_interval": None}
"""Options without a keepalive, for tests that look at each frame."""


class Runtime:
    """One of the event loops."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reports: list[dict[str, Any]] = []
        """What was reported to the loop's exception handler; a test that expects some removes it."""

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        """Run a test to its end, and see whether it leaves anything behind."""
        with asyncio.Runner(loop_factory=LOOPS[self.name]) as runner:
            loop = runner.get_loop()
            loop.set_exception_handler(lambda loop, context: self.reports.append(context))
            runner.run(self._supervise(test))
        # Exceptions that were never retrieved, and transports that were never closed, are
        # reported when they are collected.
        gc.collect()
        assert not self.reports, f"reported to the event loop: {self.reports}"

    async def _supervise(self, test: Coroutine[Any, Any, None]) -> None:
        async with asyncio.timeout(DEADLINE):
            await test
        await turns(10)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks are left: {left}"


# Waiting


async def turns(count: int = 5) -> None:
    """Let the event loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def settle(seconds: float = 0.05) -> None:
    """Let happen what is on its way; nothing may depend on it having happened."""
    await asyncio.sleep(seconds)


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so; the test's deadline is the limit."""
    done = condition()
    while not done:
        await asyncio.sleep(0.005)
        done = condition()


def block(seconds: float) -> None:
    """Let nothing else run."""
    time.sleep(seconds)


def shrink_buffers(*connections: Connection) -> None:
    """Let the operating system hold little of what these send, so that they have to wait soon."""
    for connection in connections:
        sock = connection.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**14)


async def until_stable(value: Callable[[], object], seconds: float = 0.1) -> None:
    """Wait until something has not changed for a while: until everybody waits for somebody else."""
    last = object()
    while last != (now := value()):
        last = now
        await asyncio.sleep(seconds)


# Connections


async def echo(websocket: Connection) -> None:
    async for message in websocket:
        await websocket.send(message)


async def wait_closed(websocket: Connection) -> None:
    """A handler that leaves everything to the test."""
    await websocket.wait_closed()


def port_of(server: Server) -> int:
    assert server.sockets is not None
    port: int = server.sockets[0].getsockname()[1]
    return port


def uri_of(server: Server, path: str = "/", scheme: str = "ws", host: str = HOST) -> str:
    return f"{scheme}://{host}:{port_of(server)}{path}"


@contextlib.asynccontextmanager
async def serving(
    handler: Callable[..., Awaitable[Any]] = echo, **options: Any
) -> AsyncIterator[tuple[Server, str]]:
    """A server on a free port, and its URI. What is sent has the size that it says: no compression."""
    options.setdefault("compression", None)
    async with serve(handler, HOST, 0, **options) as server:
        yield server, uri_of(server, scheme="wss" if options.get("ssl") else "ws")


@contextlib.asynccontextmanager
async def connected(
    client: dict[str, Any] | None = None,
    server: dict[str, Any] | None = None,
    *,
    tls: bool = False,
) -> AsyncIterator[tuple[ClientConnection, ServerConnection]]:
    """Both ends of a connection, neither of which does anything by itself."""
    accepted: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()

    async def handler(websocket: ServerConnection) -> None:
        accepted.set_result(websocket)
        await websocket.wait_closed()

    client, server = {**QUIET, **(client or {})}, {**QUIET, **(server or {})}
    if tls:
        client, server = {"ssl": client_context(), **client}, {"ssl": server_context(), **server}
    async with (
        serving(handler, **server) as (_, uri),
        connect(uri, **client) as client_end,
    ):
        yield client_end, await accepted


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=CERTIFICATES / "localhost.pem")


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key")
    return context


class Log(logging.LoggerAdapter[logging.Logger]):
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[logging.LogRecord] = []
        logger = logging.Logger("test")
        logger.addHandler(_Keep(self.records))
        super().__init__(logger)

    def messages(self, level: int = logging.INFO) -> list[str]:
        return [record.getMessage() for record in self.records if record.levelno >= level]

    def errors(self) -> list[tuple[str, type[BaseException] | None]]:
        """What is worse than a warning, with the classes of the exceptions."""
        return [
            (record.getMessage(), record.exc_info[0] if record.exc_info else None)
            for record in self.records
            if record.levelno >= logging.ERROR
        ]


class _Keep(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


# Peers made by hand. They read the socket only when they are told to.


class Peer:
    """The other end of a connection, a socket and no more."""

    masks = False
    """Whether it masks its frames, as a client does."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family != getattr(socket, "AF_UNIX", None):
            # What is sent by the byte shall arrive by the byte.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = sock
        self._received = b""

    async def send(self, *data: bytes | Frame) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.socket, b"".join(map(self._build, data)))

    def _build(self, data: bytes | Frame) -> bytes:
        if isinstance(data, bytes):
            return data
        opcode, payload, fin, reserved = data
        return build_frame(opcode, payload, fin=fin, reserved=reserved, masked=self.masks)

    async def read(self) -> bytes:
        """Read what is there, or wait for it; nothing at the end of file."""
        data, self._received = self._received, b""
        return data or await asyncio.get_running_loop().sock_recv(self.socket, 65536)

    async def _receive_more(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
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
            payload = mask(payload, key)
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
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close the stream by a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


class RawClient(Peer):
    masks = True


class RawServer(Peer):
    async def answer(self, **changes: Any) -> Head:
        """Read a request and accept it; return the request."""
        head = await self.read_head()
        await self.send(response(head.headers["sec-websocket-key"], **changes))
        return head


@contextlib.asynccontextmanager
async def raw_connection(server: Server, *, receive_buffer: int | None = None) -> AsyncIterator[RawClient]:
    """A client that has sent nothing yet."""
    sock = socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client = RawClient(sock)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (HOST, port_of(server)))
        yield client
    finally:
        client.close()


@contextlib.asynccontextmanager
async def raw_client(
    server: Server, *, receive_buffer: int | None = None, **changes: Any
) -> AsyncIterator[RawClient]:
    """A client that has done the opening handshake."""
    async with raw_connection(server, receive_buffer=receive_buffer) as client:
        await client.send(request(Sec_WebSocket_Key=KEY, **changes))
        assert (await client.read_head()).status == 101
        yield client


class RawListener:
    """Where raw servers come from."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.uri = f"ws://{HOST}:{sock.getsockname()[1]}/"
        self.peers: list[RawServer] = []

    async def accept(self) -> RawServer:
        """Accept a connection."""
        sock, _ = await asyncio.get_running_loop().sock_accept(self.socket)
        self.peers.append(RawServer(sock))
        return self.peers[-1]

    async def accept_and_answer(self, **changes: Any) -> RawServer:
        """Accept a connection and do the opening handshake."""
        peer = await self.accept()
        await peer.answer(**changes)
        return peer


@contextlib.asynccontextmanager
async def raw_listener(*, receive_buffer: int | None = None) -> AsyncIterator[RawListener]:
    with socket.create_server((HOST, 0)) as sock:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        listener = RawListener(sock)
        try:
            yield listener
        finally:
            for peer in listener.peers:
                peer.close()


@contextlib.asynccontextmanager
async def raw_server(
    *, receive_buffer: int | None = None, **options: Any
) -> AsyncIterator[tuple[RawServer, ClientConnection]]:
    """A server that has done the opening handshake, and the client that it has done it with.

    The client is not closed at the end: what becomes of it is the test's business.
    """
    async with raw_listener(receive_buffer=receive_buffer) as listener:
        accepting = asyncio.create_task(listener.accept_and_answer())
        client = await connect(listener.uri, **{**QUIET, **options})
        peer = await accepting
        try:
            yield peer, client
        finally:
            peer.close()
            await client.wait_closed()
