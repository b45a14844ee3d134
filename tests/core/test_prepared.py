"""Messages that are encoded once and sent many times."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from wsproto_core import ClientProtocol, Data, Protocol, ServerProtocol, Side
from wsproto_core.broadcast import deliver
from wsproto_core.exceptions import InvalidState
from wsproto_core.extensions import EncodingKey
from wsproto_core.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from wsproto_core.prepared import PreparedMessage
from wsproto_core.types import ExtensionName

from .deflate import TAIL, largest_distance
from .helpers import (
    BINARY,
    RSV1,
    RSV2,
    TEXT,
    Frame,
    both_sides,
    opened,
    opened_pair,
    opened_server,
    parse_frames,
    sent,
    transfer,
    written,
)
from .sample_extensions import Add, ServerFactory, Xor

SENTENCE = "all work and no play makes jack a dull boy " * 30


def deflating(**options: Any) -> tuple[ClientProtocol, ServerProtocol]:
    """A connection with compression, of which the server compresses whatever it is told to send."""
    client = ClientPerMessageDeflateFactory(client_max_window_bits=True, **options)
    return opened_pair(
        {"extensions": [client]}, {"extensions": [ServerPerMessageDeflateFactory(threshold=0)]}
    )


def received(client: Protocol, server: Protocol) -> list[Data]:
    """Let a client take what its server has sent."""
    transfer(server, client)
    messages = []
    while (message := client.next_message()) is not None:
        messages.append(message)
    assert client.state.name == "OPEN"
    return messages


# What is sent


def test_the_window_is_the_one_that_is_used_and_not_the_one_that_is_allowed() -> None:
    block = random.Random(1).randbytes(300)
    for size, window in ((None, 12), (14, 14)):
        client = ClientPerMessageDeflateFactory(client_max_window_bits=True)
        server = ServerPerMessageDeflateFactory(server_max_window_bits=size)
        _, sender = opened_pair({"extensions": [client]}, {"extensions": [server]})
        for distance in (2**window - 400, 2**window + 400):
            message = block + random.Random(distance).randbytes(distance - len(block)) + block
            sender.send(PreparedMessage(message, compress=True))
            (frame,) = sent(sender)
            assert frame.reserved == RSV1
            assert (largest_distance(frame.payload) > 2000) is (distance < 2**window)


@both_sides
@pytest.mark.parametrize(
    ("message", "text", "frame"),
    [
        ("é", None, Frame(TEXT, "é".encode())),
        (b"\xff", None, Frame(BINARY, b"\xff")),
        (bytearray(b"ab"), None, Frame(BINARY, b"ab")),
        (memoryview(b"ab"), None, Frame(BINARY, b"ab")),
        ("é", False, Frame(BINARY, "é".encode())),
        ("é", True, Frame(TEXT, "é".encode())),
        (b"ab", True, Frame(TEXT, b"ab")),
        (b"ab", False, Frame(BINARY, b"ab")),
        ("", None, Frame(TEXT)),
        (b"x" * 126, None, Frame(BINARY, b"x" * 126)),
        (b"x" * 70_000, None, Frame(BINARY, b"x" * 70_000)),
    ],
)
def test_a_prepared_message(side: Side, message: Any, text: bool | None, frame: Frame) -> None:
    prepared = PreparedMessage(message, text=text)
    for _ in range(2):
        protocol = opened(side)
        protocol.send("before")
        protocol.send(prepared)
        protocol.send(prepared)
        protocol.send("after")
        assert sent(protocol) == [Frame(TEXT, b"before"), frame, frame, Frame(TEXT, b"after")]


def test_servers_send_the_same_object() -> None:
    prepared = PreparedMessage("hello")
    buffers = []
    for _ in range(2):
        server = opened_server()
        server.send(prepared)
        buffers += server.data_to_send()
    assert buffers[0] is buffers[1]


def test_clients_mask_each_message_anew() -> None:
    prepared = PreparedMessage("hello" * 10)
    client = opened(Side.CLIENT)
    client.send(prepared)
    first = written(client)
    client.send(prepared)
    second = written(client)
    assert first != second
    assert parse_frames(first, masked=True) == parse_frames(second, masked=True)


def test_what_was_prepared_does_not_change() -> None:
    data = bytearray(b"before")
    prepared = PreparedMessage(data)
    data[:] = b"after!"
    for side in Side:
        protocol = opened(side)
        protocol.send(prepared)
        assert sent(protocol) == [Frame(BINARY, b"before")]


@pytest.mark.parametrize(
    ("message", "text", "error"),
    [
        (b"\xff", True, UnicodeDecodeError),
        ("\ud800", None, UnicodeEncodeError),
        (42, None, TypeError),
        (None, None, TypeError),
        (["a"], None, TypeError),
        ({"a": "b"}, None, TypeError),
    ],
)
def test_what_cannot_be_prepared(message: Any, text: bool | None, error: type[Exception]) -> None:
    with pytest.raises(error):
        PreparedMessage(message, text=text)


@both_sides
def test_it_is_sent_as_it_was_prepared(side: Side) -> None:
    protocol = opened(side)
    prepared = PreparedMessage("hello")
    for options in ({"text": True}, {"text": False}, {"compress": True}, {"compress": False}):
        with pytest.raises(TypeError, match="a prepared message is sent as it was prepared"):
            protocol.send(prepared, **options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a prepared message is sent whole, not as a fragment"):
        protocol.send(prepared, fin=False)
    assert written(protocol) == b""


@both_sides
def test_it_is_no_fragment(side: Side) -> None:
    protocol = opened(side)
    protocol.send("one", fin=False)
    with pytest.raises(InvalidState, match="cannot be sent among the fragments of another one"):
        protocol.send(PreparedMessage("two"))
    protocol.send("three")
    protocol.send(PreparedMessage("four"))
    payloads = [frame.payload for frame in sent(protocol)]
    assert payloads == [b"one", b"three", b"four"]


@both_sides
def test_it_is_counted_as_any_other(side: Side) -> None:
    protocol = opened(side)
    before = protocol.statistics
    protocol.send(PreparedMessage("hello"))
    assert protocol.queued == (7 if side is Side.SERVER else 11)
    written(protocol)
    after = protocol.statistics
    assert after.messages_sent == before.messages_sent + 1
    assert after.frames_sent == before.frames_sent + 1
    assert after.bytes_sent == before.bytes_sent + (7 if side is Side.SERVER else 11)


def test_repr() -> None:
    """The message itself may be long, and secret."""
    assert repr(PreparedMessage("é")) == "<PreparedMessage text, 1 characters>"
    assert repr(PreparedMessage(b"ab")) == "<PreparedMessage binary, 2 bytes>"


# Compression


def test_it_is_compressed_once_for_all() -> None:
    prepared = PreparedMessage(SENTENCE)
    buffers = []
    for _ in range(3):
        client, server = deflating()
        server.send(prepared)
        data = server.data_to_send()
        server.data_sent()
        buffers += data
        client.receive_data(b"".join(data))
        assert client.next_message() == SENTENCE
    assert buffers[0] is buffers[1] is buffers[2]
    (frame,) = parse_frames(buffers[0], masked=False)
    assert frame.reserved == RSV1
    assert len(frame.payload) < len(SENTENCE) / 5
    assert not frame.payload.endswith(TAIL)


def test_what_follows_refers_to_nothing_that_the_peer_does_not_have() -> None:
    """The compressor of a connection knows its own messages only, and starts anew."""
    client, server = deflating()
    first, second = os.urandom(300).hex(), os.urandom(300).hex()
    for message in (first, PreparedMessage(second), first, PreparedMessage(first), second, first + second):
        server.send(message)
        expected = message.message if isinstance(message, PreparedMessage) else message
        assert received(client, server) == [expected]


def test_the_compressor_goes_on_if_nothing_was_compressed() -> None:
    """What is sent uncompressed is in nobody's window (RFC 7692 section 7.2.3.3)."""
    client, server = deflating()
    message = os.urandom(300)
    server.send(message, compress=True)
    written_before = len(written(server))
    server.send(PreparedMessage("short", compress=False))
    server.send(message, compress=True)
    data = written(server)
    frames = parse_frames(data, masked=False)
    assert [frame.reserved for frame in frames] == [0, RSV1]
    assert len(data) < written_before / 3
    client.receive_data(data)


