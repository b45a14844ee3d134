"""``websockets.framing``: one frame at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.websockets import framing
from adapters.websockets.exceptions import PayloadTooBig, ProtocolError
from adapters.websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)
from adapters.websockets.framing import (
    OP_BINARY,
    OP_CLOSE,
    OP_CONT,
    OP_PING,
    OP_PONG,
    OP_TEXT,
    Frame,
    encode_data,
    parse_close,
    prepare_data,
    serialize_close,
)
from tests.core.sample_extensions import Xor


def test_opcodes() -> None:
    assert [OP_CONT, OP_TEXT, OP_BINARY, OP_CLOSE, OP_PING, OP_PONG] == [0, 1, 2, 8, 9, 10]


def written(frame: Frame, *, mask: bool = False, extensions: Any = None) -> bytes:
    data: list[bytes] = []
    result: Any = frame.write(data.append, mask=mask, extensions=extensions)
    assert result is None
    return b"".join(data)


async def read(data: bytes, *, mask: bool = False, **options: Any) -> Frame:
    """Read a frame, by a reader that returns fewer bytes at the end of file."""
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    stream.feed_eof()
    frame = await Frame.read(stream.read, mask=mask, **options)
    assert await stream.read() == b""
    return frame


def test_fields() -> None:
    frame = Frame(fin=True, opcode=OP_TEXT, data=b"x", rsv1=False, rsv2=False, rsv3=True)
    assert (frame.fin, frame.opcode, frame.data) == (True, OP_TEXT, b"x")
    assert (frame.rsv1, frame.rsv2, frame.rsv3) == (False, False, True)
    assert Frame(True, OP_TEXT, b"x") == Frame(True, OP_TEXT, b"x", False, False, False)


@pytest.mark.parametrize(
    "frame",
    [
        Frame(True, OP_TEXT, b"x", rsv1=True),
        Frame(True, OP_TEXT, b"x", rsv2=True),
        Frame(True, OP_TEXT, b"x", rsv3=True),
        Frame(True, 3, b"x"),
        Frame(True, 16, b"x"),
        Frame(False, OP_PING, b""),
        Frame(True, OP_PING, bytes(126)),
    ],
)
def test_check(frame: Frame) -> None:
    with pytest.raises(ProtocolError):
        frame.check()
    with pytest.raises(ProtocolError):
        written(frame)
    result: Any = Frame(True, OP_TEXT, b"x").check()
    assert result is None


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
async def test_write_and_read(size: int, mask: bool) -> None:
    frame = Frame(True, OP_BINARY, b"\xaa" * size)
    data = written(frame, mask=mask)
    assert await read(data, mask=mask) == frame
    assert isinstance(await read(data, mask=mask, max_size=size), Frame)
    with pytest.raises(ProtocolError):
        await read(data, mask=not mask)
    if size:
        with pytest.raises(PayloadTooBig):
            await read(data, mask=mask, max_size=size - 1)


def test_bytes_of_examples() -> None:
    assert written(Frame(True, OP_TEXT, b"Hello")) == b"\x81\x05Hello"
    masked = written(Frame(True, OP_TEXT, b"Hello"), mask=True)
    assert masked[:2] == b"\x81\x85"
    assert len(masked) == 11
    assert masked != written(Frame(True, OP_TEXT, b"Hello"), mask=True)


async def test_stream_that_ends() -> None:
    data = written(Frame(True, OP_TEXT, b"x" * 200), mask=True)
    for end in range(len(data)):
        with pytest.raises(EOFError):
            await read(data[:end], mask=True)


async def test_readexactly() -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(b"\x81\x05Hello\x81")
    assert (await Frame.read(stream.readexactly, mask=False)).data == b"Hello"
    stream.feed_eof()
    with pytest.raises(EOFError):
        await Frame.read(stream.readexactly, mask=False)


async def test_read_of_invalid_frames() -> None:
    for data in b"\x83\x00", b"\xc1\x00", b"\x09\x00", b"\x89\x7e\x00\x7e" + bytes(126):
        with pytest.raises(ProtocolError):
            await read(data)


# Extensions


class Reversing:
    """An extension that is written for this interface."""

    def __init__(self) -> None:
        self.limits: list[int | None] = []

    def encode(self, frame: Frame) -> Frame:
        return Frame(frame.fin, frame.opcode, frame.data[::-1], rsv2=True)

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        self.limits.append(max_size)
        return Frame(frame.fin, frame.opcode, frame.data[::-1])


class Appending:
    """Another one, that does not care for ``max_size``."""

    def encode(self, frame: Frame) -> Frame:
        return Frame(frame.fin, frame.opcode, frame.data + b"!", rsv2=frame.rsv2)

    def decode(self, frame: Frame) -> Frame:
        assert frame.data.endswith(b"!")
        return Frame(frame.fin, frame.opcode, frame.data[:-1], rsv2=frame.rsv2)


async def test_extensions_apply_in_order_and_in_reverse_order() -> None:
    reversing = Reversing()
    extensions = [reversing, Appending()]
    data = written(Frame(True, OP_TEXT, b"abc"), extensions=extensions)
    assert data == b"\xa1\x04cba!"
    assert await read(data, extensions=extensions, max_size=10) == Frame(True, OP_TEXT, b"abc")
    assert reversing.limits == [10]


async def test_reserved_bits_that_no_extension_takes_away() -> None:
    with pytest.raises(ProtocolError):
        await read(b"\xa1\x01!", extensions=[Appending()])


def deflates() -> tuple[Any, Any]:
    """The client's and the server's end of permessage-deflate."""
    client, server = ClientPerMessageDeflateFactory(), ServerPerMessageDeflateFactory()
    params, server_end = server.process_request_params(client.get_request_params(), [])
    return client.process_response_params(params, []), server_end


async def test_permessage_deflate() -> None:
    client, server = deflates()
    payload = b"x" * 100_000
    for frames in (
        [Frame(True, OP_TEXT, payload)],
        [Frame(False, OP_BINARY, payload), Frame(False, OP_CONT, b""), Frame(True, OP_CONT, payload)],
        [Frame(False, OP_TEXT, payload), Frame(True, OP_PING, b"ping"), Frame(True, OP_CONT, b"x")],
        [Frame(True, OP_TEXT, b"small")],
    ):
        received = []
        for frame in frames:
            data = written(frame, mask=True, extensions=[client])
            assert len(data) < 1000
            assert bool(data[0] & 0x40) is (frame.opcode in (OP_TEXT, OP_BINARY) and len(frame.data) > 10)
            received.append(await read(data, mask=True, extensions=[server]))
        assert [frame.opcode for frame in received] == [frame.opcode for frame in frames]
        assert b"".join(frame.data for frame in received) == b"".join(frame.data for frame in frames)
        assert not any(frame.rsv1 for frame in received)


async def test_max_size_holds_for_what_is_inflated() -> None:
    client, server = deflates()
    data = written(Frame(True, OP_TEXT, b"x" * 10**6), extensions=[client])
    with pytest.raises(PayloadTooBig):
        await read(data, extensions=[server], max_size=10**5)


async def test_another_extension_of_the_library() -> None:
    data = written(Frame(True, OP_TEXT, b"abc"), extensions=[Xor()])
    assert await read(data, extensions=[Xor()]) == Frame(True, OP_TEXT, b"abc")


async def test_what_takes_any_keyword_is_given_max_size() -> None:
    class Extension(Appending):
        def decode(self, frame: Frame, **options: Any) -> Frame:
            assert options == {"max_size": None}
            return super().decode(frame)

    assert (await read(b"\x81\x02a!", extensions=[Extension()])).data == b"a"


# Payloads


def test_prepare_data() -> None:
    assert prepare_data("café") == (OP_TEXT, b"caf\xc3\xa9")
    for data in b"tea", bytearray(b"tea"), memoryview(b"tea"):
        opcode, payload = prepare_data(data=data)
        assert (opcode, bytes(payload)) == (OP_BINARY, b"tea")
    wrong: Any
    for wrong in None, 1, ["a"]:
        with pytest.raises(TypeError):
            prepare_data(wrong)


def test_encode_data() -> None:
    assert encode_data("café") == b"caf\xc3\xa9"
    for data in b"tea", bytearray(b"tea"), memoryview(b"tea"):
        assert encode_data(data=data) == b"tea"
        assert type(encode_data(data)) is bytes
    wrong: Any
    for wrong in None, 1, ["a"]:
        with pytest.raises(TypeError):
            encode_data(wrong)


def test_parse_close_and_serialize_close() -> None:
    for code, reason, data in (
        (1000, "", b"\x03\xe8"),
        (1001, "café", b"\x03\xe9caf\xc3\xa9"),
        (1005, "", b""),
    ):
        assert serialize_close(code=code, reason=reason) == data
        assert parse_close(data=data) == (code, reason)
    for data in b"\x03", b"\x03\xe7", b"\x03\xed":
        with pytest.raises(ProtocolError):
            parse_close(data)
    with pytest.raises(UnicodeDecodeError):
        parse_close(b"\x03\xe8\xff")


def test_names_are_listed() -> None:
    assert {"Frame", "OP_TEXT", "prepare_data", "parse_close"} <= set(framing.__all__)
