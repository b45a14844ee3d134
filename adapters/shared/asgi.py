"""ASGI without a server: the scope of a WebSocket connection, headers, and the order of events.

Of ASGI's headers, names and values are ``bytes``; of the core's, ``str`` in ASCII, with other bytes as
surrogates.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import unquote

from wsproto_core.handshake.headers import parse_subprotocol_offers
from wsproto_core.http import Headers, Request
from wsproto_core.types import BytesLike

__all__ = ["Message", "Stage", "make_scope", "payload_of", "text_headers", "unexpected"]

SPEC_VERSION = "2.4"
"""The version of the ASGI specification for WebSocket."""

Message: TypeAlias = MutableMapping[str, Any]
"""An event of ASGI."""


class Stage(enum.Enum):
    """What the application has done with the request."""

    ASKED = "no answer"
    ACCEPTED = "WebSocket"
    RESPONDING = "HTTP"
    ENDED = "closed, or the HTTP response is complete"


EXPECTED = {
    Stage.ASKED: "'websocket.accept', 'websocket.close' or 'websocket.http.response.start'",
    Stage.ACCEPTED: "'websocket.send' or 'websocket.close'",
    Stage.RESPONDING: "'websocket.http.response.body'",
}

BYTES = (bytes, bytearray, memoryview)


def unexpected(stage: Stage, kind: object) -> RuntimeError:
    """Return the error for an event that an application must not send now.

    Args:
        stage: what the application has done before.
        kind: the type of the event.
    """
    if stage is Stage.ENDED:
        return RuntimeError(
            f"Unexpected ASGI message '{kind}', after sending 'websocket.close' or a complete response."
        )
    return RuntimeError(f"Expected ASGI message {EXPECTED[stage]} but got '{kind}'.")


def payload_of(event: Message) -> str | BytesLike:
    """Return the message in an event ``websocket.send``.

    Raises:
        TypeError: there is none, or it has another type.
    """
    message: Any = event.get("bytes")
    if message is None:
        message = event.get("text")
        if not isinstance(message, str):
            raise TypeError(f"'websocket.send' must have bytes, or text of type str, not {message!r}")
    elif not isinstance(message, BYTES):
        raise TypeError(f"the bytes of 'websocket.send' must be bytes-like, not {message!r}")
    return message  # type: ignore[no-any-return]


def make_scope(
    request: Request,
    *,
    version: str,
    secure: bool,
    server: tuple[str, int | None] | None,
    client: tuple[str, int] | None,
    root_path: str,
    state: Mapping[str, Any],
    extensions: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the scope of an application.

    Args:
        request: the request of the opening handshake.
        version: the version of ASGI.
        secure: whether the connection is on TLS.
        server, client: host and port of both ends; ``None`` if they are not known.
        root_path: where the application is mounted.
        state: what the application has stored during its startup; it is copied.
        extensions: extensions besides ``websocket.http.response``, with their values.
    """
    raw_path, _, query = request.path.partition("?")
    return {
        "type": "websocket",
        "asgi": {"version": version, "spec_version": SPEC_VERSION},
        "http_version": "1.1",
        "scheme": "wss" if secure else "ws",
        "server": server,
        "client": client,
        "root_path": root_path,
        "path": root_path + unquote(raw_path),
        "raw_path": _encode(root_path + raw_path),
        "query_string": _encode(query),
        "headers": [(_encode(name.lower()), _encode(value)) for name, value in request.headers.raw_items()],
        "subprotocols": list(parse_subprotocol_offers(request.headers)),
        "state": dict(state),
        "extensions": {"websocket.http.response": {}, **extensions},
    }


def _encode(text: str) -> bytes:
    """Return the bytes of a part of a request."""
    return text.encode("ascii", "surrogateescape")


def text_headers(*parts: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return headers of an application, and of a server, as the core's."""
    return Headers(
        (name.decode("ascii", "surrogateescape"), value.decode("ascii", "surrogateescape"))
        for part in parts
        for name, value in part
    )
