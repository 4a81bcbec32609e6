"""Makes mutants: copies of a file that differ in one place inside a function.

The library mutmut gives most operators (`mutmut.mutation.mutators`): comparisons, arithmetic, `and` and `or`, numbers,
True and False, arguments left out or None, assignments of None, ternaries, `match`. Its own runner is not used: it
takes no random sample, and replaces every function by a trampoline, which Django's models and checks see. Ours are what
it does not have: a call left out, a returned value lost, a condition turned round.

Not changed: words (strings), what is raised and logged, decorators, annotations and defaults, which run at import.
"""

from __future__ import annotations

import ast
import difflib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider
from mutmut.mutation import mutators

_LOGGERS = frozenset({"log", "logger", "logging"})
_NO_BEHAVIOUR = frozenset({"__repr__", "__str__"})


@dataclass(frozen=True)
class Mutant:
    """One changed file: `path` below the root, the first and last line of the statement that changed, and the text."""

    path: str
    line: int
    last_line: int
    operator: str
    text: str
    diff: str


def _left_out(node: cst.SimpleStatementLine) -> Iterable[cst.CSTNode]:
    statement = node.body[0]
    if isinstance(statement, cst.Expr) and isinstance(statement.value, cst.Call | cst.Await):
        yield node.with_changes(body=[cst.Pass()])


def _nothing_returned(node: cst.Return) -> Iterable[cst.CSTNode]:
    if node.value is not None and not (isinstance(node.value, cst.Name) and node.value.value == "None"):
        yield node.with_changes(value=None)


def _turned_round(node: cst.If | cst.While) -> Iterable[cst.CSTNode]:
    inner = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    yield node.with_changes(test=cst.UnaryOperation(cst.Not(), inner))


OPERATORS: list[tuple[type, Any]] = [
    *(pair for pair in mutators.mutation_operators if pair[1] is not mutators.operator_string),
    (cst.SimpleStatementLine, _left_out),
    (cst.Return, _nothing_returned),
    (cst.If, _turned_round),
    (cst.While, _turned_round),
]


@dataclass(frozen=True)
class _Change:
    line: int
    last_line: int
    operator: str
    old: cst.CSTNode
    new: cst.CSTNode


class _Finder(cst.CSTVisitor):
    """Collects every change that an operator makes inside a function."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[_Change] = []
        self._functions = 0

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef):
            if node.name.value not in _NO_BEHAVIOUR:
                self._functions += 1
                node.body.visit(self)
                self._functions -= 1
            return False
        if isinstance(node, cst.Annotation | cst.Decorator | cst.Raise | cst.BaseString | cst.Assert) or _is_logging(
            node
        ):
            return False
        if self._functions:
            self._try(node)
        return True

    def _try(self, node: cst.CSTNode) -> None:
        for kind, operator in OPERATORS:
            if not isinstance(node, kind):
                continue
            line, last = self._lines(node)
            for new in operator(node):
                self.changes.append(
                    _Change(line, last, operator.__name__.strip("_").removeprefix("operator_"), node, new)
                )

    def _lines(self, node: cst.CSTNode) -> tuple[int, int]:
        shown = node.test if isinstance(node, cst.If | cst.While) else node
        position = self.get_metadata(PositionProvider, shown)
        assert isinstance(position, CodeRange)
        return position.start.line, position.end.line


def _is_logging(node: cst.CSTNode) -> bool:
    match node:
        case cst.SimpleStatementLine(body=[cst.Expr(value=cst.Call(func=cst.Attribute(value=cst.Name(value=name))))]):
            return name in _LOGGERS
        case _:
            return False


def _changes_of(text: str) -> tuple[cst.Module, dict[int, list[_Change]]]:
    """Every change of a file, not yet made, by its line."""
    wrapper = MetadataWrapper(cst.parse_module(text))
    finder = _Finder()
    wrapper.visit(finder)
    lines: dict[int, list[_Change]] = {}
    for change in finder.changes:
        lines.setdefault(change.line, []).append(change)
    return wrapper.module, lines


def _lines_in_functions(text: str) -> set[int]:
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    nodes = (node for function in functions for statement in function.body for node in ast.walk(statement))
    return {node.lineno for node in nodes if isinstance(node, ast.stmt | ast.expr)}


def sampled(root: Path, package: str, number: int, seed: int) -> Iterator[Mutant]:
    """Mutants of a package at up to `number` lines, chosen by the seed: first a line, then one of its changes.

    The same root, package and seed give the same; a greater number only adds to it.
    """
    chance = random.Random(f"{seed} {package}")
    texts = {str(file.relative_to(root)): file.read_text() for file in sorted((root / package).rglob("*.py"))}
    places = [(path, line) for path, text in texts.items() for line in sorted(_lines_in_functions(text))]
    chance.shuffle(places)
    read: dict[str, tuple[cst.Module, dict[int, list[_Change]]]] = {}  # reading a file takes up to a second
    made = 0
    for path, line in places:
        if made == number:
            return
        module, lines = read[path] if path in read else read.setdefault(path, _changes_of(texts[path]))
        mutant = _made(path, module, chance.choice(lines[line])) if line in lines else None
        if mutant is not None:
            made += 1
            yield mutant


def _made(path: str, module: cst.Module, change: _Change) -> Mutant | None:
    old = module.code
    changed = module.deep_replace(change.old, change.new)
    assert isinstance(changed, cst.Module)
    try:
        tree = ast.parse(changed.code)
        compile(tree, path, "exec")
    except SyntaxError:
        return None
    if ast.dump(tree) == ast.dump(ast.parse(old)):
        return None
    diff = difflib.unified_diff(old.splitlines(), changed.code.splitlines(), lineterm="", n=0)
    shown = "\n".join(line for line in diff if not line.startswith(("---", "+++", "@@")))
    return Mutant(path, change.line, change.last_line, change.operator, changed.code, shown)
