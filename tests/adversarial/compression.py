"""Compression (rows 16 to 22): RFC 7692."""

from __future__ import annotations

import random
import zlib
from typing import Any

from tests.core.deflate import raw
from tests.core.helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    TEXT,
    Frame,
    close_payload,
    request,
)

from .cases import (
    GOODBYE,
    LIMIT,
    SERVER,
    Case,
    Expect,
    Header,
    Part,
    Step,
    Wait,
    answered,
    failing,
    going_on,
    send,
)
from .driver import Observed

HELLO = bytes.fromhex("f248cdc9c90700")  # RFC 7692 section 7.2.3.1
HELLO_STORED = bytes.fromhex("000500faff48656c6c6f00")  # section 7.2.3.3
HELLO_FINAL = bytes.fromhex("f348cdc9c9070000")  # section 7.2.3.4
HELLO_IN_TWO = bytes.fromhex("f248050000 00ffffcac9c90700")  # section 7.2.3.5

DEFLATE = "permessage-deflate"
FORGETFUL = f"{DEFLATE}; server_no_context_takeover; client_no_context_takeover"

PAYLOADS = "RFC 7692 section 6"
INFLATING = "RFC 7692 section 7.2.2"
BLOCKS = "RFC 7692 section 7.2.3"
PARAMETERS = "RFC 7692 section 7.1"
LIMITS = "RFC 7692 section 8"

ON = {"compression": "deflate"}


