"""Hostile input. The number in a test's name is that of the row in the list of such input.

What a client and a server have in common is tried on both, and in several chunkings.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from wsproto_core import (
    ClientProtocol,
    Close,
    ConnectionClosedError,
    ConnectionClosedOK,
    Failure,
    HandshakeTimeout,
    InvalidHandshake,
    InvalidStatusCode,
    Ping,
    Pong,
    Protocol,
    Request,
    Response,
    ServerProtocol,
    Side,
    State,
    StreamAction,
    make_response,
)
from wsproto_core.exceptions import (
    InvalidHeader,
    InvalidHeaderValue,
    InvalidMessage,
    InvalidPayload,
    InvalidUpgrade,
    NegotiationError,
    PayloadTooBig,
    ProtocolError,
    SecurityError,
)

from .helpers import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    MASKING_KEY,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    URI,
    Chunking,
    Clock,
    Frame,
    answer,
    any_chunking,
    both_sides,
    by_sevens,
    check_failed,
    close_payload,
    feed,
    first_apart,
    frame,
    from_peer,
    header_from_peer,
    one_by_one,
    opened,
    opened_client,
    opened_server,
    parse_head,
    peak_memory,
    reach_deadline,
    request,
    response,
    sent,
    whole,
    written,
)
from .sample_extensions import ClientFactory, Repeat, ServerFactory, Xor

GOOD = Frame(TEXT, b"good")


def opened_with_extension(side: Side, extension: type[Any], **options: Any) -> Protocol:
    """A connection that has negotiated an extension."""
    if side is Side.SERVER:
        offer = {"Sec_WebSocket_Extensions": extension.name}
        return opened_server(request_headers=offer, extensions=[ServerFactory(extension)], **options)
    response = {"Sec_WebSocket_Extensions": extension.name}
    return opened_client(response_headers=response, extensions=[ClientFactory(extension)], **options)


def count_calls(function: Callable[[], object]) -> int:
    """How many calls, to functions in Python and in C, a function makes: its work, whatever the machine."""
    calls = 0

    def profile(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


# Frames


@any_chunking
@both_sides
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_row_01_a_frame_with_the_mask_of_the_other_side(side: Side, opcode: int, chunking: Chunking) -> None:
    """A server takes masked frames only, a client unmasked ones only: anything else is 1002."""
    protocol = opened(side)
    payload = close_payload(1000) if opcode == CLOSE else b"abc"
    wrong = frame(opcode, payload, masked=side is Side.CLIENT)
    events = feed(protocol, from_peer(protocol, GOOD) + wrong, chunking)
    assert check_failed(protocol, events, 1002, ProtocolError) == ["good"]


@any_chunking
@both_sides
@pytest.mark.parametrize("opcode", [0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF])
def test_row_02_a_reserved_opcode(side: Side, opcode: int, chunking: Chunking) -> None:
    """An opcode without a meaning is 1002, known as soon as the frame's first two bytes are there."""
    protocol = opened(side)
    data = from_peer(protocol, GOOD) + header_from_peer(protocol, opcode, 5)
    assert check_failed(protocol, feed(protocol, data, chunking), 1002, ProtocolError) == ["good"]


@any_chunking
@both_sides
@pytest.mark.parametrize("reserved", [RSV1, RSV2, RSV3, RSV1 | RSV2 | RSV3])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_row_03_a_reserved_bit_that_no_extension_uses(
    side: Side, opcode: int, reserved: int, chunking: Chunking
) -> None:
    """Reserved bits mean nothing without an extension: 1002 when the first two bytes are there."""
    protocol = opened(side)
    data = from_peer(protocol, GOOD) + header_from_peer(protocol, opcode, 5, reserved=reserved)
    assert check_failed(protocol, feed(protocol, data, chunking), 1002, ProtocolError) == ["good"]


@any_chunking
@both_sides
@pytest.mark.parametrize("reserved", [RSV1, RSV3])
def test_row_03_a_reserved_bit_that_another_extension_would_use(
    side: Side, reserved: int, chunking: Chunking
) -> None:
    """An extension that uses RSV2 does not allow the two others."""
    protocol = opened_with_extension(side, Xor)
    data = header_from_peer(protocol, TEXT, 5, reserved=reserved | RSV2)
    assert check_failed(protocol, feed(protocol, data, chunking), 1002, ProtocolError) == []


@any_chunking
@both_sides
@pytest.mark.parametrize("extension", [None, Xor])
@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE, CONTINUATION])
def test_row_04_a_reserved_bit_on_a_control_frame_or_continuation(
    side: Side, opcode: int, extension: type[Xor] | None, chunking: Chunking
) -> None:
    """Only a message's first frame may have a reserved bit, even of an extension in use: else 1002."""
    protocol = opened(side) if extension is None else opened_with_extension(side, extension)
    data = from_peer(protocol, Frame(BINARY, b"abc", fin=False))
    data += header_from_peer(protocol, opcode, 5, reserved=RSV2)
    assert check_failed(protocol, feed(protocol, data, chunking), 1002, ProtocolError) == []


@any_chunking
@both_sides
@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize(
    ("length", "fin"), [(126, True), (1000, True), (65536, True), (2**63, True), (0, False), (125, False)]
)
def test_row_05_a_control_frame_that_is_too_long_or_fragmented(
    side: Side, opcode: int, length: int, fin: bool, chunking: Chunking
) -> None:
    """Over 125 bytes or without FIN: 1002 from the first two bytes, before the length or a payload."""
    protocol = opened(side)
    data = from_peer(protocol, GOOD) + header_from_peer(protocol, opcode, length, fin=fin)[:2]
    assert check_failed(protocol, feed(protocol, data, chunking), 1002, ProtocolError) == ["good"]


@any_chunking
@both_sides
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize(
    ("length", "length_bytes"), [(0, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65535, 8)]
)
def test_row_06_a_length_that_is_not_in_its_shortest_form(
    side: Side, opcode: int, length: int, length_bytes: int, chunking: Chunking
) -> None:
    """More bytes than a length needs: 1002, before the masking key and the payload are there."""
    protocol = opened(side)
    data = from_peer(protocol, GOOD) + header_from_peer(protocol, opcode, length, length_bytes=length_bytes)
    assert check_failed(protocol, feed(protocol, data, chunking), 1002, ProtocolError) == ["good"]


@both_sides
@pytest.mark.parametrize("length", [0, 125, 126, 65535, 65536])
def test_row_06_a_length_in_its_shortest_form(side: Side, length: int) -> None:
    """The lengths at which the form changes are accepted in their right forms."""
    protocol = opened(side)
    assert feed(protocol, from_peer(protocol, Frame(BINARY, b"x" * length))) == [b"x" * length]


