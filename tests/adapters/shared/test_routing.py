"""Routing: from a request to its handler, or to the response that it gets instead."""

from __future__ import annotations

import builtins
import functools
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import Gone, HTTPException
from werkzeug.routing import BaseConverter, Map, RequestRedirect, Rule, Subdomain, Submount

from adapters.shared.routing import Route, Router, make_router
from tests.core.helpers import Clock
from tests.core.helpers import request as opening_request
from wsproto_core import ServerProtocol
from wsproto_core.http import Headers, Request, Response

HOST = "server.example.com"


async def handler(websocket: Any, **arguments: Any) -> None:
    """A handler that takes whatever a rule provides."""


def request(path: str = "/", host: str | Iterable[str] = HOST, method: str = "GET") -> Request:
    hosts = [host] if isinstance(host, str) else host
    return Request(path, Headers(("Host", each) for each in hosts), method)


def rule(string: str, endpoint: Any = handler, **options: Any) -> Rule:
    return Rule(string, endpoint=endpoint, **options)


def route(router: Router, path: str, host: str = HOST, method: str = "GET") -> Route:
    found = router.route(request(path, host, method))
    assert isinstance(found, Route), found
    return found


def refuse(router: Router, path: str, host: str | Iterable[str] = HOST, method: str = "GET") -> Response:
    """What a request is answered with, which must be a complete response."""
    response = router.route(request(path, host, method))
    assert isinstance(response, Response), response
    assert response.headers["Content-Length"] == str(len(response.body))
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Connection"] == "close"
    assert response.body.endswith(b".\n")
    assert response.serialize().startswith(b"HTTP/1.1 %d " % response.status)
    return response


def redirect(router: Router, path: str, host: str = HOST) -> str:
    response = refuse(router, path, host)
    assert response.status == 308
    return response.headers["Location"]


# Converters

CHANNEL = "0b5cd1a3-8c2f-4f0e-9b7f-2a4bb4cfd7d2"


@pytest.mark.parametrize(
    ("string", "path", "arguments"),
    [
        ("/<path:a>/x/<string(length=1):b>/<path:c>/y", "/1/2/x/3/4/5/y", {"a": "1/2", "b": "3", "c": "4/5"}),
        ("/", "/", {}),
        ("/chat", "/chat", {}),
        ("/chat", "/chat?token=a/b%2Fc", {}),
        ("/<name>", "/caf%C3%A9", {"name": "café"}),
        ("/<name>", "/a%20b+c", {"name": "a b+c"}),
        ("/<name>", "/%25zz", {"name": "%zz"}),
        ("/<name>", "/%252F", {"name": "%2F"}),
        ("/<name>", "/%3Cb%3E", {"name": "<b>"}),
        ("/<string(length=2):lang>/x", "/de/x", {"lang": "de"}),
        ("/<any(about, help):page>", "/help", {"page": "help"}),
        ("/<path:path>", "/a/b/c", {"path": "a/b/c"}),
        ("/<path:path>/edit", "/a/b/edit", {"path": "a/b"}),
        ("/<int:n>", "/007", {"n": 7}),
        ("/<int(signed=True):n>", "/-7", {"n": -7}),
        ("/<float:x>", "/1.5", {"x": 1.5}),
        ("/<uuid:channel_id>", f"/{CHANNEL}", {"channel_id": uuid.UUID(CHANNEL)}),
        ("/v<int:major>.<int:minor>/<name>", "/v1.2/x", {"major": 1, "minor": 2, "name": "x"}),
    ],
)
def test_converters(string: str, path: str, arguments: dict[str, Any]) -> None:
    assert route(Router([rule(string)]), path) == Route(string, handler, arguments)


@pytest.mark.parametrize(
    ("string", "path"),
    [
        ("/chat", "/"),
        ("/chat", "/chat/more"),
        ("/chat", "/Chat"),
        ("/<name>", "/a/b"),
        ("/<string(length=2):lang>", "/deu"),
        ("/<any(about, help):page>", "/index"),
        ("/<int:n>", "/-7"),
        ("/<int:n>", "/x"),
        ("/<int(max=9):n>", "/10"),
        ("/<int:n>", "/" + "9" * 5000),
        ("/<float:x>", "/1"),
        ("/<uuid:channel_id>", "/0b5cd1a3"),
    ],
)
def test_converters_that_do_not_match(string: str, path: str) -> None:
    assert refuse(Router([rule(string)]), path).status == 404


