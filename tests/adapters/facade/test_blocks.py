"""Blocks of the facade: the close code when an exception leaves one, and connect objects."""

from __future__ import annotations

import pytest

from adapters import websockets

from .peers import connected, serving


class Users(Exception):
    """What an application raises."""


async def test_exception_closes_with_1011() -> None:
    async with connected() as (client, server):
        with pytest.raises(Users):
            async with client:
                raise Users
        await server.wait_closed()
        assert server.close_code == 1011


async def test_exception_in_the_block_of_connect_closes_with_1011() -> None:
    async with serving() as (_, uri):
        with pytest.raises(Users):
            async with websockets.connect(uri) as client:
                raise Users
        assert client.close_code == 1011
