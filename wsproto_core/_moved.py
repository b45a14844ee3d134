"""Names of version 0.1, of modules and of what has left its module: each gives what has taken its place.

Programs that import them go on working. Nothing in this project uses them.
"""

from __future__ import annotations

import importlib
import sys
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["MOVED", "MOVED_NAMES", "RENAMED", "install", "moved_name"]

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


MOVED_NAMES: dict[str, dict[str, str]] = {
    "wsproto_core.extensions.base": {
        "wsproto_core.handshake.negotiation": "accept_offers check_accepted offer_extensions",
    },
    "wsproto_core.frames": {
        "adapters.websockets.framing": "Frame FrameHeader parse_frame parse_frame_header",
        "wsproto_core.closing": "parse_close serialize_close",
        "wsproto_core.codec": "apply_mask serialize_frame",
    },
    "wsproto_core.handshake": {
        "wsproto_core.handshake.headers": (
            "accept_key build_request build_response check_host check_origin check_request check_response "
            "negotiate_subprotocol_response override_headers parse_subprotocol_offers select_subprotocol "
            "to_origin_form"
        ),
        "wsproto_core.checks": "check_extra_headers own_headers",
    },
    "wsproto_core.http": {
        "wsproto_core.http.reading": "RequestReader ResponseReader check_no_body",
        "wsproto_core.limits": "HeadLimits",
    },
    "wsproto_core.options": {
        "adapters.shared.options": "ConnectOptions Logger ProcessRequest ServeOptions",
    },
    "wsproto_core.types": {"wsproto_core.http.headers": "HeadersLike"},
}
"""By module, the modules in which names are that it has no more."""

RENAMED = {"serialize_frame": "encode_frame"}
"""Those of these names that are not the same in their new module."""


def moved_name(module: str, name: str) -> object:
    """Return the object that had a name in a module: the module's ``__getattr__``.

    Raises:
        AttributeError: the module never had the name.
    """
    for place, names in MOVED_NAMES[module].items():
        if name in names.split():
            return getattr(importlib.import_module(place), RENAMED.get(name, name))
    raise AttributeError(f"module {module!r} has no attribute {name!r}")


class _Finder:
    """A finder and a loader. The base classes for these are in modules that take long to import."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MOVED else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the import system."""

    def exec_module(self, module: ModuleType) -> None:
        # The import system returns what is here afterwards: one module with two names, not a copy.
        sys.modules[module.__name__] = importlib.import_module(MOVED[module.__name__])


def install() -> None:
    """Make the earlier names importable."""
    sys.meta_path.append(_Finder())
    for module in MOVED_NAMES:
        importlib.import_module(module).__getattr__ = partial(moved_name, module)  # type: ignore[method-assign]
