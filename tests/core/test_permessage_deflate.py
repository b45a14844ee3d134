"""permessage-deflate (RFC 7692): negotiation, messages, memory."""

from __future__ import annotations

import importlib.util
import random
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
from zlib_ng import zlib_ng

from wsproto_core import (
    ClientProtocol,
    Close,
    Failure,
    Ping,
    Pong,
    Protocol,
    ServerProtocol,
    Side,
    State,
)
from wsproto_core.exceptions import (
    DuplicateParameter,
    InvalidParameterName,
    InvalidParameterValue,
    InvalidPayload,
    NegotiationError,
)
from wsproto_core.extensions import permessage_deflate as module
from wsproto_core.extensions.permessage_deflate import (
    DEFAULT_CLIENT,
    DEFAULT_SERVER,
    ZLIB,
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from wsproto_core.handshake.negotiation import accept_offers, check_accepted, offer_extensions
from wsproto_core.types import ExtensionParameter

from .deflate import deflated, largest_distance, raw
from .helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    RSV1,
    TEXT,
    URI,
    Clock,
    Frame,
    answer,
    both_sides,
    feed,
    from_peer,
    opened_pair,
    parse_frames,
    parse_head,
    peak_memory,
    reach_deadline,
    request,
    sent,
    transfer,
    written,
)
from .sample_extensions import Counting

SNT, CNT, SMW, CMW = module.PARAMETERS

TEXTS = "the quick brown fox jumps over the lazy dog; " * 20


def client_factory(**arguments: Any) -> ClientPerMessageDeflateFactory:
    return ClientPerMessageDeflateFactory(**arguments)


def server_factory(**arguments: Any) -> ServerPerMessageDeflateFactory:
    return ServerPerMessageDeflateFactory(**arguments)


def view(extension: Any) -> tuple[bool, bool, int, int]:
    """Whether server and client forget, and their windows: the same for both ends if they agree."""
    assert isinstance(extension, PerMessageDeflate)
    return (
        extension.remote_no_context_takeover,
        extension.local_no_context_takeover,
        extension.remote_max_window_bits,
        extension.local_max_window_bits,
    )


# Negotiation: what a client offers


@pytest.mark.parametrize(
    ("arguments", "params"),
    [
        ({}, []),
        ({SNT: True}, [(SNT, None)]),
        ({CNT: True}, [(CNT, None)]),
        ({SMW: 10}, [(SMW, "10")]),
        ({CMW: 8}, [(CMW, "8")]),
        ({CMW: True}, [(CMW, None)]),
        ({SMW: 15, CMW: None}, [(SMW, "15")]),
        ({SNT: True, CNT: True, SMW: 9, CMW: True}, [(SNT, None), (CNT, None), (SMW, "9"), (CMW, None)]),
    ],
)
def test_offer(arguments: dict[str, Any], params: list[ExtensionParameter]) -> None:
    assert client_factory(**arguments).get_request_params() == params


# Negotiation: what a server makes of an offer. The result is (client forgets, server forgets, client's
# window, server's window): remote first.


@pytest.mark.parametrize(
    ("arguments", "offer", "answer", "result"),
    [
        # what a client offers and a server with its defaults makes of it
        ({}, [], [], (False, False, 15, 15)),
        ({}, [(SNT, None)], [(SNT, None)], (False, True, 15, 15)),
        ({}, [(CNT, None)], [(CNT, None)], (True, False, 15, 15)),
        ({}, [(SMW, "8")], [(SMW, "8")], (False, False, 15, 8)),
        ({}, [(SMW, "15")], [(SMW, "15")], (False, False, 15, 15)),
        ({}, [(CMW, None)], [], (False, False, 15, 15)),
        ({}, [(CMW, "8")], [(CMW, "8")], (False, False, 8, 15)),
        ({}, [(CMW, "15")], [(CMW, "15")], (False, False, 15, 15)),
        # what a server wants of itself
        ({SNT: True}, [], [(SNT, None)], (False, True, 15, 15)),
        ({SMW: 10}, [], [(SMW, "10")], (False, False, 15, 10)),
        ({SMW: 10}, [(SMW, "12")], [(SMW, "10")], (False, False, 15, 10)),
        ({SMW: 12}, [(SMW, "10")], [(SMW, "10")], (False, False, 15, 10)),
        # and of the client: a window only of one that offers that
        ({CNT: True}, [], [(CNT, None)], (True, False, 15, 15)),
        ({CMW: 10}, [], [], (False, False, 15, 15)),
        ({CMW: 10}, [(CMW, None)], [(CMW, "10")], (False, False, 10, 15)),
        ({CMW: 10}, [(CMW, "12")], [(CMW, "10")], (False, False, 10, 15)),
        ({CMW: 12}, [(CMW, "10")], [(CMW, "10")], (False, False, 10, 15)),
        (
            {SNT: True, SMW: 9, CMW: 8},
            [(CMW, None), (CNT, None), (SMW, "12")],
            [(SNT, None), (CNT, None), (SMW, "9"), (CMW, "8")],
            (True, True, 8, 9),
        ),
    ],
)
def test_a_server_accepts(
    arguments: dict[str, Any],
    offer: list[ExtensionParameter],
    answer: list[ExtensionParameter],
    result: tuple[bool, bool, int, int],
) -> None:
    params, extension = server_factory(**arguments).process_request_params(offer, [])
    assert params == answer
    assert view(extension) == result


