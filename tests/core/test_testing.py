"""The link that joins a client and a server in memory: what other tests take for granted."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.patching import replace_method
from wsproto_core import (
    Close,
    Event,
    Failure,
    InvalidState,
    InvalidStatusCode,
    Protocol,
    Request,
    Response,
    ServerProtocol,
    Side,
    State,
    TimerOverdue,
    make_response,
)
from wsproto_core.handshake.client import ClientProtocol
from wsproto_core.testing import Clock, End, Link, connect
from wsproto_core.timers import Timer

PLAIN: Any = {"compression": None}
"""Options without compression, so that the sizes of frames are those of messages."""

QUIET: Any = {"ping_interval": None, **PLAIN}
"""Options without a keepalive either."""


def read_sizes(end: End) -> list[int]:
    """The sizes of an end's reads, from now on."""
    sizes: list[int] = []
    receive_data = end.protocol.receive_data

    def receive(data: bytes) -> None:
        sizes.append(len(data))
        receive_data(data)

    replace_method(end.protocol, "receive_data", receive)
    return sizes


def causes(events: list[Event]) -> list[type[BaseException]]:
    return [type(event.error) for event in events if isinstance(event, Failure)]


# Time


def test_clock() -> None:
    clock = Clock(5)
    assert (clock(), clock.now) == (5, 5)
    clock.advance(0.5)
    assert (clock(), clock.now) == (5.5, 5.5)
    with pytest.raises(ValueError, match="does not go back, not even by 1 seconds"):
        clock.advance(-1)


def test_bytes_take_their_time() -> None:
    link = connect(latency=0.25)
    start = link.clock.now
    assert start == 0.5  # there and back
    arrived = []
    link.server_end._on_event = lambda protocol, event: arrived.append((link.clock.now, event))
    link.client.send("hello")
    link.run(0.2)
    assert (arrived, link.clock.now) == ([], start + 0.2)
    link.run()
    assert arrived == [(start + 0.25, "hello")]


def test_latency_is_what_a_ping_measures() -> None:
    link = connect(latency=0.25)
    link.client.ping(b"?")
    link.run()
    assert link.client.latency == 0.5


def test_without_seconds_deadlines_are_not_waited_for() -> None:
    link = connect()
    link.run()
    assert (link.clock.now, link.client_events) == (0, [])


def test_deadlines_are_met_while_something_is_under_way() -> None:
    link = connect(client_options=PLAIN, latency=4)
    link.run(24 - 2 - link.clock.now)
    times: list[float] = []
    on_time = link.server.handle_timeout

    def handle_timeout() -> None:
        times.append(link.clock.now)
        on_time()

    replace_method(link.server, "handle_timeout", handle_timeout)
    link.client.send("hello")
    link.run()
    assert times == [24]  # the keepalive's ping: the connection was opened at 4
    assert link.server_events[0] == "hello"


def test_with_seconds_deadlines_are_met() -> None:
    link = connect()
    link.cut()
    link.run(60)
    assert link.clock.now == 60
    assert causes(link.client_events) == causes(link.server_events) == [TimeoutError]


def test_an_end_that_nobody_serves_is_late() -> None:
    link = connect(server_options=QUIET)
    link.client_end.served = False
    link.server.send("hello")
    link.run(100)
    assert link.client_events == []
    link.client_end.served = True
    link.run()
    assert link.client_events[0] == "hello"
    assert link.client.state is State.OPEN


def test_lateness_is_reported() -> None:
    link = connect(client_options={"close_timeout": 10}, server_options=QUIET)
    link.server_end.reads = False
    link.client.close()
    link.client_end.served = False
    link.run(16)
    link.client_end.served = True
    link.run(0)
    assert link.client_events == [TimerOverdue(Timer.CLOSING, 6)]


def test_what_is_there_is_read_before_a_deadline_is_judged() -> None:
    """One byte a read, all at the moment of the deadline: the peer's close frame is among them."""
    link = connect(
        chunk=1, latency=2, client_options={"close_timeout": 4, "ping_interval": None}, server_options=QUIET
    )
    link.client.close(reason="good bye")
    link.run(4)
    assert link.client_events == [Close(1000)]


def test_no_end() -> None:
    def send_back(protocol: Protocol, event: Event) -> None:
        if isinstance(event, str):
            protocol.send(event)

    link = connect(on_event=send_back)
    link.client.send("catch")
    with pytest.raises(RuntimeError, match="not at rest after 100 steps, at 0"):
        link.run(max_steps=100)


# Opening


def test_connect() -> None:
    link = connect("ws://example.com/path", client_options={"subprotocols": ["chat"]}, clock=Clock(7))
    assert (link.client.state, link.server.state) == (State.OPEN, State.OPEN)
    assert link.server.request is not None
    assert link.server.request.path == "/path"
    assert link.clock.now == 7
    assert link.client_events == link.server_events == []