@any_chunking
@both_sides
@pytest.mark.parametrize("max_size", [2**20, None])
@pytest.mark.parametrize("length", [2**63, 2**64 - 1])
def test_row_07_a_length_with_its_top_bit_set(
    side: Side, length: int, max_size: int | None, chunking: Chunking
) -> None:
    """A 64-bit length is not negative: 1002, also without any limit."""
    protocol = opened(side, max_size=max_size)
    data = from_peer(protocol, GOOD) + header_from_peer(protocol, BINARY, length)
    assert check_failed(protocol, feed(protocol, data, chunking), 1002, ProtocolError) == ["good"]


@any_chunking
@both_sides
@pytest.mark.parametrize(
    ("max_size", "length"),
    [(100, 101), (1000, 1001), (2**20, 2**20 + 1), (2**20, 2**32), (2**20, 2**63 - 1), ((None, 100), 101)],
)
def test_row_07_a_declared_length_over_the_limit(
    side: Side, max_size: Any, length: int, chunking: Chunking
) -> None:
    """Too large a message is 1009 when its length is known, before the masking key and the payload."""
    protocol = opened(side, max_size=max_size)
    data = from_peer(protocol, GOOD) + header_from_peer(protocol, BINARY, length)
    assert check_failed(protocol, feed(protocol, data, chunking), 1009, PayloadTooBig) == ["good"]


@any_chunking
@both_sides
def test_row_07_fragments_that_exceed_the_limit_together(side: Side, chunking: Chunking) -> None:
    """The limit is the message's: the fragment with which it is exceeded is refused at its header."""
    protocol = opened(side, max_size=1000)
    fragments = [Frame(BINARY, b"x" * 600, fin=False), Frame(CONTINUATION, b"x" * 400, fin=False)]
    assert feed(protocol, from_peer(protocol, *fragments), chunking) == []
    events = feed(protocol, header_from_peer(protocol, CONTINUATION, 1), chunking)
    assert check_failed(protocol, events, 1009, PayloadTooBig) == []


@both_sides
def test_row_07_nothing_is_allocated_for_a_declared_length(side: Side) -> None:
    """A header that announces a huge payload costs nothing until the payload comes."""
    protocol = opened(side, max_size=None)
    header = header_from_peer(protocol, BINARY, 2**40) + (MASKING_KEY if side is Side.SERVER else b"")
    assert peak_memory(lambda: protocol.receive_data(header + b"x")) < 100_000
    assert protocol.receiving


@any_chunking
@both_sides
def test_row_08_a_continuation_without_a_start(side: Side, chunking: Chunking) -> None:
    """There is nothing to continue, at first or after a whole message: 1002 at the header."""
    for before in ([], [GOOD], [Frame(TEXT, b"go", fin=False), Frame(CONTINUATION, b"od")]):
        protocol = opened(side)
        data = from_peer(protocol, *before) + header_from_peer(protocol, CONTINUATION, 5)
        events = check_failed(protocol, feed(protocol, data, chunking), 1002, ProtocolError)
        assert events == (["good"] if before else [])


@any_chunking
@both_sides
@pytest.mark.parametrize("first", [b"", b"begun"])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_row_08_a_message_within_a_message(side: Side, opcode: int, first: bytes, chunking: Chunking) -> None:
    """A message has to end before the next begins, even if nothing of it has come: 1002 at the header."""
    protocol = opened(side)
    data = from_peer(protocol, Frame(TEXT, first, fin=False)) + header_from_peer(protocol, opcode, 5)
    assert check_failed(protocol, feed(protocol, data, chunking), 1002, ProtocolError) == []


@pytest.mark.parametrize("chunking", [whole, by_sevens])
@both_sides
@pytest.mark.parametrize("payload", [b"", b"x"])
def test_row_09_too_many_fragments(side: Side, payload: bytes, chunking: Chunking) -> None:
    """Tiny fragments are limited in number: 1009 at the header of the first one beyond."""
    protocol = opened(side)
    count = 16384 + 16384 * len(payload) // 64 + len(payload) * 4
    fragments = from_peer(protocol, Frame(BINARY, payload, fin=False))
    fragments += from_peer(protocol, Frame(CONTINUATION, payload, fin=False)) * (count - 1)
    assert feed(protocol, fragments, chunking) == []
    events = feed(protocol, header_from_peer(protocol, CONTINUATION, 0) + MASKING_KEY, chunking)
    assert check_failed(protocol, events, 1009, PayloadTooBig) == []


@both_sides
def test_row_09_many_fragments_take_the_memory_of_their_bytes(side: Side) -> None:
    """What a message in tiny fragments occupies is accounted for: its bytes, and nothing a fragment."""
    protocol = opened(side, max_fragments=None)
    fragments = from_peer(protocol, Frame(TEXT, b"x", fin=False))
    fragments += from_peer(protocol, Frame(CONTINUATION, b"x", fin=False)) * 20_000

    def receive() -> None:
        for position in range(0, len(fragments), 1000):
            protocol.receive_data(fragments[position : position + 1000])

    assert peak_memory(receive) < 250_000


@both_sides
def test_row_09_fragments_are_counted_anew_in_each_message(side: Side) -> None:
    """A connection is not punished for its past: the count ends with the message."""
    protocol = opened(side, max_fragments=10)
    message = [Frame(TEXT, b"x", fin=False), *[Frame(CONTINUATION, b"", fin=False)] * 8]
    data = from_peer(protocol, *message, Frame(CONTINUATION, b"y"))
    for _ in range(100):
        assert feed(protocol, data) == ["xy"]
        assert feed(protocol, from_peer(protocol, GOOD)) == ["good"]
    events = feed(protocol, from_peer(protocol, *message, Frame(CONTINUATION, fin=False)))
    assert events == []
    events = feed(protocol, header_from_peer(protocol, CONTINUATION, 0) + MASKING_KEY)
    assert check_failed(protocol, events, 1009, PayloadTooBig) == []


def varied_frames(protocol: Protocol) -> bytes:
    """Ten thousand frames of all kinds."""
    kinds = [
        Frame(TEXT, "grüße".encode()),
        Frame(PING, b"ping"),
        Frame(BINARY, b"\0\xff" * 3),
        Frame(TEXT, "ü".encode()[:1], fin=False),
        Frame(PONG),
        Frame(CONTINUATION, "ü".encode()[1:], fin=False),
        Frame(PING),
        Frame(CONTINUATION),
        Frame(BINARY),
        Frame(BINARY, b"x" * 126),
    ]
    return from_peer(protocol, *kinds) * 1000


VARIED_EVENTS = ["grüße", Ping(b"ping"), b"\0\xff" * 3, Pong(b""), Ping(b""), "ü", b"", b"x" * 126]


