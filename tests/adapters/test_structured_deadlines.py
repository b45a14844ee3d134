"""Deadlines on trio and anyio while a peer sends without a gap, so that nobody ever waits to read."""

from __future__ import annotations

import pytest

from adapters.structured.transport import SocketTransport
from tests.adapters.runtimes import Runtime, make_runtime
from tests.core.helpers import PONG, frame


@pytest.fixture(params=["trio", "anyio-asyncio", "anyio-trio"])
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return make_runtime(request.param)


async def test_a_peer_does_not_put_off_a_deadline(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    async with runtime.raw_server(close_timeout=0.3) as (_, client):
        endless = frame(PONG, bytes(125), masked=False) * 100
        monkeypatch.setattr(SocketTransport, "read", lambda self, size=0: endless)
        await client.close()
        assert client.close_code == 1006
