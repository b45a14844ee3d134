"""Servers with several endpoints: by path, by host, and with an answer to plain HTTP.

Run it: it starts each server, connects to it, and shows what comes back.
"""

import asyncio
from uuid import UUID, uuid4

from werkzeug.routing import Map, Rule

from adapters.asyncio import Router, Server, ServerConnection, connect, route
from adapters.asyncio.server import Serve
from wsproto_core import InvalidStatusCode
from wsproto_core.http import Headers, Request, Response, make_response


# region server
async def lobby(websocket: ServerConnection) -> None:
    await websocket.send("Welcome to the lobby!")


async def channel(websocket: ServerConnection, channel_id: UUID) -> None:
    await websocket.send(f"This is channel {channel_id}.")


def channels_server(port: int = 8765) -> Serve:
    url_map = Map(
        [
            Rule("/", endpoint=lobby),
            Rule("/channel/<uuid:channel_id>", endpoint=channel),
            Rule("/room/<uuid:room_id>", redirect_to="/channel/<room_id>"),
        ]
    )
    return route(url_map, "localhost", port)


async def main() -> None:
    async with channels_server() as server:
        await server.serve_forever()


# endregion


async def show(server: Server, *paths: str, host: str = "localhost") -> None:
    assert server.sockets is not None
    port = server.sockets[0].getsockname()[1]
    for path in paths:
        try:
            async with connect(f"ws://{host}:{port}{path}", host="localhost") as websocket:
                print(host, path, "->", await websocket.recv())
        except InvalidStatusCode as error:
            body = b"" if error.response is None else error.response.body
            print(host, path, "->", error.status_code, body.decode().strip())


# region hosts
async def home(websocket: ServerConnection, user: str) -> None:
    await websocket.send(f"{user}'s home")


def hosts_server(port: int = 8765) -> Serve:
    rules = [
        Rule("/", endpoint=lobby),
        Rule("/", endpoint=home, subdomain="<user>"),
    ]
    return route(rules, "localhost", port, server_name="example.com")


# endregion


# region health
def process_request(path: str, request_headers: Headers) -> Response | None:
    if path == "/health":
        return make_response(200, (), "OK\n")
    return None


def healthy_server(port: int = 8765) -> Serve:
    return route([Rule("/", endpoint=lobby)], "localhost", port, process_request=process_request)


# endregion


# region custom
class HelpfulRouter(Router):
    def get_host(self, request: Request) -> str:
        # Only behind a proxy that sets this header and removes the client's.
        return request.headers.get("X-Forwarded-Host") or super().get_host(request)

    def not_found(self, request: Request) -> Response:
        return make_response(404, (), "There are /channel/ID and /room/ID here.\n")


def helpful_server(port: int = 8765) -> Serve:
    return route([Rule("/", endpoint=lobby)], "localhost", port, create_router=HelpfulRouter)


# endregion


# region test
def test_channel() -> None:
    router = Router([Rule("/channel/<uuid:channel_id>", endpoint=channel)])
    channel_id = uuid4()
    found = router.route(Request(f"/channel/{channel_id}", Headers({"Host": "example.com"})))
    assert found == ("/channel/<uuid:channel_id>", channel, {"channel_id": channel_id})


# endregion


async def demonstrate() -> None:
    test_channel()
    channel_id = uuid4()
    async with channels_server(0) as server:
        await show(server, "/", f"/channel/{channel_id}", f"/room/{channel_id}", "/channel/none")
    async with hosts_server(0) as server:
        await show(server, "/", host="example.com")
        await show(server, "/", host="anna.example.com")
        await show(server, "/", host="example.org")
    async with healthy_server(0) as server:
        await show(server, "/", "/health")
    async with helpful_server(0) as server:
        await show(server, "/elsewhere")


if __name__ == "__main__":
    asyncio.run(demonstrate())