WRONG_VALUES = ["7", "16", "0", "-8", "08", "abc", "", "8.0", "999", " 8"]

WRONG: list[tuple[list[ExtensionParameter], type[NegotiationError]]] = [
    ([("unknown", None)], InvalidParameterName),
    ([("Server_no_context_takeover", None)], InvalidParameterName),
    ([(SNT, "true")], InvalidParameterValue),
    ([(CNT, "")], InvalidParameterValue),
    ([(SMW, None)], InvalidParameterValue),
    *[([(name, value)], InvalidParameterValue) for name in (SMW, CMW) for value in WRONG_VALUES],
    *[([(name, value)] * 2, DuplicateParameter) for name, value in ((SNT, None), (SMW, "8"), (CMW, "8"))],
]


@pytest.mark.parametrize(("params", "error"), WRONG)
def test_what_neither_accepts(params: list[ExtensionParameter], error: type[NegotiationError]) -> None:
    with pytest.raises(error) as caught:
        server_factory().process_request_params(params, [])
    assert type(caught.value) is error
    with pytest.raises(error):
        client_factory(client_max_window_bits=True).process_response_params(params, [])


# Negotiation: what a client makes of an answer


@pytest.mark.parametrize(
    ("arguments", "answer", "result"),
    [
        # (server forgets, client forgets, server's window, client's window)
        ({}, [], (False, False, 15, 15)),
        ({}, [(SNT, None)], (True, False, 15, 15)),
        ({}, [(CNT, None)], (False, True, 15, 15)),
        ({}, [(SMW, "8")], (False, False, 8, 15)),
        ({SNT: True}, [(SNT, None)], (True, False, 15, 15)),
        ({CNT: True}, [], (False, True, 15, 15)),
        ({CNT: True}, [(CNT, None)], (False, True, 15, 15)),
        ({SMW: 10}, [(SMW, "10")], (False, False, 10, 15)),
        ({SMW: 10}, [(SMW, "9")], (False, False, 9, 15)),
        # 15 bits are what leaving out the parameter means
        ({SMW: 15}, [], (False, False, 15, 15)),
        ({SMW: 15}, [(SMW, "15")], (False, False, 15, 15)),
        ({SMW: 15}, [(SMW, "8")], (False, False, 8, 15)),
        ({CMW: True}, [], (False, False, 15, 15)),
        ({CMW: True}, [(CMW, "8")], (False, False, 15, 8)),
        ({CMW: 10}, [], (False, False, 15, 10)),
        ({CMW: 10}, [(CMW, "10")], (False, False, 15, 10)),
        ({CMW: 10}, [(CMW, "9")], (False, False, 15, 9)),
    ],
)
def test_a_client_accepts(
    arguments: dict[str, Any], answer: list[ExtensionParameter], result: tuple[bool, bool, int, int]
) -> None:
    assert view(client_factory(**arguments).process_response_params(answer, [])) == result


@pytest.mark.parametrize(
    ("arguments", "answer", "message"),
    [
        ({SNT: True}, [], "server did not accept server_no_context_takeover"),
        *[({SMW: bits}, [], f"server did not accept server_max_window_bits={bits}") for bits in range(8, 15)],
        ({SMW: 10}, [(SMW, "11")], "server did not accept server_max_window_bits=10"),
        ({}, [(CMW, "15")], "server asks for client_max_window_bits=15, which was not offered"),
        ({CMW: 10}, [(CMW, "11")], "server asks for client_max_window_bits=11, which was not offered"),
        ({CMW: True}, [(CMW, None)], "client_max_window_bits"),
    ],
)
def test_a_client_refuses(arguments: dict[str, Any], answer: list[ExtensionParameter], message: str) -> None:
    with pytest.raises(NegotiationError, match=message):
        client_factory(**arguments).process_response_params(answer, [])


@pytest.mark.parametrize("server", [{}, {SNT: True}, {CNT: True}, {SMW: 9}, {CMW: 8}])
@pytest.mark.parametrize("client", [{}, {SNT: True}, {CNT: True}, {SMW: 10}, {CMW: 11}, {CMW: True}])
def test_both_ends_agree(client: dict[str, Any], server: dict[str, Any]) -> None:
    factories = [client_factory(**client)]
    offer = offer_extensions(factories)
    assert offer is not None
    answer, (ours,) = accept_offers([offer], [server_factory(**server)])
    assert answer is not None
    (theirs,) = check_accepted([answer], factories)
    forgets_here, forgets_there, window_here, window_there = view(ours)
    remote_forgets, local_forgets, remote_window, local_window = view(theirs)
    assert (forgets_there, window_there) == (remote_forgets, remote_window)
    # What a client does of its own accord, a server need not know.
    assert local_forgets >= forgets_here
    assert local_window <= window_here


# Negotiation, in the headers


@pytest.mark.parametrize(
    ("offers", "accepted"),
    [
        ("permessage-deflate", "permessage-deflate; server_max_window_bits=12"),
        ('permessage-deflate; client_max_window_bits="10"', "{}; client_max_window_bits=10"),
        ("permessage-deflate; client_max_window_bits", "{}; client_max_window_bits=12"),
        ("permessage-deflate; client_max_window_bits=abc", None),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=8"),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate; unknown, permessage-deflate", "{}"),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", "{0:.18}; {1}=8"),
        ("permessage-deflate, permessage-deflate; server_max_window_bits=8", "{}"),
        ("x-webkit-deflate-frame", None),
    ],
)
def test_offers_to_a_server(offers: str, accepted: str | None) -> None:
    server = ServerProtocol(clock=Clock())
    server.receive_data(request(Sec_WebSocket_Extensions=offers))
    assert server.accept().status == 101
    header = parse_head(written(server)).headers.get("sec-websocket-extensions")
    default = "permessage-deflate; server_max_window_bits=12"
    assert header == (accepted and accepted.format(default, SMW))
    assert len(server.extensions) == (accepted is not None)


