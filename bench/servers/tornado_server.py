"""tornado, in the style of callbacks, which is the only one that its server has."""

from __future__ import annotations

import argparse
from typing import Any

from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from servers.common import HOST, flood_request, forever, parse_arguments, run


class Handler(WebSocketHandler):
    compressed = False

    def get_compression_options(self) -> dict[str, Any] | None:
        return {} if self.compressed else None


class Echo(Handler):
    async def on_message(self, message: Any) -> None:
        await self.write_message(message, binary=isinstance(message, bytes))


class Sink(Handler):
    count = 0

    def on_message(self, message: Any) -> None:
        if message == "fin":
            self.write_message(str(self.count))
        else:
            self.count += 1


class Flood(Handler):
    async def on_message(self, message: Any) -> None:
        count, payload = flood_request(message)
        try:
            for _ in range(count):
                await self.write_message(payload, binary=True)
        except WebSocketClosedError:
            pass


HANDLERS = {"echo": Echo, "sink": Sink, "flood": Flood}


async def main(arguments: argparse.Namespace) -> None:
    Handler.compressed = arguments.compressed
    application = Application([("/", HANDLERS[arguments.mode])], websocket_max_message_size=arguments.limit)
    application.listen(arguments.port, HOST)
    await forever()


if __name__ == "__main__":
    run(main, parse_arguments())
