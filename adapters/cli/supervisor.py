"""Several processes that serve one port: the system gives each connection to one of them (``SO_REUSEPORT``).

The parent serves nothing. It starts the others, starts another when one ends, and passes on signals and
standard input. The standard input of a child is a pipe from the parent, so a child ends when its parent does.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

from ..shared.listening import bind_tcp, hosts_of, look_up_hosts
from .event_loop import stop_signals
from .failures import CommandFailure
from .input import LineInput

__all__ = ["supervise"]

PAUSE = 1.0
"""Seconds before another process is started in the place of one that has ended."""

logger = logging.getLogger("wsproto_core.server")

PACKAGE = __package__.rpartition(".")[0]
"""``adapters``, or its second name."""


async def supervise(parsed: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Serve in several processes until SIGTERM, SIGINT or the end of what is broadcast.

    Args:
        parsed: the arguments.
        arguments: the same as they were given.

    Returns:
        The exit status.

    Raises:
        CommandFailure: a process ended before it listened.
        OSError: the address cannot be listened on.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise CommandFailure("this system has no SO_REUSEPORT, which --processes needs", status=2)
    with stop_signals() as stopped, ExitStack() as stack:
        # Bound and not listening, they keep the port for the children.
        loop = asyncio.get_running_loop()
        found = await look_up_hosts(loop.getaddrinfo, hosts_of(parsed.host), parsed.port)
        reserved = [stack.enter_context(sock) for sock in bind_tcp(found, reuse_port=True)]
        port = reserved[0].getsockname()[1]
        own = ["--port", str(port), "--processes", "1", "--supervised"]
        children = [_Child([*arguments, *own]) for _ in range(parsed.processes)]
        try:
            announcements = await asyncio.gather(*(child.start() for child in children))
            print(f"{announcements[0]}, {len(children)} processes", flush=True)
            working: list[asyncio.Future[None]] = [asyncio.ensure_future(child.keep()) for child in children]
            if parsed.mode == "broadcast":
                working.append(asyncio.ensure_future(_pass_on_input(children)))
            futures: list[asyncio.Future[Any]] = [stopped, *working]
            done, _ = await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            for child in children:
                child.stop()
            for child in children:
                await child.ended()
            for future in done:
                # It may have failed.
                future.result()
            return stopped.result() if stopped.done() else 0
        finally:
            for child in children:
                child.kill()


async def _pass_on_input(children: Sequence[_Child]) -> None:
    lines = LineInput(errors="replace")
    while (line := await lines.first()) is not None:
        data = f"{line!s}\n".encode()
        await asyncio.gather(*(child.write(data) for child in children))
        lines.done()


class _Child:
    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> str:
        """Start the process; return what it says when it listens."""
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", PACKAGE, *self._arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C on a terminal is for the parent alone, which passes it on.
            process_group=0,
        )
        assert process.stdout is not None
        announcement = await process.stdout.readline()
        if not announcement:
            raise CommandFailure(f"a process ended with status {await process.wait()} before it listened")
        return announcement.decode().strip()

    async def keep(self) -> None:
        """Start another process whenever one ends."""
        while True:
            assert self._process is not None
            status = await self._process.wait()
            logger.warning("process %d ended with status %d; starting another", self._process.pid, status)
            await asyncio.sleep(PAUSE)
            await self.start()

    async def write(self, data: bytes) -> None:
        """Write to its standard input, unless it has ended."""
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(ConnectionError):
            self._process.stdin.write(data)
            await self._process.stdin.drain()

    def stop(self) -> None:
        """Ask it to end in order: the end of its standard input, behind what is left of that."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def ended(self) -> None:
        """Wait until it has ended."""
        if self._process is not None:
            await self._process.wait()

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