@pytest.mark.parametrize(
    ("answered", "good"),
    [
        ("permessage-deflate; server_max_window_bits=12", True),
        ('permessage-deflate; server_max_window_bits="12"', True),
        ("permessage-deflate; server_max_window_bits=8; client_max_window_bits=8", True),
        ("permessage-deflate", False),
        ("permessage-deflate; server_max_window_bits=13", False),
        ("permessage-deflate; server_max_window_bits=12; client_max_window_bits", False),
        ("permessage-deflate; server_max_window_bits=12; server_max_window_bits=12", False),
        ("permessage-deflate; server_max_window_bits=12, permessage-deflate", False),
        ("permessage-deflate; server_max_window_bits=12; x", False),
    ],
)
def test_answers_to_a_client_that_asks_for_windows(answered: str, good: bool) -> None:
    client = ClientProtocol(URI, clock=Clock(), extensions=[client_factory(**{SMW: 12, CMW: 12})])
    check_answer(client, answered, good)


@pytest.mark.parametrize(
    ("answered", "good"),
    [
        # Those of gorilla, nhooyr, Jetty, AWS; then of servers that choose windows.
        ("permessage-deflate", True),
        ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", True),
        ("permessage-deflate; client_no_context_takeover", True),
        ("permessage-deflate; server_no_context_takeover", True),
        ("permessage-deflate; server_max_window_bits=15; client_max_window_bits=15", True),
        ("permessage-deflate; server_max_window_bits=9", True),
        ("permessage-deflate; client_max_window_bits=8", True),
        ("", True),
        ("permessage-deflate; client_max_window_bits", False),
        ("permessage-deflate; server_max_window_bits", False),
        ("permessage-deflate; server_max_window_bits=16", False),
        ("permessage-deflate; x", False),
        ("permessage-deflate, permessage-deflate", False),
    ],
)
def test_answers_to_the_default_offer(answered: str, good: bool) -> None:
    client = ClientProtocol(URI, clock=Clock())
    assert client.request.headers["Sec-WebSocket-Extensions"] == "permessage-deflate; client_max_window_bits"
    check_answer(client, answered, good)
    if good and answered:
        client.send("x" * 1000)
        (frame,) = sent(client)
        assert frame.reserved == RSV1


def check_answer(client: ClientProtocol, answered: str, good: bool) -> None:
    client.receive_data(answer(client, Sec_WebSocket_Extensions=answered))
    assert (client.state is State.OPEN) is good
    assert (client.handshake_error is None) is good
    if not good:
        assert isinstance(client.handshake_error, NegotiationError)


def test_the_option() -> None:
    """It adds the default, unless it is off or the extension is there."""
    own = client_factory()
    offers = {
        "default": ClientProtocol(URI, clock=Clock()),
        "off": ClientProtocol(URI, clock=Clock(), compression=None),
        "own": ClientProtocol(URI, clock=Clock(), extensions=[own]),
        "own alone": ClientProtocol(URI, clock=Clock(), extensions=[own], compression=None),
    }
    assert {
        name: client.request.headers.get("Sec-WebSocket-Extensions") for name, client in offers.items()
    } == {
        "default": offer_extensions([DEFAULT_CLIENT]),
        "off": None,
        "own": "permessage-deflate",
        "own alone": "permessage-deflate",
    }
    for factories, window in ([], 12), ([server_factory()], 15):
        server = ServerProtocol(clock=Clock(), extensions=factories)
        server.receive_data(request(Sec_WebSocket_Extensions="permessage-deflate"))
        server.accept()
        assert view(server.extensions[0]) == (False, False, 15, window)
    assert DEFAULT_SERVER.threshold == 64


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({SMW: 7}, ValueError),
        ({SMW: 16}, ValueError),
        ({SMW: True}, ValueError),
        ({SMW: "8"}, ValueError),
        ({CMW: 7}, ValueError),
        ({CMW: False}, ValueError),
        ({"compress_settings": {"wbits": -15}}, ValueError),
        ({"compress_settings": {"zdict": b"abc"}}, ValueError),
        ({"compress_settings": {"level": 10}}, (ValueError, zlib.error, zlib_ng.error)),
        ({"compress_settings": {"speed": 1}}, TypeError),
        ({"threshold": -1}, ValueError),
        ({"threshold": "many"}, TypeError),
        ({"idle_timeout": 0}, ValueError),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: Any) -> None:
    for factory in client_factory, server_factory:
        with pytest.raises(error):
            factory(**arguments)


def test_a_server_has_no_window_to_be_chosen() -> None:
    with pytest.raises(ValueError, match="client_max_window_bits must be None or an int from 8 to 15"):
        server_factory(client_max_window_bits=True)


# Messages


def pair(**arguments: Any) -> tuple[ClientProtocol, ServerProtocol]:
    return opened_pair(
        {"extensions": [client_factory(**{CMW: True, **arguments})]},
        {"extensions": [server_factory(**arguments)]},
    )


