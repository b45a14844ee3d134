"""The event loop: its functions, the read buffer, and fair reading on uvloop."""

from __future__ import annotations

import asyncio
import socket
from weakref import WeakKeyDictionary

from ..shared.wrong_runtime import check_running

__all__ = ["READ_SIZE", "read_buffers", "reads_repeatedly", "running_loop"]

READ_SIZE = 48 * 2**10
"""Bytes that are read at once: they, the begun part of a message, and echoes reach no watermark of 64 KiB."""

LARGE_READ_SIZE = 2**18
"""The same while messages are large."""

_buffers: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[memoryview, memoryview]] = WeakKeyDictionary()


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that runs the current task.

    Raises:
        RuntimeError: asyncio does not run this code.
    """
    check_running(__package__, "asyncio")
    return asyncio.get_running_loop()


def read_buffers(loop: asyncio.AbstractEventLoop) -> tuple[memoryview, memoryview]:
    """Return the read buffer in two sizes; all connections of a loop share it: its bytes are used at once."""
    if isinstance(loop, getattr(asyncio, "ProactorEventLoop", ())):
        # A proactor fills several buffers at the same time.
        buffer = memoryview(bytearray(READ_SIZE))
        return buffer, buffer
    buffers = _buffers.get(loop)
    if buffers is None:
        large = memoryview(bytearray(LARGE_READ_SIZE))
        buffers = _buffers[loop] = large[:READ_SIZE], large
    return buffers


def reads_repeatedly(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the loop repeats reading from a stream while the buffer is filled.

    asyncio's own loops read once in an iteration. libuv, and so uvloop, reads up to 32 times: with buffers
    of 48 KiB, these are 1.5 MiB of one stream before any other task or stream.
    """
    return not isinstance(loop, asyncio.BaseEventLoop)


def writable_descriptor(transport: asyncio.BaseTransport, sock: socket.socket) -> int:
    """Return the descriptor of a transport's socket, to write to while the transport has nothing to write.

    Args:
        transport: the transport.
        sock: its socket.

    Returns:
        The descriptor; -1 if this is not known to be possible: only the transports of uvloop, and those for
        selectors of asyncio and of aiofastnet, are known to write without a thread or a proactor. Those of
        the event loops' own TLS encrypt.
    """
    kind = type(transport).__module__
    known = kind in ("asyncio.selector_events", "aiofastnet.selector_transport") or kind.startswith("uvloop.")
    return sock.fileno() if known and not transport.get_extra_info("sslcontext") else -1
