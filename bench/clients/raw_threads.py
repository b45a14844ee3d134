"""The limit of threads: a blocking socket, SIZE bytes there and back, without WebSocket; echo mode only."""

from __future__ import annotations

import socket

from clients.common import HOST, Meter, parse_arguments

READ_SIZE = 2**16

if __name__ == "__main__":
    arguments = parse_arguments()
    message = arguments.message.encode() if arguments.text else arguments.message
    with socket.create_connection((HOST, arguments.port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(message * arguments.depth)
        meter = Meter(arguments)
        received = 0
        while not meter.is_over(received // arguments.size):
            before = received // arguments.size
            received += len(sock.recv(READ_SIZE))
            sock.sendall(message * (received // arguments.size - before))
