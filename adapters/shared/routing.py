"""Routing: the handler of a request, chosen by werkzeug's rules for its path and its host.

werkzeug matches decoded text and returns URLs. This module decodes the request's path without an ambiguity
that attackers could use, and makes HTTP responses of werkzeug's results. werkzeug is an optional
dependency, imported when a :class:`Router` is made.

Four decisions:

- A path that does not decode to UTF-8, or in which a slash or a control character is encoded, is
  refused. A decoded ``%2F`` would be a separator for the rules, but not for a reverse proxy, which may
  protect a part of the paths; and handlers expect that the value of one segment has no slash.
- A redirect to the same origin has a relative reference as ``Location`` (RFC 9110 section 10.2.2). It is
  right behind a proxy that terminates TLS or changes ``Host``, and for clients that know only ``http:`` or
  only ``ws:``. A redirect to another origin has the scheme ``ws`` or ``wss``, unless a rule has another
  scheme.
- werkzeug matches rules by regular expressions with backtracking. If a text can be divided between two
  converters in several ways, as in ``/<name>-<version>.zip``, the time grows with the square of the
  path's length, with three converters with its cube. So such a rule is used for paths up to a length
  that limits the steps. Longer paths are matched by a map without this rule.
- Rules are never changed. If no rule of a map has ``websocket=True``, all rules are for WebSocket;
  otherwise the rules that have it, so that an HTTP application may use the same map.
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypedDict, TypeVar
from urllib.parse import quote, unquote_to_bytes

from wsproto_core.checks import check_function, check_text
from wsproto_core.exceptions import InvalidHeader
from wsproto_core.http import Request, Response, make_response
from wsproto_core.http.grammar import build_host, parse_host
from wsproto_core.http.headers import HeadersLike
from wsproto_core.http.syntax import CONTROL_CHARACTER, DEFAULT_PORTS, VISIBLE_ASCII, split_reference
from wsproto_core.options import Option

if TYPE_CHECKING:
    from werkzeug.routing import BaseConverter, Map, MapAdapter, Rule, RuleFactory

__all__ = ["ROUTE_OPTIONS", "Route", "RouteOptions", "Router", "Rules", "make_router", "take_route_options"]

Rules: TypeAlias = "Map | Iterable[RuleFactory]"
"""The rules of a router: a :class:`werkzeug.routing.Map`, or rules from which a map is made."""

_SECURE = {"http": False, "https": True, "ws": False, "wss": True}

_NOT_PERCENT_ENCODED = re.compile(r"%(?![0-9A-Fa-f]{2})")
_PLACEHOLDER = re.compile(r"<[^<>]*>")
# A converter with its arguments and its variable, or the literal text between converters.
_PIECE = re.compile(
    r"<(?:(?P<converter>[a-zA-Z_][a-zA-Z0-9_]*)(?:\(.*?\))?:)?[a-zA-Z_][a-zA-Z0-9_]*>|(?P<literal>[^<]+)"
)
_PORT = re.compile(r":[0-9]+\Z")
# RFC 3986 section 3.4
_QUERY_CHARACTERS = "!$&'()*+,/:;=?@%"

MAX_STEPS = 2**17
"""Maximum number of ways to divide a path between the converters of a rule, which are tried one by one:
it is reached at 512 characters for two converters, at 93 for three."""

T = TypeVar("T")

ROUTE_OPTIONS: dict[str, Option] = {
    "server_name": Option(
        None, "", "The server's name in clients' URIs; None for the host of the request.", check_text
    ),
    "create_router": Option(
        None,
        "",
        "A subclass of Router, or a function that returns a router; None for Router.",
        check_function,
    ),
}
"""The options of ``route`` that ``serve`` does not have; see :func:`make_router`."""


class RouteOptions(TypedDict, total=False):
    """Options of every adapter's ``route``, beside those of ``serve`` but ``ssl``."""

    server_name: str | None
    ssl: ssl.SSLContext | Literal[True] | None
    create_router: Callable[..., Router] | None


class Route(NamedTuple):
    """The result of routing a request.

    Attributes:
        rule: the rule's text, such as ``/channel/<int:channel_id>``; useful for statistics, since
            the number of rules is limited.
        handler: the rule's endpoint.
        arguments: the keyword arguments of the handler, besides the connection: the values of the
            rule's converters, from the host and the path, and the rule's defaults.
    """

    rule: str
    handler: Callable[..., Any]
    arguments: dict[str, Any]


