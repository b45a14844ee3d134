"""Which pings are answered: all, while the pongs take no more room than what was read at once."""

from __future__ import annotations

from wsproto_core import Protocol, Side

from .helpers import PING, PONG, Frame, both_sides, from_peer, opened, sent


def pings(protocol: Protocol, *payloads: bytes) -> bytes:
    return from_peer(protocol, *(Frame(PING, payload) for payload in payloads))


def filling(protocol: Protocol, size: int) -> bytes:
    """As many bytes of frames that are not answered."""
    header = len(from_peer(protocol, Frame(PONG)))
    sizes = []
    while size > 2 * (header + 125):
        sizes.append(header + 125)
        size -= header + 125
    sizes += [size // 2, size - size // 2]
    return from_peer(protocol, *(Frame(PONG, bytes(each - header)) for each in sizes))


def later(protocol: Protocol, size: int, payload: bytes) -> bytes:
    """A ping at the end of as many bytes."""
    ping = pings(protocol, payload)
    data = filling(protocol, size - len(ping)) + ping
    assert len(data) == size
    return data


@both_sides
def test_pings_of_one_read(side: Side) -> None:
    """However many they are, and in their order."""
    protocol = opened(side)
    payloads = [b"%d" % number for number in range(20_000)]
    data = pings(protocol, *payloads)
    assert len(data) > 65536
    protocol.receive_data(data)
    assert sent(protocol) == [Frame(PONG, payload) for payload in payloads]


@both_sides
def test_pings_of_several_reads(side: Side) -> None:
    """64 KiB after the first of them, the latest alone is answered (RFC 6455 section 5.5.3)."""
    for size, answered in (
        (65536, [b"first", b"second"]),
        (65537, [b"second"]),
    ):
        protocol = opened(side)
        protocol.receive_data(filling(protocol, 1000))
        protocol.receive_data(pings(protocol, b"first"))
        protocol.receive_data(later(protocol, size, b"second"))
        assert sent(protocol) == [Frame(PONG, payload) for payload in answered]


@both_sides
def test_the_count_begins_anew(side: Side) -> None:
    """With the ping that takes the place of the others, and after each that has been written."""
    protocol = opened(side)
    protocol.receive_data(pings(protocol, b"first"))
    protocol.receive_data(later(protocol, 65537, b"second"))
    protocol.receive_data(later(protocol, 65536, b"third"))
    assert sent(protocol) == [Frame(PONG, b"second"), Frame(PONG, b"third")]
    protocol.receive_data(later(protocol, 65536, b"fourth"))
    protocol.receive_data(later(protocol, 65536, b"fifth"))
    assert sent(protocol) == [Frame(PONG, b"fourth"), Frame(PONG, b"fifth")]


@both_sides
def test_pings_of_a_peer_that_does_not_read(side: Side) -> None:
    """While bytes that were handed out are not written, the latest ping alone is kept."""
    protocol = opened(side)
    protocol.send(b"x")
    data = b"".join(protocol.data_to_send())
    protocol.receive_data(pings(protocol, b"first", b"second"))
    protocol.receive_data(pings(protocol, b"third"))
    protocol.data_sent(len(data) - 1)
    protocol.receive_data(pings(protocol, b"fourth"))
    protocol.data_sent(1)
    protocol.receive_data(pings(protocol, b"fifth"))
    assert sent(protocol) == [Frame(PONG, b"fourth"), Frame(PONG, b"fifth")]
