"""A connection for an event loop of one's own, and an echo server and a client on it.

:class:`Loop` stands for the loop that you have. Run this file to see the two talk to each other. The
embedding guide shows and explains the parts between ``region`` and ``endregion``.
"""

from __future__ import annotations

import heapq
import math
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice

from wsproto_core import (
    ClientProtocol,
    Data,
    Event,
    Protocol,
    Request,
    Response,
    ServerProtocol,
    State,
    StreamAction,
)

Callback = Callable[[], None]


# region loop
class Timer:
    """What a loop returns for a callback that it will call; ``cancel`` it to prevent that."""

    def __init__(self, when: float, callback: Callback) -> None:
        self.when = when
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when


class Loop:
    """Your event loop: it calls back when a socket is ready, or when it is time."""

    def __init__(self) -> None:
        self.time = time.monotonic
        self.timers: list[Timer] = []
        self.selector = selectors.DefaultSelector()

    def call_later(self, delay: float, callback: Callback) -> Timer:
        timer = Timer(self.time() + delay, callback)
        heapq.heappush(self.timers, timer)
        return timer

    def add_reader(self, sock: socket.socket, callback: Callback) -> None:
        self._change(sock, selectors.EVENT_READ, callback)

    def remove_reader(self, sock: socket.socket) -> None:
        self._change(sock, selectors.EVENT_READ, None)

    def add_writer(self, sock: socket.socket, callback: Callback) -> None:
        self._change(sock, selectors.EVENT_WRITE, callback)

    def remove_writer(self, sock: socket.socket) -> None:
        self._change(sock, selectors.EVENT_WRITE, None)

    def _change(self, sock: socket.socket, event: int, callback: Callback | None) -> None:
        callbacks: dict[int, Callback] = {}
        if sock in self.selector.get_map():
            callbacks = self.selector.unregister(sock).data
        callbacks.pop(event, None)
        if callback is not None:
            callbacks[event] = callback
        if callbacks:
            self.selector.register(sock, sum(callbacks), callbacks)

    def turn(self, patience: float = math.inf) -> None:
        """Wait until something happens, ``patience`` seconds at most, and call back."""
        if self.timers:
            patience = min(patience, self.timers[0].when - self.time())
        for key, events in self.selector.select(None if patience == math.inf else patience):
            for event in (selectors.EVENT_READ, selectors.EVENT_WRITE):
                if events & event and event in key.data:
                    key.data[event]()
        while self.timers and self.timers[0].when <= self.time():
            callback = heapq.heappop(self.timers).callback
            if callback is not None:
                callback()


# endregion


