"""Names of version 0.1, of modules and of what has left its module: each gives what has taken its place.

Programs that import them go on working. Nothing in this project uses them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["MOVED", "MOVED_NAMES", "install", "moved_name"]

MOVED = {
    "adapters.asyncio.streams": "adapters.websockets.streams",
    "wsproto_core.asynchronous": "adapters.shared.asynchronous",
    "wsproto_core.auth": "adapters.shared.authentication",
    "wsproto_core.blocks": "adapters.shared.blocks",
    "wsproto_core.broadcasting": "adapters.shared.broadcast",
    "wsproto_core.client": "wsproto_core.handshake.client",
    "wsproto_core.decoding": "wsproto_core.utf8",
    "wsproto_core.connecting": "adapters.shared.client",
    "wsproto_core.connection": "adapters.shared.connection",
    "wsproto_core.headers": "wsproto_core.http.grammar",
    "wsproto_core.http.fields": "wsproto_core.http.headers",
    "wsproto_core.http.readers": "wsproto_core.http.reading",
    "wsproto_core.logs": "adapters.shared.logs",
    "wsproto_core.proxy": "wsproto_core.connect.proxy",
    "wsproto_core.reconnect": "wsproto_core.connect.reconnect",
    "wsproto_core.reconnecting": "adapters.shared.reconnect",
    "wsproto_core.redirects": "wsproto_core.connect.redirects",
    "wsproto_core.routing": "adapters.shared.routing",
    "wsproto_core.server": "wsproto_core.handshake.server",
    "wsproto_core.serving": "adapters.shared.server",
    "wsproto_core.stream_options": "adapters.shared.stream_options",
    "wsproto_core.typing": "wsproto_core.types",
    "wsproto_core.uri": "wsproto_core.http.uri",
    "wsproto_core.waiting": "adapters.shared.waiting",
}
"""What a module was called, and what it is called now."""


MOVED_NAMES = {
    "wsproto_core.extensions.base": {
        name: ("wsproto_core.handshake.negotiation", name)
        for name in ("accept_offers", "check_accepted", "offer_extensions")
    },
    "wsproto_core.frames": {
        "Frame": ("adapters.websockets.framing", "Frame"),
        "FrameHeader": ("adapters.websockets.framing", "FrameHeader"),
        "apply_mask": ("wsproto_core.codec", "apply_mask"),
        "parse_close": ("wsproto_core.closing", "parse_close"),
        "parse_frame": ("adapters.websockets.framing", "parse_frame"),
        "parse_frame_header": ("adapters.websockets.framing", "parse_frame_header"),
        "serialize_close": ("wsproto_core.closing", "serialize_close"),
        "serialize_frame": ("wsproto_core.codec", "encode_frame"),
    },
    "wsproto_core.handshake": {
        name: ("wsproto_core.handshake.headers", name)
        for name in (
            *("accept_key", "build_request", "build_response", "check_host", "check_origin"),
            *("check_request", "check_response", "negotiate_subprotocol_response", "override_headers"),
            *("parse_subprotocol_offers", "select_subprotocol", "to_origin_form"),
        )
    }
    | {name: ("wsproto_core.checks", name) for name in ("check_extra_headers", "own_headers")},
    "wsproto_core.http": {"HeadLimits": ("wsproto_core.limits", "HeadLimits")}
    | {
        name: ("wsproto_core.http.reading", name)
        for name in ("RequestReader", "ResponseReader", "check_no_body")
    },
    "wsproto_core.options": {
        name: ("adapters.shared.options", name)
        for name in ("ConnectOptions", "Logger", "ProcessRequest", "ServeOptions")
    },
    "wsproto_core.types": {"HeadersLike": ("wsproto_core.http.headers", "HeadersLike")},
}
"""By module, names that it has no more, each with the module and the name that has taken its place."""


def moved_name(module: str, name: str) -> object:
    """Return the object that had a name in a module: the module's ``__getattr__``.

    Raises:
        AttributeError: the module never had the name.
    """
    place = MOVED_NAMES[module].get(name)
    if place is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    return getattr(importlib.import_module(place[0]), place[1])


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        # The import system returns what is here afterwards: one module with two names, not a copy.
        sys.modules[module.__name__] = importlib.import_module(MOVED[module.__name__])


def install() -> None:
    """Make the earlier names importable."""
    sys.meta_path.append(_Finder())
    for module in MOVED_NAMES:
        importlib.import_module(module).__getattr__ = partial(moved_name, module)  # type: ignore[method-assign]
