"""Interrupt blocking connections by real signals, at random points.

A client in the main thread sends, sends fragments or long messages, receives or echoes, on a plain
stream or on TLS, and a timer interrupts it: as Ctrl-C does, or by a signal handler that closes the
connection. Afterwards nothing may be doubled, cut or out of order, no lock may be held, what waits in
another thread must go on, and another connection of the process must be as good as before.

``tests/adapters/test_threading_interruptions.py`` does the same at each place in turn.

Usage: python -m tests.soak.interruptions [--runs N] [--seed N] [--runtimes "NAME ..."]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import signal
import time
from collections.abc import Callable
from typing import Any

from adapters.threading import ClientConnection
from tests.adapters.test_threading_interruptions import (
    MESSAGES,
    Peer,
    check_released,
    connected,
    long_message,
)
from tests.adapters.threads import DEADLINE, Thread, raw_server
from tests.core.helpers import TEXT, Frame
from wsproto_core import ConnectionClosed

LATEST = 0.003
"""Seconds after which a signal comes, at most."""

AGAIN = 1.0
"""Seconds after which it comes again, if the call goes on. Python drops an exception that a signal handler
raises in a function that the garbage collector calls."""


class Conversation:
    """What a client does until it is interrupted, and what it knows of it.

    Attributes:
        sent: the messages that were sent or begun to be.
        received: those that were received.
    """

    def __init__(self, client: ClientConnection) -> None:
        self._client = client
        self.sent: list[str] = []
        self.received: list[Any] = []

    def send(self) -> None:
        for number in itertools.count():
            self.sent.append(f"message {number}")
            self._client.send(self.sent[-1])

    def send_fragments(self) -> None:
        for number in itertools.count():
            self.sent.append(f"message {number}")
            self._client.send(iter(self.sent[-1]))

    def send_long(self) -> None:
        for number in itertools.count():
            self.sent.append(long_message(number))
            self._client.send(self.sent[-1])

    def receive(self) -> None:
        while True:
            self.received.append(self._client.recv())

    def echo(self) -> None:
        while True:
            message = self._client.recv()
            self.received.append(message)
            self.sent.append(message)
            self._client.send(message)

    def receive_rest(self) -> None:
        """Receive until there is an end of the connection or of the messages."""
        with contextlib.suppress(ConnectionClosed):
            while len(self.received) < len(MESSAGES):
                self.received.append(str(self._client.recv(timeout=DEADLINE)))


SCENARIOS = (
    Conversation.send,
    Conversation.send_fragments,
    Conversation.send_long,
    Conversation.receive,
    Conversation.echo,
)


def call_interrupted(call: Callable[[], None], after: float, handler: Callable[[], None]) -> None:
    """Call a function, and let a signal come meanwhile; forget the exception that its handler raises."""
    pending = True

    def handle(*args: object) -> None:
        if pending:
            handler()

    previous = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, after, AGAIN)
        call()
    except (KeyboardInterrupt, ConnectionClosed):
        pass
    finally:
        pending = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def interrupt() -> None:
    raise KeyboardInterrupt


def is_part(part: list[str], whole: list[str], missing: int) -> bool:
    """Whether a list is the beginning of another one, of which so many may be missing in between."""
    positions = [whole.index(message) for message in part]
    return positions == sorted(set(positions)) and max(positions, default=-1) < len(positions) + missing


def check(scenario: Callable[[Conversation], None], tls: bool, closing: bool, after: float) -> str:
    """Interrupt a client once; return what has become of its connection."""
    with connected(tls) as (peer, client):
        conversation = Conversation(client)
        handler = (lambda: client.close(4000)) if closing else interrupt
        call_interrupted(lambda: scenario(conversation), after, handler)
        check_released(client)
        outcome = "open" if client.open else "closed" if closing else "lost"
        if closing:
            Thread(client.wait_closed).result()
        conversation.receive_rest()
        check_end(client, peer, conversation, outcome)
        return outcome


def check_end(client: ClientConnection, peer: Peer, conversation: Conversation, outcome: str) -> None:
    sent, received = conversation.sent, conversation.received
    if outcome == "open":
        # The interruption has left no trace.
        assert received == MESSAGES
        client.send("end")
        client.close()
        sent.append("end")
    peer.end()
    if outcome == "open":
        assert peer.closed
        assert is_part(peer.received, sent, missing=1)
        assert peer.received[-1] == "end"
        assert len(peer.received) >= len(sent) - 1
    elif outcome == "closed":
        assert peer.closed
        assert client.close_code == 4000
        assert received == MESSAGES[: len(received)]
        assert peer.received == sent[: len(peer.received)]
        assert len(peer.received) >= len(sent) - 1
    else:
        # One message may have been in the hands of the call that was interrupted.
        assert is_part(received, MESSAGES, missing=1)
        assert peer.received == sent[: len(peer.received)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="interruptions of each kind (10000)")
    parser.add_argument("--seed", type=int, default=None, help="of the random points")
    parser.add_argument("--runtimes", default="threading", help="nothing is done without threading")
    options = parser.parse_args()
    if "threading" not in options.runtimes.split():
        return
    seed = options.seed if options.seed is not None else time.time_ns()
    print(f"seed {seed}")
    source = random.Random(seed)
    with raw_server() as (other_peer, other):
        for scenario, closing in itertools.product(SCENARIOS, (False, True)):
            outcomes: dict[str, int] = {}
            for number in range(options.runs):
                outcome = check(scenario, bool(number % 2), closing, source.uniform(1e-5, LATEST))
                outcomes[outcome] = outcomes.get(outcome, 0) + 1
                if number % 100 == 0:
                    other_peer.send(Frame(TEXT, b"still there"))
                    assert other.recv(timeout=DEADLINE) == "still there"
            kind = "close() by a handler" if closing else "Ctrl-C"
            print(f"{scenario.__name__:15} {kind:21} {outcomes}", flush=True)


if __name__ == "__main__":
    main()
