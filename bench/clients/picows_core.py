"""picows, by its own API of listeners, which has no compression."""

from __future__ import annotations

import argparse
from typing import Any

from picows import WSListener, WSMsgType, ws_connect
from servers.common import UNLIMITED

from clients.common import GROUP, Meter, check_count, parse_arguments, run

TEXT, BINARY = WSMsgType.TEXT, WSMsgType.BINARY


class Workload(WSListener):
    """Begins when the connection is open. Frames may still arrive after it has ended."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.kind = TEXT if arguments.text else BINARY
        self.count = 0
        self.ended = False

    def on_ws_connected(self, transport: Any) -> None:
        self.transport = transport
        self.meter = Meter(self.arguments)
        self.start()

    def start(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        self.ended = True
        self.transport.disconnect()

    def count_message(self, frame: Any) -> None:
        is_text = frame.msg_type == TEXT
        payload = frame.get_payload_as_utf8_text() if is_text else frame.get_payload_as_bytes()
        if len(payload) != self.arguments.size:
            raise ValueError("a message has the wrong size")
        self.count += 1


class Echo(Workload):
    def start(self) -> None:
        for _ in range(self.arguments.depth):
            self.transport.send(self.kind, self.arguments.message)

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        self.count_message(frame)
        if self.ended:
            return
        if self.meter.is_over(self.count):
            self.end()
        else:
            transport.send(self.kind, self.arguments.message)


class Receive(Workload):
    def start(self) -> None:
        self.transport.send(TEXT, self.arguments.request)

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        self.count_message(frame)
        if self.count % self.arguments.flood == 0:
            if self.meter.is_over(self.count):
                self.end()
            else:
                self.start()


class Send(Workload):
    paused = False

    def start(self) -> None:
        self.send_more()

    def send_more(self) -> None:
        send, kind, message = self.transport.send, self.kind, self.arguments.message
        while not self.paused and not self.ended:
            if self.meter.is_over(self.count):
                self.ended = True
                send(TEXT, "fin")
                return
            for _ in range(GROUP):
                send(kind, message)
            self.count += GROUP

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.send_more()

    def on_ws_frame(self, transport: Any, frame: Any) -> None:
        check_count(frame.get_payload_as_utf8_text(), self.count)
        self.end()


WORKLOADS = {"echo": Echo, "recv": Receive, "send": Send}


async def main(arguments: argparse.Namespace) -> None:
    transport, _ = await ws_connect(
        lambda: WORKLOADS[arguments.mode](arguments),
        arguments.uri,
        max_frame_size=UNLIMITED,
        use_aiofastnet=arguments.transport == "aiofastnet",
    )
    await transport.wait_disconnected()


if __name__ == "__main__":
    run(main, parse_arguments())
