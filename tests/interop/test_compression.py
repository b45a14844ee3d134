"""permessage-deflate (RFC 7692) against other implementations, over loopback.

Whether a message was compressed shows in the bytes that our end has counted: to the peer's
application a message is the same in either case.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, replace
from typing import Any

import pytest

from adapters.asyncio import Connection
from wsproto_core.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)

from .cases import Case, collect, pass_on, port_of, scenario
from .peers import PEERS, Agreed, Deflate, PeerConnection, Settings

NOISE = random.Random(7692)

SAMPLE = NOISE.randbytes(75).hex()
"""150 characters. By themselves they need two thirds of that; behind themselves, next to nothing."""

BLOCK = NOISE.randbytes(1500).hex()
"""3000 characters, more than a window of 9 bits can look back, and less than one of 12."""

INCOMPRESSIBLE = NOISE.randbytes(5000)

MESSAGES: list[str | bytes] = [
    "",
    "x",
    SAMPLE,
    b"",
    SAMPLE.encode(),
    INCOMPRESSIBLE,
    "",
    BLOCK + "Grüße, 世界, 🎉" * 100 + BLOCK,
    bytes(range(256)) * 20,
    INCOMPRESSIBLE * 3,
    b"\x00" * 70000,
    SAMPLE,
]


def compression(case: Case, asked: Deflate, **options: Any) -> dict[str, Any]:
    """Return our options for this."""
    factory = ClientPerMessageDeflateFactory if case.ours == "client" else ServerPerMessageDeflateFactory
    return {"extensions": [factory(**asdict(asked), **options)]}


def open_to_anything(side: str) -> Deflate:
    """What this side asks for in order to leave everything to the other one."""
    return Deflate(client_max_window_bits=True) if side == "client" else Deflate()


def joined(
    case: Case, asked: Deflate | None = None, *, max_size: int | None = None, **options: Any
) -> AbstractAsyncContextManager[tuple[Connection, PeerConnection]]:
    """Open a connection as we ask for it; the peer agrees.

    Args:
        asked: ``None`` for as much as there is.
        options: of our extension.
    """
    settings = Settings(deflate=open_to_anything(case.their_side), max_size=max_size)
    ours = compression(case, asked or open_to_anything(case.ours), **options)
    return case.joined(settings, **ours, **({} if max_size is None else {"max_size": max_size}))


def agreed_by(case: Case, ours: Connection) -> Agreed:
    (extension,) = ours.extensions
    assert isinstance(extension, PerMessageDeflate)
    return Agreed(**{name: getattr(extension, name) for name in Agreed.__annotations__})


def answer_of(ours: Connection) -> set[str]:
    """Return the parameters with which the server has accepted."""
    assert ours.response_headers is not None
    name, *parameters = ours.response_headers["Sec-WebSocket-Extensions"].split("; ")
    assert name == "permessage-deflate"
    assert len(set(parameters)) == len(parameters)
    return set(parameters)


def parameters_of(asked: Deflate) -> set[str]:
    return {
        name if value is True else f"{name}={value}"
        for name, value in asdict(asked).items()
        if value is not None and value is not False
    }


def result_of(asked: Deflate, local: str) -> Agreed:
    """Return what is agreed on if all that is asked for is granted."""
    remote = "server" if local == "client" else "client"
    parameters = asdict(asked)
    return Agreed(
        parameters[f"{local}_no_context_takeover"],
        parameters[f"{remote}_no_context_takeover"],
        parameters[f"{local}_max_window_bits"] or 15,
        parameters[f"{remote}_max_window_bits"] or 15,
    )


async def cost_of_sending(
    ours: Connection, theirs: PeerConnection, message: str | bytes, compress: bool | None = None
) -> int:
    """Send a message to the peer; return the bytes that it took."""
    before = ours.statistics.bytes_sent
    _, received = await asyncio.gather(ours.send(message, compress=compress), theirs.receive())
    assert received == message
    return ours.statistics.bytes_sent - before


async def cost_of_receiving(ours: Connection, theirs: PeerConnection, message: str | bytes) -> int:
    """Let the peer send a message; return the bytes that it took."""
    before = ours.statistics.bytes_received
    _, received = await asyncio.gather(theirs.send(message), ours.recv())
    assert received == message
    return ours.statistics.bytes_received - before


async def check(ours: Connection, theirs: PeerConnection, agreed: Agreed) -> None:
    """Pass messages in both directions, and see from their cost that both ends do as agreed."""
    for cost, no_context_takeover, bits in (
        (cost_of_sending, agreed.local_no_context_takeover, agreed.local_max_window_bits),
        (cost_of_receiving, agreed.remote_no_context_takeover, agreed.remote_max_window_bits),
    ):
        assert 75 < await cost(ours, theirs, SAMPLE) < 150
        again = await cost(ours, theirs, SAMPLE)
        assert 75 < again < 150 if no_context_takeover else again < 30
        blocks = await cost(ours, theirs, 4 * BLOCK)
        # A block is three thousand digits of four bits.
        assert 1500 < blocks < 2500 if bits >= 12 else 6000 < blocks < 10000
    await pass_on(ours, theirs, MESSAGES)
    # Each direction goes on where it was.
    for message in MESSAGES:
        await asyncio.gather(cost_of_sending(ours, theirs, message), cost_of_receiving(ours, theirs, message))


def case_of(name: str, ours: str) -> tuple[str, str, str, bool]:
    return name, ours, "asyncio", False


def cases(accept: Callable[[type], bool] = lambda peer: True) -> list[Any]:
    return [
        pytest.param(case_of(name, ours), id=f"{name}-our-{ours}")
        for name, peer in PEERS.items()
        for ours in ("client", "server")
        if (ours == "server" or peer.serves) and accept(peer)
    ]


@pytest.fixture(name="case", params=cases())
def make_case(request: pytest.FixtureRequest) -> Case:
    name, ours, loop, tls = request.param
    return Case(PEERS[name](), ours, loop, tls)


# Parameters


def matrix(name: str, accept: Callable[[str, Deflate], bool]) -> list[Any]:
    """Return all combinations of parameters, for both of the sides that may be ours."""
    bits = (None, *range(8, 16))
    usual = {None, 9, 12, 15}
    return [
        pytest.param(
            case_of(name, ours),
            asked,
            id="-".join([name, "our", ours, *sorted(parameters_of(asked))]),
            marks=() if {server_bits, client_bits} <= usual else pytest.mark.thorough,
        )
        for ours in ("client", "server")
        for server_forgets in (False, True)
        for client_forgets in (False, True)
        for server_bits in bits
        for client_bits in bits
        if accept(ours, asked := Deflate(server_forgets, client_forgets, server_bits, client_bits))
    ]


def they_compress(ours: str, asked: Deflate) -> bool:
    """Whether the peer can compress as it is asked to. With zlib alone, nobody can with 8 bits."""
    return (asked.server_max_window_bits if ours == "client" else asked.client_max_window_bits) != 8


@pytest.mark.parametrize(("case", "asked"), matrix("websockets", they_compress), indirect=["case"])
@scenario
async def test_we_ask_websockets(case: Case, asked: Deflate) -> None:
    agreed = result_of(asked, case.ours)
    async with joined(case, asked) as (ours, theirs):
        assert answer_of(ours) == parameters_of(asked)
        assert agreed_by(case, ours) == agreed
        assert theirs.agreed == result_of(asked, case.their_side)
        await check(ours, theirs, agreed)


@pytest.mark.parametrize(("case", "asked"), matrix("websockets", they_compress), indirect=["case"])
@scenario
async def test_websockets_asks_us(case: Case, asked: Deflate) -> None:
    agreed = result_of(asked, case.ours)
    options = compression(case, open_to_anything(case.ours))
    async with case.joined(Settings(deflate=asked), **options) as (ours, theirs):
        assert answer_of(ours) == parameters_of(asked)
        assert agreed_by(case, ours) == agreed
        assert theirs.agreed == result_of(asked, case.their_side)
        await check(ours, theirs, agreed)


@pytest.mark.parametrize(("case", "asked"), matrix("aiohttp", they_compress), indirect=["case"])
@scenario
async def test_we_ask_aiohttp(case: Case, asked: Deflate) -> None:
    agreed = result_of(asked, case.ours)
    async with joined(case, asked) as (ours, theirs):
        answer = parameters_of(asked)
        if case.ours == "client":
            # It leaves out what binds only the client, who has bound itself by offering it; and 15
            # bits, which is what leaving them out means.
            answer = {parameter for parameter in answer if parameter.startswith("server")}
            answer.discard("server_max_window_bits=15")
        assert answer_of(ours) == answer
        assert agreed_by(case, ours) == agreed
        assert theirs.compressed
        await check(ours, theirs, agreed)


@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.parametrize("case", [pytest.param(case_of("aiohttp", "server"), id="aiohttp")], indirect=True)
@scenario
async def test_aiohttp_asks_us(case: Case, bits: int) -> None:
    settings = Settings(deflate=Deflate(server_max_window_bits=bits))
    async with case.joined(settings, **compression(case, Deflate())) as (ours, theirs):
        assert answer_of(ours) == ({f"server_max_window_bits={bits}"} if bits < 15 else set())
        agreed = Agreed(False, False, bits, 15)
        assert agreed_by(case, ours) == agreed
        await check(ours, theirs, agreed)


@pytest.mark.parametrize(
    "case",
    [pytest.param(case_of(name, "client"), id=name) for name in ("websockets", "aiohttp")],
    indirect=True,
)
@scenario
async def test_their_servers_decline_a_window_of_8_bits(case: Case) -> None:
    async with joined(case, Deflate(server_max_window_bits=8)) as (ours, theirs):
        assert ours.extensions == ()
        assert not theirs.compressed
        assert await cost_of_sending(ours, theirs, SAMPLE) > 150
        assert await cost_of_receiving(ours, theirs, SAMPLE) > 150


@scenario
async def test_both_ask(case: Case) -> None:
    ours_asked = Deflate(
        server_no_context_takeover=True, server_max_window_bits=12, client_max_window_bits=10
    )
    theirs_asked = Deflate(server_max_window_bits=9, client_max_window_bits=14)
    async with case.joined(Settings(deflate=theirs_asked), **compression(case, ours_asked)) as (ours, theirs):
        # The server's window is the smaller one that is asked for; aiohttp's server asks for nothing.
        server_bits = 12 if case.ours == "client" and not theirs.agreed else 9
        both = replace(ours_asked, server_max_window_bits=server_bits)
        agreed = result_of(both, case.ours)
        assert agreed_by(case, ours) == agreed
        assert theirs.agreed in (None, result_of(both, case.their_side))
        await check(ours, theirs, agreed)


@scenario
async def test_what_is_agreed_on_by_default(case: Case) -> None:
    async with case.joined(Settings(offers_deflate=True)) as (ours, theirs):
        both_bound = {"server_max_window_bits=12", "client_max_window_bits=12"}
        # aiohttp's server asks for nothing, and our client neither.
        aiohttp_serves = case.ours == "client" and theirs.agreed is None
        assert answer_of(ours) == (set() if aiohttp_serves else both_bound)
        bits = 15 if aiohttp_serves else 12
        agreed = Agreed(False, False, bits, bits)
        assert agreed_by(case, ours) == agreed
        assert theirs.agreed in (None, agreed)
        await check(ours, theirs, agreed)


# Messages

lavish_and_frugal = pytest.mark.parametrize(
    "asked", [None, Deflate(True, True, 9, 9)], ids=["lavish", "frugal"]
)


@lavish_and_frugal
@scenario
async def test_large_messages(case: Case, asked: Deflate | None) -> None:
    size = 4 * 2**20
    async with joined(case, asked, max_size=size + 2**20) as (ours, theirs):
        noise = random.Random(4).randbytes(size)
        for message in ("é" * (size // 2), bytes(size)):
            assert await cost_of_sending(ours, theirs, message) < size / 50
            assert await cost_of_receiving(ours, theirs, message) < size / 50
        assert await cost_of_sending(ours, theirs, noise) == size + (10 if case.ours == "server" else 14)
        assert size < await cost_of_receiving(ours, theirs, noise) < size * 1.01
        await pass_on(ours, theirs, [SAMPLE])


@lavish_and_frugal
@scenario
async def test_traffic_in_both_directions_at_once(case: Case, asked: Deflate | None) -> None:
    messages = MESSAGES * 10

    async def send(end: Connection | PeerConnection) -> None:
        for message in messages:
            await end.send(message)

    async def receive(receive_one: Callable[[], Awaitable[str | bytes]]) -> list[str | bytes]:
        return [await receive_one() for _ in messages]

    async with joined(case, asked) as (ours, theirs):
        received = await asyncio.gather(receive(ours.recv), receive(theirs.receive), send(ours), send(theirs))
        assert received[0] == messages
        assert received[1] == messages
        statistics = ours.statistics
        whole = sum(map(len, messages))
        assert statistics.bytes_sent < whole / 2
        assert statistics.bytes_received < whole / 2


FRAGMENTS: list[Any] = [
    ["Gr", "üße", "", ", 世界", SAMPLE, SAMPLE, ""],
    [b"\x00", b"\xff" * 70000, b"", INCOMPRESSIBLE, INCOMPRESSIBLE],
    [SAMPLE],
    ["", ""],
]
fragmented = pytest.mark.parametrize("fragments", FRAGMENTS, ids=["text", "binary", "single", "empty"])


@fragmented
@lavish_and_frugal
@scenario
async def test_fragments_from_us(case: Case, fragments: list[Any], asked: Deflate | None) -> None:
    async with joined(case, asked) as (ours, theirs):

        async def one_by_one() -> AsyncIterator[Any]:
            for fragment in fragments:
                yield fragment
                # Control frames may come between fragments.
                await ours.ping()

        whole = fragments[0][:0].join(fragments)
        for compress in (None, True, False):
            _, received = await asyncio.gather(ours.send(one_by_one(), compress=compress), theirs.receive())
            assert received == whole
            before = ours.statistics.bytes_sent
            _, received = await asyncio.gather(ours.send(fragments, compress=compress), theirs.receive())
            assert received == whole
            cost = ours.statistics.bytes_sent - before
            size = len(whole if isinstance(whole, bytes) else whole.encode())
            if size > 300:
                assert (cost < size * 0.9) is (compress is not False)
            await pass_on(ours, theirs, [SAMPLE])


@pytest.mark.parametrize("case", cases(lambda peer: peer.sends_fragments), indirect=True)
@fragmented
@lavish_and_frugal
@scenario
async def test_fragments_from_them(case: Case, fragments: list[Any], asked: Deflate | None) -> None:
    async with joined(case, asked) as (ours, theirs):
        whole = fragments[0][:0].join(fragments)
        for _ in range(2):
            _, received = await asyncio.gather(theirs.send_fragments(fragments), ours.recv())
            assert received == whole
            _, pieces = await asyncio.gather(theirs.send_fragments(fragments), collect(ours.recv_streaming()))
            assert fragments[0][:0].join(pieces) == whole
            await pass_on(ours, theirs, [SAMPLE])


# What our application chooses


def frame_size(case: Case, size: int) -> int:
    """The size of a frame with a short payload that is not compressed."""
    assert size < 65536
    return size + (2 if size < 126 else 4) + (4 if case.ours == "client" else 0)


@pytest.mark.parametrize("threshold", [64, 0, 500])
@scenario
async def test_small_messages(case: Case, threshold: int) -> None:
    async with joined(case, threshold=threshold) as (ours, theirs):
        for message in (b"x" * max(threshold, 20), "x" * max(threshold, 20)):
            assert await cost_of_sending(ours, theirs, message) < frame_size(case, 15)
            smaller = message[: max(threshold - 1, 0)]
            # Without a threshold: one that compression would make longer.
            assert await cost_of_sending(ours, theirs, smaller) == frame_size(case, len(smaller))
            assert await cost_of_receiving(ours, theirs, smaller) < 20
        await pass_on(ours, theirs, MESSAGES)


@scenario
async def test_messages_that_we_want_compressed_or_not(case: Case) -> None:
    async with joined(case) as (ours, theirs):
        for seed in range(2):
            for message in ("x" * 63, b"x" * 64, b"x" * 10000):
                size = frame_size(case, len(message))
                assert await cost_of_sending(ours, theirs, message, compress=False) == size
                assert await cost_of_sending(ours, theirs, message, compress=True) < frame_size(case, 40)
                await cost_of_receiving(ours, theirs, message)
            # Each takes one byte, and the second one more than it has.
            assert await cost_of_sending(ours, theirs, "", compress=True) == frame_size(case, 1)
            assert await cost_of_sending(ours, theirs, "", compress=False) == frame_size(case, 0)
            # What would get longer is sent as it is, unless compression is asked for.
            noise = random.Random(seed).randbytes(3000)
            size = frame_size(case, len(noise))
            assert await cost_of_sending(ours, theirs, noise) == size
            assert await cost_of_sending(ours, theirs, noise, compress=False) == size
            assert size < await cost_of_sending(ours, theirs, noise, compress=True) < size + 20
            # The peer has seen that one, and the compressor as well.
            assert await cost_of_sending(ours, theirs, noise) < 200
        await pass_on(ours, theirs, MESSAGES)


@pytest.mark.parametrize("case", cases(lambda peer: peer.__name__ == "Aiohttp"), indirect=True)
@pytest.mark.parametrize("bits", [9, 12, 15])
@scenario
async def test_messages_that_they_compress_in_another_way(case: Case, bits: int) -> None:
    # With context takeover it would go on behind a message that its other compressor has not seen.
    async with joined(case, Deflate(True, True)) as (ours, theirs):
        for message in MESSAGES:
            # A compressor of its own for one message.
            await asyncio.gather(theirs.send(message, bits), receive_one(ours, message))
            await cost_of_receiving(ours, theirs, message)


async def receive_one(ours: Connection, message: str | bytes) -> None:
    assert await ours.recv() == message


# Idling


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when an extension of ours has given up its memory."""
    event = asyncio.Event()
    release = PerMessageDeflate.release

    def release_and_tell(self: PerMessageDeflate) -> None:
        release(self)
        event.set()

    monkeypatch.setattr(PerMessageDeflate, "release", release_and_tell)
    return event


