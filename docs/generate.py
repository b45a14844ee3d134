"""Write the parts of these pages that are drawn from the code:  python docs/generate.py

Such a part stands between two comments, ``<!-- generated: name -->`` and ``<!-- end: name -->``. A
test fails when a page differs from what would be written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from wsproto_core.options import OPTIONS, USER_AGENT, CommonOptions, ConnectOptions, ServeOptions
from wsproto_core.states import PHASES, diagram

DOCS = Path(__file__).parent


def states_diagram() -> str:
    return f"```mermaid\n{diagram()}```\n"


def phases_table() -> str:
    lines = [
        "| phase | state | received bytes | stream, server | stream, client | closing deadline |",
        "|---|---|---|---|---|---|",
    ]
    for phase, rules in PHASES.items():
        cells = (
            phase.name,
            rules.state.name,
            "count" if rules.parses else "are dropped",
            rules.server.name,
            rules.client.name,
            {"stop": "none", "start": "starts", "run": "goes on"}[rules.closing_timer.value],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def options_table(declared: type[CommonOptions], base: type[CommonOptions] | None = None) -> str:
    lines = ["| option | default | unit | |", "|---|---|---|---|"]
    for name in declared.__annotations__:
        if base is None or name not in base.__annotations__:
            option = OPTIONS[name]
            default = (
                "library and Python version" if option.default is USER_AGENT else f"`{option.default!r}`"
            )
            lines.append(f"| `{name}` | {default} | {option.unit} | {option.documentation} |")
    return "\n".join(lines) + "\n"


PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "states.md": {"diagram": states_diagram, "phases": phases_table},
    "options.md": {
        "common": lambda: options_table(CommonOptions),
        "client": lambda: options_table(ConnectOptions, CommonOptions),
        "server": lambda: options_table(ServeOptions, CommonOptions),
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
