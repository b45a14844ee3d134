"""How many steps a path takes to be matched with a rule: counted, not timed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug.routing import BaseConverter, Map, Rule

from adapters.shared.routing import MAX_STEPS, Route, Router
from wsproto_core.http import Headers, Request, Response

HOST = "server.example.com"


def handler(websocket: object, **arguments: object) -> None: ...


def rule(text: str, **options: Any) -> Rule:
    return Rule(text, endpoint=options.pop("endpoint", handler), **options)


def found(router: Router, path: str, host: str = HOST) -> str | int:
    """The rule that a path leads to, or the status that is answered."""
    result = router.route(Request(path, Headers(Host=host)))
    return result.status if isinstance(result, Response) else result.rule


def longest(router: Router, path: Callable[[int], str], limit: int = 4000) -> float:
    """The length of the longest path of a kind that is matched; ``inf`` if there is no end of it."""
    if found(router, path(limit)) != 404:
        return math.inf
    low, high = 0, limit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(router, path(middle)) == 404 else (middle, high)
    return len(path(low))


# What a backtracking matcher does with a rule

Piece = str | tuple[str, bool]
"""A literal, or what a converter's value is made of, and whether the longest one is tried first."""

TEXT: Piece = ("text", True)
DIGITS: Piece = ("digits", True)
ANY: Piece = ("any", False)


def is_of(kind: str, character: str) -> bool:
    return character.isdigit() if kind == "digits" else kind == "any" or character != "/"


def steps_of(pieces: list[Piece], path: str) -> int:
    """Count the ends of values that are tried until it is known whether a path is matched."""
    steps = 0

    def ends(piece: tuple[str, bool], start: int) -> Iterator[int]:
        nonlocal steps
        kind, longest_first = piece
        end = start
        found = []
        while end < len(path) and is_of(kind, path[end]) and not (kind == "any" and path[start] == "/"):
            end += 1
            if longest_first:
                found.append(end)
            else:
                steps += 1
                yield end
        for end in reversed(found):
            steps += 1
            yield end

    def match(index: int, position: int) -> bool:
        if index == len(pieces):
            return position == len(path)
        piece = pieces[index]
        if isinstance(piece, str):
            return path.startswith(piece, position) and match(index + 1, position + len(piece))
        return any(match(index + 1, end) for end in ends(piece, position))

    match(0, 0)
    return steps


RULES: dict[str, tuple[list[Piece], int]] = {
    # Three, two or no converters, the text between which can be divided in several ways.
    "/<x>,<y>,<z>.png": (["/", TEXT, ",", TEXT, ",", TEXT, ".png"], 3),
    "/<x>,<y>,<z>": (["/", TEXT, ",", TEXT, ",", TEXT], 2),
    "/<x>,<y>.png": (["/", TEXT, ",", TEXT, ".png"], 2),
    "/<x><y>1": (["/", TEXT, TEXT, "1"], 2),
    "/<x><int:y>z": (["/", TEXT, DIGITS, "z"], 2),
    "/<x>1<int:y>z": (["/", TEXT, "1", DIGITS, "z"], 2),
    "/<int:x><int:y>z": (["/", DIGITS, DIGITS, "z"], 2),
    "/<path:x>/1/<path:y>/z": (["/", ANY, "/1/", ANY, "/z"], 2),
    "/<path:x>,<y>": (["/", ANY, ",", TEXT], 2),
    "/<x>,<y>": (["/", TEXT, ",", TEXT], 0),
    "/<x>,<int:y>z": (["/", TEXT, ",", DIGITS, "z"], 0),
    "/<int:x>,<int:y>,<int:z>.png": (["/", DIGITS, ",", DIGITS, ",", DIGITS, ".png"], 0),
    "/<path:x>/<path:y>": (["/", ANY, "/", ANY], 0),
    "/<path:x>/<y>/<z>": (["/", ANY, "/", TEXT, "/", TEXT], 0),
    "/<path:x>/<int:y>/z": (["/", ANY, "/", DIGITS, "/z"], 0),
    "/<path:x>/z": (["/", ANY, "/z"], 0),
    "/<x>/<y>/<z>": (["/", TEXT, "/", TEXT, "/", TEXT], 0),
    "/<x>.png": (["/", TEXT, ".png"], 0),
}

UNITS = ["1", ",", "1,", ",1", "/", "1/", "/1", "/1/", "a", "a,", "1a", ".png", "z", "/1/,"]
ENDS = ["", "!", "/", "//", ".png", "z", "/z", ",", ";"]


@pytest.mark.parametrize(("text", "pieces", "undecided"), [(text, *RULES[text]) for text in RULES])
def test_steps_are_bounded(text: str, pieces: list[Piece], undecided: int) -> None:
    """At the length up to which a rule is for, and, without a limit, in proportion to the path."""
    router = Router([rule(text)])
    limit = router._maps[0][0]
    assert (limit == math.inf) is (undecided == 0)
    if undecided:
        assert math.comb(int(limit), undecided) <= MAX_STEPS < math.comb(int(limit) + 1, undecided)
    lengths = (int(limit),) if undecided else (300, 600)
    for unit in UNITS:
        for end in ENDS:
            for length in lengths:
                path = ("/" + unit * length)[: length - len(end)] + end
                if ANY not in pieces and path.count("/") != text.count("/"):
                    # werkzeug compares the number of segments first.
                    continue
                allowed = 2 * MAX_STEPS if undecided else 5 * length
                assert steps_of(pieces, path) <= allowed, (unit, end)


