"""The options of a connection: those of uvicorn, and those that uvicorn does not have.

uvicorn's command line and :class:`uvicorn.Config` have a few options for WebSocket. All others are given to
:meth:`.WebSocketProtocol.configured`, for a server, or to :meth:`.WebSocketProtocol.configure`, for a route.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

from wsproto_core.closing import serialize_close
from wsproto_core.extensions.base import ServerExtensionFactory
from wsproto_core.options import LimitOptions, OriginLike, ServerSettings, resolve
from wsproto_core.types import CloseCode

from ..shared.draining import check_drain

__all__ = [
    "ConfigureOptions",
    "ProtocolOptions",
    "Shutdown",
    "change_settings",
    "check_options",
    "server_settings",
]

HEAD_BYTES = 2**16
"""Limit on the head of a request, unless uvicorn has been given one: uvicorn's own with h11."""


class ConfigureOptions(LimitOptions, total=False):
    """Options of :meth:`.WebSocketProtocol.configure`; :data:`wsproto_core.OPTIONS` documents them."""

    compression: Literal["deflate"] | None
    extensions: Sequence[ServerExtensionFactory] | None
    origins: Sequence[OriginLike] | None


class ProtocolOptions(ConfigureOptions, total=False):
    """Options of a server: ``drain`` and ``shutdown_reason`` are described at
    :meth:`.WebSocketProtocol.configured`."""

    drain: float
    shutdown_reason: str


CONFIGURE_OPTIONS = tuple(ConfigureOptions.__annotations__)


@dataclass(frozen=True, slots=True)
class Shutdown:
    """What a server does with its connections when it shuts down.

    Attributes:
        drain: seconds over which the close frames are spread.
        reason: the reason in the close frames.
    """

    drain: float = 0.0
    reason: str = "the server is shutting down"

    def __post_init__(self) -> None:
        check_drain(self.drain)
        serialize_close(CloseCode.SERVICE_RESTART, self.reason)


def change_settings(settings: ServerSettings, options: Mapping[str, Any]) -> ServerSettings:
    """Return the settings of a connection with some options changed.

    Raises:
        TypeError, ValueError: an option is not one of :class:`ConfigureOptions`, or its value is not allowed.
    """
    return resolve(ServerSettings, options, settings, CONFIGURE_OPTIONS)


def check_options(options: Mapping[str, Any]) -> None:
    """Check options of :class:`ConfigureOptions`: see :func:`change_settings`."""
    change_settings(resolve(ServerSettings, {}), options)


_settings: WeakKeyDictionary[Any, dict[type, ServerSettings]] = WeakKeyDictionary()


def server_settings(key: type, config: Any, options: Mapping[str, Any]) -> ServerSettings:
    """Return the settings of all connections of a server, which are made once.

    Args:
        key: the class of the connections.
        config: the server's :class:`uvicorn.Config`.
        options: those that take precedence.

    Raises:
        TypeError, ValueError: uvicorn has been given a value that is not allowed.
    """
    of_server = _settings.setdefault(config, {})
    if key not in of_server:
        of_server[key] = change_settings(_settings_of(config), options)
    return of_server[key]


def _settings_of(config: Any) -> ServerSettings:
    head_bytes = config.h11_max_incomplete_event_size or HEAD_BYTES
    return resolve(
        ServerSettings,
        {
            # The application decides when it answers.
            "open_timeout": None,
            # uvicorn takes 0 for none.
            "ping_interval": config.ws_ping_interval or None,
            "ping_timeout": config.ws_ping_timeout or None,
            "max_size": config.ws_max_size,
            "max_queue": config.ws_max_queue,
            "max_header_line": head_bytes,
            "max_header_bytes": head_bytes,
            "compression": "deflate" if config.ws_per_message_deflate else None,
            # uvicorn has headers of its own.
            "server_header": None,
        },
    )