def ends(side: Side, **arguments: Any) -> tuple[Protocol, Protocol]:
    """Who sends, and who receives; the former on this side."""
    client, server = pair(**arguments)
    return (client, server) if side is Side.CLIENT else (server, client)


def deflate_of(protocol: Protocol) -> PerMessageDeflate:
    (extension,) = protocol.extensions
    assert isinstance(extension, PerMessageDeflate)
    return extension


def exchange(sender: Protocol, receiver: Protocol, message: Any, **options: Any) -> Frame:
    """Send a message, which arrives as it is; return its frame."""
    sender.send(message, **options)
    data = written(sender)
    receiver.receive_data(data)
    assert receiver.events() == [message]
    return parse(sender, data)[0]


def parse(sender: Protocol, data: bytes) -> list[Frame]:
    return parse_frames(data, masked=sender.side is Side.CLIENT)


@both_sides
def test_what_is_compressed(side: Side) -> None:
    sender, receiver = ends(side)
    long, short, noise = TEXTS, "abcabcabc" * 7, random.Random(1).randbytes(1000)
    assert len(short) == 63
    assert exchange(sender, receiver, long).reserved == RSV1
    assert exchange(sender, receiver, short).reserved == 0
    assert exchange(sender, receiver, short + "a").reserved == RSV1
    assert exchange(sender, receiver, short, compress=True).reserved == RSV1
    assert exchange(sender, receiver, long, compress=False).reserved == 0
    assert exchange(sender, receiver, "", compress=True) == Frame(TEXT, b"\0", reserved=RSV1)
    # What does not shrink is sent as it is, and what follows is right.
    assert exchange(sender, receiver, noise) == Frame(BINARY, noise)
    assert exchange(sender, receiver, long).reserved == RSV1
    frame = exchange(sender, receiver, noise, compress=True)
    assert frame.reserved == RSV1
    assert len(frame.payload) > len(noise)
    assert exchange(sender, receiver, long).reserved == RSV1


@both_sides
def test_fragments(side: Side) -> None:
    sender, receiver = ends(side)
    for compress in (None, True, False):
        for pieces in ("a", "b", "c"), ("", "x" * 100, ""), (TEXTS, TEXTS):
            for piece in pieces[:-1]:
                sender.send(piece, fin=False, compress=compress)
            sender.pong(b"in between")
            # What the first one says holds.
            sender.send(pieces[-1], compress=not compress)
            data = written(sender)
            frames = parse(sender, data)
            reserved = 0 if compress is False else RSV1
            assert [frame.reserved for frame in frames] == [reserved, *[0] * len(pieces)]
            receiver.receive_data(data)
            assert receiver.events() == [Pong(b"in between"), "".join(pieces)]


@both_sides
def test_context_takeover(side: Side) -> None:
    message = random.Random(2).randbytes(500)
    sender, receiver = ends(side)
    sizes = [len(exchange(sender, receiver, message, compress=True).payload) for _ in range(3)]
    assert sizes[0] > 500
    assert max(sizes[1:]) < 20

    for nothing_kept in (SNT, CNT):
        sender, receiver = ends(side, **{nothing_kept: True})
        sizes = [len(exchange(sender, receiver, message, compress=True).payload) for _ in range(3)]
        assert (min(sizes) > 500) is (nothing_kept == (SNT if side is Side.SERVER else CNT))
        forgets, keeps = deflate_of(sender), deflate_of(receiver)
        assert (forgets._recent == b"") is forgets.local_no_context_takeover
        assert (keeps._history == b"") is keeps.remote_no_context_takeover


def busy(protocol: Protocol) -> PerMessageDeflate:
    """Let a protocol send so many messages that it keeps its compressor."""
    for _ in range(module.MAX_MADE_ANEW):
        assert deflate_of(protocol)._compressor is None
        protocol.send("again and again", compress=True)
    protocol.send("and again", compress=True)
    assert deflate_of(protocol)._compressor is not None
    return deflate_of(protocol)


@both_sides
def test_what_is_kept_between_messages(side: Side) -> None:
    sender, receiver = ends(side)
    exchange(sender, receiver, TEXTS, compress=False)
    exchange(receiver, sender, "short")
    for protocol in (sender, receiver):
        assert (deflate_of(protocol)._history, deflate_of(protocol)._recent) == (b"", b"")
    for fin in (False, False, True):
        sender.send(TEXTS, fin=fin)
        transfer(sender, receiver)
        assert (deflate_of(receiver)._inflation is None) is fin
    assert receiver.events() == [TEXTS * 3]
    history = deflate_of(receiver)._history
    assert history == TEXTS.encode() * 3
    # A message that is not compressed leaves it alone.
    exchange(sender, receiver, TEXTS, compress=False)
    assert deflate_of(receiver)._history is history
    assert (deflate_of(sender)._history, deflate_of(receiver)._recent) == (b"", b"")


