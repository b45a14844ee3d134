"""Write the parts of these pages, and of docstrings, that are drawn from the code:  python docs/generate.py

Such a part stands between two comments, ``<!-- generated: name -->`` and ``<!-- end: name -->``. A
test fails when a page differs from what would be written.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from adapters import anyio, asyncio, threading, trio
from adapters.cli.arguments import make_parser
from adapters.shared.options import OPTIONS, ConnectOptions, ServeOptions
from adapters.shared.signatures import ALL_OPTIONS, option_names
from adapters.shared.stream_options import STREAM_OPTIONS
from wsproto_core.options import USER_AGENT, CommonOptions
from wsproto_core.states import PHASES, TIMERS, Bytes, Reading, diagram
from wsproto_core.statistics import Statistics
from wsproto_core.timers import Timer

DOCS = Path(__file__).parent

READING = {
    Reading.BACKPRESSURE: "read while there is room",
    Reading.TO_END: "read to the end",
    Reading.STOPPED: "do not read",
}


def states_diagram() -> str:
    return f"```mermaid\n{diagram()}```\n"


def phases_table() -> str:
    lines = [
        "| phase | state | received bytes are | server | client | closing deadline | other deadlines |",
        "|---|---|---|---|---|---|---|",
    ]
    for phase, rules in PHASES.items():
        cells = (
            phase.name,
            rules.state.name,
            "parsed" if rules.received is Bytes.PARSED else "dropped",
            f"{rules.server.action.name}, {READING[rules.server.reading]}",
            f"{rules.client.action.name}, {READING[rules.client.reading]}",
            rules.closing_timer.value,
            ", ".join(timer.value for timer in Timer if timer in rules.timers) or "none",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def timers_table() -> str:
    lines = [
        "| deadline | when it is looked at late | input | error | close frame |",
        "|---|---|---|---|---|",
    ]
    for timer, rules in TIMERS.items():
        cells = (
            timer.value,
            "one more period, and `TimerOverdue`" if rules.forgives_lateness else "",
            rules.cause.value if rules.cause else "none: it is periodic",
            rules.error or "",
            f"{rules.close.code}, {rules.close.reason}" if rules.close else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


COMMON = [*CommonOptions.__annotations__, "logger"]


def options_table(names: Iterable[str]) -> str:
    lines = ["| option | default | unit | |", "|---|---|---|---|"]
    for name in names:
        option = OPTIONS[name]
        default = "library and Python version" if option.default is USER_AGENT else f"`{option.default!r}`"
        lines.append(f"| `{name}` | {default} | {option.unit} | {option.documentation} |")
    return "\n".join(lines) + "\n"


def _others(declared: type[CommonOptions]) -> list[str]:
    return [name for name in declared.__annotations__ if name not in COMMON]


def statistics_table() -> str:
    """Each attribute is documented by the string literal behind it, each property by its docstring."""
    lines = ["| attribute | type | |", "|---|---|---|"]
    (definition,) = ast.parse(inspect.getsource(Statistics)).body
    assert isinstance(definition, ast.ClassDef)
    for node, after in pairwise(definition.body):
        documentation: str | None = None
        if isinstance(node, ast.AnnAssign) and isinstance(after, ast.Expr):
            name, kind = ast.unparse(node.target), ast.unparse(node.annotation)
            documentation = ast.literal_eval(after.value)
            lines.append(f"| `{name}` | {_kind(kind)} | {_markdown(documentation)} |")
    for node in definition.body:
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            kind, documentation = ast.unparse(node.returns), ast.get_docstring(node)
            lines.append(f"| `{node.name}` | {_kind(kind)} | {_markdown(documentation)} |")
    return "\n".join(lines) + "\n"


def _kind(annotation: str) -> str:
    return annotation.replace(" | ", " or ")


def _markdown(documentation: str | None) -> str:
    assert documentation
    return documentation.replace("``", "`")


ADAPTERS = {"asyncio": asyncio, "threading": threading, "trio": trio, "anyio": anyio}


def streams_table() -> str:
    lines = ["| option | default | unit | client | server | |", "|---|---|---|---|---|---|"]
    for name, option in STREAM_OPTIONS.items():
        cells = [f"`{name}`", f"`{option.default!r}`", option.unit]
        for call in ("connect", "serve"):
            names = [title for title, each in ADAPTERS.items() if name in option_names(getattr(each, call))]
            cells.append("all" if len(names) == len(ADAPTERS) else ", ".join(names))
        lines.append(f"| {' | '.join(cells)} | {option.documentation} |")
    return "\n".join(lines) + "\n"


def option_lines(function: Callable[..., Any], indentation: str) -> str:
    """Return the section of a docstring that has every option: its first sentence, and its default."""
    lines = []
    for name in option_names(function):
        option = ALL_OPTIONS[name]
        sentence = re.split(r"(?<=\.) (?=[A-Z])", option.documentation)[0]
        default = "library and Python version" if option.default is USER_AGENT else repr(option.default)
        unit = f" {option.unit}" if option.unit and isinstance(option.default, int | float) else ""
        text = f"{name}: {sentence} Default: {default}{unit}."
        lines += textwrap.wrap(text, 110, initial_indent=indentation, subsequent_indent=f"{indentation}    ")
    return "\n".join(lines)


DOCSTRINGS = {
    "adapters/asyncio/client.py": (asyncio.connect, asyncio.unix_connect, asyncio.reconnect),
    "adapters/asyncio/server.py": (asyncio.serve, asyncio.unix_serve),
    "adapters/threading/client.py": (threading.connect, threading.unix_connect, threading.reconnect),
    "adapters/threading/server.py": (threading.serve, threading.unix_serve),
    "adapters/trio/client.py": (trio.connect, trio.unix_connect, trio.reconnect),
    "adapters/anyio/client.py": (anyio.connect, anyio.unix_connect, anyio.reconnect),
    "adapters/structured/server.py": (trio.serve, trio.unix_serve, trio.serve_stream),
}
"""Functions of modules, whose docstrings list their options after the line ``Keyword Args:``."""


def generate_docstrings(name: str) -> str:
    """Return a module as it should be."""
    text = (DOCS.parent / name).read_text(encoding="utf-8")
    for function in DOCSTRINGS[name]:
        # Overloads stand before the function with the docstring.
        pattern = re.compile(
            rf'(def {function.__name__}\(.*?\n( *)Keyword Args:\n).*?(?=\n\n|\n *""")', re.DOTALL
        )
        found = pattern.search(text)
        if found is None:
            raise ValueError(f"the docstring of {function.__name__} in {name} has no line 'Keyword Args:'")
        lines = option_lines(function, f"{found[2]}    ")
        text = f"{text[: found.start()]}{found[1]}{lines}{text[found.end() :]}"
    return text


