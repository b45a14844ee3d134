"""websockets on threads (websockets.sync)."""

from __future__ import annotations

from websockets.sync.client import connect

from clients.common import blocking_workload, parse_arguments

if __name__ == "__main__":
    arguments = parse_arguments()
    with connect(arguments.uri, compression=arguments.compression, max_size=None) as websocket:
        blocking_workload(websocket.send, websocket.recv, arguments)
