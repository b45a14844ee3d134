"""Options: each of them is tried somewhere in the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.adapters.runtimes import Runtime
from wsproto_core.options import OPTIONS, ConnectOptions, ServeOptions

OPTIONAL = ["compression", "extensions", "subprotocols", "extra_headers", "logger", "create_protocol"]

DISABLED = [
    "open_timeout",
    "close_timeout",
    "ping_interval",
    "ping_timeout",
    "max_size",
    "max_queue",
    "read_limit",
    "write_limit",
    "max_fragments",
    "max_pings",
    "max_headers",
    "max_header_line",
    "max_header_bytes",
]


def test_every_option_is_tried() -> None:
    tried = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    declared = {*ConnectOptions.__annotations__, *ServeOptions.__annotations__}
    assert declared <= OPTIONS.keys()
    # These have modules of their own, beside the contract.
    elsewhere = {"max_connections", "max_redirects", "proxy", "reconnect_delays", "reconnect_fatal"}
    assert {
        name for name in declared - elsewhere if f'"{name}"' not in tried and f"{name}=" not in tried
    } == set()


async def test_none_is_no_limit_and_no_deadline_or_the_default(runtime: Runtime) -> None:
    options = dict.fromkeys([*DISABLED, *OPTIONAL])
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
