"""This library's topics, on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import wsproto_core.prepared
from adapters.asyncio import ServerConnection, serve
from adapters.topics import Backplane, MemoryBackplane, Topics
from servers.topics_common import HOST, MESSAGE, TOPIC, TopicsServer, parse_arguments


def make_redis(url: str) -> Backplane:
    from adapters.topics.redis import RedisBackplane

    return RedisBackplane(url, timeout=60)


def make_nats(url: str) -> Backplane:
    from adapters.topics.nats import NatsBackplane

    return NatsBackplane(url, timeout=60)


BACKPLANES: dict[str, Callable[[str], Backplane]] = {
    "memory": lambda url: MemoryBackplane(),
    "redis": make_redis,
    "nats": make_nats,
}
"""By name: what makes the backplane for an address."""


class Server(TopicsServer):
    def __init__(self, topics: Topics) -> None:
        super().__init__()
        self.topics = topics
        self.encodings = 0
        self._count_encodings()

    def _count_encodings(self) -> None:
        module = vars(wsproto_core.prepared)
        encode_frame = module["encode_frame"]

        def counted(*args: Any) -> Any:
            self.encodings += 1
            return encode_frame(*args)

        module["encode_frame"] = counted

    async def handle(self, websocket: ServerConnection) -> None:
        self.opened(websocket)
        async for _ in websocket:
            pass

    async def subscribe(self, connection: ServerConnection) -> None:
        await self.topics.subscribe(connection, TOPIC)

    async def publish(self) -> None:
        await self.topics.publish(TOPIC, MESSAGE)


async def main() -> None:
    arguments = parse_arguments()
    async with Topics(BACKPLANES[arguments.backplane](arguments.url)) as topics:
        server = Server(topics)
        async with serve(server.handle, HOST, arguments.port, reuse_port=True, ping_interval=None):
            await server.obey()


if __name__ == "__main__":
    asyncio.run(main())