def test_one_that_is_not_compressed_after_one_that_was() -> None:
    """The compressor still has to start anew: the peer has in its window what the compressor has not."""
    client, server = deflating()
    own = "z" * 1000
    messages = [own, PreparedMessage("y" * 1000), PreparedMessage("short", compress=False), own]
    for message in messages:
        server.send(message)
        expected = message.message if isinstance(message, PreparedMessage) else message
        assert received(client, server) == [expected]


@pytest.mark.parametrize("bits", [8, 9, 10, 12, 15])
def test_any_window(bits: int) -> None:
    """Those who agreed on a smaller window get a frame of their own."""
    incompressible = os.urandom(700)
    prepared = PreparedMessage(incompressible * 4)
    for size in (15, bits, 15):
        client, server = deflating(server_max_window_bits=size)
        for _ in range(2):
            server.send(prepared)
            server.send(incompressible)
            assert received(client, server) == [incompressible * 4, incompressible]


def test_windows_make_different_frames() -> None:
    prepared = PreparedMessage(os.urandom(700) * 4)
    sizes = []
    for bits in (15, 9, 15):
        _, server = deflating(server_max_window_bits=bits)
        server.send(prepared)
        sizes.append(len(written(server)))
    assert sizes[0] == sizes[2] < sizes[1]


