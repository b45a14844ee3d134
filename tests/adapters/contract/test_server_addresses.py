"""Where a server listens: several hosts, addresses and paths that cannot be used, its port."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, Log, echo

pytestmark = pytest.mark.needs("sockets")


async def test_addresses(runtime: Runtime) -> None:
    log = Log()
    async with runtime.serving(logger=log) as (server, uri):
        assert isinstance(server.sockets, tuple)
        assert server.addresses == tuple(sock.getsockname() for sock in server.sockets)
        assert server.addresses == ((HOST, server.port),)
        assert log.messages() == [f"server listening on {HOST}:{server.port}"]
        assert repr(runtime.native(server)) == f"<Server listening on {HOST}:{server.port}, connections: 0>"
        async with runtime.connect(uri + "path") as client:
            assert f" OPEN {HOST}:{server.port} '/path'>" in repr(runtime.native(client))
            assert repr(runtime.native(server)).endswith("connections: 1>")
    assert server.sockets == ()
    assert repr(runtime.native(server)) == "<Server closed, connections: 0>"


async def test_unix_socket(runtime: Runtime, tmp_path: Path) -> None:
    log = Log()
    path = str(tmp_path / "socket")
    async with runtime.unix_serve(echo, path, logger=log) as server:
        assert server.addresses == (path,)
        assert server.port is None
        assert log.messages(logging.INFO) == [f"server listening on {path!r}"]
