"""What the servers of ``bench/topics.py`` share: arguments, and commands.

Each program is run in the folder ``bench`` as ``python -m servers.NAME PORT --backplane NAME [--url URL]``,
beside others on the same port of 127.0.0.1. It obeys the lines of standard input, and answers each with a
line, the first of which, "ready", comes without being asked for:

connections    The number of connections that were opened.
subscribe      All connections that have no subscription get one. The answer comes when they have.
publish COUNT  COUNT messages are published, one after the other. The answer comes when they were.
encodings      How often a message was encoded; -1 if the program does not count that.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from abc import ABC, abstractmethod
from typing import Any

HOST = "127.0.0.1"
TOPIC = "bench"
MESSAGE = "".join(f"{number:04d}" for number in range(64))


class TopicsServer(ABC):
    """A server; one process of several.

    Attributes:
        fresh: connections without a subscription.
        count: the number of connections that were opened.
        encodings: how often a message was encoded.
    """

    encodings = -1

    def __init__(self) -> None:
        self.fresh: list[Any] = []
        self.count = 0

    def opened(self, connection: Any) -> None:
        """A connection was opened."""
        self.count += 1
        self.fresh.append(connection)

    @abstractmethod
    async def subscribe(self, connection: Any) -> None:
        """Give a connection its subscription."""

    @abstractmethod
    async def publish(self) -> None:
        """Publish a message."""

    async def obey(self) -> None:
        """Obey standard input until it ends."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        print("ready", flush=True)
        while line := await reader.readline():
            answer: object = "done"
            match line.decode().split():
                case ["connections"]:
                    answer = self.count
                case ["encodings"]:
                    answer = self.encodings
                case ["subscribe"]:
                    while self.fresh:
                        await self.subscribe(self.fresh.pop())
                case ["publish", count]:
                    for _ in range(int(count)):
                        await self.publish()
            print(answer, flush=True)


def parse_arguments() -> argparse.Namespace:
    logging.basicConfig(level=logging.ERROR)
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--backplane", required=True)
    parser.add_argument("--url", default="")
    return parser.parse_args()
