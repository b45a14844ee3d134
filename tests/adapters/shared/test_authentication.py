"""HTTP Basic authentication: who is let in, and what the others are told."""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Awaitable, Callable, Coroutine
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.shared import authentication as auth
from adapters.shared.authentication import (
    AsyncBasicAuth,
    BasicAuth,
    BlockingBasicAuth,
    FixedCredentials,
    basic_auth_protocol_factory,
    read_credentials,
    unauthorized,
)
from tests.core.helpers import Clock, request, written
from wsproto_core import Headers, ServerProtocol, State
from wsproto_core.exceptions import InvalidHeader, InvalidHeaderFormat, InvalidHeaderValue
from wsproto_core.http.grammar import build_authorization_basic

HELLO = ("hello", "iloveyou")
CHALLENGE = 'Basic realm="my dev server", charset="UTF-8"'


class Connection:
    """What an adapter's connection is to the classes under test."""

    def __init__(self, handler: object, server: object, **options: Any) -> None:
        self.arguments = handler, server, options
        self.result: Any = None
        self.asked: list[tuple[str, Headers]] = []

    def process_request(self, path: str, request_headers: Headers) -> Any:
        self.asked.append((path, request_headers))
        return self.result


class AsyncConnection(AsyncBasicAuth, Connection):
    pass


class BlockingConnection(BlockingBasicAuth, Connection):
    pass


