"""Closing a socket that somebody waits for, where another socket gets its descriptor at once."""

from __future__ import annotations

import socket

import anyio
import pytest
import trio

from adapters.anyio.streams import RUNTIME as ANYIO
from adapters.structured.runtime import Runtime
from adapters.structured.transport import SocketTransport, os_errors
from adapters.trio.streams import RUNTIME as TRIO


async def replace(runtime: Runtime) -> None:
    """Close a socket, and wait for another one with the same descriptor."""
    first, peer = socket.socketpair()
    number = first.fileno()
    transport = SocketTransport(runtime, first)
    async with runtime.open_tasks() as tasks:

        async def wait() -> None:
            with pytest.raises(OSError, match="Closed"), os_errors():
                await transport.wait_readable()

        tasks.start_soon(wait)
        await runtime.sleep_until(runtime.get_clock()() + 0.05)
        await transport.abort(False)
        second, other = socket.socketpair()
        assert number in (second.fileno(), other.fileno())
        reader, writer = (second, other) if second.fileno() == number else (other, second)
        with peer, second, other:
            reader.setblocking(False)
            tasks.start_soon(later, runtime, writer)
            with runtime.open_scope(deadline=runtime.get_clock()() + 30) as scope:
                await runtime.wait_readable(reader)
            assert not scope.cancel_called  # type: ignore[attr-defined]
            assert reader.recv(10) == b"x"


async def later(runtime: Runtime, sock: socket.socket) -> None:
    await runtime.sleep_until(runtime.get_clock()() + 0.05)
    sock.send(b"x")


def test_who_waited_for_it_lets_the_next_one_be() -> None:
    anyio.run(replace, ANYIO)
    anyio.run(replace, ANYIO, backend="trio")
    trio.run(replace, TRIO)


async def wait_again(runtime: Runtime) -> None:
    """Close a socket while a task waits for it that would wait again."""
    sock, peer = socket.socketpair()
    transport = SocketTransport(runtime, sock)
    with peer:
        async with runtime.open_tasks() as tasks:

            async def read() -> None:
                with pytest.raises(OSError, match="Closed"), os_errors():
                    await transport.wait_readable()
                # Without bytes to read, None would tell to wait.
                with pytest.raises(OSError, match="Bad file descriptor"):
                    transport.read()

            tasks.start_soon(read)
            await runtime.sleep_until(runtime.get_clock()() + 0.05)
            await transport.abort(False)
        assert peer.recv(10) == b""


def test_no_task_begins_to_wait_for_it() -> None:
    anyio.run(wait_again, ANYIO)
    anyio.run(wait_again, ANYIO, backend="trio")
    trio.run(wait_again, TRIO)
