"""Redirects of the opening handshake: their targets, the headers and credentials that go along, refusals.

Here: they share the deadline of the opening, and errors show the timeout that was given.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from wsproto_core import HandshakeTimeout, Headers

pytestmark = pytest.mark.needs("sockets", "features")


async def test_the_time_before_a_redirect_counts(runtime: Runtime) -> None:
    async def slow(path: str, headers: Headers) -> Any:
        await runtime.sleep(0.4)
        return (302, {"Location": "/there"}, b"") if path == "/" else None

    async with runtime.serving(process_request=slow) as (server, uri):
        # The second answer would be in time, if the time began anew.
        with pytest.raises(HandshakeTimeout, match=r"within 0\.6 seconds"):
            await runtime.open(uri, open_timeout=0.6)
        await runtime.until(lambda: not server.connections)


async def test_the_message_tells_the_timeout_that_was_given(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        with pytest.raises(HandshakeTimeout, match=r"within 0\.3 seconds"):
            await runtime.open(listener.uri, open_timeout=0.3)
