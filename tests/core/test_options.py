"""Every option: its declaration, its default, its validation."""

from __future__ import annotations

import logging
import math
import re
from typing import Any

import pytest

from adapters.shared.options import (
    OPTIONS,
    ConnectOptions,
    ConnectSettings,
    ServeOptions,
    ServeSettings,
    connection_options,
    split_options,
)
from wsproto_core import ClientProtocol, Headers, Protocol, ServerProtocol, Side
from wsproto_core.connect.proxy import Proxy
from wsproto_core.limits import HeadLimits, MessageLimits, Watermarks, message_limits, watermarks
from wsproto_core.options import (
    _OTHER_NAMES,
    USER_AGENT,
    ClientOptions,
    ClientSettings,
    CommonOptions,
    CommonSettings,
    ServerOptions,
    ServerSettings,
    parsed_defaults,
    resolve,
    unknown_option,
)
from wsproto_core.options import OPTIONS as CORE_OPTIONS
from wsproto_core.version import VERSION

from .helpers import URI, Clock
from .sample_extensions import ClientFactory, ServerFactory, Xor

DEFAULTS = {
    "open_timeout": 10,
    "close_timeout": 10,
    "ping_interval": 20,
    "ping_timeout": 20,
    "max_size": 2**20,
    "max_queue": 32,
    "read_limit": 2**16,
    "write_limit": 2**16,
    "max_fragments": 16_384,
    "max_pings": 1024,
    "max_headers": 128,
    "max_header_line": 8 * 1024,
    "max_header_bytes": 32 * 1024,
    "compression": "deflate",
    "subprotocols": None,
    "logger": None,
    "origin": None,
    "origins": None,
    "extensions": None,
    "extra_headers": None,
    "process_response": None,
    "select_subprotocol": None,
    "user_agent_header": USER_AGENT,
    "server_header": USER_AGENT,
    "create_protocol": None,
    "host": None,
    "port": None,
    "proxy": True,
    "max_redirects": 10,
    "reconnect_delays": None,
    "reconnect_fatal": None,
    "process_request": None,
    "max_connections": None,
}

ON_BOTH_SIDES = {
    "open_timeout",
    "close_timeout",
    "ping_interval",
    "ping_timeout",
    "max_size",
    "max_queue",
    "read_limit",
    "write_limit",
    "max_fragments",
    "max_pings",
    "max_headers",
    "max_header_line",
    "max_header_bytes",
    "compression",
    "subprotocols",
    "logger",
}


def check(name: str, value: Any) -> None:
    OPTIONS[name].check(name, value)


# Declarations


def test_every_option_is_declared_twice_with_the_same_name() -> None:
    declared = {**ConnectOptions.__annotations__, **ServeOptions.__annotations__}
    assert set(declared) == set(OPTIONS)
    assert set(CORE_OPTIONS) == {**ClientOptions.__annotations__, **ServerOptions.__annotations__}.keys()
    for names in (CommonOptions, ClientOptions, ServerOptions, ConnectOptions, ServeOptions):
        assert not names.__total__
        assert set(names.__annotations__) <= set(OPTIONS)


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        (CommonSettings, CommonOptions),
        (ClientSettings, ClientOptions),
        (ServerSettings, ServerOptions),
        (ConnectSettings, ConnectOptions),
        (ServeSettings, ServeOptions),
    ],
)
def test_every_option_has_an_attribute(settings: type[CommonSettings], options: Any) -> None:
    assert parsed_defaults(settings).keys() == options.__annotations__.keys()


def test_which_side_has_which_option() -> None:
    assert {*CommonOptions.__annotations__, "logger"} == ON_BOTH_SIDES
    client, server = set(ClientOptions.__annotations__), set(ServerOptions.__annotations__)
    assert client - ON_BOTH_SIDES == {"origin", "extensions", "extra_headers", "user_agent_header"}
    assert server - ON_BOTH_SIDES == {
        "origins",
        "extensions",
        "extra_headers",
        "process_response",
        "select_subprotocol",
        "server_header",
    }


def test_the_defaults() -> None:
    assert {name: option.default for name, option in OPTIONS.items()} == DEFAULTS


def test_the_defaults_are_valid() -> None:
    for name, option in OPTIONS.items():
        check(name, option.default)


def test_none_is_valid_for_every_option() -> None:
    for name in OPTIONS:
        check(name, None)


