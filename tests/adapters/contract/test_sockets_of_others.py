"""Sockets from the application: those of other libraries are refused before they are used."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, echo

pytestmark = pytest.mark.needs("sockets", "features")


@pytest.fixture(params=["trio", "asyncio", "number"])
def other(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Something that leads to a socket, and is none."""
    with socket.socket() as plain:
        match request.param:
            case "trio":
                # A duplicate, which is closed by its owner.
                with plain.dup() as duplicate:
                    yield trio.socket.from_stdlib_socket(duplicate)
            case "asyncio":
                yield asyncio.trsock.TransportSocket(plain)
            case _:
                yield plain.fileno()


async def test_connect(runtime: Runtime, other: Any) -> None:
    with pytest.raises(TypeError, match=r"^sock must be a socket\.socket"):
        await runtime.open(f"ws://{HOST}:9/", sock=other)


async def test_serve(runtime: Runtime, other: Any) -> None:
    with pytest.raises(TypeError, match=r"^sock must be a socket\.socket"):
        async with runtime.serve(echo, sock=other):
            raise AssertionError
