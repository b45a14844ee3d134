"""The limit of trio: a stream of trio, the same bytes go back, no WebSocket."""

from __future__ import annotations

import contextlib
import functools

import trio

from servers.common import HOST, parse_arguments

READ_SIZE = 2**16


async def echo(stream: trio.SocketStream) -> None:
    async with stream:
        with contextlib.suppress(trio.BrokenResourceError):
            while data := await stream.receive_some(READ_SIZE):
                await stream.send_all(data)


if __name__ == "__main__":
    trio.run(functools.partial(trio.serve_tcp, echo, parse_arguments().port, host=HOST))