@both_sides
@pytest.mark.parametrize("bits", [8, 12, 15])
def test_a_connection_that_says_little_keeps_no_compressor(side: Side, bits: int) -> None:
    """What was sent is kept instead, and compresses what follows just as well."""
    sender, receiver = ends(side, **{SMW: bits, CMW: bits})
    deflate = deflate_of(sender)
    message = random.Random(2).randbytes(200)
    sent_so_far, sizes = b"", []
    for _ in range(module.MAX_MADE_ANEW):
        sizes.append(len(exchange(sender, receiver, message, compress=True).payload))
        sent_so_far += message
        assert deflate._compressor is None
        assert deflate._recent == sent_so_far[-(1 << bits) :]
    for _ in range(3):
        sizes.append(len(exchange(sender, receiver, message, compress=True).payload))
        assert deflate._compressor is not None
        assert deflate._recent == b""
    assert sizes[0] > 200
    assert max(sizes[1:]) < 20
    # It is forgotten with the rest, and all begins anew.
    deflate.release()
    assert (deflate._compressor, deflate._recent) == (None, b"")
    busy(sender)


@both_sides
def test_a_large_message_leaves_only_what_may_be_referred_to(side: Side) -> None:
    sender, receiver = ends(side, **{SMW: 9, CMW: 9})
    message = random.Random(3).randbytes(100_000)
    exchange(sender, receiver, message, compress=True)
    assert deflate_of(sender)._recent == deflate_of(receiver)._history == message[-512:]


@both_sides
def test_fragments_keep_the_compressor(side: Side) -> None:
    sender, receiver = ends(side)
    exchange(sender, receiver, TEXTS)
    for piece, fin in ("a", False), ("b", False), ("c", True):
        sender.send(piece, fin=fin, compress=True)
        assert deflate_of(sender)._compressor is not None
        assert deflate_of(sender)._recent == b""
    transfer(sender, receiver)
    assert receiver.events() == ["abc"]
    assert len(exchange(sender, receiver, TEXTS).payload) < 30


@both_sides
def test_what_was_sent_uncompressed_is_not_referred_to(side: Side) -> None:
    sender, receiver = ends(side)
    words, noise = TEXTS[:100], random.Random(3).randbytes(300)
    exchange(sender, receiver, words)
    assert exchange(sender, receiver, noise) == Frame(BINARY, noise)
    # What came before it still is.
    assert len(exchange(sender, receiver, words).payload) < 20
    assert len(exchange(sender, receiver, noise, compress=True).payload) > 300
    assert len(exchange(sender, receiver, noise, compress=True).payload) < 20

    # Nor is it by a compressor that is kept.
    sender, receiver = ends(side)
    busy(sender)
    transfer(sender, receiver)
    receiver.events()
    assert exchange(sender, receiver, noise) == Frame(BINARY, noise)
    assert len(exchange(sender, receiver, noise, compress=True).payload) > 300


@both_sides
@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("bits", [8, 9, 12, 15])
def test_memory_is_given_up_when_idle(side: Side, takeover: bool, bits: int) -> None:
    arguments = {SMW: bits, CMW: bits, SNT: not takeover, CNT: not takeover}
    client, server = opened_pair(
        {"extensions": [client_factory(**arguments, idle_timeout=30)], "ping_interval": None},
        {"extensions": [server_factory(**arguments, idle_timeout=30)], "ping_interval": None},
    )
    sender, receiver = (client, server) if side is Side.CLIENT else (server, client)
    deflate = deflate_of(sender)
    message = random.Random(3).randbytes(200)
    passed = b""
    for count in (1, 1, 20):
        for _ in range(count):
            exchange(sender, receiver, message, compress=True)
            passed += message
        for _ in range(2):
            if takeover:
                # Messages have passed in the period that ends, or the one before: it is not idle.
                assert (deflate._compressor is not None) is (count == 20)
                assert (deflate._recent != b"") is (count == 1)
            for protocol in (sender, receiver):
                reach_deadline(protocol, protocol._clock)  # type: ignore[arg-type]
        assert (deflate._compressor, deflate._recent) == (None, b"")
        # What may be referred to, and not a byte more.
        assert deflate_of(receiver)._history == (passed[-(1 << bits) :] if takeover else b"")
    # Only the sender starts anew; its peer has what it had.
    for _ in range(2):
        deflate_of(receiver).release()
        frame = exchange(sender, receiver, message, compress=True)
    assert (len(frame.payload) < 20) is takeover
    deflate.release()
    assert len(exchange(sender, receiver, message, compress=True).payload) > 200


def test_never_idle() -> None:
    client, server = pair(idle_timeout=None)
    assert deflate_of(client).idle_timeout is None
    client, server = opened_pair(
        {"extensions": [client_factory(idle_timeout=None)], "ping_interval": None},
        {"extensions": [server_factory(idle_timeout=None)], "ping_interval": None},
    )
    assert client.deadline() is server.deadline() is None


@both_sides
def test_idle_within_a_message(side: Side) -> None:
    """A sender may start anew even there; a receiver keeps what it needs."""
    sender, receiver = ends(side)
    for piece in (TEXTS[:100], TEXTS[100:200]):
        sender.send(piece, fin=False)
        transfer(sender, receiver)
        for protocol in (sender, receiver):
            deflate_of(protocol).release()
        assert deflate_of(sender)._compressor is None
        assert deflate_of(receiver)._inflation is not None
    sender.send(TEXTS[200:])
    transfer(sender, receiver)
    assert receiver.events() == [TEXTS]


def test_what_is_kept_of_the_window() -> None:
    """What is kept of what was inflated is bounded."""
    data = random.Random(4).randbytes(10_000)
    compressor = zlib.compressobj(wbits=-9)
    inflation = module._Inflation(8, b"a" * 256)
    for index in range(0, len(data), 3):
        piece = compressor.compress(data[index : index + 3]) + compressor.flush(zlib.Z_SYNC_FLUSH)
        inflation.feed(piece, False)
        inflation.take(2**16, False)
        assert len(inflation._window) < 2 * 256
    assert inflation.end() == data[-256:]