def test_documentation() -> None:
    for name, option in OPTIONS.items():
        assert option.documentation.endswith("."), name
        assert option.documentation[0].isupper(), name
        if isinstance(option.default, int) and not isinstance(option.default, bool):
            assert option.unit, name
    assert {option.unit for option in OPTIONS.values()} == {
        "",
        "bytes",
        "connections",
        "fragments",
        "headers",
        "messages",
        "pings",
        "redirects",
        "seconds",
    }


def test_the_user_agent() -> None:
    assert re.fullmatch(rf"wsproto-core/{re.escape(VERSION)} Python/3\.\d+\.\S+", USER_AGENT)


# Resolving


def test_defaults_are_added() -> None:
    given = {"max_size": None, "max_queue": 5}
    settings = resolve(ServerSettings, given)
    assert {name: getattr(settings, name) for name in ServerOptions.__annotations__} == {
        **{name: OPTIONS[name].default for name in ServerOptions.__annotations__},
        "max_size": MessageLimits(None, None),
        "max_queue": Watermarks(5, 2),
        "read_limit": Watermarks(2**16, 2**15),
        "write_limit": Watermarks(2**16, 2**14),
    }
    assert settings.given == {"max_size": None, "max_queue": 5}
    given["max_queue"] = 6
    assert settings.given["max_queue"] == 5


def test_settings_do_not_change() -> None:
    settings = resolve(ServerSettings, {})
    with pytest.raises(AttributeError):
        settings.max_pings = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.given["max_pings"] = 1  # type: ignore[index]


def test_settings_may_take_the_place_of_defaults() -> None:
    settings = resolve(ServerSettings, {"max_pings": 1, "max_headers": 2})
    assert resolve(ServerSettings, {}, settings) is settings
    changed = resolve(ServerSettings, {"max_headers": 3}, settings)
    assert (changed.max_pings, changed.max_headers) == (1, 3)
    assert changed.given == {"max_pings": 1, "max_headers": 3}
    assert settings.max_headers == 2
    with pytest.raises(ValueError, match="max_headers must be at least 1"):
        resolve(ServerSettings, {"max_headers": 0}, settings)


def test_protocols_take_settings() -> None:
    client = ClientProtocol(
        URI, clock=Clock(), settings=resolve(ClientSettings, {"origin": "a"}), max_pings=1
    )
    assert client.request.headers["Origin"] == "a"
    server = ServerProtocol(clock=Clock(), settings=resolve(ServerSettings, {"open_timeout": None}))
    assert server.deadline() is None
    with pytest.raises(ValueError, match="max_pings must be at least 1"):
        Protocol(Side.CLIENT, clock=Clock(), settings=resolve(CommonSettings, {}), max_pings=0)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("max_sice", "unexpected keyword argument 'max_sice'; did you mean 'max_size'?"),
        ("ssl_context", "unexpected keyword argument 'ssl_context'"),
        (
            "additional_headers",
            "unexpected keyword argument 'additional_headers'; did you mean 'extra_headers'?",
        ),
        ("heartbeat", "unexpected keyword argument 'heartbeat'; did you mean 'ping_interval'?"),
        ("timeout", "unexpected keyword argument 'timeout'; did you mean 'open_timeout'?"),
        ("opentimeout", "unexpected keyword argument 'opentimeout'; did you mean 'open_timeout'?"),
        ("headers", "unexpected keyword argument 'headers'; did you mean 'extra_headers'?"),
        ("protocols", "unexpected keyword argument 'protocols'; did you mean 'subprotocols'?"),
        ("max_msg_size", "unexpected keyword argument 'max_msg_size'; did you mean 'max_size'?"),
        ("klass", "unexpected keyword argument 'klass'"),
        ("process_exception", "unexpected keyword argument 'process_exception'"),
        ("origin", "unexpected keyword argument 'origin'; did you mean 'origins'?"),
    ],
)
def test_unknown_options(name: str, message: str) -> None:
    with pytest.raises(TypeError) as raised:
        resolve(ServerSettings, {name: None})
    assert str(raised.value) == message
    assert unknown_option(name, ServerOptions.__annotations__) == message
    with pytest.raises(TypeError, match=re.escape(message)):
        ServerProtocol(clock=Clock(), **{name: None})


def test_options_of_the_other_side() -> None:
    for name in ("origins", "select_subprotocol", "server_header", "process_request", "process_response"):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
            ClientProtocol(URI, clock=Clock(), **{name: None})
    for name in ("origin", "user_agent_header", "host", "port"):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
            ServerProtocol(clock=Clock(), **{name: None})
    for name in ("origins", "origin", "extra_headers"):
        with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
            Protocol(Side.SERVER, clock=Clock(), **{name: None})


