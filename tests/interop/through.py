"""What must work through whatever stands between a client and a server of ours."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import FEATURES, RUNTIMES, SOCKETS, Runtime
from wsproto_core import ConnectionClosedError

NAMES = [name for name, kind in RUNTIMES.items() if {SOCKETS, FEATURES} <= kind.abilities]
"""The runtimes that this is tried on."""


async def serve_case(websocket: Any) -> None:
    if websocket.path == "/close":
        await websocket.close(4321, "caf\xe9")
    else:
        async for message in websocket:
            await websocket.send(message)


async def check(runtime: Runtime, uri: str, **options: Any) -> None:
    """Whatever is sent arrives, in both directions, and so do pings and close frames."""
    options = {"max_size": None, **options}
    messages: list[Any] = ["", "hello", "caf\xe9", bytes(range(256)), "x" * 70_000, bytes(2**21), "y" * 2**21]
    for compression in ("deflate", None):
        async with runtime.connect(uri, compression=compression, **options) as client:
            for message in messages:
                sending = runtime.spawn(client.send, message)
                assert await client.recv() == message
                await sending.result()
            assert await runtime.pong(await client.ping()) >= 0
    async with runtime.connect(f"{uri}close", **options) as client:
        with pytest.raises(ConnectionClosedError) as raised:
            await client.recv()
        assert (raised.value.code, raised.value.reason) == (4321, "caf\xe9")
