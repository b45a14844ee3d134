"""A server and several clients on threads, in one program."""

# region program
from concurrent.futures import ThreadPoolExecutor

from adapters.threading import ServerConnection, connect, serve


def handler(websocket: ServerConnection) -> None:
    """Runs in a thread of its own for each connection."""
    for message in websocket:
        websocket.send(message)


def converse(uri: str, name: str) -> str:
    with connect(uri) as websocket:
        websocket.send(f"Hello from {name}!")
        try:
            return str(websocket.recv(timeout=10))
        except TimeoutError:
            return "nothing came within ten seconds"


with serve(handler, "localhost", 0) as server:
    assert server.sockets
    uri = f"ws://localhost:{server.sockets[0].getsockname()[1]}/"
    names = ["Alice", "Bob", "Carol"]
    with ThreadPoolExecutor() as executor:
        for answer in executor.map(converse, [uri] * len(names), names):
            print(answer)
# Leaving the block has closed the server. One that is to run until Ctrl-C calls server.serve_forever().
# endregion
