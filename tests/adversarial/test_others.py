"""Rows that are about what a program gives or has, and not about bytes of a peer."""

from __future__ import annotations

import base64
import contextlib
import errno
import socket
from collections.abc import Iterator

import pytest

import adapters.shared.authentication as authentication
from tests.adapters.runtimes import Runtime, make_runtime
from tests.adapters.runtimes.base import HOST
from tests.core.helpers import TEXT, Frame, request

from .cases import CLIENT, GOODBYE, Case, Wait, going_on, send
from .conftest import CHOSEN
from .driver import attack_client, attack_server
from .playing import DEADLINE, QUIET
from .targets import TARGETS, Target, listening, running


@pytest.fixture(params=sorted({TARGETS[name][0] for name in CHOSEN}))
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return make_runtime(request.param)


GUESSES = ["", ":", "Aladdin:", "Aladdin:open", "Aladdin:open sesamf", "aladdin:open sesame", "x" * 1000]


def test_row_32_every_guess_is_the_same_work(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """websockets CVE-2021-33880."""
    compared: list[tuple[int, int]] = []

    def compare_digest(left: bytes, right: bytes) -> bool:
        compared.append((len(left), len(right)))
        return left == right

    monkeypatch.setattr(authentication, "compare_digest", compare_digest)
    runtime.run(check_guesses(runtime, compared))


async def check_guesses(runtime: Runtime, compared: list[tuple[int, int]]) -> None:
    pairs = [("Aladdin", "open sesame"), ("Ali", "open sesame")]
    auth = runtime.basic_auth("staff", credentials=pairs)
    async with runtime.serving(create_protocol=auth) as (server, _):
        for guess in [*GUESSES, "Aladdin:open sesame"]:
            compared.clear()
            credentials = base64.b64encode(guess.encode()).decode()
            async with runtime.raw_connection(server) as peer:
                await peer.send(request(Authorization=f"Basic {credentials}"))
                status = (await peer.read_head()).status
                assert status == (101 if guess == "Aladdin:open sesame" else 401)
            # What is no pair of a name and a password is not compared at all.
            assert compared == ([(32, 32)] * 2 if ":" in guess else [])
        await runtime.until(lambda: not server.connections)


def keys_of(target: Target, listener: socket.socket, uri: str) -> Iterator[str]:
    """The keys that a client has used on one connection."""
    steps = (send(Frame(TEXT, b"a"), Frame(TEXT, b"b")), Wait("messages", 2), GOODBYE)
    target.start_command("connect", uri=uri, options=QUIET)
    observed = attack_client(Case("35-keys", "", steps, sides=(CLIENT,)), listener, deadline=DEADLINE)
    assert target.answer()["code"] == 1000
    yield observed.headers["sec-websocket-key"]
    yield from (key.hex() for key in observed.masking_keys)


def test_row_35_no_key_is_used_twice(target: Target, listener: tuple[socket.socket, str]) -> None:
    keys = [key for _ in range(3) for key in keys_of(target, *listener)]
    assert len(keys) == 3 * (1 + 3)
    assert len(set(keys)) == len(keys)


def test_row_35_processes_have_keys_of_their_own() -> None:
    with listening() as (listener, uri), contextlib.ExitStack() as stack:
        targets = [stack.enter_context(running("asyncio")) for _ in range(2)]
        keys = [key for target in targets for key in keys_of(target, listener, uri)]
    assert len(set(keys)) == len(keys) == 2 * (1 + 3)


ECHO = Case("42-echo", "", (send(Frame(TEXT, b"x")), Wait("messages", 1), GOODBYE), going_on(b"x"))


MANY = 100
"""Lines of a log about the lack of descriptors, in a second or a few."""


def test_row_42_a_server_without_descriptors(target: Target) -> None:
    port = target.port(QUIET)
    with contextlib.ExitStack() as stack:
        healthy = stack.enter_context(socket.create_connection((HOST, port), timeout=DEADLINE))
        healthy.sendall(request())
        assert healthy.recv(65536).startswith(b"HTTP/1.1 101 ")
        target.command("descriptors", more=2)
        try:
            waiting = [
                stack.enter_context(socket.create_connection((HOST, port), timeout=DEADLINE))
                for _ in range(8)
            ]
            for _ in range(20):
                # A ping, and its pong.
                healthy.sendall(b"\x89\x81\0\0\0\0x")
                assert healthy.recv(3) == b"\x8a\x01x"
        finally:
            target.command("descriptors", more=None)
        # Those that had to wait may have been closed meanwhile, as libuv does it.
        for sock in waiting:
            sock.close()
        assert not ECHO.expect.fault(attack_server(ECHO, port, deadline=DEADLINE))
    target.wait_until_idle(port)
    # One a second is enough; asyncio has one for each connection that it would accept in a row.
    assert len(target.command("errors")) + len(target.command("reports")) <= MANY


def test_row_42_a_client_without_descriptors(target: Target, listener: tuple[socket.socket, str]) -> None:
    sock, uri = listener
    target.command("descriptors", more=0)
    try:
        ended = target.command("connect", uri=uri, options=QUIET)
        assert ended["errno"] == errno.EMFILE, ended
    finally:
        target.command("descriptors", more=None)
    target.start_command("connect", uri=uri, options=QUIET)
    assert not ECHO.expect.fault(attack_client(ECHO, sock, deadline=DEADLINE))
    assert target.answer()["code"] == 1000