def test_converter_of_ones_own() -> None:
    class Hexadecimal(BaseConverter):
        regex = "[0-9a-f]+"

        def to_python(self, value: str) -> int:
            return int(value, 16)

    router = Router(Map([rule("/<hex:n>")], converters={"hex": Hexadecimal}))
    assert route(router, "/ff").arguments == {"n": 255}


def test_most_specific_rule_wins() -> None:
    rules = ["/<name>", "/lobby", "/<int:n>", "/<path:path>"]
    router = Router(map(rule, rules))
    found = [route(router, path).rule for path in ("/lobby", "/12", "/x", "/x/y")]
    assert found == ["/lobby", "/<int:n>", "/<name>", "/<path:path>"]


def test_each_rule_has_its_handler() -> None:
    def first(websocket: Any) -> str:
        return f"first {websocket.name}"

    def second(websocket: Any, n: int) -> str:
        return f"second {websocket.name} {n}"

    class Connection:
        name = "connection"

    rules = [rule("/first", first), rule("/second/<int:n>", second), Rule("/third", redirect_to="/first")]
    router = Router(rules)
    assert router.handlers == [first, second]
    connection: Any = Connection()
    answers = []
    for path in ("/first", "/second/2"):
        connection.route = route(router, path)
        answers.append(router(connection))
    assert answers == ["first connection", "second connection 2"]


def test_defaults_are_arguments() -> None:
    def page(websocket: Any, number: int, lang: str = "en") -> None: ...

    router = Router([rule("/", page, defaults={"number": 1}), rule("/<int:number>", page)])
    assert route(router, "/").arguments == {"number": 1}
    assert route(router, "/2").arguments == {"number": 2}


def test_rule_factories() -> None:
    router = Router([Submount("/v1", [rule("/a"), rule("/b")])])
    assert route(router, "/v1/b").rule == "/v1/b"


def test_rules_are_left_as_they_are() -> None:
    url_map = Map([rule("/a"), rule("/old", redirect_to="/a")])
    before = [vars(each).copy() for each in url_map.iter_rules()]
    router = Router(url_map)
    route(router, "/a")
    assert router.url_map is url_map
    assert [vars(each) for each in url_map.iter_rules()] == before


def test_build_only_rules_do_not_match_and_need_no_handler() -> None:
    router = Router([rule("/a"), rule("/b/<name>", "elsewhere", build_only=True, methods=["POST"])])
    assert refuse(router, "/b/c").status == 404
    assert router.handlers == [handler]


# Methods


def test_head_goes_where_get_goes() -> None:
    router = Router([rule("/a"), rule("/b", methods=["GET"])])
    assert route(router, "/a", method="HEAD").rule == "/a"
    assert route(router, "/b", method="HEAD").rule == "/b"


def test_other_methods() -> None:
    response = refuse(Router([rule("/a", methods=["GET"])]), "/a", method="POST")
    assert response.status == 405
    assert response.headers["Allow"] == "GET, HEAD"


def test_map_shared_with_an_http_application() -> None:
    rules = [rule("/page", "a view"), rule("/chat", websocket=True), rule("/both", "another view")]
    router = Router([*rules, rule("/both", websocket=True)])
    assert route(router, "/chat").handler is handler
    assert route(router, "/both").handler is handler
    assert router.handlers == [handler, handler]
    response = refuse(router, "/page")
    assert response.status == 400
    assert b"not for WebSocket" in response.body