def test_converters_with_a_few_values_do_not_count() -> None:
    for text in ("/<any(a,b):x><uuid:y>,<z>.png", "/<any(a,b):x>-<any(c):y>-<z>.png", "/<uuid:x><y>.png"):
        assert Router([rule(text)])._maps[0][0] == math.inf


def test_what_is_counted() -> None:
    """The counter sees what grows."""
    pieces = RULES["/<x>,<y>,<z>.png"][0]
    counts = [steps_of(pieces, "/" + "," * length) for length in (20, 40)]
    assert counts[1] > 6 * counts[0]


# Paths that are too long for a rule


def test_a_path_that_is_too_long_is_not_found() -> None:
    def path(length: int) -> str:
        return "/1,1," + "1" * length + ".png"

    assert longest(Router([rule("/<x>,<y>,<z>.png")]), path) == 93
    assert longest(Router([rule("/<x>,<y>.png")]), lambda length: f"/1,{'1' * length}.png") == 512
    assert longest(Router([rule("/<int:x>,<int:y>,<int:z>.png")]), path) == math.inf
    router = Router([rule("/<x>,<y>,<z>.png")])
    assert found(router, "/" + "1," * 2000) == 404
    assert found(router, "/" + "1," * 20 + "1.png") == "/<x>,<y>,<z>.png"


def test_other_rules_are_for_paths_of_any_length() -> None:
    router = Router(
        [rule("/<x>,<y>.png"), rule("/<x>,<y>,<z>.png"), rule("/token/<token>"), rule("/<path:rest>")]
    )
    for length in (10, 90, 100, 500, 600, 8000):
        assert found(router, "/token/" + "," * length) == "/token/<token>"
    for length, expected in [
        (20, "/<x>,<y>,<z>.png"),
        (200, "/<x>,<y>.png"),
        (600, "/<path:rest>"),
        (8000, "/<path:rest>"),
    ]:
        assert found(router, f"/1,2,{'3' * length}.png") == expected


def test_long_hosts() -> None:
    router = Router(
        Map([rule("/", host="<a>-<b>.example"), rule("/x", host="<a>.example")], host_matching=True)
    )
    assert found(router, "/", "a-b.example") == "/"
    assert found(router, "/", f"a-{'b.' * 250}example") == "/"
    assert found(router, "/", f"a-{'b.' * 300}example") == 404
    assert found(router, "/x", f"{'b.' * 300}example") == "/x"
    router = Router([rule("/", subdomain="<a>-<b>-<c>-x")], "example.com")
    assert found(router, "/", "a-b-c-x.example.com") == "/"
    assert found(router, "/", f"a-b-{'c.' * 50}-x.example.com") == 404


class Hexadecimal(BaseConverter):
    regex = "[0-9a-f]+"


def test_converters_of_ones_own_count() -> None:
    url_map = Map([rule("/<hex:x>z<hex:y>"), rule("/one/<hex:x>")], converters={"hex": Hexadecimal})
    router = Router(url_map)
    assert [limit for limit, _ in router._maps] == [512, math.inf]
    assert found(router, "/one/" + "a" * 8000) == "/one/<hex:x>"
    assert found(router, "/az" + "b" * 500) == "/<hex:x>z<hex:y>"
    assert found(router, "/az" + "b" * 600) == 404


def test_all_else_is_the_same_for_long_paths() -> None:
    """The map for them is like the one that was given."""
    rules = [
        rule("/<x>,<y>.png", websocket=True),
        rule("/chat/<name>/", websocket=True),
        rule("/loose/<name>/", strict_slashes=False, websocket=True),
        rule("/page/<name>", defaults={"number": 1}, websocket=True),
        rule("/page/<name>/<int:number>", websocket=True),
        rule("/http/<name>", endpoint="http"),
        rule("/methods/<name>", methods=["OPTIONS", "GET"], websocket=True),
        rule("/alias/<name>", alias=True, endpoint=handler, websocket=True),
        rule("/built/<name>", build_only=True, endpoint=handler, websocket=True),
        Rule("/old/<name>", redirect_to="/new/<name>", websocket=True),
    ]
    url_map = Map(rules)
    before = [vars(each).copy() for each in rules]
    router = Router(url_map)
    assert len(router._maps) == 2
    assert router._maps[0][1] is url_map is rules[0].map
    assert [vars(each) for each in rules] == before

    def answered(path: str, name: str) -> Any:
        result = router.route(Request(path.replace("NAME", name), Headers(Host=HOST)))
        if isinstance(result, Route):
            arguments = {key: "NAME" if value == name else value for key, value in result.arguments.items()}
            return result.rule, arguments
        return result.status, result.headers.get("Location", "").replace(name, "NAME")

    for path in (
        "/chat/NAME", "/chat/NAME/", "/chat//NAME/", "/loose/NAME", "/page/NAME", "/page/NAME/1",
        "/page/NAME/2", "/http/NAME", "/methods/NAME", "/alias/NAME", "/built/NAME",
        "/old/NAME", "/none/NAME",
    ):  # fmt: skip
        assert answered(path, "short") == answered(path, "long" * 200), path
