"""Any client talks to any server: each adapter with each, plain, on TLS, and compressed."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.adapters.runtimes import RUNTIMES, SOCKETS, Runtime, make_runtime
from tests.adapters.runtimes.base import HOST
from wsproto_core import ConnectionClosedError, ConnectionClosedOK

pytestmark = pytest.mark.needs("sockets")

SERVERS = [name for name, kind in RUNTIMES.items() if SOCKETS in kind.abilities]


class ServerThread:
    """A server of some runtime, in a thread and a loop of its own."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self._runtime = make_runtime(name)
        self._runtime.alone = False
        self._options = options
        self._listening = threading.Event()
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"server on {name}")
        self.uri = ""

    def _run(self) -> None:
        try:
            self._runtime.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._listening.set()

    async def _serve(self) -> None:
        async with self._runtime.serve(serve_case, HOST, 0, **self._options) as server:
            self.uri = self._runtime.uri_of(server, scheme="wss" if "ssl" in self._options else "ws")
            self._listening.set()
            await self._runtime.until(self._stop.is_set)

    def __enter__(self) -> ServerThread:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error


async def serve_case(websocket: Any) -> None:
    """What the server does, according to the path."""
    if websocket.path == "/close":
        await websocket.close(4321, "caf\xe9")
    elif websocket.path == "/fragments":
        async for message in websocket:
            half = len(message) // 2
            await websocket.send([message[:half], message[half:]])
    elif websocket.path == "/ping":
        await websocket.send(f"{await (await websocket.ping()) >= 0}")
    else:
        async for message in websocket:
            await websocket.send(message)


MESSAGES: list[str | bytes] = ["", "hello", "caf\xe9 \N{SNOWMAN}", b"", bytes(range(256)), "x" * 70_000]


@pytest.mark.parametrize("how", ["plain", "tls", "compressed", "tls-compressed"])
@pytest.mark.parametrize("server", SERVERS)
async def test_any_client_talks_to_any_server(runtime: Runtime, server: str, how: str) -> None:
    tls = how.startswith("tls")
    common = {"compression": "deflate" if how.endswith("compressed") else None, "max_size": 2**22}
    options = {**common, **runtime.client_tls(tls)}
    with ServerThread(server, {**common, **runtime.server_tls(tls)}) as running:
        uri = running.uri
        async with runtime.connect(uri, **options) as client:
            assert bool(client.extensions) is how.endswith("compressed")
            for message in MESSAGES:
                await client.send(message)
                received = await client.recv()
                assert type(received) is type(message)
                assert received == message
            # fragments, large messages, pings
            await client.send(["frag", "men", "ted"])
            assert await client.recv() == "fragmented"
            for large in ("y" * 2**21, bytes(2**21)):
                sending = runtime.spawn(client.send, large)
                assert await client.recv() == large
                await sending.result()
            assert await runtime.pong(await client.ping()) >= 0
            await client.close(3456, "done")
            assert client.close_code == 3456
        async with runtime.connect(f"{uri}fragments", **options) as client:
            for message in ("hello", b"hello", "z" * 100_000):
                await client.send(message)
                assert await client.recv() == message
            await client.send("streamed")
            assert "".join([piece async for piece in client.recv_streaming()]) == "streamed"
        async with runtime.connect(f"{uri}ping", **options) as client:
            assert await client.recv() == "True"
            with pytest.raises(ConnectionClosedOK) as raised:
                await client.recv()
            assert raised.value.code == 1000
        async with runtime.connect(f"{uri}close", **options) as client:
            with pytest.raises(ConnectionClosedError) as closed:
                await client.recv()
            assert (closed.value.code, closed.value.reason) == (4321, "caf\xe9")
