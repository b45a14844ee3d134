"""Receiving messages: `recv`, `decode=`, iteration, and messages that remain after the close.

Here: an argument that is no type of messages.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime

pytestmark = pytest.mark.needs("sockets")


@pytest.mark.parametrize("decode", [10, 0.5, 0, "utf-8"])
async def test_decode_of_the_wrong_type(runtime: Runtime, decode: Any) -> None:
    """With other libraries, the first argument is a timeout: waiting without one would be a surprise."""
    hint = "a timeout is given by its name" if decode != "utf-8" else ""
    async with runtime.connected() as (client, server):
        await server.send("x")
        with pytest.raises(TypeError, match=f"decode must be True, False or None, not .*{hint}"):
            await client.recv(decode)
        with pytest.raises(TypeError, match=f"decode must be True, False or None, not .*{hint}"):
            await anext(client.recv_streaming(decode))
        # The message is still there.
        assert await client.recv() == "x"
