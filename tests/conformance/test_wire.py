"""The driver of the cases on permessage-deflate finds what is wrong, and accepts what is right."""

from __future__ import annotations

import random
import socket
import threading
import zlib
from collections.abc import Iterator

import pytest

from . import deflate
from .deflate_cases import CASES, Case, Parameters, choose
from .verdicts import FAILED, INFORMATIONAL, NON_STRICT, OK, UNIMPLEMENTED, Verdict, dump, is_late, load
from .wire import CLOSE, TEXT, Broken, Deflater, Ended, Inflater, Late, Wire, xor

SECONDS = 30


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Wire]]:
    """A socket of a client, and a server at its other end."""
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    with listener, client, server:
        yield client, Wire(server, is_client=False, seconds=SECONDS)


KEY = b"abcd"


def masked(first: int, payload: bytes) -> bytes:
    return bytes([first, 0x80 | len(payload)]) + KEY + xor(payload, KEY)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bytes([0x82, 1]) + b"x", "without a mask"),
        (masked(0xA2, b"x"), "RSV2 or RSV3"),
        (masked(0x92, b"x"), "RSV2 or RSV3"),
        (bytes([0x82, 0xFE, 0, 125]), "longer than it need be"),
        (bytes([0x82, 0xFF]) + (2**16 - 1).to_bytes(8), "longer than it need be"),
        (masked(0xC9, b""), "control frame"),
        (masked(0x09, b""), "control frame"),
        (bytes([0x89, 0xFE, 0, 126]), "control frame"),
        (masked(0x80, b"x"), "a fragment that does not belong there"),
        (masked(0x02, b"x") + masked(0x82, b"x"), "a fragment that does not belong there"),
        (masked(0x42, b"x") + masked(0xC0, b"x"), "RSV1 on a fragment"),
        (masked(0x83, b""), "reserved opcode"),
    ],
)
def test_wrong_frames(ends: tuple[socket.socket, Wire], data: bytes, words: str) -> None:
    client, wire = ends
    client.sendall(data)
    with pytest.raises(Broken, match=words):
        wire.read_message()


def test_right_frames(ends: tuple[socket.socket, Wire]) -> None:
    client, wire = ends
    client.sendall(masked(0x41, b"a") + masked(0x89, b"ping") + masked(0x8A, b"") + masked(0x80, b"b"))
    assert wire.read_message() == (TEXT, True, b"ab")
    assert client.recv(100) == b"\x8a\x04ping"
    client.sendall(masked(0x88, b"\x03\xe8"))
    assert wire.read_message() == (CLOSE, False, b"\x03\xe8")
    client.close()
    assert wire.has_ended()
    with pytest.raises(Ended):
        wire.read_message()


def test_deadline(ends: tuple[socket.socket, Wire]) -> None:
    _, wire = ends
    wire.limit(0.05)
    with pytest.raises(Late):
        wire.read_message()
    assert not wire.has_ended()


def test_frames_of_a_message(ends: tuple[socket.socket, Wire]) -> None:
    _, wire = ends
    assert list(wire.message_frames(True, b"abcde", 2)) == [b"\x41\x02ab", b"\x00\x02cd", b"\x80\x01e"]
    assert list(wire.message_frames(False, b"abcde", 0)) == [b"\xc2\x05abcde"]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 2**16 - 1, 2**16])
def test_frames_of_a_client_are_masked(ends: tuple[socket.socket, Wire], size: int) -> None:
    client, wire = ends
    frame = Wire(client, is_client=True, seconds=SECONDS).frame(TEXT, b"x" * size)
    sender = threading.Thread(target=client.sendall, args=(frame,))
    sender.start()
    assert wire.read_frame() == (TEXT, 0x80, b"x" * size)
    sender.join()


# Compression

NOISE = random.Random(1).randbytes(400)
DISTANT = NOISE + bytes(1000) + NOISE
"""The second half refers to the first one, beyond a window of 9 bits."""


@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.parametrize("no_context_takeover", [False, True])
def test_round_trip(bits: int, no_context_takeover: bool) -> None:
    parameters = Parameters(no_context_takeover, bits)
    deflater, inflater = Deflater(parameters), Inflater(parameters)
    for payload in (DISTANT, DISTANT, b"x", DISTANT * 50):
        assert inflater.decompress(deflater.compress(payload), len(payload)) == payload


def test_distance_beyond_the_window() -> None:
    data = Deflater(Parameters(bits=15)).compress(DISTANT)
    assert Inflater(Parameters(bits=12)).decompress(data, len(DISTANT)) == DISTANT
    with pytest.raises(Broken, match="cannot be inflated"):
        Inflater(Parameters(bits=9)).decompress(data, len(DISTANT))


def test_reference_to_an_earlier_message() -> None:
    deflater = Deflater(Parameters())
    first, second = deflater.compress(NOISE), deflater.compress(NOISE)
    keeping, forgetting = Inflater(Parameters()), Inflater(Parameters(no_context_takeover=True))
    for inflater in (keeping, forgetting):
        assert inflater.decompress(first, 400) == NOISE
    assert keeping.decompress(second, 400) == NOISE
    with pytest.raises(Broken, match="cannot be inflated"):
        forgetting.decompress(second, 400)


@pytest.mark.parametrize("bits", [9, 15])
def test_too_long(bits: int) -> None:
    data = Deflater(Parameters(bits=9)).compress(bytes(2000))
    with pytest.raises(Broken, match="longer than the one sent"):
        Inflater(Parameters(bits=bits)).decompress(data, 1999)


def test_final_block() -> None:
    with pytest.raises(Broken, match="final block"):
        Inflater(Parameters()).decompress(zlib.compress(b"x", wbits=-15), 1)


# Negotiation

