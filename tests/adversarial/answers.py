"""The answers of a server to a client (rows 31, 43 and 44): RFC 6455 section 4.1."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.core.helpers import TEXT, Frame, response

from .cases import CLIENT, GOODBYE, Case, Flood, Pause, Step, going_on, raised, send

ANSWERS = "RFC 6455 section 4.1"
HTTP = "RFC 9112 section 2.2"
BODIES = "RFC 9112 section 6.3"
LIMITS = "RFC 9110 section 5.4"
NEGOTIATION = "RFC 6455 section 9.1"
PARAMETERS = "RFC 7692 section 7.1"

DEFLATE = "permessage-deflate"

Answer = Callable[[dict[str, str]], tuple[Step, ...]]


def key_of(headers: dict[str, str]) -> str:
    return headers["sec-websocket-key"]


def wrong(
    name: str, section: str, *errors: str, options: dict[str, Any] | None = None, **changes: Any
) -> Case:
    """A response that the client refuses."""

    def answering(headers: dict[str, str]) -> tuple[Step, ...]:
        return (send(response(key_of(headers), **changes)),)

    return Case(
        name,
        section,
        (),
        raised(*errors),
        opened=False,
        sides=(CLIENT,),
        answering=answering,
        options=options or {},
        bytewise=True,
    )


def right(
    name: str, section: str, *more: bytes | Frame, options: dict[str, Any] | None = None, **changes: Any
) -> Case:
    """An unusual response with which the connection works."""

    def answering(headers: dict[str, str]) -> tuple[Step, ...]:
        return (send(response(key_of(headers), **changes), *more, Frame(TEXT, b"x")), GOODBYE)

    messages = (*(each.payload for each in more if isinstance(each, Frame)), b"x")
    return Case(
        name,
        section,
        (),
        going_on(*messages),
        opened=False,
        sides=(CLIENT,),
        answering=answering,
        options=options or {},
        bytewise=True,
    )


def instead(name: str, section: str, steps: tuple[Step, ...], *errors: str, **options: Any) -> Case:
    """Something else than a response that opens a connection."""
    return Case(
        name,
        section,
        (),
        raised(*errors),
        opened=False,
        sides=(CLIENT,),
        answering=lambda headers: steps,
        **options,
    )


COMPRESSING = {"compression": "deflate"}

HEADER = "InvalidHeader"
MESSAGE = "InvalidMessage"
NEGOTIATING = "NegotiationError"
SECURITY = "SecurityError"
STATUS = "InvalidStatusCode"
UPGRADE = "InvalidUpgrade"

CASES = [
    wrong("31-no-accept", ANSWERS, HEADER, Sec_WebSocket_Accept=None),
    wrong("31-wrong-accept", ANSWERS, HEADER, Sec_WebSocket_Accept="s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    wrong("31-two-accepts", ANSWERS, HEADER, Sec_WebSocket_Accept=["a", "b"]),
    wrong("31-subprotocol-not-asked-for", ANSWERS, NEGOTIATING, Sec_WebSocket_Protocol="unasked"),
    wrong("31-extension-not-asked-for", ANSWERS, NEGOTIATING, Sec_WebSocket_Extensions="x-unasked"),
    wrong("31-compression-not-asked-for", ANSWERS, NEGOTIATING, Sec_WebSocket_Extensions=DEFLATE),
    *[
        wrong(
            f"31-compression-{name}",
            PARAMETERS,
            NEGOTIATING,
            options=COMPRESSING,
            Sec_WebSocket_Extensions=f"{DEFLATE}; {parameter}",
        )
        for name, parameter in (
            ("window-of-7-bits", "server_max_window_bits=7"),
            ("unknown-parameter", "abc"),
        )
    ],
    wrong("31-101-without-upgrade", ANSWERS, UPGRADE, Upgrade=None),
    wrong("31-101-without-connection", ANSWERS, UPGRADE, Connection=None),
    wrong("31-101-in-http-1.0", ANSWERS, MESSAGE, start="HTTP/1.0 101 Switching Protocols"),
    wrong("31-nul-in-a-header", HTTP, MESSAGE, X="a\0b"),
    wrong("31-500-headers", LIMITS, SECURITY, **{f"X{number}": "x" for number in range(500)}),
    wrong("31-line-of-64-kib", LIMITS, SECURITY, X="x" * 2**16),
    instead(
        "31-error-body-without-end",
        BODIES,
        (send(b"HTTP/1.1 404 Not Found\r\n\r\n"), Flood((b"x" * 2**16,), 2**26)),
        STATUS,
        memory=2**22,
    ),
    instead(
        "31-redirect-to-plain-from-nowhere",
        ANSWERS,
        (send(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"),),
        HEADER,
    ),
    instead("43-ssh-greeting", HTTP, (send(b"SSH-2.0-x\r\n"),), MESSAGE, bytewise=True),
    instead("43-smtp-greeting", HTTP, (send(b"220 mail.example.com ESMTP\r\n"),), MESSAGE, bytewise=True),
    instead("43-http-2-greeting", HTTP, (send(bytes.fromhex("000000040000000000")),), MESSAGE),
    right("44-deflate-without-parameters", PARAMETERS, Sec_WebSocket_Extensions=DEFLATE, options=COMPRESSING),
    right(
        "44-deflate-with-other-parameters-than-asked",
        PARAMETERS,
        Sec_WebSocket_Extensions=f"{DEFLATE}; server_no_context_takeover; client_max_window_bits=10",
        options=COMPRESSING,
    ),
    right("44-empty-subprotocol", NEGOTIATION, Sec_WebSocket_Protocol=""),
    right("44-empty-extensions", NEGOTIATION, Sec_WebSocket_Extensions=""),
    right("44-transfer-encoding-in-a-101", BODIES, Transfer_Encoding="chunked"),
    right("44-frame-behind-the-response", ANSWERS, Frame(TEXT, b"early")),
    instead(
        "44-refused-with-400",
        ANSWERS,
        (send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),),
        STATUS,
        bytewise=True,
    ),
    instead(
        "44-body-that-does-not-end",
        BODIES,
        (send(b"HTTP/1.1 401 No\r\nContent-Length: 1000\r\n\r\nsorry"), Pause(5)),
        STATUS,
    ),
]
