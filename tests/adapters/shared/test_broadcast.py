"""Broadcasts that wait for slow connections: in which order, how much is done for it, and who is left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any

from adapters.shared.asynchronous import AsyncConnection
from adapters.shared.broadcast import broadcast
from tests.core.helpers import CLOSE, Frame, close_payload, from_peer, opened_server, parse_frames
from tests.counting import counting

LIMIT = 2**10


class Event:
    """An event on which one coroutine waits, which the test runs by hand."""

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def wait(self) -> Any:
        return self

    def __await__(self) -> Generator[None, None, None]:
        while not self._set:
            yield


class Connection(AsyncConnection):
    """A connection whose peer takes nothing until it is told to."""

    def __init__(self) -> None:
        super().__init__(opened_server(write_limit=(LIMIT, 0)), None)
        self.frames: list[Frame] = []
        self._written: list[bytes] = []
        self.protocol.send(bytes(2 * LIMIT))
        self._react()
        assert not self.protocol.writable

    def take(self) -> None:
        """The peer takes what has been written."""
        self.frames += parse_frames(b"".join(self._written), masked=False)
        self._written = []
        self.protocol.data_sent()
        self._react()

    @property
    def payloads(self) -> list[bytes]:
        """What the peer has got, but for what held it up."""
        return [frame.payload for frame in self.frames if len(frame.payload) < LIMIT]

    def _make_event(self) -> Event:
        return Event()

    def _make_pong_waiter(self) -> Any:
        raise NotImplementedError

    async def _let_others_run(self) -> None:
        raise NotImplementedError

    async def _wait_for_input(self, pieces: bool) -> None:
        raise NotImplementedError

    async def _wait_until(self, ready: Callable[[], bool]) -> None:
        while not ready():
            await self._park(ready)

    async def _sent(self) -> None:
        self._react()

    def _flush(self) -> None:
        if not self._written:
            self._written = list(self.protocol.data_to_send())

    def _write_at_once(self, buffers: list[bytes]) -> None:
        self.frames += parse_frames(b"".join(buffers), masked=False)

    def _react(self) -> None:
        self._flush()
        self._wake_waiters()

    def _taken(self) -> None:
        raise NotImplementedError

    def _abandon(self) -> None:
        raise NotImplementedError


class Task:
    """Something that is awaited, by hand: it goes on when it is told to."""

    def __init__(self, awaitable: Awaitable[Any]) -> None:
        self._steps = awaitable.__await__()
        self.done = False
        self.go_on()

    def go_on(self) -> None:
        try:
            next(self._steps)
        except StopIteration:
            self.done = True

    def cancel(self) -> None:
        self._steps.close()  # type: ignore[attr-defined]


def make(count: int) -> list[Connection]:
    return [Connection() for _ in range(count)]


def test_each_gets_it_when_it_has_room() -> None:
    connections = make(4)
    sending = broadcast(connections, "hello", "wait")
    task = Task(sending)
    assert sending.waiting == connections
    for connection in (connections[2], connections[0], connections[3], connections[1]):
        connection.take()
        assert connection in sending.waiting
        task.go_on()
        assert connection not in sending.waiting
        assert connection.payloads == [b"hello"]
    assert task.done


def test_without_slow_connections_nobody_is_waited_for() -> None:
    (connection,) = make(1)
    connection.take()
    assert Task(broadcast([connection], "hello", "wait")).done
    connection.take()
    assert connection.payloads == [b"hello"]


def test_two_broadcasts_and_a_sender_keep_their_order() -> None:
    (connection,) = make(1)
    first = Task(broadcast([connection], "first", "wait"))
    second = Task(connection.send("second"))
    third = Task(broadcast([connection, connection], "third", "wait"))
    connection.take()
    for task in (third, second, first, third, second, third):
        task.go_on()
        connection.take()
    assert first.done
    assert second.done
    assert third.done
    assert connection.payloads == [b"first", b"second", b"third", b"third"]


def test_who_is_cancelled_lets_others_pass() -> None:
    connections = make(3)
    sending = broadcast(connections, "first", "wait")
    first, second = Task(sending), Task(connections[0].send("second"))
    connections[1].take()
    first.go_on()
    first.cancel()
    assert sorted(map(id, sending.waiting)) == sorted(map(id, connections[::2]))
    assert not any(connection._waiters for connection in connections[1:])
    second.go_on()
    connections[0].take()
    second.go_on()
    assert second.done
    # It can be waited for again.
    again = Task(sending)
    connections[0].take()
    connections[2].take()
    again.go_on()
    assert again.done
    connections[0].take()
    assert [connection.payloads for connection in connections] == [
        [b"second", b"first"],
        [b"first"],
        [b"first"],
    ]


def test_connections_that_end_are_not_waited_for() -> None:
    connections = make(3)
    task = Task(broadcast(connections, "hello", "wait"))
    # The first is ended by the peer, of the second TCP is lost, the third has somebody else's turn.
    connections[0].protocol.receive_data(
        from_peer(connections[0].protocol, Frame(CLOSE, close_payload(1000)))
    )
    connections[1].protocol.connection_lost()
    for connection in connections:
        connection._react()
    task.go_on()
    assert not task.done
    connections[2].protocol.connection_lost()
    connections[2]._react()
    task.go_on()
    assert task.done
    assert not any(connection._waiters or connection._senders for connection in connections)


def test_within_a_message_of_the_embedders_own_it_waits() -> None:
    (connection,) = make(1)
    task = Task(broadcast([connection], "hello", "wait"))
    connection.protocol.send("frag", fin=False)
    connection.take()
    connection.take()
    assert connection.protocol.writable
    task.go_on()
    assert not task.done
    connection.protocol.send("ment")
    connection._react()
    connection.take()
    task.go_on()
    assert task.done
    connection.take()
    assert connection.payloads == [b"frag", b"ment", b"hello"]


def test_work_grows_with_the_number_of_slow_connections() -> None:
    def work(count: int) -> int:
        connections = make(count)
        sending = broadcast(connections, "hello", "wait")
        with counting() as calls:
            task = Task(sending)
            for connection in connections:
                connection.take()
                task.go_on()
        assert task.done
        return calls.count

    assert work(400) < 2.1 * work(200)


def test_work_grows_with_the_number_of_broadcasts_that_wait_for_a_connection() -> None:
    def work(count: int) -> int:
        (connection,) = make(1)
        with counting() as calls:
            tasks = [Task(broadcast([connection], "hello", "wait")) for _ in range(count)]
            connection.take()
            for task in tasks:
                task.go_on()
                assert task.done
        connection.take()
        assert len(connection.payloads) == count
        return calls.count

    assert work(400) < 2.1 * work(200)