@pytest.mark.parametrize("server_no_context_takeover", [False, True])
def test_no_context_takeover(server_no_context_takeover: bool) -> None:
    client, server = deflating(server_no_context_takeover=server_no_context_takeover)
    for message in (SENTENCE, PreparedMessage(SENTENCE), SENTENCE):
        server.send(message)
    assert received(client, server) == [SENTENCE] * 3


@pytest.mark.parametrize(
    ("message", "compress", "threshold", "reserved"),
    [
        ("a" * 64, None, 64, RSV1),
        ("a" * 63, None, 64, 0),
        ("a" * 63, True, 64, RSV1),
        ("a" * 64, False, 64, 0),
        ("abc", None, 0, 0),  # it would be longer
        ("abc", True, 0, RSV1),
        ("", True, 0, RSV1),
    ],
)
def test_whether_to_compress(message: str, compress: bool | None, threshold: int, reserved: int) -> None:
    """The same as for messages that are not prepared."""
    offer = {"Sec_WebSocket_Extensions": "permessage-deflate"}
    extensions = [ServerPerMessageDeflateFactory(threshold=threshold)]
    server = opened_server(request_headers=offer, extensions=extensions)
    server.send(PreparedMessage(message, compress=compress))
    (frame,) = sent(server)
    server = opened_server(request_headers=offer, extensions=extensions)
    server.send(message, compress=compress)
    assert sent(server) == [frame]
    assert frame.reserved == reserved


def test_settings_of_the_compressor() -> None:
    prepared = PreparedMessage(SENTENCE)
    offer = {"Sec_WebSocket_Extensions": "permessage-deflate"}
    settings: list[dict[str, Any]] = [{"level": 0}, {"level": 9}, {"level": 9, "memLevel": 9}, {"level": 0}]
    sizes = []
    for compress_settings in settings:
        factory = ServerPerMessageDeflateFactory(compress_settings=compress_settings)
        server = opened_server(request_headers=offer, extensions=[factory])
        server.send(PreparedMessage(SENTENCE, compress=True))
        server.send(prepared)
        sizes.append(len(written(server)))
    assert sizes[0] == sizes[3] > len(SENTENCE) > sizes[1]


