"""A path for a load balancer, and another way in for those who have a ticket."""

import asyncio
import http

from adapters import websockets


class ServerProtocol(websockets.WebSocketServerProtocol):
    async def process_request(self, path, request_headers):
        if path == "/health/":
            return http.HTTPStatus.OK, [], b"OK\n"
        if request_headers.get("X-Ticket") != "valid":
            return http.HTTPStatus.FORBIDDEN, {"X-Reason": "ticket"}, b""
        self.ticket = request_headers["X-Ticket"]


async def handler(websocket, path):
    await websocket.send(websocket.ticket)


async def main():
    async with websockets.serve(handler, "localhost", 0, create_protocol=ServerProtocol) as server:
        uri = f"ws://localhost:{server.sockets[0].getsockname()[1]}"
        for path in "/health/", "/":
            try:
                await websockets.connect(uri + path)
            except websockets.InvalidStatusCode as error:
                print(path, error.status_code)
        async with websockets.connect(uri, extra_headers={"X-Ticket": "valid"}) as websocket:
            print(await websocket.recv())


asyncio.run(main())