@pytest.mark.parametrize("chunking", [whole, one_by_one, by_sevens])
@both_sides
def test_row_10_ten_thousand_frames(side: Side, chunking: Chunking) -> None:
    """All at once or byte by byte: the events are the same."""
    protocol = opened(side)
    assert feed(protocol, varied_frames(protocol), chunking) == VARIED_EVENTS * 1000


@both_sides
def test_row_10_work_is_linear(side: Side) -> None:
    """Twice as many frames, or bytes of a message, need twice the work, whatever the chunking."""

    def work(frames: Callable[[Protocol], bytes], chunking: Chunking) -> int:
        protocol = opened(side, max_size=None, max_queue=None, read_limit=None)
        data = frames(protocol)
        return count_calls(lambda: [protocol.receive_data(chunk) for chunk in chunking(data)])

    def many(count: int) -> Callable[[Protocol], bytes]:
        return lambda protocol: from_peer(protocol, GOOD, Frame(PING)) * count

    def one(size: int) -> Callable[[Protocol], bytes]:
        return lambda protocol: from_peer(protocol, Frame(TEXT, b"x" * size))

    for chunking in (whole, one_by_one, by_sevens):
        assert work(many(800), chunking) <= 2 * work(many(400), chunking) + 100
        assert work(one(8000), chunking) <= 2 * work(one(4000), chunking) + 100


@both_sides
def test_row_10_a_message_byte_by_byte_takes_the_memory_of_its_bytes(side: Side) -> None:
    """No object is kept for each byte that arrives on its own."""
    protocol = opened(side)
    data = from_peer(protocol, Frame(BINARY, b"x" * 20_000))

    def receive() -> None:
        for chunk in one_by_one(data[:-1]):
            protocol.receive_data(chunk)

    assert peak_memory(receive) < 100_000
    assert feed(protocol, data[-1:]) == [b"x" * 20_000]


@any_chunking
@both_sides
def test_row_11_data_after_a_close_frame(side: Side, chunking: Chunking) -> None:
    """What follows the close frame is ignored, however wrong it is, and so is a second close frame."""
    protocol = opened(side)
    close = from_peer(protocol, GOOD, Frame(CLOSE, close_payload(1000, "bye")))
    after = from_peer(protocol, Frame(TEXT, b"late"), Frame(PING), Frame(CLOSE, close_payload(4000)))
    events = feed(protocol, close + after + b"\xff" * 1000, chunking)
    assert events == ["good", Close(1000, "bye")]
    assert sent(protocol) == [Frame(CLOSE, close_payload(1000))]
    assert protocol.close_code == 1000
    assert protocol.close_reason == "bye"


@any_chunking
@both_sides
def test_row_11_a_close_frame_within_a_message(side: Side, chunking: Chunking) -> None:
    """A close frame between fragments closes as ever; the message is not delivered."""
    protocol = opened(side)
    frames = [
        Frame(TEXT, b"half", fin=False),
        Frame(CLOSE, close_payload(1001)),
        Frame(CONTINUATION, b"other"),
    ]
    assert feed(protocol, from_peer(protocol, *frames), chunking) == [Close(1001)]
    assert sent(protocol) == [Frame(CLOSE, close_payload(1001))]


@any_chunking
@both_sides
@pytest.mark.parametrize("written_before", [True, False])
def test_row_11_both_sides_close_at_once(side: Side, written_before: bool, chunking: Chunking) -> None:
    """Two close frames that cross each other are both first, and one answer to each other."""
    protocol = opened(side)
    protocol.close(4000, "ours")
    ours = [Frame(CLOSE, close_payload(4000, "ours"))]
    if written_before:
        assert sent(protocol) == ours
    assert feed(protocol, from_peer(protocol, Frame(CLOSE, close_payload(4001, "theirs"))), chunking) == [
        Close(4001, "theirs")
    ]
    assert sent(protocol) == ([] if written_before else ours)
    exception = protocol.close_exception()
    assert exception.code == 4001
    assert exception.received == Close(4001, "theirs")
    assert exception.sent == Close(4000, "ours")
    assert exception.received_first is False


@any_chunking
@both_sides
@pytest.mark.parametrize(
    "payload",
    [
        *[
            close_payload(code)
            for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 9999, 65535)
        ],
        b"\x03",
    ],
)
def test_row_12_a_close_frame_that_is_wrong(side: Side, payload: bytes, chunking: Chunking) -> None:
    """A code that nobody may send, or half a code: 1002."""
    protocol = opened(side)
    events = feed(protocol, from_peer(protocol, GOOD, Frame(CLOSE, payload)), chunking)
    assert check_failed(protocol, events, 1002, ProtocolError) == ["good"]


