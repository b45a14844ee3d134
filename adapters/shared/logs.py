"""Logging: records with the attributes of their connection, and the frame log.

Text from a peer is escaped: lines are ASCII without control characters, and their length is limited.
"""

from __future__ import annotations

import codecs
import functools
import logging
import sys
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

from wsproto_core.exceptions import ConnectionClosed
from wsproto_core.extensions.base import Extension
from wsproto_core.frames import FIN, RESERVED_BITS, RSV1, RSV2, RSV3, Opcode
from wsproto_core.http import Headers, Request, Response
from wsproto_core.observing import Excerpt, Observer
from wsproto_core.types import Close, Side

from .options import Logger

__all__ = [
    "ConnectionLogger",
    "FrameLog",
    "default_logger",
    "describe",
    "describe_end",
    "log_failure",
    "negotiated",
    "shown",
]

LONGEST = 200
"""Maximum number of characters of a text in a line, before escaping."""

SECRET = frozenset(("authorization", "cookie", "proxy-authorization", "set-cookie"))
"""Headers whose values are never logged."""

OPCODE_NAMES = {
    Opcode.CONTINUATION: "continuation",
    Opcode.TEXT: "text",
    Opcode.BINARY: "binary",
    Opcode.CLOSE: "close",
    Opcode.PING: "ping",
    Opcode.PONG: "pong",
}

FLAGS = ((FIN, ", FIN"), (RSV1, ", RSV1"), (RSV2, ", RSV2"), (RSV3, ", RSV3"))


@functools.cache
def default_logger(side: Side) -> logging.Logger:
    """Return the logger of one side: ``wsproto_core.client`` or ``wsproto_core.server``."""
    return logging.getLogger(f"wsproto_core.{side.value}")


def shown(text: object) -> str:
    """Return a text in quotation marks, escaped to one line of ASCII, and shortened if it is long."""
    text = str(text)
    return ascii(text) if len(text) <= LONGEST else f"{text[:LONGEST]!a}..."


def describe(error: BaseException, text: str | None = None) -> str:
    """Describe an error in one line, with its cause.

    Args:
        error: the error.
        text: its description; ``None`` for its message.
    """
    text = shown(error if text is None else text)
    if error.__cause__ is not None:
        text += f", caused by {type(error.__cause__).__name__}: {shown(error.__cause__)}"
    return text


def describe_end(error: ConnectionClosed) -> str:
    """Describe the end of a connection in one line: a failure, the close frames, and the cause."""
    return describe(error, error.describe_end())


def log_failure(logger: Logger, message: str) -> None:
    """Log the exception that is being handled at level ERROR; never raise one.

    If a filter or a log handler of the application raises, both exceptions go to standard error.
    """
    try:
        logger.exception(message)
    except Exception:
        sys.excepthook(*sys.exc_info())


class ConnectionLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the attributes of a connection to its log records.

    Each record has these attributes, for formatters and filters: ``connection_id`` (``str``), ``side``
    (``"client"`` or ``"server"``), ``remote_address`` (as the connection has it, or ``None``) and ``path``
    (the request's, with its query, or ``None``). They are looked up when a record is made. What the
    application gives as ``extra``, by its own adapter or with a message, goes before them.
    """

    def __init__(
        self, logger: Logger, get_attributes: Callable[[], tuple[str, str, Any, str | None]]
    ) -> None:
        """
        Args:
            logger: where to log; of a ``LoggerAdapter``, ``process`` is applied.
            get_attributes: returns the four attributes of a record, in the order above.
        """
        self._adapters: list[logging.LoggerAdapter[Any]] = []
        while isinstance(logger, logging.LoggerAdapter):
            self._adapters.append(logger)
            logger = logger.logger
        super().__init__(logger, {})
        self._get_attributes = get_attributes

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the attributes to a record."""
        names = ("connection_id", "side", "remote_address", "path")
        extra: dict[str, Any] = dict(zip(names, self._get_attributes(), strict=True))
        # An adapter may forget what it is given.
        extra.update(kwargs.get("extra") or {})
        for adapter in self._adapters:
            msg, kwargs = adapter.process(msg, kwargs)
            extra.update(kwargs.get("extra") or {})
        kwargs["extra"] = extra
        return msg, kwargs


class FrameLog(Observer):
    """Logs the opening handshake and every frame, at level DEBUG."""

    def __init__(self, logger: Logger) -> None:
        """
        Args:
            logger: where to log.
        """
        self._logger = logger
        self._received = 0  # first byte of the message that is being received
        self._sent = 0  # first byte of the message that is being sent

    def request(self, request: Request) -> None:
        self._logger.debug("request: %s %s", shown(request.method), shown(request.path))
        self._headers("request", request.headers)

    def response(self, response: Response) -> None:
        # A response of ours has no reason phrase yet.
        reason = f" {shown(response.reason)}" if response.reason else ""
        self._logger.debug(
            "response: %d%s, %d bytes in the body", response.status, reason, len(response.body)
        )
        self._headers("response", response.headers)

    def _headers(self, of: str, headers: Headers) -> None:
        for name, value in headers.raw_items():
            text = "(not shown)" if name.lower() in SECRET else shown(value)
            self._logger.debug("%s header: %s: %s", of, shown(name)[1:-1], text)

    def frame_received(self, first: int, payload: Excerpt) -> None:
        if first & 0x0F in (Opcode.TEXT, Opcode.BINARY):
            self._received = first
        self._logger.debug("received %s", _frame(first, payload, payload, self._received))

    def message_decoded(self, payload: Excerpt) -> None:
        text = _excerpt(payload, text=self._received & 0x0F == Opcode.TEXT)
        self._logger.debug("decoded message, %d bytes: %s", payload.length, text)

    def frame_sent(self, first: int, payload: Excerpt, original: Excerpt) -> None:
        if first & 0x0F in (Opcode.TEXT, Opcode.BINARY):
            self._sent = first
        self._logger.debug("sent %s", _frame(first, payload, original, self._sent))


def _frame(first: int, payload: Excerpt, original: Excerpt, message: int) -> str:
    """Describe a frame.

    Args:
        first: its first byte.
        payload: of the frame as it is on the wire.
        original: what is shown of it.
        message: first byte of the message that the frame belongs to, if it is a data frame.
    """
    opcode = Opcode(first & 0x0F)
    flags = "".join(name for bit, name in FLAGS if first & bit)
    size = f"{payload.length} bytes"
    if original is not payload:
        size += f", encoded from {original.length}"
    if opcode is Opcode.CLOSE:
        content = _close(payload)
    else:
        # What extensions have encoded is binary.
        encoded = original is payload and message & RESERVED_BITS != 0
        text = opcode < Opcode.CLOSE and message & 0x0F == Opcode.TEXT and not encoded
        content = _excerpt(original, text=text)
    return f"{OPCODE_NAMES[opcode]} frame{flags}, {size}: {content}"


def _close(payload: Excerpt) -> str:
    """Describe the payload of a close frame, be it valid or not."""
    code, reason = payload.start[:2], payload.start[2:]
    if len(code) < 2:
        return _excerpt(payload, text=False)
    close = str(Close(int.from_bytes(code, "big")))
    return f"{close} {_excerpt(Excerpt(reason, len(reason)), text=True)}" if reason else close


def _excerpt(payload: Excerpt, *, text: bool) -> str:
    """Describe a payload."""
    start: str | bytes = payload.start
    cut = len(payload.start) < payload.length
    if text:
        # A character that is cut in two is left out.
        decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        start = decoder.decode(payload.start, final=not cut)
    return f"{start!a}..." if cut else f"{start!a}"


def negotiated(extensions: Iterable[Extension], subprotocol: str | None) -> str:
    """Describe what a connection uses."""
    names = ", ".join(map(repr, extensions))
    return (
        f"extensions: {names or 'none'}; subprotocol: {'none' if subprotocol is None else shown(subprotocol)}"
    )
