"""The opening handshake of a server (rows 23 to 29, and 43): RFC 6455 section 4.2, RFC 9112."""

from __future__ import annotations

from typing import Any

from tests.core.helpers import TEXT, Frame, request

from .cases import GOODBYE, SERVER, Case, Drip, Expect, Part, going_on, refused, send
from .driver import Observed

HANDSHAKE = "RFC 6455 section 4.2.1"
VERSIONS = "RFC 6455 section 4.4"
HTTP = "RFC 9112 section 2.2"
VALUES = "RFC 9110 section 5.5"
LIMITS = "RFC 9110 section 5.4"
FRAMING = "RFC 9112 section 6"
TARGETS = "RFC 9112 section 3.2"
TIMEOUTS = "RFC 9110 section 15.5.9"

GET = "GET / HTTP/1.1"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def get(**changes: Any) -> bytes:
    return request(GET, **changes)


def case(name: str, section: str, parts: tuple[Part, ...], expect: Expect, **options: Any) -> Case:
    size = sum(len(each) for each in parts)
    options.setdefault("bytewise", size < 1000)
    return Case(name, section, (send(*parts),), expect, opened=False, sides=(SERVER,), **options)


def accepted(name: str, section: str, data: bytes, **options: Any) -> Case:
    """An unusual request that is right: the connection works."""
    expect = Expect(status=frozenset((101,)), close=frozenset((1000,)), messages=(b"x",))
    return case(name, section, (data, Frame(TEXT, b"x"), *GOODBYE.parts), expect, **options)


def bad(name: str, section: str, data: bytes, *statuses: int, **options: Any) -> Case:
    """A request that is refused."""
    return case(name, section, (data,), refused(*(statuses or (400,)), closed=True), **options)


def offers_version_13(observed: Observed) -> str:
    """RFC 6455 section 4.4: the response lists the versions that are supported."""
    if observed.headers.get("sec-websocket-version") == "13":
        return ""
    return f"status {observed.status} without Sec-WebSocket-Version"


def version(name: str, value: str | None) -> Case:
    data = get(Sec_WebSocket_Version=value)
    expect = Expect(status=frozenset((400, 426)), check=offers_version_13)
    return case(name, VERSIONS, (data,), expect)


def one_response(observed: Observed) -> str:
    """What follows a request is never parsed as another one."""
    return "" if b"HTTP/1." not in observed.body else "parses the rest as a second request"


SMUGGLED = request("GET /admin HTTP/1.1")

NOBODY = Expect(closed=True)
"""The stream ends, with or without a response."""