# Redirects


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("host", [HOST, f"{HOST}:8765", "[::1]:8765", "127.0.0.1"])
def test_redirects_on_the_origin_are_relative(scheme: str, host: str) -> None:
    rules = [
        rule("/chat/"),
        rule("/all/", defaults={"page": 1}),
        rule("/all/<int:page>"),
        rule("/new/<name>"),
        Rule("/old/<name>", redirect_to="/new/<name>"),
        Rule("/older/<name>", redirect_to="new/<name>"),
        Rule("/oldest/<int:n>", redirect_to=lambda adapter, n: f"new/{n + 1}?from={n}#x"),
    ]
    router = Router(rules, url_scheme=scheme)
    expected = {
        "/chat": "/chat/",
        "/chat?a=1&b=%20": "/chat/?a=1&b=%20",
        "/all/1": "/all/",
        "/old/x%C3%A9": "/new/x%C3%A9",
        "/older/x": "/new/x",
        "/oldest/1": "/new/2?from=1#x",
        "/new///x": "/new/x",
    }
    assert {path: redirect(router, path, host) for path in expected} == expected


def test_alias() -> None:
    router = Router([rule("/new/<name>"), rule("/alias/<name>", alias=True)])
    assert redirect(router, "/alias/x?a=1") == "/new/x?a=1"


def test_slashes_can_be_left_alone() -> None:
    router = Router(Map([rule("/chat/"), rule("/a/b")], strict_slashes=False, merge_slashes=False))
    assert route(router, "/chat").rule == "/chat/"
    assert refuse(router, "/a//b").status == 404


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("wss://other.example.com/x", "wss://other.example.com/x"),
        ("https://other.example.com", "https://other.example.com/"),
        ("https://server.example.com?x", "https://server.example.com/?x"),
        ("ws://server.example.com?x", "/?x"),
        ("WS://server.example.com/x", "/x"),
        ("http://server.example.com/x", "/x"),
        ("ws://server.example.com//evil.example", "ws://server.example.com//evil.example"),
        ("wss://bücher.example/ü", "wss://xn--bcher-kva.example/%C3%BC"),
        ("/café\r\nSet-Cookie: a=b", "/caf%C3%A9Set-Cookie:%20a=b"),
        ("other:thing", "other:thing"),
    ],
)
def test_redirects_to_what_a_rule_spells_out(target: str, location: str) -> None:
    router = Router([Rule("/old", redirect_to=lambda adapter: target)])
    assert redirect(router, "/old") == location


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_redirects_to_another_host_have_the_scheme(scheme: str) -> None:
    url_map = Map(
        [rule("/", host="a.example", defaults={"n": 1}), rule("/<int:n>", host="b.example")],
        host_matching=True,
    )
    assert redirect(Router(url_map, url_scheme=scheme), "/1", "b.example") == f"{scheme}://a.example/"


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("//evil.example/chat", "/evil.example/chat/"),
        ("///evil.example//chat", "/evil.example/chat/"),
        ("/%5Cevil.example/chat", "/%5Cevil.example/chat/"),
        ("/evil%23x/chat?%0D%0ASet-Cookie:a=b", "/evil%23x/chat/?%0D%0ASet-Cookie:a=b"),
        ('/a/chat?"<b>\\^`{|}#', "/a/chat/?%22%3Cb%3E%5C%5E%60%7B%7C%7D%23"),
        ("/a/chat?\udcff\u00e9", "/a/chat/?%FF%C3%A9"),
        ("/%3Cscript%3E/chat", "/%3Cscript%3E/chat/"),
    ],
)
def test_hostile_paths_stay_on_the_host_and_do_not_show(path: str, location: str) -> None:
    router = Router([rule("/<name>/chat/")])
    response = refuse(router, path)
    assert response.headers["Location"] == location
    for part in (b"evil", b"script", b"<", b"%"):
        assert part not in response.body


@given(path=st.text(st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters=" ")))
def test_any_path_has_an_answer(path: str) -> None:
    router = Router([rule("/"), rule("/<name>/"), rule("/<path:path>/edit/"), rule("/a/<int:n>")])
    answer = router.route(request("/" + path))
    if isinstance(answer, Response):
        assert answer.status in (308, 400, 404)
        answer.serialize()
        location = answer.headers.get("Location", "/")
        assert location.startswith("/")
        assert not location.startswith("//")


# Paths that are not paths


