"""Properties of a connection: state, addresses, path, headers, statistics, identifier."""

from __future__ import annotations

import pytest

from tests.adapters.runtimes import Runtime
from wsproto_core import State
from wsproto_core.options import USER_AGENT

both_ends = pytest.mark.parametrize("end", ["client", "server"])


async def test_handshake_is_at_hand_on_both_sides(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        for end in (client, server):
            assert end.path == "/"
            assert end.request.method == "GET"
            assert end.request_headers is end.request.headers
            assert end.request_headers["User-Agent"] == USER_AGENT
            assert end.response.status == 101
            assert end.response_headers is end.response.headers
            assert end.response_headers["Server"] == USER_AGENT
            assert "Date" in end.response_headers
            assert (end.subprotocol, list(end.extensions), end.latency) == (None, [], 0.0)
        assert client.id != server.id
        assert str(client.id) in repr(client)
        assert "OPEN" in repr(client)


async def test_path_and_query_are_the_uris(runtime: Runtime) -> None:
    async def handler(websocket: object) -> None:
        await websocket.send(websocket.path)  # type: ignore[attr-defined]

    async with runtime.serving(handler) as (server, _):
        for path in ("/", "/chat", "/a/b?c=d&e=%20", "/?x"):
            async with runtime.connect(runtime.uri_of(server, path)) as client:
                assert await client.recv() == client.path == path


@both_ends
async def test_state(runtime: Runtime, end: str) -> None:
    async with runtime.connected() as pair:
        ours, theirs = pair if end == "client" else pair[::-1]
        receiving = runtime.spawn(theirs.wait_closed)
        assert ours.state is State.OPEN
        assert (ours.open, ours.closed) == (True, False)
        assert (ours.close_code, ours.close_reason) == (None, None)
        await ours.close()
        assert ours.state is State.CLOSED
        assert (ours.open, ours.closed) == (False, True)
        assert (ours.close_code, ours.close_reason) == (1000, "")
        await receiving.result()
        assert (theirs.open, theirs.closed) == (False, True)


async def test_state_while_closing(runtime: Runtime) -> None:
    async with runtime.raw_server() as (peer, client):
        closing = runtime.spawn(client.close)
        await peer.read_frame()
        assert client.state is State.CLOSING
        assert (client.open, client.closed) == (False, False)
        peer.close()
        await closing.result()


@pytest.mark.needs("sockets")
@both_ends
async def test_addresses(runtime: Runtime, end: str) -> None:
    async with runtime.connected() as pair:
        ours, theirs = pair if end == "client" else pair[::-1]
        local, remote = ours.local_address, ours.remote_address
        assert local[0] == remote[0] == "127.0.0.1"
        assert (local, remote) == (theirs.remote_address, theirs.local_address)
        await ours.close()
        # They are known afterwards, too.
        assert (ours.local_address, ours.remote_address) == (local, remote)


async def test_statistics_count_both_ways(runtime: Runtime) -> None:
    async with runtime.connected() as (client, server):
        await client.send("abc")
        await client.send(["a", "b"])
        await server.send(b"x")
        assert [await server.recv(), await server.recv(), await client.recv()] == ["abc", "ab", b"x"]
        there, here = client.statistics, server.statistics
        assert (there.messages_sent, there.messages_received) == (2, 1)
        assert (here.messages_sent, here.messages_received) == (1, 2)
        # "abc", then "a", "b" and the empty last fragment
        assert (there.frames_sent, here.frames_received) == (4, 4)
        assert there.bytes_sent == here.bytes_received
        assert there.bytes_received == here.bytes_sent
