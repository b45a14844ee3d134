"""What the server programs share: arguments, event loops, TLS, and handlers.

Each program is run in the folder ``bench`` as ``python -m servers.NAME PORT [--mode MODE] [--loop LOOP]
[--transport TRANSPORT] [--compressed] [--tls] [--max-size BYTES]``, and listens on 127.0.0.1. The mode says
what a connection does:

echo       Every message comes back.
sink       Messages are counted. The text message "fin" is answered with the count.
flood      The text message "COUNT SIZE" is answered with COUNT binary messages of SIZE bytes.
broadcast  The text message "COUNT SIZE" sends COUNT binary messages of SIZE bytes to all connections.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import logging
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
LOOPS = ("asyncio", "uvloop")
TRANSPORTS = ("standard", "aiofastnet")
MODES = ("echo", "sink", "flood", "broadcast")
Handler = Callable[[Any], Coroutine[Any, Any, None]]
CERTIFICATES = Path(__file__).parents[2] / "tests" / "certificates"

UNLIMITED = 2**40
"""Bytes in a message, for peers that cannot switch the limit off."""


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--mode", choices=MODES, default="echo")
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    parser.add_argument("--transport", choices=TRANSPORTS, default="standard")
    parser.add_argument("--compressed", action="store_true", help="negotiate permessage-deflate")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--max-size", type=int, help="limit on a message, in bytes; none by default")
    return parser


def parse_arguments(parser: argparse.ArgumentParser | None = None) -> argparse.Namespace:
    """Parse the command line; other programs than this library's log errors alone."""
    logging.basicConfig(level=logging.ERROR)
    arguments = (parser or argument_parser()).parse_args()
    arguments.compression = "deflate" if arguments.compressed else None
    arguments.ssl = server_context() if arguments.tls else None
    arguments.limit = arguments.max_size or UNLIMITED
    return arguments


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key")
    return context


def loop_factory(loop: str, transport: str = "standard") -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the event loop, with the transports of aiofastnet if these are asked for."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    if loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    if transport == "aiofastnet":
        import aiofastnet

        factory = aiofastnet.loop_factory(factory)
    return factory


def run(
    main: Callable[[argparse.Namespace], Coroutine[Any, Any, None]], arguments: argparse.Namespace
) -> None:
    """Run a coroutine function on the chosen event loop until the process is killed."""
    factory = loop_factory(arguments.loop, arguments.transport)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(arguments))


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


@functools.cache
def flood_request(request: str) -> tuple[int, bytes]:
    """Parse "COUNT SIZE"; return the count and a message of the size."""
    count, size = map(int, request.split())
    return count, b"x" * size


# Handlers for connections that are iterated over and have a coroutine function `send`.


async def echo(websocket: Any) -> None:
    async for message in websocket:
        await websocket.send(message)


async def sink(websocket: Any) -> None:
    count = 0
    async for message in websocket:
        if message == "fin":
            await websocket.send(str(count))
        else:
            count += 1


async def flood(websocket: Any) -> None:
    async for message in websocket:
        count, payload = flood_request(message)
        for _ in range(count):
            await websocket.send(payload)


def broadcast_handler(broadcast: Callable[[set[Any], bytes], object]) -> Handler:
    """Return a handler that sends to all connections by the library's function for that."""
    connections: set[Any] = set()

    async def handler(websocket: Any) -> None:
        connections.add(websocket)
        try:
            async for message in websocket:
                count, payload = flood_request(message)
                for _ in range(count):
                    broadcast(connections, payload)
        finally:
            connections.discard(websocket)

    return handler


HANDLERS: dict[str, Handler] = {"echo": echo, "sink": sink, "flood": flood}


# The same without coroutines.


def blocking_echo(websocket: Any) -> None:
    for message in websocket:
        websocket.send(message)


def blocking_sink(websocket: Any) -> None:
    count = 0
    for message in websocket:
        if message == "fin":
            websocket.send(str(count))
        else:
            count += 1


def blocking_flood(websocket: Any) -> None:
    for message in websocket:
        count, payload = flood_request(message)
        for _ in range(count):
            websocket.send(payload)


BLOCKING_HANDLERS: dict[str, Callable[[Any], None]] = {
    "echo": blocking_echo,
    "sink": blocking_sink,
    "flood": blocking_flood,
}
