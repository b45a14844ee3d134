"""Frames (rows 1 to 15): RFC 6455 sections 5 and 8."""

from __future__ import annotations

from typing import Any

from tests.core.helpers import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    Frame,
    close_payload,
)

from .cases import (
    GOODBYE,
    LIMIT,
    Case,
    Expect,
    Flood,
    Header,
    Part,
    Pause,
    Reset,
    Wait,
    answered,
    failing,
    going_on,
    send,
)

MASKING = "RFC 6455 section 5.1"
FRAMING = "RFC 6455 section 5.2"
FRAGMENTS = "RFC 6455 section 5.4"
CONTROL = "RFC 6455 section 5.5"
CLOSING = "RFC 6455 section 5.5.1"
PINGS = "RFC 6455 section 5.5.3"
CODES = "RFC 6455 section 7.4"
TEXTS = "RFC 6455 section 8.1"
LIMITS = "RFC 6455 section 10.4"

GOOD = Frame(TEXT, b"good")
TOO_LARGE = (1009,)


def header(name: str, section: str, opcode: int, length: int, code: int = 1002, **options: Any) -> Case:
    """A header with nothing after it: the decision cannot wait for a payload."""
    return Case(name, section, (send(Header(opcode, length, **options)),), failing(code), bytewise=True)


def broken(name: str, section: str, *parts: Part, code: int = 1002, **options: Any) -> Case:
    options.setdefault("bytewise", len(parts) < 10 and "memory" not in options)
    return Case(name, section, (send(*parts),), failing(code, options.pop("before", ())), **options)


def fine(name: str, section: str, *parts: Part, messages: tuple[bytes, ...] = (), **options: Any) -> Case:
    """Something unusual that is right."""
    expect = going_on(*messages, pongs=options.pop("pongs", None))
    return Case(name, section, (send(*parts), GOODBYE), expect, **options)


def closing(name: str, *parts: Part, code: int, before: tuple[Part, ...] = ()) -> Case:
    """The closing handshake."""
    return Case(name, CLOSING, (send(*before, *parts),), answered(code), bytewise=True)


MESSAGE = [Frame(TEXT, b"", False), *[Frame(CONTINUATION, b"x", False)] * 5000, Frame(CONTINUATION)]

