"""Connecting again: how long to wait, and which errors make it hopeless."""

from __future__ import annotations

import itertools
import math
import ssl
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsproto_core import ClientProtocol, ConnectionClosedError, Headers, Response
from wsproto_core.connect.reconnect import ReconnectPolicy, exponential_delays, is_fatal, retry_after
from wsproto_core.exceptions import (
    HandshakeTimeout,
    InvalidHandshake,
    InvalidHeader,
    InvalidMessage,
    InvalidProxy,
    InvalidProxyMessage,
    InvalidProxyStatus,
    InvalidState,
    InvalidStatusCode,
    InvalidUpgrade,
    InvalidURI,
    NegotiationError,
    ProxyError,
    RedirectHandshake,
    SecurityError,
    SocksError,
)

from .helpers import URI, Clock


def lowest(count: int) -> bytes:
    return bytes(count)


def highest(count: int) -> bytes:
    return b"\xff" * count


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def refused(status: int = 503, date: str | None = None, after: str | None = None) -> InvalidStatusCode:
    headers = {"Date": date, "Retry-After": after}
    response = Response(
        status, Headers((name, value) for name, value in headers.items() if value is not None)
    )
    return InvalidStatusCode(status, response)


# Delays


def test_delays_grow_up_to_a_limit() -> None:
    delays = list(itertools.islice(exponential_delays(random=lowest), 9))
    assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    delays = list(itertools.islice(exponential_delays(random=highest), 9))
    assert delays == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60])


def test_delays_for_ever() -> None:
    """The bound does not overflow."""
    *_, last = itertools.islice(exponential_delays(random=lowest), 5000)
    assert last == 30


def test_the_parameters_of_delays() -> None:
    delays = exponential_delays(first=8, factor=3, limit=100, random=lowest)
    assert list(itertools.islice(delays, 5)) == [4, 12, 36, 50, 50]


def test_delays_are_random() -> None:
    """Clients that were cut off at once do not come back at once."""
    first = {next(exponential_delays()) for _ in range(100)}
    assert len(first) > 90
    assert all(0.5 <= delay <= 1 for delay in first)


@given(st.binary(min_size=4, max_size=4), st.integers(0, 20))
def test_delays_are_within_their_bounds(random: bytes, index: int) -> None:
    delay = next(itertools.islice(exponential_delays(random=lambda count: random[:count]), index, None))
    bound = min(2**index, 60)
    assert bound / 2 <= delay <= bound


# The policy


def test_failures_and_success() -> None:
    policy = ReconnectPolicy(random=lowest)
    assert [policy.failed(OSError()) for _ in range(3)] == [0.5, 1, 2]
    policy.succeeded()
    assert [policy.failed(OSError()) for _ in range(3)] == [0.5, 1, 2]
    policy.succeeded()
    policy.succeeded()
    assert policy.failed(OSError()) == 0.5


@pytest.mark.parametrize("delays", [[1, 2.5], (1, 2.5), lambda: [1, 2.5], lambda: iter([1, 2.5])])
def test_delays_that_end(delays: Any) -> None:
    policy = ReconnectPolicy(delays)
    for _ in range(2):
        assert policy.failed(OSError()) == 1
        assert policy.failed(OSError()) == 2.5
        error = OSError("the last one")
        with pytest.raises(OSError, match="the last one") as raised:
            policy.failed(error)
        assert raised.value is error
        policy.succeeded()


def test_no_delays_at_all() -> None:
    cause = EOFError()
    with pytest.raises(OSError, match="at once") as raised:
        ReconnectPolicy([]).failed(caused(OSError("at once"), cause))
    assert raised.value.__cause__ is cause


def test_fatal_errors() -> None:
    error = TypeError("x")
    with pytest.raises(TypeError) as raised:
        ReconnectPolicy().failed(error)
    assert raised.value is error


def test_another_notion_of_fatal() -> None:
    policy = ReconnectPolicy([1], fatal=lambda error: isinstance(error, OSError))
    assert policy.failed(TypeError()) == 1
    with pytest.raises(OSError, match="x"):
        policy.failed(OSError("x"))


@pytest.mark.parametrize(
    ("delay", "error"),
    [
        (-1, ValueError),
        (-0.1, ValueError),
        (math.inf, ValueError),
        (math.nan, ValueError),
        ("1", TypeError),
        (None, TypeError),
        (True, TypeError),
    ],
)
def test_delays_that_are_none(delay: Any, error: type[Exception]) -> None:
    for use in ("failed", "ended"):
        policy = ReconnectPolicy([delay])
        policy.ended(0)
        with pytest.raises(error, match=r"reconnect_delays must give .*numbers of seconds, not"):
            policy.failed(OSError()) if use == "failed" else policy.ended(0)


