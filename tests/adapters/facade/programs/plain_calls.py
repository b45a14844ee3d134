"""A clock and its client, in the style of the first documentation: ``send`` is a plain call there."""

import asyncio
import types

from adapters import websockets


@types.coroutine
def clock(websocket, path):
    ticks = 0
    while websocket.open:
        websocket.send(f"{path} {ticks}")
        websocket.ping()
        ticks += 1
        yield from asyncio.sleep(0.01)
    print("client is gone")


@types.coroutine
def main():
    server = yield from websockets.serve(clock, "localhost", 0)
    port = server.sockets[0].getsockname()[1]
    websocket = yield from websockets.connect(f"ws://localhost:{port}/clock")
    for _ in range(3):
        print((yield from websocket.recv()))
    websocket.send("bye")
    yield from websocket.close()
    server.close()
    yield from server.wait_closed()


loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
