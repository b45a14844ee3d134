"""TLS: `ssl=`, `server_hostname=`, and ends that do not match."""

from __future__ import annotations

import ssl

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import HOST, Log
from wsproto_core import InvalidHandshake

pytestmark = pytest.mark.needs("sockets")


async def test_tls(runtime: Runtime) -> None:
    client = runtime.client_tls(True)
    async with runtime.serving(**runtime.server_tls(True)) as (server, uri):
        assert uri.startswith("wss:")
        async with runtime.connect(uri, **client) as connection:
            await runtime.check_echo(connection)
        uri = runtime.uri_of(server, scheme="wss", host="localhost")
        async with runtime.connect(uri, **client) as connection:
            await runtime.check_echo(connection)
            await runtime.pong(await connection.ping())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda it: it.name)
async def test_versions_of_tls(runtime: Runtime, version: ssl.TLSVersion) -> None:
    # In version 1.2 the server has the last word in TLS's handshake, in 1.3 the client.
    options = runtime.server_tls(True)
    options["ssl"].minimum_version = options["ssl"].maximum_version = version
    async with (
        runtime.serving(**options) as (_, uri),
        runtime.connect(uri, **runtime.client_tls(True)) as connection,
    ):
        await runtime.check_echo(connection)


async def test_certificate_is_checked_by_default(runtime: Runtime) -> None:
    async with runtime.serving(**runtime.server_tls(True)) as (server, uri):
        with pytest.raises(ssl.SSLCertVerificationError):
            await runtime.open(uri)
        await runtime.until(lambda: not server.connections)


async def test_certificate_is_checked_against_the_host_of_the_uri(runtime: Runtime) -> None:
    options = {"host": HOST, **runtime.client_tls(True)}
    async with runtime.serving(**runtime.server_tls(True)) as (server, _):
        port = runtime.port_of(server)
        uri = f"wss://example.com:{port}/"
        with pytest.raises(ssl.SSLCertVerificationError):
            await runtime.open(uri, **options)
        async with runtime.connect(f"wss://localhost:{port}/", **options) as client:
            await runtime.check_echo(client)
        async with runtime.connect(uri, **options, server_hostname="localhost") as client:
            await runtime.check_echo(client)


async def test_ssl_and_the_uri_must_agree(runtime: Runtime) -> None:
    with pytest.raises(ValueError, match="ssl must not be None"):
        await runtime.open(f"wss://{HOST}:9/", ssl=None)
    with pytest.raises(ValueError, match="ssl must not be given"):
        await runtime.open(f"ws://{HOST}:9/", **runtime.client_tls(True))
    with pytest.raises(ValueError, match="ssl must not be False"):
        await runtime.open(f"wss://{HOST}:9/", ssl=False)


async def test_plain_client_of_a_tls_server(runtime: Runtime) -> None:
    async with runtime.serving(**runtime.server_tls(True)) as (server, _):
        with pytest.raises((InvalidHandshake, OSError)):
            await runtime.open(runtime.uri_of(server))
        await runtime.until(lambda: not server.connections)


async def test_tls_client_of_a_plain_server(runtime: Runtime) -> None:
    async with runtime.serving() as (server, _):
        with pytest.raises((ssl.SSLError, OSError)):
            await runtime.open(runtime.uri_of(server, scheme="wss"), **runtime.client_tls(True))
        await runtime.until(lambda: not server.connections)


async def test_large_messages_both_ways_at_once(runtime: Runtime) -> None:
    options = {"max_size": None}
    async with runtime.connected(options, options, tls=True) as (client, server):
        for message in ("x" * 2**22, bytes(2**22)):
            sending = [runtime.spawn(end.send, message) for end in (client, server)]
            receiving = [runtime.spawn(end.recv) for end in (client, server)]
            for task in receiving:
                assert await task.result() == message
            for task in sending:
                await task.result()


async def test_many_small_messages_in_order(runtime: Runtime) -> None:
    async def send() -> None:
        for number in range(500):
            await client.send(str(number))

    async with (
        runtime.serving(**runtime.server_tls(True)) as (_, uri),
        runtime.connect(uri, **runtime.client_tls(True)) as client,
    ):
        sending = runtime.spawn(send)
        assert [await client.recv() for _ in range(500)] == [str(number) for number in range(500)]
        await sending.result()


async def test_sock(runtime: Runtime) -> None:
    async with runtime.connected(tls=True, small_buffers=True) as (client, server):
        sending = runtime.spawn(client.send, b"x" * 300_000)
        assert await server.recv() == b"x" * 300_000
        await sending.result()


async def test_server_that_ends_within_the_handshake(runtime: Runtime) -> None:
    async with runtime.raw_listener() as listener:

        async def serve_one() -> None:
            peer = await listener.accept()
            await peer.read()
            peer.close()

        serving = runtime.spawn(serve_one)
        with pytest.raises(OSError, match=r".*") as raised:
            await runtime.open(listener.uri.replace("ws:", "wss:"), **runtime.client_tls(True))
        assert not isinstance(raised.value, TimeoutError)
        await serving.result()


async def test_client_that_ends_within_the_handshake(runtime: Runtime) -> None:
    log = Log()
    async with runtime.serving(logger=log, **runtime.server_tls(True)) as (server, _):
        async with runtime.raw_connection(server) as peer:
            await peer.send(b"\x16\x03\x01")
        await runtime.until(lambda: not server.connections)
    assert not log.errors()