def test_options_are_checked_before_anything_is_done() -> None:
    with pytest.raises(ValueError, match="max_queue must be at least 1"):
        ClientProtocol("not even a URI", clock=Clock(), max_queue=0)


def test_options_of_a_runtime() -> None:
    ours, theirs = split_options(ConnectSettings, {"max_size": 1, "ssl": None, "origins": []})
    assert ours == resolve(ConnectSettings, {"max_size": 1})
    assert theirs == {"ssl": None, "origins": []}
    with pytest.raises(ValueError, match="max_size must be at least 1"):
        split_options(ConnectSettings, {"max_size": 0, "ssl": None})


# Validation

SECONDS = ["open_timeout", "close_timeout", "ping_interval", "ping_timeout"]
COUNTS = ["max_fragments", "max_pings", "max_headers", "max_header_line", "max_header_bytes"]
MARKS = ["max_queue", "read_limit", "write_limit"]
FUNCTIONS = ["select_subprotocol", "create_protocol", "process_request", "process_response"]
HEADER_VALUES = ["origin", "user_agent_header", "server_header"]


def test_process_response_is_a_plain_function() -> None:
    async def process_response(path: str, request_headers: Headers, response: object) -> None: ...

    with pytest.raises(
        TypeError, match="process_response must be a plain function, not a coroutine function"
    ):
        check("process_response", process_response)


@pytest.mark.parametrize("name", SECONDS)
def test_seconds(name: str) -> None:
    for value in (0.001, 1, 10**9):
        check(name, value)
    for value in (-1, -0.5, math.inf, -math.inf, math.nan):
        with pytest.raises(ValueError, match=f"{name} must be .*positive number of seconds, or None"):
            check(name, value)
    if name == "close_timeout":
        # It does not wait. Of the others, 0 would be an end before the beginning.
        check(name, 0)
    else:
        with pytest.raises(ValueError, match=f"{name} must be a positive number of seconds, or None"):
            check(name, 0)
    for value in ("1", True, [1], (1, 2)):
        with pytest.raises(TypeError, match=f"{name} must be a number of seconds or None"):
            check(name, value)


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str) -> None:
    for value in (1, 2, 10**12):
        check(name, value)
    for value in (0, -1):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, or None for no limit, not {value}"):
            check(name, value)
    for value in ("1", 1.0, True, (1, 2)):
        with pytest.raises(TypeError, match=f"{name} must be an int or None"):
            check(name, value)


@pytest.mark.parametrize("name", ["max_size", *MARKS])
def test_counts_or_pairs(name: str) -> None:
    for value in (1, 10**12, (2, 1), (2, 0), (None, None), (2, None), (None, 2)):
        check(name, value)
    for value in (0, -1, (-1, 1), (1, -1)):
        with pytest.raises(ValueError, match=f"{name} must be at least [01], or None for no limit"):
            check(name, value)
    for value in ("1", 1.0, True, [2, 1], (2.0, 1), (2, False), ("2", 1)):
        with pytest.raises(TypeError, match=f"{name} must be an int or None"):
            check(name, value)
    for value in ((), (1,), (1, 2, 3)):
        with pytest.raises(ValueError, match=f"{name} must be an int or a pair, not {len(value)} values"):
            check(name, value)


@pytest.mark.parametrize("name", MARKS)
def test_marks(name: str) -> None:
    for value in ((1, 1), (1, 2)):
        with pytest.raises(ValueError, match=f"{name}: the low watermark must be below the high one"):
            check(name, value)
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        check(name, (0, None))


@pytest.mark.parametrize("name", HEADER_VALUES)
def test_header_values(name: str) -> None:
    for value in ("", "value", "a b\tc", "\udcff"):
        check(name, value)
    for value in ("a\r\nb", "a\0", "ü"):
        with pytest.raises(ValueError, match=f"{name} cannot be sent: value of header Name must"):
            check(name, value)
    for value in (1, b"value", ["value"]):
        with pytest.raises(TypeError, match=f"{name} must be a str or None"):
            check(name, value)


@pytest.mark.parametrize(
    "value",
    [
        {},
        (),
        {"A": "b"},
        [("A", "b"), ("A", "c")],
        Headers(A="b"),
        {"A": "b"}.items(),
        lambda path, headers: None,
    ],
)
def test_headers(value: Any) -> None:
    check("extra_headers", value)


