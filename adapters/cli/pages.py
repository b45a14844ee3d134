"""A web page on the port of a WebSocket server, and which pages may connect to the server.

A browser lets every page connect to every server, and says in the header ``Origin`` which page it is.
Programs send no origin.
"""

from __future__ import annotations

from collections.abc import Collection
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from wsproto_core.http import Headers, Response, make_response

__all__ = ["CONSOLE", "LOCAL_NAMES", "Site"]

CONSOLE = Path(__file__).with_name("console.html")
"""The page of an echo and of a broadcast."""

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


class Site(NamedTuple):
    """What is served besides WebSocket.

    Attributes:
        page: the file of the page at ``/``, in HTML.
        local: whether the server is for this computer alone. Then a page that was reached by another name
            may not connect: whoever owns that name has made it lead here.
        origins: origins of other pages that may connect.
        open_to_all: whether all pages may connect.
    """

    page: Path
    local: bool
    origins: Collection[str] = ()
    open_to_all: bool = False

    def process_request(self, path: str, headers: Headers) -> Response | None:
        """Answer what is not WebSocket with HTTP: the page, or that there is none."""
        if any("websocket" in value.lower() for value in headers.get_all("Upgrade")):
            if self._may_connect(headers):
                return None
            return make_response(HTTPStatus.FORBIDDEN, body="The page's origin is not accepted.\n")
        if path.partition("?")[0] != "/":
            return make_response(HTTPStatus.NOT_FOUND, body="There is only one page here: /\n")
        page_headers = {
            "Content-Type": "text/html; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": (
                "default-src 'none'; connect-src 'self'; img-src data:; "
                "script-src 'unsafe-inline'; style-src 'unsafe-inline'"
            ),
        }
        return make_response(HTTPStatus.OK, page_headers, self.page.read_bytes())

    def _may_connect(self, headers: Headers) -> bool:
        hosts = headers.get_all("Host")
        return all(self._is_accepted(origin, hosts) for origin in headers.get_all("Origin"))

    def _is_accepted(self, origin: str, hosts: list[str]) -> bool:
        if self.open_to_all or origin in self.origins:
            return True
        # The origin of this server's page: the host in the page's address is the one in the request.
        host = origin.partition("://")[2]
        name = host.rpartition(":")[0] or host
        return hosts == [host] and (not self.local or name in LOCAL_NAMES)
