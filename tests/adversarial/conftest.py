"""One process for each adapter, which all cases attack in turn."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from .targets import TARGETS, Target, listening, running

CHOSEN = os.environ.get("RUNTIMES", " ".join(TARGETS)).split()


# Their code is that of other targets.
THOROUGH = ("uvloop", "anyio-asyncio")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.thorough if name in THOROUGH else ())
        for name in TARGETS
        if name in CHOSEN
    ],
)
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    with running(request.param) as target:
        yield target


@pytest.fixture(scope="module")
def listener() -> Iterator[tuple[socket.socket, str]]:
    with listening() as (sock, uri):
        yield sock, uri
