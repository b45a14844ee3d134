"""Signals that come anywhere in a call on a blocking connection.

Each test is run again and again, each time interrupted one place later, until all places have had
their turn: see :mod:`tests.interrupting`. The soak test ``tests.soak.interruptions`` does the same with
real signals, at random.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from adapters.threading import ClientConnection, broadcast, connect
from adapters.threading.connection import PongWaiter
from adapters.threading.wakeups import Receiver, Wakeup
from tests.core.helpers import CLOSE, PING, PONG, TEXT, Frame
from tests.interrupting import Interruption, interrupt
from wsproto_core import ConcurrencyError, ConnectionClosed

from .runtimes.base import client_context, server_context, shrink_buffers
from .threads import DEADLINE, RawServer, Thread, raw_server, sleep, until, waits

# Of so many places one is tried; the number changes from test to test, and with the environment all are.
STRIDE = int(os.environ.get("INTERRUPTION_STRIDE", "5"))

MESSAGES = [f"message {number}" for number in range(5)]


def long_message(number: int) -> str:
    """A message that is compressed and masked without the lock."""
    return f"message {number} ".ljust(100_000, "x")


class Peer:
    """A server by hand that keeps what it receives, answers a close frame, and ends."""

    def __init__(self, sock: socket.socket, tls: bool) -> None:
        sock.settimeout(DEADLINE)
        self._socket = sock
        self._tls = tls
        self.received: list[str] = []
        self.closed = False  # whether there was a close frame
        self._thread = Thread(self._run)

    def _run(self) -> None:
        if self._tls:
            self._socket = server_context().wrap_socket(self._socket, server_side=True)
        raw = RawServer(self._socket)
        message = b""
        with self._socket, contextlib.suppress(EOFError, OSError):
            raw.answer()
            raw.send(*[Frame(TEXT, text.encode()) for text in MESSAGES])
            while True:
                opcode, payload, fin, _ = raw.read_frame()
                if opcode == CLOSE:
                    self.closed = True
                    raw.send(Frame(CLOSE, payload))
                    return
                if opcode == PING:
                    raw.send(Frame(PONG, payload))
                elif opcode != PONG:
                    message += payload
                    if fin:
                        self.received.append(message.decode())
                        message = b""

    def end(self) -> None:
        self._thread.result()


@contextlib.contextmanager
def connected(tls: bool) -> Iterator[tuple[Peer, ClientConnection]]:
    theirs, ours = socket.socketpair()
    for sock in (theirs, ours):
        # A long message does not fit: who sends it waits.
        shrink_buffers(sock)
    peer = Peer(theirs, tls)
    options: dict[str, Any] = {"ssl": client_context()} if tls else {}
    options |= {"compression": None, "ping_interval": None, "close_timeout": DEADLINE}
    client = connect(f"{'wss' if tls else 'ws'}://localhost/", sock=ours, **options)()
    try:
        yield peer, client
    finally:
        client.abort()
        peer.end()
        theirs.close()


# What is interrupted. Each notes what it has received, and what it has sent or has begun to send.


def send(client: ClientConnection, sent: list[str], received: list[str]) -> None:
    for message in ("a", "b", "c"):
        sent.append(message)
        client.send(message)


def send_long(client: ClientConnection, sent: list[str], received: list[str]) -> None:
    for number in range(2):
        sent.append(long_message(number))
        client.send(sent[-1])


def send_fragments(client: ClientConnection, sent: list[str], received: list[str]) -> None:
    for message in ("abc", "def"):
        sent.append(message)
        client.send(iter(message))


def receive(client: ClientConnection, sent: list[str], received: list[str]) -> None:
    for _ in MESSAGES:
        received.append(str(client.recv()))


def receive_waiting(client: ClientConnection, sent: list[str], received: list[str]) -> None:
    receive(client, sent, received)
    with contextlib.suppress(TimeoutError):
        client.recv(timeout=0.02)


def echo(client: ClientConnection, sent: list[str], received: list[str]) -> None:
    for _ in MESSAGES:
        message = str(client.recv())
        received.append(message)
        sent.append(message)
        client.send(message)


def ping(client: ClientConnection, sent: list[str], received: list[str]) -> None:
    client.ping().wait()
    sent.append("a")
    client.send("a")
    client.ping().wait()


Scenario = Callable[[ClientConnection, list[str], list[str]], None]
SCENARIOS = [send, send_long, send_fragments, receive, receive_waiting, echo, ping]


class Call:
    """A scenario that was run in a thread of its own, and interrupted once.

    Attributes:
        sent: the messages that were sent, or begun to be.
        received: those that were received.
        interrupted: whether there were so many places.
        raised: whether the exception of the signal handler has come out.
    """

    def __init__(
        self,
        scenario: Scenario,
        client: ClientConnection,
        number: int,
        handler: Callable[[ClientConnection], None],
    ) -> None:
        self.sent: list[str] = []
        self.received: list[str] = []
        self.raised = False
        self._client = client
        self._interruption = Interruption(number, lambda: handler(client))
        Thread(self._run, scenario).result()
        self.interrupted = self._interruption.happened

    def _run(self, scenario: Scenario) -> None:
        try:
            with self._interruption:
                scenario(self._client, self.sent, self.received)
        except (KeyboardInterrupt, TimeoutError):
            self.raised = True
        except ConnectionClosed:
            pass

    def receive_rest(self) -> None:
        """Receive until there is an end of the connection or of the messages."""
        with contextlib.suppress(ConnectionClosed):
            while len(self.received) < len(MESSAGES):
                self.received.append(str(self._client.recv(timeout=DEADLINE)))


def calls(
    scenario: Scenario, tls: bool, first: int, handler: Callable[[ClientConnection], None]
) -> Iterator[tuple[Peer, ClientConnection, Call]]:
    """Interrupt a scenario at one place after the other, on a connection for each."""
    number = first % STRIDE
    interrupted = True
    while interrupted:
        with connected(tls) as (peer, client):
            call = Call(scenario, client, number, handler)
            check_released(client)
            interrupted = call.interrupted
            yield peer, client, call
        number += STRIDE


def check_released(client: ClientConnection) -> None:
    """See that an interrupted call has left nothing behind."""

    def check() -> None:
        assert client._lock.acquire(timeout=DEADLINE)
        client._lock.release()

    Thread(check).result()
    until(lambda: not client._waiters and (client._receiver is None or not client._receiver.asleep))
    until(lambda: not client._turns)
    assert client.closed or not client._senders
    until(lambda: not client._deferred)
    assert not client._contenders


def check_subsequence(part: list[str], whole: list[str]) -> None:
    """See that nothing is doubled, cut or out of order."""
    positions = [whole.index(message) for message in part]
    assert positions == sorted(set(positions))


parametrize = pytest.mark.parametrize(
    ("scenario", "tls"), [(scenario, tls) for scenario in SCENARIOS for tls in (False, True)]
)


@parametrize
def test_exception_anywhere(scenario: Scenario, tls: bool) -> None:
    """It leaves no trace, or the connection is lost; no other connection is affected."""
    with raw_server() as (other_peer, _):
        survived = 0
        for peer, client, call in calls(scenario, tls, SCENARIOS.index(scenario), interrupt):
            assert call.raised == call.interrupted
            survived += client.open
            end = ["end"] if client.open else []
            call.receive_rest()
            if client.open:
                client.send("end")
                client.close()
                assert call.received == MESSAGES
            peer.end()
            # Within fragments, nothing else could follow: a close frame says so, if it can.
            assert peer.closed == bool(end) or scenario is send_fragments
            check_subsequence(call.received, MESSAGES)
            check_subsequence(peer.received, call.sent + end)
            if end:
                assert peer.received[-1] == "end"
                assert len(peer.received) >= len(call.sent)  # the last one may not have been sent
        assert survived > 1
        other_peer.send(Frame(PING, b"a"))
        assert other_peer.read_frame() == Frame(PONG, b"a")


@pytest.mark.parametrize("tls", [False, True])
def test_exception_that_resembles_an_error_of_the_stream(tls: bool) -> None:
    """It comes out, as any other."""

    def handle(client: ClientConnection) -> None:
        raise TimeoutError

    for peer, client, call in calls(echo, tls, 0, handle):
        assert call.raised == call.interrupted
        call.receive_rest()
        check_subsequence(call.received, MESSAGES)
        client.abort()
        peer.end()
        check_subsequence(peer.received, call.sent)


@parametrize
def test_close_anywhere(scenario: Scenario, tls: bool) -> None:
    """A signal handler closes the connection: what is under way is sent before, or refused."""

    def close(client: ClientConnection) -> None:
        client.close(4000, "by a signal")

    for peer, client, call in calls(scenario, tls, SCENARIOS.index(scenario) + 3, close):
        if call.interrupted:
            Thread(client.wait_closed).result()
            peer.end()
            assert peer.closed
            assert client.close_code == 4000
            call.receive_rest()
            assert call.received == MESSAGES[: len(call.received)]
            check_subsequence(peer.received, call.sent)
            assert len(peer.received) >= len(call.sent) - 1


@parametrize
def test_send_anywhere(scenario: Scenario, tls: bool) -> None:
    """A signal handler sends messages and a ping: these and all others arrive."""
    pings: list[PongWaiter] = []

    def send(client: ClientConnection) -> None:
        client.send("by a signal")
        pings.append(client.ping())
        client.send(["in ", "fragments"])

    for peer, client, call in calls(scenario, tls, SCENARIOS.index(scenario) + 5, send):
        while pings:
            Thread(pings.pop().wait).result()
        call.receive_rest()
        assert call.received == MESSAGES
        Thread(client.close).result()
        peer.end()
        by_signal = ["by a signal", "in fragments"] if call.interrupted else []
        assert sorted(peer.received) == sorted(call.sent + by_signal)
        assert [message for message in peer.received if message not in by_signal] == call.sent


def test_others_have_their_turn_after_an_exception_anywhere() -> None:
    """A thread that waits for the end of another one's message is woken, whatever becomes of that."""
    others: list[Thread] = []

    def send(client: ClientConnection, sent: list[str], received: list[str]) -> None:
        def fragments() -> Iterator[str]:
            yield "a"
            others.append(Thread(client.send, "other"))
            until(waits(client))
            yield "b"

        client.send(fragments())

    for peer, client, _ in calls(send, False, 0, interrupt):
        for other in others:
            with contextlib.suppress(ConnectionClosed):
                other.result()
        if client.open:
            client.close()
            peer.end()
            assert peer.received == (["ab", "other"] if others else [])
        others.clear()