@pytest.mark.parametrize(
    "path",
    [
        "/a%2Fb",
        "/a%2fb",
        "/%2e%2e%2f%2e%2e%2fetc",
        "/a%00",
        "/a%0Ab",
        "/a%7F",
        "/%FF",
        "/%C3",
        "/%ED%A0%80",
        "/%C0%AF",
        "/\udcff",
        "/%",
        "/%zz",
        "/%2",
        "*",
        "",
        "chat",
        "?x",
        # A server takes the absolute form apart before it asks a router.
        "http://server.example.com/x",
        "ftp://server.example.com/x",
    ],
)
def test_malformed_paths(path: str) -> None:
    router = Router([rule("/<path:path>"), rule("/")])
    response = refuse(router, path)
    assert response.status == 400
    assert b"percent-encoding" in response.body


def test_long_paths() -> None:
    router = Router([rule("/<name>"), rule("/a/<path:path>"), rule("/b/<path:path>/c/<path:rest>/d")])
    assert route(router, "/" + "x" * 100_000).arguments == {"name": "x" * 100_000}
    assert route(router, "/a/" + "b/" * 50_000 + "c").arguments == {"path": "b/" * 50_000 + "c"}
    assert refuse(router, "/" + "x/" * 50_000).status == 404


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("http://a.example/x", "/x"),
        ("wss://A.example:8765/x?y", "/x"),
        ("WS://a.example", "/"),
        ("ws://a.example?y", "/"),
    ],
)
def test_absolute_form_takes_the_place_of_host(target: str, expected: str) -> None:
    router = Router(Map([rule("/x", host="a.example"), rule("/", host="a.example")], host_matching=True))
    server = ServerProtocol(clock=Clock())
    server.receive_data(opening_request(f"GET {target} HTTP/1.1", Host="b.example"))
    assert server.request is not None
    found = router.route(server.request)
    assert isinstance(found, Route)
    assert found.rule == expected
    assert refuse(router, "/x", "b.example").status == 404


# Hosts


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        ["a.example", "b.example"],
        [""],
        ["a b"],
        ["a.example/x"],
        ["<b>"],
        ["a.example:x"],
        ["a.example:99999"],
        ["."],
        ["a..b"],
        ["x" * 64],
        ["[::g]"],
    ],
)
def test_malformed_hosts(hosts: list[str]) -> None:
    assert refuse(Router([rule("/")]), "/", hosts).status == 400


def by_host(*hosts: str, **options: Any) -> Router:
    return Router(Map([rule("/", host=host) for host in hosts], host_matching=True), **options)


@pytest.mark.parametrize("host", ["a.example", "A.EXAMPLE", "a.example.", "a.example:80", "a.example:8765"])
def test_host_matching(host: str) -> None:
    router = by_host("a.example", "b.example")
    assert route(router, "/", host)
    assert refuse(router, "/", f"x{host}").status == 404
    assert refuse(router, "/", f"x.{host}").status == 404


def test_host_matching_with_converters() -> None:
    router = by_host("<user>.example.com", "<host>")
    assert route(router, "/", "anna.example.com:8765").arguments == {"user": "anna"}
    assert route(router, "/", "elsewhere:8765").arguments == {"host": "elsewhere"}
    assert route(router, "/", "[2001:DB8::1]:8765").arguments == {"host": "[2001:db8::1]"}


def test_ports_in_rules() -> None:
    url_map = Map(
        [
            rule("/", host="a.example:8001", defaults={"x": 1}),
            rule("/", host="a.example", defaults={"x": 2}),
            rule("/c", host="a.example"),
        ],
        host_matching=True,
        redirect_defaults=False,
    )
    router = Router(url_map)
    assert route(router, "/", "a.example:8001").arguments == {"x": 1}
    assert route(router, "/", "a.example:8002").arguments == {"x": 2}
    assert route(router, "/", "a.example").arguments == {"x": 2}
    assert route(router, "/c", "a.example:8001").rule == "/c"
    assert refuse(router, "/d", "a.example:8001").status == 404


def test_default_port_depends_on_the_scheme() -> None:
    assert refuse(by_host("a.example:443"), "/", "a.example").status == 404
    assert route(by_host("a.example:443"), "/", "a.example:443")
    assert refuse(by_host("a.example:443", url_scheme="wss"), "/", "a.example:443").status == 404
    assert route(by_host("a.example:80", url_scheme="wss"), "/", "a.example:80")


