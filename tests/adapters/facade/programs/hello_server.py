"""A server that asks for a name and greets."""

import asyncio

from adapters import websockets


async def hello(websocket, path):
    name = await websocket.recv()
    print(f"< {name}")
    greeting = f"Hello {name}!"
    await websocket.send(greeting)
    print(f"> {greeting}")
    loop.stop()


loop = asyncio.new_event_loop()
start_server = websockets.serve(hello, "localhost", 0)
server = loop.run_until_complete(start_server)
print(server.sockets[0].getsockname()[1], flush=True)
loop.run_forever()
server.close()
loop.run_until_complete(server.wait_closed())
loop.close()
