"""Reconnecting: the delays between attempts, and the errors that end them.

The error decides. A server that is down, overloaded or out of reach may return. A status such as 404, or
an invalid URI, will be the same in a minute. Unknown errors are fatal: an error that ends a program is
found, an error that is repeated for ever is not.

Delays grow, up to a limit, and are random, so that the clients of a server that has been down do not all
connect at the same moment.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from ..exceptions import (
    ConnectionClosed,
    InvalidProxyStatus,
    InvalidStatusCode,
    RedirectHandshake,
    SecurityError,
    SocksError,
)
from ..http import Headers
from ..randomness import random_bytes

__all__ = ["Delays", "ReconnectPolicy", "exponential_delays", "is_fatal", "retry_after"]

Delays: TypeAlias = Callable[[], Iterable[float]] | Iterable[float]
"""Seconds to wait before each attempt: an iterable, or a function that returns one, which begins anew
after each success. When it ends, the last error is raised."""

SHORT = 10.0
"""Seconds: a connection that was open for less is a short one."""

MAX_RETRY_AFTER = 300.0
"""Limit on the seconds of a server's ``Retry-After``."""

# RFC 9110 sections 15.5.9 and RFC 8470 section 5.2, RFC 6585 section 4
_PASSING_STATUSES = (408, 425, 429)

# RFC 1928 section 6: general failure, network or host unreachable, connection refused, TTL expired;
# SOCKS 4: rejected or failed
_PASSING_SOCKS_CODES = (1, 3, 4, 5, 6, 91)

# RFC 9110 section 10.2.3
_SECONDS = re.compile(r"[0-9]{1,9}")


def exponential_delays(
    *,
    first: float = 1.0,
    factor: float = 2.0,
    limit: float = 60.0,
    random: Callable[[int], bytes] = random_bytes,
) -> Iterator[float]:
    """Yield delays without end: each is random, between half of a bound and the bound, which grows.

    Args:
        first: the first bound, in seconds.
        factor: the growth of the bound from one delay to the next.
        limit: the largest bound, in seconds.
        random: returns random bytes, given their number.
    """
    bound = first
    while True:
        bound = min(bound, limit)
        yield bound * (0.5 + int.from_bytes(random(4), "big") / 2**33)
        bound *= factor


class ReconnectPolicy:
    """The delays between attempts to connect.

    A client that reconnects does this::

        policy = ReconnectPolicy(delays)
        while True:
            try:
                connection = connect_once()
            except Exception as error:
                sleep(policy.failed(error))  # raises it if it is fatal
                continue
            policy.succeeded()
            start = clock()
            use(connection)
            sleep(policy.ended(clock() - start))
    """

    def __init__(
        self,
        delays: Delays | None = None,
        *,
        random: Callable[[int], bytes] = random_bytes,
        fatal: Callable[[BaseException], bool] | None = None,
    ) -> None:
        """
        Args:
            delays: the delays in seconds; ``None`` for those of :func:`exponential_delays`.
            random: returns random bytes, given their number.
            fatal: returns whether an error ends the attempts; ``None`` for :func:`is_fatal`.
        """
        self._delays: Delays = (lambda: exponential_delays(random=random)) if delays is None else delays
        self._fatal = is_fatal if fatal is None else fatal
        self._failures: Iterator[float] | None = None
        self._short: Iterator[float] | None = None
        self._last = 0.0

    def failed(self, error: Exception) -> float:
        """Take the error of an attempt to connect; return the seconds to wait before the next attempt.

        The time in a server's ``Retry-After`` is added, up to five minutes.

        Args:
            error: the error.

        Raises:
            Exception: ``error``, if it is fatal or there are no more delays.
            TypeError, ValueError: a delay is not a number of seconds.
        """
        if self._fatal(error):
            raise error
        if self._failures is None:
            self._failures = self._begin()
        try:
            delay = next(self._failures)
        except StopIteration:
            raise error from error.__cause__
        return _checked(delay) + min(retry_after(error) or 0.0, MAX_RETRY_AFTER)

    def succeeded(self) -> None:
        """Take the success of an attempt: the delays begin anew after the next failure."""
        self._failures = None

    def ended(self, lasted: float) -> float:
        """Take the end of a connection; return the seconds to wait before the next attempt, mostly 0.

        There is a delay after the second of several short connections, and after each that follows:
        otherwise a client would connect without pause to a server that accepts and closes.

        Args:
            lasted: the seconds for which the connection was open.
        """
        if lasted >= SHORT:
            self._short = None
            self._last = 0.0
            return 0.0
        if self._short is None:
            self._short = self._begin()
            return 0.0
        self._last = _checked(next(self._short, self._last))
        return self._last

    def _begin(self) -> Iterator[float]:
        return iter(self._delays() if callable(self._delays) else self._delays)