def test_clients_compress_each_message_themselves() -> None:
    client, server = deflating()
    prepared = PreparedMessage(SENTENCE)
    for _ in range(2):
        client.send(prepared)
        client.send(SENTENCE)
    data = written(client)
    sizes = [len(frame.payload) for frame in parse_frames(data, masked=True)]
    # Each refers to those before.
    assert sizes[1] < sizes[0] / 3
    assert sizes[2] < sizes[0] / 3
    server.receive_data(data)
    assert [server.next_message() for _ in range(4)] == [SENTENCE] * 4


def test_after_idling() -> None:
    client, server = deflating()
    for message in (SENTENCE, PreparedMessage(SENTENCE), SENTENCE, PreparedMessage(SENTENCE), SENTENCE):
        server.send(message)
        assert received(client, server) == [SENTENCE]
        for protocol in (client, server):
            for extension in protocol.extensions:
                extension.release()


# What cannot be shared


class Compressing(PerMessageDeflate):
    """It may do anything."""


def extended(*extensions: Any) -> Protocol:
    return Protocol(Side.SERVER, clock=lambda: 0.0, extensions=extensions)


def make_deflate(kind: type[PerMessageDeflate] = PerMessageDeflate, **options: Any) -> PerMessageDeflate:
    return kind(remote_no_context_takeover=False, local_no_context_takeover=False, **options)


@pytest.mark.parametrize(
    "extensions",
    [
        lambda: [Compressing(remote_no_context_takeover=False, local_no_context_takeover=False)],
        lambda: [make_deflate(), Xor()],
        lambda: [Xor(), make_deflate()],
    ],
)
def test_other_extensions_see_it_as_any_other(extensions: Any) -> None:
    prepared = PreparedMessage(SENTENCE)
    one, other = extended(*extensions()), extended(*extensions())
    for _ in range(2):
        one.send(prepared)
        other.send(SENTENCE)
    assert sent(one) == sent(other)


def test_an_extension_that_knows_nothing_of_compression() -> None:
    offer = {"Sec_WebSocket_Extensions": "x-xor"}
    server = opened_server(request_headers=offer, extensions=[ServerFactory(Xor)])
    server.send(PreparedMessage(b"\x00"))
    assert sent(server) == [Frame(BINARY, b"\xff", reserved=RSV2)]
    protocol = extended(Add(), Xor())
    protocol.send(PreparedMessage(b"\x00"))
    assert [frame.payload for frame in sent(protocol)] == [b"\xfe"]


# Extensions that share frames


class Reversal(EncodingKey):
    def encode(self, payload: bytes, compress: bool | None) -> tuple[int, bytes]:
        return RSV2, payload[::-1]


REVERSAL = Reversal()


class Reverse(Xor):
    """Reverses messages, in a way that all of its connections have in common."""

    name = ExtensionName("x-reverse")

    def __init__(self) -> None:
        super().__init__()
        self.cancelled = 0

    def encode(self, data: bytes, *, first: bool, final: bool) -> tuple[int, bytes]:
        return RSV2, data[::-1]

    def cancel_encoding(self) -> None:
        self.cancelled += 1

    def encoding_key(self) -> EncodingKey:
        return REVERSAL


def test_another_extension_shares_frames_by_its_key() -> None:
    prepared = PreparedMessage(b"abc")
    frames = []
    for _ in range(2):
        extension = Reverse()
        server = extended(extension)
        server.send(prepared)
        frames += server.data_to_send()
        server.data_sent()
        # The peer has seen a message that the extension has not.
        assert extension.cancelled == 0
        server.send(b"def")
        server.send(b"ghi")
        assert extension.cancelled == 1
        assert sent(server) == [Frame(BINARY, b"fed", reserved=RSV2), Frame(BINARY, b"ihg", reserved=RSV2)]
        (delivery,) = [deliver(server, prepared)]
        assert delivery == frames[:1]
    assert frames[0] is frames[1]
