"""Completeness: each option and each method is tried somewhere in the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.anyio.client import AnyioConnectOptions
from adapters.asyncio.client import AsyncioConnectOptions
from adapters.asyncio.server import AsyncioServeOptions
from adapters.shared.options import OPTIONS, ConnectOptions, ServeOptions
from adapters.structured.server import StructuredServeOptions
from adapters.threading.client import ThreadingConnectOptions
from adapters.threading.server import ThreadingServeOptions
from adapters.trio.client import TrioConnectOptions
from tests.adapters.runtimes import Runtime
from tests.core.test_options import ON_BOTH_SIDES

from .test_api import SERVER, SERVER_CONNECTION

CONTRACT = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))


def test_every_option_is_tried() -> None:
    declared = {*ConnectOptions.__annotations__, *ServeOptions.__annotations__}
    assert declared <= OPTIONS.keys()
    # Those for streams, too. The last two are one runtime's, and tried there.
    for options in (AsyncioConnectOptions, TrioConnectOptions, AnyioConnectOptions, ThreadingConnectOptions):
        declared |= options.__annotations__.keys()
    for options in (AsyncioServeOptions, StructuredServeOptions, ThreadingServeOptions):
        declared |= options.__annotations__.keys()
    declared -= {"cleanup_socket", "max_threads"}
    assert {name for name in declared if f'"{name}"' not in CONTRACT and f"{name}=" not in CONTRACT} == set()


def test_every_member_is_tried() -> None:
    members = SERVER_CONNECTION.keys() | SERVER.keys() | {"connections", "username", "skipped", "waiting"}
    # What is overridden is defined.
    assert {
        name for name in members if f".{name}" not in CONTRACT and f"def {name}(" not in CONTRACT
    } == set()


async def test_none_is_no_limit_and_no_deadline_or_the_default(runtime: Runtime) -> None:
    options = dict.fromkeys([*ON_BOTH_SIDES, "extensions", "extra_headers", "create_protocol"])
    async with runtime.connected(options, options) as (client, server):
        for sender, receiver in ((client, server), (server, client)):
            sending = runtime.spawn(sender.send, "x" * 2**21)
            assert await receiver.recv() == "x" * 2**21
            await sending.result()


@pytest.mark.parametrize("value", [(1000, 100), 1000])
async def test_limits_may_be_pairs(runtime: Runtime, value: int | tuple[int, int]) -> None:
    options = {"max_size": value, "write_limit": value, "read_limit": value, "max_queue": value}
    async with runtime.connected(options, options) as (client, server):
        await client.send("x" * 100)
        assert await server.recv() == "x" * 100