# Windows


@pytest.mark.parametrize("library", [zlib, zlib_ng], ids=["zlib", "zlib_ng"])
@pytest.mark.parametrize("level", [1, 3, 6, 9])
@pytest.mark.parametrize("strategy", [zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED])
@pytest.mark.parametrize("released", [True, False])
def test_a_window_of_8_bits(
    monkeypatch: pytest.MonkeyPatch, library: Any, level: int, strategy: int, released: bool
) -> None:
    """No library has a raw window of 8 bits; with 9, none looks back further than 256 bytes."""
    monkeypatch.setattr(module, "zlib", library)
    settings = {"level": level, "strategy": strategy, "memLevel": 5}
    extension = PerMessageDeflate(
        remote_no_context_takeover=False,
        local_no_context_takeover=False,
        local_max_window_bits=8,
        compress_settings=settings,
    )
    source = random.Random(5)
    words = [source.randbytes(source.randrange(3, 60)) for _ in range(12)]
    stream = b""
    plain = b""
    for _ in range(30):
        message = b"".join(source.choice(words) for _ in range(40)) + source.randbytes(100)
        if released:
            # This one starts from what was sent before.
            extension._made_anew = 0
        bits, payload = extension.encode(message, first=True, final=True, compress=True)
        assert bits == RSV1
        stream += payload + module.TAIL
        plain += message
    assert (extension._compressor is None) is released
    assert zlib.decompressobj(-15).decompress(stream) == plain
    assert 0 < largest_distance(stream) <= 256


@pytest.mark.parametrize(
    ("own", "asked", "bits"),
    [
        # What nobody says is 12 bits, whatever is allowed.
        ({}, {}, 12),
        ({}, {CMW: 15, SMW: 15}, 12),
        ({}, {CMW: 13, SMW: 13}, 12),
        ({CMW: True}, {CMW: 15, SMW: 15}, 12),
        ({}, {CMW: 10, SMW: 10}, 10),
        # A number is meant.
        ({CMW: 15, SMW: 15}, {}, 15),
        ({CMW: 13, SMW: 13}, {}, 13),
        ({CMW: 11, SMW: 11}, {CMW: 15, SMW: 15}, 11),
        ({CMW: 15, SMW: 15}, {CMW: 14, SMW: 14}, 14),
    ],
)
@both_sides
def test_a_sender_uses_a_small_window_unless_told_otherwise(
    side: Side, own: dict[str, Any], asked: dict[str, Any], bits: int
) -> None:
    window = CMW if side is Side.CLIENT else SMW
    ours = {CMW: True} if side is Side.CLIENT else {}
    ours |= {name: value for name, value in own.items() if name == window}
    theirs = {name: value for name, value in asked.items() if name == window}
    factories = [client_factory(**ours), server_factory(**theirs)]
    if side is Side.SERVER:
        factories = [client_factory(**theirs), server_factory(**ours)]
    client, server = opened_pair({"extensions": factories[:1]}, {"extensions": factories[1:]})
    sender, receiver = (client, server) if side is Side.CLIENT else (server, client)
    # A block that comes again is seen if the window reaches so far.
    for distance in (2**bits - 300, 2**bits + 100):
        block = random.Random(distance).randbytes(200)
        message = block + random.Random(1).randbytes(distance - 200) + block
        frame = exchange(sender, receiver, message, compress=True)
        assert (largest_distance(frame.payload) >= 2**bits - 300) is (distance < 2**bits)


def test_the_walker_sees_distances() -> None:
    """Otherwise the test above would prove nothing."""
    block = random.Random(6).randbytes(300)
    assert largest_distance(deflated(block + block)) == 300
    assert largest_distance(deflated(block)) == 0
    assert largest_distance(deflated(b"a" * 100)) == 1
    assert largest_distance(raw(b"stored", level=0)) == 0


# The library


def load_module_without(monkeypatch: pytest.MonkeyPatch, name: str | None) -> Any:
    """Run the module once more, under another name."""
    if name is not None:
        monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.spec_from_file_location(
        "wsproto_core.extensions.another", Path(module.__file__ or "")
    )
    assert spec is not None
    assert spec.loader is not None
    another = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(another)
    return another


def test_which_library_compresses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ZLIB == "zlib_ng.zlib_ng"
    assert module.zlib is zlib_ng
    another = load_module_without(monkeypatch, "zlib_ng")
    assert another.ZLIB == "zlib"
    assert another.zlib is zlib


@pytest.mark.parametrize("library", [zlib, zlib_ng], ids=["zlib", "zlib_ng"])
def test_either_library(monkeypatch: pytest.MonkeyPatch, library: Any) -> None:
    monkeypatch.setattr(module, "zlib", library)
    for bits in range(8, 16):
        client, server = pair(**{SMW: bits, CMW: bits})
        for message in (TEXTS, TEXTS * 50, "", TEXTS):
            exchange(client, server, message)
            exchange(server, client, message)
            deflate_of(client).release()
            deflate_of(server).release()


# Streaming