CASES = [
    Case("01-masking", MASKING, (send(Header(TEXT, 5, wrong_mask=True)),), failing(1002), bytewise=True),
    Case(
        "01-masking-close", MASKING, (send(Header(CLOSE, 2, wrong_mask=True)),), failing(1002), bytewise=True
    ),
    *[header(f"02-opcode-{code:X}", FRAMING, code, 5) for code in (*range(3, 8), *range(0xB, 0x10))],
    header("03-rsv1", FRAMING, TEXT, 5, reserved=RSV1),
    header("03-rsv2", FRAMING, TEXT, 5, reserved=RSV2),
    header("03-rsv3", FRAMING, BINARY, 5, reserved=RSV3),
    header("04-rsv1-on-a-ping", FRAMING, PING, 5, reserved=RSV1),
    header("04-rsv1-on-a-close", FRAMING, CLOSE, 2, reserved=RSV1),
    broken(
        "04-rsv1-on-a-continuation",
        FRAMING,
        Frame(TEXT, b"a", False),
        Header(CONTINUATION, 5, reserved=RSV1),
    ),
    header("05-ping-of-126-bytes", CONTROL, PING, 126),
    header("05-close-of-65536-bytes", CONTROL, CLOSE, 65536),
    header("05-fragment-of-a-ping", CONTROL, PING, 5, fin=False),
    header("05-fragment-of-a-close", CONTROL, CLOSE, 2, fin=False),
    header("06-5-in-16-bits", FRAMING, TEXT, 5, length_bytes=2),
    header("06-125-in-16-bits", FRAMING, TEXT, 125, length_bytes=2),
    header("06-5-in-64-bits", FRAMING, BINARY, 5, length_bytes=8),
    header("06-65535-in-64-bits", FRAMING, BINARY, 65535, length_bytes=8),
    header("07-top-bit", FRAMING, BINARY, 2**63, length_bytes=8),
    header("07-all-bits", FRAMING, BINARY, 2**64 - 1, length_bytes=8),
    header("07-over-the-limit", LIMITS, BINARY, LIMIT + 1, code=1009),
    header("07-far-over-the-limit", LIMITS, BINARY, 2**62, code=1009),
    broken(
        "07-fragments-over-the-limit",
        LIMITS,
        Frame(BINARY, bytes(LIMIT - 10), False),
        Header(CONTINUATION, 11),
        code=1009,
        bytewise=False,
    ),
    Case(
        "07-announced-and-not-sent",
        LIMITS,
        # The limit is off, and a tebibyte is announced: memory is taken for what has come.
        (send(Header(BINARY, 2**40, key=True), bytes(1000)), Pause(0.1), Reset()),
        Expect(),
        options={"max_size": None, "read_limit": None},
        peers=False,
        memory=2**21,
    ),
    header("08-continuation-without-a-start", FRAGMENTS, CONTINUATION, 5),
    broken(
        "08-continuation-after-a-message",
        FRAGMENTS,
        GOOD,
        Header(CONTINUATION, 1),
        before=(b"good",),
    ),
    broken("08-message-in-a-message", FRAGMENTS, Frame(TEXT, b"a", False), Header(TEXT, 1)),
    broken("08-message-in-an-empty-message", FRAGMENTS, Frame(TEXT, b"", False), Header(BINARY, 1)),
    broken(
        "09-empty-fragments",
        LIMITS,
        Frame(TEXT, b"", False),
        *[Frame(CONTINUATION, b"", False)] * 20_000,
        code=1009,
        memory=2**23,
    ),
    broken(
        "09-fragments-of-a-byte",
        LIMITS,
        Frame(TEXT, b"", False),
        *[Frame(CONTINUATION, b"x", False)] * 20_000,
        code=1009,
        memory=2**23,
    ),
    Case(
        "09-count-begins-again",
        FRAGMENTS,
        (*[send(*MESSAGE), Wait("messages", 1)] * 4, Wait("messages", 4), GOODBYE),
        going_on(*[b"x" * 5000] * 4),
    ),
    fine(
        "10-frames-of-every-kind",
        FRAMING,
        Frame(TEXT, b"a"),
        Frame(BINARY, bytes(300)),
        Frame(PING, b"?"),
        Frame(TEXT, b"frag", False),
        Frame(PONG, b"!"),
        Frame(CONTINUATION, b"mented"),
        messages=(b"a", bytes(300), b"fragmented"),
        pongs=(b"?",),
        bytewise=True,
    ),
    Case(
        "10-ten-thousand-frames-at-once",
        FRAMING,
        (send(*[Frame(TEXT, b"x")] * 10_000), Wait("messages", 10_000), GOODBYE),
        going_on(*[b"x"] * 10_000),
        memory=2**24,
        patience=20,
    ),
    closing(
        "11-data-after-a-close",
        Frame(CLOSE, close_payload(1000)),
        Frame(TEXT, b"late"),
        b"\xff" * 100,
        code=1000,
    ),
    closing("11-two-closes", Frame(CLOSE, close_payload(1000)), Frame(CLOSE, close_payload(1001)), code=1000),
    closing(
        "11-close-in-a-message",
        Frame(CLOSE, close_payload(1000)),
        code=1000,
        before=(Frame(TEXT, b"begun", False),),
    ),
    *[
        broken(f"12-code-{code}", CODES, Frame(CLOSE, close_payload(code)))
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535)
    ],
    broken("12-one-byte", CLOSING, Frame(CLOSE, b"\x03")),
    broken("12-reason-that-is-not-utf-8", CLOSING, Frame(CLOSE, close_payload(1000) + b"\xff"), code=1007),
    closing("12-empty-close", Frame(CLOSE), code=1005),
    *[
        closing(f"12-code-{code}-is-allowed", Frame(CLOSE, close_payload(code)), code=code)
        for code in (1000, 1001, 1002, 1003, 1007, 1011, 1012, 1014, 3000, 4999)
    ],
    broken("13-invalid-byte", TEXTS, Frame(TEXT, b"\xff"), code=1007),
    broken("13-overlong-form", TEXTS, Frame(TEXT, b"\xc0\xaf"), code=1007),
    broken("13-surrogate", TEXTS, Frame(TEXT, b"\xed\xa0\x80"), code=1007),
    broken("13-beyond-unicode", TEXTS, Frame(TEXT, b"\xf4\x90\x80\x80"), code=1007),
    broken("13-ends-within-a-character", TEXTS, Frame(TEXT, b"caf\xc3"), code=1007),
    broken("13-message-that-never-ends", TEXTS, Frame(TEXT, b"a\xff", False), code=1007),
    broken("13-frame-that-never-ends", TEXTS, Header(TEXT, 1000, key=True), b"a\xff", code=1007),
    broken(
        "13-split-across-fragments",
        TEXTS,
        Frame(TEXT, b"\xc3", False),
        Frame(CONTINUATION, b"(", False),
        code=1007,
    ),
    broken("13-after-a-good-message", TEXTS, GOOD, Frame(TEXT, b"\xff"), code=1007, before=(b"good",)),
    Case(
        "14-pings-of-a-peer-that-never-reads",
        PINGS,
        (Flood((Frame(PING, bytes(125)),), 2**23), Reset()),
        Expect(),
        memory=2**22,
    ),
    Case(
        "14-every-ping-is-answered",
        PINGS,
        (send(*[Frame(PING, b"%d" % number) for number in range(200)]), Wait("pongs", 200), GOODBYE),
        going_on(pongs=tuple(b"%d" % number for number in range(200))),
    ),
    fine(
        "15-pongs-that-nobody-asked-for",
        PINGS,
        *[Frame(PONG, bytes([number % 256]) * (number % 126)) for number in range(1000)],
        GOOD,
        messages=(b"good",),
    ),
]
