"""Connections to one server, one or with ``--reconnect`` one after the other, and what is done on each."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Awaitable, Callable

from wsproto_core.exceptions import ConnectionClosed

from ..asyncio import ClientConnection, connect, reconnect
from .arguments import connect_options
from .failures import CommandFailure, describe

__all__ = ["hold_conversations"]

logger = logging.getLogger("wsproto_core.client")


async def hold_conversations(
    parsed: argparse.Namespace, converse: Callable[[ClientConnection], Awaitable[bool]]
) -> None:
    """Connect and converse; with ``--reconnect`` again and again.

    Args:
        parsed: the arguments.
        converse: a coroutine function that returns whether this side has ended the conversation.

    Raises:
        CommandFailure: an argument cannot be used.
        WebSocketException, OSError: connecting failed, or the connection did.
    """
    options = connect_options(parsed)
    try:
        opening = connect(parsed.uri, **options)
    except (TypeError, ValueError) as error:
        raise CommandFailure(str(error), status=2) from error
    if not parsed.reconnect:
        async with opening as websocket:
            await converse(websocket)
        return
    async with reconnect(parsed.uri, **options) as websockets:
        async for websocket in websockets:
            try:
                if await converse(websocket):
                    return
                end = "the server has closed the connection"
            except ConnectionClosed as error:
                end = describe(error)
            logger.warning("%s; connecting again", end)
