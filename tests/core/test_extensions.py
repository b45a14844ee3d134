"""The seam for extensions: their negotiation, and what passes through them (RFC 6455 section 9)."""

from __future__ import annotations

from typing import Any

import pytest

from wsproto_core import (
    ClientProtocol,
    Failure,
    Fragment,
    InvalidHandshake,
    Ping,
    Protocol,
    ServerProtocol,
    Side,
    State,
)
from wsproto_core.exceptions import InvalidPayload, NegotiationError, PayloadTooBig, ProtocolError
from wsproto_core.extensions import ClientExtensionFactory, Extension, base
from wsproto_core.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from wsproto_core.handshake.negotiation import accept_offers, check_accepted, offer_extensions

from .helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
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
    check_failed,
    close_payload,
    feed,
    from_peer,
    one_by_one,
    opened_pair,
    parse_head,
    request,
    sent,
    transfer,
    written,
)
from .sample_extensions import Add, ClientFactory, Counting, Holding, Repeat, ServerFactory, Xor


def using(side: Side, *extensions: Extension, **options: Any) -> Protocol:
    return Protocol(side, clock=Clock(), extensions=extensions, **options)


def inverted(data: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in data)


# What passes through


@both_sides
def test_sending(side: Side) -> None:
    protocol = using(side, Xor())
    protocol.send("abc")
    protocol.send(b"")
    assert sent(protocol) == [Frame(TEXT, inverted(b"abc"), reserved=RSV2), Frame(BINARY, reserved=RSV2)]


@any_chunking
@both_sides
def test_receiving(side: Side, chunking: Chunking) -> None:
    """With the bit or without: the peer may choose for each message."""
    protocol = using(side, Xor())
    frames = [
        Frame(TEXT, inverted("grüße".encode()), reserved=RSV2),
        Frame(TEXT, "grüße".encode()),
        Frame(BINARY, inverted(b"x" * 200), reserved=RSV2),
        Frame(BINARY, reserved=RSV2),
    ]
    assert feed(protocol, from_peer(protocol, *frames), chunking) == ["grüße", "grüße", b"x" * 200, b""]


@both_sides
def test_only_the_first_fragment_has_the_bit(side: Side) -> None:
    protocol = using(side, Xor())
    protocol.send("a", fin=False)
    protocol.ping(b"p")
    protocol.send("b", fin=False)
    protocol.end_message()
    assert sent(protocol) == [
        Frame(TEXT, inverted(b"a"), fin=False, reserved=RSV2),
        Frame(PING, b"p"),
        Frame(CONTINUATION, inverted(b"b"), fin=False),
        Frame(CONTINUATION),
    ]


@any_chunking
@both_sides
def test_receiving_fragments(side: Side, chunking: Chunking) -> None:
    """Control frames between them are not transformed."""
    protocol = using(side, Xor())
    frames = [
        Frame(TEXT, inverted(b"\xc3"), fin=False, reserved=RSV2),
        Frame(PING, b"p"),
        Frame(CONTINUATION, inverted(b"\xbc"), fin=False),
        Frame(CONTINUATION),
    ]
    assert feed(protocol, from_peer(protocol, *frames), chunking) == [Ping(b"p"), "ü"]


@both_sides
def test_control_frames_are_not_transformed(side: Side) -> None:
    protocol = using(side, Xor())
    protocol.ping(b"p")
    protocol.receive_data(from_peer(protocol, Frame(PING, b"q")))
    protocol.close(1000, "bye")
    assert [frame.payload for frame in sent(protocol)] == [b"q", b"p", close_payload(1000, "bye")]


@both_sides
def test_the_order_is_reversed_when_receiving(side: Side) -> None:
    """Sent through the first, then the second; received through the second, then the first."""
    protocol = using(side, Xor(), Add())
    protocol.send(b"\x00\x01")
    (frame,) = sent(protocol)
    # inverted, and then one more
    assert frame == Frame(BINARY, b"\x00\xff", reserved=RSV2 | RSV3)
    assert feed(protocol, from_peer(protocol, frame)) == [b"\x00\x01"]

    protocol = using(side, Add(), Xor())
    protocol.send(b"\x00\x01")
    assert sent(protocol) == [Frame(BINARY, b"\xfe\xfd", reserved=RSV2 | RSV3)]


@any_chunking
def test_from_side_to_side(chunking: Chunking) -> None:
    client, server = opened_pair(
        {"extensions": [ClientFactory(Xor), ClientFactory(Add), ClientFactory(Holding)]},
        {"extensions": [ServerFactory(Holding), ServerFactory(Add), ServerFactory(Xor)]},
    )
    assert [extension.name for extension in client.extensions] == ["x-xor", "x-add", "x-holding"]
    for one, other in ((client, server), (server, client)):
        one.send("grüße")
        one.send(b"x" * 100_000)
        one.send("a", fin=False)
        one.send("b", fin=False)
        one.end_message()
        one.send("")
        transfer(one, other, chunking if chunking is not one_by_one else lambda data: [data[:-1], data[-1:]])
        assert other.events() == ["grüße", b"x" * 100_000, "ab", ""]


