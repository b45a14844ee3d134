"""Which close codes are a good end."""

from __future__ import annotations

import pytest

from wsproto_core import ConnectionClosedError, ConnectionClosedOK, Side

from .helpers import CLOSE, Frame, both_sides, close_payload, feed, from_peer, opened

CODES = {1000: close_payload(1000), 1001: close_payload(1001), 1005: b"", 1002: close_payload(1002)}


@both_sides
@pytest.mark.parametrize("code", CODES)
def test_good_ends(side: Side, code: int) -> None:
    protocol = opened(side)
    feed(protocol, from_peer(protocol, Frame(CLOSE, CODES[code])))
    error = protocol.close_exception()
    assert error.code == code
    assert type(error) is (ConnectionClosedError if code == 1002 else ConnectionClosedOK)


@both_sides
def test_others_may_be_set(side: Side) -> None:
    for code, payload in CODES.items():
        protocol = opened(side)
        protocol.good_codes = (1000, 1002)
        feed(protocol, from_peer(protocol, Frame(CLOSE, payload)))
        error = protocol.close_exception()
        assert type(error) is (ConnectionClosedOK if code in (1000, 1002) else ConnectionClosedError)
        with pytest.raises(type(error)):
            protocol.send("x")
