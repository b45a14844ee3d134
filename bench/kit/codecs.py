"""Protocol cores of several libraries without I/O: decoders and encoders with the same interface.

A decoder takes bytes and returns the messages that are complete. An encoder takes a message; what it returns
is what has to be written. The two sides differ by the mask: a client's frames have one.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

Decode = Callable[[bytes], list[Any]]
Encode = Callable[[Any], object]

UNLIMITED = 2**40


def own_decoder(client: bool) -> Decode:
    from wsproto_core import Protocol, Side

    side = Side.CLIENT if client else Side.SERVER
    protocol = Protocol(side, clock=time.monotonic, max_size=None, max_queue=None, read_limit=None)
    receive_data, events = protocol.receive_data, protocol.events

    def decode(data: bytes) -> list[Any]:
        receive_data(data)
        return events()

    return decode


def own_encoder(client: bool) -> Encode:
    from wsproto_core import Protocol, Side

    protocol = Protocol(Side.CLIENT if client else Side.SERVER, clock=time.monotonic)
    send, data_to_send, data_sent = protocol.send, protocol.data_to_send, protocol.data_sent

    def encode(message: Any) -> object:
        send(message)
        data = data_to_send()
        data_sent()
        return data

    return encode


def websockets_protocol(client: bool) -> Any:
    from websockets.client import ClientProtocol
    from websockets.protocol import OPEN
    from websockets.server import ServerProtocol
    from websockets.uri import parse_uri

    if client:
        return ClientProtocol(parse_uri("ws://localhost/"), state=OPEN, max_size=None)
    return ServerProtocol(state=OPEN, max_size=None)


def websockets_decoder(client: bool) -> Decode:
    from websockets.frames import Opcode

    protocol = websockets_protocol(client)

    def decode(data: bytes) -> list[Any]:
        protocol.receive_data(data)
        return [
            frame.data.decode() if frame.opcode is Opcode.TEXT else frame.data
            for frame in protocol.events_received()
        ]

    return decode


def websockets_encoder(client: bool) -> Encode:
    protocol = websockets_protocol(client)

    def encode(message: Any) -> object:
        if isinstance(message, str):
            protocol.send_text(message.encode())
        else:
            protocol.send_binary(message)
        return protocol.data_to_send()

    return encode


def wsproto_connection(client: bool) -> Any:
    from wsproto.connection import CLIENT, SERVER, Connection

    return Connection(CLIENT if client else SERVER)


def wsproto_decoder(client: bool) -> Decode:
    from wsproto.events import Message

    connection = wsproto_connection(client)
    fragments: list[Any] = []

    def decode(data: bytes) -> list[Any]:
        connection.receive_data(data)
        messages = []
        for event in connection.events():
            if isinstance(event, Message):
                if event.message_finished and not fragments:
                    messages.append(event.data)
                else:
                    fragments.append(event.data)
                    if event.message_finished:
                        messages.append(type(event.data)().join(fragments))
                        fragments.clear()
        return messages

    return decode


def wsproto_encoder(client: bool) -> Encode:
    from wsproto.events import BytesMessage, TextMessage

    connection = wsproto_connection(client)

    def encode(message: Any) -> object:
        event = TextMessage if isinstance(message, str) else BytesMessage
        data: object = connection.send(event(data=message))
        return data

    return encode


class NullTransport:
    """As much of a transport as picows and aiohttp need to write to nowhere; its socket is a real one."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.socket = socket.create_connection(listener.getsockname())
            self._other_end = listener.accept()[0]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.socket if name == "socket" else default

    def get_write_buffer_size(self) -> int:
        # While something is buffered, picows gives its frames to `write`, not to the kernel.
        return 1

    def write(self, data: Any) -> None:
        pass

    def writelines(self, buffers: Any) -> None:
        pass

    def is_closing(self) -> bool:
        return False