@any_chunking
@both_sides
@pytest.mark.parametrize("reason", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80"])
def test_row_12_a_reason_that_is_not_utf8(side: Side, reason: bytes, chunking: Chunking) -> None:
    """A reason is text: 1007 if it is not."""
    protocol = opened(side)
    events = feed(protocol, from_peer(protocol, Frame(CLOSE, close_payload(1000) + reason)), chunking)
    assert check_failed(protocol, events, 1007, InvalidPayload) == []


@both_sides
@pytest.mark.parametrize(
    "code",
    [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999],
)
def test_row_12_a_close_frame_that_is_right(side: Side, code: int) -> None:
    """Registered and private codes pass, and are answered in kind."""
    protocol = opened(side)
    reason = "é" * 61 + "!"
    assert feed(protocol, from_peer(protocol, Frame(CLOSE, close_payload(code, reason)))) == [
        Close(code, reason)
    ]
    assert sent(protocol) == [Frame(CLOSE, close_payload(code))]


@any_chunking
@both_sides
def test_row_12_an_empty_close_frame(side: Side, chunking: Chunking) -> None:
    """No code is answered by no code, and is 1005 for the application."""
    protocol = opened(side)
    assert feed(protocol, from_peer(protocol, Frame(CLOSE)), chunking) == [Close(1005)]
    assert sent(protocol) == [Frame(CLOSE)]
    assert protocol.close_code == 1005
    assert protocol.close_reason == ""


# The good part, and the byte with which it becomes bad.
NOT_UTF8 = [
    (b"a", b"\x80"),
    (b"a", b"\xff"),
    ("ü".encode(), b"\xc0"),
    (b"a\xc3", b"("),
    (b"\xe0", b"\x9f"),
    (b"\xed", b"\xa0"),
    (b"a\xf0\x9f\x98", b"a"),
    (b"\xf0", b"\x8f"),
    (b"\xf4", b"\x90"),
    (b"", b"\xf5"),
]


@any_chunking
@both_sides
@pytest.mark.parametrize(("good", "bad"), NOT_UTF8)
def test_row_13_text_that_is_not_utf8(side: Side, good: bytes, bad: bytes, chunking: Chunking) -> None:
    """The bad byte itself is 1007; neither the frame's nor the message's end is waited for."""
    for fin, before in ((True, b""), (False, b""), (False, b"before")):
        protocol = opened(side)
        data = from_peer(protocol, Frame(TEXT, before, fin=False)) if before else b""
        opcode = CONTINUATION if before else TEXT
        data += from_peer(protocol, Frame(opcode, good + bad + b"abc", fin=fin))[:-3]
        assert feed(protocol, data[:-1], chunking) == []
        assert protocol.receiving
        events = feed(protocol, data[-1:])
        assert check_failed(protocol, events, 1007, InvalidPayload) == []


@any_chunking
@both_sides
@pytest.mark.parametrize("text", [b"\xc3", b"a\xe2\x82", b"\xf0\x9f\x98"])
def test_row_13_text_that_ends_within_a_character(side: Side, text: bytes, chunking: Chunking) -> None:
    """What is missing of a character at the message's end does not come any more: 1007."""
    for frames in ([Frame(TEXT, text)], [Frame(TEXT, text, fin=False), Frame(CONTINUATION)]):
        protocol = opened(side)
        events = feed(protocol, from_peer(protocol, *frames), chunking)
        assert check_failed(protocol, events, 1007, InvalidPayload) == []


@any_chunking
@both_sides
def test_row_13_a_character_split_across_fragments(side: Side, chunking: Chunking) -> None:
    """Fragments may end anywhere in a character."""
    protocol = opened(side)
    text = "x\u00fc\u20ac\U0001f600"
    first, *rest = (Frame(CONTINUATION, byte, fin=False) for byte in one_by_one(text.encode()))
    data = from_peer(protocol, first._replace(opcode=TEXT), *rest, Frame(CONTINUATION))
    assert feed(protocol, data, chunking) == [text]


@both_sides
def test_row_14_a_ping_flood_from_a_peer_that_never_reads(side: Side) -> None:
    """However many pings come, the latest is answered, and memory stays bounded."""
    protocol = opened(side)
    pings = from_peer(protocol, *(Frame(PING, b"%04d" % number * 30) for number in range(500)))

    def flood() -> None:
        for _ in range(40):
            protocol.receive_data(pings)

    flood()  # from here on nothing more is kept
    assert peak_memory(flood) < 600_000
    pongs = sent(protocol)
    assert pongs[-1] == Frame(PONG, b"0499" * 30)
    assert len(pongs) <= 1500
    assert len(protocol.events()) <= 1024 + 500


@both_sides
def test_row_14_a_ping_flood_while_data_wait_to_be_written(side: Side) -> None:
    """What waits to be written does not grow by pongs either."""
    protocol = opened(side)
    protocol.send("stuck")
    protocol.data_to_send()
    for number in range(1000):
        protocol.receive_data(from_peer(protocol, Frame(PING, b"%d" % number)))
    assert protocol.writable
    assert sent(protocol) == [Frame(PONG, b"999")]


@any_chunking
@both_sides
def test_row_15_pongs_that_nobody_asked_for(side: Side, chunking: Chunking) -> None:
    """Unsolicited, repeated and late pongs are events that answer nothing, and harm nobody."""
    protocol = opened(side)
    first, second = protocol.ping(b"1"), protocol.ping(b"2")
    unknown, late, again = Frame(PONG, b"?"), Frame(PONG, first), Frame(PONG, second)
    events = feed(protocol, from_peer(protocol, unknown, again, again, late, Frame(PONG)), chunking)
    assert events == [
        Pong(b"?"),
        Pong(b"2", ((b"1", 0.0), (b"2", 0.0))),
        Pong(b"2"),
        Pong(b"1"),
        Pong(b""),
    ]


@both_sides
def test_row_15_pings_outstanding_without_end(side: Side) -> None:
    """Pings that wait for a pong are limited; so are those of the keepalive."""
    clock = Clock()
    protocol = opened(side, clock, ping_timeout=None)
    for _ in range(1024):
        protocol.ping()
    with pytest.raises(RuntimeError, match="1024 pings wait for their pong already"):
        protocol.ping()
    assert len(sent(protocol)) == 1024
    for _ in range(3):
        reach_deadline(protocol, clock)
        assert sent(protocol) == []


@any_chunking
@both_sides
@pytest.mark.parametrize("payload", [b"", b"\xaa\x00\x00", b"\x00" * 1000])
def test_row_22_a_compressed_frame_when_compression_was_not_negotiated(
    side: Side, payload: bytes, chunking: Chunking
) -> None:
    """Without an agreement nothing is inflated: 1002."""
    protocol = opened(side)
    events = feed(protocol, from_peer(protocol, GOOD, Frame(TEXT, payload, reserved=RSV1)), chunking)
    assert check_failed(protocol, events, 1002, ProtocolError) == ["good"]


# Opening handshake


def refused(server: ServerProtocol, data: bytes, chunking: Chunking = whole) -> int:
    """Let a server refuse a request, by itself or when asked to accept it; return the status."""
    events = []
    for chunk in chunking(data):
        server.receive_data(chunk)
        events += server.events()
    if server.state is State.CONNECTING:
        assert events == [server.request]
        assert isinstance(server.request, Request)
        server.accept()
        events = server.events()
    (failure,) = events
    assert isinstance(failure, Failure)
    assert failure.error is server.handshake_error
    assert isinstance(failure.error, InvalidHandshake)
    head = parse_head(written(server))
    assert server.stream_action is StreamAction.SEND_EOF
    assert head.headers["connection"].endswith("close")
    assert int(head.headers["content-length"]) == len(head.body)
    # What still comes is nothing, neither HTTP nor WebSocket.
    assert feed(server, request() + frame(TEXT, b"late", masked=True), chunking) == []
    assert written(server) == b""
    return head.status


def check_refused_by_client(
    data: bytes | Callable[[ClientProtocol], bytes],
    error: type[InvalidHandshake],
    chunking: Chunking = whole,
    **options: Any,
) -> ClientProtocol:
    """Let a client refuse a response."""
    client = ClientProtocol(URI, clock=Clock(), **options)
    data = answer(client) + data if isinstance(data, bytes) else data(client)
    (failure,) = feed(client, data, chunking)
    assert isinstance(failure, Failure)
    assert type(failure.error) is error
    assert failure.error is client.handshake_error
    assert failure.remote
    assert client.stream_action is StreamAction.CLOSE
    assert written(client) == b""
    return client


@any_chunking
@pytest.mark.parametrize(
    "changes",
    [
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": "UPGRADE,keep-alive"},
        {"Connection": ["keep-alive", "upgrade"]},
        {"Upgrade": "WebSocket"},
        {"Upgrade": "h2c, websocket"},
        {"Upgrade": ["h2c", "WEBSOCKET"]},
    ],
)
def test_row_23_upgrade_among_other_tokens(changes: dict[str, Any], chunking: Chunking) -> None:
    """Lists and any case are accepted where a request asks for the upgrade."""
    server = ServerProtocol(clock=Clock())
    feed(server, request(**changes), chunking)
    assert server.accept().status == 101


@any_chunking
@pytest.mark.parametrize(
    "changes",
    [
        {"Host": None},
        {"Host": ""},
        {"Host": ["server.example.com", "server.example.com"]},
        {"Host": ["server.example.com", "other.example.com"]},
        {"Host": "server.example.com/path"},
        {"Sec_WebSocket_Key": [KEY, KEY]},
        {"Sec_WebSocket_Key": None},
        {"Sec_WebSocket_Key": "too short"},
    ],
)
def test_row_24_host_or_key_missing_or_doubled(changes: dict[str, Any], chunking: Chunking) -> None:
    """What must be there exactly once is an error otherwise, and not one of two values: 400."""
    assert refused(ServerProtocol(clock=Clock()), request(**changes), chunking) == 400


@any_chunking
@pytest.mark.parametrize("version", [None, "0", "8", "12", "14", "013", "+13", "13, 8", ["13", "13"]])
def test_row_25_missing_or_wrong_version(version: Any, chunking: Chunking) -> None:
    """Another version than 13: 426, which tells the right one."""
    server = ServerProtocol(clock=Clock())
    assert refused(server, request(Sec_WebSocket_Version=version), chunking) == 426
    assert server.response is not None
    assert server.response.headers["Sec-WebSocket-Version"] == "13"


@any_chunking
@pytest.mark.parametrize(
    ("start", "statuses"),
    [
        ("POST /chat HTTP/1.1", {405}),
        ("CONNECT server.example.com:80 HTTP/1.1", {405}),
        ("GET /chat HTTP/1.0", {400, 505}),
        ("GET /chat HTTP/0.9", {400, 505}),
        ("GET /chat", {400}),
    ],
)
def test_row_25_another_method_or_version_of_http(start: str, statuses: set[int], chunking: Chunking) -> None:
    """Only GET in HTTP/1.1 can be an opening handshake."""
    server = ServerProtocol(clock=Clock())
    assert refused(server, request(start), chunking) in statuses


def endless(start: bytes, more: bytes) -> Iterable[bytes]:
    yield start
    while True:
        yield more


@pytest.mark.parametrize("size", [1, 100, 65536])
@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: y\r\n"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"x" * 1000),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", b"X-Long-Header: " + b"x" * 7000 + b"\r\n"),
        (b"", b"x" * 1000),
    ],
    ids=["headers", "line", "all", "request line"],
)
def test_row_26_a_head_without_end(start: bytes, more: bytes, size: int) -> None:
    """Too many headers, too long a line, too much in all: 431 or 400 at once, and little is kept."""
    server = ServerProtocol(clock=Clock())

    def receive() -> None:
        received = 0
        for piece in endless(start, more):
            for position in range(0, len(piece), size):
                server.receive_data(piece[position : position + size])
            received += len(piece)
            if server.handshake_error is not None:
                break
        assert received < 50_000

    assert peak_memory(receive) < 500_000
    assert isinstance(server.handshake_error, SecurityError)
    assert parse_head(written(server)).status in (400, 431)
    assert server.stream_action is StreamAction.SEND_EOF
    assert peak_memory(lambda: [server.receive_data(b"x" * 65536) for _ in range(100)]) < 200_000


