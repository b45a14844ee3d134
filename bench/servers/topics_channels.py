"""Django Channels with channels_redis, on uvicorn: consumers are in a group."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.conf import settings
from uvicorn import Config, Server

from servers.topics_common import HOST, MESSAGE, TOPIC, TopicsServer, parse_arguments

NEVER = 10**6
"""Seconds."""


class Consumer(AsyncWebsocketConsumer):
    server: TopicsServer

    async def connect(self) -> None:
        await self.accept()
        self.server.opened(self.channel_name)

    async def deliver(self, event: dict[str, Any]) -> None:
        await self.send(text_data=event["text"])


class ChannelsServer(TopicsServer):
    def __init__(self) -> None:
        super().__init__()
        self.layer: Any = get_channel_layer()

    async def subscribe(self, connection: str) -> None:
        await self.layer.group_add(TOPIC, connection)

    async def publish(self) -> None:
        await self.layer.group_send(TOPIC, {"type": "deliver", "text": MESSAGE})


async def main() -> None:
    arguments = parse_arguments()
    # It waits as long for messages as redis-py 8 waits at all by default, and then loses its connections.
    hosts = [f"{arguments.url}?socket_timeout={NEVER}"]
    layer = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": hosts}}
    settings.configure(CHANNEL_LAYERS={"default": layer})
    django.setup()
    Consumer.server = server = ChannelsServer()
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((HOST, arguments.port))
    config = Config(
        Consumer.as_asgi(), lifespan="off", log_level="error", ws_ping_interval=None, backlog=4096
    )
    serving = asyncio.create_task(Server(config).serve(sockets=[sock]))
    await server.obey()
    serving.cancel()


if __name__ == "__main__":
    asyncio.run(main())
