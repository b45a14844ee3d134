"""Sockets that connect, over TCP and to Unix sockets."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.shared.addresses import (
    ADDRESS_DELAY,
    RETRY_DELAY,
    Address,
    begin_connect,
    connect_failure,
    in_order,
    look_up_number,
    open_socket,
    refusal,
)

__all__ = ["TCP_OPTIONS", "connect_tcp", "connect_unix", "tcp_options"]

TCP_OPTIONS = ("family", "proto", "flags", "local_addr", "happy_eyeballs_delay", "interleave", "all_errors")
"""Options of :meth:`asyncio.loop.create_connection` that :func:`connect_tcp` has, on any event loop."""


def tcp_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of :func:`connect_tcp` among others."""
    return {name: options[name] for name in TCP_OPTIONS if name in options}


async def connect_tcp(
    host: str,
    port: int,
    *,
    local_addr: tuple[str, int] | None = None,
    happy_eyeballs_delay: float | None = ADDRESS_DELAY,
    interleave: int = 1,
    all_errors: bool = False,
    **look_up: int,
) -> socket.socket:
    """Connect to one of a host's addresses, as RFC 8305 says: the next is tried while one is slow.

    asyncio's own call does so only if it is told to, and raises errors of another class if there are
    several; uvloop's does not at all.

    Args:
        host: a name or an address.
        port: the TCP port.
        happy_eyeballs_delay: seconds until the next address is tried; ``None`` waits for each to fail.
        local_addr, interleave, all_errors, look_up: see :meth:`asyncio.loop.create_connection`; ``look_up``
            is ``family``, ``proto`` and ``flags``.

    Raises:
        OSError: none can be connected to: see :func:`.connect_failure`.
        ExceptionGroup: the same, if ``all_errors``.
    """
    found = await _look_up(host, port, **look_up)
    local = None if local_addr is None else await _look_up(local_addr[0], local_addr[1], **look_up)
    untried = iter(in_order(found, interleave))
    connected: list[socket.socket] = []
    errors: list[OSError] = []

    async def attempt(address: Address) -> None:
        try:
            connected.append(await _connect(address, local))
        except OSError as error:
            errors.append(error)

    attempts: set[asyncio.Task[None]] = set()
    try:
        while not connected:
            address = next(untried, None)
            if address is not None:
                attempts.add(asyncio.create_task(attempt(address)))
            elif not attempts:
                raise ExceptionGroup("connecting failed", errors) if all_errors else connect_failure(errors)
            done, attempts = await asyncio.wait(
                attempts,
                timeout=None if address is None else happy_eyeballs_delay,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                task.result()
        return connected.pop(0)
    finally:
        for task in attempts:
            task.cancel()
        for sock in connected:
            sock.close()
        # They refer to this frame.
        errors.clear()


async def _look_up(host: str, port: int, **look_up: int) -> Sequence[Address]:
    number = look_up_number(host, port, **look_up)
    if number is not None:
        return number
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, **look_up)


async def _connect(address: Address, local: Sequence[Address] | None) -> socket.socket:
    """Connect to an address, from one of the same family."""
    source = None
    if local is not None:
        source = next((each[4] for each in local if each[0] == address[0]), None)
        if source is None:
            raise refusal(errno.EADDRNOTAVAIL, address)
    sock = open_socket(address, source)
    try:
        await asyncio.get_running_loop().sock_connect(sock, address[4])
    except OSError as error:
        sock.close()
        raise refusal(error.errno or errno.EIO, address) from error
    except BaseException:
        sock.close()
        raise
    return sock


async def connect_unix(path: str) -> socket.socket:
    """Connect to a Unix socket.

    Raises:
        OSError: no server listens there.
    """
    while True:
        with contextlib.suppress(BlockingIOError):
            return begin_connect((socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path))
        await asyncio.sleep(RETRY_DELAY)
