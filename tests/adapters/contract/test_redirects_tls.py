"""Redirects on TLS: another origin gets no certificate of the client's."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from tests.adapters.runtimes import Runtime
from tests.adapters.runtimes.base import CERTIFICATES, client_context, server_context

pytestmark = pytest.mark.needs("sockets", "features")

CERTIFICATE = CERTIFICATES / "localhost.pem"


async def test_another_origin_gets_no_certificate_and_the_headers_that_were_given(runtime: Runtime) -> None:
    seen: dict[str, list[Any]] = {"first": [], "second": []}
    client, server = client_context(), server_context()
    client.load_cert_chain(CERTIFICATE, CERTIFICATES / "localhost.key")
    server.load_verify_locations(CERTIFICATE)
    server.verify_mode = ssl.CERT_OPTIONAL

    def making(name: str, where: Any) -> Any:
        class Connection(runtime.ServerConnection):  # type: ignore[name-defined,misc]
            def process_request(self, path: str, request_headers: Any) -> Any:
                assert self.tls is not None
                headers = {each: request_headers.get(each) for each in ("Origin", "X-Key", "Cookie")}
                seen[name].append((path, self.tls.peer_certificate_der is not None, headers))
                location = where(path)
                return None if location is None else (302, {"Location": location}, b"")

        return Connection

    async def tell_path(websocket: Any) -> None:
        await websocket.send(websocket.path)

    def leave(path: str) -> str | None:
        return {"/": "/same", "/same": f"{second_uri}second"}.get(path)

    def come_back(path: str) -> str | None:
        return f"{first_uri}back"

    async with (
        runtime.serving(tell_path, ssl=server, create_protocol=making("first", leave)) as (_, first_uri),
        runtime.serving(tell_path, ssl=server, create_protocol=making("second", come_back)) as (
            _,
            second_uri,
        ),
    ):
        extra = {"X-Key": "1", "COOKIE": "session=1", "Authorization": "Bearer x"}
        options: dict[str, Any] = {"ssl": client, "origin": "https://example.com", "extra_headers": extra}
        async with runtime.connect(first_uri, **options) as websocket:
            assert await websocket.recv() == "/back"
    everything = {"Origin": "https://example.com", "X-Key": "1", "Cookie": "session=1"}
    public = {**everything, "Cookie": None}
    assert seen == {
        "first": [("/", True, everything), ("/same", True, everything), ("/back", False, public)],
        "second": [("/second", False, public)],
    }
