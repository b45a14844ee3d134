"""A ticker on asyncio: a number again and again, and those that a client has missed.

Usage: python examples/ticker/server.py [PORT [SECONDS]]

SECONDS is the time between two numbers. The first message of a client says what it has seen last:
``{"run": RUN, "number": NUMBER}``, or ``{}`` if this is its first connection. RUN names the run of the
server, because a server that is started again counts from 1 again.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import sys

from adapters.asyncio import CloseCode, ServerConnection, serve

KEPT = 1000  # numbers that a client can ask for


class Ticker:
    """Counts, and remembers."""

    def __init__(self) -> None:
        self.run_name = secrets.token_hex(4)
        self.number = 0
        self._changed = asyncio.Condition()

    async def count(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            async with self._changed:
                self.number += 1
                self._changed.notify_all()

    async def handle(self, websocket: ServerConnection) -> None:
        """Send each number after the last one that the client has seen, those of the past at once."""
        try:
            last = json.loads(await websocket.recv())
            same_run = last.get("run") == self.run_name
            next_number = int(last["number"]) + 1 if same_run else self.number + 1
        except (AttributeError, KeyError, TypeError, ValueError):
            await websocket.close(CloseCode.POLICY_VIOLATION, "say what you have seen last")
            return
        while True:
            async with self._changed:
                while self.number < next_number:
                    await self._changed.wait()
            next_number = max(next_number, self.number - KEPT + 1)
            await websocket.send(json.dumps({"run": self.run_name, "number": next_number}))
            next_number += 1


async def main(port: int, interval: float) -> None:
    ticker = Ticker()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    counting = asyncio.create_task(ticker.count(interval))
    async with serve(ticker.handle, "localhost", port, origins=[None]):
        print(f"Numbers at ws://localhost:{port}/. Ctrl-C stops the server.", flush=True)
        await stopped.wait()
    # The handlers have returned here: with the next number, each has noticed that its connection is closed.
    counting.cancel()


if __name__ == "__main__":
    port, interval = (*sys.argv[1:], *("8765", "1")[len(sys.argv) - 1 :])
    asyncio.run(main(int(port), float(interval)))
