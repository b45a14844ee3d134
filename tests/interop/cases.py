"""What the tests over loopback share: cases, scenarios, and messages back and forth.

Each scenario runs in each case: a peer, which of the sides is ours, an event loop, TLS or not. It
gets a connection as both ends see it. Ours and the peer share the loop, so that a test is over when
both of them say so; nothing is awaited by the clock, and the deadline is for tests that fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from adapters.asyncio import Connection, ServerConnection, connect, serve
from wsproto_core import ConnectionClosed

from .peers import DEADLINE, DEFAULTS, HOST, PEERS, Peer, PeerConnection, Settings

CERTIFICATES = Path(__file__).parent.parent / "certificates"
CERTIFICATE = CERTIFICATES / "localhost.pem"
KEY = CERTIFICATES / "localhost.key"


@functools.cache
def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=CERTIFICATE)


@functools.cache
def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, KEY)
    return context


@dataclass(frozen=True)
class Case:
    """Who talks with whom, over what."""

    peer: Peer
    ours: str
    """The side that is ours: client or server."""
    loop: str
    tls: bool

    @property
    def their_side(self) -> str:
        return "server" if self.ours == "client" else "client"

    def uri(self, port: int) -> str:
        return f"{'wss' if self.tls else 'ws'}://{HOST}:{port}/chat?room=1"

    def connect(self, port: int, **options: Any) -> Any:
        """Connect, as a client of ours."""
        return connect(self.uri(port), ssl=client_context() if self.tls else None, **options)

    def serve(self, handler: Callable[[ServerConnection], Awaitable[object]], **options: Any) -> Any:
        """Serve, as a server of ours."""
        return serve(handler, HOST, 0, ssl=server_context() if self.tls else None, **options)

    def peer_connect(self, port: int, settings: Settings = DEFAULTS) -> Any:
        """Connect, as a client of theirs."""
        tls = client_context() if self.tls else None
        return self.peer.connect(self.uri(port), replace(settings, tls=tls))

    def peer_serve(
        self, handler: Callable[[PeerConnection], Awaitable[object]], settings: Settings = DEFAULTS
    ) -> Any:
        """Serve, as a server of theirs."""
        tls = server_context() if self.tls else None
        return self.peer.serve(handler, replace(settings, tls=tls))

    @contextlib.asynccontextmanager
    async def joined(
        self, settings: Settings = DEFAULTS, **options: Any
    ) -> AsyncIterator[tuple[Connection, PeerConnection]]:
        """Open a connection; give it as we see it, and as they do.

        Args:
            settings: the peer's.
            options: ours.
        """
        handed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done = asyncio.Event()

        async def handler(connection: Any) -> None:
            handed.set_result(connection)
            await done.wait()

        if self.ours == "client":
            async with self.peer_serve(handler, settings) as port, self.connect(port, **options) as ours:
                try:
                    yield ours, await handed
                finally:
                    done.set()
        else:
            async with (
                self.serve(handler, **options) as server,
                self.peer_connect(port_of(server), settings) as theirs,
            ):
                try:
                    yield await handed, theirs
                finally:
                    done.set()


def port_of(server: Any) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


def cases(accept: Callable[[type[Peer], str], bool] = lambda peer, ours: True) -> list[Any]:
    """Return the cases, perhaps only those of some peers and sides."""
    return [
        pytest.param((name, ours, loop, tls), id=f"{name}-our-{ours}-{loop}-{'tls' if tls else 'plain'}")
        for name, peer in PEERS.items()
        for ours in ("client", "server")
        for loop in ("asyncio", "uvloop")
        for tls in (False, True)
        if (ours == "server" or peer.serves) and (peer.knows_tls or not tls) and accept(peer, ours)
    ]


Scenario = Callable[..., Awaitable[None]]


def scenario(function: Scenario) -> Callable[..., None]:
    """Run a coroutine function on the loop of its case, under the deadline."""

    async def main(**arguments: Any) -> None:
        async with asyncio.timeout(DEADLINE):
            await function(**arguments)
        # A peer's own tasks may take a few turns to end.
        for _ in range(100):
            left = asyncio.all_tasks() - {asyncio.current_task()}
            if not left:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"tasks are left: {left}")

    @functools.wraps(function)
    def run(**arguments: Any) -> None:
        factory = None
        if arguments["case"].loop == "uvloop":
            import uvloop

            factory = uvloop.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main(**arguments))

    assert "case" in inspect.signature(function).parameters
    return run


async def pass_on(ours: Connection, theirs: PeerConnection, messages: Sequence[str | bytes]) -> None:
    """Send messages to the peer and back, each received before the next is sent."""
    for message in messages:
        _, received = await asyncio.gather(ours.send(message), theirs.receive())
        assert type(received) is type(message)
        assert received == message
        _, received = await asyncio.gather(theirs.send(message), ours.recv())
        assert type(received) is type(message)
        assert received == message


async def closed(ours: Connection) -> ConnectionClosed:
    """Receive until our connection is closed; return how it was."""
    try:
        while True:
            await ours.recv()
    except ConnectionClosed as error:
        await ours.wait_closed()
        return error


async def collect(pieces: AsyncIterator[Any]) -> list[Any]:
    return [piece async for piece in pieces]
