"""Hostile input to permessage-deflate: each row of the list of such input has its tests here."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from collections.abc import Iterable
from typing import Any

import pytest

from wsproto_core import ClientProtocol, Close, Failure, Ping, Pong, Protocol, ServerProtocol, Side, State
from wsproto_core.exceptions import InvalidPayload, NegotiationError, PayloadTooBig, ProtocolError
from wsproto_core.extensions import permessage_deflate as module
from wsproto_core.extensions.permessage_deflate import MAX_FINAL_BLOCKS, PerMessageDeflate

from .deflate import TAIL, raw
from .helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    TEXT,
    URI,
    Chunking,
    Clock,
    Frame,
    answer,
    any_chunking,
    both_sides,
    check_failed,
    close_payload,
    feed,
    from_peer,
    opened,
    request,
    sent,
    transfer,
    whole,
    written,
)

both_takeovers = pytest.mark.parametrize("takeover", [True, False], ids=["takeover", "no takeover"])

HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692 section 7.2.3.1
HELLO_AGAIN = bytes.fromhex("f200110000")  # section 7.2.3.2
HELLO_STORED = bytes.fromhex("000500faff48656c6c6f00")  # section 7.2.3.3
HELLO_FINAL = bytes.fromhex("f348cdc9c9070000")  # section 7.2.3.4
HELLO_IN_TWO = bytes.fromhex("f248050000 00ffffcac9c90700".replace(" ", ""))  # section 7.2.3.5


def using(side: Side, *, takeover: bool = True, bits: int = 15, **options: Any) -> Protocol:
    extension = PerMessageDeflate(
        remote_no_context_takeover=not takeover,
        local_no_context_takeover=not takeover,
        remote_max_window_bits=bits,
        local_max_window_bits=bits,
    )
    return Protocol(side, clock=Clock(), extensions=[extension], ping_interval=None, **options)


def compressed(payload: bytes, opcode: int = TEXT, fin: bool = True) -> Frame:
    return Frame(opcode, payload, fin, RSV1)


def by_reads(data: bytes) -> Iterable[bytes]:
    return (data[index : index + 65536] for index in range(0, len(data), 65536))


# Row 16


@both_sides
@pytest.mark.parametrize("size", [512 * 1024, 64 * 2**20, 512 * 2**20])
@pytest.mark.parametrize("chunking", [whole, by_reads])
def test_row_16_an_inflate_bomb(side: Side, size: int, chunking: Chunking) -> None:
    """It is stopped at the limit, in memory near the limit."""
    limit = 2**18 if size < 2**20 else 2**20
    block = bytes(2**20)
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    payload = b"".join(compressor.compress(block[:size]) for _ in range(max(1, size // 2**20)))
    payload += compressor.flush(zlib.Z_SYNC_FLUSH)
    for max_size in limit, len(payload) + 1:
        if len(payload) > max_size:
            continue
        protocol = using(side, max_size=max_size)
        data = from_peer(protocol, compressed(payload, BINARY))
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for chunk in chunking(data):
                protocol.receive_data(chunk)
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        # Besides: the copies of the read itself, and what an inflater needs.
        assert peak < 2 * max_size + 3 * len(max(chunking(data), key=len)) + 2**18
        assert check_failed(protocol, protocol.events(), 1009, PayloadTooBig) == []


@both_sides
@any_chunking
def test_row_16_a_bomb_in_fragments(side: Side, chunking: Chunking) -> None:
    payload = raw(bytes(10**6))
    pieces = [payload[index : index + 100] for index in range(0, len(payload), 100)]
    protocol = using(side, max_size=50_000)
    frames = [compressed(pieces[0], fin=False), *[Frame(CONTINUATION, piece, False) for piece in pieces[1:]]]
    events = feed(protocol, from_peer(protocol, *frames), chunking)
    assert check_failed(protocol, events, 1009, PayloadTooBig) == []


# Row 17


@both_sides
@any_chunking
def test_row_17_the_limit_after_inflating(side: Side, chunking: Chunking) -> None:
    protocol = using(side, max_size=1000)
    data = from_peer(protocol, compressed(raw(b"a" * 1000)), compressed(raw(b"b" * 1001)))
    events = feed(protocol, data, chunking)
    assert check_failed(protocol, events, 1009, PayloadTooBig) == ["a" * 1000]


@both_sides
@any_chunking
def test_row_17_the_limit_on_the_wire(side: Side, chunking: Chunking) -> None:
    """What is larger as it comes than as a message: decided at the header."""
    protocol = using(side, max_size=100)
    data = from_peer(protocol, compressed(raw(b"a" * 94, level=0)), compressed(raw(b"", level=0) * 101))
    events = feed(protocol, data[:-95], chunking)
    assert check_failed(protocol, events, 1009, PayloadTooBig) == ["a" * 94]


class Overshooting:
    """A replacement for zlib that returns more than it is asked for."""

    error = zlib.error
    compressobj = staticmethod(zlib.compressobj)
    Z_SYNC_FLUSH = zlib.Z_SYNC_FLUSH

    class Inflater:
        def __init__(self, inflater: Any) -> None:
            self.inflater = inflater
            self.unconsumed_tail = b""

        eof = property(lambda self: self.inflater.eof)
        unused_data = property(lambda self: self.inflater.unused_data)

        def decompress(self, data: bytes, max_length: int = 0) -> bytes:
            return self.inflater.decompress(data)  # type: ignore[no-any-return]

        def copy(self) -> Overshooting.Inflater:
            return Overshooting.Inflater(self.inflater.copy())

    @staticmethod
    def decompressobj(bits: int, zdict: bytes) -> Overshooting.Inflater:
        return Overshooting.Inflater(zlib.decompressobj(bits, zdict=zdict))


@both_sides
@any_chunking
def test_row_17_a_library_that_overshoots_its_limit(
    side: Side, chunking: Chunking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "zlib", Overshooting)
    protocol = using(side, max_size=1000)
    data = from_peer(protocol, compressed(raw(b"a" * 1000)), compressed(raw(b"b" * 100_000)))
    events = feed(protocol, data, chunking)
    assert check_failed(protocol, events, 1009, PayloadTooBig) == ["a" * 1000]


# Row 18


@both_sides
@both_takeovers
@any_chunking
def test_row_18_control_frames_between_compressed_fragments(
    side: Side, takeover: bool, chunking: Chunking
) -> None:
    protocol = using(side, takeover=takeover)
    frames = [
        compressed(HELLO[:3], fin=False),
        Frame(PING, b"ping"),
        Frame(CONTINUATION, HELLO[3:5], fin=False),
        Frame(PONG, b"pong"),
        Frame(CONTINUATION, HELLO[5:]),
        compressed(HELLO[:4], fin=False),
        Frame(CLOSE, close_payload(1000)),
    ]
    events = feed(protocol, from_peer(protocol, *frames), chunking)
    assert events == [Ping(b"ping"), Pong(b"pong"), "Hello", Close(1000, "")]
    assert [frame for frame in sent(protocol) if frame.opcode != PONG] == [Frame(CLOSE, close_payload(1000))]


# Row 19


@both_sides
@both_takeovers
@any_chunking
@pytest.mark.parametrize(
    "payload",
    [
        HELLO,
        HELLO_STORED,
        HELLO_FINAL,
        HELLO_FINAL[:-1],
        HELLO_IN_TWO,
        HELLO_FINAL + HELLO[:0],
        raw(b"Hel", finish=True) + raw(b"lo"),
        raw(b"Hel", finish=True) + raw(b"lo", finish=True),
        raw(b"Hel", finish=True) + raw(b"", finish=True) * 5 + raw(b"lo", finish=True) + b"\0",
        raw(b"", finish=True) + HELLO,
        raw(b"", finish=True) + b"\0" + TAIL + HELLO,
    ],
    ids=lambda payload: payload.hex(),
)
@pytest.mark.parametrize("last", [0, 1, 2])
def test_row_19_any_blocks_and_then_other_messages(
    side: Side, takeover: bool, chunking: Chunking, payload: bytes, last: int
) -> None:
    """A final block, several blocks; the last bytes in a fragment of their own, or none in the last one."""
    split = len(payload) - last
    frames = [compressed(payload[:split], fin=False), Frame(CONTINUATION, payload[split:])]
    protocol = using(side, takeover=takeover)
    data = from_peer(protocol, *frames, compressed(HELLO), *frames, compressed(payload), compressed(HELLO))
    assert feed(protocol, data, chunking) == ["Hello"] * 5


@both_sides
@any_chunking
@pytest.mark.parametrize("payload", [HELLO, HELLO_FINAL, HELLO_STORED])
def test_row_19_history_behind_a_final_block(side: Side, chunking: Chunking, payload: bytes) -> None:
    """The next message may refer to what came before it."""
    protocol = using(side)
    frames = [compressed(payload), compressed(HELLO_AGAIN), Frame(TEXT, b"plain"), compressed(HELLO_AGAIN)]
    assert feed(protocol, from_peer(protocol, *frames), chunking) == ["Hello", "Hello", "plain", "Hello"]

    protocol = using(side, takeover=False)
    events = feed(protocol, from_peer(protocol, *frames[:2]), chunking)
    assert check_failed(protocol, events, 1007, InvalidPayload) == ["Hello"]


@both_sides
@both_takeovers
@any_chunking
@pytest.mark.parametrize("payload", [b"", b"\0", raw(b"", finish=True), raw(b"", level=0)])
def test_row_19_empty_messages(side: Side, takeover: bool, chunking: Chunking, payload: bytes) -> None:
    protocol = using(side, takeover=takeover)
    frames = [
        compressed(payload),
        compressed(HELLO),
        compressed(payload, fin=False),
        Frame(CONTINUATION, fin=False),
        Frame(CONTINUATION),
        compressed(payload, BINARY),
        compressed(HELLO),
    ]
    assert feed(protocol, from_peer(protocol, *frames), chunking) == ["", "Hello", "", b"", "Hello"]


@both_sides
@any_chunking
def test_row_19_too_many_final_blocks(side: Side, chunking: Chunking) -> None:
    """Each costs more to receive than to send."""
    blocks = raw(b"", finish=True) * MAX_FINAL_BLOCKS
    protocol = using(side)
    data = from_peer(protocol, compressed(blocks + b"\0"), compressed(blocks + raw(b"", finish=True)))
    assert check_failed(protocol, feed(protocol, data, chunking), 1007, InvalidPayload) == [""]


# Row 20


@both_sides
@any_chunking
@pytest.mark.parametrize(
    "payload",
    [
        b"\xff" * 10,
        b"garbage!",
        HELLO_AGAIN,  # before anything was sent
        HELLO[:-2],  # cut off
        HELLO[:3],
        HELLO_STORED[:7],
        HELLO + HELLO_STORED[:4],
        b"\x00\x64\x00\x9b\xffHello",  # announced to be longer
        b"\x01\x05\x00\x05\x00Hello",  # the wrong complement
        HELLO_FINAL + b"\x07",  # the reserved kind of block
    ],
    ids=lambda payload: payload.hex(),
)
def test_row_20_what_is_not_deflate(side: Side, chunking: Chunking, payload: bytes) -> None:
    protocol = using(side)
    data = from_peer(protocol, compressed(b"\0"), compressed(payload, BINARY))
    assert check_failed(protocol, feed(protocol, data, chunking), 1007, InvalidPayload) == [""]


@both_sides
def test_row_20_noise_and_damage(side: Side) -> None:
    """Whatever comes, there is a message or 1007, and no other error."""
    source = random.Random(9)
    good = raw(bytes(source.choices(b"abcd", k=500)))
    for number in range(500):
        payload = bytearray(good if number % 2 else source.randbytes(source.randrange(1, 60)))
        payload[source.randrange(len(payload))] ^= 1 << source.randrange(8)
        protocol = using(side, max_size=2000)
        events = feed(protocol, from_peer(protocol, compressed(bytes(payload), BINARY)))
        if protocol.state is not State.OPEN:
            code = sent(protocol)[-1].payload[:2]
            assert code in (close_payload(1007), close_payload(1009))
        else:
            assert len(events) == 1


@both_sides
@any_chunking
@pytest.mark.parametrize("bits", [8, 9, 12])
def test_row_20_a_window_smaller_than_was_used(side: Side, chunking: Chunking, bits: int) -> None:
    """The right message or 1007, and never a wrong one."""
    source = random.Random(10)
    block = source.randbytes(3000 if bits == 12 else 400)
    message = block + source.randbytes(2000) + block
    protocol = using(side, bits=bits)
    events = feed(protocol, from_peer(protocol, compressed(raw(message), BINARY)), chunking)
    if protocol.state is State.OPEN:
        assert events == [message]
    else:
        assert check_failed(protocol, events, 1007, InvalidPayload) == []

    # The same across messages, of which the last refers to the first.
    compressor = zlib.compressobj(wbits=-15)
    messages = [block, message[len(block) : -len(block)], block]
    protocol = using(side, bits=bits)
    frames = [
        compressed((compressor.compress(each) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4], BINARY)
        for each in messages
    ]
    events = feed(protocol, from_peer(protocol, *frames), chunking)
    assert check_failed(protocol, events, 1007, InvalidPayload) == messages[:2]


# Row 21: see test_permessage_deflate.py for all parameters


@any_chunking
@pytest.mark.parametrize(
    ("offer", "accepted"),
    [
        ("permessage-deflate; client_max_window_bits=abc", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; client_max_window_bits=16", None),
        ("permessage-deflate; client_max_window_bits=8; client_max_window_bits=8", None),
        ("permessage-deflate; unknown=1", None),
        ('permessage-deflate; client_max_window_bits="8"', "client_max_window_bits=8"),
        (
            "permessage-deflate; unknown, permessage-deflate; client_max_window_bits=8",
            "max_window_bits=8",
        ),
    ],
)
def test_row_21_parameters_in_an_offer(offer: str, accepted: str | None, chunking: Chunking) -> None:
    server = ServerProtocol(clock=Clock())
    feed(server, request(Sec_WebSocket_Extensions=offer), chunking)
    server.accept()
    header = written(server).decode()
    assert ("Sec-WebSocket-Extensions" in header) is (accepted is not None)
    assert (accepted or "") in header


@any_chunking
@pytest.mark.parametrize(
    ("answered", "bits"),
    [
        ("permessage-deflate; server_max_window_bits=abc", None),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=12; server_max_window_bits=12", None),
        ("permessage-deflate; server_max_window_bits=12; unknown=1", None),
        ("permessage-deflate; server_max_window_bits=12, permessage-deflate", None),
        ('permessage-deflate; server_max_window_bits="8"', (8, 15)),
        ("permessage-deflate; server_max_window_bits=12; client_max_window_bits=8", (12, 8)),
    ],
)
def test_row_21_parameters_in_an_answer(
    answered: str, bits: tuple[int, int] | None, chunking: Chunking
) -> None:
    client = ClientProtocol(URI, clock=Clock())
    events = feed(client, answer(client, Sec_WebSocket_Extensions=answered), chunking)
    if bits is None:
        (failure,) = events
        assert isinstance(failure, Failure)
        assert isinstance(failure.error, NegotiationError)
        assert failure.error is client.handshake_error
        assert client.state is State.CLOSING
    else:
        (extension,) = client.extensions
        assert isinstance(extension, PerMessageDeflate)
        assert (extension.remote_max_window_bits, extension.local_max_window_bits) == bits


@both_sides
def test_row_21_a_window_of_8_bits(side: Side) -> None:
    """zlib has no such raw window to compress with: a peer that has one understands us nevertheless."""
    protocol = using(side, bits=8)
    inflater = zlib.decompressobj(-8)
    message = bytes(random.Random(11).choices(b"abcdefgh", k=5000))
    for _ in range(5):
        protocol.send(message)
        (frame,) = sent(protocol)
        assert frame.reserved == RSV1
        assert inflater.decompress(frame.payload + TAIL) == message


# Row 22


@both_sides
@any_chunking
@pytest.mark.parametrize("negotiated", [True, False])
def test_row_22_reserved_bits_where_they_mean_nothing(
    side: Side, chunking: Chunking, negotiated: bool
) -> None:
    """RSV1 on a continuation or a control frame, or without permessage-deflate: 1002."""
    good = compressed(HELLO, fin=False) if negotiated else Frame(TEXT, b"", fin=False)
    wrong = [
        [good, Frame(CONTINUATION, HELLO, reserved=RSV1)],
        [Frame(PING, HELLO, reserved=RSV1)],
        [Frame(CLOSE, close_payload(1000), reserved=RSV1)],
    ]
    if not negotiated:
        wrong.append([compressed(HELLO)])
    for frames in wrong:
        protocol = using(side) if negotiated else opened(side)
        events = feed(protocol, from_peer(protocol, *frames), chunking)
        assert check_failed(protocol, events, 1002, ProtocolError) == []


@both_sides
def test_row_22_contexts_after_a_cancelled_message(side: Side) -> None:
    """What was compressed and not sent is forgotten: both ends have the same context."""
    sender = using(side)
    receiver = using(Side.SERVER if side is Side.CLIENT else Side.CLIENT)
    secret = random.Random(12).randbytes(200)
    for _ in range(3):
        extension = sender.extensions[0]
        extension.encode(secret, first=True, final=True, compress=True)
        extension.cancel_encoding()
        sender.send(secret * 2, compress=True)
        transfer(sender, receiver)
        assert receiver.events() == [secret * 2]
