"""Zone identifiers of IPv6 addresses (RFC 6874): used for connecting, and not sent."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import client_context, server_context

pytestmark = pytest.mark.needs("sockets", "features")


def zones() -> list[str]:
    """The numbers of the interfaces by which the loopback address is reached: one, if there is IPv6."""
    found = []
    for index, _name in socket.if_nameindex():
        with socket.socket(socket.AF_INET6) as sock:
            try:
                sock.bind(("::1", 0, 0, index))
            except OSError:
                continue
            found.append(str(index))
    return found[:1]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_zone_identifier(runtime: Runtime, tls: bool) -> None:
    hosts: list[Any] = []

    async def handler(websocket: Any) -> None:
        hosts.append(websocket.request_headers["Host"])
        await websocket.wait_closed()

    for zone in zones():
        options = {"ssl": server_context()} if tls else {}
        async with runtime.serve(handler, "::1", 0, **options) as server:
            port = runtime.port_of(server)
            uri = f"{'wss' if tls else 'ws'}://[::1%25{zone}]:{port}/"
            async with runtime.connect(uri, **({"ssl": client_context()} if tls else {})) as client:
                assert client.remote_address[:2] == ("::1", port)
            assert hosts == [f"[::1]:{port}"]
            hosts.clear()
