"""A dashboard on trio: the server pushes values, and a page draws them.

Usage: python examples/dashboard/server.py [PORT [SECONDS]]

SECONDS is the time between two values. A client that is slow does not get all values late: it gets fewer
values, and always the latest one. For this the server sends a ping after each value. The peer answers it
when it has read the value (RFC 6455 section 5.5.2), and only then the next value is sent. So there is never
more than one value on the way, and none waits in the buffers of the operating systems.
"""

from __future__ import annotations

import json
import random
import signal
import sys
from collections import deque
from pathlib import Path

import trio

from adapters.trio import ConnectionClosed, Headers, Response, ServerConnection, make_response, serve

PAGE = Path(__file__).with_name("page.html")


class Feed:
    """Produces values, and keeps the latest ones for pages that are opened later."""

    def __init__(self) -> None:
        self.number = 0
        self.values: deque[float] = deque([50.0], maxlen=200)
        self._changed = trio.Event()

    async def run(self, interval: float) -> None:
        """Add a value again and again: a random walk between 0 and 100."""
        while True:
            await trio.sleep(interval)
            step = random.gauss(0, 2)
            self.values.append(min(max(self.values[-1] + step, 0.0), 100.0))
            self.number += 1
            changed, self._changed = self._changed, trio.Event()
            changed.set()

    async def wait_for_later(self, number: int) -> None:
        """Wait until there is a value with a higher number."""
        while self.number <= number:
            await self._changed.wait()


feed = Feed()


async def push(websocket: ServerConnection) -> None:
    """Send values to a client until it leaves."""
    sent = feed.number
    await websocket.send(json.dumps({"number": sent, "history": list(feed.values)}))
    while True:
        pong = await websocket.ping()
        latency = await pong
        await feed.wait_for_later(sent)
        skipped = feed.number - sent - 1
        sent = feed.number
        await websocket.send(
            json.dumps({"number": sent, "value": feed.values[-1], "skipped": skipped, "latency": latency})
        )


async def handle(websocket: ServerConnection) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(push, websocket)
        try:
            async for _ in websocket:
                pass  # a client has nothing to say
        except ConnectionClosed:
            pass
        nursery.cancel_scope.cancel()


def answer_http(path: str, request_headers: Headers) -> Response | None:
    """Send the page to browsers; a request for WebSocket goes on."""
    if "Upgrade" in request_headers:
        return None
    if path == "/":
        return make_response(200, {"Content-Type": "text/html; charset=utf-8"}, PAGE.read_bytes())
    return make_response(404, body="There is only one page here: /\n")


async def main(port: int, interval: float) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run, interval)
        origins = [f"http://localhost:{port}", f"http://127.0.0.1:{port}", None]
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with serve(handle, "localhost", port, process_request=answer_http, origins=origins):
                print(f"Open http://localhost:{port}/ in a browser. Ctrl-C stops the server.", flush=True)
                await anext(aiter(signals))
        # All connections are closed here, with code 1001.
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    port, interval = (*sys.argv[1:], *("8765", "0.1")[len(sys.argv) - 1 :])
    trio.run(main, int(port), float(interval))