class Router:
    """Finds the handler of a request by its path, and by its host if the rules say so.

    It is given to ``serve`` in the place of a handler. Subclasses may override :meth:`get_host`,
    :meth:`redirect` and :meth:`not_found`.

    Attributes:
        url_map: the :class:`werkzeug.routing.Map`; rules added later are not checked.
        server_name: the server's name, in lower case and IDNA form; ``None`` if none was given.
        url_scheme: ``ws`` or ``wss``.
    """

    def __init__(self, url_map: Rules, server_name: str | None = None, url_scheme: str = "ws") -> None:
        """
        Args:
            url_map: a :class:`werkzeug.routing.Map`, or rules from which a map is made. A rule's
                endpoint is its handler.
            server_name: the server's name in clients' URIs, with its port unless that is the scheme's
                default; rules with a subdomain are for subdomains of this name. ``None`` for the
                request's host.
            url_scheme: ``wss`` if clients use TLS, even if a proxy terminates it; else ``ws``.

        Raises:
            ImportError: werkzeug is not installed.
            TypeError: an argument has the wrong type, or a handler cannot be called with what its
                rule provides; the message names both.
            ValueError: an argument is not allowed, or a rule could never match.
        """
        if url_scheme not in DEFAULT_PORTS:
            raise ValueError(f"url_scheme must be 'ws' or 'wss', not {url_scheme!r}")
        self.url_map = _make_map(url_map)
        self.url_scheme = url_scheme
        self.server_name = None if server_name is None else _parse_server_name(server_name)
        rules = [rule for rule in self.url_map.iter_rules() if not rule.build_only]
        if not rules:
            raise ValueError("url_map must have rules to match: there are none")
        self._websocket = any(rule.websocket for rule in rules)
        self._rules = rules = [rule for rule in rules if bool(rule.websocket) is self._websocket]
        self._by_host = self.url_map.host_matching
        self._by_port = any(_PORT.search(rule.host or "") for rule in rules)
        self._by_subdomain = any(rule.subdomain != self.url_map.default_subdomain for rule in rules)
        if self._by_host and server_name is not None:
            raise ValueError("server_name and host_matching=True contradict each other: rules name the hosts")
        if self._by_host and self._by_subdomain:
            raise ValueError("subdomains and host_matching=True contradict each other: give the rules hosts")
        if self._by_subdomain and server_name is None:
            raise ValueError("server_name must be given if rules have subdomains: they are subdomains of it")
        for rule in rules:
            self._check(rule)
        self._maps = _maps_by_length(self.url_map)

    @property
    def handlers(self) -> list[Callable[..., Any]]:
        """The handlers of all rules for WebSocket."""
        return [rule.endpoint for rule in self._rules if rule.redirect_to is None]

    def __call__(self, connection: Any) -> Any:
        """Call the handler of the connection's route, and return its result."""
        route: Route = connection.route
        return route.handler(connection, **route.arguments)

    def route(self, request: Request) -> Route | Response:
        """Find the rule that matches a request.

        Args:
            request: the request, with its headers and method.

        Returns:
            The route; or a complete response: a redirect (308); status 400 if the path or the host is
            malformed, or the rule is not for WebSocket; 404 if no rule matches; 405 if the rule
            is for other methods.
        """
        from werkzeug.exceptions import BadHost, HTTPException, MethodNotAllowed, NotFound
        from werkzeug.routing import RequestRedirect, WebsocketMismatch

        try:
            path, query = self._parse_target(request)
            adapters = self._bind(self.get_host(request), path)
        except (BadHost, InvalidHeader, ValueError):
            return _refuse(
                400,
                "the path must be UTF-8 in percent-encoding, without encoded slashes and control "
                "characters, and the host a name or an address",
            )
        for adapter in adapters:
            try:
                rule, arguments = adapter.match(
                    path,
                    method=request.method,
                    query_args=query,
                    return_rule=True,
                    websocket=self._websocket,
                )
            except NotFound:
                continue
            except RequestRedirect as error:
                return self.redirect(request, self._refer(adapter, error.new_url), error.code)
            except MethodNotAllowed as error:
                allowed = {"Allow": ", ".join(sorted(error.valid_methods or ()))}
                return _refuse(405, "this path is not for the request's method", allowed)
            except WebsocketMismatch:
                return _refuse(400, "this path is not for WebSocket")
            except HTTPException as error:
                # A converter or a function that redirects has raised it.
                return _refuse(error.code or 500, error.name.lower())
            return Route(rule.rule, rule.endpoint, dict(arguments))
        return self.not_found(request)

    def get_host(self, request: Request) -> str:
        """Return the request's host, with its port: the header ``Host``.

        Override it if a proxy sends the host in another header.

        Raises:
            InvalidHeader, ValueError: there is none, or more than one.
        """
        hosts = request.headers.get_all("Host")
        if len(hosts) != 1:
            raise InvalidHeader("Host")
        return hosts[0]

    def redirect(self, request: Request, location: str, status: int = 308) -> Response:
        """Make the response that redirects a request.

        Args:
            request: the request.
            location: the ``Location`` header.
            status: the HTTP status that werkzeug has chosen.
        """
        return make_response(
            status, {"Location": location}, "This WebSocket endpoint has moved: see the Location header.\n"
        )

    def not_found(self, request: Request) -> Response:
        """Make the response to a request that no rule matches."""
        return _refuse(404, "no route leads to this path on this host")

    def _parse_target(self, request: Request) -> tuple[str, str]:
        """Take the path, decoded, and the query from a request's target."""
        path, _, query = request.path.partition("?")
        if not path.startswith("/"):
            raise ValueError("expected a path that begins with a slash")
        if _NOT_PERCENT_ENCODED.search(path) or "%2f" in path.lower():
            raise ValueError("expected percent-encoding, without slashes")
        decoded = unquote_to_bytes(path).decode("utf-8", "strict")
        if CONTROL_CHARACTER.search(decoded):
            raise ValueError("expected no control characters")
        return decoded, quote(query, safe=_QUERY_CHARACTERS, errors="surrogateescape")

    def _bind(self, host_header: str, path: str) -> list[MapAdapter]:
        """Return the maps, bound to the hosts for which they are searched, in order."""
        name, port = parse_host(host_header.lower())
        # A dot at the end makes a name absolute (RFC 1034 section 3.1).
        name = name.removesuffix(".")
        host = build_host(name, port or DEFAULT_PORTS[self.url_scheme], self.url_scheme == "wss")
        length = max(len(path), len(host))
        url_map = next(url_map for longest, url_map in self._maps if length <= longest)
        bind = functools.partial(url_map.bind, url_scheme=self.url_scheme)
        if self._by_host:
            without_port = _PORT.sub("", host)
            # A rule without a port is for all ports.
            hosts = dict.fromkeys([host, without_port]) if self._by_port else [without_port]
            return [bind(each) for each in hosts]
        if self.server_name is None or not self._by_subdomain:
            return [bind(self.server_name or host)]
        subdomain, separator, rest = f".{name}".rpartition("." + _PORT.sub("", self.server_name))
        if rest or not separator:
            return []
        return [bind(self.server_name, subdomain=subdomain[1:])]

    def _refer(self, adapter: MapAdapter, url: str) -> str:
        """Make a ``Location`` of an absolute URL."""
        scheme, host, *_ = split_reference(url)
        if scheme is not None and host is not None:
            rest = url.partition("://")[2][len(host) :]
            if not rest.startswith("/"):
                rest = "/" + rest
            secure = _SECURE.get(scheme.lower())
            same_origin = host == adapter.get_host(None) and secure is _SECURE[self.url_scheme]
            # Two slashes at the beginning of a reference would be another host.
            relative = same_origin and not rest.startswith("//")
            url = rest if relative else f"{scheme}://{_to_ascii(host)}{rest}"
        return quote(url, safe=VISIBLE_ASCII)

    def _check(self, rule: Rule) -> None:
        """Refuse a rule that can never match, and a handler that cannot be called."""
        where = f"rule {rule.rule!r}"
        if rule.methods is not None and "GET" not in rule.methods:
            raise ValueError(
                f"{where}: methods must include GET, the method of handshakes, not {sorted(rule.methods)}"
            )
        if self._by_host and not rule.host:
            raise ValueError(
                f"{where} must have a host: with host_matching=True it matches nothing otherwise"
            )
        if rule.host and not self._by_host:
            raise ValueError(f"{where} has the host {rule.host!r}: that needs a Map with host_matching=True")
        pieces = [piece for pattern in _patterns(rule.rule, self.url_map) for piece in pattern]
        if sum(not isinstance(piece, str) and not piece.part_isolating for piece in pieces) > 2:
            raise ValueError(
                f"{where} must have at most two converters that match slashes, since the time to match it "
                "grows with the length of the path to the power of their number"
            )
        for name in (rule.host, rule.subdomain):
            labels = _PLACEHOLDER.sub("<>", name or "").split(".")
            usual = [_to_ascii(label).lower() for label in labels]
            if labels != usual:
                raise ValueError(
                    f"{where}: the host {name!r} must be in IDNA form and lower case, "
                    f"as {'.'.join(usual).replace('<>', '<...>')!r}"
                )
        if rule.redirect_to is None:
            _check_handler(where, rule.endpoint, sorted(rule.arguments))
        elif isinstance(rule.redirect_to, str):
            _check_target(where, rule.redirect_to, rule.arguments)


