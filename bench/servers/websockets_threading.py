"""websockets on threads (websockets.sync)."""

from __future__ import annotations

from websockets.sync.server import serve

from servers.common import BLOCKING_HANDLERS, HOST, parse_arguments

if __name__ == "__main__":
    arguments = parse_arguments()
    handler = BLOCKING_HANDLERS[arguments.mode]
    options = {"compression": arguments.compression, "max_size": arguments.max_size}
    with serve(handler, HOST, arguments.port, **options) as server:
        server.serve_forever()