def bomb(size: int) -> bytes:
    """What inflates to so many mebibytes, made of the same block again and again."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, -12)
    head = compressor.compress(bytes(2**20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    return (head * size).removesuffix(b"\x00\x00\xff\xff")


def compressed(payload: bytes, opcode: int = TEXT, fin: bool = True) -> Frame:
    return Frame(opcode, payload, fin, RSV1)


def case(
    name: str,
    section: str,
    steps: tuple[Step, ...],
    expect: Expect,
    *,
    extension: str = FORGETFUL,
    **options: Any,
) -> Case:
    return Case(
        name,
        section,
        steps,
        expect,
        offer=extension,
        answer=options.pop("answer", extension),
        options={**ON, **options.pop("options", {})},
        **options,
    )


def broken(name: str, section: str, *parts: Part, code: int | tuple[int, ...], **options: Any) -> Case:
    return case(name, section, (send(*parts),), failing(code), **options)


def fine(name: str, section: str, *parts: Part, messages: tuple[bytes, ...], **options: Any) -> Case:
    expect = going_on(*messages, pongs=options.pop("pongs", None))
    return case(name, section, (send(*parts), GOODBYE), expect, bytewise=True, **options)


def in_pieces(payload: bytes, size: int) -> list[Frame]:
    first, *others = [payload[index : index + size] for index in range(0, len(payload), size)]
    frames = [compressed(first, BINARY, False), *[Frame(CONTINUATION, each, False) for each in others]]
    return [*frames, Frame(CONTINUATION)]


def then_others(name: str, payload: bytes, message: bytes, extension: str) -> Case:
    """A payload, and then other messages, several times."""
    hello = raw(b"other")
    return fine(
        f"19-{name}{'' if extension == FORGETFUL else '-with-context'}",
        BLOCKS,
        *[compressed(payload), compressed(hello), Frame(TEXT, b"plain")] * 3,
        messages=(message, b"other", b"plain") * 3,
        extension=extension,
    )


BLOCK_CASES = {
    "plain-block": (HELLO, b"Hello"),
    "stored-block": (HELLO_STORED, b"Hello"),
    "final-block": (HELLO_FINAL, b"Hello"),
    "two-blocks": (HELLO_IN_TWO, b"Hello"),
    "empty-message-of-a-byte": (b"\x00", b""),
    "empty-message": (b"", b""),
}

NOISE = random.Random(1).randbytes(1000).hex().encode()
FAR = NOISE + NOISE
"""Text whose second half repeats the first, 2,000 bytes before it."""


def right_or_1007(observed: Observed) -> str:
    """A window that is too small never makes a wrong message."""
    if observed.messages in ([FAR], []) and observed.close in (1000, 1007):
        return ""
    return f"a wrong message, or {observed.describe()}"


def offer(name: str, value: str, answer: str | None, **options: Any) -> Case:
    """What a server makes of an offer: the extension that it accepts, or none."""

    def check(observed: Observed) -> str:
        accepted = observed.headers.get("sec-websocket-extensions", "")
        if accepted.partition(";")[0] == (answer or ""):
            return ""
        return f"{'answers ' + accepted if accepted else 'declines'}"

    return Case(
        f"21-{name}",
        PARAMETERS,
        (send(request("GET / HTTP/1.1", Sec_WebSocket_Extensions=value)), GOODBYE),
        Expect(status=frozenset((101,)), check=check),
        opened=False,
        sides=(SERVER,),
        options=ON,
        **options,
    )


def window_of_8_bits(observed: Observed) -> str:
    """What comes back must not need a larger window than was agreed on."""
    accepted = observed.headers.get("sec-websocket-extensions", "")
    if "server_max_window_bits=8" not in accepted.replace(" ", ""):
        # RFC 7692 section 7.1.2.1: to decline is allowed.
        return "" if not accepted else f"answers {accepted}"
    return "" if observed.messages == [FAR] else observed.describe()


CASES = [
    broken("16-bomb-of-16-mib", LIMITS, compressed(bomb(16), BINARY), code=1009, memory=8 * LIMIT),
    broken("16-bomb-of-512-mib", LIMITS, compressed(bomb(512), BINARY), code=1009, memory=8 * LIMIT),
    broken("16-bomb-in-fragments", LIMITS, *in_pieces(bomb(64), 1000), code=1009, memory=8 * LIMIT),
    broken("17-limit-after-inflating", LIMITS, compressed(raw(bytes(LIMIT + 1)), BINARY), code=1009),
    broken(
        "17-limit-on-the-wire",
        LIMITS,
        Header(BINARY, LIMIT + 1, reserved=RSV1),
        code=1009,
        bytewise=True,
    ),
    case(
        "18-control-frames-between-fragments",
        PAYLOADS,
        (
            send(compressed(HELLO[:3], TEXT, False), Frame(PING, b"?"), Frame(PONG, b"!")),
            Wait("pongs", 1),
            send(Frame(CONTINUATION, HELLO[3:])),
            Wait("messages", 1),
            GOODBYE,
        ),
        going_on(b"Hello", pongs=(b"?",)),
        bytewise=True,
    ),
    case(
        "18-close-between-fragments",
        PAYLOADS,
        (send(compressed(HELLO[:3], TEXT, False), Frame(CLOSE, close_payload(1000))),),
        answered(1000),
        bytewise=True,
    ),
    *[then_others(name, *pair, FORGETFUL) for name, pair in BLOCK_CASES.items()],
    *[then_others(name, *pair, DEFLATE) for name, pair in BLOCK_CASES.items()],
    broken("20-garbage", INFLATING, compressed(b"\xff" * 100), code=(1002, 1007), bytewise=True),
    broken("20-truncated", INFLATING, compressed(HELLO[:-2]), code=(1002, 1007), bytewise=True),
    broken("20-text-that-is-not-utf-8", INFLATING, compressed(raw(b"\xff")), code=1007, bytewise=True),
    broken("20-reserved-block-type", INFLATING, compressed(b"\x06\x00"), code=(1002, 1007)),
    case(
        "20-window-smaller-than-was-used",
        INFLATING,
        (send(compressed(raw(FAR))), GOODBYE),
        Expect(check=right_or_1007),
        extension=f"{DEFLATE}; client_max_window_bits=9; client_no_context_takeover",
        answer=f"{DEFLATE}; server_max_window_bits=9; server_no_context_takeover",
    ),
    offer("unknown-parameter", f"{DEFLATE}; abc", None),
    offer("window-of-7-bits", f"{DEFLATE}; server_max_window_bits=7", None),
    offer("window-of-16-bits", f"{DEFLATE}; server_max_window_bits=16", None),
    offer("window-with-a-leading-zero", f"{DEFLATE}; server_max_window_bits=08", None),
    offer("parameter-twice", f"{DEFLATE}; server_no_context_takeover; server_no_context_takeover", None),
    offer("value-that-is-not-allowed", f"{DEFLATE}; server_no_context_takeover=1", None),
    offer("unknown-extension", "x-unknown", None),
    # A server may decline what it could accept, so these are expected of this library alone.
    offer("second-offer", f"{DEFLATE}; abc, {DEFLATE}", DEFLATE, peers=False),
    offer("quoted-value", f'{DEFLATE}; client_max_window_bits="10"', DEFLATE, peers=False),
    Case(
        "21-window-of-8-bits",
        PARAMETERS,
        (send(Frame(TEXT, FAR)), GOODBYE),
        Expect(check=window_of_8_bits),
        offer=f"{DEFLATE}; server_max_window_bits=8",
        sides=(SERVER,),
        options=ON,
    ),
    broken("22-rsv1-on-a-ping", PAYLOADS, Header(PING, 5, reserved=RSV1), code=1002, bytewise=True),
    broken(
        "22-rsv1-on-a-continuation",
        PAYLOADS,
        Frame(TEXT, b"a", False),
        Header(CONTINUATION, 5, reserved=RSV1),
        code=1002,
        bytewise=True,
    ),
    Case(
        "22-compressed-frame-without-compression",
        PAYLOADS,
        (send(compressed(HELLO)),),
        failing(1002),
        bytewise=True,
    ),
]
