"""When to connect again, and when to give up.

What went wrong tells which: a server that is down, overloaded or out of reach may be back; one that
answers 404, or a URI that is none, will be the same in a minute. What nobody has thought of counts as
fatal: an error that ends a program is found, one that is repeated for ever is not.

Delays grow, up to a limit, and are random, so that the clients of a server that comes back do not all
come back at the same moment.
"""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Callable, Iterable, Iterator
from email.utils import parsedate_tz
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
"""Seconds to wait before each attempt: a function that returns them, or a sequence, begun anew after
each success. When there are no more, the last error is raised."""

SHORT = 10.0
"""Seconds: a connection that lasted less counts as short."""

MAX_RETRY_AFTER = 300.0
"""Seconds of a server's ``Retry-After`` that are heeded, at most."""

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
    """Yield delays for ever: each at random between the half of a bound and the bound, which grows.

    Args:
        first: the first bound, in seconds.
        factor: by which the bound grows from one delay to the next.
        limit: the largest bound, in seconds.
        random: returns as many random bytes as it is asked for.
    """
    bound = first
    while True:
        bound = min(bound, limit)
        yield bound * (0.5 + int.from_bytes(random(4), "big") / 2**33)
        bound *= factor


class ReconnectPolicy:
    """Says how long to wait between attempts to connect. Whoever connects again and again does this::

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
            delays: ``None`` for those of :func:`exponential_delays`.
            random: returns as many random bytes as it is asked for.
            fatal: tells whether an error is fatal; ``None`` for :func:`is_fatal`.
        """
        self._delays: Delays = (lambda: exponential_delays(random=random)) if delays is None else delays
        self._fatal = is_fatal if fatal is None else fatal
        self._failures: Iterator[float] | None = None
        self._short: Iterator[float] | None = None
        self._last = 0.0

    def failed(self, error: Exception) -> float:
        """An attempt to connect has failed: return the seconds to wait before the next one.

        If the server says when to come back (``Retry-After``), that is added, up to five minutes.

        Raises:
            Exception: this error, if it is fatal or there are no more delays.
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
        """An attempt has succeeded: after the next failure, delays begin anew."""
        self._failures = None

    def ended(self, lasted: float) -> float:
        """A connection has ended: return the seconds to wait before the next one, in most cases none.

        After the second of several short ones, and each that follows, there is a delay: a server that
        accepts and closes would be asked again without end otherwise.

        Args:
            lasted: how many seconds the connection was open.
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
    """Whether it is no use to try again after an attempt to connect has ended with this error.

    Not fatal are errors of the operating system, the end of the stream, deadlines, connections that
    were closed, targets that a proxy cannot reach, and the HTTP statuses 408, 425, 429 and 500 to 599;
    and what any of these is the cause of. Fatal is everything else, and a certificate that cannot be
    verified, although it is an error of the operating system for Python.
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
    """Judge an error, or return ``None`` if that depends on its cause."""
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
    """Return the seconds that a refusal's ``Retry-After`` asks for (RFC 9110 section 10.2.3).

    One that is a date counts from the response's own ``Date``. ``None`` if there is none, or it is
    malformed, or too old.
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
    try:
        parts = parsedate_tz(value)
        # Without a zone, it is the one of HTTP.
        return None if parts is None else calendar.timegm(parts[:9]) - (parts[9] or 0)
    except (ValueError, OverflowError):
        return None
