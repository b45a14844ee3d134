"""What only blocking connections have: timeouts, and several threads at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from adapters.threading import ClientConnection, connect, serve
from tests.core.helpers import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, close_payload
from tests.core.helpers import frame as build_frame
from wsproto_core import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    Data,
    State,
)

from .threads import DEADLINE, HOST, Thread, raw_server, until, waits

LARGE = b"x" * 10**6


def start_receiving(client: Any) -> Thread:
    """Let a thread receive, and wait until it does."""
    thread = Thread(client.recv)
    until(waits(client))
    return thread


# Timeouts


def test_recv_times_out_and_loses_nothing() -> None:
    with raw_server() as (peer, client):
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.2)
        peer.send(Frame(TEXT, b"a"), Frame(TEXT, b"b"))
        assert client.recv(timeout=DEADLINE) == "a"
        assert client.recv() == "b"
        assert client.open


def test_recv_times_out_within_a_message() -> None:
    with raw_server() as (peer, client):
        peer.send(Frame(TEXT, b"a", fin=False))
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.2)
        peer.send(Frame(CONTINUATION, b"b"))
        assert client.recv() == "ab"


def test_recv_without_any_time_takes_what_is_there() -> None:
    with raw_server() as (peer, client):
        with pytest.raises(TimeoutError):
            client.recv(timeout=0)
        peer.send(Frame(TEXT, b"a"))
        assert client.recv(timeout=0) == "a"


def test_streaming_times_out_and_goes_on() -> None:
    with raw_server() as (peer, client):
        peer.send(Frame(TEXT, b"a", fin=False))
        pieces = client.recv_streaming(timeout=0.2)
        assert next(pieces) == "a"
        with pytest.raises(TimeoutError):
            next(pieces)
        with pytest.raises(ConcurrencyError):
            client.recv(timeout=0)
        peer.send(Frame(CONTINUATION, b"b"))
        assert list(client.recv_streaming(timeout=DEADLINE)) == ["b"]


def test_send_that_times_out_is_sent_whole() -> None:
    with raw_server() as (peer, client):
        with pytest.raises(TimeoutError):
            client.send(LARGE, timeout=0.2)
        with pytest.raises(TimeoutError, match="not sent"):
            client.send("never sent", timeout=0.2)
        assert client.open
        # Nobody calls the client now: what it has accepted is written all the same.
        assert peer.read_frame() == Frame(BINARY, LARGE)
        client.send("a", timeout=DEADLINE)
        assert peer.read_frame() == Frame(TEXT, b"a")


def test_time_out_between_fragments_fails_the_connection() -> None:
    with raw_server() as (peer, client):
        with pytest.raises(TimeoutError):
            client.send([LARGE, b"b"], timeout=0.2)
        assert client.state is State.CLOSING
        assert peer.read_frame() == Frame(BINARY, LARGE, fin=False)
        assert peer.read_frame() == Frame(CLOSE, close_payload(1011, "error in a fragmented message"))


def test_ping_times_out_and_can_be_waited_for_again() -> None:
    with raw_server() as (peer, client):
        ping = client.ping("a")
        with pytest.raises(TimeoutError):
            ping.wait(0.2)
        assert peer.read_frame() == Frame(PING, b"a")
        peer.send(Frame(PONG, b"a"))
        assert ping.wait(DEADLINE) >= 0.2
        assert ping.wait() == ping.wait()


def test_wait_closed_times_out() -> None:
    with raw_server() as (_, client):
        with pytest.raises(TimeoutError):
            client.wait_closed(0.2)
        assert client.open


def test_time_goes_on_while_others_keep_the_connection_busy() -> None:
    """Who waits does not begin anew whenever something happens."""
    with raw_server() as (peer, client):
        stop = threading.Event()

        def send_pongs() -> None:
            while not stop.wait(0.05):
                peer.send(Frame(PONG))

        sending = Thread(send_pongs)
        with pytest.raises(TimeoutError):
            client.recv(timeout=0.5)
        stop.set()
        sending.result()


# Several threads


def test_two_threads_cannot_receive() -> None:
    with raw_server() as (peer, client):
        receiving = start_receiving(client)
        with pytest.raises(ConcurrencyError, match=r"another thread is receiving .* by a queue.Queue"):
            client.recv()
        with pytest.raises(ConcurrencyError, match="let one thread receive"):
            next(client.recv_streaming())
        peer.send(Frame(TEXT, b"a"))
        assert receiving.result() == "a"


def test_many_threads_send_while_one_receives() -> None:
    def echo(websocket: Any) -> None:
        for message in websocket:
            websocket.send(message)

    def send(client: Any, number: int) -> None:
        for count in range(50):
            message = f"{number} {count} ".ljust(count * 97, "x")
            client.send(message if count % 2 else iter([message[:3], message[3:]]))

    with (
        serve(echo, HOST, 0, compression=None) as server,
        connect(f"ws://{HOST}:{server.sockets[0].getsockname()[1]}/", compression=None) as client,
    ):
        threads = [Thread(send, client, number) for number in range(8)]
        received = [str(client.recv(timeout=DEADLINE)) for _ in range(8 * 50)]
        for thread in threads:
            thread.result()
        for number in range(8):
            counts = [int(text.split()[1]) for text in received if text.startswith(f"{number} ")]
            assert counts == list(range(50))


@pytest.mark.parametrize("wait", ["recv", "send", "ping", "close", "streaming"])
def test_abort_wakes_everyone(wait: str) -> None:
    def call() -> None:
        match wait:
            case "recv":
                client.recv()
            case "send":
                client.send(LARGE)
            case "ping":
                client.ping().wait()
            case "close":
                client.close()
            case "streaming":
                next(client.recv_streaming())

    with raw_server(close_timeout=None) as (_, client):
        thread = Thread(call)
        waiting_too = Thread(client.wait_closed)
        until(waits(client, 2))
        client.abort()
        if wait == "close":
            thread.result()
        else:
            with pytest.raises(ConnectionClosedError):
                thread.result()
        waiting_too.result()
        until(lambda: client.transport.fileno() == -1)


def test_close_in_another_thread_ends_recv() -> None:
    with raw_server() as (peer, client):
        receiving = start_receiving(client)
        closing = Thread(client.close, 1001)
        assert peer.read_frame() == Frame(CLOSE, close_payload(1001))
        peer.send(Frame(TEXT, b"a"), Frame(CLOSE, close_payload(1001)))
        assert receiving.result() == "a"
        with pytest.raises(ConnectionClosedOK):
            client.recv()
        peer.socket.close()
        closing.result()


def test_close_that_is_never_answered_ends_recv() -> None:
    with raw_server(close_timeout=0.2) as (_, client):
        receiving = start_receiving(client)
        client.close()
        with pytest.raises(ConnectionClosedError):
            receiving.result()


def test_close_ends_what_waits_to_be_sent() -> None:
    with raw_server(close_timeout=0.2) as (_, client):
        first = Thread(client.send, LARGE)
        until(waits(client))
        second = Thread(client.send, "b")
        until(waits(client, 2))
        client.close()
        for thread in (first, second):
            with pytest.raises(ConnectionClosed):
                thread.result()


def test_another_thread_reads_on_when_the_reader_leaves() -> None:
    with raw_server() as (peer, client):
        ping = client.ping(b"a")
        receiving = Thread(client.recv, timeout=0.3)
        until(waits(client))
        waiting = Thread(ping.wait)
        until(waits(client, 2))
        with pytest.raises(TimeoutError):
            receiving.result()
        until(waits(client))
        peer.send(Frame(PONG, b"a"))
        assert waiting.result() >= 0.3


def test_who_receives_reads_in_the_place_of_who_does_not() -> None:
    with raw_server() as (peer, client):
        waiting = Thread(client.wait_closed)
        until(waits(client))
        receiving = Thread(client.recv)
        until(waits(client, 2))
        assert not client._watched
        peer.send(Frame(TEXT, b"a"))
        assert receiving.result() == "a"
        # The other one goes on.
        peer.send(Frame(CLOSE, close_payload(1000)))
        assert peer.read_frame() == Frame(CLOSE, close_payload(1000))
        peer.socket.close()
        waiting.result()


def test_receiver_that_has_slept_on_its_lock_polls_the_next_time() -> None:
    with raw_server() as (peer, client):

        def set_wants_read(value: bool) -> None:
            client.protocol.wants_read = value
            if value:
                client.protocol.receive_data(build_frame(TEXT, b"a"))
                client._react()

        client._locked(set_wants_read, False)
        receiving = Thread(lambda: [client.recv(), client.recv(), client.recv()])
        until(waits(client))
        client._locked(set_wants_read, True)
        for payload in (b"b", b"c"):
            until(waits(client))
            peer.send(Frame(TEXT, payload))
        assert receiving.result() == ["a", "b", "c"]


def test_threads_that_receive_in_turn() -> None:
    """The last receiver has no advantage; what a thread waits for beside it is read for both."""
    with raw_server() as (peer, client):
        for number in range(20):
            receiving = start_receiving(client) if number % 2 else Thread(client.recv)
            peer.send(Frame(TEXT, b"a"))
            assert receiving.result() == "a"
            peer.send(Frame(TEXT, b"b"))
            assert client.recv() == "b"
            ping = client.ping(b"%d" % number)
            assert peer.read_frame() == Frame(PING, b"%d" % number)
            receiving = start_receiving(client)
            peer.send(Frame(PONG, b"%d" % number), Frame(TEXT, b"c"))
            ping.wait(DEADLINE)
            assert receiving.result() == "c"


def test_who_waits_reads_on_when_messages_have_been_taken() -> None:
    with raw_server(max_queue=2) as (peer, client):
        waiting = Thread(client.wait_closed)
        peer.send(*[Frame(TEXT, b"a")] * 3)
        until(lambda: client.protocol.undelivered == 3)
        peer.send(Frame(CLOSE, close_payload(1000)))
        assert [client.recv() for _ in range(3)] == ["a"] * 3
        assert peer.read_frame() == Frame(CLOSE, close_payload(1000))
        peer.socket.close()
        waiting.result()


def test_other_messages_wait_for_the_end_of_a_fragmented_one() -> None:
    go_on = threading.Event()

    def fragments() -> Iterator[str]:
        yield "a"
        assert go_on.wait(DEADLINE)
        yield "b"

    with raw_server() as (peer, client):
        first = Thread(client.send, fragments())
        assert peer.read_frame() == Frame(TEXT, b"a", fin=False)
        second = Thread(client.send, "c")
        until(waits(client))
        with pytest.raises(TimeoutError, match="another message goes on"):
            client.send("d", timeout=0.2)
        go_on.set()
        frames = [peer.read_frame() for _ in range(3)]
        assert frames == [
            Frame(CONTINUATION, b"b", fin=False),
            Frame(CONTINUATION, b""),
            Frame(TEXT, b"c"),
        ]
        first.result()
        second.result()


def test_both_ends_send_large_messages_at_the_same_time() -> None:
    """Who waits for room reads meanwhile, or both would wait for each other."""

    def handler(websocket: Any) -> None:
        for _ in range(5):
            websocket.send(LARGE)
        for _ in range(5):
            assert websocket.recv() == LARGE

    options: dict[str, Any] = {"compression": None, "max_queue": None, "read_limit": None}
    with (
        serve(handler, HOST, 0, **options) as server,
        connect(f"ws://{HOST}:{server.sockets[0].getsockname()[1]}/", **options) as client,
    ):
        for _ in range(5):
            client.send(LARGE, timeout=DEADLINE)
        for _ in range(5):
            assert client.recv(timeout=DEADLINE) == LARGE


# The main thread


def test_interrupt_of_a_block_does_not_wait_for_the_peer() -> None:
    with raw_server(close_timeout=None) as (peer, client):
        with pytest.raises(KeyboardInterrupt), client:
            raise KeyboardInterrupt
        assert client.closed
        assert peer.read_frame() == Frame(CLOSE, close_payload(1001))


def test_interrupt_of_recv_loses_nothing() -> None:
    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    with raw_server() as (peer, client):
        previous = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                client.recv()
        finally:
            signal.signal(signal.SIGALRM, previous)
        peer.send(Frame(TEXT, b"a"))
        assert client.recv() == "a"


def test_signal_handler_closes_a_connection_that_is_received_from() -> None:
    with raw_server() as (peer, client):
        previous = signal.signal(signal.SIGALRM, lambda *args: client.close())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            answering = Thread(lambda: (peer.read_frame(), peer.socket.close()))
            with pytest.raises(ConnectionClosed):
                client.recv()
            answering.result()
        finally:
            signal.signal(signal.SIGALRM, previous)


# Mistakes


def test_async_iterables_cannot_be_sent() -> None:
    async def fragments() -> AsyncIterator[str]:
        yield "a"

    with raw_server() as (_, client), pytest.raises(TypeError, match="asynchronous iterable"):
        client.send(fragments())


def test_what_connect_returns_is_no_connection() -> None:
    connecting = connect("ws://localhost/")
    with pytest.raises(AttributeError, match="'recv'; it is no connection yet: use 'with connect"):
        connecting.recv  # noqa: B018
    with pytest.raises(AttributeError, match=r"'recieve'$"):
        connecting.recieve  # noqa: B018


def test_unknown_options() -> None:
    with pytest.raises(TypeError, match="did you mean 'source_address'"):
        connect("ws://localhost/", source_adress=("127.0.0.1", 0))  # type: ignore[call-arg]


def test_message_of_an_interrupted_call_has_the_type_that_the_next_call_asks_for() -> None:
    """The interruption came after the message was taken and before it was returned."""
    with raw_server() as (_, client):

        def interrupted(message: Data) -> ClientConnection:
            client._receiver, client._taken = None, message
            return client

        assert interrupted("a").recv(decode=False) == b"a"
        assert interrupted(b"b").recv(decode=True) == "b"
        with pytest.raises(UnicodeDecodeError):
            interrupted(b"\xff").recv(decode=True)
        assert list(interrupted("c").recv_streaming(decode=False)) == [b"c"]
        assert list(interrupted(b"d").recv_streaming(decode=True)) == ["d"]
        assert interrupted("e").recv() == "e"
