"""Where a server listens: several hosts, addresses and paths that cannot be used, its port."""

from __future__ import annotations

import errno
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, echo
from tests.ports import free_port

pytestmark = pytest.mark.needs("sockets")

UNUSABLE = "198.51.100.1"
"""An address for documentation (RFC 5737), which no system has."""


def hosts_of(server: Any) -> list[str]:
    return [sock.getsockname()[0] for sock in server.sockets]


async def test_host_that_is_given_twice(runtime: Runtime) -> None:
    port = free_port()
    async with runtime.serve(echo, [HOST, HOST, "localhost"], port) as server:
        hosts = hosts_of(server)
        assert hosts.count(HOST) == 1
        assert len(set(hosts)) == len(hosts)
        async with runtime.connect(f"ws://{HOST}:{port}") as client:
            await runtime.check_echo(client)


@pytest.mark.parametrize("hosts", [[HOST, UNUSABLE], [UNUSABLE, HOST]], ids=str)
async def test_address_that_cannot_be_used_is_left_out(runtime: Runtime, hosts: list[str]) -> None:
    async with runtime.serve(echo, hosts, 0) as server:
        assert hosts_of(server) == [HOST]
        async with runtime.connect(runtime.uri_of(server)) as client:
            await runtime.check_echo(client)


async def test_no_address_can_be_used(runtime: Runtime) -> None:
    with pytest.raises(OSError, match=f"cannot listen on .*{UNUSABLE}") as raised:
        async with runtime.serve(echo, [UNUSABLE, "198.51.100.2"], 0):
            raise AssertionError
    assert raised.value.errno == errno.EADDRNOTAVAIL


LIMIT_OF_BACKLOG = 28
"""Where Linux reports, of a socket that listens, how many connections may wait (tcp_info.tcpi_sacked)."""


def largest_backlog() -> int:
    return int(Path("/proc/sys/net/core/somaxconn").read_text())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reports the backlog of a socket")
@pytest.mark.parametrize(("options", "backlog"), [({}, socket.SOMAXCONN), ({"backlog": 7}, 7)])
async def test_backlog(runtime: Runtime, options: dict[str, int], backlog: int) -> None:
    async with runtime.serve(echo, HOST, 0, **options) as server:
        info = server.sockets[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
        assert struct.unpack_from("=I", info, LIMIT_OF_BACKLOG) == (min(backlog, largest_backlog()),)


async def test_no_host(runtime: Runtime) -> None:
    with pytest.raises(ValueError, match="host must not be empty"):
        async with runtime.serve(echo, [], 0):
            raise AssertionError


@pytest.mark.parametrize("host", [None, "", [None], [""]], ids=repr)
async def test_all_interfaces(runtime: Runtime, host: Any) -> None:
    port = free_port()
    async with (
        runtime.serve(echo, host, port) as server,
        runtime.connect(f"ws://{HOST}:{port}") as client,
    ):
        assert "0.0.0.0" in hosts_of(server)
        await runtime.check_echo(client)


async def test_path_that_is_too_long(runtime: Runtime, tmp_path: Path) -> None:
    path = str(tmp_path / ("x" * 200))
    with pytest.raises(OSError, match=r"cannot listen on '.*xxx': AF_UNIX path too long") as raised:
        async with runtime.unix_serve(echo, path):
            raise AssertionError
    assert raised.value.errno == errno.ENAMETOOLONG


async def test_path_in_a_folder_that_is_not_there(runtime: Runtime, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"cannot listen on '.*/missing/socket': No such file"):
        async with runtime.unix_serve(echo, tmp_path / "missing" / "socket"):
            raise AssertionError


async def test_path_of_a_file(runtime: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(OSError, match=r"cannot listen on '.*/file': Address already in use"):
        async with runtime.unix_serve(echo, path):
            raise AssertionError
    assert path.read_text(encoding="utf-8") == "precious"
