"""A server and a client on streams, by the functions underneath."""

import asyncio

from adapters.websockets.framing import OP_CLOSE, OP_TEXT, Frame, parse_close, prepare_data, serialize_close
from adapters.websockets.handshake import build_request, build_response, check_request, check_response
from adapters.websockets.http import Headers, read_request, read_response
from adapters.websockets.uri import parse_uri


async def serve_one(reader, writer):
    path, request_headers = await read_request(reader)
    key = check_request(request_headers)
    response_headers = Headers()
    build_response(response_headers, key)
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\n" + str(response_headers).encode())
    frame = await Frame.read(reader.readexactly, mask=True)
    print("server", path, frame.opcode == OP_TEXT, frame.data)
    Frame(True, OP_CLOSE, serialize_close(1000, "done")).write(writer.write, mask=False)
    writer.close()
    await writer.wait_closed()


async def main():
    server = await asyncio.start_server(serve_one, "localhost", 0)
    wsuri = parse_uri(f"ws://localhost:{server.sockets[0].getsockname()[1]}/path")
    reader, writer = await asyncio.open_connection(wsuri.host, wsuri.port)
    request_headers = Headers(Host="localhost")
    key = build_request(request_headers)
    writer.write(f"GET {wsuri.resource_name} HTTP/1.1\r\n{request_headers}".encode())
    status_code, reason, response_headers = await read_response(reader)
    print("client", status_code, reason)
    check_response(response_headers, key)
    opcode, data = prepare_data("Hello")
    Frame(True, opcode, data).write(writer.write, mask=True)
    frame = await Frame.read(reader.readexactly, mask=False)
    print("client", parse_close(frame.data))
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()


asyncio.run(main())
