"""The TLS context that a redirect to another origin takes along."""

from __future__ import annotations

import gc
import ssl
import weakref
from pathlib import Path
from typing import Any

import pytest

from adapters.shared.client import Connecting, Target
from adapters.shared.tls import note_trust, without_certificate
from tests.core.helpers import Clock
from wsproto_core import Headers, InvalidStatusCode, Response

CERTIFICATES = Path(__file__).parent.parent.parent / "certificates"
CERTIFICATE, KEY = CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key"


def context_of(**changes: Any) -> ssl.SSLContext:
    """A client's context that trusts one certificate, and presents it."""
    context = ssl.create_default_context(cafile=CERTIFICATE)
    context.load_cert_chain(CERTIFICATE, KEY)
    for name, value in changes.items():
        setattr(context, name, value)
    return context


def presented(client: ssl.SSLContext) -> bytes | None:
    """Do a handshake in memory; return the certificate that the server gets."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(CERTIFICATE, KEY)
    server.load_verify_locations(CERTIFICATE)
    server.verify_mode = ssl.CERT_OPTIONAL
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
            if end.server_side:
                return end.getpeercert(binary_form=True)
    raise AssertionError


def test_no_certificate_is_presented() -> None:
    context = context_of()
    assert presented(context) is not None
    assert presented(without_certificate(context)) is None
    # The one that was given is as it was.
    assert presented(context) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"check_hostname": False},
        {"check_hostname": False, "verify_mode": ssl.CERT_NONE},
        {"check_hostname": False, "verify_mode": ssl.CERT_OPTIONAL},
        {"minimum_version": ssl.TLSVersion.TLSv1_3},
        {"maximum_version": ssl.TLSVersion.TLSv1_2},
        {"verify_flags": ssl.VerifyFlags.VERIFY_X509_STRICT},
        {"options": ssl.OP_NO_TICKET | ssl.OP_ALL},
    ],
)
def test_it_verifies_as_the_given_one(changes: dict[str, Any]) -> None:
    context = context_of(**changes)
    other = without_certificate(context)
    for name in (
        "protocol", "check_hostname", "verify_mode", "verify_flags", "minimum_version", "maximum_version",
        "options", "security_level", "hostname_checks_common_name",
    ):  # fmt: skip
        assert getattr(other, name) == getattr(context, name)
    assert other.get_ca_certs() == context.get_ca_certs() != []


def test_ciphers() -> None:
    context = context_of()
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:@SECLEVEL=1")
    other = without_certificate(context)
    assert other.security_level == context.security_level == 1
    assert [each["name"] for each in other.get_ciphers()] == [each["name"] for each in context.get_ciphers()]


class Subclass(ssl.SSLContext):
    pass


def test_subclass() -> None:
    context = Subclass(ssl.PROTOCOL_TLS_CLIENT)
    assert type(without_certificate(context)) is Subclass


def test_certificates_of_the_system_are_trusted_if_no_others_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL adds certificates from a directory to a context when a handshake needs them."""
    untouched, own, used = (ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) for _ in range(3))
    own.load_verify_locations(CERTIFICATE)
    for context in (untouched, own, used):
        note_trust(context)
    used.load_verify_locations(CERTIFICATE)
    note_trust(used)
    loaded: list[ssl.SSLContext] = []
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda context: loaded.append(context))
    assert [without_certificate(context) for context in (untouched, own, used)][::2] == loaded


def test_what_is_remembered_of_a_context_does_not_keep_it() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    note_trust(context)
    gone: list[int] = []
    weakref.finalize(context, gone.append, 1)
    del context
    gc.collect()
    assert gone == [1]
    for nothing in (None, True, object()):
        note_trust(nothing)


@pytest.mark.parametrize("other", ["wss://b.example/", "wss://a.example:444/"])
def test_redirects(other: str) -> None:
    context = context_of()
    connecting = Connecting(Target("wss://a.example/", {"ssl": context}), clock=Clock(), environment={})
    assert connecting.ssl is context

    def follow(location: str) -> None:
        connecting.follow(InvalidStatusCode(302, Response(302, Headers(Location=location))))

    follow("/same")
    assert connecting.ssl is context
    follow(other)
    assert presented(connecting.ssl) is None
    # Not even at home again: what asks now may be the other origin.
    follow("wss://a.example/")
    assert presented(connecting.ssl) is None
    default = Connecting(Target("wss://a.example/", {"ssl": True}), clock=Clock(), environment={})
    connecting = default
    follow(other)
    assert connecting.ssl is True
