"""TLS of a connection: `websocket.tls`, on both sides."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import CERTIFICATES, HOST, client_context, server_context

pytestmark = pytest.mark.needs("sockets")

CERTIFICATE = CERTIFICATES / "localhost.pem"
DER = ssl.PEM_cert_to_DER_cert(CERTIFICATE.read_text())


async def test_plain_connection_has_none(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        assert client.tls is server.tls is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda it: it.name)
async def test_both_sides(runtime: Runtime, version: ssl.TLSVersion) -> None:
    context = server_context()
    context.minimum_version = context.maximum_version = version
    async with runtime.connected(server={"ssl": context}, tls=True) as (client, server):
        for end in (client, server):
            assert end.tls.version == version.name.replace("_", ".")
            name, _, bits = end.tls.cipher
            assert isinstance(name, str)
            assert bits >= 128
            assert end.tls.alpn_protocol is None
        assert client.tls.cipher == server.tls.cipher
        assert client.tls.peer_certificate["subject"] == ((("commonName", "localhost"),),)
        assert client.tls.peer_certificate_der == DER
        assert client.tls.server_hostname == HOST
        assert server.tls.peer_certificate is server.tls.peer_certificate_der is None
        assert server.tls.server_hostname is None
        # In the same words as the addresses of the socket beneath.
        assert client.remote_address == server.local_address
        tls = client.tls
        with pytest.raises(AttributeError):
            tls.version = "none"
    # It stays.
    assert client.tls == tls


async def test_protocol_of_alpn(runtime: Runtime) -> None:
    client, server = client_context(), server_context()
    for context in (client, server):
        context.set_alpn_protocols(["http/1.1"])
    async with runtime.connected({"ssl": client}, {"ssl": server}, tls=True) as ends:
        assert [end.tls.alpn_protocol for end in ends] == ["http/1.1", "http/1.1"]


@pytest.mark.parametrize("verified", [True, False], ids=["verified", "not verified"])
async def test_certificate_that_is_not_verified(runtime: Runtime, verified: bool) -> None:
    context = client_context()
    if not verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    async with runtime.connected({"ssl": context}, tls=True) as (client, _):
        assert bool(client.tls.peer_certificate) is verified
        assert client.tls.peer_certificate_der == DER


async def test_certificate_of_a_client(runtime: Runtime) -> None:
    """There before the opening handshake is answered: who may connect can be decided by it."""
    seen: list[Any] = []
    client, server = client_context(), server_context()
    client.load_cert_chain(CERTIFICATE, CERTIFICATES / "localhost.key")
    server.load_verify_locations(CERTIFICATE)
    server.verify_mode = ssl.CERT_REQUIRED

    class OurConnection(runtime.ServerConnection):  # type: ignore[name-defined,misc]
        def process_request(self, path: str, request_headers: Any) -> None:
            seen.append(self.tls)

    options = {"ssl": server, "create_protocol": OurConnection}
    async with runtime.connected({"ssl": client}, options, tls=True) as (_, end):
        assert seen == [end.tls]
        assert end.tls.peer_certificate["subject"] == ((("commonName", "localhost"),),)
        assert end.tls.peer_certificate_der == DER


async def test_on_a_unix_socket(runtime: Runtime, tmp_path: Any) -> None:
    seen: list[Any] = []

    async def handler(websocket: Any) -> None:
        seen.append(websocket.tls.version)

    path = str(tmp_path / "socket")
    async with (
        runtime.unix_serve(handler, path, ssl=server_context()),
        runtime.unix_connect(path, "wss://localhost/", ssl=client_context()) as client,
    ):
        await client.wait_closed()
        assert seen == [client.tls.version]
        assert client.tls.server_hostname == "localhost"
