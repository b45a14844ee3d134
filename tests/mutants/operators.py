"""The mutants of a module: small changes of its source, each in one place.

A change is made in the text, so that a mutant can be shown as the line that it changes. It keeps the number
of lines, so that the functions of the mutant can be told by their first lines.

Text for people is not changed: docstrings, messages (what has a space in it) and annotations; nor is what no
test could judge, such as decorators, ``__all__`` and ``__slots__``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

__all__ = ["Key", "Mutant", "generate"]

COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}

ORDERED = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)

ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "//"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.BitXor: ("^", "|"),
}

UNCHANGED_NAMES = frozenset({"__all__", "__slots__"})


class Key(NamedTuple):
    """What a mutant is listed by: it stays the same when lines are added elsewhere."""

    function: str
    """The qualified name; empty for what is outside of functions and classes."""
    original: str
    """The lines that are changed, as one."""
    mutated: str


class Mutant(NamedTuple):
    """A module with one change."""

    path: Path
    """Of the module."""
    first: int
    """Number of the first line that shows in a trace when the changed code runs."""
    last: int
    key: Key
    source: bytes
    """The whole module, changed."""

    def __str__(self) -> str:
        return f"{self.path}:{self.first} {self.key.function}\n- {self.key.original}\n+ {self.key.mutated}"


class Change(NamedTuple):
    start: int
    end: int
    text: bytes


class Source:
    """The text of a module, by the positions of its syntax tree."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def start(self, node: ast.expr | ast.stmt) -> int:
        return self._starts[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr | ast.stmt) -> int:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._starts[node.end_lineno - 1] + node.end_col_offset

    def segment(self, node: ast.expr | ast.stmt) -> bytes:
        return self.text[self.start(node) : self.end(node)]

    def replace(self, node: ast.expr | ast.stmt, text: bytes) -> Change:
        """Replace a node, keeping the number of lines."""
        lines = self.segment(node).count(b"\n")
        return Change(self.start(node), self.end(node), text + b"\n" * (lines - text.count(b"\n")))

    def operator(self, left: ast.expr, right: ast.expr, old: str, new: str) -> Change:
        """Replace the operator between two operands."""
        start, end = self.end(left), self.start(right)
        # comments may have anything in them
        between = re.sub(rb"#[^\n]*", lambda match: b" " * len(match[0]), self.text[start:end])
        found = re.search(re.escape(old.encode()).replace(rb"\ ", rb"\s+"), between)
        assert found, (old, between)
        return Change(start + found.start(), start + found.end(), new.encode())

    def key(self, function: str, change: Change) -> Key:
        """The lines that a change is in, before and after it."""
        begin = self.text.rfind(b"\n", 0, change.start) + 1
        end = self.text.find(b"\n", change.end)
        original = self.text[begin:end]
        mutated = self.text[begin : change.start] + change.text + self.text[change.end : end]
        return Key(function, *(" ".join(text.decode().split()) for text in (original, mutated)))

    def apply(self, change: Change) -> bytes:
        return self.text[: change.start] + change.text + self.text[change.end :]