def test_internationalised_hosts() -> None:
    router = by_host("xn--bcher-kva.example", "<lang>.xn--bcher-kva.example")
    assert route(router, "/", "xn--bcher-kva.example")
    assert route(router, "/", "XN--BCHER-KVA.example")
    assert route(router, "/", "de.xn--bcher-kva.example").arguments == {"lang": "de"}


@pytest.mark.parametrize("server_name", ["example.com", "EXAMPLE.com", "example.com:8765"])
def test_subdomains(server_name: str) -> None:
    rules = [rule("/"), rule("/", subdomain="api"), Subdomain("<user>.home", [rule("/")])]
    router = Router(rules, server_name)
    assert route(router, "/", "example.com").arguments == {}
    assert route(router, "/", "api.example.com:8765").arguments == {}
    assert route(router, "/", "Anna.Home.EXAMPLE.com.").arguments == {"user": "anna"}
    assert route(router, "/", "anna.home.example.com").arguments == {"user": "anna"}
    for host in ("anna.example.com", "notexample.com", "example.com.evil.example", "127.0.0.1", "com"):
        assert refuse(router, "/", host).status == 404


def test_host_outside_the_server_name_is_no_subdomain() -> None:
    router = Router([rule("/", subdomain="<user>")], "example.com")
    assert refuse(router, "/", "evil.example").status == 404


def test_internationalised_server_name() -> None:
    router = Router([rule("/", subdomain="<lang>")], "Bücher.example:8765")
    assert router.server_name == "xn--bcher-kva.example:8765"
    assert route(router, "/", "de.xn--bcher-kva.example").arguments == {"lang": "de"}


def test_server_name_and_subdomains_in_redirects() -> None:
    rules = [
        rule("/", subdomain="api", defaults={"n": 1}),
        rule("/<int:n>", subdomain="www"),
        rule("/chat/", subdomain="www"),
    ]
    router = Router(rules, "example.com:8765", "wss")
    assert redirect(router, "/1", "www.example.com:8765") == "wss://api.example.com:8765/"
    assert redirect(router, "/chat", "www.example.com:8765") == "/chat/"


def test_server_name_behind_a_proxy_that_changes_the_host() -> None:
    router = Router([rule("/chat/"), rule("/")], "example.com")
    assert route(router, "/", "127.0.0.1:8000").rule == "/"
    assert redirect(router, "/chat", "127.0.0.1:8000") == "/chat/"


def test_function_that_redirects_has_the_names() -> None:
    seen = []

    def target(adapter: Any) -> str:
        seen.append((adapter.server_name, adapter.url_scheme))
        return "/x"

    for server_name, scheme in ((None, "ws"), ("example.com", "wss")):
        router = Router([Rule("/old", redirect_to=target)], server_name, scheme)
        assert redirect(router, "/old", "a.example:8765") == "/x"
    assert seen == [("a.example:8765", "ws"), ("example.com", "wss")]


def test_default_subdomain() -> None:
    router = Router(Map([rule("/chat/")], default_subdomain="www"))
    assert redirect(router, "/chat", "www.example.com") == "/chat/"
    assert route(router, "/chat/", "www.example.com").rule == "/chat/"


# What goes wrong within rules


@pytest.mark.parametrize(("error", "status"), [(Gone("gone for good"), 410), (HTTPException(), 500)])
def test_http_errors_of_functions_that_redirect(error: Exception, status: int) -> None:
    def target(adapter: Any) -> str:
        raise error

    response = refuse(Router([Rule("/old", redirect_to=target)]), "/old")
    assert response.status == status
    assert b"gone for good" not in response.body


def test_functions_may_raise_other_redirects() -> None:
    class Moved(RequestRedirect):
        code = 301

    def target(adapter: Any) -> str:
        raise Moved("/new")

    response = refuse(Router([Rule("/old", redirect_to=target)]), "/old")
    assert (response.status, response.headers["Location"]) == (301, "/new")