class Sleep:
    """Something to wait for."""

    def __await__(self) -> Any:
        yield "asleep"


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine as a runtime would."""
    while True:
        try:
            assert coroutine.send(None) == "asleep"
        except StopIteration as stop:
            return stop.value


def process(connection: BasicAuth, path: str, headers: Headers) -> Any:
    assert isinstance(connection, AsyncConnection | BlockingConnection)
    result = connection.process_request(path, headers)
    return run(result) if isinstance(connection, AsyncConnection) else result


def basic(username: str, password: str) -> Headers:
    return Headers(Authorization=build_authorization_basic(username, password))


every_kind = pytest.mark.parametrize("kind", [AsyncConnection, BlockingConnection])


def make(kind: type[BasicAuth], **options: Any) -> Any:
    given = {"realm": "my dev server", "credentials": HELLO, "check_credentials": None, **options}
    return basic_auth_protocol_factory(**given, create_protocol=kind)("handler", "server", ping_interval=1)


@every_kind
def test_good_credentials(kind: type[BasicAuth]) -> None:
    connection = make(kind)
    assert connection.username is None
    headers = basic(*HELLO)
    assert process(connection, "/path", headers) is None
    assert connection.username == "hello"
    assert connection.asked == [("/path", headers)]


@every_kind
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (Headers(), b"Missing credentials\n"),
        (Headers(Authorization="Digest username=hello"), b"Unsupported credentials\n"),
        (Headers(Authorization=""), b"Unsupported credentials\n"),
        (Headers(Authorization="Basic ???"), b"Unsupported credentials\n"),
        (Headers([*basic(*HELLO).raw_items(), *basic(*HELLO).raw_items()]), b"Unsupported credentials\n"),
        (basic("hello", "ihateyou"), b"Invalid credentials\n"),
        (basic("goodbye", "iloveyou"), b"Invalid credentials\n"),
        (basic("", ""), b"Invalid credentials\n"),
        (basic("hello", ""), b"Invalid credentials\n"),
        (basic("hello", "iloveyou:"), b"Invalid credentials\n"),
    ],
)
def test_bad_credentials(kind: type[BasicAuth], headers: Headers, body: bytes) -> None:
    connection = make(kind)
    status, response_headers, content = process(connection, "/", headers)
    assert status is HTTPStatus.UNAUTHORIZED
    assert response_headers == Headers({"WWW-Authenticate": CHALLENGE})
    assert content == body
    assert connection.username is None
    assert connection.asked == []


@every_kind
@pytest.mark.parametrize("awaitable", [False, True])
def test_what_the_connection_answers_itself(kind: type[BasicAuth], awaitable: bool) -> None:
    """It is asked once the credentials are good, and may take its time on runtimes that wait."""
    connection = make(kind)

    async def answer() -> Any:
        await Sleep()
        return "response"

    blocking = kind is BlockingConnection
    connection.result = answer() if awaitable and not blocking else "response"
    assert process(connection, "/", basic(*HELLO)) == "response"


@every_kind
def test_the_arguments_of_the_connection(kind: type[BasicAuth]) -> None:
    connection = make(kind)
    assert connection.arguments == ("handler", "server", {"ping_interval": 1})
    assert connection.realm == "my dev server"


# Credentials that a function checks


@every_kind
@pytest.mark.parametrize("answer", [True, False, None])
def test_a_function(kind: type[BasicAuth], answer: bool) -> None:
    given = []

    def check(username: str, password: str) -> bool:
        given.append((username, password))
        return answer

    connection = make(kind, credentials=None, check_credentials=check)
    result = process(connection, "/", basic("usér", "päss:"))
    assert given == [("usér", "päss:")]
    assert (result is None) is bool(answer)
    assert connection.username == ("usér" if answer else None)


@pytest.mark.parametrize("answer", [True, False])
def test_a_coroutine_function(answer: bool) -> None:
    async def check(username: str, password: str) -> bool:
        await Sleep()
        return answer and (username, password) == HELLO

    connection = make(AsyncConnection, credentials=None, check_credentials=check)
    assert (process(connection, "/", basic(*HELLO)) is None) is answer
    assert connection.username == ("hello" if answer else None)


async def never(username: str, password: str) -> bool:
    raise AssertionError


class NotCoroutine:
    """Something else to wait for, which is true as it is."""

    def __call__(self, username: str, password: str) -> Awaitable[bool]:
        return Sleep()


@pytest.mark.parametrize("check", [never, NotCoroutine()])
def test_a_coroutine_is_no_permission_where_nothing_waits(check: Callable[..., Any]) -> None:
    connection = make(BlockingConnection, credentials=None, check_credentials=check)
    with pytest.raises(TypeError, match="check_credentials must be a plain function here"):
        process(connection, "/", basic(*HELLO))
    assert connection.username is None
    assert connection.asked == []


@every_kind
def test_errors_of_the_function(kind: type[BasicAuth]) -> None:
    def check(username: str, password: str) -> bool:
        raise LookupError("no database")

    connection = make(kind, credentials=None, check_credentials=check)
    with pytest.raises(LookupError, match="no database"):
        process(connection, "/", basic(*HELLO))
    assert connection.username is None


# Fixed credentials


def test_several_pairs() -> None:
    check = FixedCredentials([("a", "1"), ["b", "2"], ("a", "3")])
    assert check("a", "1")
    assert check("b", "2")
    assert check("a", "3")
    assert not check("b", "1")
    assert not check("a", "2")


@given(st.lists(st.tuples(st.text("abé"), st.text("ab:é")), min_size=1), st.text("abé"), st.text("ab:é"))
def test_the_pairs_that_were_given_are_good_and_no_others(
    pairs: list[tuple[str, str]], username: str, password: str
) -> None:
    check = FixedCredentials(iter(pairs))
    assert all(check(*pair) for pair in pairs)
    assert check(username, password) is ((username, password) in pairs)


def test_credentials_beyond_ascii_in_both_forms() -> None:
    for form in ("NFC", "NFD"):
        check = FixedCredentials((unicodedata.normalize(form, "usér"), unicodedata.normalize(form, "päss")))
        assert check(unicodedata.normalize("NFC", "usér"), unicodedata.normalize("NFC", "päss"))
        assert check(unicodedata.normalize(form, "usér"), unicodedata.normalize(form, "päss"))


@pytest.mark.parametrize("given", [("a", "1"), ("b", "2"), ("c", "3"), ("", ""), ("a" * 1000, "1" * 1000)])
def test_row_32_the_same_work_whatever_is_given(
    given: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2021-33880: all that is configured is compared, at equal lengths, in constant time."""
    compared = []

    def compare_digest(left: bytes, right: bytes) -> bool:
        compared.append((len(left), len(right)))
        return left == right

    check = FixedCredentials([("a", "1"), ("b", "2"), ("c", "3")])
    monkeypatch.setattr(auth, "compare_digest", compare_digest)
    check(*given)
    assert compared == [(32, 32)] * 3