@both_sides
def test_how_an_extension_is_called_when_sending(side: Side) -> None:
    counting = Counting()
    protocol = using(side, counting)
    protocol.send("abc")
    protocol.send(bytearray(b"d"), fin=False, compress=True)
    protocol.send(b"", fin=False, compress=False)
    protocol.send(memoryview(b"e"))
    assert counting.encoded == [
        (b"abc", True, True, None),
        (b"d", True, False, True),
        (b"", False, False, False),
        (b"e", False, True, None),
    ]
    assert {type(data) for data, *_ in counting.encoded} == {bytes}
    assert [frame.reserved for frame in sent(protocol)] == [0, 0, 0, 0]


@both_sides
def test_how_an_extension_is_called_when_receiving(side: Side) -> None:
    """Piece by piece, as it arrives; it may return one byte more than the limit leaves."""
    counting = Counting()
    protocol = using(side, Xor(), counting, max_size=100)
    data = from_peer(
        protocol,
        Frame(BINARY, inverted(b"abcdef"), fin=False, reserved=RSV2),
        Frame(CONTINUATION, inverted(b"gh")),
        Frame(TEXT),
    )
    middle = len(data) - (2 if side is Side.CLIENT else 6) - (4 if side is Side.CLIENT else 8) - 4
    protocol.receive_data(data[:middle])
    protocol.receive_data(data[middle:])
    # It sees the bytes before the first extension does, and not that one's bits.
    assert counting.begun == [0, 0]
    assert counting.decoded == [
        (inverted(b"ab"), False, False, 101),
        (inverted(b"cdef"), True, False, 99),
        (inverted(b"gh"), True, True, 95),
        (b"", True, True, 101),
    ]
    assert protocol.events() == [b"abcdefgh", ""]


@both_sides
def test_no_limit_for_an_extension(side: Side) -> None:
    counting = Counting()
    protocol = using(side, counting, max_size=None)
    feed(protocol, from_peer(protocol, Frame(TEXT, b"a")))
    assert counting.decoded == [(b"a", True, True, 65536)]


@both_sides
def test_an_extension_that_holds_data_back(side: Side) -> None:
    protocol = using(side, Holding())
    data = from_peer(protocol, Frame(TEXT, b"abc", fin=False), Frame(CONTINUATION, b"def"))
    for byte in one_by_one(data[:-1]):
        assert feed(protocol, byte) == []
    assert feed(protocol, data[-1:]) == ["abcdef"]


@any_chunking
@both_sides
def test_text_is_checked_after_the_extension(side: Side, chunking: Chunking) -> None:
    protocol = using(side, Xor())
    bad = Frame(TEXT, inverted(b"a\xff") + b"rest", reserved=RSV2, fin=False)
    data = from_peer(protocol, Frame(TEXT, b"\xff", reserved=RSV2), bad)
    assert check_failed(protocol, feed(protocol, data[:-4], chunking), 1007, InvalidPayload) == ["\0"]


@both_sides
def test_an_extension_refuses_data(side: Side) -> None:
    protocol = using(side, Repeat())
    data = from_peer(protocol, Frame(TEXT, b"a"), Frame(TEXT, b"b?", fin=False))
    assert check_failed(protocol, feed(protocol, data), 1007, InvalidPayload) == ["a" * 10]


@both_sides
def test_an_extension_lets_a_message_grow_beyond_the_limit(side: Side) -> None:
    """What earlier pieces have grown to counts."""
    protocol = using(side, Repeat(), max_size=50)
    assert feed(protocol, from_peer(protocol, Frame(TEXT, b"abcde"))) == [
        "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee"
    ]
    assert feed(protocol, from_peer(protocol, Frame(TEXT, b"abc", fin=False))) == []
    events = feed(protocol, from_peer(protocol, Frame(CONTINUATION, b"def")))
    check_failed(protocol, events, 1009, PayloadTooBig)


@both_sides
def test_the_limit_on_the_wire(side: Side) -> None:
    """A message that would shrink is limited as it comes."""
    protocol = using(side, Holding(), max_size=5)
    events = feed(protocol, from_peer(protocol, Frame(TEXT, b"abcdef")))
    check_failed(protocol, events, 1009, PayloadTooBig)


