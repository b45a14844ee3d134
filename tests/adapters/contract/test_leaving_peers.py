"""Peers that leave a sender: nothing freezes, is logged or is left."""

from __future__ import annotations

import pytest

from tests.adapters.runtimes import Runtime
from tests.soak.streaming import client_streams, no_log_lines, server_streams

pytestmark = pytest.mark.needs("sockets")

RUNS = 50
"""``python -m tests.soak.streaming`` does the same ten thousand times."""

with_tls = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


@with_tls
async def test_clients_leave_a_server_that_streams(runtime: Runtime, tls: bool) -> None:
    with no_log_lines():
        await server_streams(runtime, tls, RUNS)


@with_tls
async def test_servers_leave_a_client_that_streams(runtime: Runtime, tls: bool) -> None:
    with no_log_lines():
        await client_streams(runtime, tls, RUNS)
