"""Large payloads are received into the memory of the message under construction."""

from __future__ import annotations

import pytest

from wsproto_core import Protocol, ServerProtocol, Side, State
from wsproto_core.codec import encode_frame
from wsproto_core.events import Failure, Fragment
from wsproto_core.extensions.permessage_deflate import PerMessageDeflate
from wsproto_core.observing import Observer

KEY = b"\x37\xfa\x21\x3d"


def opened(side: Side = Side.CLIENT, deflate: bool = False) -> Protocol:
    extension = PerMessageDeflate(remote_no_context_takeover=True, local_no_context_takeover=True)
    return Protocol(side, clock=lambda: 0.0, extensions=[extension] if deflate else [], max_size=None)


def receive_in_place(protocol: Protocol, data: bytes) -> bytes:
    """Give as many of the bytes in this way as can be; return the rest."""
    while data and (buffer := protocol.get_buffer()) is not None:
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        protocol.buffer_updated(count)
        data = data[count:]
    return data


@pytest.mark.parametrize("message", ["x" * 300_000, b"\xff" * 300_000, "a" + "é" * 200_000, "x" * 65536])
@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("there", [0, 1, 3, 1000])
def test_a_message(message: str | bytes, side: Side, there: int) -> None:
    """Whatever part of the payload has come with the header."""
    key = KEY if side is Side.SERVER else b""
    first = 0x81 if isinstance(message, str) else 0x82
    header, *_ = encode_frame(first, message, key)
    data = b"".join(encode_frame(first, message, key))
    protocol = opened(side)
    start = len(header) + there
    protocol.receive_data(data[:start])
    rest = receive_in_place(protocol, data[start:])
    assert protocol.statistics.bytes_received == len(data) - len(rest)
    assert protocol.has_input is not bool(rest)
    protocol.receive_data(rest)
    assert protocol.next_message() == message
    assert protocol.get_buffer() is None


def test_memory_is_for_one_frame() -> None:
    """The memory ends where the frame ends, and grows with what has arrived."""
    protocol = opened()
    protocol.receive_data(b"\x02\x7f" + (400_000).to_bytes(8, "big") + b"x")
    sizes = []
    while (buffer := protocol.get_buffer()) is not None:
        sizes.append(len(buffer))
        buffer[:] = b"x" * len(buffer)
        protocol.buffer_updated(len(buffer))
    assert sizes == [131072, 131073, 137854]
    assert protocol.get_buffer() is None
    protocol.receive_data(b"\x80\x01y")
    assert protocol.next_message() == b"x" * 400_000 + b"y"


def test_pieces_of_a_message() -> None:
    protocol = opened()
    protocol.receive_data(b"\x81\x7f" + (200_000).to_bytes(8, "big"))
    assert protocol.next_fragment() is None
    assert receive_in_place(protocol, b"x" * 100_000 + b"\xc3") == b""
    assert protocol.has_input
    assert protocol.next_fragment() == Fragment("x" * 100_000, False)
    assert receive_in_place(protocol, b"\xa9" + b"y" * 99_998) == b""
    assert protocol.next_fragment() == Fragment("é" + "y" * 99_998, True)


def test_a_text_that_is_not_utf_8() -> None:
    protocol = opened()
    protocol.receive_data(b"\x81\x7f" + (200_000).to_bytes(8, "big"))
    assert receive_in_place(protocol, b"x\xff") == b""
    (failure,) = protocol.events()
    assert isinstance(failure, Failure)
    assert failure.error.code == 1007  # type: ignore[attr-defined]
    assert protocol.get_buffer() is None


def test_bytes_after_the_end_are_dropped() -> None:
    protocol = opened()
    protocol.receive_data(b"\x82\x7f" + (200_000).to_bytes(8, "big"))
    buffer = protocol.get_buffer()
    assert buffer is not None
    protocol.fail(ValueError("enough"))
    protocol.buffer_updated(len(buffer))
    assert protocol.get_buffer() is None


def large_frame_has_begun(protocol: Protocol, first: int = 0x82, length: int = 200_000) -> Protocol:
    protocol.receive_data(bytes((first, 0x7F)) + length.to_bytes(8, "big"))
    return protocol


def test_other_bytes_are_received_in_another_way() -> None:
    assert opened().get_buffer() is None
    shorter = large_frame_has_begun(opened(), length=65536)
    assert shorter.get_buffer() is not None
    shorter.receive_data(b"x")
    assert shorter.get_buffer() is None
    # Extensions and observers see each piece.
    assert large_frame_has_begun(opened(deflate=True), 0xC2).get_buffer() is None
    observed = opened()
    observed.observe(Observer())
    assert large_frame_has_begun(observed).get_buffer() is None
    # The opening handshake.
    server = ServerProtocol(clock=lambda: 0.0)
    assert server.get_buffer() is None
    assert server.state is State.CONNECTING