def _maps_by_length(url_map: Map) -> list[tuple[float, Map]]:
    """Return maps, each with the maximum length of its paths, in ascending order.

    The first one is the map itself. The others do not contain the rules that would need too many steps.
    """
    rules = [
        (rule, min(_longest_path(text or "", url_map) for text in (rule.rule, rule.host, rule.subdomain)))
        for rule in url_map.iter_rules()
    ]
    first, *others = sorted({*(longest for _, longest in rules), math.inf})
    return [(first, url_map)] + [
        (length, _copy_map(url_map, [rule for rule, longest in rules if longest >= length]))
        for length in others
    ]


def _copy_map(url_map: Map, rules: Iterable[Rule]) -> Map:
    """Return a map with the same settings as another one, and some of its rules."""
    from werkzeug.routing import Map

    copies = [copy.copy(rule) for rule in rules]
    for rule in copies:
        rule.map = None  # type: ignore[assignment]  # to be bound to the new one
    return Map(
        copies,
        default_subdomain=url_map.default_subdomain,
        strict_slashes=url_map.strict_slashes,
        merge_slashes=url_map.merge_slashes,
        redirect_defaults=url_map.redirect_defaults,
        converters=url_map.converters,
        host_matching=url_map.host_matching,
    )


def _longest_path(text: str, url_map: Map) -> float:
    """Return the maximum length of a path for which this rule, or this host, needs at most MAX_STEPS."""
    count = max(_count_undecided(pattern) for pattern in _patterns(text, url_map))
    if count < 2:
        # With one converter, the number of steps is the length of the path.
        return math.inf
    length = count
    while math.comb(length + 1, count) <= MAX_STEPS:
        length += 1
    return length