CASES = [
    accepted("23-connection-is-a-list", HANDSHAKE, get(Connection="keep-alive, Upgrade")),
    accepted("23-mixed-case", HANDSHAKE, get(Connection="uPgRaDe", Upgrade="WebSocket")),
    accepted("23-several-upgrades", HANDSHAKE, get(Upgrade="h2c, websocket")),
    accepted("23-several-connection-headers", HANDSHAKE, get(Connection=["keep-alive", "Upgrade"])),
    bad("24-no-host", HANDSHAKE, get(Host=None)),
    bad("24-two-hosts", HANDSHAKE, get(Host=["a", "b"])),
    bad("24-empty-host", HANDSHAKE, get(Host=""), peers=False),
    bad("24-two-keys", HANDSHAKE, get(Sec_WebSocket_Key=[KEY, KEY])),
    bad("24-no-key", HANDSHAKE, get(Sec_WebSocket_Key=None)),
    bad("24-short-key", HANDSHAKE, get(Sec_WebSocket_Key="c2hvcnQ=")),
    version("25-no-version", None),
    version("25-old-version", "8"),
    version("25-version-that-is-no-number", "13x"),
    bad("25-post", HANDSHAKE, request("POST / HTTP/1.1"), 405),
    bad("25-http-1.0", HANDSHAKE, request("GET / HTTP/1.0"), 400, 426, 505),
    bad("25-no-upgrade", HANDSHAKE, get(Upgrade=None, Connection=None), 400, 426),
    bad("26-500-headers", LIMITS, get(**{f"X{number}": "x" for number in range(500)}), 400, 431),
    bad("26-line-of-64-kib", LIMITS, get(X="x" * 2**16), 400, 431),
    bad("26-target-of-128-kib", LIMITS, b"GET /" + b"x" * 2**17, 400, 414, 431),
    bad(
        "26-head-of-a-mebibyte",
        LIMITS,
        get(**{f"X{number}": "x" * 8000 for number in range(125)}),
        400,
        431,
        memory=2**22,
    ),
    bad("27-nul", VALUES, get(X="a\0b")),
    bad("27-control-character", VALUES, get(X="a\x01b")),
    bad("27-nul-in-the-target", TARGETS, request("GET /\0 HTTP/1.1")),
    bad("27-garbage", HTTP, bytes(range(256)) * 4),
    accepted("27-bare-line-feeds", HTTP, get().replace(b"\r\n", b"\n"), peers=False),
    bad("28-body", FRAMING, get(Content_Length="5") + b"hello", peers=False),
    bad("28-chunked-body", FRAMING, get(Transfer_Encoding="chunked") + b"0\r\n\r\n", peers=False),
    accepted("28-body-of-no-bytes", FRAMING, get(Content_Length="0")),
    case(
        "28-second-request",
        FRAMING,
        (get(Upgrade=None), SMUGGLED),
        Expect(status=frozenset((400, 426)), check=one_response, closed=True),
    ),
    case(
        "28-second-request-behind-the-upgrade",
        FRAMING,
        (get(), SMUGGLED),
        # Its first byte, "G", is a frame with RSV1 and a reserved opcode.
        Expect(status=frozenset((101,)), close=frozenset((1002,)), messages=()),
    ),
    case(
        "28-frame-behind-the-request",
        HANDSHAKE,
        (get(), Frame(TEXT, b"early"), *GOODBYE.parts),
        going_on(b"early"),
    ),
    Case(
        "29-silence",
        TIMEOUTS,
        (),
        NOBODY,
        opened=False,
        sides=(SERVER,),
        options={"open_timeout": 0.3},
        patience=15,
    ),
    Case(
        "29-a-byte-now-and-then",
        TIMEOUTS,
        (Drip(get(X="x" * 1000), 0.05),),
        NOBODY,
        opened=False,
        sides=(SERVER,),
        options={"open_timeout": 0.3},
        patience=15,
    ),
    bad("43-star", TARGETS, request("GET * HTTP/1.1"), 400, 404),
    bad("43-host-and-port", TARGETS, request("GET localhost:80 HTTP/1.1"), 400, 404),
    bad("43-without-a-slash", TARGETS, request("GET chat HTTP/1.1"), 400, 404),
    bad("43-fragment", TARGETS, request("GET /#part HTTP/1.1"), 400),
    bad("43-space", TARGETS, request("GET /a b HTTP/1.1"), 400),
    accepted("43-absolute-form", TARGETS, request("GET http://server.example.com/ HTTP/1.1")),
    accepted("43-two-slashes", TARGETS, request("GET //server HTTP/1.1"), peers=False),
    accepted("43-encoded-nul", TARGETS, request("GET /%00 HTTP/1.1"), peers=False),
    accepted("43-empty-lines-before", HTTP, b"\r\n\r\n" + get(), peers=False),
    # Nothing that follows would complete these requests: the answer comes at once.
    bad("43-ssh", HTTP, b"SSH-2.0-x\r\n"),
    bad("43-smtp", HTTP, b"EHLO localhost\r\n"),
    bad("43-json", HTTP, b'{"id": 1, "method": "hello"}'),
    bad("43-tls", HTTP, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)),
    bad("43-http-2", HTTP, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 405, 505),
]
