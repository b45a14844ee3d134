"""``select_subprotocol`` is asked about every request, and may refuse the client."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from adapters.websockets.client import connect
from adapters.websockets.exceptions import InvalidStatusCode, NegotiationError
from adapters.websockets.server import WebSocketServerProtocol

from .peers import idle, serving


def require_chat(client_subprotocols: Sequence[str], server_subprotocols: Sequence[str]) -> str:
    if "chat" not in client_subprotocols:
        raise NegotiationError("the subprotocol 'chat' is required")
    return "chat"


class Requiring(WebSocketServerProtocol):
    def select_subprotocol(self, client_subprotocols: Any, server_subprotocols: Any) -> Any:
        return require_chat(client_subprotocols, server_subprotocols)


@pytest.mark.parametrize(
    "option", [{"select_subprotocol": require_chat}, {"create_protocol": Requiring}], ids=["option", "method"]
)
@pytest.mark.parametrize("subprotocols", [None, ["chat"]], ids=["server-none", "server-chat"])
async def test_clients_that_offer_none_are_refused(option: Any, subprotocols: Any) -> None:
    async with serving(idle, subprotocols=subprotocols, **option) as (_, uri):
        async with connect(uri, subprotocols=["other", "chat"]) as websocket:
            assert websocket.subprotocol == "chat"
        for offered in None, ["other"]:
            with pytest.raises(InvalidStatusCode) as raised:
                await connect(uri, subprotocols=offered)
            assert raised.value.status_code == 400
            assert raised.value.response is not None
            assert b"'chat' is required" in raised.value.response.body
