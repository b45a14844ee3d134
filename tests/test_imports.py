"""The rules on imports, names of modules, and sizes, for `wsproto_core` and `adapters`.

Imports are read from the source and not followed, so that an import inside a function counts, and one under
``TYPE_CHECKING``, and so that a module is checked that cannot be imported here.

At the end, each rule is tried on small source trees that break it: a check that cannot fail checks nothing.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent


class Room(NamedTuple):
    """Modules that belong together.

    Attributes:
        modules: patterns of module names. A module belongs to the first room that has a pattern for it.
        imports: the rooms next below. A module may import from its own room, from these, and from the rooms
            below these.
        external: what its modules may import besides: other distributions, and modules of the standard
            library that do I/O, read a clock or run tasks or threads.
    """

    modules: tuple[str, ...]
    imports: tuple[str, ...] = ()
    external: tuple[str, ...] = ()


def package(name: str) -> tuple[str, str]:
    """The patterns of a package and of all that is in it."""
    return name, f"{name}.*"


IO = ("logging", "select", "selectors", "signal", "socket", "ssl", "subprocess", "time", "python_socks")
"""What every adapter may import."""

FOUNDATION = (
    *(
        "_moved",
        "_speedups",
        "_speedups.*",
        "version",
        "types",
        "limits",
        "randomness",
        "checks",
        "exceptions",
    ),
    *("http", "http.headers", "http.messages", "http.syntax"),
)

# docs/design.md has a drawing of this table, and says what is in each room.
ROOMS = {
    "foundation": Room(tuple(f"wsproto_core.{name}" for name in FOUNDATION)),
    "http": Room(("wsproto_core.http.*",), ("foundation",), ("h11",)),
    "extensions": Room(package("wsproto_core.extensions"), ("foundation",), ("zlib_ng",)),
    "connect": Room(package("wsproto_core.connect"), ("http",)),
    "handshake": Room(package("wsproto_core.handshake"), ("protocol",)),
    "core": Room(("wsproto_core", "wsproto_core.testing"), ("handshake", "connect")),
    # The second name of the adapters, which no module uses.
    "name": Room(("wsproto_core.adapters",)),
    # The rest of the flat folder.
    "protocol": Room(("wsproto_core.*",), ("http", "extensions")),
    # Clients of topics that come back. With coroutines, the runtime is imported when it runs.
    "session": Room(
        (
            *package("adapters.session"),
            *(f"adapters.{runtime}.session" for runtime in ("anyio", "asyncio", "threading", "trio")),
        ),
        ("topics", "asyncio", "trio", "threading"),
        ("logging", "threading", "time"),
    ),
    "shared": Room(package("adapters.shared"), ("core",), (*IO, "werkzeug")),
    "structured": Room(package("adapters.structured"), ("shared",), IO),
    "asyncio": Room(package("adapters.asyncio"), ("shared",), (*IO, "asyncio", "uvloop")),
    "trio": Room(package("adapters.trio"), ("structured",), (*IO, "trio")),
    "anyio": Room(package("adapters.anyio"), ("structured",), (*IO, "anyio")),
    "threading": Room(
        package("adapters.threading"),
        ("shared",),
        (*IO, "_thread", "concurrent.futures", "queue", "threading"),
    ),
    # An application of ASGI on the connection of `asyncio`, in the server uvicorn.
    "asgi": Room(package("adapters.asgi"), ("asyncio",), (*IO, "asyncio", "uvicorn")),
    # The command line, a leaf: nothing imports it.
    "cli": Room(
        ("adapters.__main__", *package("adapters.cli")),
        ("asyncio",),
        (*IO, "asyncio", "prompt_toolkit", "queue", "rich", "threading", "uvloop", "PIL"),
    ),
    # OpenTelemetry, for connections of every adapter: a leaf as well.
    "otel": Room(package("adapters.otel"), ("shared",), ("opentelemetry", "threading")),
    # Topics, for connections of every adapter with coroutines: a leaf as well.
    "topics": Room(package("adapters.topics"), ("shared",), ("asyncio", "logging", "nats", "redis", "time")),
    # The names of another library, for the classes of `asyncio`.
    "websockets": Room(package("adapters.websockets"), ("asyncio",), (*IO, "asyncio")),
    # The names of another library, for the frames and the handshakes of the core: without I/O.
    "wsproto": Room(package("adapters.wsproto"), ("shared",)),
    # Fixtures with these tools: a module by itself, which pytest imports in every environment.
    "plugin": Room(("wsproto_core_pytest",), (), ("pytest", "trio")),
    # Test tools for applications, which nothing else imports.
    "testing": Room(
        package("adapters.testing"),
        ("asyncio", "trio", "anyio", "threading"),
        (*IO, "asyncio", "trio", "anyio", "pytest"),
    ),
}

CORE = ("foundation", "http", "extensions", "connect", "protocol", "handshake", "core")

# The rest of the standard library does no I/O and may be imported everywhere.
RESTRICTED = {
    *IO,
    *("_socket", "_ssl", "_thread", "asyncio", "concurrent", "http.client", "http.server", "multiprocessing"),
    *("queue", "sched", "socketserver", "threading", "urllib.request"),
}

# Single modules that may import more than their room: TLS contexts are made once for all threads, and
# h11 checks and serializes requests and responses.
MORE_EXTERNAL = {"adapters.shared.tls": {"threading"}, "wsproto_core.http.messages": {"h11"}}

# Imported in functions only: a program that uses no router does not need it.
DEFERRED = {"werkzeug": "adapters.shared.routing"}

# Imports by a computed name are allowed here only.
COMPUTED = {"wsproto_core._moved", "wsproto_core_pytest"}

ENDINGS = re.compile(r"(?<=...)(?:ations?|ings?|ions?|ies|ers?|ors?|ed|es|e|s|y)$")

LONGEST_CORE_FILE = 600
"""Lines."""

CODE_LINES = {
    "wsproto_core": 6000,
    "adapters/anyio": 300,
    "adapters/asyncio": 850,
    "adapters/threading": 1300,
    "adapters/trio": 300,
}
"""Every file of the folder counts, and the count is less than this."""

CODE_LINES_TODAY = CODE_LINES | {"adapters/threading": 1460}
"""Until this folder is as small as it is to be."""


# Reading the source


class Import(NamedTuple):
    """An import statement of one name: ``import module``, or ``from module import name``."""

    module: str
    name: str
    line: int
    deferred: bool
    relative: bool = False


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_modules(root: Path) -> dict[str, Path]:
    """Every module of the project, by its name; of an extension module, its stub."""
    paths = (path for top in ("wsproto_core", "adapters") for path in sorted((root / top).rglob("*.py*")))
    found = (*paths, *root.glob("wsproto_core_*.py"))
    return {module_name(path, root): path for path in found if path.suffix in (".py", ".pyi")}


def read_imports(tree: ast.AST, package: list[str]) -> Iterator[Import]:
    def visit(node: ast.AST, deferred: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, "", node.lineno, deferred)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                yield Import(".".join(base), alias.name, node.lineno, deferred, node.level > 0)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("__import__", "import_module")):
            argument = node.args[0] if node.args else None
            name = argument.value if isinstance(argument, ast.Constant) else "<computed>"
            yield Import(str(name), "", node.lineno, deferred)
        is_typing = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        deferred = deferred or is_typing or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, deferred)

    return visit(tree, False)


def room_of(module: str) -> str | None:
    rooms = (name for name, room in ROOMS.items() if any(fnmatchcase(module, each) for each in room.modules))
    return next(rooms, None)


def rooms_below(room: str) -> set[str]:
    return set(ROOMS[room].imports).union(*map(rooms_below, ROOMS[room].imports))


# Rules


def external_problem(module: str, room: str, imported: Import) -> str | None:
    """The reason why a module may not import something from outside of the project, or None."""
    names = {imported.module, f"{imported.module}.{imported.name}"}
    top = imported.module.partition(".")[0]
    allowed = {*ROOMS[room].external, *MORE_EXTERNAL.get(module, ())}
    if top in sys.stdlib_module_names and not ({top, *names} & RESTRICTED):
        return None
    if not ({top, *names} & allowed) and not (imported.module == "<computed>" and module in COMPUTED):
        return f"imports {imported.module}, which the room {room} does not use"
    if top in DEFERRED and not (imported.deferred and module == DEFERRED[top]):
        return f"imports {top}, which only a function of {DEFERRED[top]} may do"
    return None


def internal_problem(module: str, room: str, target: str) -> str | None:
    """The reason why a module may not import another one of the project, or None."""
    other = room_of(target) or ""
    package, _, name = target.rpartition(".")
    if name.startswith("_") and not f"{module}.".startswith(f"{package}."):
        return f"imports {target}, which is private"
    if other == room or other in rooms_below(room):
        return None
    return f"imports {target}: the room {room} does not know the room {other}"


def name_problem(module: str, imported: Import) -> str | None:
    """The reason why a module of the adapters may not import another one by this name, or None."""
    tops = [name.partition(".")[0] for name in (module, imported.module)]
    if tops == ["adapters", "adapters"] and not imported.relative:
        return f"imports {imported.module} by one of its two names: begin with a dot"
    return None


def is_asynchronous(node: ast.AST) -> bool:
    return isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await) or (
        isinstance(node, ast.comprehension) and bool(node.is_async)
    )


def private_names(tree: ast.AST) -> set[str]:
    """The private names that a module defines: functions, variables, attributes, slots."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Constant(value=str(name)):
                found.add(name)
    return {name for name in found if name.startswith("_") and not name.endswith("_")}


