"""A client and a server of simple-websocket, and their peers of `adapters.threading`."""

import redirecting  # before anything imports wsproto

# isort: split
import socket
import threading

import simple_websocket
from simple_websocket import ws

from adapters.threading import ServerConnection, connect, serve

DEADLINE = 100

assert ws.WSConnection is redirecting.replacement.WSConnection


def echo(websocket: ServerConnection) -> None:
    for message in websocket:
        websocket.send(message)


def be_client() -> None:
    with serve(echo, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever).start()
        port = server.sockets[0].getsockname()[1]
        client = simple_websocket.Client(f"ws://127.0.0.1:{port}/", ping_interval=0.5)
        for message in "hello " * 100, b"\0" * 200_000:
            client.send(message)
            assert client.receive(DEADLINE) == message
        client.close()
        server.close()


def be_server(sock: socket.socket) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    # As a server of WSGI has read it.
    fields = (line.split(": ", 1) for line in head.decode().splitlines()[1:-1])
    environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in fields}
    websocket = simple_websocket.Server.accept({**environ, "werkzeug.socket": sock}, subprotocols=["chat"])
    try:
        while (message := websocket.receive(DEADLINE)) is not None:
            websocket.send(message)
    except simple_websocket.ConnectionClosed as closed:
        ends.append((int(closed.reason), closed.message))


ends: list[tuple[int, str]] = []

be_client()
ours, theirs = socket.socketpair()
thread = threading.Thread(target=be_server, args=(theirs,))
thread.start()
with connect("ws://localhost/", sock=ours, subprotocols=["chat"]) as websocket:
    assert websocket.subprotocol == "chat"
    for message in "hello " * 100, b"\0" * 200_000:
        websocket.send(message)
        assert websocket.recv(timeout=DEADLINE) == message
    websocket.close(3000, "done")
    assert websocket.close_code == 3000
thread.join(DEADLINE)
assert ends == [(3000, "done")], ends