def test_connect_that_fails() -> None:
    with pytest.raises(InvalidStatusCode) as raised:
        connect(server_options={"origins": ["https://example.com"]})
    assert raised.value.status_code == 403


def test_connect_that_does_not_last() -> None:
    def close(protocol: Protocol, event: Event) -> None:
        if isinstance(event, Request):
            protocol.close(1001)

    with pytest.raises(InvalidState, match="closed already"):
        connect(on_event=close)


def test_randomness_is_an_input() -> None:
    keys = [
        connect(random=Random(seed).randbytes).client.request.headers["Sec-WebSocket-Key"]
        for seed in (1, 1, 2)
    ]
    assert keys[0] == keys[1] != keys[2]


def make_link(*, accept: bool = True) -> Link[ClientProtocol, ServerProtocol]:
    clock = Clock()
    client, server = ClientProtocol("ws://localhost/", clock=clock), ServerProtocol(clock=clock)
    return Link(client, server, clock, accept=accept)


def test_requests_are_accepted() -> None:
    link = make_link()
    link.run()
    assert link.server_events == [link.server.request]
    assert link.client_events == [link.client.response]
    assert link.client.state is State.OPEN


def test_requests_wait_for_an_answer() -> None:
    link = make_link(accept=False)
    link.run()
    assert link.server_events == [link.server.request]
    link.server.reject(make_response(404))
    link.run()
    assert causes(link.client_events) == [InvalidStatusCode]
    assert isinstance(link.client.response, Response)
    assert link.client_end.closed
    assert link.server_end.closed


def test_streams_that_were_opened_in_another_way() -> None:
    clock = Clock()
    client, server = Protocol(Side.CLIENT, clock=clock), Protocol(Side.SERVER, clock=clock)
    link = Link(client, server, clock)
    client.send("hello")
    link.run()
    assert link.server_events == ["hello"]


# Messages


def test_events_are_collected_and_handled() -> None:
    def echo(protocol: Protocol, event: Event) -> None:
        if protocol.side is Side.SERVER and isinstance(event, str):
            protocol.send(event.upper())

    link = connect(on_event=echo)
    link.client.send("one")
    link.client.send("two")
    link.run()
    assert link.server_events == ["one", "two"]
    assert link.client_events == ["ONE", "TWO"]


def test_closing() -> None:
    link = connect()
    link.client.close(reason="good bye")
    link.run()
    assert link.server_events == [Close(1000, "good bye")]
    assert link.client_events == [Close(1000)]
    assert link.client.state is link.server.state is State.CLOSED
    assert link.client_end.closed
    assert link.server_end.closed


# Reads and writes


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        (None, [1006]),
        (500, [500, 500, 6]),
        (lambda there: there // 2, [503, 251, 126, 63, 31, 16, 8, 4, 2, 1, 1]),
        (lambda there: there * 2, [1006]),
    ],
)
def test_chunks(chunk: int | None, expected: list[int]) -> None:
    link = connect(client_options=PLAIN, chunk=chunk)
    sizes = read_sizes(link.server_end)
    link.client.send(b"x" * 500)
    link.client.send(b"x" * 490)  # 8 bytes of header each
    link.run()
    assert sizes == expected
    assert link.server_events == [b"x" * 500, b"x" * 490]


def test_a_read_has_a_size() -> None:
    link = connect(client_options=PLAIN, capacity=2**20)
    sizes = read_sizes(link.server_end)
    link.client.send(b"x" * 100_000)
    link.run()
    assert sizes == [65536, 100_014 - 65536]


def test_an_end_that_does_not_read_blocks_its_peer() -> None:
    link = connect(capacity=1000, client_options={"write_limit": 2000, **PLAIN})
    link.server_end.reads = False
    link.client.send(b"x" * 3000)
    link.client.send("the end")
    link.run()
    assert not link.client.writable
    assert link.server_events == []
    assert link.client.unwritten == 3008 + 13 - 1000
    # Nothing is handed out before what was handed out earlier has been written.
    link.client.send("afterthought")
    link.run()
    assert link.client.queued == 18
    link.server_end.reads = True
    link.run()
    assert link.client.writable
    assert link.server_events == [b"x" * 3000, "the end", "afterthought"]


def test_writes_without_progress() -> None:
    link = connect(client_options=PLAIN, capacity=1000)
    link.server_end.reads = False
    link.server_end.served = False
    link.client.send(b"x" * 3000)
    link.run(20)
    assert causes(link.client_events) == [TimeoutError]
    assert link.client_end.closed


