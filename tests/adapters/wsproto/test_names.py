"""The names, arguments and defaults that wsproto documents, compared with wsproto itself."""

from __future__ import annotations

import enum
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DOCUMENTED = {
    "": ["Connection", "ConnectionState", "ConnectionType", "WSConnection"],
    "connection": ["CLIENT", "Connection", "ConnectionState", "ConnectionType", "SERVER"],
    "events": [
        *("AcceptConnection", "BytesMessage", "CloseConnection", "Event", "Message", "Ping", "Pong"),
        *("RejectConnection", "RejectData", "Request", "TextMessage"),
    ],
    "extensions": ["Extension", "PerMessageDeflate", "SUPPORTED_EXTENSIONS"],
    "frame_protocol": [
        *("CloseReason", "Frame", "FrameProtocol", "LOCAL_ONLY_CLOSE_REASONS", "Opcode", "ParseFailed"),
        "RsvBits",
    ],
    "handshake": [
        *("H11Handshake", "WEBSOCKET_UPGRADE", "WEBSOCKET_VERSION", "client_extensions_handshake"),
        "server_extensions_handshake",
    ],
    "typing": ["Headers"],
    "utilities": [
        *("LocalProtocolError", "ProtocolError", "RemoteProtocolError", "generate_accept_token"),
        *("generate_nonce", "normed_header_dict", "split_comma_header"),
    ],
}
"""What the documentation of wsproto has, and what programs use beside."""


def names() -> Iterator[Any]:
    for module, listed in DOCUMENTED.items():
        for name in listed:
            yield pytest.param(module, name, id=f"{module}.{name}".lstrip("."))


def both(module: str, name: str) -> tuple[Any, Any]:
    tops = ("wsproto", "adapters.wsproto")
    theirs, ours = (importlib.import_module(f"{top}.{module}".rstrip(".")) for top in tops)
    return getattr(theirs, name), getattr(ours, name)


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    found = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default) for each in found]


@pytest.mark.parametrize(("module", "name"), list(names()))
def test_name(module: str, name: str) -> None:
    theirs, ours = both(module, name)
    if isinstance(theirs, enum.EnumMeta):
        assert {each.name: each.value for each in theirs} == {each.name: each.value for each in ours}
    elif inspect.isclass(theirs):
        assert inspect.isclass(ours)
        check_class(theirs, ours)
    elif inspect.isfunction(theirs):
        assert parameters(ours) == parameters(theirs)
    elif name == "SUPPORTED_EXTENSIONS":
        assert list(ours) == list(theirs)
    else:
        assert repr(ours) == repr(theirs)


def check_class(theirs: Any, ours: Any) -> None:
    if "__init__" in vars(theirs):
        assert parameters(ours) == parameters(theirs)
    for name, member in inspect.getmembers(theirs):
        if name.startswith("_"):
            continue
        assert hasattr(ours, name), name
        if inspect.isfunction(member):
            assert parameters(getattr(ours, name)) == parameters(member), name


def test_other_names_as_documented() -> None:
    """The code in docs/wsproto.md makes ``import wsproto`` an import of this package."""
    page = (Path(__file__).parents[3] / "docs" / "wsproto.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (code,) = (block for block in blocks if "sys.modules" in block)
    lines = [code.replace("import hypercorn", "import wsproto")]
    for module in filter(None, DOCUMENTED):
        lines += (
            f"import wsproto.{module}",
            f"assert wsproto.{module}.__name__ == 'adapters.wsproto.{module}'",
        )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)


def test_submodules_are_attributes() -> None:
    wsproto = importlib.import_module("adapters.wsproto")
    for module in filter(None, DOCUMENTED):
        assert inspect.ismodule(getattr(wsproto, module))
