"""Run the cases on permessage-deflate against a peer that echoes; print the verdicts as JSON.

    python -m tests.conformance.deflate [--messages N] [--bytes N] client URI [CASE ...]
    python -m tests.conformance.deflate [--messages N] [--bytes N] server [CASE ...]

The first is a client for the server at the URI. The second is a server as Autobahn's is: it prints its URI
in the first line, answers ``/getCaseCount``, runs a case for ``/runCase?case=NUMBER``, and ends when a
client has asked for ``/updateReports``. It serves one client at a time.

``--messages`` limits the messages of a case, and ``--bytes`` their sum, though three are always sent.
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

from .deflate_cases import Case, Parameters, choose
from .verdicts import FAILED, OK, UNIMPLEMENTED, Verdict, dump
from .wire import CLOSE, TEXT, Broken, Deflater, Inflater, Late, Wire, parse_extensions

HOST = "127.0.0.1"

PATIENCE = 10
"""By how much the deadlines of the cases are multiplied: they are made for machines that do nothing else."""

CLOSING = 30
"""Seconds for the closing handshake."""

LEAST = 3
"""Messages of a case at least: more than one refers to those before."""

NORMAL = (1000).to_bytes(2)

NAMES = {
    f"{side}_{name}" for side in ("server", "client") for name in ("no_context_takeover", "max_window_bits")
}

Agreed = tuple[Parameters, Parameters]
"""The parameters of this end, and those of the peer."""


# Negotiation (RFC 7692 section 7.1)


def accepted(case: Case, header: str) -> Agreed | None:
    """Read what a server has answered; ``None`` if it has not accepted any offer.

    Raises:
        Broken: the answer does not fit any offer.
    """
    extensions = parse_extensions(header)
    if not extensions:
        return None
    if [name for name, _ in extensions] != ["permessage-deflate"]:
        raise Broken(f"accepts what was not offered: {header}")
    answer = extensions[0][1]
    check_parameters(answer)
    server, client = (direction(answer, side) for side in ("server", "client"))
    for wanted in case.sets:
        limit = wanted.bits if case.both_ways and wanted.bits else 15
        if (
            server.no_context_takeover >= wanted.no_context_takeover
            and (server.bits or 15) <= (wanted.bits or 15)
            and (client.bits or 0) <= limit
        ):
            return client, server
    raise Broken(f"the answer grants none of the offers: {header}")


def check_parameters(parameters: dict[str, str]) -> None:
    for name, value in parameters.items():
        if name not in NAMES:
            raise Broken(f"an unknown parameter: {name}")
        if name.endswith("bits") and value not in map(str, range(8, 16)):
            raise Broken(f"a wrong value: {name}={value}")
        if name.endswith("takeover") and value:
            raise Broken(f"a value where none belongs: {name}={value}")


def direction(parameters: dict[str, str], side: str) -> Parameters:
    bits = parameters.get(f"{side}_max_window_bits")
    return Parameters(f"{side}_no_context_takeover" in parameters, int(bits) if bits else None)


def chosen(case: Case, header: str) -> Agreed | None:
    """Choose among the offers of a client, the first acceptable one; ``None`` if there is none."""
    offers = [found for name, found in parse_extensions(header) if name == "permessage-deflate"]
    for wanted in case.sets:
        for offer in offers:
            if wanted.bits and "client_max_window_bits" not in offer:
                continue
            hint = offer.pop("client_max_window_bits", "")
            check_parameters({**offer, **({"client_max_window_bits": hint} if hint else {})})
            bits = min(wanted.bits, int(hint or 15)) if wanted.bits else None
            own = direction(offer, "server")
            if case.both_ways:
                limits = [each for each in (own.bits, wanted.bits) if each]
                own = Parameters(
                    own.no_context_takeover or wanted.no_context_takeover, min(limits, default=None)
                )
            return own, Parameters(wanted.no_context_takeover, bits)
    return None


# Messages


def play(wire: Wire, case: Case, agreed: Agreed | None) -> Verdict:
    """Send the messages of a case, see that they come back, and close the connection."""
    if agreed is None:
        return Verdict(UNIMPLEMENTED, close(wire), reason="permessage-deflate was not negotiated")
    deflater, inflater = Deflater(agreed[0]), Inflater(agreed[1])
    compressed = 0
    for text, payload in case.messages():
        data = deflater.compress(payload)
        wire.write(b"".join(wire.message_frames(text, data, case.fragment)))
        opcode, was_compressed, echo = wire.read_message()
        if opcode == CLOSE:
            raise Broken(f"a close frame instead of a message: {echo!r}")
        if (opcode == TEXT) != text:
            raise Broken("a message of the other type")
        if was_compressed:
            compressed += 1
            echo = inflater.decompress(echo, len(payload))
        if echo != payload:
            raise Broken("a message that is not the one sent")
    return Verdict(OK, close(wire), compressed=compressed)


def close(wire: Wire) -> str:
    """Do the closing handshake; return the verdict about it."""
    wire.limit(CLOSING)
    wire.write(wire.frame(CLOSE, NORMAL))
    opcode, _, payload = wire.read_message()
    if opcode != CLOSE:
        return FAILED
    if payload != NORMAL:
        return "WRONG CODE"
    # RFC 6455 section 7.1.1: the server ends the connection.
    if wire.is_client and not wire.has_ended():
        return "UNCLEAN"
    return OK


def failure(error: Broken) -> Verdict:
    return Verdict(FAILED, FAILED, ("the case",) if isinstance(error, Late) else (), str(error))


# As a client


def run_client(uri: str, cases: Sequence[Case]) -> dict[str, Verdict]:
    return {case.name: try_server(uri, case) for case in cases}


def try_server(uri: str, case: Case) -> Verdict:
    parts = urlsplit(uri)
    assert parts.hostname is not None
    with socket.create_connection((parts.hostname, parts.port or 80)) as sock:
        wire = Wire(sock, is_client=True, seconds=case.seconds * PATIENCE)
        try:
            header = wire.open(parts.netloc, parts.path or "/", case.offer())
            return play(wire, case, accepted(case, header))
        except Broken as error:
            return failure(error)


# As a server


def run_server(cases: Sequence[Case]) -> dict[str, Verdict]:
    verdicts: dict[str, Verdict] = {}
    with socket.create_server((HOST, 0)) as listener:
        print(f"ws://{HOST}:{listener.getsockname()[1]}", flush=True)
        while True:
            sock, _ = listener.accept()
            with sock:
                if serve(sock, cases, verdicts):
                    return verdicts


def serve(sock: socket.socket, cases: Sequence[Case], verdicts: dict[str, Verdict]) -> bool:
    """Serve one connection; return whether the client has asked for the end."""
    wire = Wire(sock, is_client=False, seconds=CLOSING)
    try:
        first, headers = wire.read_head()
        target = urlsplit(first.split(" ")[1])
        if target.path == "/runCase":
            case = cases[int(parse_qs(target.query)["case"][0]) - 1]
            verdicts[case.name] = try_client(wire, headers, case)
            return False
        wire.answer(headers, "")
        if target.path == "/getCaseCount":
            wire.write(wire.frame(TEXT, str(len(cases)).encode()))
        close(wire)
    except Broken:
        return False
    return target.path == "/updateReports"


def try_client(wire: Wire, headers: dict[str, str], case: Case) -> Verdict:
    try:
        agreed = chosen(case, headers.get("sec-websocket-extensions", ""))
        wire.limit(case.seconds * PATIENCE)
        own, peer = agreed or (Parameters(), Parameters())
        extension = f"permessage-deflate{own.text('server')}{peer.text('client')}" if agreed else ""
        wire.answer(headers, extension)
        return play(wire, case, agreed)
    except Broken as error:
        return failure(error)


def shortened(case: Case, messages: int | None, size: int | None) -> Case:
    """Return a case with fewer messages."""
    count = min(case.count, messages or case.count)
    if size is not None:
        count = min(count, max(size // case.size, LEAST))
    return replace(case, count=count)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int)
    parser.add_argument("--bytes", type=int)
    sides = parser.add_subparsers(dest="side", required=True)
    sides.add_parser("client").add_argument("uri")
    sides.add_parser("server")
    for side in sides.choices.values():
        side.add_argument("cases", nargs="*")
    arguments = parser.parse_args()
    cases = [shortened(case, arguments.messages, arguments.bytes) for case in choose(arguments.cases)]
    verdicts = run_client(arguments.uri, cases) if arguments.side == "client" else run_server(cases)
    print(dump(verdicts), flush=True)


if __name__ == "__main__":
    main()