@both_sides
def test_a_long_explanation_is_cut_to_fit_into_a_close_frame(side: Side) -> None:
    class Verbose(Counting):
        def decode(self, data: bytes, *, frame_end: bool, final: bool, max_length: int) -> bytes:
            raise ProtocolError("é" * 100)

    protocol = using(side, Verbose())
    protocol.receive_data(from_peer(protocol, Frame(TEXT)))
    (failure,) = protocol.events()
    assert isinstance(failure, Failure)
    assert str(failure.error) == "é" * 100
    assert sent(protocol) == [Frame(CLOSE, close_payload(1002, "é" * 61))]


@both_sides
def test_pieces(side: Side) -> None:
    protocol = using(side, Repeat())
    protocol.receive_data(from_peer(protocol, Frame(TEXT, b"ab", fin=False)))
    assert protocol.next_fragment() == Fragment("a" * 10 + "b" * 10, False)
    protocol.receive_data(from_peer(protocol, Frame(CONTINUATION)))
    assert protocol.next_fragment() == Fragment("", True)


@both_sides
def test_each_connection_has_extensions_of_its_own(side: Side) -> None:
    factories = {"extensions": [ClientFactory(Counting)]}, {"extensions": [ServerFactory(Counting)]}
    first, second = (opened_pair(*factories)[side is Side.SERVER] for _ in range(2))
    assert first.extensions[0] is not second.extensions[0]
    assert type(first.extensions) is tuple


# Negotiation by a client


def client_with(*factories: ClientFactory) -> ClientProtocol:
    return ClientProtocol(URI, clock=Clock(), compression=None, extensions=factories)


def answered(client: ClientProtocol, *values: str) -> InvalidHandshake | None:
    """Let a server answer with these extensions; return why the client refuses them."""
    client.receive_data(answer(client, Sec_WebSocket_Extensions=list(values)))
    assert (client.state is State.OPEN) is (client.handshake_error is None)
    assert client.handshake_error is None or isinstance(client.handshake_error, InvalidHandshake)
    return client.handshake_error


def test_offers() -> None:
    client = client_with(
        ClientFactory(Xor), ClientFactory(Add, [("a", None), ("b", "1")]), ClientFactory(Add, [("a", None)])
    )
    header = parse_head(written(client)).headers["sec-websocket-extensions"]
    assert header == "x-xor, x-add; a; b=1, x-add; a"
    assert offer_extensions([]) is None


def test_an_offer_is_accepted() -> None:
    client = client_with(ClientFactory(Xor), ClientFactory(Add, [("a", "1")]))
    assert answered(client, "x-xor, x-add; a=1") is None
    assert [type(extension) for extension in client.extensions] == [Xor, Add]


def test_the_order_is_the_servers() -> None:
    client = client_with(ClientFactory(Xor), ClientFactory(Add))
    assert answered(client, "x-add", "x-xor") is None
    assert [type(extension) for extension in client.extensions] == [Add, Xor]
    client.send(b"\x00")
    (frame,) = sent(client)
    assert frame.payload == b"\xfe"


def test_an_offer_is_not_accepted() -> None:
    client = client_with(ClientFactory(Xor), ClientFactory(Add))
    assert answered(client) is None
    assert client.extensions == ()
    client.send("a")
    assert sent(client) == [Frame(TEXT, b"a")]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["x-other"], "server accepted an extension that was not offered: 'x-other'"),
        (["X-XOR"], "server accepted an extension that was not offered: 'X-XOR'"),
        (["x-xor, x-other"], "server accepted an extension that was not offered: 'x-other'"),
        (["x-xor, x-xor"], "server accepted an extension that was not offered: 'x-xor'"),
        (["x-xor", "x-xor"], "server accepted an extension that was not offered: 'x-xor'"),
        (["x-xor; a"], r"expected \[\], got \[\('a', None\)\]"),
        (["x-add"], r"expected \[\('b', None\)\], got \[\]"),
    ],
)
def test_what_a_client_refuses(values: list[str], message: str) -> None:
    client = client_with(
        ClientFactory(Xor), ClientFactory(Add, [("b", None)]), ClientFactory(Add, [("b", "2")])
    )
    error = answered(client, *values)
    assert type(error) is NegotiationError
    with pytest.raises(NegotiationError, match=message):
        raise error


def test_the_offer_that_was_accepted_is_found_by_its_parameters() -> None:
    """Of several offers of an extension, the server accepts one."""
    first, second = ClientFactory(Add, [("a", "1")]), ClientFactory(Add, [("a", "2")])
    client = client_with(first, second, ClientFactory(Xor))
    assert answered(client, "x-xor, x-add; a=2") is None
    assert [type(extension) for extension in client.extensions] == [Xor, Add]
    # They are told which extensions there are already.
    assert first.already_accepted == second.already_accepted == [["x-xor"]]


