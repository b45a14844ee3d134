"""What the benchmarks share that talk to each adapter: runtimes, servers, and peers made by hand."""

from __future__ import annotations

import contextlib
import importlib
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import anyio

HOST = "127.0.0.1"
CERTIFICATES = Path(__file__).parent.parent / "tests" / "certificates"

ADAPTERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "asyncio": ("adapters.asyncio", "asyncio", {}),
    "uvloop": ("adapters.asyncio", "asyncio", {"use_uvloop": True}),
    "trio": ("adapters.trio", "trio", {}),
    "anyio-asyncio": ("adapters.anyio", "asyncio", {}),
    "anyio-trio": ("adapters.anyio", "trio", {}),
}
"""Those with an event loop by name: the module, and how anyio runs the loop."""

OPTIONS: dict[str, Any] = {"compression": None, "max_size": None, "max_fragments": None}
"""Of all servers and clients here."""

HEAD = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)

SMALL = 2**12
"""Bytes that the system is asked to buffer for who is to wait soon."""

T = TypeVar("T")


def run(adapter: str, function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run a coroutine function, given the module of an adapter and the arguments, on its event loop."""
    module, backend, options = ADAPTERS[adapter]
    return anyio.run(
        function, importlib.import_module(module), *args, backend=backend, backend_options=options
    )


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key")
    return context


@contextlib.asynccontextmanager
async def serving(
    adapter: Any, handler: Callable[[Any], Awaitable[object]], tls: bool = False, **options: Any
) -> AsyncIterator[Any]:
    """A server on a free port."""
    if tls:
        options["ssl"] = server_context()
    async with adapter.serve(handler, HOST, 0, **OPTIONS, **options) as server:
        yield server


def shrink_buffers(server: Any) -> None:
    """Let the system buffer little of what the server sends."""
    for sock in server.sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)


def port_of(server: Any) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


# Peers, which work in threads


def frame(first: int, payload: bytes = b"") -> bytes:
    """A small frame of a client; a masking key of zeros leaves the payload as it is."""
    return bytes((first, 0x80 | len(payload))) + bytes(4) + payload


def open_peer(
    port: int, tls: bool = False, small: bool = False, headers: bytes = b"", pause: float = 0.0
) -> socket.socket:
    """A client that has done the opening handshake, perhaps one with a small buffer.

    It pauses for so many seconds before its request: so the server is there first, and waits.
    """
    sock = socket.socket()
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    sock.connect((HOST, port))
    if tls:
        context = ssl.create_default_context(cafile=CERTIFICATES / "localhost.pem")
        sock = context.wrap_socket(sock, server_hostname=HOST)
    time.sleep(pause)
    sock.sendall(HEAD + headers + b"\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    return sock


def drain(sock: socket.socket) -> None:
    """Read until the connection is closed by the other end, then close it."""
    with contextlib.suppress(OSError):
        while sock.recv(2**18):
            pass
        sock.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def at_work(*functions: Callable[[], object]) -> Iterator[None]:
    """Run each function in a thread; they end with what they work on."""
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def cut(sock: socket.socket) -> Iterator[None]:
    """End the connection in the end; others may still use the socket."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
