"""This library's adapter for threads."""

from __future__ import annotations

from adapters.threading import serve
from servers.common import BLOCKING_HANDLERS, HOST, parse_arguments

if __name__ == "__main__":
    arguments = parse_arguments()
    handler = BLOCKING_HANDLERS[arguments.mode]
    with serve(
        handler,
        HOST,
        arguments.port,
        compression=arguments.compression,
        max_size=arguments.max_size,
        max_threads=200,
    ) as server:
        server.serve_forever()