@both_sides
@pytest.mark.parametrize("max_size", [None, 2**30])
def test_pieces_in_bounded_memory(side: Side, max_size: int | None) -> None:
    """However much is inflated, no more of it is here than ``read_limit``, and a piece."""
    protocol = receiving(side, max_size=max_size, read_limit=100_000)
    size = 50_000_000
    payload = deflated(bytes(size))
    assert len(payload) < 60_000
    assert protocol.next_fragment() is None
    protocol.receive_data(from_peer(protocol, Frame(BINARY, payload, reserved=RSV1), Frame(TEXT, b"next")))
    assert not protocol.wants_read
    total = 0
    while not (fragment := protocol.next_fragment()).final:  # type: ignore[union-attr]
        assert fragment is not None
        assert len(fragment.data) < 100_000 + 65536
        assert protocol._inbox.reader.buffered < 100_000 + 65536
        total += len(fragment.data)
    assert fragment is not None
    assert total + len(fragment.data) == size
    assert protocol.events() == ["next"]
    assert protocol.wants_read


def receiving(side: Side, **options: Any) -> Protocol:
    extension = PerMessageDeflate(remote_no_context_takeover=False, local_no_context_takeover=False)
    options.setdefault("ping_interval", None)
    return Protocol(side, clock=Clock(), extensions=[extension], **options)


def suspended(side: Side, *frames: Frame, size: int = 10_000_000) -> Protocol:
    """A connection that has received a large message of which there is no room for all, and frames."""
    protocol = receiving(side, max_size=None, read_limit=50_000)
    large = Frame(BINARY, deflated(bytes(size)), reserved=RSV1)
    protocol.receive_data(from_peer(protocol, large, *frames))
    assert protocol._inbox.reader.suspended
    assert not protocol.wants_read
    assert protocol.events(messages=False) == []
    return protocol


GOODBYE = Frame(CLOSE, b"\x03\xe8bye")


@both_sides
def test_a_message_that_nobody_asks_for(side: Side) -> None:
    protocol = suspended(side, Frame(TEXT, b"next"), GOODBYE)
    assert protocol._inbox.reader.buffered < 50_000 + 65536
    # What comes nevertheless waits with the rest.
    protocol.receive_data(b"ignored behind the close frame")
    assert protocol.next_message() == bytes(10_000_000)
    assert protocol.next_message() == "next"
    assert protocol.next_message() is None
    assert protocol.close_code == 1000
    assert protocol.events() == [Close(1000, "bye")]


@both_sides
def test_events_of_a_message_that_nobody_asks_for(side: Side) -> None:
    protocol = suspended(side, Frame(TEXT, b"next"), GOODBYE)
    assert protocol.events() == [bytes(10_000_000), "next"]
    protocol.send("answer")
    assert [frame.opcode for frame in sent(protocol)] == [TEXT, CLOSE]
    assert protocol.events() == [Close(1000, "bye")]


@both_sides
def test_the_end_of_the_stream_behind_it(side: Side) -> None:
    protocol = suspended(side, GOODBYE)
    protocol.receive_eof()
    assert protocol.state is State.OPEN
    assert protocol.next_message() == bytes(10_000_000)
    assert protocol.next_message() is None
    assert protocol.state is State.CLOSING
    assert protocol.close_code == 1000

    protocol = suspended(side)
    protocol.receive_eof()
    events = protocol.events()
    assert events[0] == bytes(10_000_000)
    (failure,) = events[1:]
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, EOFError)
    assert str(failure.error) == "the peer ended the stream without a close frame"


@both_sides
def test_there_is_input_while_something_is_left_to_be_decoded(side: Side) -> None:
    protocol = receiving(side, max_queue=2)
    payload = deflated(b"x")
    protocol.receive_data(from_peer(protocol, *[Frame(BINARY, payload, reserved=RSV1)] * 3))
    assert not protocol.wants_read
    for _ in range(3):
        assert protocol.has_input
        assert protocol.next_message() == b"x"
        assert protocol.wants_read is (protocol.undelivered < 2)
    assert not protocol.has_input


@both_sides
def test_closing_while_there_is_no_room(side: Side) -> None:
    """The peer's close frame is reached; what nobody wanted is dropped, with what follows."""
    protocol = suspended(side, Frame(TEXT, b"next"), GOODBYE)
    protocol.close()
    assert protocol.close_code == 1000
    assert protocol.events() == [Close(1000, "bye")]

    protocol = suspended(side)
    protocol.receive_eof()
    protocol.close()
    assert protocol.close_code == 1006
    assert not protocol.receiving


@both_sides
def test_losing_the_connection_while_there_is_no_room(side: Side) -> None:
    protocol = suspended(side, GOODBYE)
    protocol.connection_lost()
    assert protocol.state is State.CLOSED
    assert protocol.close_code == 1000

    protocol = suspended(side)
    protocol.connection_lost(ConnectionResetError("gone"))
    assert protocol.close_code == 1006
    assert isinstance(protocol.close_exception().__cause__, ConnectionResetError)
    assert protocol.next_fragment() is None


@both_sides
@pytest.mark.parametrize("ended", [True, False])
def test_failing_while_there_is_no_room(side: Side, ended: bool) -> None:
    protocol = suspended(side, GOODBYE)
    if ended:
        protocol.receive_eof()
    protocol.fail(RuntimeError("of our own"))
    assert protocol.close_code == 1006
    assert protocol.next_fragment() is None
    # The end is not forgotten: nothing is waited for.
    written(protocol)
    assert (protocol.stream_action.name == "CLOSE") is ended


