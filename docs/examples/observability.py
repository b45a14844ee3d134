"""A server that can be watched: logs as JSON, the frames of some paths, statistics."""

import asyncio
import json
import logging
import sys
from typing import Any, TextIO

from adapters.asyncio import Server, ServerConnection, connect, serve
from wsproto_core import Headers


# region json
class JSONFormatter(logging.Formatter):
    """One line of JSON for each record, with the attributes of this library's, if it has them."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in ("connection_id", "side", "remote_address", "path"):
            if hasattr(record, name):
                fields[name] = getattr(record, name)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def configure(stream: TextIO | None = None) -> None:
    """Log openings, closings and errors to a stream, by default to standard error."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONFormatter())
    logger = logging.getLogger("wsproto_core")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


# endregion


# region watched
class WatchedConnection(ServerConnection):
    """Logs the frames of those connections whose path begins with /debug/, whatever the level."""

    def process_request(self, path: str, request_headers: Headers) -> Any:
        if path.startswith("/debug/"):
            frames = logging.getLogger("wsproto_core.frames")
            frames.setLevel(logging.DEBUG)
            self.log_frames(frames)
        return super().process_request(path, request_headers)


# endregion


# region totals
def totals(server: Server) -> dict[str, float]:
    """What the open connections of a server have received and sent: for a gauge, say."""
    statistics = [connection.statistics for connection in server.connections]
    return {
        "connections": len(statistics),
        "bytes_received": sum(each.bytes_received for each in statistics),
        "bytes_sent": sum(each.bytes_sent for each in statistics),
        "seconds_not_writable": sum(each.seconds_not_writable for each in statistics),
    }


# endregion


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


async def main() -> None:
    configure(sys.stdout)
    async with serve(echo, "localhost", 0, create_protocol=WatchedConnection) as server:
        assert server.sockets
        port = server.sockets[0].getsockname()[1]
        for path in ("/", "/debug/chat"):
            async with connect(f"ws://localhost:{port}{path}") as websocket:
                await websocket.send("hello")
                await websocket.recv()
                print(totals(server))


if __name__ == "__main__":
    asyncio.run(main())
