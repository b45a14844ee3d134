"""HTTP Basic authentication (RFC 7617) of a server's clients.

Each adapter combines one of these classes with its connection, whose ``process_request`` they override.
The two classes differ only in whether ``check_credentials`` may be a coroutine function.

Basic authentication sends passwords without encryption: it needs TLS.

Clients send the user information of the URI: see :mod:`wsproto_core.handshake.client`.
"""

from __future__ import annotations

import hashlib
import inspect
import unicodedata
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from hmac import compare_digest
from http import HTTPStatus
from typing import Any, TypeAlias, TypeVar
from typing import Protocol as Interface

from wsproto_core.exceptions import InvalidHeader, InvalidHeaderValue
from wsproto_core.http import Headers
from wsproto_core.http.grammar import (
    build_authorization_basic,
    build_www_authenticate_basic,
    parse_authorization_basic,
)

__all__ = [
    "AsyncBasicAuth",
    "BasicAuth",
    "BasicAuthFactory",
    "BlockingBasicAuth",
    "CheckCredentials",
    "Credentials",
    "FixedCredentials",
    "basic_auth_protocol_factory",
    "make_basic_auth_factory",
    "read_credentials",
    "unauthorized",
]

Credentials: TypeAlias = tuple[str, str]
"""A username and a password."""

CheckCredentials: TypeAlias = "Callable[[str, str], bool | Awaitable[bool]]"
"""Returns whether a username and a password are right; may be a coroutine function."""

ConnectionT = TypeVar("ConnectionT")


def read_credentials(request_headers: Headers) -> Credentials:
    """Return the username and the password of a request (RFC 7617 section 2), decoded from UTF-8.

    Raises:
        InvalidHeader: there is no ``Authorization`` header, or more than one.
        InvalidHeaderFormat, InvalidHeaderValue: see :func:`~.http.grammar.parse_authorization_basic`.
    """
    values = request_headers.get_all("Authorization")
    if not values:
        raise InvalidHeader("Authorization")
    if len(values) > 1:
        raise InvalidHeaderValue("Authorization", "there is more than one")
    return parse_authorization_basic(values[0])


def unauthorized(realm: str, problem: str) -> tuple[HTTPStatus, Headers, bytes]:
    """Make the response that asks for credentials (RFC 9110 section 15.5.2).

    Args:
        realm: see :func:`basic_auth_protocol_factory`.
        problem: the reason, for the body of the response.

    Raises:
        ValueError: the realm contains a control character.
    """
    headers = Headers({"WWW-Authenticate": build_www_authenticate_basic(realm)})
    return HTTPStatus.UNAUTHORIZED, headers, f"{problem}\n".encode(errors="backslashreplace")


class FixedCredentials:
    """Compares credentials with fixed ones, in constant time.

    It compares digests, since the time to compare texts depends on their lengths; and all of them, since
    the time to find one would depend on its position.
    """

    def __init__(self, credentials: Credentials | Iterable[Credentials]) -> None:
        """
        Args:
            credentials: a pair of username and password, or several pairs.

        Raises:
            TypeError: they have another type.
            ValueError: there are none, or they contain characters that RFC 7617 section 2 does not allow.
        """
        self._digests: list[bytes] = []
        for username, password in _pairs(credentials):
            build_authorization_basic(username, password)
            # A client should send the normalized form (RFC 7617 section 2.1), but many do not normalize.
            for form in {f"{username}:{password}", unicodedata.normalize("NFC", f"{username}:{password}")}:
                self._digests.append(_digest(form))
        if not self._digests:
            raise ValueError("credentials must hold at least one pair of username and password")

    def __call__(self, username: str, password: str) -> bool:
        given = _digest(f"{username}:{password}")
        authorized = False
        for digest in self._digests:
            authorized |= compare_digest(given, digest)
        return authorized


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _pairs(credentials: object) -> list[Credentials]:
    if _is_pair(credentials):
        credentials = [credentials]
    # The argument is not shown, since it may contain a password.
    message = "credentials must be a pair of username and password, or a list of such pairs"
    if isinstance(credentials, str | bytes) or not isinstance(credentials, Iterable):
        raise TypeError(f"{message}, not {type(credentials).__name__}")
    pairs = list(credentials)
    for pair in pairs:
        if not _is_pair(pair):
            raise TypeError(f"{message}; a {type(pair).__name__} in it is not such a pair")
    return pairs


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, tuple | list) and len(value) == 2 and all(isinstance(part, str) for part in value)
    )


class BasicAuth:
    """The part of HTTP Basic authentication that is the same on every runtime.

    Attributes:
        username: the username of the client; ``None`` before it has been authenticated.
        realm: the scope of protection.
        check_credentials: returns whether a username and a password are right.
    """

    username: str | None = None

    def __init__(self, *args: Any, realm: str, check_credentials: CheckCredentials, **kwargs: Any) -> None:
        """
        Args:
            args, kwargs: the arguments of the connection's class.
            realm, check_credentials: see :func:`basic_auth_protocol_factory`.
        """
        super().__init__(*args, **kwargs)
        self.realm = realm
        self.check_credentials = check_credentials

    def _refusal(self, error: InvalidHeader) -> tuple[HTTPStatus, Headers, bytes]:
        return unauthorized(
            self.realm, "Missing credentials" if error.value is None else "Unsupported credentials"
        )

    def _verdict(self, username: str, authorized: object) -> tuple[HTTPStatus, Headers, bytes] | None:
        if not authorized:
            return unauthorized(self.realm, "Invalid credentials")
        self.username = username
        return None


