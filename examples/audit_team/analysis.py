"""What an analyst finds out about one file: plain functions from bytes to figures."""

from __future__ import annotations

import ast
import io
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

BANDS = (5, 10, 20)
"""Upper ends of the complexity bands; the last band has no end."""

MAX_LISTED = 20
"""Most TODOs and names that are listed; all are counted."""

_NAME = "<audited>"
# Audited code may have invalid escapes and the like: its business, not the analyst's log's.
warnings.filterwarnings("ignore", category=SyntaxWarning, module=_NAME)
warnings.filterwarnings("ignore", category=DeprecationWarning, module=_NAME)

_BRANCHES = (ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.Assert, ast.match_case)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_MARKS = ("TODO", "FIXME", "XXX")


@dataclass(slots=True)
class Analysis:
    """Figures of one file.

    Args:
        status: ``"parsed"``, or why there are no figures.
        detail: for people, when it was not parsed.
        lines: number of lines.
        functions, classes: how many are defined.
        bands: functions by cyclomatic complexity; see ``BANDS``.
        complexity: of all functions together.
        longest: the longest function: name, line, lines.
        most_complex: the function with the highest complexity: name, line, complexity.
        public: module, public classes and public functions: what should have a docstring.
        undocumented: how many of these have none.
        missing: names of the first of these.
        todo_count: comments with TODO, FIXME or XXX.
        todos: the first of these: line, text.
    """

    status: str = "parsed"
    detail: str = ""
    lines: int = 0
    functions: int = 0
    classes: int = 0
    bands: list[int] = field(default_factory=lambda: [0] * (len(BANDS) + 1))
    complexity: int = 0
    longest: list[Any] = field(default_factory=lambda: ["", 0, 0])
    most_complex: list[Any] = field(default_factory=lambda: ["", 0, 0])
    public: int = 0
    undocumented: int = 0
    missing: list[str] = field(default_factory=list)
    todo_count: int = 0
    todos: list[list[Any]] = field(default_factory=list)

    def as_data(self) -> dict[str, Any]:
        """As JSON data for a message."""
        return asdict(self)


def analyse(content: bytes) -> Analysis:
    """Look at the bytes of one file. A file that does not parse is a finding, never an error."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        source = content.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        return Analysis("not text", _first_line(error), lines=content.count(b"\n") + 1)
    lines = len(source.splitlines())
    try:
        tree = ast.parse(source, filename=_NAME)
        return _measure(tree, source, lines)
    except (SyntaxError, ValueError) as error:  # ValueError: a NUL character
        return Analysis("syntax error", _first_line(error), lines=lines)
    except (RecursionError, MemoryError):
        return Analysis("nested too deeply", "the parser gave up", lines=lines)


def _first_line(error: Exception) -> str:
    lines = str(error).replace(_NAME, "this file").splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _measure(tree: ast.Module, source: str, lines: int) -> Analysis:
    found = Analysis(lines=lines)
    _check_docstring(found, "the module", tree)
    for name, node, public in _definitions(tree, "", public=True):
        if public:
            _check_docstring(found, name, node)
        if isinstance(node, ast.ClassDef):
            found.classes += 1
        else:
            _count_function(found, name, node)
    for line, text in _todos(source):
        found.todo_count += 1
        if len(found.todos) < MAX_LISTED:
            found.todos.append([line, text])
    return found


def _definitions(
    parent: ast.AST, prefix: str, *, public: bool
) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """Every class and function with its qualified name, and whether others can see it."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, (ast.ClassDef, *_FUNCTIONS)):
            name = prefix + node.name
            visible = public and not node.name.startswith("_")
            yield name, node, visible
            yield from _definitions(node, f"{name}.", public=visible and isinstance(node, ast.ClassDef))
        else:
            yield from _definitions(node, prefix, public=public)


def _check_docstring(
    found: Analysis, name: str, node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
) -> None:
    found.public += 1
    if ast.get_docstring(node, clean=False) is None:
        found.undocumented += 1
        if len(found.missing) < MAX_LISTED:
            found.missing.append(name[:200])


def _count_function(found: Analysis, name: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    complexity = complexity_of(node)
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    found.functions += 1
    found.complexity += complexity
    found.bands[sum(complexity > end for end in BANDS)] += 1
    if length > found.longest[2]:
        found.longest = [name[:200], node.lineno, length]
    if complexity > found.most_complex[2]:
        found.most_complex = [name[:200], node.lineno, complexity]


def complexity_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Cyclomatic complexity: 1, and 1 more for each branch. A function inside it counts for itself."""
    count = 1
    waiting: list[ast.AST] = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        if isinstance(node, _FUNCTIONS):
            continue
        if isinstance(node, ast.BoolOp):
            count += len(node.values) - 1
        elif isinstance(node, ast.comprehension):
            count += 1 + len(node.ifs)
        elif isinstance(node, _BRANCHES):
            count += 1
        waiting.extend(ast.iter_child_nodes(node))
    return count


def _todos(source: str) -> Iterator[tuple[int, str]]:
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT and any(mark in token.string for mark in _MARKS):
                yield token.start[0], token.string.lstrip("# ")[:120]
    except (tokenize.TokenError, SyntaxError):  # the parser is more tolerant than the tokenizer at the end of a file
        return