def test_fixed_credentials_are_not_shown() -> None:
    check = FixedCredentials(("hello", "s3cr3t"))
    assert "s3cr3t" not in repr(check) + repr(vars(check))


# What is refused where it is given


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"credentials": None}, TypeError, "either credentials or check_credentials must be given"),
        ({"check_credentials": never}, TypeError, "and not both"),
        (
            {"credentials": None, "check_credentials": 1},
            TypeError,
            "check_credentials must be callable, not 1",
        ),
        ({"credentials": "hello:s3cr3t"}, TypeError, "must be a pair .*, not str"),
        ({"credentials": b"hello:s3cr3t"}, TypeError, "must be a pair .*, not bytes"),
        ({"credentials": 42}, TypeError, "must be a pair .*, not int"),
        ({"credentials": ("hello", 42)}, TypeError, "a str in it is not such a pair"),
        ({"credentials": ("hello", "s3cr3t", "")}, TypeError, "a str in it is not such a pair"),
        ({"credentials": [HELLO, "s3cr3t"]}, TypeError, "a str in it is not such a pair"),
        ({"credentials": [HELLO, ("a", None)]}, TypeError, "a tuple in it is not such a pair"),
        ({"credentials": {"hello": "s3cr3t"}}, TypeError, "a str in it is not such a pair"),
        ({"credentials": []}, ValueError, "credentials must hold at least one pair"),
        ({"credentials": ("a:b", "s3cr3t")}, ValueError, "username must not contain a colon"),
        ({"credentials": ("a", "s3cr3t\n")}, ValueError, "must not contain control characters"),
        ({"realm": None}, TypeError, "realm must be a str, not None"),
        ({"realm": "a\r\nb"}, ValueError, "realm must not contain control characters"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        make(AsyncConnection, **options)
    assert "s3cr3t" not in str(raised.value)


# Headers


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        (Headers(), InvalidHeader),
        (Headers([("Authorization", "Basic Og=="), ("authorization", "Basic Og==")]), InvalidHeaderValue),
        (Headers(Authorization="Bearer abc"), InvalidHeaderValue),
        (Headers(Authorization="Basic"), InvalidHeaderFormat),
        (Headers(Authorization="Basic " + "A" * 8000 + "!"), InvalidHeaderFormat),
        (Headers(Authorization="Basic " + base64.b64encode(b"\xff" * 5000).decode()), InvalidHeaderValue),
    ],
)
def test_read_credentials_refuses(headers: Headers, error: type[InvalidHeader]) -> None:
    with pytest.raises(InvalidHeader) as raised:
        read_credentials(headers)
    assert type(raised.value) is error


def test_read_credentials() -> None:
    assert read_credentials(basic("usér", "päss:")) == ("usér", "päss:")


def test_the_realm_is_quoted() -> None:
    _, headers, _ = unauthorized('a "b" \\', "problem")
    assert headers["WWW-Authenticate"] == 'Basic realm="a \\"b\\" \\\\", charset="UTF-8"'


# On the wire


@every_kind
def test_as_a_server(kind: type[BasicAuth]) -> None:
    for authorization, start in [
        (None, b"HTTP/1.1 401 Unauthorized\r\n"),
        (build_authorization_basic(*HELLO), b"HTTP/1.1 101 Switching Protocols\r\n"),
    ]:
        protocol = ServerProtocol(clock=Clock())
        connection = make(kind)
        protocol.receive_data(request(Authorization=authorization))
        assert protocol.request is not None
        protocol.answer(process(connection, protocol.request.path, protocol.request.headers))
        response = written(protocol)
        assert response.startswith(start)
        assert (CHALLENGE.encode() in response) is (authorization is None)
        assert (protocol.state is State.OPEN) is (authorization is not None)
