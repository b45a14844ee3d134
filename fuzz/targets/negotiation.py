"""The negotiation of permessage-deflate (RFC 7692 section 7.1): any parameters in the headers of either side.

- No header raises anything but an exception of the opening handshake.
- A server's answer is one that its client's offer allows.
- A client accepts no answer that its own offer does not allow.
- A client and a server of this library agree whatever their options are, and have the same parameters.
"""

from __future__ import annotations

from typing import Any

from fuzz.source import Source
from wsproto_core import InvalidHandshake
from wsproto_core.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from wsproto_core.handshake.negotiation import accept_offers, check_accepted, offer_extensions

NAME = "permessage-deflate"
BITS = (None, 8, 9, 10, 11, 12, 13, 14, 15)


def fuzz(data: bytes) -> None:
    source = Source(data)
    source.choice((check_server, check_client, check_both))(source)


def take_options(source: Source, *, client: bool) -> dict[str, Any]:
    """Take the options of a factory."""
    own_bits: tuple[int | bool | None, ...] = (*BITS, True) if client else BITS
    return {
        "server_no_context_takeover": source.flag(),
        "client_no_context_takeover": source.flag(),
        "server_max_window_bits": source.choice(BITS),
        "client_max_window_bits": source.choice(own_bits),
    }


def take_header(source: Source) -> list[str]:
    """Take the rest as headers, one a line."""
    return source.rest().decode("ascii", "surrogateescape").split("\n")


def read_parameters(header: str) -> dict[str, str | None]:
    """Read the parameters of one extension, as tokens without quotes."""
    name, *parameters = (part.strip() for part in header.split(";"))
    assert name == NAME
    pairs: dict[str, str | None] = {}
    for parameter in parameters:
        key, equals, value = parameter.partition("=")
        assert key not in pairs
        pairs[key] = value if equals else None
    return pairs


def check_server(source: Source) -> None:
    factory = ServerPerMessageDeflateFactory(**take_options(source, client=False))
    offers = take_header(source)
    try:
        header, extensions = accept_offers(offers, [factory])
    except InvalidHandshake:
        return
    assert (header is not None) == bool(extensions)
    if header is None:
        return
    (extension,) = extensions
    assert isinstance(extension, PerMessageDeflate)
    answer = read_parameters(header)
    text = ",".join(offers).replace('"', "").replace("\\", "")
    # Some offer allows the answer: RFC 7692 sections 7.1.1 and 7.1.2.
    assert any(allows(offer, answer) for offer in map(read_offer, text.split(",")) if offer is not None), (
        f"{header!r} answers {offers!r}"
    )
    bits = int(answer.get("server_max_window_bits") or 15), int(answer.get("client_max_window_bits") or 15)
    assert (extension.local_max_window_bits, extension.remote_max_window_bits) == bits
    assert extension.local_no_context_takeover == ("server_no_context_takeover" in answer)
    assert extension.remote_no_context_takeover == ("client_no_context_takeover" in answer)
    assert extension.used_window_bits <= extension.local_max_window_bits


def read_offer(text: str) -> dict[str, str | None] | None:
    """Read an offer of permessage-deflate; ``None`` for another one."""
    name, *parameters = (part.strip(" \t") for part in text.split(";"))
    if name != NAME:
        return None
    pairs = (parameter.partition("=") for parameter in parameters)
    return {key.strip(" \t"): value.strip(" \t") if equals else None for key, equals, value in pairs}


def allows(offer: dict[str, str | None], answer: dict[str, str | None]) -> bool:
    """Whether a server may answer an offer so."""
    if not set(offer) <= {f"{side}_{rest}" for side in ("server", "client") for rest in PARAMETERS}:
        return False
    if "server_no_context_takeover" in offer and "server_no_context_takeover" not in answer:
        return False
    wanted = offer.get("server_max_window_bits")
    if wanted is not None and int(answer.get("server_max_window_bits") or 15) > int(wanted):
        return False
    granted = answer.get("client_max_window_bits")
    if "client_max_window_bits" not in offer:
        return granted is None
    hint = offer["client_max_window_bits"]
    return granted is None or hint is None or int(granted) <= int(hint)


PARAMETERS = ("no_context_takeover", "max_window_bits")


def check_client(source: Source) -> None:
    options = take_options(source, client=True)
    factory = ClientPerMessageDeflateFactory(**options)
    (offered,) = [read_offer(offer_extensions([factory]) or "")]
    assert offered is not None
    answers = take_header(source)
    try:
        extensions = check_accepted(answers, [factory])
    except InvalidHandshake:
        return
    if not extensions:
        assert not any(answer.strip(" \t,") for answer in answers)
        return
    (extension,) = extensions
    assert isinstance(extension, PerMessageDeflate)
    (text,) = [
        each for each in ",".join(answers).replace('"', "").replace("\\", "").split(",") if each.strip()
    ]
    answer = read_offer(text)
    assert answer is not None
    assert allows(offered, answer), f"{answers!r} answers {offered!r}"
    assert extension.remote_max_window_bits >= int(answer.get("server_max_window_bits") or 15)
    assert extension.local_max_window_bits <= int(answer.get("client_max_window_bits") or 15)
    assert extension.local_no_context_takeover or "client_no_context_takeover" not in answer
    assert not extension.remote_no_context_takeover or "server_no_context_takeover" in answer


def check_both(source: Source) -> None:
    client_factory = ClientPerMessageDeflateFactory(**take_options(source, client=True))
    server_factory = ServerPerMessageDeflateFactory(**take_options(source, client=False))
    offer = offer_extensions([client_factory])
    assert offer is not None
    header, (server,) = accept_offers([offer], [server_factory])
    assert header is not None
    (client,) = check_accepted([header], [client_factory])
    assert isinstance(client, PerMessageDeflate)
    assert isinstance(server, PerMessageDeflate)
    for sender, receiver in ((client, server), (server, client)):
        # What one side sends the other one can inflate.
        assert sender.local_max_window_bits <= receiver.remote_max_window_bits
        assert sender.local_no_context_takeover or not receiver.remote_no_context_takeover