@any_chunking
@pytest.mark.parametrize(
    "lines",
    ["X: y\r\n" * 500, f"X: {'x' * 65536}\r\n", f"X: {'x' * 8000}\r\n" * 131],
    ids=["500 headers", "a line of 64 KiB", "1 MiB"],
)
def test_row_26_a_head_that_is_too_large(lines: str, chunking: Chunking) -> None:
    """A complete head over a limit is refused as well as an incomplete one, for any chunking."""
    if chunking is one_by_one:
        lines = lines[:70_000]
    data = b"GET / HTTP/1.1\r\nHost: a\r\n" + lines.encode() + b"\r\n"
    server = ServerProtocol(clock=Clock())
    feed(server, data, chunking)
    assert isinstance(server.handshake_error, SecurityError)
    assert parse_head(written(server)).status == 431


@any_chunking
@pytest.mark.parametrize("character", [chr(code) for code in (0, 1, 7, 8, 11, 12, 27, 31, 127)])
def test_row_27_control_characters(character: str, chunking: Chunking) -> None:
    """A control character in a header's value is answered with 400."""
    server = ServerProtocol(clock=Clock())
    assert refused(server, request(X_Header=f"a{character}b"), chunking) == 400


@any_chunking
def test_row_27_bare_line_feeds(chunking: Chunking) -> None:
    """Lines may end without a carriage return, for each chunking."""
    server = ServerProtocol(clock=Clock())
    (event,) = feed(server, request().replace(b"\r\n", b"\n"), chunking)
    assert event == server.request
    assert server.accept().status == 101


@any_chunking
@pytest.mark.parametrize(
    "changes",
    [
        {"Content_Length": "5"},
        {"Content_Length": "00001"},
        {"Transfer_Encoding": "chunked"},
        {"Transfer_Encoding": "identity"},
        {"Content_Length": "0", "Transfer_Encoding": "chunked"},
    ],
)
def test_row_28_a_body_on_the_request(changes: dict[str, str], chunking: Chunking) -> None:
    """A request with a body is no opening handshake: 400, and the body is not parsed as anything."""
    server = ServerProtocol(clock=Clock())
    assert refused(server, request(**changes), chunking) in (400, 501)


@any_chunking
def test_row_28_a_body_of_no_bytes(chunking: Chunking) -> None:
    """A length of zero is no body."""
    server = ServerProtocol(clock=Clock())
    feed(server, request(Content_Length="0"), chunking)
    assert server.accept().status == 101


@any_chunking
def test_row_28_a_frame_behind_the_request(chunking: Chunking) -> None:
    """A frame that the client sends without waiting is delivered, whenever the request is accepted."""
    server = ServerProtocol(clock=Clock())
    events = feed(server, request() + frame(TEXT, b"early", masked=True), chunking)
    assert events == [server.request]
    server.accept()
    assert server.events() == ["early"]


