"""Prepared messages among others, on connections that compress in different ways: all arrive, in order."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wsproto_core import Data
from wsproto_core.broadcast import Delivery, deliver
from wsproto_core.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from wsproto_core.prepared import PreparedMessage
from wsproto_core.testing import Clock, Link, connect

from .test_compression import IDLE, MESSAGE, SETTINGS

OPERATION = st.sampled_from(["own", "send", "deliver", "pause", "fragments"])


def link_of(client: dict[str, Any] | None, server: dict[str, Any]) -> Link[Any, Any]:
    offers = [] if client is None else [ClientPerMessageDeflateFactory(**client, idle_timeout=IDLE)]
    accepts = [ServerPerMessageDeflateFactory(**server, idle_timeout=IDLE)]
    options: Any = {"ping_interval": None, "compression": None, "max_size": None}
    return connect(
        client_options=options | {"extensions": offers},
        server_options=options | {"extensions": accepts},
        clock=Clock(),
    )


@settings(deadline=None)
@given(
    clients=st.lists(st.none() | SETTINGS, min_size=1, max_size=3),
    server=SETTINGS,
    messages=st.lists(st.tuples(MESSAGE, st.sampled_from([None, True, False])), min_size=1, max_size=3),
    operations=st.lists(st.tuples(OPERATION, st.integers(0, 2), st.integers(0, 2)), max_size=12),
)
def test_everything_arrives(
    clients: list[dict[str, Any] | None],
    server: dict[str, Any],
    messages: list[tuple[Data, bool | None]],
    operations: list[tuple[str, int, int]],
) -> None:
    links = [link_of(client, server) for client in clients]
    prepared = [PreparedMessage(message, compress=compress) for message, compress in messages]
    expected: list[list[Data]] = [[] for _ in links]
    for operation, which, index in operations:
        message, compress = messages[index % len(messages)]
        if operation == "deliver":
            # What is returned has to reach the client by hand: the link writes the rest.
            for link, events in zip(links, expected, strict=True):
                link.run()
                delivery = deliver(link.server, prepared[index % len(messages)])
                assert not isinstance(delivery, Delivery)
                link.client.receive_data(b"".join(delivery))
                link.run()
                events.append(message)
            continue
        link, events = links[which % len(links)], expected[which % len(links)]
        if operation == "pause":
            link.run(2 * IDLE)
            continue
        if operation == "own":
            link.server.send(message, compress=compress)
        elif operation == "send":
            link.server.send(prepared[index % len(messages)])
        else:
            link.server.send(message[: len(message) // 2], fin=False, compress=compress)
            link.server.send(message[len(message) // 2 :], compress=compress)
        events.append(message)
    for link, events in zip(links, expected, strict=True):
        link.run()
        assert link.client_events == events
        assert link.server.statistics.messages_sent == len(events)
