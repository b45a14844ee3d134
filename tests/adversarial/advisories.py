"""Advisories about other implementations, as cases: each advisory has at least one."""

from __future__ import annotations

import random
from typing import Any

from tests.core.deflate import raw
from tests.core.helpers import BINARY, CONTINUATION, TEXT, Frame, request, response

from .cases import (
    CLIENT,
    GOODBYE,
    LIMIT,
    SERVER,
    Case,
    Drip,
    Expect,
    Header,
    Part,
    Step,
    Wait,
    failing,
    going_on,
    raised,
    refused,
    send,
)
from .compression import DEFLATE, FORGETFUL, HELLO, ON, bomb, compressed, in_pieces
from .driver import Observed
from .handshakes import GET, SMUGGLED

LIMITS = "RFC 6455 section 10.4"
LENGTHS = "RFC 6455 section 5.2"
EXTENSIONS = "RFC 6455 section 9.1"
SUBPROTOCOLS = "RFC 6455 section 11.3.4"
VERSIONS = "RFC 6455 section 4.4"
DEFLATE_LIMITS = "RFC 7692 section 8"
HEADERS = "RFC 9110 section 5.4"
FRAMING = "RFC 9112 section 6"

WEBSOCKETS = "websockets CVE-2018-1000518"
WS_SUBPROTOCOLS = "ws CVE-2021-32640"
WS_HEADERS = "ws CVE-2024-37890"
WS_FRAGMENTS = "ws CVE-2026-48779"
AIOHTTP_INCOMPLETE = "aiohttp CVE-2026-54274"
AIOHTTP_UNASKED = "aiohttp CVE-2026-59881"
AIOHTTP_SMUGGLING = "aiohttp CVE-2026-69243"
UNDICI_BOMB = "undici CVE-2026-1526"
UNDICI_LENGTH = "undici CVE-2026-1528"
UNDICI_BITS = "undici CVE-2026-2229"
TUNGSTENITE = "tungstenite CVE-2023-43669"
GORILLA = "gorilla CVE-2020-27813"
DRIVER = "websocket-driver CVE-2026-54466"
AUTOBAHN = "autobahn GHSA-hxp9-w8x3-p566"
CIVETWEB = "civetweb CVE-2026-29035"
TORNADO = "tornado#2391"


def frames(row: str, name: str, *parts: Part, code: int | tuple[int, ...] = 1009, **options: Any) -> Case:
    return Case(name, LENGTHS, (send(*parts),), failing(code), row=row, **options)


def deflated(row: str, name: str, steps: tuple[Step, ...], expect: Expect, **options: Any) -> Case:
    deflate = {"offer": FORGETFUL, "answer": FORGETFUL, "options": ON}
    return Case(name, DEFLATE_LIMITS, steps, expect, row=row, **deflate, **options)


def too_large(row: str, name: str, *parts: Part) -> Case:
    """A compressed message over the limit: stopped there, with memory near the limit."""
    return deflated(row, name, (send(*parts),), failing(1009), memory=8 * LIMIT)


def requested(
    row: str, name: str, section: str, steps: tuple[Step, ...], expect: Expect, **options: Any
) -> Case:
    return Case(name, section, steps, expect, row=row, opened=False, sides=(SERVER,), **options)


def answered(row: str, name: str, *errors: str, **changes: Any) -> Case:
    """A client gets a response, and refuses it."""

    def answering(headers: dict[str, str]) -> tuple[Step, ...]:
        return (send(response(headers["sec-websocket-key"], **changes)),)

    options: dict[str, Any] = {"opened": False, "sides": (CLIENT,), "options": ON}
    return Case(name, EXTENSIONS, (), raised(*errors), row=row, answering=answering, **options)


def subprotocols(name: str, value: str) -> Case:
    """A value that a regular expression may try to match in many ways: accepted or refused, at once."""

    def check(observed: Observed) -> str:
        return "" if observed.status in (101, 400, 431) else observed.describe()

    steps = (send(request(GET, Sec_WebSocket_Protocol=value)), GOODBYE)
    expect = Expect(status=frozenset((101, 400, 431)), check=check)
    return requested(WS_SUBPROTOCOLS, name, SUBPROTOCOLS, steps, expect, patience=10)


def not_smuggled(observed: Observed) -> str:
    """The request is refused, or what follows is read as frames; it is never a second request."""
    if b"HTTP/1." in observed.body:
        return "answers the request behind the upgrade"
    if observed.status == 101 and observed.close != 1002:
        return observed.describe()
    return ""


def smuggled(name: str, **changes: Any) -> Case:
    """A request with two readings of where it ends, and another one behind it."""
    steps = (send(request(GET, **changes), b"0\r\n\r\n", SMUGGLED),)
    expect = Expect(status=frozenset((101, 400, 426, 501)), check=not_smuggled, closed=True)
    return requested(AIOHTTP_SMUGGLING, name, FRAMING, steps, expect)


TINY = (Frame(TEXT, b"", False), *[Frame(CONTINUATION, b"x", False)] * 3000, Frame(CONTINUATION))

SIZES = [LIMIT - 1, LIMIT, 65535, 65536, 32768, 4096, 1]
"""At the ends of buffers."""

MIXED = random.Random(2).randbytes(2**15)