DEFAULT_OFFER = "permessage-deflate; client_no_context_takeover; client_max_window_bits"


@pytest.mark.parametrize(
    ("case", "offer"),
    [
        ("12.1.1", DEFAULT_OFFER),
        (
            "13.5.1",
            f"{DEFAULT_OFFER}; server_no_context_takeover; server_max_window_bits=9",
        ),
        ("14.1.1", "permessage-deflate; client_max_window_bits"),
        ("14.3.1", "permessage-deflate; client_max_window_bits=9; server_max_window_bits=9"),
    ],
)
def test_offers(case: str, offer: str) -> None:
    assert CASES[case].offer() == offer


def test_alternatives() -> None:
    assert [offer.count("server_") for offer in CASES["13.7.1"].offer().split(", ")] == [2, 1, 0]


WRONG_ANSWERS = [
    ("12.1.1", "permessage-bzip2"),
    ("12.1.1", "permessage-deflate, permessage-deflate"),
    ("12.1.1", "permessage-deflate; server_max_window_bits"),
    ("12.1.1", "permessage-deflate; server_max_window_bits=16"),
    ("12.1.1", "permessage-deflate; server_max_window_bits=08"),
    ("12.1.1", "permessage-deflate; server_no_context_takeover=1"),
    ("12.1.1", "permessage-deflate; server_no_context_takeover; server_no_context_takeover"),
    ("12.1.1", "permessage-deflate; window=12"),
    ("13.2.1", "permessage-deflate"),
    ("13.3.1", "permessage-deflate"),
    ("13.3.1", "permessage-deflate; server_max_window_bits=10"),
    ("13.5.1", "permessage-deflate; server_max_window_bits=9"),
    ("14.3.1", "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10"),
]


@pytest.mark.parametrize(("case", "answer"), WRONG_ANSWERS)
def test_wrong_answers(case: str, answer: str) -> None:
    with pytest.raises(Broken):
        deflate.accepted(CASES[case], answer)


@pytest.mark.parametrize(
    ("case", "answer", "client", "server"),
    [
        ("12.1.1", "permessage-deflate", Parameters(), Parameters()),
        ("13.3.1", "permessage-deflate; server_max_window_bits=8", Parameters(), Parameters(False, 8)),
        (
            "13.7.1",
            'permessage-deflate; client_no_context_takeover; client_max_window_bits="10"',
            Parameters(True, 10),
            Parameters(),
        ),
    ],
)
def test_right_answers(case: str, answer: str, client: Parameters, server: Parameters) -> None:
    assert deflate.accepted(CASES[case], answer) == (client, server)


def test_nothing_accepted() -> None:
    assert deflate.accepted(CASES["12.1.1"], "") is None


@pytest.mark.parametrize(
    ("case", "offers", "agreed"),
    [
        ("12.1.1", "permessage-deflate", (Parameters(), Parameters())),
        ("12.1.1", "x-webkit-deflate-frame", None),
        ("13.2.1", "permessage-deflate", (Parameters(), Parameters(True))),
        ("13.3.1", "permessage-deflate", None),
        ("13.3.1", "permessage-deflate; client_max_window_bits", (Parameters(), Parameters(False, 9))),
        ("13.4.1", "permessage-deflate; client_max_window_bits=10", (Parameters(), Parameters(False, 10))),
        # What the client asks of the server is granted.
        (
            "13.2.1",
            "permessage-deflate; server_max_window_bits=10",
            (Parameters(False, 10), Parameters(True)),
        ),
        ("13.7.1", "permessage-deflate", (Parameters(), Parameters(True))),
        (
            "14.5.1",
            "permessage-deflate; client_max_window_bits",
            (Parameters(True, 9), Parameters(True, 9)),
        ),
    ],
)
def test_answers(case: str, offers: str, agreed: tuple[Parameters, Parameters] | None) -> None:
    assert deflate.chosen(CASES[case], offers) == agreed


# The table


def test_numbers() -> None:
    counts = {section: len(choose([f"{section}.*"])) for section in (12, 13, 14)}
    assert counts == {12: 90, 13: 126, 14: 126}
    assert sum(counts.values()) == len(CASES)


def test_messages_have_their_size() -> None:
    case: Case
    for case in choose(["12.*.3", "12.*.10"]):
        messages = list(deflate.shortened(case, 5, None).messages())
        texts = [payload.decode() if text else payload for text, payload in messages]
        assert [len(each) for each in texts] == [case.size] * 5
        assert len(set(texts)) == 5


# Verdicts


@pytest.mark.parametrize(
    ("behavior", "closing", "outcome"),
    [
        (OK, OK, OK),
        (INFORMATIONAL, INFORMATIONAL, INFORMATIONAL),
        (NON_STRICT, OK, NON_STRICT),
        (UNIMPLEMENTED, OK, UNIMPLEMENTED),
        (OK, "UNCLEAN", FAILED),
        (FAILED, OK, FAILED),
        ("ERROR", OK, FAILED),
    ],
)
def test_outcomes(behavior: str, closing: str, outcome: str) -> None:
    verdict = Verdict(behavior, closing, ("a deadline",), "because", 3)
    assert verdict.outcome == outcome
    loaded = load(dump({"1.1.1": verdict}))["1.1.1"]
    assert loaded.outcome == outcome
    assert (loaded.late, loaded.compressed) == (("a deadline",), 3)
    assert loaded.reason == ("because" if outcome not in (OK, INFORMATIONAL) else "")
    assert is_late("1.1.1", loaded)


def test_only_section_9_is_late_without_a_deadline() -> None:
    failed = Verdict(FAILED, OK)
    assert is_late("9.1.1", failed)
    assert not is_late("1.1.1", failed)
    assert not is_late("9.1.1", Verdict(OK, OK))