class AsyncBasicAuth(BasicAuth):
    """HTTP Basic authentication where ``check_credentials`` may be a coroutine function."""

    async def process_request(self, path: str, request_headers: Headers) -> Any:
        """Refuse a request without the right credentials; otherwise call the connection's own method.

        Args:
            path: the path and query of the request.
            request_headers: the headers of the request.

        Returns:
            A response with status 401, as a tuple of status, headers and body, or the result of the
            connection's own method of this name: ``None`` to accept the request.
        """
        try:
            username, password = read_credentials(request_headers)
        except InvalidHeader as error:
            return self._refusal(error)
        authorized = self.check_credentials(username, password)
        if inspect.isawaitable(authorized):
            authorized = await authorized
        refusal = self._verdict(username, authorized)
        if refusal is not None:
            return refusal
        result = super().process_request(path, request_headers)  # type: ignore[misc]
        return await result if inspect.isawaitable(result) else result


class BlockingBasicAuth(BasicAuth):
    """HTTP Basic authentication where ``check_credentials`` is a plain function."""

    def process_request(self, path: str, request_headers: Headers) -> Any:
        """Refuse a request without the right credentials; otherwise call the connection's own method.

        Args:
            path: the path and query of the request.
            request_headers: the headers of the request.

        Returns:
            See :meth:`AsyncBasicAuth.process_request`.

        Raises:
            TypeError: ``check_credentials`` is a coroutine function.
        """
        try:
            username, password = read_credentials(request_headers)
        except InvalidHeader as error:
            return self._refusal(error)
        authorized = self.check_credentials(username, password)
        if inspect.isawaitable(authorized):
            # A coroutine object is true, whatever its result.
            if inspect.iscoroutine(authorized):
                authorized.close()
            raise TypeError("check_credentials must be a plain function here, not a coroutine function")
        refusal = self._verdict(username, authorized)
        if refusal is not None:
            return refusal
        return super().process_request(path, request_headers)  # type: ignore[misc]


def basic_auth_protocol_factory(
    realm: str,
    credentials: Credentials | Iterable[Credentials] | None,
    check_credentials: CheckCredentials | None,
    create_protocol: Callable[..., ConnectionT],
) -> Callable[..., ConnectionT]:
    """Return the ``create_protocol`` for a server with HTTP Basic authentication.

    Args:
        realm: the scope of protection, which clients show to their users. It should be ASCII only,
            since the encoding of other characters is not defined (RFC 7617 section 2).
        credentials: a pair of username and password, or several pairs; compared in constant time.
        check_credentials: a function of username and password that returns whether they are right; it
            may be a coroutine function, but not on threads. It should compare passwords in constant
            time (:func:`hmac.compare_digest`).
        create_protocol: makes the connection object; takes the arguments ``realm`` and
            ``check_credentials`` of :class:`BasicAuth`, besides those that every ``create_protocol`` gets.

    Raises:
        TypeError: not exactly one of ``credentials`` and ``check_credentials`` is given, or an argument
            has the wrong type.
        ValueError: the realm or the credentials contain characters that are not allowed.
    """
    if not isinstance(realm, str):
        raise TypeError(f"realm must be a str, not {realm!r}")
    build_www_authenticate_basic(realm)
    if (credentials is None) is (check_credentials is None):
        raise TypeError("either credentials or check_credentials must be given, and not both")
    if credentials is not None:
        check_credentials = FixedCredentials(credentials)
    elif not callable(check_credentials):
        raise TypeError(f"check_credentials must be callable, not {check_credentials!r}")
    return partial(create_protocol, realm=realm, check_credentials=check_credentials)


class BasicAuthFactory(Interface[ConnectionT]):
    """The function ``basic_auth_protocol_factory`` of an adapter."""

    def __call__(
        self,
        realm: str,
        credentials: Credentials | Iterable[Credentials] | None = None,
        check_credentials: CheckCredentials | None = None,
        create_protocol: Callable[..., ConnectionT] = ...,
    ) -> Callable[..., ConnectionT]: ...


def make_basic_auth_factory(default: Callable[..., ConnectionT]) -> BasicAuthFactory[ConnectionT]:
    """Return the function ``basic_auth_protocol_factory`` of an adapter.

    Args:
        default: the adapter's class of connections with Basic authentication.
    """

    def factory(
        realm: str,
        credentials: Credentials | Iterable[Credentials] | None = None,
        check_credentials: CheckCredentials | None = None,
        create_protocol: Callable[..., ConnectionT] = default,
    ) -> Callable[..., ConnectionT]:
        """Return the ``create_protocol`` for a server with HTTP Basic authentication.

        ::

            auth = basic_auth_protocol_factory("staff", credentials=("user", "secret"))
            async with serve(handler, "localhost", 8765, ssl=context, create_protocol=auth): ...

        Args:
            realm, credentials, check_credentials: see
                :func:`adapters.shared.authentication.basic_auth_protocol_factory`.
            create_protocol: makes the connection object; a subclass of
                ``BasicAuthWebSocketServerProtocol``, say.

        Raises:
            TypeError, ValueError: an argument is not allowed.
        """
        return basic_auth_protocol_factory(realm, credentials, check_credentials, create_protocol)

    factory.__name__ = factory.__qualname__ = "basic_auth_protocol_factory"
    return factory