CASES = [
    too_large(WEBSOCKETS, "message-that-inflates-over-the-limit", compressed(raw(bytes(LIMIT * 4)), BINARY)),
    subprotocols("many-spaces", "chat" + " " * 7000 + "chat"),
    subprotocols("many-commas", "," * 7000 + "chat"),
    subprotocols("many-names", ", ".join(f"p{number}" for number in range(1000))),
    requested(
        WS_HEADERS,
        "2000-headers",
        HEADERS,
        (send(request(GET, **{f"A{number}": "b" for number in range(2000)})),),
        refused(400, 431),
    ),
    answered(WS_HEADERS, "2000-headers-in-a-response", "SecurityError", X=["y"] * 2000),
    frames(
        WS_FRAGMENTS,
        "tiny-fragments",
        Frame(TEXT, b"", False),
        *[Frame(CONTINUATION, b"x", False)] * 30_000,
        memory=2**23,
    ),
    Case(
        "tiny-chunks",
        LIMITS,
        (send(Header(BINARY, 3000, key=True)), Drip(bytes(3000), 0), GOODBYE),
        going_on(bytes(3000)),
        row=WS_FRAGMENTS,
        memory=2**21,
        patience=10,
    ),
    Case(
        "counter-that-begins-again",
        LIMITS,
        (*[send(*TINY)] * 10, Wait("messages", 10), GOODBYE),
        going_on(*[b"x" * 3000] * 10),
        row=WS_FRAGMENTS,
        patience=10,
    ),
    frames(
        AIOHTTP_INCOMPLETE,
        "incomplete-frame",
        # What has come of a frame counts, though the frame is not complete.
        Frame(BINARY, bytes(LIMIT - 100), False),
        Header(CONTINUATION, 200, key=True),
        bytes(150),
        memory=2**23,
    ),
    frames(AIOHTTP_INCOMPLETE, "frame-without-its-payload", Header(BINARY, LIMIT * 16)),
    Case(
        "compressed-frame-that-was-not-negotiated",
        EXTENSIONS,
        (send(compressed(HELLO)),),
        failing(1002),
        row=AIOHTTP_UNASKED,
        sides=(CLIENT,),
    ),
    smuggled("two-lengths", Content_Length="0", content_length="64"),
    smuggled("chunked-and-identity", Transfer_Encoding="chunked, identity"),
    smuggled("length-and-chunked", Content_Length="5", Transfer_Encoding="chunked"),
    smuggled("negative-length", Content_Length="-1"),
    smuggled("length-in-another-base", Content_Length="0x0"),
    smuggled("upgrade-behind-an-upgrade"),
    too_large(UNDICI_BOMB, "bomb-in-pieces", *in_pieces(bomb(32), 4096)),
    frames(UNDICI_LENGTH, "length-of-63-bits", Header(BINARY, 2**63 - 1)),
    frames(UNDICI_LENGTH, "length-of-64-bits", Header(BINARY, 2**64 - 1), code=1002),
    *[
        answered(
            UNDICI_BITS,
            f"window-of-{bits or 'nothing'}",
            "NegotiationError",
            "InvalidHeader",
            Sec_WebSocket_Extensions=f"{DEFLATE}; server_max_window_bits={bits}",
        )
        for bits in ["999", "abc", "", '"', "08", "-1", "15.0"]
    ],
    answered(TUNGSTENITE, "header-of-a-mebibyte-in-a-response", "SecurityError", X="x" * 2**20),
    requested(
        TUNGSTENITE,
        "header-of-a-mebibyte",
        HEADERS,
        (send(request(GET, X="x" * 2**20)),),
        refused(400, 431),
        memory=2**23,
    ),
    *[
        frames(
            GORILLA, f"sum-of-lengths-{length:#x}", Frame(BINARY, b"x", False), Header(CONTINUATION, length)
        )
        for length in (2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
    ],
    # The drafts before RFC 6455 had lengths of any number of bytes.
    frames(DRIVER, "length-without-end", b"\x80" + b"\xff" * LIMIT, code=1002, memory=2**23),
    requested(
        DRIVER,
        "request-of-an-old-draft",
        VERSIONS,
        (send(request(GET, Sec_WebSocket_Version=None, Sec_WebSocket_Key=None), b"\x80" + b"\xff" * 2**16),),
        refused(400, 426),
        memory=2**23,
    ),
    too_large(
        AUTOBAHN,
        "fragments-that-inflate-over-the-limit",
        *in_pieces(raw(bytes(LIMIT + 1)), 100),
    ),
    deflated(
        CIVETWEB,
        "sizes-at-the-ends-of-buffers",
        (
            *[
                step
                for count, size in enumerate(SIZES, 1)
                for step in (send(compressed(raw(bytes(size)), BINARY)), Wait("messages", count))
            ],
            GOODBYE,
        ),
        going_on(*[bytes(size) for size in SIZES]),
        patience=10,
    ),
    deflated(
        CIVETWEB,
        "message-that-does-not-compress",
        (send(compressed(raw(MIXED), BINARY)), Wait("messages", 1), GOODBYE),
        going_on(MIXED),
        patience=10,
    ),
    too_large(TORNADO, "bomb", compressed(bomb(16), BINARY)),
]
