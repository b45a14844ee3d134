"""Redirects of the opening handshake: any values of ``Location``, one redirect after the other.

- A redirect is followed, or refused with a documented exception.
- None leads from ``wss:`` to ``ws:``, none is more than the limit, and none leaves an address that an option
  fixes.
- Another origin gets neither the user information nor the headers for the first one, nor does the first one
  when a redirect leads back.
"""

from __future__ import annotations

from typing import Any

from fuzz.peer import parse_head
from fuzz.source import Source
from wsproto_core import ClientProtocol, Headers, InvalidHandshake, Response
from wsproto_core.connect.redirects import Redirects, same_origin
from wsproto_core.exceptions import InvalidStatusCode
from wsproto_core.http.uri import parse_uri

BASES = (
    "ws://user:Zs3cr3tZ@example.com/a/b?c",
    "wss://user:Zs3cr3tZ@example.com/a/b",
    "ws://example.com:8080/",
    "wss://[2001:db8::1]/x/y/",
)
LIMITS = (10, 0, 1, 2, None)
FIXED = (None, "host", "port", "path", "sock")
STATUSES = (302, 301, 303, 307, 308, 300, 304, 200, 101, 404)

OPTIONS: dict[str, Any] = {
    "extra_headers": {"Authorization": "Zs3cr3tZ", "Cookie": "Zs3cr3tZ", "X-Kept": "1"},
    "server_hostname": "Zs3cr3tZ",
}


def fuzz(data: bytes) -> None:
    source = Source(data)
    first = parse_uri(source.choice(BASES))
    limit = source.choice(LIMITS)
    fixed = source.choice(FIXED)
    redirects = Redirects(first, limit, fixed=fixed)
    left = False
    for line in source.rest().split(b"\n"):
        answer = Source(line)
        status = answer.choice(STATUSES)
        values = answer.rest().decode("ascii", "surrogateescape").split("\t")
        response = Response(status, Headers([("Location", value) for value in values]))
        before, count = redirects.uri, redirects.count
        error = InvalidStatusCode(status, response, str(before))
        try:
            redirects.follow(error)
        except InvalidHandshake as refused:
            shown = f"{refused} {refused!r}"
            assert "Zs3cr3tZ" not in shown
            assert (redirects.uri, redirects.count) == (before, count)
            return
        uri = redirects.uri
        left = left or not same_origin(before, uri)
        assert status in STATUSES[:5]
        assert len(values) == 1
        assert uri.secure or not before.secure
        assert redirects.count == count + 1
        assert limit is None or redirects.count <= limit
        assert fixed is None or (fixed != "sock" and same_origin(first, uri))
        assert redirects.left_origin is left
        assert uri.user_info == (None if left else first.user_info)
        check_request(redirects)


def check_request(redirects: Redirects) -> None:
    """Check the request that a client sends to the new place."""
    options = dict(redirects.options(OPTIONS))
    assert ("server_hostname" in options) is not redirects.left_origin
    extra = options["extra_headers"]
    client = ClientProtocol(redirects.uri, clock=lambda: 0.0, random=bytes, extra_headers=extra)
    data = b"".join(client.data_to_send())
    head = parse_head(data)
    assert head.start == f"GET {redirects.uri.resource_name} HTTP/1.1"
    assert head.values("x-kept") == ["1"]
    if redirects.left_origin:
        assert head.values("authorization") == head.values("cookie") == []
        assert b"Zs3cr3tZ" not in data.replace(redirects.uri.resource_name.encode(), b"")
