"""The same bytes, right and wrong ones, given to wsproto and to this package: the same events and states."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.text(max_size=40).map(str.encode)
BYTES = st.one_of(st.binary(max_size=20), st.sampled_from([125, 126, 127, 65535, 65536]).map(bytes))
SHORT = st.binary(max_size=125)
CODES = st.sampled_from([999, 1000, 1001, 1003, 1004, 1005, 1006, 1011, 1015, 2999, 3000, 4999, 5000])
CLOSES = st.one_of(
    st.just(b""),
    st.just(b"\x03"),
    CODES.map(lambda code: code.to_bytes(2, "big") + b"why"),
    st.just(b"\x03\xe8\xff"),
)
# Neither end waits for the third byte of a surrogate.
INVALID = st.binary(max_size=8).filter(lambda data: b"\xed" not in data)


def single(first: int, payloads: st.SearchStrategy[bytes]) -> st.SearchStrategy[list[tuple[int, bytes]]]:
    return payloads.map(lambda payload: [(first, payload)])


CONTROL = st.one_of(single(0x89, SHORT), single(0x8A, SHORT))


@st.composite
def fragments(draw: Any) -> list[tuple[int, bytes]]:
    first, payloads = draw(st.sampled_from([(0x01, TEXTS), (0x02, BYTES)]))
    found = [(first, draw(payloads))]
    for _ in range(draw(st.integers(0, 3))):
        found += draw(st.one_of(CONTROL, single(0x00, payloads)))
    return [*found, (0x80, draw(payloads))]


CONVERSATIONS = st.lists(
    st.one_of(single(0x81, TEXTS), single(0x82, BYTES), single(0x81, INVALID), CONTROL, fragments()),
    max_size=6,
)


@st.composite
def conversations(draw: Any, masked: bool) -> bytes:
    """Frames of one end, of which at most one breaks a rule."""
    found = [frame for frames in draw(CONVERSATIONS) for frame in frames]
    found += draw(st.one_of(st.just([]), single(0x88, CLOSES)))
    wrong = draw(st.integers(0, 2 * len(found)))
    change = draw(
        st.sampled_from([(0x80, 0, 0), (0x40, 0, 0), (0x10, 0, 0), (0x03, 0, 0), (0, 0x80, 0), (0, 0, 1)])
    )
    return b"".join(
        build(first, payload, masked, *(change if index == wrong else (0, 0, 0)))
        for index, (first, payload) in enumerate(found)
    )


def build(first: int, payload: bytes, masked: bool, flip_first: int, flip_second: int, longer: int) -> bytes:
    length = len(payload)
    form = min((length > 125) + (length > 65535) + longer, 2)
    second = (0x80 * masked) ^ flip_second
    size = (length, 126, 127)[form]
    key = bytes(4) if second & 0x80 else b""
    return (
        bytes((first ^ flip_first, second | size))
        + (length.to_bytes(2 + 6 * (form - 1), "big") if form else b"")
        + key
        + payload
    )


def outcome(top: str, server: bool, closing: bool, data: bytes, sizes: list[int]) -> tuple[list[Any], str]:
    """Return the messages and the other events of a connection, and the state in the end."""
    wsproto = importlib.import_module(top)
    connection = wsproto.Connection(
        wsproto.ConnectionType.SERVER if server else wsproto.ConnectionType.CLIENT
    )
    if closing:
        connection.send(wsproto.events.CloseConnection(1000))
    found: list[Any] = []
    parts: list[Any] = []
    position = turn = 0
    while position < len(data) and connection.state.name in ("OPEN", "LOCAL_CLOSING"):
        size = sizes[turn % len(sizes)]
        connection.receive_data(data[position : position + size])
        position += size
        turn += 1
        for event in connection.events():
            if isinstance(event, wsproto.events.Message):
                parts.append(event.data)
                if event.message_finished:
                    found.append((type(event).__name__, event.data[:0].join(parts)))
                    parts.clear()
            elif isinstance(event, wsproto.events.CloseConnection):
                found.append(("CloseConnection", event.code))
                # What follows an error differs: wsproto stays open.
                return found, "closed"
            else:
                found.append((type(event).__name__, bytes(event.payload)))
    return found, connection.state.name


@given(st.data(), st.booleans(), st.booleans(), st.lists(st.integers(1, 70), min_size=1, max_size=6))
def test_same_events(data: st.DataObject, server: bool, closing: bool, sizes: list[int]) -> None:
    received = data.draw(conversations(server))
    sizes = [*sizes, 70_000] if len(received) > 10_000 else sizes
    theirs = outcome("wsproto", server, closing, received, sizes)
    ours = outcome("adapters.wsproto", server, closing, received, sizes)
    assert ours == theirs


@given(st.text(max_size=200), st.integers(1000, 1015), st.booleans())
def test_same_close_frames(reason: str, code: int, server: bool) -> None:
    if code in (1004, 1014) or (code == 1005 and reason):
        return
    sent = []
    for top in "wsproto", "adapters.wsproto":
        wsproto = importlib.import_module(top)
        reasons = wsproto.frame_protocol.CloseReason
        protocol = wsproto.frame_protocol.FrameProtocol(False, [])
        sent.append(bytes(protocol.close(reasons(code), reason)))
    assert sent[0] == sent[1]


PARAMETERS = (
    {},
    {"client_no_context_takeover": True, "server_no_context_takeover": True},
    {"client_max_window_bits": 9, "server_max_window_bits": 10},
)


@pytest.mark.parametrize("client", ["wsproto", "adapters.wsproto"])
@pytest.mark.parametrize("on_client", PARAMETERS)
@pytest.mark.parametrize("on_server", PARAMETERS)
def test_compressed_conversation(client: str, on_client: Any, on_server: Any) -> None:
    server = {"wsproto": "adapters.wsproto", "adapters.wsproto": "wsproto"}[client]
    theirs, ours = importlib.import_module(client), importlib.import_module(server)
    connections = (
        theirs.WSConnection(theirs.ConnectionType.CLIENT),
        ours.WSConnection(ours.ConnectionType.SERVER),
    )
    offered = theirs.extensions.PerMessageDeflate(**on_client)
    accepted = ours.extensions.PerMessageDeflate(**on_server)
    request = theirs.events.Request("localhost", "/", extensions=[offered], subprotocols=["a", "b"])
    connections[1].receive_data(connections[0].send(request))
    (event,) = connections[1].events()
    assert (event.host, event.target, event.subprotocols) == ("localhost", "/", ["a", "b"])
    connections[0].receive_data(connections[1].send(ours.events.AcceptConnection("b", [accepted])))
    (event,) = connections[0].events()
    assert event.subprotocol == "b"
    assert event.extensions == [offered]
    messages = ["hello " * 20, b"\0" * 100_000, "", b"x" * 3, "hello " * 21]
    for sender, receiver, top in (*connections, theirs), (*reversed(connections), ours):
        data = b""
        for message in messages:
            kind = top.events.TextMessage if isinstance(message, str) else top.events.BytesMessage
            data += sender.send(kind(message[:7], message_finished=False)) + sender.send(kind(message[7:]))
        assert len(data) < 5000
        receiver.receive_data(data)
        found: list[Any] = []
        parts: list[Any] = []
        for event in receiver.events():
            parts.append(event.data)
            if event.message_finished:
                found.append(event.data[:0].join(parts))
                parts.clear()
        assert found == messages
