"""picows, by its own API of listeners, which has no compression."""

from __future__ import annotations

import argparse
from typing import Any

from picows import WSListener, WSMsgType, ws_create_server

from servers.common import HOST, flood_request, parse_arguments, run

# To look up a member of the enum for every frame would be most of the cost of a listener.
TEXT, BINARY, CLOSE = WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CLOSE


def answer_close(transport: Any, frame: Any) -> None:
    transport.send_close(frame.get_close_code())
    transport.disconnect()


class Echo(WSListener):
    """Text is decoded and encoded again, as by the peers that deliver `str`."""

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        kind = frame.msg_type
        if kind == BINARY:
            transport.send(kind, frame.get_payload_as_bytes())
        elif kind == TEXT:
            transport.send(kind, frame.get_payload_as_utf8_text())
        elif kind == CLOSE:
            answer_close(transport, frame)


class Sink(WSListener):
    count = 0

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        kind = frame.msg_type
        if kind == BINARY:
            frame.get_payload_as_bytes()
            self.count += 1
        elif kind == TEXT:
            if frame.get_payload_as_utf8_text() == "fin":
                transport.send(TEXT, str(self.count))
            else:
                self.count += 1
        elif kind == CLOSE:
            answer_close(transport, frame)


class Flood(WSListener):
    """Stops while it may not write, as an application that sends much has to."""

    left = 0
    paused = False

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        if frame.msg_type == CLOSE:
            answer_close(transport, frame)
        else:
            self.transport = transport
            self.left, self.payload = flood_request(frame.get_payload_as_utf8_text())
            self.send_more()

    def send_more(self) -> None:
        send, payload = self.transport.send, self.payload
        while self.left and not self.paused:
            self.left -= 1
            send(BINARY, payload)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.send_more()


class Broadcast(WSListener):
    """There is no function for this: it is a loop over the connections."""

    transports: set[Any] = set()  # noqa: RUF012 - of all connections

    def on_ws_connected(self, transport: Any) -> None:
        self.transports.add(transport)

    def on_ws_disconnected(self, transport: Any) -> None:
        self.transports.discard(transport)

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        if frame.msg_type == CLOSE:
            answer_close(transport, frame)
            return
        count, payload = flood_request(frame.get_payload_as_utf8_text())
        for _ in range(count):
            for connected in self.transports:
                connected.send(BINARY, payload)


LISTENERS = {"echo": Echo, "sink": Sink, "flood": Flood, "broadcast": Broadcast}


async def main(arguments: argparse.Namespace) -> None:
    listener = LISTENERS[arguments.mode]
    server = await ws_create_server(
        lambda request: listener(),
        HOST,
        arguments.port,
        max_frame_size=arguments.limit,
        ssl=arguments.ssl,
        use_aiofastnet=arguments.transport == "aiofastnet",
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    run(main, parse_arguments())
