"""Addresses of a host: their order, and the error if none answers."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import uvloop

from tests.adapters.runtimes import Cancelled, Runtime
from tests.adapters.runtimes.base import HOST, QUIET, Log, wait_closed
from tests.adapters.runtimes.peers import RawServer, SocketStream
from tests.adapters.runtimes.proxies import HTTPProxy, Proxy, SocksProxy
from tests.core.helpers import CLOSE, Frame, close_payload
from tests.ports import free_port
from wsproto_core import HandshakeTimeout

pytestmark = pytest.mark.needs("sockets", "features")

NAME = "several.example"
URI = f"ws://{NAME}/"

Resolve: TypeAlias = Callable[..., None]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Returns a function that says which addresses the name stands for, each a pair of host and port."""
    original = socket.getaddrinfo
    found: list[Any] = []

    def getaddrinfo(
        host: str | bytes, port: int, family: int = 0, kind: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        if (host.decode() if isinstance(host, bytes) else host) != NAME:
            return original(host, port, family, kind, proto, flags)
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "it is a name")
        return [address for address in found if family in (0, address[0])]

    async def on_uvloop(self: Any, host: Any, port: int, **options: int) -> Any:
        # It does not ask Python.
        others = [options.get(name, 0) for name in ("family", "type", "proto", "flags")]
        return await self.run_in_executor(None, socket.getaddrinfo, host, port, *others)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(uvloop.Loop, "getaddrinfo", on_uvloop)

    def resolve(*addresses: tuple[str, int]) -> None:
        found[:] = [
            (socket.AF_INET6, socket.SOCK_STREAM, 0, "", (host, port, 0, 0))
            if ":" in host
            else (socket.AF_INET, socket.SOCK_STREAM, 0, "", (host, port))
            for host, port in addresses
        ]

    return resolve