def test_an_application_that_takes_no_messages() -> None:
    link = connect(client_options=QUIET, server_options={"max_queue": 10, "ping_interval": None}, chunk=50)
    link.server_end.takes_messages = False
    messages = [f"message {number}" for number in range(100)]
    for message in messages:
        link.client.send(message)
    link.client.ping(b"behind")
    link.run()
    assert not link.server.wants_read
    assert link.server_events == []
    link.server_end.takes_messages = True
    link.run()
    assert [event for event in link.server_events if isinstance(event, str)] == messages


# Faults


def test_cut_in_one_direction() -> None:
    link = connect(latency=1)
    link.client.send("lost")
    link.run(0.5)
    link.client_end.cut()
    link.client.send("lost, too")
    link.server.send("hello")
    link.run()
    assert link.server_events == []
    assert link.client_events == ["hello"]


def test_cut_spares_what_has_arrived() -> None:
    link = connect()
    link.server_end.served = False
    link.client.send("hello")
    link.run()
    link.client_end.cut()
    link.server_end.served = True
    link.run()
    assert link.server_events == ["hello"]


@pytest.mark.parametrize(("latency", "closed"), [(0, True), (1, False)])
def test_cut_of_the_end_of_file(latency: float, closed: bool) -> None:
    """A connection whose end is lost looks open to the other side."""
    link = connect(latency=latency)
    link.server_end.served = False
    link.client_end.close()
    link.cut()
    link.server_end.served = True
    link.run()
    assert (link.server.state is State.CLOSED) is closed


def test_bytes_that_are_cut_off_fill_the_buffers() -> None:
    link = connect(client_options=PLAIN, capacity=1000)
    link.cut()
    link.client.send(b"x" * 3000)
    link.run(20)
    assert causes(link.client_events) == [TimeoutError]


def test_reset() -> None:
    link = connect(latency=1)
    link.client.send("lost")
    link.run(1 - 2**-10)
    link.reset()
    link.run(1)
    assert causes(link.client_events) == causes(link.server_events) == [ConnectionResetError]
    assert link.server_events[0].remote is False  # type: ignore[union-attr]
    assert link.client.close_code == link.server.close_code == 1006
    assert link.client.state is link.server.state is State.CLOSED


def test_an_end_that_neither_reads_nor_writes_finds_no_reset() -> None:
    link = connect(client_options=QUIET)
    link.client_end.reads = False
    link.client_end.reset()
    link.run(10)
    assert link.client.state is State.OPEN
    link.client.send("hello")
    link.run()
    assert causes(link.client_events) == [ConnectionResetError]


def test_end_of_file() -> None:
    link = connect(latency=1)
    link.client_end.send_eof()
    link.client_end.send_eof()
    link.run(0.5)
    assert link.server.state is State.OPEN
    link.run(0.5)
    assert causes(link.server_events) == [EOFError]
    assert link.server_end.closed


def test_writing_after_the_end_of_file() -> None:
    link = connect()
    link.server_end.served = False
    link.client_end.send_eof()
    link.client.send("hello")
    link.run()
    assert causes(link.client_events) == [BrokenPipeError]


def test_close_of_a_stream_without_unread_bytes() -> None:
    link = connect(latency=1)
    link.client.send("hello")
    link.run(0.5)
    link.client_end.close()
    link.client_end.close()
    link.run(0.5)
    assert link.server_events == ["hello"]
    link.run(0.5)
    assert link.server_events[0] == "hello"
    assert causes(link.server_events) == [EOFError]
    assert causes(link.client_events) == [EOFError]


@pytest.mark.parametrize(
    ("closed_at", "read_at", "expected"),
    [
        # What was unread arrived at 1.
        (1.25, 2, ["hello"]),
        (1.25, 2.25, [ConnectionResetError]),
        # What will not be read arrives at 1, and the reset that answers it at 2.
        (0.5, 1.25, ["hello"]),
        (0.5, 1.75, ["hello", EOFError]),
        (0.5, 2, [ConnectionResetError]),
    ],
)
def test_close_of_a_stream_with_unread_bytes(
    closed_at: float, read_at: float, expected: list[str | type[BaseException]]
) -> None:
    link = connect(latency=1)
    link.server_end.reads = link.client_end.reads = False
    link.client.send("hello")
    link.server.send("never read")
    link.run(closed_at)
    link.client_end.close()
    link.run(read_at - closed_at)
    link.server_end.reads = True
    link.run(0)
    assert [type(event.error) if isinstance(event, Failure) else event for event in link.server_events] == (
        expected
    )


def test_bytes_for_a_closed_end_are_answered_by_a_reset() -> None:
    link = connect(latency=1, server_options=QUIET)
    link.client_end.close()
    link.server.send("hello")
    link.server_end.reads = False
    link.run(3)
    assert link.server_events == []
    link.server.send("anybody there?")
    link.run()
    assert causes(link.server_events) == [ConnectionResetError]
