"""A server and clients of this library in a process of their own, which a test commands.

    python -m tests.adversarial.program RUNTIME DESCRIPTOR

The descriptor is a socket. A command is a line of JSON with the member `do`, and so is each answer:

serve        start a server with the member `options`; answer its port
connect      connect to the member `uri` with `options`, and echo until the end; answer how it has ended
connections  answer how many connections the server on `port` has
ended        answer how connections of servers have ended since the last time
errors       answer what was logged at the level ERROR since the last time
reports      answer what was reported to the event loop's exception handler since the last time
descriptors  let no more file descriptors be opened than `more`; `null` for as many as the system allows

The server echoes. The end of the socket is the end of the program. It fails if anything is left behind.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import socket
import sys
from typing import Any

from tests.adapters.runtimes import Runtime, make_runtime
from tests.adapters.runtimes.base import Log
from tests.adapters.runtimes.peers import SocketStream
from wsproto_core import ConnectionClosed


class Program:
    def __init__(self, runtime: Runtime, control: SocketStream) -> None:
        self._runtime = runtime
        self._control = control
        self._received = b""
        self._servers: dict[int, Any] = {}
        self._blocks = contextlib.AsyncExitStack()
        self._log = Log()
        # Frames are logged at DEBUG: the log would be larger than what it is about.
        self._log.logger.setLevel(logging.INFO)
        self._descriptors: list[int] = []
        self.ended: list[dict[str, Any]] = []

    async def run(self) -> None:
        async with self._blocks:
            while (line := await self._read_line()) is not None:
                command = json.loads(line)
                answer = await getattr(self, f"do_{command.pop('do')}")(**command)
                await self._control.write(json.dumps(answer).encode() + b"\n")
        self._control.close()

    async def _read_line(self) -> bytes | None:
        while b"\n" not in self._received:
            data = await self._control.read()
            if not data:
                return None
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    async def _echo(self, websocket: Any) -> None:
        try:
            while True:
                await websocket.send(await websocket.recv())
        except ConnectionClosed as error:
            self.ended.append(describe(error))

    async def do_serve(self, options: dict[str, Any]) -> int:
        serving = self._runtime.serving(self._echo, logger=self._log, **options)
        server, _ = await self._blocks.enter_async_context(serving)
        port = self._runtime.port_of(server)
        self._servers[port] = server
        return port

    async def do_connect(self, uri: str, options: dict[str, Any]) -> dict[str, Any]:
        options = {"open_timeout": 60, "proxy": None, "logger": self._log, **options}
        try:
            async with self._runtime.connect(uri, **options) as websocket:
                while True:
                    await websocket.send(await websocket.recv())
        except ConnectionClosed as error:
            return describe(error)
        except Exception as error:
            return {"error": names_of(error), "text": str(error), "errno": getattr(error, "errno", None)}

    async def do_connections(self, port: int) -> int:
        return len(self._servers[port].connections)

    async def do_ended(self) -> list[dict[str, Any]]:
        ended, self.ended = self.ended, []
        return ended

    async def do_errors(self) -> list[str]:
        errors = [str(error) for error in self._log.errors()]
        self._log.records.clear()
        return errors

    async def do_reports(self) -> list[str]:
        reports = getattr(self._runtime, "reports", [])
        told = [str(report["message"]) for report in reports]
        reports.clear()
        return told

    async def do_descriptors(self, more: int | None) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors.clear()
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if more is None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            return
        highest = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + more + 1, hard))
        with contextlib.suppress(OSError):
            while True:
                self._descriptors.append(os.dup(self._control.socket.fileno()))
        for _ in range(more):
            os.close(self._descriptors.pop())


def describe(error: ConnectionClosed) -> dict[str, Any]:
    cause = error.__cause__
    return {
        "error": names_of(error),
        "code": error.code,
        "cause": None if cause is None else type(cause).__name__,
    }


def names_of(error: Exception) -> list[str]:
    """The names of its class and of the classes that this is derived from."""
    return [each.__name__ for each in type(error).__mro__]


def main(name: str, descriptor: str) -> None:
    runtime = make_runtime(name)
    sock = socket.socket(fileno=int(descriptor))
    runtime.run(Program(runtime, SocketStream(runtime, sock)).run())


if __name__ == "__main__":
    main(*sys.argv[1:])