def aiohttp_decoder(client: bool) -> Decode:
    from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader
    from aiohttp.base_protocol import BaseProtocol

    loop = asyncio.get_event_loop()
    queue = WebSocketDataQueue(BaseProtocol(loop), 2**30, loop=loop)
    reader = WebSocketReader(queue, 0, False, True)
    waiting = queue._buffer

    async def take_all() -> list[Any]:
        return [(await queue.read()).data for _ in range(len(waiting))]

    def decode(data: bytes) -> list[Any]:
        reader.feed_data(data)
        try:
            take_all().send(None)
        except StopIteration as done:
            messages: list[Any] = done.value
            return messages
        raise AssertionError("it waits for messages that have been received")

    return decode


def aiohttp_encoder(client: bool) -> Encode:
    from aiohttp._websocket.writer import WebSocketWriter
    from aiohttp.base_protocol import BaseProtocol
    from aiohttp.http_websocket import WSMsgType

    loop = asyncio.get_event_loop()
    writer = WebSocketWriter(BaseProtocol(loop), NullTransport(), use_mask=client, limit=UNLIMITED)

    def encode(message: Any) -> object:
        if isinstance(message, str):
            sending = writer.send_frame(message.encode(), WSMsgType.TEXT)
        else:
            sending = writer.send_frame(message, WSMsgType.BINARY)
        try:
            sending.send(None)
        except StopIteration:
            return None
        raise AssertionError("it waits to write")

    return encode


REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def picows_server(listener: Any) -> tuple[Any, Callable[[bytes], None]]:
    """Return picows' asyncio protocol of a server, and what copies bytes into its read buffer.

    picows has no interface without I/O. The copy is what ``recv_into`` would do.
    """
    from picows import WSAutoPingStrategy
    from picows.picows import WSProtocol

    protocol = WSProtocol(
        None, None, False, lambda request: listener, logging.getLogger("picows"), True, None, False, 10, 10,
        WSAutoPingStrategy.PING_WHEN_IDLE, True, UNLIMITED, None, 16 * 1024,
    )  # fmt: skip
    protocol.connection_made(NullTransport())

    def receive(data: bytes) -> None:
        view = memoryview(data)
        while view:
            room = protocol.get_buffer(-1)
            count = min(len(room), len(view))
            room[:count] = view[:count]
            protocol.buffer_updated(count)
            view = view[count:]

    receive(REQUEST)
    return protocol, receive


def picows_decoder(client: bool) -> Decode:
    from picows import WSListener, WSMsgType

    text = WSMsgType.TEXT
    messages: list[Any] = []

    class Collect(WSListener):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == text:
                messages.append(frame.get_payload_as_utf8_text())
            else:
                messages.append(frame.get_payload_as_bytes())

    _, receive = picows_server(Collect())

    def decode(data: bytes) -> list[Any]:
        receive(data)
        decoded = messages[:]
        messages.clear()
        return decoded

    return decode


def picows_encoder(client: bool) -> Encode:
    from picows import WSListener, WSMsgType

    text, binary = WSMsgType.TEXT, WSMsgType.BINARY
    protocol, _ = picows_server(WSListener())
    send = protocol.transport.send

    def encode(message: Any) -> object:
        send(text if isinstance(message, str) else binary, message)
        return protocol

    return encode


Codecs = tuple[Callable[[bool], Decode], Callable[[bool], Encode]]

CODECS: dict[str, Codecs] = {
    "wsproto_core": (own_decoder, own_encoder),
    "wsproto_core pure": (own_decoder, own_encoder),
    "websockets": (websockets_decoder, websockets_encoder),
    "wsproto": (wsproto_decoder, wsproto_encoder),
    "aiohttp": (aiohttp_decoder, aiohttp_encoder),
    "picows": (picows_decoder, picows_encoder),
}
"""By peer; `pure` is run in an environment that switches the compiled code off."""

SERVER_ONLY = frozenset(("aiohttp", "picows"))
"""Peers of which the tool drives only a server's decoder."""

WITHOUT_CLIENT_ENCODER = frozenset(("picows",))
"""picows' client would need the answer to a handshake with a random key."""


def is_installed(peer: str) -> bool:
    return importlib.util.find_spec(peer.split()[0]) is not None
