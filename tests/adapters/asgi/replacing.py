"""A plugin for uvicorn's own tests of WebSocket: they run with the class of this library.

It takes the place of uvicorn's default implementation, under its name, before the tests are imported. Some of
the tests look at attributes of uvicorn's classes, or use a transport that has only what these call: both are
given here. uvicorn's classes buffer one message in each direction; so does this one here.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from uvicorn.protocols.websockets import websockets_sansio_impl

from adapters.asgi import WebSocketProtocol
from wsproto_core import State
from wsproto_core.timers import Timer


class Replacement(WebSocketProtocol.configured(write_limit=1, max_queue=1)):  # type: ignore[misc]
    """The class of this library, with the attributes that the tests look at."""

    @property
    def ping_timer(self) -> Any:
        return self.protocol._timers.running[Timer.PING.position]

    @property
    def ping_sent_at(self) -> float:
        return float(self.protocol.statistics.frames_sent)

    @property
    def close_timer(self) -> asyncio.TimerHandle | None:
        """The deadline for the peer's close frame."""
        waits = self.protocol.state is State.CLOSING and self.protocol.receiving
        return self._timer if waits else None

    def _set_close_timeout(self, seconds: float) -> None:
        self.configure(close_timeout=seconds)

    close_timeout = property(None, _set_close_timeout)

    def _wait_for_reads(self) -> None:
        # A test waits for a deadline for one iteration of the event loop; the library lets it read before.
        self._deadline_reached()


websockets_sansio_impl.WebSocketsSansIOProtocol = Replacement


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    transport: Any = items[0].module.MockWriteTransport  # type: ignore[attr-defined]
    transport.writelines = lambda self, buffers: self.write(b"".join(buffers))
    transport.set_write_buffer_limits = lambda self, high: None
    transport.get_write_buffer_size = lambda self: 0
    transport.can_write_eof = lambda self: False
    transport.abort = transport.close
