"""websocket-client, which blocks and has no compression."""

from __future__ import annotations

from websocket import create_connection

from clients.common import blocking_workload, parse_arguments

if __name__ == "__main__":
    arguments = parse_arguments()
    websocket = create_connection(arguments.uri)

    def send(message: str | bytes) -> None:
        if isinstance(message, str):
            websocket.send(message)
        else:
            websocket.send_binary(message)

    blocking_workload(send, websocket.recv, arguments)
    websocket.close()
