"""A client of the ticker, on asyncio, which connects again and misses nothing.

Usage: python examples/ticker/client.py [URI]

``async for`` over ``connect`` gives a new connection after each that has ended, and waits longer after each
attempt that fails. The client asks the server for what it has missed meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys

from adapters.asyncio import ConnectionClosed, connect


def show(tick: dict[str, object], last: dict[str, object]) -> None:
    if last.get("run") not in (None, tick["run"]):
        print("the server was started again", flush=True)
    print(tick["number"], flush=True)


async def main(uri: str) -> None:
    last: dict[str, object] = {}
    async for websocket in connect(uri):
        # The block closes the connection also if the program is interrupted.
        async with websocket:
            try:
                await websocket.send(json.dumps(last))
                async for message in websocket:
                    tick = json.loads(message)
                    show(tick, last)
                    last = tick
            except ConnectionClosed:
                pass
        print(f"the connection has ended (code {websocket.close_code})", flush=True)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:8765/"))
