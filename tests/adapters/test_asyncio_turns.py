"""How much is sent before others run: what :mod:`.contract.test_turns` has, by the number of bytes."""

from __future__ import annotations

from tests.adapters.contract.test_turns import LARGE, SIZE, Turns, with_tls
from tests.adapters.runtimes import Runtime


@with_tls
async def test_sending_much(runtime: Runtime, tls: bool) -> None:
    async with runtime.raw_server(tls=tls, write_limit=None) as (peer, client):
        longest = await Turns(runtime).measure(lambda: client.send(bytes(LARGE)), 200)
        assert longest <= SIZE // LARGE + 1
        peer.reset()
