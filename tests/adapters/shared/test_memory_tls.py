"""TLS in memory: :mod:`adapters.shared.memory_tls`."""

from __future__ import annotations

import pytest

from adapters.shared.memory_tls import RECORDS, MemoryTLS
from tests.adapters.runtimes.base import client_context, server_context


def join(
    below: tuple[MemoryTLS, MemoryTLS] | tuple[None, None] = (None, None),
) -> tuple[MemoryTLS, MemoryTLS]:
    """A client and a server after TLS's handshake."""
    client = MemoryTLS(client_context(), below[0], server_hostname="localhost")
    server = MemoryTLS(server_context(), below[1], server_side=True)
    client.receive(None, decrypt=False)
    while not (client.established and server.established):
        assert server.receive(client.take_unsent()) == b""
        client.receive(server.take_unsent(), decrypt=False)
    assert client.error is server.error is None
    return client, server


def send(sender: MemoryTLS, data: bytes, receiver: MemoryTLS) -> bytes:
    while data:
        data = data[sender.encrypt(data) :]
    return receiver.receive(sender.take_unsent())


@pytest.mark.parametrize("layers", [1, 2])
def test_tls_over_tls(layers: int) -> None:
    client, server = join()
    if layers == 2:
        client, server = join((client, server))
    data = bytes(range(256)) * 1000
    assert send(client, data, server) == data
    assert send(server, data, client) == data
    server.end()
    assert client.receive(server.take_unsent()) == b""
    assert client.ended
    assert client.error is None


def test_records_of_one_call() -> None:
    client, server = join()
    assert client.encrypt(bytes(2 * RECORDS)) == RECORDS
    assert server.receive(client.take_unsent()) == bytes(RECORDS)


def test_data_after_the_handshake() -> None:
    """What follows the handshake in the same bytes is left to the next call."""
    client, server = join()
    server.encrypt(b"early")
    assert client.receive(server.take_unsent(), decrypt=False) == b""
    assert client.receive(None) == b"early"


def test_error_of_the_tls_below() -> None:
    client, server = join(join())
    assert client.receive(b"\x17\x03\x03\x00\x20" + bytes(32)) == b""
    assert client.error is not None
    assert client.ended
    assert send(server, b"ignored", client) == b""
