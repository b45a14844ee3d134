"""Who may import whom, and how long a file may be.

The core must stay free of I/O, clocks and threads; within it, imports point one way; an adapter
knows the core and its own runtime only. The imports are read from the source, not followed, so
that one inside a function counts as well, and a module that cannot be imported here is checked.

Each rule is also tried on small source trees that break it: a check that cannot fail checks nothing.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

# The modules of the core, from the lowest layer to the highest. A module may import from layers
# below its own, and from those in its own that SIDEWAYS lists. "" is the package itself.
LAYERS = (
    ("version", "types"),
    ("codec", "limits", "http.headers"),
    ("http.messages",),
    ("http",),
    ("decoding", "exceptions", "timers", "randomness", "states", "checks"),
    ("http.grammar", "http.reading", "http.uri", "frames", "closing", "extensions.base"),
    ("extensions.permessage_deflate",),
    ("connect", "connect.proxy", "connect.redirects", "connect.reconnect", "events", "extensions"),
    ("prepared", "statistics"),
    ("observing", "options"),
    ("messages",),
    ("inbox", "keepalive", "outbox"),
    ("lifecycle",),
    ("protocol",),
    ("handshake", "handshake.checks", "handshake.negotiation"),
    ("handshake.client", "handshake.server", "broadcast", "threads"),
    ("testing", "_moved"),
    ("",),
)

SIDEWAYS: dict[str, set[str]] = {}

RANK = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}

# Of the standard library, what does I/O, reads a clock or runs something besides the caller.
IMPURE = {
    "_socket",
    "_ssl",
    "_thread",
    "asyncio",
    "concurrent",
    "http.client",
    "http.server",
    "multiprocessing",
    "queue",
    "sched",
    "select",
    "selectors",
    "signal",
    "socket",
    "socketserver",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "urllib.request",
}

CORE_DEPENDENCIES = {"h11", "zlib_ng"}

# Dependencies of one module of the core, which imports them when it is used, and not before.
DEFERRED_DEPENDENCIES = {"routing": {"werkzeug"}}

# What each adapter may import besides the core and the rest of the standard library.
RUNTIMES = {
    "anyio": {"anyio", "python_socks"},
    "asyncio": {"asyncio", "python_socks", "uvloop"},
    "shared": {"python_socks", "werkzeug"},
    "structured": set(),
    "threading": {"python_socks"},
    "trio": {"python_socks", "trio"},
    "websockets": {"asyncio"},
}

# What all adapters share that the core must not have, because it handles sockets and streams.
SHARED_BY_ALL = "shared"

# What some adapters share besides, because it handles tasks.
SHARED = {"anyio": "structured", "trio": "structured"}

# An adapter that gives another one's classes older names. Nothing may know it: no entry leads to it.
FACADES = {"websockets": "asyncio"}

LONGEST_CORE_FILE = 600
ADAPTER_CODE_LINES = 900

# Not counted: streams.py is no part of an adapter's connections, but opens streams or is a tool for those
# who hold one; asyncio opens streams by two modules of other names. Threads have no event loop: what stands
# in for it is not counted either; nor is who may send, which others have from the core: asynchronous.py.
NOT_COUNTED = {"streams.py"}
# What is counted together of an adapter and of what it shares.
ESSENTIALS = ("connection.py", "client.py", "server.py")
# A facade's __init__.py is one long list of names.
NOT_COUNTED_OF = {
    "asyncio": {"proxies.py", "tls.py"},
    "threading": {"accepting.py", "background.py", "locking.py", "sending.py", "waiting.py", "wakeups.py"},
    "websockets": {"__init__.py"},
}


# Reading imports


class Import(NamedTuple):
    """One name that a module imports, as an absolute dotted name."""

    target: str
    line: int
    typing_only: bool
    deferred: bool


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def read_imports(path: Path, root: Path) -> Iterator[Import]:
    """Every import in a file. ``from a import b`` gives ``a.b``, which may be a module or not."""
    package = list(path.relative_to(root).parent.parts)

    def visit(node: ast.AST, typing_only: bool, deferred: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, typing_only, deferred)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                yield Import(".".join([*base, alias.name]), node.lineno, typing_only, deferred)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("__import__", "import_module")):
            argument = node.args[0] if node.args else None
            name = argument.value if isinstance(argument, ast.Constant) else "<computed>"
            yield Import(str(name), node.lineno, typing_only, deferred)
        if isinstance(node, ast.If) and is_type_checking(node.test):
            for statement in node.body:
                yield from visit(statement, True, deferred)
            for statement in node.orelse:
                yield from visit(statement, typing_only, deferred)
        else:
            deferred = deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for child in ast.iter_child_nodes(node):
                yield from visit(child, typing_only, deferred)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), False, False)


def within(name: str, packages: set[str] | frozenset[str]) -> bool:
    """Is the name one of these, or inside one of them?"""
    return any(name == package or name.startswith(package + ".") for package in packages)


# Rules


def core_problem(module: str, imported: Import, modules: set[str]) -> str | None:
    """What is wrong with an import in the core, or None."""
    target = imported.target
    top = target.partition(".")[0]
    own = module.removeprefix("wsproto_core").removeprefix(".")
    if top != "wsproto_core":
        if top in DEFERRED_DEPENDENCIES.get(own, ()):
            needed = not (imported.deferred or imported.typing_only)
            return f"imports {target} before it is used: do so within a function" if needed else None
        if within(target, IMPURE):
            return f"imports {target}: no I/O, clock or threads in the core"
        if top not in sys.stdlib_module_names and top not in CORE_DEPENDENCIES:
            return f"imports {target}: the core depends on the standard library and h11 only"
        return None

    if imported.typing_only:
        return None
    if target not in modules:
        # Not a module, so the name of something in one: the module counts.
        target = target.rpartition(".")[0] or target
        if target not in modules:
            return f"imports {target}, which does not exist"
    short = target.removeprefix("wsproto_core").removeprefix(".")
    if short not in RANK:
        return f"imports {target}, which is in no layer"
    if RANK[short] >= RANK[own] and short not in SIDEWAYS.get(own, ()):
        return f"imports {target}, which is not below it"
    return None


def adapter_problem(module: str, imported: Import) -> str | None:
    """What is wrong with an import in an adapter, or None."""
    adapter = module.split(".")[1]
    target = imported.target
    top = target.partition(".")[0]
    runtimes = set().union(*RUNTIMES.values())
    if top == "adapters":
        known = (adapter, SHARED_BY_ALL, SHARED.get(adapter, adapter), FACADES.get(adapter, adapter))
        if within(target, {f"adapters.{name}" for name in known}):
            return None
        return f"imports {target}: an adapter knows no other adapter"
    if top == "wsproto_core" or top in RUNTIMES[adapter]:
        return None
    if top in runtimes or top not in sys.stdlib_module_names:
        return f"imports {target}: an adapter knows the core and its own runtime only"
    return None


def problems(root: Path) -> list[str]:
    """Everything in a source tree that breaks a rule on imports."""
    files = {module_name(path, root): path for path in sorted((root / "wsproto_core").rglob("*.py"))}
    modules = set(files)
    found = []

    def report(path: Path, line: int, problem: str) -> None:
        found.append(f"{path.relative_to(root)}:{line}: {problem}")

    for module, path in files.items():
        if module == "wsproto_core._moved":
            continue
        if module.removeprefix("wsproto_core").removeprefix(".") not in RANK:
            report(path, 1, "is in no layer: give it one in LAYERS")
            continue
        for imported in read_imports(path, root):
            if (problem := core_problem(module, imported, modules)) is not None:
                report(path, imported.line, problem)

    for path in sorted((root / "adapters").rglob("*.py")):
        module = module_name(path, root)
        if module == "adapters":
            report(path, 1, "must not exist: adapters is a namespace package")
        elif module.split(".")[1] not in RUNTIMES:
            report(path, 1, "is an unknown adapter: give it its runtime in RUNTIMES")
        else:
            for imported in read_imports(path, root):
                if (problem := adapter_problem(module, imported)) is not None:
                    report(path, imported.line, problem)
    return found


# Sizes

NOT_CODE = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}


def count_code_lines(source: str) -> int:
    """Lines that hold code: neither blank, nor comments, nor docstrings alone."""
    docstrings = {
        (node.body[0].lineno, node.body[0].col_offset)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and ast.get_docstring(node, clean=False) is not None
    }
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOT_CODE and token.start not in docstrings:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines)


def too_long(root: Path) -> list[str]:
    """Files of the core and adapters that are longer than allowed."""
    found = []
    for path in sorted((root / "wsproto_core").rglob("*.py")):
        count = len(path.read_text(encoding="utf-8").splitlines())
        if count > LONGEST_CORE_FILE:
            found.append(f"{path.relative_to(root)}: {count} lines")
    for adapter in sorted(RUNTIMES):
        folder = root / "adapters" / adapter
        left_out = NOT_COUNTED | NOT_COUNTED_OF.get(adapter, set())
        count = count_of(path for path in folder.rglob("*.py") if path.name not in left_out)
        if count >= ADAPTER_CODE_LINES:
            found.append(f"adapters/{adapter}: {count} lines of code")
        if adapter in SHARED:
            both = [folder, root / "adapters" / SHARED[adapter]]
            count = count_of(each / name for each in both for name in ESSENTIALS if (each / name).is_file())
            if count >= ADAPTER_CODE_LINES:
                found.append(f"adapters/{adapter}, with what it shares: {count} lines of code")
    return found


def count_of(paths: Iterable[Path]) -> int:
    return sum(count_code_lines(path.read_text(encoding="utf-8")) for path in paths)


# This source tree


def test_imports() -> None:
    assert problems(ROOT) == []


def test_sizes() -> None:
    assert too_long(ROOT) == []


def test_tree_is_read() -> None:
    """The checks above are about files that are there."""
    assert (ROOT / "wsproto_core" / "typing.py").is_file()
    assert any((ROOT / "adapters" / "asyncio").glob("*.py"))


# Source trees that keep or break the rules


def write_tree(root: Path, files: dict[str, str]) -> Path:
    for name, source in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return root


KEEPING = {
    "an empty tree": {},
    "the standard library": {"wsproto_core/typing.py": "import enum\nfrom http import HTTPStatus"},
    "the dependency": {"wsproto_core/http.py": "import h11"},
    "a lower layer": {
        "wsproto_core/typing.py": "",
        "wsproto_core/frames.py": "from .typing import Data\nfrom wsproto_core.typing import Side",
    },
    "a lower layer, as a module": {
        "wsproto_core/__init__.py": "",
        "wsproto_core/frames.py": "",
        "wsproto_core/messages.py": "from . import frames\nimport wsproto_core.frames",
    },
    "a lower layer, from a subpackage": {
        "wsproto_core/frames.py": "",
        "wsproto_core/extensions/base.py": "from ..frames import Frame\nfrom .. import frames",
    },
    "a listed module of the same layer": {
        "wsproto_core/headers.py": "",
        "wsproto_core/http.py": "from .headers import parse_list",
        "wsproto_core/extensions/base.py": "",
        "wsproto_core/messages.py": "from .extensions.base import Extension",
    },
    "a higher layer, for types": {
        "wsproto_core/http.py": "",
        "wsproto_core/typing.py": "if TYPE_CHECKING:\n    from .http import Headers",
        "wsproto_core/exceptions.py": "if typing.TYPE_CHECKING:\n    from .http import Response",
    },
    "a dependency of one module, where it is used": {
        "wsproto_core/routing.py": (
            "if TYPE_CHECKING:\n    from werkzeug.routing import Map\n"
            "def function():\n    import werkzeug\n"
            "class Class:\n    async def method(self):\n        from werkzeug.routing import Rule"
        ),
    },
    "an adapter's runtime": {
        "adapters/asyncio/client.py": "import asyncio.events\nimport socket\nimport ssl\nimport uvloop",
    },
    "an adapter's core and own modules": {
        "adapters/asyncio/client.py": (
            "from wsproto_core import ClientProtocol\n"
            "from wsproto_core.frames import Frame\n"
            "from . import connection\n"
            "from .connection import Connection\n"
            "import adapters.asyncio.streams"
        ),
    },
    "what adapters share": {
        "adapters/structured/connection.py": "from wsproto_core import Protocol",
        "adapters/trio/client.py": "import trio\nfrom adapters.structured.connection import Connection",
        "adapters/anyio/client.py": "from adapters import structured",
        "adapters/shared/sockets.py": "import socket\nfrom wsproto_core import Protocol",
        "adapters/asyncio/server.py": "from adapters.shared.sockets import prepare",
        "adapters/structured/server.py": "from adapters.shared.sockets import prepare",
        "adapters/threading/server.py": "from adapters import shared",
    },
    "a facade and its adapter": {
        "adapters/websockets/client.py": (
            "import asyncio\n"
            "from wsproto_core import ClientProtocol\n"
            "from adapters.asyncio.client import ClientConnection\n"
            "from .protocol import WebSocketCommonProtocol"
        ),
    },
}


@pytest.mark.parametrize("files", KEEPING.values(), ids=KEEPING.keys())
def test_rules_kept(tmp_path: Path, files: dict[str, str]) -> None:
    assert problems(write_tree(tmp_path, files)) == []


IMPURE_IMPORTS = [
    "import socket",
    "import ssl",
    "import select",
    "import selectors",
    "import asyncio",
    "import asyncio.events",
    "import threading",
    "import time",
    "from time import monotonic",
    "from http import client",
    "import http.client",
    "import urllib.request",
    "def function():\n    import time",
    "try:\n    import ssl\nexcept ImportError:\n    pass",
    "if TYPE_CHECKING:\n    import socket",
    "import enum, time",
    "importlib.import_module('time')",
    "__import__('socket')",
]


@pytest.mark.parametrize("source", IMPURE_IMPORTS)
def test_impure_core(tmp_path: Path, source: str) -> None:
    (problem,) = problems(write_tree(tmp_path, {"wsproto_core/frames.py": source}))
    assert problem.startswith(str(Path("wsproto_core", "frames.py")))
    assert problem.endswith("no I/O, clock or threads in the core")


@pytest.mark.parametrize(
    "source",
    [
        "import trio",
        "import anyio",
        "import uvloop",
        "from adapters.asyncio import connect",
        "import adapters",
        "import tests",
        "importlib.import_module(name)",
    ],
)
def test_dependencies_of_core(tmp_path: Path, source: str) -> None:
    (problem,) = problems(write_tree(tmp_path, {"wsproto_core/frames.py": source}))
    assert problem.endswith("the core depends on the standard library and h11 only")


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("routing", "import werkzeug", "do so within a function"),
        ("routing", "try:\n    import werkzeug.routing\nexcept ImportError:\n    pass", "within a function"),
        ("routing", "class Class:\n    import werkzeug", "do so within a function"),
        ("frames", "def function():\n    import werkzeug", "the standard library and h11 only"),
        ("frames", "if TYPE_CHECKING:\n    import werkzeug", "the standard library and h11 only"),
    ],
)
def test_dependencies_of_one_module(tmp_path: Path, module: str, source: str, expected: str) -> None:
    (problem,) = problems(write_tree(tmp_path, {f"wsproto_core/{module}.py": source}))
    assert problem.endswith(expected)


ARROWS = [
    ("typing", "exceptions"),
    ("exceptions", "http"),
    ("headers", "http"),
    ("frames", "headers"),
    ("frames", "messages"),
    ("extensions.base", "messages"),
    ("extensions.base", "extensions.permessage_deflate"),
    ("events", "handshake"),
    ("messages", "protocol"),
    ("handshake", "client"),
    ("protocol", "server"),
    ("client", "server"),
    ("server", "client"),
    ("server", "testing"),
]


def file_of(module: str) -> str:
    return "wsproto_core/" + module.replace(".", "/") + ".py"


@pytest.mark.parametrize(("importer", "imported"), ARROWS)
@pytest.mark.parametrize(
    "statement",
    [
        "from wsproto_core.{} import name",
        "import wsproto_core.{}",
        "def function():\n    from wsproto_core.{} import name",
        "if not TYPE_CHECKING:\n    import wsproto_core.{}",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import wsproto_core.{}",
    ],
)
def test_arrows_of_core(tmp_path: Path, importer: str, imported: str, statement: str) -> None:
    files = {file_of(importer): statement.format(imported), file_of(imported): ""}
    (problem,) = problems(write_tree(tmp_path, files))
    assert problem.endswith(f"imports wsproto_core.{imported}, which is not below it")


@pytest.mark.parametrize(
    ("importer", "source"),
    [
        ("frames", "from .messages import Assembler"),
        ("frames", "from . import messages"),
        ("extensions.base", "from ..messages import Assembler"),
        ("extensions.base", "from .. import messages"),
    ],
)
def test_relative_arrows_of_core(tmp_path: Path, importer: str, source: str) -> None:
    files = {file_of(importer): source, "wsproto_core/messages.py": "", "wsproto_core/__init__.py": ""}
    (problem,) = problems(write_tree(tmp_path, files))
    assert problem.endswith("imports wsproto_core.messages, which is not below it")


@pytest.mark.parametrize("source", ["import wsproto_core", "from . import connect", "from . import *"])
def test_package_is_above_its_modules(tmp_path: Path, source: str) -> None:
    files = {"wsproto_core/frames.py": source, "wsproto_core/__init__.py": ""}
    (problem,) = problems(write_tree(tmp_path, files))
    assert problem.endswith("imports wsproto_core, which is not below it")


def test_missing_module(tmp_path: Path) -> None:
    files = {"wsproto_core/__init__.py": "", "wsproto_core/client.py": "from .frames import Frame"}
    (problem,) = problems(write_tree(tmp_path, files))
    assert problem.endswith("imports wsproto_core.frames, which does not exist")


def test_module_without_layer(tmp_path: Path) -> None:
    files = {"wsproto_core/surprise.py": "", "wsproto_core/client.py": "from .surprise import party"}
    first, second = problems(write_tree(tmp_path, files))
    assert first.endswith("imports wsproto_core.surprise, which is in no layer")
    assert second.endswith("is in no layer: give it one in LAYERS")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import trio", "an adapter knows the core and its own runtime only"),
        ("from anyio import create_task_group", "an adapter knows the core and its own runtime only"),
        ("import h11", "an adapter knows the core and its own runtime only"),
        ("def function():\n    import werkzeug", "an adapter knows the core and its own runtime only"),
        ("from adapters.trio import connect", "an adapter knows no other adapter"),
        ("from ..trio import connect", "an adapter knows no other adapter"),
        ("from adapters import trio", "an adapter knows no other adapter"),
        ("import adapters", "an adapter knows no other adapter"),
        ("import adapters.asyncio_extras", "an adapter knows no other adapter"),
    ],
)
def test_adapter(tmp_path: Path, source: str, expected: str) -> None:
    (problem,) = problems(write_tree(tmp_path, {"adapters/asyncio/client.py": source}))
    assert problem.startswith(str(Path("adapters", "asyncio", "client.py")))
    assert problem.endswith(expected)


@pytest.mark.parametrize("importer", ["asyncio", "trio", "threading"])
def test_nothing_knows_a_facade(tmp_path: Path, importer: str) -> None:
    files = {f"adapters/{importer}/client.py": "from adapters.websockets import connect"}
    (problem,) = problems(write_tree(tmp_path, files))
    assert problem.endswith("an adapter knows no other adapter")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from adapters.trio import connect", "an adapter knows no other adapter"),
        ("import trio", "an adapter knows the core and its own runtime only"),
        ("import uvloop", "an adapter knows the core and its own runtime only"),
    ],
)
def test_facade(tmp_path: Path, source: str, expected: str) -> None:
    (problem,) = problems(write_tree(tmp_path, {"adapters/websockets/client.py": source}))
    assert problem.endswith(expected)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import trio", "an adapter knows the core and its own runtime only"),
        ("import anyio", "an adapter knows the core and its own runtime only"),
        ("from adapters.trio import connect", "an adapter knows no other adapter"),
    ],
)
def test_what_adapters_share(tmp_path: Path, source: str, expected: str) -> None:
    for name in ("shared", "structured"):
        (problem,) = problems(write_tree(tmp_path / name, {f"adapters/{name}/client.py": source}))
        assert problem.endswith(expected)


def test_what_all_adapters_share_knows_none(tmp_path: Path) -> None:
    files = {"adapters/shared/sockets.py": "from adapters.structured.transport import Transport"}
    (problem,) = problems(write_tree(tmp_path, files))
    assert problem.endswith("an adapter knows no other adapter")


@pytest.mark.parametrize("importer", ["asyncio", "threading", "websockets"])
def test_who_does_not_share(tmp_path: Path, importer: str) -> None:
    files = {f"adapters/{importer}/client.py": "from adapters.structured.client import connect"}
    (problem,) = problems(write_tree(tmp_path, files))
    assert problem.endswith("an adapter knows no other adapter")


def test_adapter_of_another_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "threading", set())
    (problem,) = problems(write_tree(tmp_path, {"adapters/threading/client.py": "import asyncio"}))
    assert problem.endswith("imports asyncio: an adapter knows the core and its own runtime only")


def test_unknown_adapter(tmp_path: Path) -> None:
    (problem,) = problems(write_tree(tmp_path, {"adapters/curio/client.py": ""}))
    assert problem.endswith("is an unknown adapter: give it its runtime in RUNTIMES")


def test_namespace_package(tmp_path: Path) -> None:
    (problem,) = problems(write_tree(tmp_path, {"adapters/__init__.py": ""}))
    assert problem.endswith("must not exist: adapters is a namespace package")


def test_long_core_file(tmp_path: Path) -> None:
    files = {
        "wsproto_core/frames.py": "#\n" * LONGEST_CORE_FILE,
        "wsproto_core/extensions/base.py": "#\n" * (LONGEST_CORE_FILE + 1),
    }
    (problem,) = too_long(write_tree(tmp_path, files))
    assert problem.endswith("base.py: 621 lines")


def test_long_adapter(tmp_path: Path) -> None:
    files = {
        "adapters/asyncio/client.py": "x = 1\n" * 450 + "# comment\n\n" * 100,
        "adapters/asyncio/server.py": "x = 1\n" * 449,
    }
    assert too_long(write_tree(tmp_path, files)) == []
    write_tree(tmp_path, {"adapters/asyncio/server.py": "x = 1\n" * 450})
    assert too_long(tmp_path) == ["adapters/asyncio: 900 lines of code"]


def test_long_adapter_with_what_it_shares(tmp_path: Path) -> None:
    files = {
        "adapters/structured/connection.py": "x = 1\n" * 500,
        "adapters/structured/runtime.py": "x = 1\n" * 399,
        "adapters/trio/client.py": "x = 1\n" * 399,
        "adapters/trio/transports.py": "x = 1\n" * 399,
    }
    assert too_long(write_tree(tmp_path, files)) == []
    write_tree(tmp_path, {"adapters/trio/client.py": "x = 1\n" * 400})
    assert too_long(tmp_path) == ["adapters/trio, with what it shares: 900 lines of code"]


def test_long_facade(tmp_path: Path) -> None:
    files = {
        "adapters/websockets/__init__.py": "x = 1\n" * ADAPTER_CODE_LINES,
        "adapters/websockets/client.py": "x = 1\n" * (ADAPTER_CODE_LINES - 1),
    }
    assert too_long(write_tree(tmp_path, files)) == []
    write_tree(tmp_path, {"adapters/websockets/client.py": "x = 1\n" * ADAPTER_CODE_LINES})
    assert too_long(tmp_path) == [f"adapters/websockets: {ADAPTER_CODE_LINES} lines of code"]


def test_code_lines() -> None:
    source = '''\
"""Docstring
of two lines."""

# A comment.
import enum  # 1


class Class:  # 2
    """Docstring."""

    attribute = """  # 3

    5"""

    async def method(self):  # 6
        """Docstring

        of three lines.
        """
        return (  # 7
            # A comment.
            f"{self}"  # 8
        )  # 9

    def one_line(self): "Docstring, after code on its line."  # 10
'''
    assert count_code_lines(source) == 10