def test_other_errors_are_ours() -> None:
    def target(adapter: Any) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Router([Rule("/old", redirect_to=target)]).route(request("/old"))


# Customizing


def test_subclasses() -> None:
    class Custom(Router):
        def get_host(self, request: Request) -> str:
            return request.headers["X-Forwarded-Host"]

        def not_found(self, request: Request) -> Response:
            return Response(404, body=f"nothing at {len(request.path)}".encode())

        def redirect(self, request: Request, location: str, status: int = 308) -> Response:
            return super().redirect(request, location, 307)

    router = Custom(Map([rule("/a/", host="a.example")], host_matching=True))
    headers = Headers({"Host": "127.0.0.1", "X-Forwarded-Host": "a.example"})
    assert isinstance(router.route(Request("/a/", headers)), Route)
    for path, status in (("/a", 307), ("/b", 404)):
        response = router.route(Request(path, headers))
        assert isinstance(response, Response)
        assert response.status == status


class Context:
    """Stands for a TLS context."""


def test_make_router() -> None:
    context = Context()
    for ssl, scheme, remaining in ((None, "ws", None), (True, "wss", None), (context, "wss", context)):
        router, rest = make_router([rule("/")], "a.example", ssl, None)  # type: ignore[arg-type]
        assert (router.url_scheme, rest) == (scheme, remaining)
        assert router.server_name == "a.example"


def test_make_router_by_a_function() -> None:
    calls = []

    def create(*args: Any) -> Router:
        calls.append(args)
        return Router(*args)

    rules = [rule("/")]
    router, _ = make_router(rules, "a.example", True, create)
    assert isinstance(router, Router)
    assert calls == [(rules, "a.example", "wss")]