def _checked(delay: float) -> float:
    if isinstance(delay, bool) or not isinstance(delay, int | float):
        raise TypeError(f"reconnect_delays must give numbers of seconds, not {delay!r}")
    if not 0 <= delay < math.inf:
        raise ValueError(f"reconnect_delays must give non-negative numbers of seconds, not {delay!r}")
    return float(delay)


def is_fatal(error: BaseException) -> bool:
    """Return whether another attempt to connect would fail in the same way.

    These errors are not fatal, nor are errors of which they are the cause: errors of the operating
    system, the end of the stream, deadlines, closed connections, targets that a proxy cannot reach, and
    the HTTP status codes 408, 425, 429 and 500 to 599. All other errors are fatal; so is a certificate
    that cannot be verified, although its class is one of the operating system's errors.

    Args:
        error: the error of an attempt to connect.
    """
    if isinstance(error, BaseExceptionGroup):
        return any(is_fatal(part) for part in error.exceptions)
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        fatal = _is_fatal_itself(cause)
        if fatal is not None:
            return fatal
        seen.append(cause)
        cause = cause.__cause__
    return True


def _is_fatal_itself(error: BaseException) -> bool | None:
    """Return whether an error is fatal; ``None`` if that depends on its cause."""
    if isinstance(error, InvalidStatusCode | InvalidProxyStatus):
        return error.status_code not in _PASSING_STATUSES and not 500 <= error.status_code <= 599
    if isinstance(error, SocksError):
        return error.code not in _PASSING_SOCKS_CODES
    if isinstance(error, SecurityError | RedirectHandshake):
        return True
    if isinstance(error, OSError):
        # ssl.SSLCertVerificationError is both.
        return isinstance(error, ValueError)
    if isinstance(error, EOFError | ConnectionClosed):
        return False
    return None


def retry_after(error: BaseException) -> float | None:
    """Return the seconds in a response's ``Retry-After`` (RFC 9110 section 10.2.3).

    If it is a date, the seconds from the response's ``Date`` to that date.

    Args:
        error: an error that has the response.

    Returns:
        The seconds; ``None`` if there is no ``Retry-After``, or it is malformed, or in the past.
    """
    response = error.response if isinstance(error, InvalidStatusCode | InvalidProxyStatus) else None
    if response is None:
        return None
    value = _single(response.headers, "Retry-After")
    if _SECONDS.fullmatch(value):
        return float(value)
    later, now = _parse_date(value), _parse_date(_single(response.headers, "Date"))
    return float(later - now) if later is not None and now is not None and later > now else None


def _single(headers: Headers, name: str) -> str:
    values = headers.get_all(name)
    return values[0].strip() if len(values) == 1 else ""


def _parse_date(value: str) -> int | None:
    """Return the seconds since 1970 of an HTTP date (RFC 9110 section 5.6.7)."""
    # Few responses have one.
    from email.utils import mktime_tz, parsedate_tz

    try:
        parts = parsedate_tz(value)
        # A date without a zone is in HTTP's zone, GMT.
        return None if parts is None else mktime_tz((*parts[:9], parts[9] or 0))
    except (ValueError, OverflowError):
        return None
