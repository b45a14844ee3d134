"""A client and a server of trio-websocket, and their peers of `adapters.trio`."""

import redirecting  # before anything imports wsproto

# isort: split
import trio
import trio_websocket
from trio_websocket import _impl

import adapters.trio
from adapters.trio import ServerConnection

DEADLINE = 100

assert _impl.WSConnection is redirecting.replacement.WSConnection


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        await websocket.send(message)


async def their_echo(request: trio_websocket.WebSocketRequest) -> None:
    websocket = await request.accept(subprotocol="chat", extra_headers=[(b"X-One", b"1")])
    try:
        while True:
            await websocket.send_message(await websocket.get_message())
    except trio_websocket.ConnectionClosed as closed:
        ends.append((closed.reason.code, closed.reason.reason))


ends: list[tuple[int, str | None]] = []


async def be_client() -> None:
    async with adapters.trio.serve(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with trio_websocket.open_websocket("127.0.0.1", port, "/", use_ssl=False) as client:
            for message in "hello " * 100, b"\0" * 200_000:
                await client.send_message(message)
                assert await client.get_message() == message
            await client.ping(b"x")
        assert client.closed.code == 1000


async def be_server() -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_websocket.serve_websocket, their_echo, "127.0.0.1", 0, None)
        uri = f"ws://127.0.0.1:{server.port}/"
        async with adapters.trio.connect(uri, subprotocols=["chat"]) as websocket:
            assert websocket.subprotocol == "chat"
            assert websocket.response_headers["X-One"] == "1"
            for message in "hello " * 100, b"\0" * 200_000:
                await websocket.send(message)
                assert await websocket.recv() == message
            await (await websocket.ping())
            await websocket.close(3000, "done")
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        await stream.send_all(b"nonsense\r\n\r\n")
        answer = await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        nursery.cancel_scope.cancel()


async def main() -> None:
    with trio.fail_after(DEADLINE):
        await be_client()
        await be_server()
    assert (3000, "done") in ends, ends


trio.run(main)