@any_chunking
def test_row_28_a_second_request_behind_the_request(chunking: Chunking) -> None:
    """What follows a request is never parsed as HTTP: not when it is accepted, not when it is refused."""
    second = request("GET /admin HTTP/1.1")
    server = ServerProtocol(clock=Clock())
    assert feed(server, request() + second, chunking) == [server.request]
    server.accept()
    (failure,) = server.events()
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, ProtocolError)

    server = ServerProtocol(clock=Clock())
    assert feed(server, request() + second, chunking) == [server.request]
    server.reject(make_response(404))
    assert server.events() == []
    assert written(server).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("drip", [b"", b"x"])
def test_row_29_a_peer_that_is_slow_with_the_handshake(side: Side, drip: bytes) -> None:
    """The opening deadline is not extended by what trickles in."""
    clock = Clock()
    protocol: Protocol
    if side is Side.SERVER:
        protocol = ServerProtocol(clock=clock, open_timeout=10)
        drops = one_by_one(b"GET / HTTP/1.1\r\nHost: " + b"x" * 100)
    else:
        protocol = ClientProtocol(URI, clock=clock, open_timeout=10)
        written(protocol)
        drops = one_by_one(b"HTTP/1.1 101 " + b"x" * 100)
    deadline = protocol.deadline()
    assert deadline == clock.now + 10
    while clock.now < deadline:
        if drip:
            protocol.receive_data(next(iter(drops)))
        clock.advance(1)
        protocol.handle_timeout()
        assert protocol.deadline() in (deadline, None)
    (failure,) = protocol.events()
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, HandshakeTimeout)
    assert protocol.stream_action is StreamAction.ABORT


INJECTIONS = ["a\r\nX-Injected: b", "a\rb", "a\nb", "a\0b", "a\x7fb"]


@pytest.mark.parametrize("text", INJECTIONS)
def test_row_30_injection_by_a_client_is_refused_where_it_is_given(text: str) -> None:
    """A line break or a NUL in anything that the request holds is the caller's error, at the call."""
    for options in (
        {"origin": text},
        {"user_agent_header": text},
        {"subprotocols": [text]},
        {"extra_headers": {"X-Header": text}},
        {"extra_headers": {text: "value"}},
        {"extra_headers": [("X-Header", text)]},
    ):
        with pytest.raises(ValueError, match=r".") as raised:
            ClientProtocol(URI, clock=Clock(), **options)  # type: ignore[arg-type]
        assert not isinstance(raised.value, InvalidHandshake)
    with pytest.raises(ValueError, match="invalid"):
        ClientProtocol(f"ws://server.example.com/{text}", clock=Clock())


@pytest.mark.parametrize("text", INJECTIONS)
def test_row_30_injection_by_a_server_is_refused_where_it_is_given(text: str) -> None:
    """The same for a response: at the option, or at the command; the request can still be answered."""
    for options in (
        {"server_header": text},
        {"subprotocols": [text]},
        {"extra_headers": {"X-Header": text}},
        {"extra_headers": [(text, "value")]},
    ):
        with pytest.raises(ValueError, match=r"."):
            ServerProtocol(clock=Clock(), **options)  # type: ignore[arg-type]

    server = ServerProtocol(clock=Clock(), extra_headers=lambda path, headers: {"X-Header": text})
    server.receive_data(request())
    with pytest.raises(ValueError, match="X-Header"):
        server.accept()
    with pytest.raises(ValueError, match="X-Header"):
        server.reject(make_response(404, {"X-Header": text}))
    with pytest.raises(ValueError, match="reason phrase"):
        server.reject(Response(404, reason=text))
    assert server.response is None
    assert written(server) == b""
    server.reject(make_response(404))
    assert parse_head(written(server)).status == 404

    server = ServerProtocol(clock=Clock())
    server.receive_data(request())
    with pytest.raises(ValueError, match="X-Header"):
        server.accept(extra_headers={"X-Header": text})
    assert server.accept().status == 101


@both_sides
def test_row_30_a_close_reason_that_is_too_long(side: Side) -> None:
    """What does not fit into a close frame is refused by the call, which changes nothing."""
    protocol = opened(side)
    for reason in ("x" * 124, "é" * 62):
        with pytest.raises(ValueError, match="124 bytes in UTF-8, at most 123 fit"):
            protocol.close(1000, reason)
        with pytest.raises(ValueError, match="124 bytes in UTF-8, at most 123 fit"):
            protocol.fail(OSError(), 1011, reason)
    assert protocol.state is State.OPEN
    protocol.close(1000, "x" * 123)
    assert sent(protocol) == [Frame(CLOSE, close_payload(1000, "x" * 123))]


@any_chunking
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"Sec_WebSocket_Accept": None}, InvalidHeader),
        ({"Sec_WebSocket_Accept": ACCEPT}, InvalidHeaderValue),
        ({"Sec_WebSocket_Accept": ""}, InvalidHeaderValue),
        ({"Upgrade": None}, InvalidUpgrade),
        ({"Upgrade": "h2c"}, InvalidUpgrade),
        ({"Connection": None}, InvalidUpgrade),
        ({"Connection": "close"}, InvalidUpgrade),
        ({"Sec_WebSocket_Extensions": "x-xor"}, NegotiationError),
        ({"Sec_WebSocket_Extensions": "permessage-deflate, permessage-deflate"}, NegotiationError),
        ({"Sec_WebSocket_Protocol": "chat"}, NegotiationError),
        ({"start": "HTTP/1.0 101 Switching Protocols"}, InvalidMessage),
        ({"Content_Length": "5"}, InvalidMessage),
    ],
)
def test_row_31_a_response_that_nobody_asked_for(
    changes: dict[str, Any], error: type[InvalidHandshake], chunking: Chunking
) -> None:
    """A 101 that lacks what was asked for, or has what was not, fails the opening handshake."""

    def wrong(client: ClientProtocol) -> bytes:
        return answer(client, **changes) + frame(TEXT, b"not to be delivered")

    check_refused_by_client(wrong, error, chunking)


@pytest.mark.parametrize(
    "framing",
    [{"Content_Length": "9" * 18}, {}, {"Transfer_Encoding": "chunked"}],
    ids=["long", "to the end", "chunked"],
)
def test_row_31_an_error_body_without_end(framing: dict[str, str]) -> None:
    """Of a refusal's body 64 KiB are kept, and the rest is not waited for."""
    client = ClientProtocol(URI, clock=Clock())
    written(client)
    chunk = b"x" * 4096
    if framing.get("Transfer_Encoding"):
        chunk = b"1000\r\n" + chunk + b"\r\n"
    changes = {"Upgrade": None, "Connection": None, "Sec_WebSocket_Accept": None, **framing}
    client.receive_data(response(KEY, "HTTP/1.1 403 Forbidden", **changes))

    def receive() -> None:
        received = 0
        while client.handshake_error is None:
            client.receive_data(chunk)
            received += 4096
        assert received <= 70_000

    assert peak_memory(receive) < 500_000
    assert isinstance(client.handshake_error, InvalidStatusCode)
    assert client.handshake_error.response is not None
    assert client.handshake_error.response.body == b"x" * 65536
    assert client.stream_action is StreamAction.CLOSE