@pytest.mark.parametrize(
    ("create", "message"),
    [
        ("Router", "create_router must be callable or None, not 'Router'"),
        (lambda *args: None, "create_router must return a Router, not None"),
    ],
)
def test_make_router_by_what_makes_none(create: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make_router([rule("/")], None, None, create)


# Refusals when a router is made


async def no_arguments(websocket: Any) -> None: ...


async def takes_nothing() -> None: ...


async def needs_more(websocket: Any, channel_id: int, token: str) -> None: ...


async def keyword(websocket: Any, *, channel_id: int) -> None: ...


async def positional(websocket: Any, channel_id: int, /) -> None: ...


async def wrong_place(channel_id: int) -> None: ...


@pytest.mark.parametrize(
    ("endpoint", "parts"),
    [
        (no_arguments, ["provides 'channel_id'", "no_arguments takes (websocket"]),
        (takes_nothing, ["provides 'channel_id'", "takes_nothing takes ()"]),
        (needs_more, ["provides the connection, 'channel_id'", "'token'"]),
        (positional, ["'channel_id'", "positional takes"]),
        (wrong_place, ["provides the connection, 'channel_id'", "multiple values", "'channel_id'"]),
        ("channel", ["must be a function that takes the connection, not 'channel'"]),
        (None, ["must be a function that takes the connection, not None"]),
    ],
)
def test_handlers_that_could_not_be_called(endpoint: Any, parts: list[str]) -> None:
    with pytest.raises(TypeError) as raised:
        Router([rule("/"), rule("/channel/<int:channel_id>", endpoint)])
    message = str(raised.value)
    assert message.startswith("rule '/channel/<int:channel_id>'")
    for part in parts:
        assert part in message


def test_handlers_of_any_kind() -> None:
    class Callable:
        async def __call__(self, websocket: Any, channel_id: int) -> None: ...

        async def method(self, websocket: Any, channel_id: int) -> None: ...

    endpoints: list[Any] = [
        keyword,
        Callable(),
        Callable().method,
        functools.partial(needs_more, token="x"),
        lambda websocket, **arguments: None,
        dict,  # has no signature to look at
    ]
    for endpoint in endpoints:
        router = Router([rule("/<int:channel_id>", endpoint)])
        assert route(router, "/1").handler is endpoint


def test_arguments_of_hosts_and_defaults_are_the_handlers_too() -> None:
    with pytest.raises(TypeError, match="rule '/' provides 'lang', but the handler no_arguments takes"):
        Router(Map([rule("/", no_arguments, host="<lang>.example")], host_matching=True))
    with pytest.raises(TypeError, match="rule '/' provides 'page', but"):
        Router([rule("/", no_arguments, defaults={"page": 1})])


def matching(*rules: Rule) -> Map:
    return Map(rules, host_matching=True)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Router("/"), TypeError, "url_map must be a werkzeug.routing.Map or hold Rules, not '/'"),
        (lambda: Router(None), TypeError, "url_map must be a .* not None"),
        (lambda: Router({"/": handler}), TypeError, "hold Rules, not '/'"),
        (lambda: Router([]), ValueError, "url_map must have rules to match"),
        (lambda: Router([rule("/", build_only=True)]), ValueError, "url_map must have rules to match"),
        (lambda: Router([rule("/")], 8765), TypeError, "server_name must be a str or None, not 8765"),
        (lambda: Router([rule("/")], "a b"), ValueError, "server_name must be a host name, .* not 'a b'"),
        (lambda: Router([rule("/")], "ws://a/"), ValueError, "server_name must be a host name"),
        (lambda: Router([rule("/")], "ü..ü"), ValueError, "server_name must be a host name"),
        (lambda: Router([rule("/")], "a..b"), ValueError, "server_name must be a host name"),
        (lambda: Router([rule("/")], ""), ValueError, "server_name must be a host name"),
        (
            lambda: Router([rule("/")], None, "http"),
            ValueError,
            "url_scheme must be 'ws' or 'wss', not 'http'",
        ),
        (
            lambda: Router(matching(rule("/", host="a")), "a"),
            ValueError,
            "server_name and host_matching=True",
        ),
        (
            lambda: Router(matching(rule("/", host="a", subdomain="b"))),
            ValueError,
            "subdomains and host_matching=True contradict each other",
        ),
        (
            lambda: Router([rule("/", subdomain="a")]),
            ValueError,
            "server_name must be given if rules have sub",
        ),
        (lambda: Router(matching(rule("/x"))), ValueError, "rule '/x' must have a host"),
        (lambda: Router([rule("/x", host="a")]), ValueError, "rule '/x' has the host 'a': that needs a Map"),
        (lambda: Router([rule("/x", methods=["POST"])]), ValueError, r"rule '/x': .* GET.* not \['POST'\]"),
        (
            lambda: Router(matching(rule("/x", host="<Lang>.bücher.Example"))),
            ValueError,
            r"rule '/x': the host .* lower case, as '<...>\.xn--bcher-kva\.example'",
        ),
        (
            lambda: Router([rule("/x", subdomain="API")], "example.com"),
            ValueError,
            "rule '/x': the host 'API' must be in IDNA form and lower case, as 'api'",
        ),
        (
            lambda: Router([rule("/<path:a>/x/<path:b>/y/<path:c>")]),
            ValueError,
            "rule '/<path:a>/x/<path:b>/y/<path:c>' must have at most two converters that match slashes",
        ),
        (
            lambda: Router([Rule("/x/<path:target>", redirect_to="<target>")]),
            ValueError,
            "rule '/x/<path:target>': redirect_to must not begin with a placeholder",
        ),
        (
            lambda: Router([Rule("/x/<int:n>/<m>", redirect_to="/y/<int:n>")]),
            ValueError,
            "rule '/x/<int:n>/<m>': redirect_to has <int:n>, but the rule's values are: <m>, <n>",
        ),
        (lambda: Router([Rule("/x", redirect_to="/<y>")]), ValueError, "has <y>, but .* values are: none"),
    ],
)
def test_refusals(make: Callable[[], Router], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


# Without werkzeug


def test_without_werkzeug(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = builtins.__import__

    def missing(name: str, *args: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "werkzeug":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return genuine(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"pip install 'wsproto-core\[router\]'") as raised:
        Router([])
    assert isinstance(raised.value.__cause__, ModuleNotFoundError)


def test_werkzeug_is_not_imported_before_it_is_used() -> None:
    program = "import sys, adapters.asyncio, adapters.shared.routing; sys.exit('werkzeug' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