def _patterns(text: str, url_map: Map) -> list[list[str | type[BaseConverter]]]:
    """Divide a rule into the parts of which werkzeug makes one regular expression each.

    These are its segments; the last part begins with the first converter that matches slashes.
    """
    pattern: list[str | type[BaseConverter]] = []
    patterns = [pattern]
    isolating = True
    for match in _PIECE.finditer(text):
        literal = match["literal"]
        if literal is None:
            converter = url_map.converters[match["converter"] or "default"]
            isolating = isolating and converter.part_isolating
            pattern.append(converter)
        elif isolating:
            end, *segments = literal.split("/")
            pattern += [end] if end else []
            for segment in segments:
                pattern = [segment] if segment else []
                patterns.append(pattern)
        else:
            pattern.append(literal)
    return patterns


def _count_undecided(pattern: list[str | type[BaseConverter]]) -> int:
    """Count the converters whose values can begin or end at several places, which are all tried."""
    from werkzeug.routing import PathConverter, UnicodeConverter

    isolating = all(isinstance(piece, str) or piece.part_isolating for piece in pattern)
    count = 0
    for index, piece in enumerate(pattern):
        if isinstance(piece, str):
            continue
        before, after = pattern[:index], pattern[index + 1 :]
        takes_the_rest = not after and (piece is PathConverter or (piece is UnicodeConverter and isolating))
        begins_once = not before or _ends_at(piece, before[-1], -1)
        ends_once = piece is not PathConverter and (not after or _ends_at(piece, after[0], 0))
        count += not (takes_the_rest or (begins_once and ends_once))
    return count


def _ends_at(converter: type[BaseConverter], neighbour: str | type[BaseConverter], character: int) -> bool:
    """Return whether a converter's value cannot extend into the neighbouring piece.

    Converters of an application may have any regular expression.
    """
    from werkzeug.routing import (
        AnyConverter,
        FloatConverter,
        IntegerConverter,
        UnicodeConverter,
        UUIDConverter,
    )

    if converter in (AnyConverter, UUIDConverter):
        # There are only a few values, or all values have the same length.
        return True
    if not isinstance(neighbour, str):
        return False
    if converter is UnicodeConverter:
        return neighbour[character] == "/"
    return converter in (IntegerConverter, FloatConverter) and not neighbour[character].isdigit()