# Life and death of a connection


@both_sides
def test_row_33_a_peer_that_never_answers_a_close(side: Side) -> None:
    """The close frame is waited for until the closing deadline, and so is the end of TCP after it."""
    clock = Clock()
    protocol = opened(side, clock, close_timeout=5)
    protocol.close()
    assert sent(protocol) == [Frame(CLOSE, close_payload(1000))]
    protocol.receive_data(from_peer(protocol, GOOD))  # does not extend the deadline
    assert protocol.deadline() == clock.now + 5
    reach_deadline(protocol, clock)
    message, failure = protocol.events()
    assert message == "good"
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, TimeoutError)
    assert protocol.close_code == 1006
    assert protocol.stream_action is (StreamAction.SEND_EOF if side is Side.SERVER else StreamAction.KEEP)
    reach_deadline(protocol, clock)
    assert protocol.stream_action is StreamAction.ABORT
    assert protocol.deadline() is None
    assert clock.now == 1010


@both_sides
def test_row_33_a_peer_that_never_closes_tcp(side: Side) -> None:
    """After both close frames, TCP ends by the closing deadline at the latest; that is no error."""
    clock = Clock()
    protocol = opened(side, clock, close_timeout=5)
    protocol.close()
    clock.advance(3)
    protocol.receive_data(from_peer(protocol, Frame(CLOSE, close_payload(1000))))
    written(protocol)
    if side is Side.SERVER:
        assert protocol.stream_action is StreamAction.SEND_EOF
        protocol.eof_sent()
    assert protocol.stream_action is StreamAction.KEEP
    assert protocol.deadline() == clock.now + 5
    reach_deadline(protocol, clock)
    assert protocol.stream_action is StreamAction.ABORT
    assert protocol.events() == [Close(1000)]
    assert protocol.close_code == 1000


STAGES: dict[str, Callable[[Protocol], object]] = {
    "open": lambda protocol: None,
    "within a header": lambda protocol: protocol.receive_data(from_peer(protocol, GOOD)[:1]),
    "within a frame": lambda protocol: protocol.receive_data(from_peer(protocol, GOOD)[:-1]),
    "within a message": lambda protocol: protocol.receive_data(
        from_peer(protocol, Frame(TEXT, b"a", fin=False))
    ),
    "close sent": lambda protocol: protocol.close(),
    "while data wait": lambda protocol: protocol.send("data"),
}


@both_sides
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("error", [ConnectionResetError("reset by peer"), None])
def test_row_33_a_reset(side: Side, stage: str, error: Exception | None) -> None:
    """A stream that breaks, at whatever point, is 1006 with the error as the cause."""
    protocol = opened(side)
    STAGES[stage](protocol)
    protocol.connection_lost(error)
    (failure,) = protocol.events()
    assert isinstance(failure, Failure)
    assert not failure.remote
    assert isinstance(failure.error, EOFError) if error is None else failure.error is error
    assert protocol.state is State.CLOSED
    assert protocol.close_code == 1006
    assert protocol.close_reason == ""
    exception = protocol.close_exception()
    assert type(exception) is ConnectionClosedError
    assert exception.code == 1006
    assert exception.__cause__ is failure.error
    assert protocol.deadline() is None


@both_sides
@pytest.mark.parametrize("stage", STAGES)
def test_row_33_an_end_of_file_without_a_close_frame(side: Side, stage: str) -> None:
    """A stream that ends early is 1006 too; one close frame is tried, and the stream is closed."""
    protocol = opened(side)
    STAGES[stage](protocol)
    protocol.receive_eof()
    (failure,) = protocol.events()
    assert isinstance(failure, Failure)
    assert failure.remote
    assert isinstance(failure.error, EOFError)
    within = stage.startswith("within")
    assert str(failure.error).endswith("within a message" if within else "without a close frame")
    (close,) = sent(protocol)
    assert close.opcode == CLOSE
    assert close.payload[:2] == close_payload(1000 if stage == "close sent" else 1002)
    assert protocol.stream_action is StreamAction.CLOSE
    assert protocol.close_code == 1006
    assert protocol.close_exception().__cause__ is failure.error
    protocol.connection_lost()
    assert protocol.state is State.CLOSED
    assert protocol.events() == []


@both_sides
def test_row_34_an_error_within_a_fragmented_message(side: Side) -> None:
    """Half a message can't be taken back: the connection fails, with the error as the cause."""
    protocol = opened(side)
    protocol.send("first", fin=False)
    error = RuntimeError("the source of the message failed")
    protocol.fail(error)
    (failure,) = protocol.events()
    assert failure == Failure(error, False, Close(1011))
    assert sent(protocol) == [Frame(CLOSE, close_payload(1011))]
    with pytest.raises(ConnectionClosedError) as raised:
        protocol.send("second")
    assert raised.value.__cause__ is error


@both_sides
def test_row_34_commands_after_the_close(side: Side) -> None:
    """After a close frame, ours or the peer's, nothing is sent, and the caller is told."""
    for close in (
        lambda protocol: protocol.close(1000),
        lambda protocol: protocol.receive_data(from_peer(protocol, Frame(CLOSE, close_payload(1000)))),
    ):
        protocol = opened(side)
        close(protocol)
        commands: list[Callable[[], object]] = [
            lambda protocol=protocol: protocol.send("x"),
            lambda protocol=protocol: protocol.send_text("x"),
            lambda protocol=protocol: protocol.send_binary(b"x"),
            lambda protocol=protocol: protocol.ping(),
            lambda protocol=protocol: protocol.pong(),
        ]
        for command in commands:
            with pytest.raises(ConnectionClosedOK) as raised:
                command()
            assert raised.value.code == 1000
        protocol.close(4000)
        assert sent(protocol) == [Frame(CLOSE, close_payload(1000))]