# region connection
class Connection:
    """A WebSocket connection on the loop, to be subclassed."""

    def __init__(self, loop: Loop, sock: socket.socket, protocol: Protocol) -> None:
        self.loop = loop
        self.sock = sock
        self.protocol = protocol
        self.unsent: deque[memoryview] = deque()
        self.deadline: float | None = None
        self.timer: Timer | None = None
        sock.setblocking(False)
        loop.add_writer(sock, self.wake)

    # For subclasses

    def event_received(self, event: Event) -> None:
        """Something happened."""

    def message_received(self, message: Data) -> None:
        """A message came. While there is no room for answers, none does."""

    def wake_soon(self) -> None:
        """To be called after commands that are given from outside."""
        if self.protocol.state is not State.CLOSED:
            self.loop.add_writer(self.sock, self.wake)

    # For the loop

    def wake(self) -> None:
        """Do what can be done without waiting; then say what to wait for."""
        if self.protocol.wants_read:
            self.attempt(self.read)
        self.protocol.handle_timeout()  # does nothing before the deadline
        self.handle_events()
        busy = self.protocol.state is not State.CLOSED and self.attempt(self.write)
        if self.protocol.state is State.CLOSED:
            self.handle_events()  # the last ones
        else:
            self.wait(busy)

    def time_out(self) -> None:
        self.deadline = None  # should it be too early, the timer is set again
        self.wake()

    def wait(self, busy: bool) -> None:
        if self.protocol.wants_read:
            self.loop.add_reader(self.sock, self.wake)
        else:
            self.loop.remove_reader(self.sock)
        if busy:
            self.loop.add_writer(self.sock, self.wake)
        else:
            self.loop.remove_writer(self.sock)
        deadline = self.protocol.deadline()
        if deadline != self.deadline:
            self.set_timer(deadline)

    def set_timer(self, deadline: float | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.deadline = deadline
        if deadline is not None:
            self.timer = self.loop.call_later(deadline - self.loop.time(), self.time_out)

    def handle_events(self) -> None:
        for event in self.protocol.events(messages=False):
            self.event_received(event)
        while self.protocol.writable or self.protocol.state is not State.OPEN:
            message = self.protocol.next_message()
            if message is None:
                break
            self.message_received(message)

    def read(self) -> bool:
        if data := self.sock.recv(65536):
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        return True

    def write(self) -> bool:
        """Write, or end the stream if it is time; return whether there was anything to do."""
        action = self.protocol.stream_action
        if action is StreamAction.ABORT:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close()
            return False
        if not self.unsent:
            self.unsent.extend(map(memoryview, self.protocol.data_to_send()))
        if self.unsent:
            count = self.sock.sendmsg(islice(self.unsent, 64))  # a system has a limit, often 1024
            self.protocol.data_sent(count)
            while self.unsent and count >= len(self.unsent[0]):
                count -= len(self.unsent.popleft())
            if count:
                self.unsent[0] = self.unsent[0][count:]
        elif action is StreamAction.SEND_EOF:
            self.sock.shutdown(socket.SHUT_WR)
            self.protocol.eof_sent()
        elif action is StreamAction.CLOSE:
            self.close()
        else:
            return False
        return True

    def attempt(self, operation: Callable[[], bool]) -> bool:
        try:
            return operation()
        except BlockingIOError:
            return True  # not now
        except OSError as error:
            with suppress(OSError):  # what came before the error may say more
                while self.protocol.wants_read and (data := self.sock.recv(65536)):
                    self.protocol.receive_data(data)
            self.close(error)
            return False

    def close(self, error: OSError | None = None) -> None:
        self.set_timer(None)
        self.loop.remove_reader(self.sock)
        self.loop.remove_writer(self.sock)
        self.sock.close()
        self.protocol.connection_lost(error)


# endregion


# region echo
class EchoServer(Connection):
    """What the server does with a connection."""

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        self.server = ServerProtocol(clock=loop.time, date=time.time)
        super().__init__(loop, sock, self.server)

    def event_received(self, event: Event) -> None:
        if isinstance(event, Request):
            self.server.accept()

    def message_received(self, message: Data) -> None:
        if self.protocol.state is State.OPEN:
            self.protocol.send(message)


def listen(loop: Loop, listener: socket.socket) -> None:
    def accept() -> None:
        with suppress(OSError):  # the client may have gone
            EchoServer(loop, listener.accept()[0])

    listener.setblocking(False)
    loop.add_reader(listener, accept)


# endregion


# region client
class Client(Connection):
    """A client that counts: it says a number every tenth of a second."""

    def __init__(self, loop: Loop, sock: socket.socket, uri: str) -> None:
        self.count = 0
        super().__init__(loop, sock, ClientProtocol(uri, clock=loop.time))

    def event_received(self, event: Event) -> None:
        print(f"  {event!r:.70}")
        if isinstance(event, Response):
            self.say()

    def message_received(self, message: Data) -> None:
        print(f"  {message!r}")

    def say(self) -> None:
        if self.protocol.state is State.OPEN:
            if self.count < 3:
                self.count += 1
                self.protocol.send(f"number {self.count}")
                self.loop.call_later(0.1, self.say)
            else:
                self.protocol.close()
            self.wake_soon()


# endregion


def main() -> None:
    loop = Loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listen(loop, listener)
        host, port = listener.getsockname()
        sock = socket.create_connection((host, port))
        client = Client(loop, sock, f"ws://{host}:{port}/")
        while client.protocol.state is not State.CLOSED:
            loop.turn()
        print(f"closed with {client.protocol.close_code}")


if __name__ == "__main__":
    main()
