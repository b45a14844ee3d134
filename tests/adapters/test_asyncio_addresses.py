"""Options of `create_connection` about addresses, which asyncio and uvloop have alike."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from adapters.asyncio import connect, unix_connect
from adapters.asyncio.sockets import SocketStream
from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, wait_closed
from tests.ports import free_port


async def test_all_errors() -> None:
    with pytest.raises(ExceptionGroup, match="connecting failed") as raised:
        await connect(f"ws://{HOST}:{free_port()}/", all_errors=True)
    (error,) = raised.value.exceptions
    assert type(error) is ConnectionRefusedError


async def test_local_address(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (_, uri):
        async with connect(uri, local_addr=("127.0.0.3", 0)) as client:
            assert client.local_address[0] == "127.0.0.3"
        with pytest.raises(OSError, match="Cannot assign requested address"):
            await connect(uri, local_addr=("::1", 0))


async def test_one_after_the_other(runtime: Runtime) -> None:
    async with runtime.serving(wait_closed) as (_, uri):
        options: dict[str, Any] = {"happy_eyeballs_delay": None, "interleave": 2, "proto": socket.IPPROTO_TCP}
        async with connect(uri, **options) as client:
            assert client.open


async def test_they_are_about_tcp() -> None:
    with pytest.raises((TypeError, ValueError), match="happy_eyeballs_delay"):
        unix_connect("/nowhere", happy_eyeballs_delay=1)


async def test_name_that_is_looked_up(runtime: Runtime) -> None:
    async with runtime.serving() as (server, _):
        with await SocketStream(None).connect_tcp("localhost", runtime.port_of(server), {}) as sock:
            assert sock.getpeername()[:2] == (HOST, runtime.port_of(server))