@pytest.mark.parametrize(
    "asked", [None, Deflate(False, False, 9, 9), Deflate(True, True, 12, 12)], ids=["15", "9", "frugal"]
)
@scenario
async def test_after_idling(case: Case, asked: Deflate | None, released: asyncio.Event) -> None:
    async with joined(case, asked, idle_timeout=0.1) as (ours, theirs):
        agreed = agreed_by(case, ours)
        for _ in range(2):
            await pass_on(ours, theirs, MESSAGES)
            await cost_of_sending(ours, theirs, SAMPLE)
            await cost_of_receiving(ours, theirs, SAMPLE)
            released.clear()
            await released.wait()
            # Their compressor still knows what it has sent, and we must too. Ours starts anew.
            again = await cost_of_receiving(ours, theirs, SAMPLE)
            assert 75 < again < 150 if agreed.remote_no_context_takeover else again < 30
            assert 75 < await cost_of_sending(ours, theirs, SAMPLE) < 150


# Many


@scenario
async def test_connections_share_nothing(case: Case) -> None:
    async def echo(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    messages = [f"{number} {SAMPLE} {number}" for number in range(20)]

    async def talk_to_theirs(port: int) -> None:
        async with case.connect(port) as ours:
            for message in messages:
                await ours.send(message)
                assert await ours.recv() == message
            assert ours.statistics.bytes_received < 1500

    async def talk_to_ours(port: int) -> None:
        async with case.peer_connect(port, Settings(offers_deflate=True)) as theirs:
            assert theirs.compressed
            for message in messages:
                await theirs.send(message)
                assert await theirs.receive() == message

    if case.ours == "client":
        async with case.peer_serve(lambda theirs: theirs.echo()) as port:
            await asyncio.gather(*(talk_to_theirs(port) for _ in range(10)))
    else:
        async with case.serve(echo) as server:
            await asyncio.gather(*(talk_to_ours(port_of(server)) for _ in range(10)))


@scenario
async def test_cancelled_sends(case: Case) -> None:
    """Each message is sent whole or not at all, and those that follow can be inflated."""
    messages = [INCOMPRESSIBLE * 20 + number.to_bytes(2, "big") for number in range(60)]
    options = compression(case, open_to_anything(case.ours))
    settings = Settings(deflate=open_to_anything(case.their_side))
    async with case.joined(settings, **options, write_limit=1000) as (ours, theirs):

        async def receive() -> list[str | bytes]:
            received = []
            while (message := await theirs.receive()) != "the end":
                received.append(message)
            return received

        receiving = asyncio.create_task(receive())
        cancelled = 0
        for number, message in enumerate(messages):
            sending = asyncio.create_task(ours.send(message, compress=True))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            sending.cancel()
            (outcome,) = await asyncio.gather(sending, return_exceptions=True)
            cancelled += isinstance(outcome, asyncio.CancelledError)
        assert cancelled
        await ours.send("the end", compress=True)
        received = await receiving
        assert received == [message for message in messages if message in received]
        assert received
        await pass_on(ours, theirs, MESSAGES)