def test_a_connection_that_lasted() -> None:
    policy = ReconnectPolicy(random=lowest)
    assert [policy.ended(10) for _ in range(5)] == [0] * 5
    assert policy.failed(OSError()) == 0.5


def test_a_server_that_accepts_and_closes() -> None:
    policy = ReconnectPolicy(random=lowest)
    assert [policy.ended(9.9) for _ in range(4)] == [0, 0.5, 1, 2]
    policy.succeeded()
    assert policy.ended(0) == 4
    assert policy.ended(10) == 0
    assert [policy.ended(1) for _ in range(3)] == [0, 0.5, 1]


def test_short_connections_when_delays_end() -> None:
    policy = ReconnectPolicy([1, 2])
    assert [policy.ended(0) for _ in range(5)] == [0, 1, 2, 2, 2]
    assert ReconnectPolicy([]).ended(0) == 0
    policy = ReconnectPolicy([])
    assert [policy.ended(0) for _ in range(3)] == [0, 0, 0]


# Errors


class SSLCertVerificationError(ssl.SSLCertVerificationError):
    """What a runtime may derive from the standard one."""


PASSING: list[Exception] = [
    OSError(),
    ConnectionRefusedError(),
    ConnectionResetError(),
    FileNotFoundError(),
    TimeoutError(),
    ssl.SSLError("handshake failure"),
    EOFError(),
    HandshakeTimeout("late"),
    ConnectionClosedError(1006, ""),
    *(InvalidStatusCode(status) for status in (408, 425, 429, 500, 502, 503, 504, 599)),
    *(InvalidProxyStatus(status) for status in (408, 429, 502, 503, 504)),
    *(SocksError("refused", code) for code in (1, 3, 4, 5, 6, 91)),
    caused(InvalidMessage("the server ended the stream"), EOFError()),
    caused(InvalidProxyMessage("the proxy ended the stream"), EOFError()),
    caused(ProxyError("no connection to the proxy"), ConnectionRefusedError()),
    caused(RuntimeError("broken resource"), caused(RuntimeError("broken pipe"), BrokenPipeError())),
    ExceptionGroup("all addresses", [ConnectionRefusedError(), TimeoutError()]),
    caused(OSError("all attempts failed"), ExceptionGroup("", [OSError()])),
]

FATAL: list[BaseException] = [
    *(InvalidStatusCode(status) for status in (200, 300, 301, 400, 401, 403, 404, 426, 431, 499, 600)),
    *(InvalidProxyStatus(status) for status in (400, 403, 407)),
    *(SocksError("refused", code) for code in (None, 2, 7, 8, 92, 93)),
    InvalidURI("x"),
    InvalidProxy("x"),
    InvalidHandshake("x"),
    InvalidMessage("malformed"),
    InvalidProxyMessage("malformed"),
    ProxyError("x"),
    InvalidHeader("Upgrade"),
    InvalidUpgrade("Upgrade", "x"),
    NegotiationError("x"),
    InvalidState("x"),
    SecurityError("x"),
    RedirectHandshake("ws://b/"),
    # whatever has led to it
    caused(SecurityError("too many redirects"), InvalidStatusCode(503)),
    caused(RedirectHandshake("ws://b/"), OSError()),
    caused(InvalidHeader("Location"), InvalidStatusCode(302)),
    caused(InvalidStatusCode(404), OSError()),
    caused(InvalidProxyMessage("malformed"), InvalidMessage("malformed")),
    ssl.SSLCertVerificationError("self-signed certificate"),
    SSLCertVerificationError("self-signed certificate"),
    caused(RuntimeError("broken resource"), ssl.SSLCertVerificationError("expired")),
    TypeError(),
    ValueError(),
    AttributeError(),
    AssertionError(),
    KeyboardInterrupt(),
    SystemExit(),
    caused(ValueError(), ValueError()),
    ExceptionGroup("one of them", [ConnectionRefusedError(), ssl.SSLCertVerificationError("expired")]),
    BaseExceptionGroup("one of them", [OSError(), KeyboardInterrupt()]),
]


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_passing_errors(error: Exception) -> None:
    assert not is_fatal(error)
    assert ReconnectPolicy([3]).failed(error) == 3


@pytest.mark.parametrize("error", FATAL, ids=repr)
def test_errors_that_are_fatal(error: BaseException) -> None:
    assert is_fatal(error)


def test_an_error_that_is_its_own_cause() -> None:
    error = RuntimeError()
    assert is_fatal(caused(error, caused(RuntimeError(), error)))