def test_two_offers_of_an_extension_are_accepted() -> None:
    """That would be the same reserved bit twice."""
    client = client_with(ClientFactory(Add, [("a", "1")]), ClientFactory(Add, [("a", "2")]))
    error = answered(client, "x-add; a=2, x-add; a=1")
    assert type(error) is NegotiationError
    assert str(error) == (
        "extensions 'x-add' and 'x-add' both use reserved bit 0x10: negotiate only one of them"
    )


def test_a_client_sees_a_conflict_of_reserved_bits() -> None:
    client = client_with(ClientFactory(Xor), ClientFactory(Repeat))
    error = answered(client, "x-xor, x-repeat")
    assert type(error) is NegotiationError
    assert "'x-xor' and 'x-repeat' both use reserved bit 0x20" in str(error)


def test_check_accepted_without_headers() -> None:
    assert check_accepted([], [ClientFactory(Xor)]) == []


# Negotiation by a server


def accepted(offers: Any, *factories: ServerFactory) -> ServerProtocol:
    server = ServerProtocol(clock=Clock(), compression=None, extensions=factories)
    server.receive_data(request(Sec_WebSocket_Extensions=offers))
    assert server.accept().status == 101
    return server


def response_header(server: ServerProtocol) -> str | None:
    return parse_head(written(server)).headers.get("sec-websocket-extensions")


def test_a_server_accepts() -> None:
    server = accepted("x-add; a=1, x-other, x-xor", ServerFactory(Xor), ServerFactory(Add, [("a", "1")]))
    # in the client's order
    assert response_header(server) == "x-add; a=1, x-xor"
    assert [type(extension) for extension in server.extensions] == [Add, Xor]


@pytest.mark.parametrize("offers", ["x-xor, x-add", ["x-xor", "x-add"]])
def test_one_header_or_two(offers: Any) -> None:
    server = accepted(offers, ServerFactory(Add), ServerFactory(Xor))
    assert [type(extension) for extension in server.extensions] == [Xor, Add]


@pytest.mark.parametrize("offers", ["x-other", "X-XOR", "x-xor; unknown", 'x-xor; a="b"'])
def test_a_server_declines(offers: str) -> None:
    server = accepted(offers, ServerFactory(Xor))
    assert response_header(server) is None
    assert server.extensions == ()


def test_a_server_accepts_the_first_offer_that_suits_it() -> None:
    factory = ServerFactory(Add, [("a", "2")])
    server = accepted("x-add; a=1, x-add; a=2, x-add; a=2", factory)
    assert response_header(server) == "x-add; a=2"
    assert [type(extension) for extension in server.extensions] == [Add]
    # The third offer is not even looked at.
    assert factory.already_accepted == [[], []]


def test_a_server_may_have_several_factories_for_an_extension() -> None:
    server = accepted("x-add; a=2", ServerFactory(Add, [("a", "1")]), ServerFactory(Add, [("a", "2")]))
    assert response_header(server) == "x-add; a=2"


def test_a_server_accepts_an_offer_once() -> None:
    """By the first factory that can, though others could, too."""
    header, extensions = accept_offers(["x-counting"], [ServerFactory(Counting), ServerFactory(Counting)])
    assert header == "x-counting"
    assert [type(extension) for extension in extensions] == [Counting]


@pytest.mark.parametrize(
    ("factories", "names"),
    [
        ([], ["permessage-deflate"]),
        ([ClientFactory(Counting)], ["x-counting", "permessage-deflate"]),
        ([ClientPerMessageDeflateFactory()], ["permessage-deflate"]),
    ],
)
def test_compression_is_offered_once(factories: list[ClientExtensionFactory], names: list[str]) -> None:
    """After the extensions of the application, unless it is one of them."""
    client = ClientProtocol(URI, clock=Clock(), extensions=factories, compression="deflate")
    header = parse_head(written(client)).headers["sec-websocket-extensions"]
    assert [offer.partition(";")[0].strip() for offer in header.split(",")] == names


def test_factories_are_told_what_was_accepted_before() -> None:
    factory = ServerFactory(Add)
    accepted("x-xor, x-add", ServerFactory(Xor), factory)
    assert factory.already_accepted == [["x-xor"]]


def test_a_server_sees_a_conflict_of_reserved_bits() -> None:
    with pytest.raises(NegotiationError, match="'x-xor' and 'x-repeat' both use reserved bit 0x20"):
        accept_offers(["x-xor, x-repeat"], [ServerFactory(Xor), ServerFactory(Repeat)])
    assert accept_offers(["x-repeat"], [ServerFactory(Xor), ServerFactory(Repeat)])[0] == "x-repeat"
    assert accept_offers([], [ServerFactory(Xor)]) == (None, [])


def test_the_interface_is_abstract() -> None:
    for interface in (base.Extension, base.ClientExtensionFactory, base.ServerExtensionFactory):
        with pytest.raises(TypeError, match="abstract"):
            interface()  # type: ignore[abstract]
