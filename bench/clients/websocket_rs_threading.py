"""websocket-rs, its blocking client, which has no compression."""

from __future__ import annotations

from websocket_rs.sync.client import connect

from clients.common import blocking_workload, parse_arguments

if __name__ == "__main__":
    arguments = parse_arguments()
    with connect(arguments.uri) as websocket:
        blocking_workload(websocket.send, websocket.recv, arguments)
