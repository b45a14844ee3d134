"""The negotiation of extensions (RFC 6455 sections 4 and 9.1): headers into extensions.

The factory of an extension interprets its parameters. The rules that are the same for all extensions are
here: the order of preference; nothing is accepted that was not offered; two extensions do not use the same
reserved bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..exceptions import NegotiationError
from ..extensions.base import ClientExtensionFactory, Extension, ServerExtensionFactory
from ..http.grammar import build_extension, parse_extension
from ..types import ExtensionHeader, ExtensionName, ExtensionParameter

__all__ = ["accept_offers", "check_accepted", "offer_extensions"]


def offer_extensions(factories: Iterable[ClientExtensionFactory]) -> str | None:
    """Build the client's ``Sec-WebSocket-Extensions`` header, in order of preference."""
    offers: list[ExtensionHeader] = [(factory.name, factory.get_request_params()) for factory in factories]
    return build_extension(offers) if offers else None


def check_accepted(
    header_values: Sequence[str], factories: Sequence[ClientExtensionFactory]
) -> list[Extension]:
    """Make the client's extensions from the server's ``Sec-WebSocket-Extensions`` headers.

    Raises:
        InvalidHeaderFormat: a header does not match the grammar.
        NegotiationError: the server accepted what was not offered (section 4.1), or twice, or with
            parameters that are not acceptable, or two extensions use the same reserved bit.
    """
    extensions: list[Extension] = []
    remaining = list(factories)
    for value in header_values:
        # Some servers send an empty header for no extension.
        for name, params in parse_extension(value) if value else ():
            factory = _accepted_factory(name, params, remaining, extensions)
            remaining.remove(factory)
    return extensions


def _accepted_factory(
    name: ExtensionName,
    params: list[ExtensionParameter],
    factories: Sequence[ClientExtensionFactory],
    extensions: list[Extension],
) -> ClientExtensionFactory:
    """Find the offer that the server accepted, one of perhaps several with the same name."""
    error: NegotiationError | None = None
    for factory in factories:
        if factory.name != name:
            continue
        try:
            extension = factory.process_response_params(params, extensions)
        except NegotiationError as reason:
            error = error or reason
            continue
        _check_reserved_bits(extension, extensions)
        extensions.append(extension)
        return factory
    raise error or NegotiationError(f"server accepted an extension that was not offered: {name!r}")


def accept_offers(
    header_values: Sequence[str], factories: Sequence[ServerExtensionFactory]
) -> tuple[str | None, list[Extension]]:
    """Choose among the client's offers, in the client's order of preference.

    Returns the server's ``Sec-WebSocket-Extensions`` header, ``None`` when nothing was accepted,
    and the extensions.

    Raises:
        InvalidHeaderFormat: a header does not match the grammar.
        NegotiationError: two of the server's extensions use the same reserved bit.
    """
    extensions: list[Extension] = []
    accepted: list[ExtensionHeader] = []
    for value in header_values:
        for name, params in parse_extension(value):
            if any(extension.name == name for extension in extensions):
                # "the server accepts at most one" of several offers of an extension (RFC 7692 section 5.1)
                continue
            for factory in factories:
                if factory.name != name:
                    continue
                try:
                    response_params, extension = factory.process_request_params(params, extensions)
                except NegotiationError:
                    continue
                _check_reserved_bits(extension, extensions)
                accepted.append((name, response_params))
                extensions.append(extension)
                break
    return (build_extension(accepted) if accepted else None), extensions


def _check_reserved_bits(extension: Extension, others: Iterable[Extension]) -> None:
    for other in others:
        if extension.reserved_bits & other.reserved_bits:
            raise NegotiationError(
                f"extensions {other.name!r} and {extension.name!r} both use reserved bit "
                f"0x{extension.reserved_bits & other.reserved_bits:02X}: negotiate only one of them"
            )