class Finder:
    """Walks through a module and finds its changes, each with the lines of its statement."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._names: list[str] = []
        self._functions: list[ast.FunctionDef | ast.AsyncFunctionDef] = []

    def find(self, tree: ast.Module) -> Iterator[tuple[Change, str, int, int]]:
        """Yield each change, the name of its function, and the first and the last line of its statement."""
        yield from self._body(tree.body)

    def _body(self, body: list[ast.stmt]) -> Iterator[tuple[Change, str, int, int]]:
        for statement in body:
            yield from self._statement(statement)

    def _statement(self, statement: ast.stmt) -> Iterator[tuple[Change, str, int, int]]:
        first, last = statement.lineno, statement.end_lineno or statement.lineno
        blocks = [
            block
            for name in ("body", "orelse", "finalbody")
            if (block := getattr(statement, name, None)) and isinstance(block, list)
        ]
        for handler in getattr(statement, "handlers", ()):
            blocks.append(handler.body)
        if blocks:
            # the header alone
            last = max(first, min(block[0].lineno for block in blocks) - 1)
        # the defaults of its arguments belong to a function
        own = [statement.name] if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) else []
        name = ".".join([*self._names, *own])
        for change in self._changes(statement):
            yield change, name, first, last
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._names.append(statement.name)
            if not isinstance(statement, ast.ClassDef):
                self._functions.append(statement)
            yield from self._body(statement.body)
            if not isinstance(statement, ast.ClassDef):
                self._functions.pop()
            self._names.pop()
        elif not (isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"):
            for block in blocks:
                yield from self._body(block)

    def _changes(self, statement: ast.stmt) -> Iterator[Change]:
        """The changes of a statement, without those of the statements in it."""
        source = self._source
        if self._is_removed(statement):
            yield source.replace(statement, b"pass")
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)]) if name in UNCHANGED_NAMES:
                return
            case ast.Expr(value=ast.Constant()):  # a docstring, or ...
                return
            case ast.Return(value=ast.expr() as value):
                if not (isinstance(value, ast.Constant) and value.value in (None, True, False)):
                    yield source.replace(value, b"None")
            case ast.If(test=test) | ast.While(test=test):
                yield from self._negated(test)
            case ast.AugAssign(target=target, op=op, value=value):
                old, new = ARITHMETIC[type(op)]
                yield source.operator(target, value, f"{old}=", f"{new}=")
        for expression in self._expressions(statement):
            yield from self._expression(expression)

    def _expressions(self, statement: ast.stmt) -> Iterator[ast.expr]:
        """The expressions of a statement itself, but for decorators and annotations."""
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = statement.args
            yield from (each for each in (*arguments.defaults, *arguments.kw_defaults) if each is not None)
            return
        for name, value in ast.iter_fields(statement):
            if name in ("annotation", "decorator_list"):
                continue
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, ast.expr):
                    yield each
                elif isinstance(each, ast.withitem):
                    yield each.context_expr
                elif isinstance(each, ast.keyword):
                    yield each.value

    def _is_removed(self, statement: ast.stmt) -> bool:
        """Whether a mutant lacks a statement: one whose lack is no mere ``NameError``."""
        if not self._functions:
            return False
        match statement:
            case ast.Expr(value=ast.Constant() | ast.Yield() | ast.YieldFrom() | ast.Await()):
                return False
            case ast.Assign(targets=targets):
                return all(self._is_optional(target) for target in targets)
            case ast.AnnAssign(target=target, value=value):
                return value is not None and self._is_optional(target)
            case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Delete() | ast.Assert():
                return True
            case ast.Break() | ast.Continue():
                return True
        return False

    def _is_optional(self, target: ast.expr) -> bool:
        """Whether something else gives a target its value, too."""
        if isinstance(target, ast.Tuple):
            return all(self._is_optional(each) for each in target.elts)
        if not isinstance(target, ast.Name):
            return True
        function = self._functions[-1]
        arguments = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
        names = [argument.arg for argument in arguments]
        names += [
            node.id
            for node in ast.walk(function)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        ]
        return names.count(target.id) > 1

    def _negated(self, test: ast.expr) -> Iterator[Change]:
        """Negate a condition, where no other change does that."""
        match test:
            case ast.UnaryOp(op=ast.Not()):
                return
            case ast.Compare(ops=[op]) if not isinstance(op, ORDERED):
                return
        yield self._source.replace(test, b"not (" + self._source.segment(test) + b")")

    def _expression(self, node: ast.AST) -> Iterator[Change]:
        source = self._source
        children: list[ast.AST] = list(ast.iter_child_nodes(node))
        match node:
            case ast.JoinedStr():
                return
            case ast.Compare(left=left, ops=ops, comparators=operands):
                for before, op, after in zip([left, *operands], ops, operands, strict=False):
                    yield source.operator(before, after, *COMPARISONS[type(op)])
            case ast.BoolOp(op=op, values=values):
                old, new = ("and", "or") if isinstance(op, ast.And) else ("or", "and")
                for before, after in pairwise(values):
                    yield source.operator(before, after, old, new)
            case ast.UnaryOp(operand=operand):
                yield source.replace(node, b"(" + source.segment(operand) + b")")
            case ast.BinOp(left=left, op=op, right=right):
                yield source.operator(left, right, *ARITHMETIC[type(op)])
            case ast.IfExp(test=test):
                yield from self._negated(test)
            case ast.comprehension(ifs=tests):
                for test in tests:
                    yield from self._negated(test)
            case ast.Constant(value=value):
                for text in _other_values(value):
                    yield source.replace(node, text.encode())
            case ast.Call(func=ast.Name(id="isinstance"), args=[first, _]):
                children = [first]
            case ast.Call(func=ast.Name(id="cast" | "TypeVar")):
                return
            case ast.Lambda(args=arguments, body=body):
                defaults = [each for each in (*arguments.defaults, *arguments.kw_defaults) if each]
                children = [*defaults, body]
        for child in children:
            yield from self._expression(child)


def _other_values(value: object) -> list[str]:
    """Other values of a constant, as source."""
    match value:
        case bool():
            return [repr(not value)]
        case int():
            return [repr(value + 1), *([repr(value - 1)] if value > 0 else [])]
        case float():
            return [repr(value + 1)]
        case str():
            return [] if re.search(r"\s", value.strip("\r\n\t ")) else [repr(f"{value}X")]
        case bytes():
            return [] if re.search(rb"\s", value.strip()) else [repr(value + b"X")]
    return []


def generate(path: Path) -> list[Mutant]:
    """Return the mutants of a module, in the order of its lines."""
    source = Source(path.read_bytes())
    found = Finder(source).find(ast.parse(source.text))
    mutants = {
        change: Mutant(path, first, last, source.key(name, change), source.apply(change))
        for change, name, first, last in found
    }
    return [mutants[change] for change in sorted(mutants)]
