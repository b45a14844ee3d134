"""Sockets that connect, on runtimes with structured concurrency."""

from __future__ import annotations

import math
import socket

from adapters.shared.addresses import (
    ADDRESS_DELAY,
    RETRY_DELAY,
    Address,
    begin_connect,
    connect_failure,
    finish_connect,
    in_order,
)
from adapters.shared.asynchronous import RuntimeEvent

from .runtime import Runtime

__all__ = ["connect_tcp", "connect_unix"]


async def connect_tcp(
    runtime: Runtime,
    host: str,
    port: int,
    local_address: str | None = None,
    happy_eyeballs_delay: float | None = ADDRESS_DELAY,
) -> socket.socket:
    """Connect to one of a host's addresses, as RFC 8305 says: the next is tried while one is slow.

    Args:
        runtime: the adapter's.
        host: a name or an address.
        port: the TCP port.
        local_address: this end's IP address; ``None`` for any.
        happy_eyeballs_delay: seconds until the next address is tried; ``None`` waits for each to fail.

    Raises:
        OSError: none can be connected to: see :func:`.connect_failure`.
    """
    family, local = socket.AF_UNSPEC, None
    if local_address is not None:
        family = socket.AF_INET6 if ":" in local_address else socket.AF_INET
        local = (local_address, 0)
    found = await runtime.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    connected: list[socket.socket] = []
    errors: list[OSError] = []

    async def attempt(address: Address, failed: RuntimeEvent) -> None:
        try:
            sock = begin_connect(address, local)
            try:
                await runtime.wait_writable(sock)
                finish_connect(sock, address)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            errors.append(error)
            failed.set()
        else:
            connected.append(sock)
            attempts.cancel_scope.cancel()

    clock = runtime.get_clock()
    try:
        async with runtime.open_tasks() as attempts:
            for address in in_order(found):
                failed = runtime.make_event()
                attempts.start_soon(attempt, address, failed)
                delay = math.inf if happy_eyeballs_delay is None else happy_eyeballs_delay
                with runtime.open_scope(clock() + delay):
                    await failed.wait()
    except BaseException:
        for sock in connected:
            sock.close()
        raise
    for sock in connected[1:]:
        sock.close()
    if not connected:
        try:
            raise connect_failure(errors)
        finally:
            # They refer to this frame.
            errors.clear()
    return connected[0]


async def connect_unix(runtime: Runtime, path: str) -> socket.socket:
    """Connect to a Unix socket.

    Raises:
        OSError: nobody listens there.
    """
    clock = runtime.get_clock()
    while True:
        try:
            return begin_connect((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path))
        except BlockingIOError:
            await runtime.sleep_until(clock() + RETRY_DELAY)
