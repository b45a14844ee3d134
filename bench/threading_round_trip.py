"""CPU time of a blocking echo round trip, client side:  python bench/threading_round_trip.py [COUNT]

The client of adapters.threading, bare blocking sockets that send and receive as many bytes, and the
blocking client of websockets if it is installed, side by side: they take turns in one process, so that
a noisy machine is noisy for all. What answers them is the same for all and in another process: a bare
socket that sends the same bytes back at each read. CPU time is that of the whole client process:
background threads count.

It is measured twice. If the two processes may use any processor, as they usually do, then to wake
another processor, which sleeps meanwhile, is most of what bare sockets cost. If they share one, that
costs next to nothing; but each switch between them leaves cold caches behind, which are dearer for a
program in Python than for bare sockets. This is the least favourable case, and varies less.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import socket
import ssl
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from adapters.threading import connect
from wsproto_core.codec import encode_frame
from wsproto_core.frames import FIN, Opcode
from wsproto_core.handshake.server import ServerProtocol

MESSAGE = b"x" * 256
ANSWER = b"".join(encode_frame(FIN | Opcode.BINARY, MESSAGE))
ROUNDS = 9
CERTIFICATES = Path(__file__).parent.parent / "tests" / "certificates"
RoundTrips = Callable[[int], None]


def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key")
    return context


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=CERTIFICATES / "localhost.pem")


def answer(listener: socket.socket, context: ssl.SSLContext | None) -> None:
    """Accept a connection; answer the opening handshake, if there is one, then each message."""
    sock, _ = listener.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is not None:
        sock = context.wrap_socket(sock, server_side=True)
    with contextlib.suppress(OSError):
        data = sock.recv(65536)
        if data.startswith(b"GET "):
            server = ServerProtocol(clock=time.monotonic, compression=None, ping_interval=None)
            server.receive_data(data)
            server.accept()
            sock.sendall(b"".join(server.data_to_send()))
            data = sock.recv(65536)
        while data:
            sock.sendall(ANSWER)
            data = sock.recv(65536)


def run(pipe: Pipe) -> None:
    """Answer as many connections as the client process asks for."""
    while (tls := pipe.recv()) is not None:
        listener = socket.create_server(("127.0.0.1", 0))
        context = server_context() if tls else None
        threading.Thread(target=answer, args=(listener, context), daemon=True).start()
        pipe.send(listener.getsockname()[1])


@contextlib.contextmanager
def clients(pipe: Pipe, tls: bool) -> Iterator[dict[str, RoundTrips]]:
    """What makes round trips, by name; the first is what the others are compared with."""

    def new_port() -> int:
        pipe.send(tls)
        port: int = pipe.recv()
        return port

    context = client_context() if tls else None
    options: dict[str, Any] = {"compression": None, "close_timeout": 0.2}
    if tls:
        options["ssl"] = context
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.create_connection(("127.0.0.1", new_port())))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            sock = stack.enter_context(context.wrap_socket(sock, server_hostname="localhost"))

        def bare(count: int) -> None:
            for _ in range(count):
                sock.sendall(ANSWER)
                sock.recv(65536)

        made: dict[str, RoundTrips] = {"bare sockets": bare}
        uri = f"{'wss' if tls else 'ws'}://localhost"
        made["adapters.threading"] = round_trips(
            stack.enter_context(connect(f"{uri}:{new_port()}/", **options))
        )
        with contextlib.suppress(ImportError):
            from websockets.sync.client import connect as connect_websockets

            other = connect_websockets(f"{uri}:{new_port()}/", **options)
            made["websockets.sync"] = round_trips(stack.enter_context(other))
        yield made


def round_trips(websocket: Any) -> RoundTrips:
    def repeat(count: int) -> None:
        send, recv = websocket.send, websocket.recv
        for _ in range(count):
            send(MESSAGE)
            recv()

    return repeat


def measure(repeat: RoundTrips, count: int) -> float:
    """Return microseconds of CPU time for one round trip."""
    before = time.process_time()
    repeat(count)
    return (time.process_time() - before) / count * 1e6


def compare(count: int) -> None:
    """Measure all, and print a table; the peers run where this process does."""
    pipe, other = multiprocessing.Pipe()
    peers = multiprocessing.get_context("spawn").Process(target=run, args=(other,), daemon=True)
    peers.start()
    for tls in (False, True):
        with clients(pipe, tls) as made:
            for repeat in made.values():
                repeat(count // 10)
            rounds = [{name: measure(repeat, count) for name, repeat in made.items()} for _ in range(ROUNDS)]
        for name in made:
            cost = statistics.median(times[name] for times in rounds)
            ratio = statistics.median(times[name] / times["bare sockets"] for times in rounds)
            print(f"{'TLS  ' if tls else 'plain'} {name:20} {cost:6.2f} us  {ratio:5.2f} times bare sockets")
    pipe.send(None)
    peers.join()


def main(count: int) -> None:
    print(f"CPU time of a round trip of {len(MESSAGE)} bytes, client side")
    print("Client and server on any processor:")
    compare(count)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        print("Client and server on one processor:")
        compare(count)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 5000)