def make_router(
    url_map: Rules,
    server_name: str | None,
    ssl: T | Literal[True] | None,
    create_router: Callable[..., Router] | None,
) -> tuple[Router, T | None]:
    """Make the router that ``route`` gives to ``serve`` in the place of a handler.

    Handlers are called with the connection, and with the values of their rule as keyword arguments. A
    request that matches no rule is answered with HTTP status 404; a request for which a rule has
    another URL, with a redirect. ``process_request`` is called first, and may answer the request.

    Args:
        url_map: a :class:`werkzeug.routing.Map`, or rules from which a map is made; the endpoints are
            the handlers.
        server_name: the server's name in clients' URIs, with its port unless that is the scheme's
            default; rules with a subdomain are for subdomains of this name. ``None`` for the
            request's host.
        ssl: a context for TLS; ``True`` if a reverse proxy terminates TLS.
        create_router: a subclass of :class:`Router`, or a function that takes its arguments
            ``url_map``, ``server_name`` and ``url_scheme``, and returns a router; ``None`` for
            :class:`Router`.

    Returns:
        The router, and the context for ``serve``.

    Raises:
        ImportError, TypeError, ValueError: see :class:`Router`.
    """
    if create_router is not None and not callable(create_router):
        raise TypeError(f"create_router must be callable or None, not {create_router!r}")
    router = (create_router or Router)(url_map, server_name, "wss" if ssl else "ws")
    if not isinstance(router, Router):
        raise TypeError(f"create_router must return a Router, not {router!r}")
    return router, None if ssl is True else ssl


def take_route_options(url_map: Rules, options: Mapping[str, Any]) -> tuple[Router, dict[str, Any]]:
    """Make the router by the options of ``route``.

    Args:
        url_map: see :func:`make_router`.
        options: the options of ``route``.

    Returns:
        The router, and the options of ``serve``.

    Raises:
        ImportError, TypeError, ValueError: see :func:`make_router`.
    """
    others = dict(options)
    own = [others.pop(name, None) for name in ("server_name", "ssl", "create_router")]
    router, context = make_router(url_map, *own)
    return router, {"ssl": context, **others}


def _make_map(url_map: Any) -> Map:
    try:
        from werkzeug.routing import Map, RuleFactory
    except ImportError as error:
        raise ImportError(
            "routing needs werkzeug: pip install 'wsproto-core[router]', "
            "or in a checkout: pip install '.[router]'"
        ) from error

    if isinstance(url_map, Map):
        return url_map
    rules = list(url_map) if isinstance(url_map, Iterable) else [url_map]
    for rule in rules:
        if not isinstance(rule, RuleFactory):
            raise TypeError(f"url_map must be a werkzeug.routing.Map or hold Rules, not {rule!r}")
    return Map(rules)


def _parse_server_name(server_name: str) -> str:
    if not isinstance(server_name, str):
        raise TypeError(f"server_name must be a str or None, not {server_name!r}")
    try:
        name = _to_ascii(server_name).lower()
        parse_host(name)
    except (UnicodeError, InvalidHeader) as error:
        raise ValueError(
            f"server_name must be a host name, with a port or without, not {server_name!r}"
        ) from error
    return name


def _check_target(where: str, target: str, arguments: Iterable[str]) -> None:
    """Refuse a redirect to a host that the client chooses, or with an unknown placeholder."""
    if target.startswith("<"):
        raise ValueError(
            f"{where}: redirect_to must not begin with a placeholder, as {target!r} does: a client could "
            "choose another host; begin with a slash"
        )
    for placeholder in _PLACEHOLDER.findall(target):
        if placeholder[1:-1] not in arguments:
            names = ", ".join(f"<{name}>" for name in sorted(arguments)) or "none"
            raise ValueError(f"{where}: redirect_to has {placeholder}, but the rule's values are: {names}")


def _check_handler(where: str, handler: object, arguments: list[str]) -> None:
    """Refuse a handler that cannot be called with the connection and the values of its rule."""
    if not callable(handler):
        raise TypeError(
            f"{where}: the endpoint must be a function that takes the connection, not {handler!r}"
        )
    try:
        signature = inspect.signature(handler)
    except ValueError:  # built-in callables may have none
        return
    takes = f"the handler {getattr(handler, '__qualname__', handler)} takes {signature}"
    for name in arguments:
        try:
            signature.bind_partial(**{name: None})
        except TypeError:
            raise TypeError(f"{where} provides {name!r}, but {takes}") from None
    try:
        signature.bind(None, **dict.fromkeys(arguments))
    except TypeError as error:
        provided = ", ".join(["the connection", *map(repr, arguments)])
        raise TypeError(f"{where} provides {provided}, but {takes}: {error}") from None


def _to_ascii(host: str) -> str:
    """Return the form that a host name has on the wire (RFC 5890); a port may follow it."""
    # A port is no part of the last label, whose length is limited.
    name, colon, port = host.partition(":")
    return name.encode("idna").decode("ascii") + colon + port


def _refuse(status: int, reason: str, headers: HeadersLike = ()) -> Response:
    return make_response(status, headers, f"Failed to open a WebSocket connection: {reason}.\n")
