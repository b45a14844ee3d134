"""Arguments of close: types, no time to wait, and no code."""

from __future__ import annotations

from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import Log, echo
from tests.core.helpers import CLOSE, TEXT, Frame, close_payload
from wsproto_core import HandshakeTimeout

needs_sockets = pytest.mark.needs("sockets")
with_tls = pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bye",), "close code must be an int, not 'bye': the reason is the second argument"),
        ((None,), "close code must be an int, not None"),
        ((1000, b"x"), "close reason must be a str, not b'x'"),
    ],
)
async def test_arguments_of_the_wrong_type(
    runtime: Runtime, arguments: tuple[Any, ...], message: str
) -> None:
    """The error comes before anything is closed."""
    async with runtime.connected() as (client, server):
        with pytest.raises(TypeError) as raised:
            await client.close(*arguments)
        assert str(raised.value) == message
        await client.send("x")
        assert await server.recv() == "x"


@needs_sockets
@with_tls
async def test_no_time_to_close_for_a_peer_that_does_not_answer(runtime: Runtime, tls: bool) -> None:
    async with runtime.raw_server(tls=tls, close_timeout=0) as (peer, client):
        await client.close(1001)
        assert client.closed
        assert client.close_code == 1006
        assert await peer.read_frames_to_end_or_reset() == [Frame(CLOSE, close_payload(1001))]


@needs_sockets
async def test_no_time_to_close_on_a_server(runtime: Runtime) -> None:
    async with runtime.serving(echo, close_timeout=0, compression=None) as (server, _):
        async with runtime.raw_client(server) as peer:
            await peer.send(Frame(TEXT, b"x"))
            assert await peer.read_frame() == Frame(TEXT, b"x")
            (connection,) = server.connections
            await connection.close()
            assert connection.closed
        await runtime.until(lambda: not server.connections)


@needs_sockets
async def test_a_short_deadline_is_not_called_late(runtime: Runtime) -> None:
    """That a deadline of milliseconds is looked at some milliseconds later is no fault of the program."""
    log = Log()
    async with runtime.raw_listener() as listener:
        with pytest.raises(HandshakeTimeout):
            async with runtime.connect(listener.uri, open_timeout=0.005, logger=log):
                pass
    assert not [message for message in log.messages() if "0.0 seconds too late" in message]
