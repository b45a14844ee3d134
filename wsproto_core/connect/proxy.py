"""Proxies: the choice of a proxy for a URI, and the CONNECT request to an HTTP proxy.

The environment variables are an argument: this module reads none. They are those that other programs
use, in the order of preference of RFC 6455.

A client asks an HTTP proxy by CONNECT to open a tunnel (RFC 9110 section 9.3.6), for ``ws:`` and
``wss:`` alike (RFC 6455 section 4.1). :class:`Tunnel` is that exchange without I/O. With the scheme
``https``, the stream to the proxy itself is TLS. The SOCKS protocol is not in this module.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..exceptions import InvalidMessage, InvalidProxy, InvalidProxyMessage, InvalidProxyStatus, SecurityError
from ..http import Headers, Request
from ..http.grammar import build_authorization_basic
from ..http.reading import ResponseReader
from ..http.syntax import split_reference
from ..http.uri import FORBIDDEN, WebSocketURI, host_in_uri, parse_authority, without_zone
from ..limits import DEFAULT_HEAD_LIMITS, HeadLimits
from ..types import BytesLike

__all__ = ["Proxy", "Tunnel", "bypasses_proxy", "choose_proxy", "parse_proxy", "proxy_from_environment"]

_DEFAULT_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}

# "Implementations that do not expose explicit UI for selecting a proxy for WebSocket connections separate
# from other proxies are encouraged to use a SOCKS5 proxy for WebSocket connections, if available, or failing
# that, to prefer the proxy configured for HTTPS connections over the proxy configured for HTTP connections."
# (RFC 6455 section 4.1) The one for HTTP is no choice for TLS: it was not meant for that.
_VARIABLES = {
    False: ("ws_proxy", "socks_proxy", "https_proxy", "http_proxy", "all_proxy"),
    True: ("wss_proxy", "socks_proxy", "https_proxy", "all_proxy"),
}

_SEPARATORS = re.compile(r"[,\s]+")

# RFC 1929 section 2
_MAX_SOCKS_TEXT = 255


@dataclass(frozen=True)
class Proxy:
    """A proxy. Its ``str`` is its URL without user information; its ``repr`` has none either.

    Attributes:
        scheme: ``http``, ``https`` (TLS to the proxy), ``socks4``, ``socks4a``, ``socks5`` or
            ``socks5h``; with ``a`` and ``h``, the proxy looks up host names.
        host: lower-case host name, in the ASCII form of IDNA, or IP address, without brackets.
        port: TCP port.
        user_info: ``(username, password)``; ``None`` without credentials.
        variable: the environment variable that names the proxy; ``None`` if the application did.
    """

    scheme: str
    host: str
    port: int
    user_info: tuple[str, str] | None = field(default=None, repr=False)
    variable: str | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        host = host_in_uri(self.host)
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS, not HTTP."""
        return self.scheme.startswith("socks")


def parse_proxy(url: str, default_scheme: str = "http") -> Proxy:
    """Parse the URL of a proxy: ``[scheme://][username[:password]@]host[:port]``.

    The default ports are 80 for ``http``, 443 for ``https`` and 1080 for SOCKS. User information is
    percent-decoded.

    Args:
        url: the URL.
        default_scheme: the scheme of a URL without scheme.

    Raises:
        InvalidProxy: it is not valid; also a ``ValueError``. It does not show user information.
    """
    forbidden = FORBIDDEN.search(url)
    if forbidden is not None:
        raise InvalidProxy(url, f"expected no space or control character, got {forbidden.group()!r}")
    scheme, location, *rest = split_reference(url)
    if scheme is None or location is None:
        # What looks like a scheme or a path is the authority.
        _, location, *rest = split_reference(f"//{url}")
        scheme = default_scheme
    scheme = scheme.lower()
    if scheme not in _DEFAULT_PORTS:
        raise InvalidProxy(url, f"expected one of the schemes {', '.join(_DEFAULT_PORTS)}, got {scheme!r}")
    if rest not in (["", None, None], ["/", None, None]):
        raise InvalidProxy(
            url, "expected nothing after the host and port; '/', '?', '#' must be percent-encoded before '@'"
        )
    try:
        authority = parse_authority(location or "")
    except ValueError as error:
        raise InvalidProxy(url, str(error)) from error.__cause__
    user_info = None
    if authority.user_info is not None:
        user_info = authority.user_info[0], authority.user_info[1] or ""
        if scheme.startswith("socks"):
            _check_socks_user_info(url, user_info)
    return Proxy(scheme, authority.host, authority.port or _DEFAULT_PORTS[scheme], user_info)


