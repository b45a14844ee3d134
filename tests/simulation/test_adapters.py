"""The adapters, unmodified, client and server, on many schedules instead of one.

``SCHEDULES=1000`` plays each conversation with more seeds, ``SEED=7`` with one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import pytest

from adapters.asyncio import Connection
from adapters.structured.connection import StructuredConnection
from tests.adapters.runtimes import make_runtime

from . import on_asyncio, on_trio
from .conversations import CONVERSATIONS, Conversation, Stage
from .sockets import Deadlock, World

RUNTIMES = {"asyncio": on_asyncio.run, "trio": on_trio.run, "anyio-trio": on_trio.run}
"""The functions that run a conversation."""

SCHEDULES = {"asyncio": 25, "trio": 12, "anyio-trio": 6}
"""Seeds of each conversation, which takes longer on trio."""


def seeds_of(name: str) -> Iterable[int]:
    if "SEED" in os.environ:
        return (int(os.environ["SEED"]),)
    return range(int(os.environ.get("SCHEDULES", SCHEDULES[name])))


def play(name: str, seed: int, conversation: Conversation) -> World:
    """Play a conversation on a runtime; an error says by which seed."""
    world = World(seed)
    runtime = make_runtime(name)
    try:
        RUNTIMES[name](world, runtime, conversation(Stage(world, runtime)))
    except BaseException as error:
        test = f"test_schedules[{name}-{conversation.__name__}]"
        error.add_note(f"to play it alone: SEED={seed} pytest '{__file__}::{test}'")
        raise
    return world


def play_many(name: str, seeds: Iterable[int], conversation: Conversation) -> None:
    for seed in seeds:
        play(name, seed, conversation)


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("name", RUNTIMES)
def test_schedules(name: str, conversation: str) -> None:
    play_many(name, seeds_of(name), CONVERSATIONS[conversation])


# A server has its connections in a set: their order is that of addresses in memory.
ONE_CONNECTION = sorted(
    CONVERSATIONS.keys() - {"a_server_that_closes", "a_server_that_drains", "a_broadcast"}
)


@pytest.mark.parametrize("conversation", ONE_CONNECTION)
@pytest.mark.parametrize("name", RUNTIMES)
def test_a_seed_decides_everything(name: str, conversation: str) -> None:
    one, other, third = (play(name, seed, CONVERSATIONS[conversation]) for seed in (1, 1, 2))
    assert one.random.getstate() == other.random.getstate()
    assert one.time.now == other.time.now
    assert third.random.getstate() != one.random.getstate()


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_wait_without_end_is_found(name: str) -> None:
    async def wait(stage: Stage) -> None:
        options = {"compression": None}  # it has a timer
        async with stage.connected(options, options) as (client, _):
            await client.recv()

    with pytest.raises(Deadlock, match="everybody waits"):
        play(name, 0, wait)


@pytest.mark.parametrize("name", RUNTIMES)
def test_what_is_left_is_found(name: str) -> None:
    async def leave_a_task(stage: Stage) -> None:
        stage.listener.close()
        stage.start(stage.sleep, 1000)

    with pytest.raises(AssertionError, match=r"left"):
        play(name, 0, leave_a_task)

    async def leave_an_error(stage: Stage) -> None:
        stage.listener.close()
        stage.start(fail)

    async def fail() -> None:
        raise LookupError("nobody looks at it")

    with pytest.raises(LookupError, match="nobody looks at it"):
        play(name, 0, leave_an_error)

    async def leave_a_socket(stage: Stage) -> None:
        """Its listener."""

    with pytest.raises(AssertionError, match="1 sockets are left"):
        play(name, 0, leave_a_socket)


# Faults of the adapter: each function breaks it.


def never_read_again(self: Connection) -> None:
    if not self.protocol.wants_read and not self._reading_paused:
        self._reading_paused = True
        self.transport.pause_reading()


def do_nothing(self: Connection, *arguments: object) -> None:
    pass


FAULTS_OF_ASYNCIO: list[tuple[str, str, Callable[..., None]]] = [
    ("backpressure", "_update_reading", never_read_again),
    ("backpressure", "_update_reading", do_nothing),
    ("both_ways", "resume_writing", do_nothing),
    ("silence", "_update_timer", do_nothing),
    ("reset", "connection_lost", do_nothing),
    ("silence", "_deadline_reached", do_nothing),
    ("backpressure", "pause_writing", do_nothing),
    ("fragments", "_sent", do_nothing),
]


@pytest.mark.parametrize(("conversation", "method", "broken"), FAULTS_OF_ASYNCIO)
def test_a_fault_of_asyncio_is_found(
    conversation: str, method: str, broken: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Connection, method, broken)
    with pytest.raises(Exception, match=r".*"):
        play_many("asyncio", range(25), CONVERSATIONS[conversation])


FAULTS_OF_TRIO = [
    ("both_ways", "_write_in_task"),
    ("cancelled_send", "_write_in_task"),
    ("given_up_while_opening", "_close_stream"),
    ("both_close", "_react"),
]


@pytest.mark.parametrize(("conversation", "method"), FAULTS_OF_TRIO)
def test_a_fault_of_trio_is_found(conversation: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StructuredConnection, method, do_nothing)
    with pytest.raises(Exception, match=r".*"):
        play_many("trio", range(25), CONVERSATIONS[conversation])
