"""What a peer has said before the stream was lost is read before the loss is told."""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.threading import ClientConnection, connect
from tests.core.helpers import BINARY, CLOSE, PING, PONG, TEXT, Frame, close_payload
from wsproto_core import ConnectionClosed, State

from .runtimes.base import client_context, server_context
from .threads import DEADLINE, HOST, RawServer, Thread, raw_server, until

LAST = [Frame(TEXT, b"last"), Frame(CLOSE, close_payload(1008, "policy"))]


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def tcp(request: pytest.FixtureRequest) -> Iterator[tuple[RawServer, ClientConnection]]:
    """A server by hand that is reached by TCP, plain or on TLS, and its client."""
    tls = request.param
    with socket.create_server((HOST, 0)) as listener:

        def accept() -> RawServer:
            sock, _ = listener.accept()
            if tls:
                sock = server_context().wrap_socket(sock, server_side=True)
            peer = RawServer(sock)
            peer.answer()
            return peer

        accepting = Thread(accept)
        options: dict[str, Any] = {"ssl": client_context()} if tls else {}
        options |= {"compression": None, "ping_interval": None, "close_timeout": 0.2}
        uri = f"{'wss' if tls else 'ws'}://localhost:{listener.getsockname()[1]}/"
        client = connect(uri, family=socket.AF_INET, **options)()
        peer = accepting.result()
        yield peer, client
        peer.socket.close()
        client.abort()


class Failing:
    """A stream to which nothing can be written any more."""

    def __init__(self, stream: Any) -> None:
        self.recv = stream.recv

    def send(self, data: object) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    def flush(self) -> None:
        pass


def wait_readable(client: ClientConnection) -> None:
    poll = select.poll()
    poll.register(client.transport, select.POLLIN)
    assert poll.poll(DEADLINE * 1000)


def test_when_a_write_fails(tcp: tuple[RawServer, ClientConnection]) -> None:
    peer, client = tcp

    def send() -> None:
        # Nobody else may read before.
        peer.send(*LAST)
        wait_readable(client)
        client._stream = Failing(client._stream)  # type: ignore[assignment]
        client.protocol.send("a")
        client._flush()

    client._locked(send)
    assert client.state is State.CLOSED
    assert client.recv() == "last"
    with pytest.raises(ConnectionClosed) as caught:
        client.recv()
    assert (caught.value.code, caught.value.reason) == (1008, "policy")


def test_when_a_write_fails_and_reading_has_stopped() -> None:
    """Messages that nobody has taken do not hide the close frame."""
    with raw_server(max_queue=2) as (peer, client):
        peer.send(*[Frame(TEXT, b"a")] * 4)
        until(lambda: not client.protocol.wants_read)
        peer.send(*[Frame(TEXT, b"b")] * 4, *LAST)

        def send() -> None:
            client._stream = Failing(client._stream)  # type: ignore[assignment]
            client.protocol.send("a")
            client._flush()

        client._locked(send)
        assert client.close_code == 1008


# Records of TLS


def test_answers_that_are_written_together_share_records() -> None:
    """What had to wait is written in large pieces, which TLS makes records of."""
    theirs, ours = socket.socketpair()
    with theirs:

        def answer() -> RawServer:
            peer = RawServer(server_context().wrap_socket(theirs, server_side=True))
            peer.answer()
            return peer

        answering = Thread(answer)
        options: dict[str, Any] = {"compression": None, "ping_interval": None, "close_timeout": 0.2}
        client = connect("wss://localhost/", sock=ours, ssl=client_context(), **options)()
        peer = answering.result()
        with peer.socket:
            assert client._tls is not None
            sizes: list[int] = []
            write = client._tls._object.write

            class Object:
                def write(self, data: Any) -> int:
                    sizes.append(len(data))
                    return write(data)

                def __getattr__(self, name: str) -> Any:
                    return getattr(original, name)

            original, client._tls._object = client._tls._object, Object()  # type: ignore[assignment]

            # One read brings a hundred pings, and what is due to them is written in one go.
            peer.send(*[Frame(PING, b"%d" % number) for number in range(100)])
            for number in range(100):
                assert peer.read_frame() == Frame(PONG, b"%d" % number)
            assert len(sizes) < 10

            # What waits in the state machine is handed out, and written, together.
            sizes.clear()

            def send() -> None:
                for number in range(100):
                    client.protocol.send(b"%d" % number)
                client._flush()

            client._locked(send)
            for number in range(100):
                assert peer.read_frame() == Frame(BINARY, b"%d" % number)
            assert len(sizes) == 1
            client._tls._object = original
            client.abort()
