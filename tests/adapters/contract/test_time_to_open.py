"""Time to open a connection: one deadline for all of its steps."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import QUIET
from tests.adapters.runtimes.peers import RawListener
from tests.core.helpers import response
from wsproto_core import HandshakeTimeout

pytestmark = pytest.mark.needs("sockets", "features")

PART = 0.5
"""Seconds that each of two steps takes."""

DEADLINE = 0.8
"""Seconds that are enough for one of them, and not for both."""

both_streams = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


@contextlib.asynccontextmanager
async def too_late(
    runtime: Runtime,
    listener: RawListener,
    play: Callable[[], Awaitable[None]],
    caplog: pytest.LogCaptureFixture,
) -> AsyncIterator[None]:
    """Play the peer of a client, and expect that the client has not enough time.

    If this process stood still, the client may also have enough: a deadline that is handled late starts anew.
    It may also go at an earlier step, and not come for a later one.
    """

    async def run() -> None:
        with contextlib.suppress(EOFError, OSError):
            await play()

    task = runtime.spawn(run)
    try:
        yield
    except HandshakeTimeout as error:
        text, expected = str(error), f"within {DEADLINE:g} seconds"
    else:
        text, expected = caplog.text, "the opening handshake deadline was handled"
    assert expected in text
    # A connection that ends at once, for each step that may still wait for one.
    for _ in range(2):
        socket.create_connection(listener.address).close()
    await task.result()


async def answer_late(runtime: Runtime, listener: RawListener) -> None:
    """Accept a connection and its request, and answer it when it is too late."""
    peer = await listener.accept()
    head = await peer.read_head()
    await runtime.sleep(PART)
    await peer.send(response(head.headers["sec-websocket-key"]))


async def redirect_late(runtime: Runtime, listener: RawListener, location: str) -> None:
    peer = await listener.accept()
    await peer.read_head()
    await runtime.sleep(PART)
    await peer.send(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
    peer.end()


@both_streams
async def test_redirect_takes_a_part_of_it(
    runtime: Runtime, tls: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with runtime.raw_listener(tls=tls) as listener:

        async def serve() -> None:
            await redirect_late(runtime, listener, "/elsewhere")
            await answer_late(runtime, listener)

        async with too_late(runtime, listener, serve, caplog):
            await runtime.open(listener.uri, open_timeout=DEADLINE, **QUIET, **runtime.client_tls(tls))


async def test_several_redirects_take_it_all(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    """The last one comes when there is no time left: it is not followed."""
    async with runtime.raw_listener() as listener:

        async def serve() -> None:
            await redirect_late(runtime, listener, "/elsewhere")
            await redirect_late(runtime, listener, "/elsewhere")

        async with too_late(runtime, listener, serve, caplog):
            await runtime.open(listener.uri, open_timeout=DEADLINE, **QUIET)


async def test_tls_takes_a_part_of_it(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    async with runtime.raw_listener(tls=True) as listener:

        async def serve() -> None:
            # TLS's handshake begins when the stream is accepted.
            await runtime.sleep(PART)
            await answer_late(runtime, listener)

        async with too_late(runtime, listener, serve, caplog):
            await runtime.open(listener.uri, open_timeout=DEADLINE, **QUIET, **runtime.client_tls(True))


async def test_socks_proxy_that_answers_by_the_byte(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    """Each byte is in time, and all of them are not (RFC 1928 section 6)."""
    answered: list[int] = []

    async def serve() -> None:
        peer = await listener.accept()
        await peer.read()
        await peer.send(b"\x05\x00")
        await peer.read()
        for byte in b"\x05\x00\x00\x03\xff" + bytes(257):
            await peer.send(bytes([byte]))
            answered.append(byte)
            await runtime.sleep(0.1)

    async with runtime.raw_listener() as listener:
        host, port = listener.address
        async with too_late(runtime, listener, serve, caplog):
            await runtime.open(
                "ws://127.0.0.1:9/", proxy=f"socks5://{host}:{port}", open_timeout=DEADLINE, **QUIET
            )
    assert len(answered) < 200


async def test_proxy_takes_a_part_of_it(runtime: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    async with runtime.raw_listener() as listener:

        async def serve() -> None:
            peer = await listener.accept()
            await peer.read_head()
            await runtime.sleep(PART)
            await peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
            await peer.read_head()
            await runtime.sleep(PART)

        host, port = listener.address
        async with too_late(runtime, listener, serve, caplog):
            await runtime.open(
                "ws://example.com/", proxy=f"http://{host}:{port}", open_timeout=DEADLINE, **QUIET
            )


async def test_server_that_does_not_answer(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:
        with pytest.raises(HandshakeTimeout, match=r"within 0\.3 seconds"):
            await runtime.open(listener.uri, open_timeout=0.3)