@pytest.mark.parametrize("value", [1, {1: "a"}, ["AB", 1], b"A: b", "A: b", iter([("A", "b")])])
def test_headers_of_the_wrong_type(value: Any) -> None:
    with pytest.raises(TypeError, match="extra_headers must be a mapping, pairs or Headers, not"):
        check("extra_headers", value)


@pytest.mark.parametrize("value", [{"A": "b\r\nc"}, {"A b": "c"}, [("A", "b", "c")], {"ü": "a"}])
def test_headers_that_cannot_be_sent(value: Any) -> None:
    with pytest.raises(ValueError, match="extra_headers cannot be sent: "):
        check("extra_headers", value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "extra_headers",
            "A: b",
            "extra_headers must be a mapping, pairs or Headers, not 'A: b': write {'A': 'b'}",
        ),
        ("extra_headers", "A", "extra_headers must be a mapping, pairs or Headers, not 'A': write {'A': ''}"),
        (
            "extra_headers",
            {"A": None},
            "extra_headers: the value of 'A' must be a str, not None; leave the header out",
        ),
        ("extra_headers", [("A", "b"), ("C", 1)], "extra_headers: the value of 'C' must be a str, not 1"),
        ("extra_headers", {"A": b"b"}, "extra_headers: the value of 'A' must be a str, not b'b'"),
        ("subprotocols", "chat", "subprotocols must be a sequence or None, not 'chat': write ['chat']"),
        ("origins", "https://a", "origins must be a sequence or None, not 'https://a': write ['https://a']"),
        ("extensions", 1, "extensions must be a sequence or None, not 1"),
        ("compression", True, "compression must be 'deflate' or None, not True"),
        ("ping_interval", "20", "ping_interval must be a number of seconds or None, not '20'"),
        (
            "open_timeout",
            0,
            "open_timeout must be a positive number of seconds, or None for no deadline, not 0",
        ),
        ("max_size", "1M", "max_size must be an int or None, not '1M'"),
        ("max_size", 0, "max_size must be at least 1, or None for no limit, not 0"),
        ("proxy", False, "proxy must be True, a URL or None, not False"),
        ("logger", "name", "logger must be a logging.Logger, a LoggerAdapter or None, not 'name'"),
        ("port", "80", "port must be an int or None, not '80'"),
    ],
)
def test_texts_of_wrong_values(name: str, value: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as raised:
        check(name, value)
    assert str(raised.value) == message


def test_a_client_takes_no_function_for_headers() -> None:
    """It would have nothing to tell it."""
    with pytest.raises(TypeError):
        ClientProtocol(URI, clock=Clock(), extra_headers=lambda path, headers: {})  # type: ignore[arg-type]


def test_host() -> None:
    check("host", "127.0.0.1")
    with pytest.raises(TypeError, match="host must be a str or None, not 1"):
        check("host", 1)


def test_port() -> None:
    for value in (1, 65535):
        check("port", value)
    for value in (0, 65536):
        with pytest.raises(ValueError, match="port must be from 1 to 65535"):
            check("port", value)
    with pytest.raises(TypeError, match="port must be an int"):
        check("port", "80")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name: str) -> None:
    check(name, print)
    check(name, type)
    with pytest.raises(TypeError, match=f"{name} must be callable or None, not 'print'"):
        check(name, "print")


@pytest.mark.parametrize("name", ["subprotocols", "extensions", "origins"])
def test_sequences(name: str) -> None:
    for value in ([], ()):
        check(name, value)
    for value in ("text", b"bytes", 1, {"a"}, iter([])):
        with pytest.raises(TypeError, match=f"{name} must be a sequence or None"):
            check(name, value)


def test_subprotocols() -> None:
    check("subprotocols", ["chat", "superchat"])
    for value in (["a b"], [""], ["a", "a"], ["ü"]):
        with pytest.raises(ValueError, match="subprotocol"):
            check("subprotocols", value)


def test_extensions() -> None:
    check("extensions", [ClientFactory(Xor)])
    check("extensions", (ServerFactory(Xor),))
    for value in ([Xor], [Xor()], ["x-xor"]):
        with pytest.raises(TypeError, match="extensions must hold extension factories, not"):
            check("extensions", value)