def _check_socks_user_info(url: str, user_info: tuple[str, str]) -> None:
    # That it is ASCII is python-socks' rule: RFC 1929 does not say what the bytes mean.
    if any(len(text) > _MAX_SOCKS_TEXT or not text.isascii() for text in user_info):
        raise InvalidProxy(
            url,
            f"for SOCKS, expected a username and a password of at most {_MAX_SOCKS_TEXT} ASCII characters",
        )


def choose_proxy(
    proxy: bool | str | Proxy | None,
    uri: WebSocketURI,
    environment: Mapping[str, str],
    *,
    fixed: str | None = None,
) -> Proxy | None:
    """Return the proxy to connect through, or ``None`` to connect directly.

    Args:
        proxy: the option: ``True`` for the proxy of the environment, a proxy or its URL, ``None``.
        uri: the URI to connect to, with the options ``host`` and ``port`` in the place of its own.
        environment: the environment variables.
        fixed: the name of the option by which the application gives the stream itself (``sock``,
            ``path`` for a Unix socket); ``None`` if it does not. Such a stream has no proxy.

    Raises:
        InvalidProxy: a URL is not valid.
        TypeError: ``proxy`` has another type.
        ValueError: a proxy and the stream are both given.
    """
    if proxy is None:
        return None
    if proxy is not True and not isinstance(proxy, str | Proxy):
        raise TypeError(f"proxy must be True, a URL or None, not {proxy!r}")
    if fixed is not None:
        if proxy is not True:
            raise ValueError(f"proxy must not be given together with {fixed}")
        return None
    if proxy is True:
        return proxy_from_environment(uri, environment)
    return parse_proxy(proxy) if isinstance(proxy, str) else proxy


def proxy_from_environment(uri: WebSocketURI, environment: Mapping[str, str]) -> Proxy | None:
    """Return the proxy of the environment variables for a URI, or ``None``.

    For ``wss:`` the first of ``wss_proxy``, ``socks_proxy``, ``https_proxy`` and ``all_proxy``
    that is set and not empty; for ``ws:`` the first of ``ws_proxy``, ``socks_proxy``,
    ``https_proxy``, ``http_proxy`` and ``all_proxy``. Each may be in capitals as well; in small
    letters it takes precedence. ``no_proxy`` lists exceptions, see :func:`bypasses_proxy`.

    A URL without scheme is one of ``http``, in ``socks_proxy`` one of ``socks5h``.

    Raises:
        InvalidProxy: the variable has no valid URL.
    """
    # A copy: Windows would find a name in any case, and that matters.
    variables = dict(environment)
    if "REQUEST_METHOD" in variables:
        # In a CGI program, it is the Proxy header of a request from anybody.
        variables.pop("HTTP_PROXY", None)

    def value_of(name: str) -> tuple[str, str]:
        variable = name if name in variables else name.upper()
        return variable, variables.get(variable, "").strip()

    if bypasses_proxy(value_of("no_proxy")[1], uri.host, uri.port):
        return None
    for name in _VARIABLES[uri.secure]:
        variable, url = value_of(name)
        if url:
            try:
                proxy = parse_proxy(url, "socks5h" if name == "socks_proxy" else "http")
                return replace(proxy, variable=variable)
            except InvalidProxy as error:
                error.add_note(f"It is in the environment variable {name}, or {name.upper()}.")
                raise
    return None