def test_broadcast_that_waits_in_a_signal_handler() -> None:
    """It cannot wait for the call that it has interrupted, and leaves the queues of other connections."""
    with raw_server() as (_, client), raw_server() as (peer, other):
        # As if they were slow.
        turns = [each._senders.join(lambda: None) for each in (other, client)]
        waiting = broadcast([other, client], "a", "wait")
        assert waiting.waiting == [other, client]
        with pytest.raises(ConcurrencyError, match="signal handler"):
            client._locked(waiting.wait)
        assert waiting.waiting == [other, client]
        for turn in turns:
            turn.leave()
        assert not other._senders
        assert not client._senders
        other.send("b")
        assert peer.read_frame() == Frame(TEXT, b"b")


class Full:
    """A stream that takes nothing."""

    def send(self, data: object) -> int:
        raise BlockingIOError


def test_exception_within_tls_comes_out() -> None:
    """It is not hidden by what the stream below says of itself."""
    with connected(tls=True) as (_, client):
        number = 0
        interrupted = True
        while interrupted:
            assert client._tls is not None
            client._tls.sock, sock = Full(), client._tls.sock  # type: ignore[assignment]
            with (
                pytest.raises((KeyboardInterrupt, BlockingIOError)) as caught,
                Interruption(number, interrupt) as interruption,
            ):
                client._tls.send(b"x")
            interrupted = interruption.happened
            assert interrupted == (caught.type is KeyboardInterrupt)
            client._tls.sock, client._tls.unsent, client._tls._accepted = sock, b"", 0
            client._tls._records = b""
            number += 1
        assert number > 5


@pytest.mark.parametrize("polls", [False, True])
def test_signal_that_comes_just_before_the_main_thread_sleeps(polls: bool) -> None:
    """It does not wake the thread, whose handlers run when it looks: that is now and then."""
    assert threading.current_thread() is threading.main_thread()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        receiver = Receiver(Wakeup())
        receiver.watch(ours.fileno() if polls else -1)
        # Without a timeout, and nobody wakes it.
        assert sleep(receiver) == 0
