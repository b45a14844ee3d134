"""``websockets.extensions``: permessage-deflate, and the interface of factories."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from adapters.websockets.extensions import base
from adapters.websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

from .peers import connected


def test_factories() -> None:
    assert isinstance(ClientPerMessageDeflateFactory(), base.ClientExtensionFactory)
    assert isinstance(ServerPerMessageDeflateFactory(), base.ServerExtensionFactory)
    assert ClientPerMessageDeflateFactory().name == "permessage-deflate"


@pytest.mark.parametrize(
    ("arguments", "params"),
    [
        ({}, []),
        ({"server_no_context_takeover": True}, [("server_no_context_takeover", None)]),
        ({"client_no_context_takeover": True}, [("client_no_context_takeover", None)]),
        ({"server_max_window_bits": 10}, [("server_max_window_bits", "10")]),
        ({"client_max_window_bits": 10}, [("client_max_window_bits", "10")]),
        ({"client_max_window_bits": True}, [("client_max_window_bits", None)]),
    ],
)
def test_parameters_are_in_the_offer(arguments: dict[str, Any], params: list[Any]) -> None:
    assert ClientPerMessageDeflateFactory(**arguments).get_request_params() == params


def test_arguments_by_position() -> None:
    settings = {"level": 1}
    for factory in (
        ClientPerMessageDeflateFactory(True, True, 9, 10, settings),
        ServerPerMessageDeflateFactory(True, True, 9, 10, settings),
    ):
        assert factory.server_no_context_takeover is True
        assert factory.client_no_context_takeover is True
        assert (factory.server_max_window_bits, factory.client_max_window_bits) == (9, 10)
        assert factory.compress_settings == settings


@pytest.mark.parametrize("bits", [7, 16, "15"])
def test_windows_that_do_not_exist(bits: Any) -> None:
    for factory in ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory:
        for name in "server_max_window_bits", "client_max_window_bits":
            with pytest.raises(ValueError, match=name):
                factory(**{name: bits})


def test_a_server_has_no_window_without_a_value() -> None:
    arguments: dict[str, Any] = {"client_max_window_bits": True}
    with pytest.raises(ValueError, match="client_max_window_bits"):
        ServerPerMessageDeflateFactory(**arguments)


def test_compress_settings_are_those_of_compressobj_but_wbits() -> None:
    with pytest.raises(ValueError, match="wbits"):
        ClientPerMessageDeflateFactory(compress_settings={"wbits": -15})
    with pytest.raises((TypeError, ValueError, zlib.error)):
        ClientPerMessageDeflateFactory(compress_settings={"levels": 1})


async def test_what_is_negotiated() -> None:
    client = ClientPerMessageDeflateFactory(client_max_window_bits=True)
    server = ServerPerMessageDeflateFactory(True, True, 10, 11, {"memLevel": 4})
    async with connected({"extensions": [client]}, {"extensions": [server]}) as (websocket, connection):
        assert websocket.response_headers["Sec-WebSocket-Extensions"] == (
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
            "server_max_window_bits=10; client_max_window_bits=11"
        )
        for message in "x" * 1000, b"y" * 1000, "":
            await websocket.send(message)
            assert await connection.recv() == message
            await connection.send(message)
            assert await websocket.recv() == message