@contextlib.contextmanager
def silence(host: str = HOST) -> Iterator[tuple[str, int]]:
    """An address that does not answer: there are too many who wait to be accepted."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.ExitStack() as stack:
        try:
            full = stack.enter_context(socket.create_server((host, 0), family=family, backlog=0))
        except OSError:
            # Without IPv6, its addresses cannot be waited for.
            yield host, 9
            return
        address = full.getsockname()
        for _ in range(8):
            filling = stack.enter_context(socket.socket(family))
            filling.setblocking(False)
            filling.connect_ex(address)
        yield address[:2]


def refusing() -> tuple[str, int]:
    """An address where nobody listens."""
    return HOST, free_port()


# Which address


@pytest.mark.parametrize("silent", [1, 3])
async def test_silent_addresses_are_not_waited_for(runtime: Runtime, resolve: Resolve, silent: int) -> None:
    with silence() as address:
        async with runtime.serving() as (server, _):
            resolve(*[address] * silent, (HOST, runtime.port_of(server)))
            async with runtime.connect(URI, open_timeout=20) as client:
                await runtime.check_echo(client)
                assert client.remote_address == (HOST, runtime.port_of(server))
            await runtime.until(lambda: not server.connections)


async def test_families_alternate(runtime: Runtime, resolve: Resolve) -> None:
    """RFC 8305 section 4. A hundred addresses of the other family would take 25 seconds."""
    with silence("::1") as address:
        async with runtime.serving() as (server, _):
            resolve(*[address] * 100, (HOST, runtime.port_of(server)))
            async with runtime.connect(URI, open_timeout=15) as client:
                await runtime.check_echo(client)


async def test_address_that_refuses_is_not_waited_for(runtime: Runtime, resolve: Resolve) -> None:
    async with runtime.serving() as (server, _):
        resolve(refusing(), refusing(), (HOST, runtime.port_of(server)))
        async with runtime.connect(URI, happy_eyeballs_delay=None) as client:
            await runtime.check_echo(client)


async def test_one_after_the_other(runtime: Runtime, resolve: Resolve) -> None:
    with silence() as address:
        async with runtime.serving(wait_closed) as (server, _):
            resolve(address, (HOST, runtime.port_of(server)))
            with pytest.raises(HandshakeTimeout):
                await runtime.open(URI, happy_eyeballs_delay=None, open_timeout=0.6)
            assert not server.connections


async def test_one_of_those_that_answer_at_once(runtime: Runtime, resolve: Resolve) -> None:
    async with runtime.serving() as (server, _):
        resolve(*[(HOST, runtime.port_of(server))] * 5)
        async with runtime.connect(URI, happy_eyeballs_delay=0) as client:
            await runtime.check_echo(client)
            # The others have been closed.
            await runtime.until(lambda: len(server.connections) == 1)
            await runtime.check_echo(client)


@pytest.mark.parametrize("kind", [HTTPProxy, SocksProxy])
async def test_addresses_of_a_proxy(runtime: Runtime, resolve: Resolve, kind: type[Proxy]) -> None:
    with kind() as proxy, silence() as address:
        scheme, _, authority = proxy.url.partition("://")
        host, port = authority.split(":")
        resolve(address, (host, int(port)))
        async with (
            runtime.serving() as (_, uri),
            runtime.connect(uri, proxy=f"{scheme}://{NAME}:1", open_timeout=20) as client,
        ):
            await runtime.check_echo(client)


# Time


async def test_no_address_answers_in_time(runtime: Runtime, resolve: Resolve) -> None:
    with silence() as address:
        resolve(*[address] * 3)
        with pytest.raises(HandshakeTimeout, match=rf"no stream to {NAME} within 0\.8 seconds") as raised:
            await runtime.open(URI, open_timeout=0.8)
        assert raised.value.__notes__ == [f"while connecting to {URI}"]


async def test_name_lookup_counts_against_the_deadline(
    runtime: Runtime, resolve: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = threading.Event()
    getaddrinfo = socket.getaddrinfo

    def slow(host: Any, port: int, family: int = 0, kind: int = 0, proto: int = 0, flags: int = 0) -> Any:
        if not flags & socket.AI_NUMERICHOST:
            finish.wait(20)
        return getaddrinfo(host, port, family, kind, proto, flags)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    resolve(refusing())
    with pytest.raises(HandshakeTimeout):
        await runtime.open(URI, open_timeout=0.3)
    finish.set()


@pytest.mark.needs("coroutines")
async def test_cancelled_while_addresses_are_tried(runtime: Runtime, resolve: Resolve) -> None:
    with silence() as address:
        resolve(*[address] * 3)
        opening = runtime.spawn(runtime.open, URI)
        await runtime.settle(0.4)
        opening.cancel()
        with pytest.raises(Cancelled):
            await opening.result()


# What is told


@pytest.mark.parametrize("count", [1, 2])
async def test_refused(runtime: Runtime, resolve: Resolve, count: int) -> None:
    """The same class on every runtime, whatever the number of addresses; where to; and no line in the log."""
    log = Log()
    addresses = [refusing() for _ in range(count)]
    resolve(*addresses)
    with pytest.raises(ConnectionRefusedError, match=f"Connection refused: .*{addresses[0][1]}") as raised:
        await runtime.open(URI, logger=log)
    *others, where = raised.value.__notes__
    for note, (_, port) in zip(others, addresses[1:], strict=True):
        assert f"Connection refused: ('{HOST}', {port})" in note
    assert where == f"while connecting to {URI}"
    assert log.messages(logging.INFO) == []


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h", "socks4a"])
async def test_refused_by_a_proxy(runtime: Runtime, scheme: str) -> None:
    log = Log()
    proxy = f"{scheme}://user:secret@{HOST}:{free_port()}"
    with pytest.raises(ConnectionRefusedError) as raised:
        await runtime.open("ws://user:secret@example.com/path", proxy=proxy, logger=log)
    (note,) = raised.value.__notes__
    assert note == f"while connecting to ws://example.com/path through {proxy.replace('user:secret@', '')}"
    assert log.messages(logging.INFO) == []


async def test_name_that_does_not_exist(runtime: Runtime) -> None:
    with pytest.raises(socket.gaierror) as raised:
        await runtime.open("ws://does-not-exist.invalid/", proxy=None)
    assert raised.value.__notes__ == ["while connecting to ws://does-not-exist.invalid/"]


# Unix sockets


@contextlib.contextmanager
def full_listener(path: str) -> Iterator[tuple[socket.socket, int]]:
    """A Unix socket on which too many wait to be accepted, and how many."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(0)
        listener.setblocking(False)
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                filling = stack.enter_context(socket.socket(socket.AF_UNIX))
                filling.setblocking(False)
                filling.connect(path)
                count += 1
        yield listener, count


async def test_unix_socket_that_is_slow_to_accept(runtime: Runtime, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")

    async def use() -> None:
        async with runtime.unix_connect(path, **QUIET) as client:
            assert client.open

    with full_listener(path) as (listener, count), contextlib.ExitStack() as stack:
        using = runtime.spawn(use)
        await runtime.settle(0.3)
        assert not using.done()
        for _ in range(count):
            stack.enter_context(listener.accept()[0])
        await runtime.readable(listener)
        peer = RawServer(SocketStream(runtime, stack.enter_context(listener.accept()[0])))
        await peer.answer()
        assert await peer.read_frame() == Frame(CLOSE, close_payload(1000))
        await peer.send(Frame(CLOSE, close_payload(1000)))
        peer.end()
        await using.result()


async def test_unix_socket_that_does_not_accept(runtime: Runtime, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with full_listener(path), pytest.raises(HandshakeTimeout):
        async with runtime.unix_connect(path, open_timeout=0.4):
            raise AssertionError