def bypasses_proxy(no_proxy: str, host: str, port: int) -> bool:
    """Return whether ``no_proxy`` names a host and port, to which a client then connects directly.

    ``no_proxy`` is a list, with commas or spaces, of:

    - ``*``, for everything;
    - a host name, for this name and all names below it, with or without ``.`` or ``*.`` in front;
    - an IP address, for this address alone; an IPv6 address may be in brackets;
    - a network, ``192.0.2.0/24``.

    A host name or an address may be followed by ``:port`` (an IPv6 address then is in brackets).
    Malformed elements are ignored.

    Args:
        no_proxy: the list.
        host: lower-case host name or IP address, without brackets.
        port: TCP port.
    """
    return any(_matches(entry, host, port) for entry in _SEPARATORS.split(no_proxy))


def _matches(entry: str, host: str, port: int) -> bool:
    address = _ip_address(host)
    if entry == "*":
        return True
    try:
        if "/" in entry:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        if entry.count(":") > 1 and not entry.startswith("["):
            entry = f"[{entry}]"
        allowed = parse_authority(entry.removeprefix("*").removeprefix("."))
    except ValueError:
        return False
    if allowed.user_info is not None or allowed.port not in (None, port):
        return False
    if address is not None:
        return address == _ip_address(allowed.host)
    name = host.rstrip(".")
    allowed_name = allowed.host.rstrip(".")
    return name == allowed_name or name.endswith(f".{allowed_name}")


def _ip_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(without_zone(host))
    except ValueError:
        return None


class Tunnel:
    """A CONNECT request to an HTTP proxy, for a tunnel to a host and port, without I/O.

    The caller sends :attr:`request`, then calls :meth:`receive_data` until :attr:`open` is true. From
    then on the stream leads to that host, and none of the host's bytes has been read. The deadline is
    the caller's.

    Attributes:
        request: the CONNECT request.
        open: whether the proxy has opened the tunnel.
    """

    def __init__(
        self,
        proxy: Proxy,
        uri: WebSocketURI,
        *,
        user_agent_header: str | None = None,
        limits: HeadLimits = DEFAULT_HEAD_LIMITS,
    ) -> None:
        """
        Args:
            proxy: a proxy with the scheme ``http`` or ``https``.
            uri: the URI to connect to, with the options ``host`` and ``port`` in the place of its own.
            user_agent_header: the ``User-Agent`` header to send; ``None`` for none.
            limits: limits on the head of the response.

        Raises:
            ValueError: the request is not valid, or the proxy is a SOCKS proxy.
        """
        if proxy.is_socks:
            raise ValueError(f"expected an HTTP proxy, got {str(proxy)!r}")
        # The port is always there (RFC 9112 section 3.2.3), and Host is the same (RFC 9110 section 7.2).
        target = f"{host_in_uri(without_zone(uri.host))}:{uri.port}"
        headers = Headers(Host=target)
        if user_agent_header is not None:
            headers["User-Agent"] = user_agent_header
        if proxy.user_info is not None:
            headers["Proxy-Authorization"] = build_authorization_basic(*proxy.user_info)
        self.request = Request(target, headers, "CONNECT")
        self.request.serialize()  # raises ValueError if the request is not valid
        self.open = False
        self._reading = ResponseReader(limits, tunnel=True)

    def receive_data(self, data: BytesLike) -> None:
        """Take bytes from the proxy.

        Raises:
            InvalidProxyStatus: the proxy does not open the tunnel.
            InvalidProxyMessage: the response is malformed or exceeds a limit, or bytes follow its head.
                The server at the other end of the tunnel sends nothing before the client does; bytes
                that are received before TLS begins could be an attacker's.
            InvalidState: the tunnel is open.
        """
        try:
            self._reading.receive_data(data)
        except (InvalidMessage, SecurityError) as error:
            raise InvalidProxyMessage(f"from the proxy: {error}") from error
        response = self._reading.head
        if response is None:
            return
        if not 200 <= response.status < 300:
            # The body would only repeat it, and might never end.
            raise InvalidProxyStatus(response.status, response)
        if self._reading.trailing_data:
            raise InvalidProxyMessage("expected nothing from the proxy after the head of its answer")
        self.open = True

    def receive_eof(self) -> None:
        """Take the end of the proxy's stream.

        Raises:
            InvalidProxyMessage: the head of the response is not complete; the cause is an ``EOFError``.
        """
        try:
            self._reading.receive_eof()
        except EOFError as error:
            raise InvalidProxyMessage("the proxy ended the stream before it answered") from error