@both_sides
def test_a_stall_while_there_is_no_room(side: Side) -> None:
    protocol = suspended(side, GOODBYE)
    protocol.send(b"unread")
    protocol.data_to_send()
    clock: Any = protocol._clock
    reach_deadline(protocol, clock)
    assert protocol.stream_action.name == "ABORT"
    assert not protocol._inbox.reader.suspended
    assert protocol.next_fragment() is None


@both_sides
def test_an_error_behind_it(side: Side) -> None:
    protocol = suspended(side, Frame(TEXT, b"\xff"))
    assert protocol.events() == [bytes(10_000_000)]
    (failure,) = protocol.events()
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, InvalidPayload)


@both_sides
def test_a_long_input_is_not_copied_for_each_message(side: Side) -> None:
    """What is parsed later stays where it is, however many times that stops and goes on."""
    protocol = receiving(side, max_queue=2)
    payload = raw(b"x" * 50)
    data = from_peer(protocol, *[Frame(BINARY, payload, reserved=RSV1)] * 100) * 3000
    protocol.receive_data(data)
    assert len(data) > 1_000_000

    def take() -> None:
        for _ in range(100):
            assert protocol.next_message() == b"x" * 50

    assert peak_memory(take) < 100_000


@both_sides
def test_many_messages_at_once(side: Side) -> None:
    """A read of some kilobytes may hold a hundred megabytes: no more are inflated than there is room."""
    protocol = receiving(side, max_size=2**20, read_limit=100_000)
    payload = raw(bytes(2**20))
    frames = [Frame(BINARY, payload, reserved=RSV1)] * 60
    protocol.receive_data(from_peer(protocol, *frames, Frame(PING, b"p")))
    for _ in range(60):
        assert protocol.undelivered <= 1
        assert protocol.next_message() == bytes(2**20)
    assert protocol.next_message() is None
    assert protocol.events() == [Ping(b"p")]

    protocol = receiving(side, max_size=2**20, read_limit=100_000)
    protocol.receive_data(from_peer(protocol, *frames, GOODBYE))
    protocol.close()
    assert protocol.undelivered <= 1
    assert protocol.close_code == 1000


@both_sides
def test_taking_pieces_of_an_inflated_message(side: Side) -> None:
    protocol = receiving(side, max_size=None)
    data = from_peer(protocol, Frame(TEXT, deflated(TEXTS.encode()), reserved=RSV1))
    protocol.receive_data(data[:-5])
    first = protocol.next_fragment()
    assert first is not None
    assert not first.final
    protocol.receive_data(data[-5:])
    second = protocol.next_fragment()
    assert second is not None
    assert (first.data + second.data, second.final) == (TEXTS, True)  # type: ignore[operator]


@both_sides
def test_a_large_read_takes_linear_time(side: Side) -> None:
    """Input that is not taken at once is not copied again and again."""
    protocol = receiving(side, max_size=None)
    noise = random.Random(7).randbytes(2**22)
    assert feed(protocol, from_peer(protocol, Frame(BINARY, deflated(noise), reserved=RSV1))) == [noise]


# Failures


class Failing(Counting):
    fails = False

    def encode(
        self, data: bytes, *, first: bool, final: bool, compress: bool | None = None
    ) -> tuple[int, bytes]:
        if self.fails:
            raise MemoryError("no room")
        return super().encode(data, first=first, final=final, compress=compress)


@both_sides
@pytest.mark.parametrize("when", range(4))
def test_a_failure_behind_the_compressor(side: Side, when: int) -> None:
    """What was compressed and not sent, the peer has not seen: the next message does not refer to it."""
    failing, last = Failing(), Counting()

    def deflate() -> PerMessageDeflate:
        return PerMessageDeflate(remote_no_context_takeover=False, local_no_context_takeover=False)

    sender = Protocol(side, clock=Clock(), extensions=[deflate(), failing, last])
    other = Side.SERVER if side is Side.CLIENT else Side.CLIENT
    receiver = Protocol(other, clock=Clock(), extensions=[deflate(), Failing(), Counting()])
    secret = random.Random(8).randbytes(300)
    pieces = [b"a" * 100, secret, b"b" * 100, secret]
    exchange(sender, receiver, TEXTS)
    for index, piece in enumerate(pieces):
        if index == when:
            failing.fails = True
            with pytest.raises(MemoryError):
                sender.send(piece, fin=index == 3)
            failing.fails = False
        sender.send(piece, fin=index == 3)
    # Those that have not seen it have nothing to forget.
    assert (failing.cancelled, last.cancelled) == (1, 0)
    transfer(sender, receiver)
    assert receiver.events() == [b"".join(pieces)]
    exchange(sender, receiver, secret, compress=True)
    exchange(sender, receiver, TEXTS)


def test_repr() -> None:
    assert repr(DEFAULT_CLIENT.process_response_params([(SMW, "9")], [])) == (
        "PerMessageDeflate(remote_no_context_takeover=False, local_no_context_takeover=False, "
        "remote_max_window_bits=9, local_max_window_bits=15)"
    )


def test_uncompressed_fragments_of_a_compressing_peer() -> None:
    client, server = pair()
    server.receive_data(
        from_peer(server, Frame(TEXT, b"a", fin=False), Frame(CONTINUATION, b"b"), Frame(TEXT, b"c"))
    )
    assert server.events() == ["ab", "c"]
    assert sent(client) == []
