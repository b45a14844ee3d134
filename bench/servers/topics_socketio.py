"""python-socketio on aiohttp, with its manager for Redis; clients are in a room."""

from __future__ import annotations

import asyncio

import socketio
from aiohttp import web

from servers.topics_common import HOST, MESSAGE, TOPIC, TopicsServer, parse_arguments

NEVER = 10**6
"""Seconds between pings."""


class Server(TopicsServer):
    def __init__(self, sio: socketio.AsyncServer) -> None:
        super().__init__()
        self.sio = sio
        sio.on("connect", self.connected)

    async def listen(self) -> None:
        """Listen to the other processes already before the first connection."""
        self.sio.manager_initialized = True
        self.sio.manager.initialize()
        # Nothing tells of it.
        while not (self.sio.manager.pubsub and self.sio.manager.pubsub.subscribed):  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def connected(self, sid: str, environ: object) -> None:
        self.opened(sid)

    async def subscribe(self, connection: str) -> None:
        await self.sio.enter_room(connection, TOPIC)

    async def publish(self) -> None:
        await self.sio.emit("message", MESSAGE, room=TOPIC)


async def main() -> None:
    arguments = parse_arguments()
    manager = socketio.AsyncRedisManager(arguments.url) if arguments.backplane == "redis" else None
    sio = socketio.AsyncServer(client_manager=manager, async_mode="aiohttp", ping_interval=NEVER)
    server = Server(sio)
    application = web.Application()
    sio.attach(application)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, arguments.port, reuse_port=True).start()
    if manager is not None:
        await server.listen()
    await server.obey()


if __name__ == "__main__":
    asyncio.run(main())