def test_row_35_masking_and_handshake_keys_come_from_the_random_source() -> None:
    """Each frame has a key of its own, drawn from the source; by default that is the system's."""
    drawn: list[bytes] = []

    def random(count: int) -> bytes:
        drawn.append(bytes([len(drawn)]) * count)
        return drawn[-1]

    client = opened_client(random=random)
    assert client.request.headers["Sec-WebSocket-Key"] == "AAAAAAAAAAAAAAAAAAAAAA=="
    client.send("a")
    client.send("b")
    client.close()
    data = written(client)
    assert [data[2:6], data[9:13], data[16:20]] == drawn[-3:] == [b"\1" * 4, b"\2" * 4, b"\3" * 4]

    keys, masks = set(), set()
    for _ in range(50):
        client = opened_client()
        keys.add(client.request.headers["Sec-WebSocket-Key"])
        for _ in range(100):
            client.send("x")
            masks.add(written(client)[2:6])
    assert len(keys) == 50
    # By chance there may be an equal pair, once in some hundred runs.
    assert len(masks) > 4990


@both_sides
def test_row_36_a_slow_reader(side: Side) -> None:
    """Who sends is told to wait above the mark, until what was handed out has been written."""
    protocol = opened(side, write_limit=1000)
    message = b"x" * 100
    count = 0
    while protocol.writable:
        protocol.send(message)
        count += 1
    assert count < 11
    assert len(sent(protocol)) == count
    assert protocol.writable


# Advisories


def test_advisory_a_long_list_of_subprotocols() -> None:
    """ws CVE-2021-32640: a header of many spaces or tokens is parsed in linear time."""

    def work(value: str) -> int:
        server = ServerProtocol(clock=Clock(), subprotocols=["chat"], max_header_line=None)
        server.receive_data(request(Sec_WebSocket_Protocol=value))
        return count_calls(server.accept)

    for short, long in (
        ("chat, " * 500 + "chat", "chat, " * 1000 + "chat"),
        ("chat" + " " * 500 + "chat", "chat" + " " * 20_000 + "chat"),
        ("," * 500 + "chat", "," * 20_000 + "chat"),
    ):
        assert work(long) <= 2 * work(short) + 100


@any_chunking
def test_advisory_more_headers_than_allowed_in_a_response(chunking: Chunking) -> None:
    """ws CVE-2024-37890: the number of headers is limited for a client too."""

    def many(client: ClientProtocol) -> bytes:
        return answer(client, X_Header=["y"] * 500)

    check_refused_by_client(many, SecurityError, chunking)


@any_chunking
@pytest.mark.parametrize("length", [65000, 2**20])
def test_advisory_long_lines_in_a_response(length: int, chunking: Chunking) -> None:
    """tungstenite CVE-2023-43669: a long header fails early, whatever the chunking."""
    client = ClientProtocol(URI, clock=Clock())
    data = answer(client, X_Header="y" * length)
    position = 0
    for chunk in chunking(data):
        client.receive_data(chunk)
        position += len(chunk)
        if client.handshake_error is not None:
            break
    assert isinstance(client.handshake_error, SecurityError)
    assert chunking in (whole, first_apart) or position < 10_000


@any_chunking
@both_sides
def test_advisory_an_incomplete_frame_passes_no_limit(side: Side, chunking: Chunking) -> None:
    """aiohttp CVE-2026-54274: what has arrived of a frame counts before the frame is complete."""
    protocol = opened(side, max_size=100)
    data = from_peer(protocol, Frame(BINARY, b"x" * 60, fin=False), Frame(CONTINUATION, b"x" * 60))
    events = feed(protocol, data[: -55 if side is Side.SERVER else -59], chunking)
    assert check_failed(protocol, events, 1009, PayloadTooBig) == []


@any_chunking
def test_advisory_a_client_that_is_sent_what_was_not_negotiated(chunking: Chunking) -> None:
    """aiohttp CVE-2026-59881: a compressed message means nothing to a client without compression."""
    client = opened_client()
    data = frame(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00", reserved=RSV1)
    assert check_failed(client, feed(client, data, chunking), 1002, ProtocolError) == []


@any_chunking
@pytest.mark.parametrize(
    "changes",
    [
        {"Content_Length": "0", "content_length": "64"},
        {"Transfer_Encoding": "chunked, identity"},
        {"Content_Length": ["5", "6"]},
        {"Content_Length": "-1"},
        {"Content_Length": "0x0"},
        {"Transfer_Encoding": ["chunked", "chunked"]},
    ],
)
def test_advisory_smuggling_a_request_through_the_upgrade(
    changes: dict[str, Any], chunking: Chunking
) -> None:
    """aiohttp CVE-2026-69243: no two readings of where a request ends."""
    server = ServerProtocol(clock=Clock())
    smuggled = b"0\r\n\r\n" + request("GET /admin HTTP/1.1")
    assert refused(server, request(**changes) + smuggled, chunking) in (400, 501)


@any_chunking
@pytest.mark.parametrize(
    "header",
    [
        "permessage-deflate; server_max_window_bits=999",
        "permessage-deflate; server_max_window_bits=abc",
        "permessage-deflate; server_max_window_bits=",
        'permessage-deflate; server_max_window_bits="',
        "permessage-deflate; =",
        ";",
        "x-xor; unknown",
    ],
)
def test_advisory_extension_parameters_that_are_wrong(header: str, chunking: Chunking) -> None:
    """undici CVE-2026-2229: a bad parameter from the server is a failed handshake and no other error."""
    client = ClientProtocol(URI, clock=Clock(), extensions=[ClientFactory(Xor)])
    (failure,) = feed(client, answer(client, Sec_WebSocket_Extensions=header), chunking)
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, InvalidHandshake)
    assert client.state is State.CLOSING


@both_sides
@pytest.mark.parametrize("length", [2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1])
def test_advisory_lengths_at_which_integers_overflow(side: Side, length: int) -> None:
    """gorilla CVE-2020-27813, undici CVE-2026-1528: no length is small, and no sum of lengths."""
    protocol = opened(side)
    data = from_peer(protocol, Frame(BINARY, b"x", fin=False)) + header_from_peer(
        protocol, CONTINUATION, length
    )
    assert check_failed(protocol, feed(protocol, data), 1009, PayloadTooBig) == []


@both_sides
def test_advisory_an_extension_that_lets_a_message_grow(side: Side) -> None:
    """websockets CVE-2018-1000518, autobahn GHSA-hxp9-w8x3-p566: the limit holds after extensions."""
    protocol = opened_with_extension(side, Repeat, max_size=100)
    assert feed(protocol, from_peer(protocol, Frame(TEXT, b"x" * 10))) == ["x" * 100]
    for frames in (
        [Frame(TEXT, b"x" * 11)],
        [Frame(TEXT, b"x" * 6, fin=False), Frame(CONTINUATION, b"x" * 5)],
    ):
        protocol = opened_with_extension(side, Repeat, max_size=100)
        events = feed(protocol, from_peer(protocol, *frames))
        assert check_failed(protocol, events, 1009, PayloadTooBig) == []
