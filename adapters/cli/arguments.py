"""The arguments of all commands, and the options of ``connect`` that they stand for."""

from __future__ import annotations

import argparse
import math
import os
import ssl
import sys
from collections.abc import Callable
from typing import Any

from wsproto_core.exceptions import InvalidURI
from wsproto_core.http.uri import parse_uri
from wsproto_core.version import VERSION

from .failures import CommandFailure

__all__ = ["connect_options", "make_parser", "tls_server_context"]


def _number(
    kind: Callable[[str], Any], expected: str, allowed: Callable[[Any], bool]
) -> Callable[[str], Any]:
    """Make the type of an argument that is a number."""

    def convert(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not allowed(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
        return value

    return convert


COUNT = _number(int, "a number, 1 or more", lambda value: value > 0)
SECONDS = _number(float, "a number of seconds, more than 0", lambda value: 0 < value < math.inf)
SECONDS_OR_NONE = _number(float, "a number of seconds, 0 or more", lambda value: value >= 0)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    name = os.path.basename(sys.argv[0])
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__.rpartition('.')[0]}" if name == "__main__.py" else name,
        description="WebSocket on the command line: a client, a server and a benchmark.",
    )
    parser.add_argument("--version", action="version", version=f"wsproto-core {VERSION}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_connect(commands)
    _add_serve(commands)
    _add_bench(commands)
    return parser


def _add_connect(commands: Any) -> None:
    parser = commands.add_parser(
        "connect",
        help="connect to a server, on a terminal or in a pipe",
        description=(
            "Connect to a WebSocket server. On a terminal: a prompt, with /help. Otherwise each line of "
            "standard input is sent as a text message, and messages are written to standard output."
        ),
    )
    _add_target(parser)
    parser.add_argument(
        "-b", "--binary", action="store_true", help="send input as binary messages, in the pieces it comes in"
    )
    parser.add_argument("-j", "--json", action="store_true", help="indent messages that are JSON")
    parser.add_argument("-t", "--timestamps", action="store_true", help="begin each message with the time")
    parser.add_argument(
        "-r", "--reconnect", action="store_true", help="connect again when the connection ends"
    )
    parser.add_argument(
        "-1", "--one-shot", action="store_true", help="close after the first message that is received"
    )
    parser.add_argument(
        "-w",
        "--wait",
        type=SECONDS_OR_NONE,
        metavar="SECONDS",
        help=(
            "at the end of input, close when nothing has come for so long (default: 1, with --one-shot inf); "
            "inf: never"
        ),
    )


def _add_target(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of commands that connect."""
    parser.add_argument("uri", type=_uri, metavar="URI", help="ws://host:port/path or wss://...")
    parser.add_argument(
        "-H", "--header", action="append", default=[], type=_header, metavar="'NAME: VALUE'",
        help="add a header to the request; several times for several headers",
    )  # fmt: skip
    parser.add_argument(
        "-s", "--subprotocol", action="append", default=[], metavar="NAME",
        help="offer a subprotocol; several times, in order of preference",
    )  # fmt: skip
    parser.add_argument("--origin", help="send this Origin header")
    parser.add_argument(
        "-k", "--insecure", action="store_true", help="accept any certificate of a wss: server"
    )
    parser.add_argument("--ca-file", metavar="FILE", help="trust the certificates in a PEM file")
    parser.add_argument("--proxy", metavar="URL", help="connect through a proxy; none: without one")
    parser.add_argument(
        "--open-timeout",
        type=SECONDS,
        default=10.0,
        metavar="SECONDS",
        help="deadline for connecting (default: 10)",
    )
    parser.add_argument(
        "--close-timeout",
        type=SECONDS_OR_NONE,
        default=10.0,
        metavar="SECONDS",
        help="deadline for the server's close frame (default: 10)",
    )
    _add_common(parser)


def _add_serve(commands: Any) -> None:
    parser = commands.add_parser(
        "serve",
        help="serve an echo, a chat, or a broadcast of standard input",
        description=(
            "Serve WebSocket, and on the same port a web page for it. echo sends every message back; chat "
            "is a chat room; broadcast sends each line of standard input to all clients, and ends with it."
        ),
    )
    parser.add_argument("mode", nargs="?", choices=("echo", "chat", "broadcast"), default="echo")
    parser.add_argument(
        "--host", default="localhost", help="where to listen (default: localhost); '' for all interfaces"
    )
    parser.add_argument(
        "-p", "--port", default=8765, help="the TCP port (default: 8765); 0 for any free one",
        type=_number(int, "a port, 0 to 65535", lambda value: 0 <= value < 2**16),
    )  # fmt: skip
    parser.add_argument(
        "--processes", type=COUNT, default=1,
        metavar="N", help="serve in several processes, which share the port (default: 1); not for chat",
    )  # fmt: skip
    parser.add_argument(
        "--allow-origin", action="append", default=[], metavar="ORIGIN",
        help="let pages of this origin connect, too; an echo lets all",
    )  # fmt: skip
    parser.add_argument("--cert", metavar="FILE", help="serve wss: with this certificate chain (PEM)")
    parser.add_argument("--key", metavar="FILE", help="its private key, if that is in another file")
    parser.add_argument("-q", "--quiet", action="store_true", help="do not log connections")
    parser.add_argument("--uvloop", action="store_true", help="run on uvloop")
    parser.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    _add_common(parser)


def _add_bench(commands: Any) -> None:
    parser = commands.add_parser(
        "bench",
        help="measure a server that echoes",
        description=(
            "Measure the rate and the latencies of a server that sends every message back. Each connection "
            "sends a message for each message that comes back."
        ),
    )
    _add_target(parser)
    parser.add_argument("-c", "--connections", type=COUNT, default=10, metavar="N", help="default: 10")
    parser.add_argument(
        "-d", "--depth", type=COUNT, default=1, metavar="N", help="messages on the way on each (default: 1)"
    )
    parser.add_argument(
        "--size", type=COUNT, default=64, metavar="BYTES", help="of a message (default: 64 bytes)"
    )
    parser.add_argument("-b", "--binary", action="store_true", help="send binary messages")
    parser.add_argument(
        "--duration", type=SECONDS, default=5.0, metavar="SECONDS", help="of measuring (default: 5)"
    )
    parser.add_argument(
        "--warmup", type=SECONDS_OR_NONE, default=0.5, metavar="SECONDS", help="before that (default: 0.5)"
    )
    parser.add_argument(
        "--answer-timeout", type=SECONDS, default=10.0, metavar="SECONDS",
        help="how long to wait for a message to come back (default: 10)",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="write the results as JSON, without progress")
    parser.add_argument("--plot", metavar="FILE", help="write a histogram of the latencies as PNG")
    parser.add_argument("--uvloop", action="store_true", help="run on uvloop")


def _add_common(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of all commands."""
    parser.add_argument(
        "--compression", choices=("deflate", "none"), default="deflate",
        help="permessage-deflate, or no compression (default: deflate)",
    )  # fmt: skip
    parser.add_argument(
        "--max-size", type=COUNT,
        default=2**24, metavar="BYTES", help="limit on a received message (default: 16777216)",
    )  # fmt: skip
    parser.add_argument("-v", "--verbose", action="store_true", help="log every frame to standard error")


def connect_options(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the options of ``connect`` for the arguments of a command that connects.

    Raises:
        CommandFailure: an argument cannot be used.
    """
    options: dict[str, Any] = {
        "extra_headers": parsed.header,
        "subprotocols": parsed.subprotocol or None,
        "origin": parsed.origin,
        "compression": None if parsed.compression == "none" else parsed.compression,
        "max_size": parsed.max_size,
        "open_timeout": parsed.open_timeout,
        "close_timeout": parsed.close_timeout,
    }
    if parsed.proxy is not None:
        options["proxy"] = None if parsed.proxy == "none" else parsed.proxy
    if parsed.uri.startswith("wss:"):
        options["ssl"] = _client_context(parsed)
    elif parsed.insecure or parsed.ca_file:
        raise CommandFailure("--insecure and --ca-file are for wss: URIs", status=2)
    return options


def _client_context(parsed: argparse.Namespace) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=parsed.ca_file)
    except OSError as error:
        raise CommandFailure(f"--ca-file {parsed.ca_file}: {error}", status=2) from error
    if parsed.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def tls_server_context(parsed: argparse.Namespace) -> ssl.SSLContext | None:
    """Return the TLS context of a server; ``None`` without TLS.

    Raises:
        CommandFailure: the certificate cannot be used.
    """
    if parsed.cert is None:
        if parsed.key is not None:
            raise CommandFailure("--key is used with --cert", status=2)
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(parsed.cert, parsed.key)
    except OSError as error:
        raise CommandFailure(f"--cert {parsed.cert}: {error}", status=2) from error
    return context


# Types of arguments


def _uri(text: str) -> str:
    """Accept a URI; without a scheme it is one of ``ws:``."""
    text = text if "://" in text else f"ws://{text}"
    try:
        parse_uri(text)
    except InvalidURI as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is no header: expected 'NAME: VALUE'")
    return name.strip(), value.strip()