def eof(client: ClientProtocol, clock: Clock) -> None:
    client.receive_eof()


def lost(client: ClientProtocol, clock: Clock) -> None:
    client.connection_lost()


def reset(client: ClientProtocol, clock: Clock) -> None:
    client.connection_lost(ConnectionResetError())


def silence(client: ClientProtocol, clock: Clock) -> None:
    clock.advance(11)
    client.handle_timeout()
    clock.advance(11)
    client.handle_timeout()


def overloaded(client: ClientProtocol, clock: Clock) -> None:
    client.receive_data(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")


def not_found(client: ClientProtocol, clock: Clock) -> None:
    client.receive_data(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


def no_http(client: ClientProtocol, clock: Clock) -> None:
    client.receive_data(b"SSH-2.0-OpenSSH\r\n\r\n")


@pytest.mark.parametrize(
    ("happen", "fatal"),
    [
        (eof, False),
        (lost, False),
        (reset, False),
        (silence, False),
        (overloaded, False),
        (not_found, True),
        (no_http, True),
    ],
)
def test_what_a_client_makes_of_it(happen: Callable[[ClientProtocol, Clock], None], fatal: bool) -> None:
    clock = Clock()
    client = ClientProtocol(URI, clock=clock)
    client.data_to_send()
    client.data_sent()
    happen(client, clock)
    assert client.handshake_error is not None
    assert is_fatal(client.handshake_error) is fatal


# Retry-After

NOW = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("after", "date", "expected"),
    [
        ("0", None, 0),
        ("120", None, 120),
        (" 7 ", None, 7),
        ("999999999", None, 999999999),
        ("Sun, 06 Nov 1994 08:50:37 GMT", NOW, 60),
        # the obsolete formats of RFC 9110 section 5.6.7
        ("Sunday, 06-Nov-94 08:50:37 GMT", NOW, 60),
        ("Sun Nov  6 08:50:37 1994", NOW, 60),
        ("Sun, 06 Nov 1994 09:50:37 +0100", NOW, 60),
        ("Sun, 06 Nov 1994 08:50:37 GMT", None, None),
        ("Sun, 06 Nov 1994 08:50:37 GMT", "yesterday", None),
        ("Sun, 06 Nov 1994 08:48:37 GMT", NOW, None),
        (NOW, NOW, None),
        (None, NOW, None),
        ("", None, None),
        ("-1", None, None),
        ("1.5", None, None),
        ("1e3", None, None),
        ("\u0663", None, None),
        ("\udcff", None, None),
        ("9" * 5000, NOW, None),
        ("soon", NOW, None),
        ("Sun, 06 Nov 99999 08:50:37 GMT", NOW, None),
        ("Sun, 99 Nov 1994 08:50:37 GMT", "Sun, 06 Xyz 1994 08:49:37 GMT", None),
        (f"Sun, 06 Nov {'9' * 30} 08:50:37 GMT", NOW, None),
    ],
)
@pytest.mark.parametrize("kind", [InvalidStatusCode, InvalidProxyStatus])
def test_retry_after(
    kind: type[InvalidStatusCode | InvalidProxyStatus],
    after: str | None,
    date: str | None,
    expected: float | None,
) -> None:
    response = refused(after=after, date=date).response
    assert retry_after(kind(503, response)) == expected


def test_no_retry_after() -> None:
    assert retry_after(OSError()) is None
    assert retry_after(InvalidStatusCode(503)) is None
    headers = Headers([("Retry-After", "1"), ("Retry-After", "2")])
    assert retry_after(InvalidStatusCode(503, Response(503, headers))) is None


@pytest.mark.parametrize(("after", "expected"), [("5", 8), ("0", 3), ("300", 303), ("301", 303), ("x", 3)])
def test_retry_after_is_added_up_to_a_limit(after: str, expected: float) -> None:
    for status in (429, 503):
        assert ReconnectPolicy([3]).failed(refused(status, after=after)) == expected


def test_retry_after_does_not_make_an_error_pass() -> None:
    with pytest.raises(InvalidStatusCode):
        ReconnectPolicy().failed(refused(404, after="5"))


@given(
    st.text(max_size=40) | st.text("SunNov 0123456789:,-+GMT", max_size=40),
    st.just(NOW) | st.text(max_size=40),
)
def test_arbitrary_retry_after(after: str, date: str) -> None:
    assert (retry_after(refused(after=after, date=date)) or 0) >= 0
    assert 3 <= ReconnectPolicy([3]).failed(refused(after=after, date=date)) <= 303
