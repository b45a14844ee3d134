"""Life and death of a connection (rows 33, 36, 38 and 39): RFC 6455 section 7."""

from __future__ import annotations

from tests.core.helpers import BINARY, PONG, TEXT, Frame

from .cases import GOODBYE, Case, End, Expect, Flood, Header, Reset, Wait, going_on, send

ABNORMAL = "RFC 6455 section 7.1.5"
LIMITS = "RFC 6455 section 10.4"

LOST = Expect(closed=True)


CASES = [
    Case("33-end-between-frames", ABNORMAL, (End(),), LOST),
    Case("33-end-within-a-frame", ABNORMAL, (send(Header(TEXT, 5, key=True), b"he"), End()), LOST),
    Case("33-end-within-a-header", ABNORMAL, (send(b"\x82"), End()), LOST),
    Case("33-end-within-a-message", ABNORMAL, (send(Frame(TEXT, b"a", False)), End()), LOST),
    Case("33-reset-between-frames", ABNORMAL, (Reset(),), LOST),
    Case("33-reset-within-a-frame", ABNORMAL, (send(Header(TEXT, 5, key=True), b"he"), Reset()), LOST),
    Case("33-reset-within-a-message", ABNORMAL, (send(Frame(TEXT, b"a", False)), Reset()), LOST),
    Case(
        "36-sends-and-never-reads",
        LIMITS,
        (Flood((Frame(BINARY, bytes(2**14)),), 2**26), Reset()),
        Expect(),
        memory=2**23,
    ),
    Case(
        "38-pongs-without-end",
        LIMITS,
        (Flood((Frame(PONG, bytes(14)),), 2**20), send(Frame(TEXT, b"x")), Wait("messages", 1), GOODBYE),
        going_on(b"x"),
        memory=2**22,
        patience=20,
    ),
]