def _argument(action: argparse.Action) -> str:
    """Return what is written for an argument of a command."""
    names = ", ".join(f"`{name}`" for name in action.option_strings)
    if action.nargs == 0:
        return names
    values = action.choices or [action.metavar or action.dest.upper()]
    return f"{names} {', '.join(f'`{value}`' for value in values)}".strip()


def command_table(command: str) -> str:
    """Return the description of a command, and its arguments."""
    (commands,) = (each.choices for each in make_parser()._actions if isinstance(each.choices, dict))
    parser = commands[command]
    lines = [parser.description, "", "| argument | |", "|---|---|"]
    for action in parser._actions:
        if action.help != argparse.SUPPRESS:
            lines.append(f"| {_argument(action)} | {action.help or ''} |")
    return "\n".join(lines) + "\n"


PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "observability.md": {"statistics": statistics_table},
    "reference/cli.md": {name: partial(command_table, name) for name in ("connect", "serve", "bench")},
    "states.md": {"diagram": states_diagram, "phases": phases_table, "timers": timers_table},
    "options.md": {
        "common": lambda: options_table(COMMON),
        "client": lambda: options_table(_others(ConnectOptions)),
        "server": lambda: options_table(_others(ServeOptions)),
        "streams": streams_table,
    },
}


def generate(name: str) -> str:
    """Return a page as it should be."""
    text = (DOCS / name).read_text(encoding="utf-8")
    for part, write in PARTS[name].items():
        start, end = f"<!-- generated: {part} -->\n", f"<!-- end: {part} -->"
        pattern = re.compile(f"({re.escape(start)}).*?({re.escape(end)})", re.DOTALL)
        content = write().replace("\\", r"\\")
        text, count = pattern.subn(rf"\g<1>{content}\g<2>", text)
        if count != 1:
            raise ValueError(f"{name} must have the comments for the part {part!r} once, not {count} times")
    return text


if __name__ == "__main__":
    for name in PARTS:
        (DOCS / name).write_text(generate(name), encoding="utf-8")
    for name in DOCSTRINGS:
        (DOCS.parent / name).write_text(generate_docstrings(name), encoding="utf-8")
