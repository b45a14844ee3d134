"""Compression between two connections: with any parameters, what is sent arrives."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from wsproto_core import Data
from wsproto_core.extensions import permessage_deflate
from wsproto_core.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from wsproto_core.testing import Clock, connect

IDLE = 30

BITS = st.none() | st.integers(8, 15)

SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "server_no_context_takeover": st.booleans(),
        "client_no_context_takeover": st.booleans(),
        "server_max_window_bits": BITS,
        "client_max_window_bits": BITS,
        "compress_settings": st.fixed_dictionaries(
            {}, optional={"level": st.integers(0, 9), "memLevel": st.integers(1, 9)}
        ),
        "threshold": st.sampled_from([0, 64, 1000]),
    },
)

WORDS = st.sampled_from([b"abc", b"the quick brown fox ", bytes(300), bytes(range(256)) * 3, b"\xff"])
BINARY = st.lists(WORDS | st.binary(max_size=400), max_size=8).map(b"".join)
TEXT = st.text(max_size=30).flatmap(lambda text: st.integers(0, 60).map(lambda count: text * count))
MESSAGE: st.SearchStrategy[Data] = BINARY | TEXT

STEP = st.tuples(
    st.booleans(),  # who sends
    st.lists(st.tuples(MESSAGE, st.sampled_from([None, True, False])), min_size=1, max_size=4),
    st.integers(1, 4),  # fragments
    st.sampled_from([0, IDLE, 3 * IDLE]),  # how long nothing happens then
)


@settings(deadline=None)
@given(
    client=SETTINGS,
    server=SETTINGS,
    steps=st.lists(STEP, max_size=8),
    chunk=st.sampled_from([None, 1, 7, 100]),
    read_limit=st.sampled_from([200, 2**16]),
    made_anew=st.sampled_from([0, 1, 3, 16]),
)
def test_everything_arrives(
    client: dict[str, Any],
    server: dict[str, Any],
    steps: list[Any],
    chunk: int | None,
    read_limit: int,
    made_anew: int,
) -> None:
    # Few messages are enough for a compressor to be kept.
    with patch.object(permessage_deflate, "MAX_MADE_ANEW", made_anew):
        converse(client, server, steps, chunk, read_limit)


def converse(
    client: dict[str, Any], server: dict[str, Any], steps: list[Any], chunk: int | None, read_limit: int
) -> None:
    options: Any = {"ping_interval": None, "read_limit": read_limit, "max_size": None}
    link = connect(
        client_options=options
        | {"extensions": [ClientPerMessageDeflateFactory(**client, idle_timeout=IDLE)]},
        server_options=options
        | {"extensions": [ServerPerMessageDeflateFactory(**server, idle_timeout=IDLE)]},
        chunk=chunk,
        clock=Clock(),
    )
    assert len(link.client.extensions) <= 1
    for from_client, messages, fragments, seconds in steps:
        sender = link.client if from_client else link.server
        events = link.server_events if from_client else link.client_events
        for message, compress in messages:
            size = len(message) // fragments
            for index in range(fragments - 1):
                piece = message[index * size : (index + 1) * size]
                sender.send(piece, fin=False, compress=compress)
            sender.send(message[(fragments - 1) * size :], compress=compress)
        link.run(seconds)
        link.run()
        assert events == [message for message, _ in messages]
        events.clear()