def private_uses(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The private attributes of other objects than ``self`` and ``cls`` that a module uses."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=name) if name.startswith("_") and not name.endswith("_"):
                yield name, node.lineno


def find_circles(graph: dict[str, set[str]]) -> list[frozenset[str]]:
    """The largest sets of modules of which each imports each other one, over others or not."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        rest = [start]
        while rest:
            new = graph[rest.pop()] - found
            found |= new
            rest += new
        return found

    all_reached = {module: reached(module) for module in graph}
    return sorted(
        {
            frozenset(other for other in all_reached[module] if module in all_reached[other])
            for module in graph
            if module in all_reached[module]
        },
        key=sorted,
    )


def similar_names(modules: Iterable[str]) -> list[frozenset[str]]:
    """Sets of names of modules, not of packages, that differ by an ending.

    The facades have the names of other libraries.
    """
    stems: dict[str, set[str]] = {}
    for module in modules:
        if not module.startswith(("adapters.websockets.", "adapters.wsproto.")):
            name = module.rpartition(".")[2].strip("_")
            stems.setdefault(ENDINGS.sub("", name), set()).add(name)
    return [frozenset(names) for names in stems.values() if len(names) > 1]


def problems(root: Path) -> list[str]:
    """Everything in a source tree that breaks a rule on imports or names."""
    modules = read_modules(root)
    trees = {module: ast.parse(path.read_text(encoding="utf-8")) for module, path in modules.items()}
    private = {module: private_names(tree) for module, tree in trees.items()}
    of_core = set().union(*(names for module, names in private.items() if room_of(module) in CORE))
    graph: dict[str, set[str]] = {module: set() for module in modules}
    found = []
    for module, path in modules.items():
        here = path.relative_to(root)
        room = room_of(module)
        if room is None:
            found.append(f"{here}:1: is in no room: give it one in ROOMS")
            continue
        tree = trees[module]
        for imported in read_imports(tree, list(here.parent.parts)):
            if imported.module.partition(".")[0] in ("wsproto_core", "adapters"):
                full = f"{imported.module}.{imported.name}"
                target = full if full in modules else imported.module
                if target not in modules:
                    problem: str | None = f"imports {target}, which does not exist"
                else:
                    graph[module].add(target)
                    problem = internal_problem(module, room, target) or name_problem(module, imported)
            else:
                problem = external_problem(module, room, imported)
            if problem is not None:
                found.append(f"{here}:{imported.line}: {problem}")
        if room in CORE:
            lines = (getattr(node, "lineno", 1) for node in ast.walk(tree) if is_asynchronous(node))
            found += [f"{here}:{line}: is asynchronous: the core does not wait" for line in lines]
            for name, line in private_uses(tree):
                if name in of_core - private[module]:
                    found.append(f"{here}:{line}: uses {name}, which is private to another module")
    found += [f"a circle of imports: {', '.join(sorted(circle))}" for circle in find_circles(graph)]
    for names in similar_names(name for name, path in modules.items() if path.stem != "__init__"):
        found.append(f"names of modules that differ by an ending: {', '.join(sorted(names))}")
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


def too_long(root: Path, limits: dict[str, int]) -> list[str]:
    """Files of the core, and folders, that are longer than allowed."""
    found = []
    for path in sorted((root / "wsproto_core").rglob("*.py")):
        count = len(path.read_text(encoding="utf-8").splitlines())
        if count > LONGEST_CORE_FILE:
            found.append(f"{path.relative_to(root)}: {count} lines")
    for folder, limit in limits.items():
        count = sum(count_code_lines(path.read_text("utf-8")) for path in (root / folder).rglob("*.py"))
        if count >= limit:
            found.append(f"{folder}: {count} lines of code")
    return found


# This source tree


def test_rules() -> None:
    assert problems(ROOT) == []
    assert len(read_modules(ROOT)) > 50


def test_sizes() -> None:
    assert too_long(ROOT, CODE_LINES_TODAY) == []


# The map in docs/design.md


def read_map(page: str) -> list[str]:
    """The modules in the tables of a page, in which each heading of the third level is a folder."""
    found = []
    folder = ""
    for line in page.splitlines():
        if line.startswith("### "):
            title = line.removeprefix("### ")
            # A title of several words is no folder: the modules are in the folder of the project.
            folder = "" if " " in title else title.replace("/", ".") + "."
        elif line.startswith("| `"):
            found += [f"{folder}{name}" for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    return found


def read_drawing(page: str) -> set[tuple[str, str]]:
    return set(re.findall(r"^ *(\w+) --> (\w+)$", page, re.MULTILINE))


def test_map() -> None:
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    modules = [name for name, path in read_modules(ROOT).items() if path.stem != "__init__"]
    assert sorted(read_map(page)) == sorted(modules)
    assert read_drawing(page) == {(name, lower) for name, room in ROOMS.items() for lower in room.imports}


def test_map_is_read() -> None:
    page = "## Rooms\n    a --> b\n### wsproto_core/http\n| `uri`, `reading` | `Request` |\n|---|---|"
    assert read_map(page) == ["wsproto_core.http.uri", "wsproto_core.http.reading"]
    assert read_map(f"{page}\n### A title\n| `alone` |")[2:] == ["alone"]
    assert read_drawing(page) == {("a", "b")}


# Source trees that break the rules


def write_tree(root: Path, files: dict[str, str]) -> Path:
    for name, source in files.items():
        path = root / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return root


KEPT = {
    "an empty tree": {},
    "the standard library": {"wsproto_core/types": "import enum\nfrom http import HTTPStatus"},
    "a distribution": {"wsproto_core/http/reading": "import h11", "adapters/trio/client": "import trio.abc"},
    "a lower room": {
        "wsproto_core/__init__": "",
        "wsproto_core/types": "",
        "wsproto_core/extensions/base": "from ..types import Data\nfrom wsproto_core.types import Side",
        "wsproto_core/frames": "from . import types\nimport wsproto_core.types",
        "adapters/shared/logs": "from wsproto_core import Protocol\nimport logging",
        "adapters/structured/server": "from ..shared.logs import line\nimport socket",
        "adapters/trio/server": "from ..structured.server import Server\nfrom . import _accept",
        "adapters/trio/_accept": "",
    },
    "an import of a router in a function": {
        "adapters/shared/routing": (
            "if TYPE_CHECKING:\n    from werkzeug.routing import Map\n"
            "class Class:\n    async def method(self):\n        from werkzeug.routing import Rule"
        ),
    },
}


@pytest.mark.parametrize("files", KEPT.values(), ids=KEPT)
def test_rules_are_kept(tmp_path: Path, files: dict[str, str]) -> None:
    assert problems(write_tree(tmp_path, files)) == []


@pytest.mark.parametrize(
    ("module", "source", "problem"),
    [
        ("wsproto_core/frames", "import socket", "imports socket, which the room protocol does not use"),
        ("wsproto_core/frames", "import enum, time", "imports time"),
        ("wsproto_core/frames", "import asyncio.events", "imports asyncio.events"),
        ("wsproto_core/frames", "from time import monotonic", "imports time"),
        ("wsproto_core/frames", "from http import client", "imports http"),
        ("wsproto_core/frames", "import http.client", "imports http.client"),
        ("wsproto_core/frames", "def function():\n    import time", "imports time"),
        ("wsproto_core/frames", "try:\n    import ssl\nexcept ImportError:\n    pass", "imports ssl"),
        ("wsproto_core/frames", "if typing.TYPE_CHECKING:\n    import threading", "imports threading"),
        ("wsproto_core/frames", "importlib.import_module('time')", "imports time"),
        ("wsproto_core/frames", "__import__('socket')", "imports socket"),
        ("wsproto_core/frames", "importlib.import_module(name)", "imports <computed>"),
        ("wsproto_core/frames", "import h11", "imports h11"),
        ("wsproto_core/frames", "import trio", "imports trio"),
        ("wsproto_core/frames", "import tests", "imports tests"),
        ("wsproto_core/types", "import logging", "imports logging"),
        ("wsproto_core/frames", "async def function(): pass", "is asynchronous"),
        ("wsproto_core/frames", "f = [x async for x in y]", "is asynchronous"),
        ("wsproto_core/types", "from .here import name", "room foundation does not know the room protocol"),
        ("wsproto_core/types", "from . import here", "room foundation does not know the room protocol"),
        ("wsproto_core/types", "if TYPE_CHECKING:\n    import wsproto_core.here", "room foundation does not"),
        ("wsproto_core/extensions/base", "from ..here import name", "room extensions does not know"),
        ("wsproto_core/frames", "import wsproto_core", "does not know the room core"),
        ("wsproto_core/frames", "from . import *", "does not know the room core"),
        (
            "wsproto_core/frames",
            "import adapters.asyncio",
            "the room protocol does not know the room asyncio",
        ),
        ("wsproto_core/frames", "from .none import name", "imports wsproto_core.none, which does not exist"),
        ("wsproto_core/frames", "from .frames import name", "a circle of imports: wsproto_core.frames"),
        ("wsproto_core/frames", "import wsproto_core.adapters", "does not know the room name"),
        ("adapters/trio/client", "import wsproto_core.adapters", "does not know the room name"),
        ("adapters/trio/client", "from adapters.structured import x", "by one of its two names"),
        ("adapters/trio/client", "from wsproto_core.adapters.trio import x", "does not exist"),
        ("wsproto_core/handing", "", "names of modules that differ by an ending: handed, handing"),
        ("adapters/asyncio/hand", "", "names of modules that differ by an ending: hand, handed"),
        ("adapters/__init__", "", "is in no room"),
        ("adapters/curio/client", "", "is in no room"),
        ("adapters/shared/client", "import asyncio", "the room shared does not use"),
        ("adapters/shared/client", "import threading", "the room shared does not use"),
        (
            "adapters/shared/client",
            "def function():\n    import werkzeug",
            "only a function of adapters.shared",
        ),
        ("adapters/shared/routing", "import werkzeug", "only a function of adapters.shared.routing"),
        ("adapters/shared/client", "import adapters.asyncio", "shared does not know the room asyncio"),
        ("adapters/structured/client", "import anyio", "the room structured does not use"),
        ("adapters/asyncio/client", "import trio", "the room asyncio does not use"),
        ("adapters/asyncio/client", "from ..trio import _hidden", "imports adapters.trio._hidden"),
        ("adapters/asyncio/client", "from adapters import trio", "asyncio does not know the room trio"),
        ("adapters/asyncio/client", "from ..structured import base", "does not know the room structured"),
        ("adapters/trio/client", "import adapters.websockets", "does not know the room websockets"),
        ("adapters/asyncio/client", "import uvicorn", "the room asyncio does not use"),
        ("adapters/asyncio/client", "from adapters import asgi", "asyncio does not know the room asgi"),
        ("adapters/asgi/client", "import starlette", "the room asgi does not use"),
        ("adapters/asgi/client", "from adapters.trio import x", "does not know the room trio"),
        ("adapters/testing/client", "import uvicorn", "the room testing does not use"),
        ("adapters/trio/client", "from adapters import testing", "trio does not know the room testing"),
        ("adapters/asyncio/client", "from adapters import cli", "asyncio does not know the room cli"),
        ("adapters/websockets/client", "from adapters.cli import x", "does not know the room cli"),
        ("adapters/cli/client", "import trio", "the room cli does not use"),
        ("adapters/cli/client", "from adapters.asgi import x", "does not know the room asgi"),
        ("adapters/__main__", "from adapters.trio import x", "the room cli does not know the room trio"),
        ("adapters/websockets/client", "import uvloop", "the room websockets does not use"),
        ("adapters/websockets/client", "from adapters.trio import x", "does not know the room trio"),
    ],
)
def test_rules_are_broken(tmp_path: Path, module: str, source: str, problem: str) -> None:
    rooms = ("asgi", "asyncio", "cli", "structured", "testing", "trio", "websockets")
    files = {
        "wsproto_core/__init__": "",
        "wsproto_core/here": "",
        "wsproto_core/adapters/__init__": "",
        "wsproto_core/handed": "",
        "adapters/trio/_hidden": "",
        **{f"adapters/{room}/__init__": "" for room in rooms},
    }
    (found,) = problems(write_tree(tmp_path, {**files, module: source}))
    assert problem in found


def test_private_attribute(tmp_path: Path) -> None:
    files = {
        "wsproto_core/alpha": "class A:\n    def f(self, other):\n        self._x = other._x",
        "wsproto_core/beta": "class B:\n    __slots__ = ('_y',)\ndef g(a, b):\n    a._z()\n    b._y = a._x",
    }
    (found,) = problems(write_tree(tmp_path, files))
    assert found.endswith("beta.py:5: uses _x, which is private to another module")


def test_private_module(tmp_path: Path) -> None:
    files = {"adapters/shared/_tables": "", "adapters/trio/client": "from ..shared import _tables"}
    (found,) = problems(write_tree(tmp_path, files))
    assert found.endswith("imports adapters.shared._tables, which is private")


def test_circle_for_types(tmp_path: Path) -> None:
    files = {
        "wsproto_core/alpha": "from .beta import name",
        "wsproto_core/beta": "def function():\n    from . import gamma",
        "wsproto_core/gamma": "if TYPE_CHECKING:\n    from .alpha import Class\n    from .delta import name",
        "wsproto_core/delta": "",
    }
    (found,) = problems(write_tree(tmp_path, files))
    assert found == "a circle of imports: wsproto_core.alpha, wsproto_core.beta, wsproto_core.gamma"


def test_long_file(tmp_path: Path) -> None:
    files = {
        "wsproto_core/frames": "#\n" * LONGEST_CORE_FILE,
        "wsproto_core/extensions/base": "#\n" * (LONGEST_CORE_FILE + 1),
    }
    (found,) = too_long(write_tree(tmp_path, files), CODE_LINES)
    assert found.endswith("base.py: 601 lines")


@pytest.mark.parametrize("folder", CODE_LINES)
def test_long_folder(tmp_path: Path, folder: str) -> None:
    files = {f"{folder}/part{each}": "x = 1\n" * 50 + "# comment\n\n" * 100 for each in range(200)}
    lines = CODE_LINES[folder]
    for count in range(lines // 50, 200):
        del files[f"{folder}/part{count}"]
    assert too_long(write_tree(tmp_path, {**files, f"{folder}/part0": "x = 1\n" * 49}), CODE_LINES) == []
    write_tree(tmp_path, {f"{folder}/deeper/__init__": "x = 1\n"})
    assert too_long(tmp_path, CODE_LINES) == [f"{folder}: {lines} lines of code"]


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
