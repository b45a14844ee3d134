"""The memory of a closed connection is freed when it is dropped, without the garbage collector."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest

from wsproto_core import ClientProtocol, ServerProtocol, State
from wsproto_core.broadcast import not_written
from wsproto_core.testing import Link, connect

from .helpers import TEXT, frame

Pair = Link[ClientProtocol, ServerProtocol]


@pytest.fixture(autouse=True)
def no_garbage_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def close(link: Pair) -> None:
    link.client.send("hello")
    link.run()
    link.client.close()


def close_with_a_message_in_the_queue(link: Pair) -> None:
    link.client.send("hello")
    link.client.close()
    link.run(1)


def lose(link: Pair) -> None:
    link.client.send("hello", fin=False)
    link.run()
    link.client.connection_lost(ConnectionResetError())
    link.server.connection_lost()


def receive_a_bad_frame(link: Pair) -> None:
    link.server.receive_data(b"\xff\xff")


def receive_bad_text(link: Pair) -> None:
    link.server.receive_data(frame(TEXT, b"\xff", masked=True))


def receive_too_much(link: Pair) -> None:
    link.client.send(bytes(2**21))


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize(
    "end",
    [close, close_with_a_message_in_the_queue, lose, receive_a_bad_frame, receive_bad_text, receive_too_much],
)
def test_connection_is_freed(end: Callable[[Pair], None], compression: str | None) -> None:
    link = connect(client_options={"compression": compression}, server_options={"compression": compression})
    end(link)
    link.run(100)
    assert link.client.state is link.server.state is State.CLOSED
    # What is called too late does nothing.
    for protocol in (link.client, link.server):
        protocol.data_sent()
        not_written(protocol, 2**20)
        protocol.data_sent()
        protocol.receive_data(b"a")
        protocol.next_message()
        protocol.connection_lost()
    ends = [weakref.ref(protocol) for protocol in (link.client, link.server)]
    # The ends refer to each other.
    del link.client_end.protocol, link.server_end.protocol, link, protocol
    assert [each() for each in ends] == [None, None]
