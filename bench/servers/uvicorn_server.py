"""uvicorn and an ASGI application without a framework; --implementation chooses the WebSocket library."""

from __future__ import annotations

import argparse
from typing import Any

from uvicorn import Config, Server

from servers.common import HOST, argument_parser, flood_request, parse_arguments, run


async def echo(receive: Any, send: Any) -> None:
    while (event := await receive())["type"] != "websocket.disconnect":
        if event.get("bytes") is not None:
            await send({"type": "websocket.send", "bytes": event["bytes"]})
        else:
            await send({"type": "websocket.send", "text": event["text"]})


async def sink(receive: Any, send: Any) -> None:
    count = 0
    while (event := await receive())["type"] != "websocket.disconnect":
        if event.get("text") == "fin":
            await send({"type": "websocket.send", "text": str(count)})
        else:
            count += 1


async def flood(receive: Any, send: Any) -> None:
    while (event := await receive())["type"] != "websocket.disconnect":
        count, payload = flood_request(event["text"])
        for _ in range(count):
            await send({"type": "websocket.send", "bytes": payload})


# The names of uvicorn are its own implementations.
IMPLEMENTATIONS: dict[str, Any] = {
    "adapters.asgi": "adapters.asgi:WebSocketProtocol",
    "websockets-sansio": "websockets-sansio",
    "wsproto": "wsproto",
}

HANDLERS = {"echo": echo, "sink": sink, "flood": flood}


async def main(arguments: argparse.Namespace) -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await HANDLERS[arguments.mode](receive, send)

    config = Config(
        application,
        HOST,
        arguments.port,
        ws=IMPLEMENTATIONS[arguments.implementation],
        lifespan="off",
        log_level="error",
        ws_max_size=arguments.limit,
        ws_per_message_deflate=arguments.compressed,
    )
    await Server(config).serve()


if __name__ == "__main__":
    parser = argument_parser()
    parser.add_argument("--implementation", choices=IMPLEMENTATIONS, required=True)
    run(main, parse_arguments(parser))
