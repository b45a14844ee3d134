"""Random bytes in batches: strong, never the same twice, and never shared with a child process."""

from __future__ import annotations

import os
import threading

import pytest

from wsproto_core import randomness
from wsproto_core.randomness import random_bytes

from .helpers import opened_client, written


@pytest.fixture(autouse=True)
def _empty_batch() -> None:
    randomness.keys.clear()


@pytest.mark.parametrize("count", [0, 1, 4, 16, 5000])
def test_as_many_bytes_as_asked_for(count: int) -> None:
    assert len(random_bytes(count)) == count
    assert type(random_bytes(count)) is bytes


def test_keys_are_drawn_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call of the system for a thousand keys; every byte of it is used, once."""
    drawn = []

    def urandom(count: int) -> bytes:
        drawn.append(bytes((position * 7 + len(drawn)) % 256 for position in range(count)))
        return drawn[-1]

    monkeypatch.setattr(os, "urandom", urandom)
    keys = [random_bytes(4) for _ in range(1024)]
    assert len(drawn) == 1
    (batch,) = drawn
    assert sorted(keys) == sorted(batch[start : start + 4] for start in range(0, 4096, 4))
    random_bytes(4)
    assert len(drawn) == 2
    # Other sizes are not taken from the batch.
    assert random_bytes(16) == drawn[2]
    assert len(drawn[2]) == 16


def test_keys_are_not_repeated() -> None:
    keys = [random_bytes(4) for _ in range(5000)]
    # By chance there may be an equal pair, once in some hundred runs.
    assert len(set(keys)) >= 4998


def test_threads_do_not_share_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = iter(range(10**9))

    def urandom(count: int) -> bytes:
        return b"".join(next(counter).to_bytes(4, "big") for _ in range(count // 4))

    monkeypatch.setattr(os, "urandom", urandom)
    drawn: list[list[bytes]] = []

    def draw() -> None:
        drawn.append([random_bytes(4) for _ in range(5000)])

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = [key for keys in drawn for key in keys]
    assert len(keys) == 20_000
    assert len(set(keys)) == 20_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_process_has_keys_of_its_own() -> None:
    random_bytes(4)
    waiting = set(randomness.keys)
    assert len(waiting) > 1000
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        # Nothing of the test framework may run here.
        try:
            keys = b"".join(random_bytes(4) for _ in range(100))
            os.write(writer, len(randomness.keys).to_bytes(4, "big") + keys)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        data = stream.read()
    os.waitpid(child, 0)
    assert len(data) == 404
    assert int.from_bytes(data[:4], "big") == 1024 - 100
    theirs = {data[start : start + 4] for start in range(4, 404, 4)}
    assert len(theirs) >= 99
    # By chance one may be equal, once in some ten thousand runs.
    assert len(theirs & waiting) <= 1
    assert set(randomness.keys) == waiting


def test_it_is_the_default_source() -> None:
    client = opened_client()
    randomness.keys[:] = [b"mask"]
    client.send("x")
    assert written(client)[2:6] == b"mask"
