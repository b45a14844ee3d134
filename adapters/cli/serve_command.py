"""The command ``serve``: an echo, a chat, or a broadcast of standard input."""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ..asyncio import Server, ServerConnection, broadcast, serve
from . import chat
from .arguments import tls_server_context
from .event_loop import log_to_stderr, run_coroutine, stop_signals
from .failures import CommandFailure
from .input import LineInput, PieceInput
from .pages import CONSOLE, LOCAL_NAMES, Site
from .supervisor import supervise

__all__ = ["run_serve"]

logger = logging.getLogger("wsproto_core.server")


def run_serve(parsed: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run the command until SIGTERM, SIGINT or the end of what is broadcast; return the exit status.

    Args:
        parsed: the arguments.
        arguments: the same as they were given, for other processes.

    Raises:
        CommandFailure: an argument cannot be used, or something is not installed.
        OSError: the address cannot be listened on.
    """
    level = logging.WARNING if parsed.quiet else logging.INFO
    log_to_stderr(logging.DEBUG if parsed.verbose else level, "%(asctime)s %(message)s")
    if parsed.processes == 1:
        return run_coroutine(_serve(parsed), uvloop=parsed.uvloop)
    if parsed.mode == "chat":
        raise CommandFailure("a chat is in one process: --processes is for echo and broadcast", status=2)
    return run_coroutine(supervise(parsed, arguments))


async def _serve(parsed: argparse.Namespace) -> int:
    with stop_signals() as stopped:
        async with serve(
            _make_handler(parsed.mode),
            parsed.host,
            parsed.port,
            process_request=_make_site(parsed).process_request,
            ssl=tls_server_context(parsed),
            compression=None if parsed.compression == "none" else parsed.compression,
            max_size=parsed.max_size,
            reuse_port=True if parsed.supervised else None,
        ) as server:
            print(_describe(parsed, server), flush=True)
            reading = asyncio.ensure_future(_read_input(parsed, server))
            futures: list[asyncio.Future[Any]] = [stopped, reading]
            try:
                await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
            finally:
                reading.cancel()
        return stopped.result() if stopped.done() else 0


def _describe(parsed: argparse.Namespace, server: Server) -> str:
    host = parsed.host if parsed.host not in ("", "0.0.0.0", "::") else "localhost"
    address = f"[{host}]:{server.port}" if ":" in host else f"{host}:{server.port}"
    secure = "s" if parsed.cert else ""
    return f"{parsed.mode} at ws{secure}://{address}/, page at http{secure}://{address}/"


def _make_site(parsed: argparse.Namespace) -> Site:
    return Site(
        chat.PAGE if parsed.mode == "chat" else CONSOLE,
        local=parsed.host in (*LOCAL_NAMES, "::1"),
        origins=parsed.allow_origin,
        # An echo tells a page nothing that it does not know.
        open_to_all=parsed.mode == "echo",
    )


def _make_handler(mode: str) -> Callable[[ServerConnection], Awaitable[None]]:
    if mode == "chat":
        return chat.Room(logger.info).handle
    return _echo if mode == "echo" else _ignore


async def _echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


async def _ignore(websocket: ServerConnection) -> None:
    async for _ in websocket:
        pass


async def _read_input(parsed: argparse.Namespace, server: Server) -> None:
    """Broadcast the input, and return at its end; the input of a child ends with its parent."""
    if parsed.mode == "broadcast":
        lines = LineInput(errors="replace")
        while (line := await lines.first()) is not None:
            await broadcast(server.connections, line, "wait")
            lines.done()
    elif parsed.supervised:
        pieces = PieceInput()
        while await pieces.first() is not None:
            pieces.done()
    else:
        await asyncio.get_running_loop().create_future()