def test_extensions_of_the_other_side() -> None:
    class Both(ClientFactory, ServerFactory):
        pass

    client, server, both = ClientFactory(Xor), ServerFactory(Xor), Both(Xor)
    for declared in (ClientSettings, ConnectSettings):
        assert resolve(declared, {"extensions": [client, both]}).extensions == [client, both]
        with pytest.raises(TypeError, match="extensions of a client must be ClientExtensionFactory objects"):
            resolve(declared, {"extensions": [client, server]})
    for kind in (ServerSettings, ServeSettings):
        assert resolve(kind, {"extensions": [server, both]}).extensions == [server, both]
        with pytest.raises(TypeError, match="extensions of a server must be ServerExtensionFactory objects"):
            resolve(kind, {"extensions": [client]})


def test_origins() -> None:
    check("origins", ["https://example.com", re.compile("https://.*"), None])
    for value in ([b"https://example.com"], [1]):
        with pytest.raises(TypeError, match="origins must hold str, compiled patterns or None, not"):
            check("origins", value)
    # It would match no request, but fail for each.
    pattern = re.compile(b"https://.*")
    with pytest.raises(TypeError, match="origins must hold patterns of str, not of bytes"):
        check("origins", ["https://example.com", pattern])


def test_compression() -> None:
    check("compression", "deflate")
    for value in ("gzip", "", True, ["deflate"]):
        with pytest.raises(ValueError, match="compression must be 'deflate' or None"):
            check("compression", value)


def test_logger() -> None:
    logger = logging.getLogger("test")
    check("logger", logger)
    check("logger", logging.LoggerAdapter(logger, {}))
    with pytest.raises(TypeError, match=r"logger must be a logging\.Logger, a LoggerAdapter or None"):
        check("logger", "test")


def test_names_in_other_libraries_lead_to_options() -> None:
    """Of ours, or of streams."""
    for name, ours in _OTHER_NAMES.items():
        assert set(ours) <= {*OPTIONS, "ssl", "sock", "server_hostname"}
        assert name not in {*OPTIONS, "ssl", "sock", "server_hostname"} - {"origin", "origins"}


# What options mean


def test_limits_of_messages() -> None:
    assert message_limits(5) == (5, None)
    assert message_limits((5, 3)) == (5, 3)
    assert message_limits(None) == (None, None)


def test_options_for_create_protocol() -> None:
    given = {"max_size": 1, "logger": None, "create_protocol": print}
    of_connect = {"host": "a", "port": 1, "proxy": None, "max_redirects": 1}
    reconnect = {"reconnect_delays": [1], "reconnect_fatal": None}
    client = resolve(ConnectSettings, {**given, **of_connect, **reconnect})
    assert connection_options(client) == {"max_size": 1, "logger": None}
    server = resolve(ServeSettings, {**given, "process_request": None, "max_connections": 1})
    expected = {"max_size": 1, "logger": None, "process_request": None, "max_connections": 1}
    assert connection_options(server) == expected


@pytest.mark.parametrize(
    ("value", "divisor", "expected"),
    [
        (32, 2, (32, 16)),
        (32, 4, (32, 8)),
        (1, 2, (1, 0)),
        ((32, 31), 2, (32, 31)),
        ((32, 0), 2, (32, 0)),
        ((32, None), 4, (32, 8)),
        (None, 2, (math.inf, math.inf)),
        ((None, 5), 2, (math.inf, math.inf)),
    ],
)
def test_high_and_low_marks(value: Any, divisor: int, expected: tuple[float, float]) -> None:
    assert watermarks(value, divisor) == Watermarks(*expected)


def test_limits_on_the_handshake() -> None:
    assert resolve(CommonSettings, {}).head_limits == HeadLimits(128, 8192, 32768)
    options = {"max_headers": 1, "max_header_line": None, "max_header_bytes": 3}
    assert resolve(CommonSettings, options).head_limits == HeadLimits(1, None, 3)


def test_proxy() -> None:
    for value in (True, None, "http://proxy:3128", Proxy("http", "proxy", 80)):
        check("proxy", value)
    for wrong in (False, 1, b"http://proxy"):
        with pytest.raises(TypeError, match="proxy must be True, a URL or None"):
            check("proxy", wrong)
    with pytest.raises(ValueError, match="expected one of the schemes"):
        check("proxy", "ftp://proxy")


def test_delays() -> None:
    for value in (None, [0, 1.5], (), {1.0: None}, lambda: [1]):
        check("reconnect_delays", value)
    for wrong in (1, "1", b"1", iter([1]), ["1"], [True]):
        with pytest.raises(TypeError, match=r"reconnect_delays must (be|hold)"):
            check("reconnect_delays", wrong)
    for wrong in ([-1], [math.inf], [math.nan]):
        with pytest.raises(ValueError, match="reconnect_delays must hold"):
            check("reconnect_delays", wrong)
