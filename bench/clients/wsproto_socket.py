"""wsproto and a blocking socket: the smallest correct program around it."""

from __future__ import annotations

import socket
from typing import Any

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, Message, Ping, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from clients.common import HOST, blocking_workload, parse_arguments

READ_SIZE = 2**16


class Connection:
    def __init__(self, port: int, path: str, compressed: bool) -> None:
        self._sock = socket.create_connection((HOST, port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._protocol = WSConnection(ConnectionType.CLIENT)
        self._fragments: list[Any] = []
        self._messages: list[Any] = []
        extensions = [PerMessageDeflate()] if compressed else []
        self._sock.sendall(self._protocol.send(Request(host=HOST, target=path, extensions=extensions)))
        self._read()

    def _read(self) -> None:
        """Read once from the socket; keep the messages that are complete."""
        self._protocol.receive_data(self._sock.recv(READ_SIZE) or None)
        for event in self._protocol.events():
            if isinstance(event, Message):
                self._fragments.append(event.data)
                if event.message_finished:
                    self._messages.append(type(event.data)().join(self._fragments))
                    self._fragments.clear()
            elif isinstance(event, Ping):
                self._sock.sendall(self._protocol.send(event.response()))
            elif isinstance(event, AcceptConnection):
                return

    def recv(self) -> Any:
        while not self._messages:
            self._read()
        return self._messages.pop(0)

    def send(self, message: str | bytes) -> None:
        event = TextMessage(data=message) if isinstance(message, str) else BytesMessage(data=message)
        self._sock.sendall(self._protocol.send(event))

    def close(self) -> None:
        self._sock.close()


if __name__ == "__main__":
    arguments = parse_arguments()
    connection = Connection(arguments.port, arguments.path, arguments.compressed)
    blocking_workload(connection.send, connection.recv, arguments)
    connection.close()
