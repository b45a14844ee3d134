"""The limit of threads: a thread a connection, a blocking socket, the same bytes go back, no WebSocket."""

from __future__ import annotations

import contextlib
import socket
import threading

from servers.common import HOST, parse_arguments

READ_SIZE = 2**16


def echo(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with sock, contextlib.suppress(OSError):
        while data := sock.recv(READ_SIZE):
            sock.sendall(data)


if __name__ == "__main__":
    arguments = parse_arguments()
    with socket.create_server((HOST, arguments.port), backlog=1024) as listener:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=echo, args=(sock,), daemon=True).start()
