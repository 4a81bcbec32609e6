"""YAML, or JSON, whose values remember where they stood; nothing in it that a file written by people does not need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import yaml

MAX_CHARACTERS = 4_000_000
MAX_DEPTH = 30


class PlacedError(Protocol):
    """Makes the error that something is wrong at a place."""

    def __call__(self, problem: str, *, path: str = "", source: str = "", line: int | None = None) -> Exception: ...


@dataclass(frozen=True, slots=True)
class Placed:
    """A value with its place.

    Args:
        value: a string, number, bool, None, a list of ``Placed`` or a dict from string to ``Placed``.
        path: from the top, such as ``members[2].name``.
        line: from 1; None for what came from no text.
    """

    value: Any
    path: str = ""
    line: int | None = None

    def find(self, path: str) -> Placed:
        """The value at a path, or the nearest that contains it."""
        inside = self.value.values() if isinstance(self.value, dict) else self.value
        if isinstance(self.value, dict | list):
            around = [one for one in inside if path == one.path or path.startswith((f"{one.path}.", f"{one.path}["))]
            if around:  # names may contain dots: the longest is meant
                nearest: Placed = max(around, key=lambda one: len(one.path))
                return nearest.find(path)
        return self


def place(text: str, error: PlacedError, source: str = "") -> Placed:
    """Parse a document.

    Args:
        text: the document.
        error: makes the errors.
        source: the file's name, for errors.

    Raises:
        Exception: that of ``error``: it is no YAML, or has aliases, tags, repeated keys, or is too long or too deep.
    """
    if len(text) > MAX_CHARACTERS:
        raise error(f"longer than {MAX_CHARACTERS} characters", source=source)
    text = text.expandtabs()
    try:
        _check_shape(text, lambda problem, mark: error(problem, source=source, line=_line(mark)))
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        words = problem.problem or problem.context
        raise error(f"no valid YAML or JSON: {words}", source=source, line=_line(mark)) from None
    except yaml.YAMLError as problem:
        raise error(f"no valid YAML or JSON: {problem}", source=source) from None
    if node is None:
        raise error("empty", source=source)
    return _from_node(node, "", lambda problem, path, line: error(problem, path=path, source=source, line=line))


def _check_shape(text: str, refuse: Callable[[str, Any], Exception]) -> None:
    """Refuse, before anything is composed, what grows without bound: nested aliases, endless nesting."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise refuse("aliases (*name) are not allowed; text that begins with a star needs quotes", event.start_mark)
        if depth > MAX_DEPTH:
            raise refuse(f"nested more than {MAX_DEPTH} levels deep", event.start_mark)


def _line(mark: Any) -> int | None:
    return None if mark is None else int(mark.line) + 1


def _from_node(node: yaml.Node, path: str, refuse: Callable[[str, str, int], Exception]) -> Placed:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.CollectionNode) and node.tag.rpartition(":")[2] not in ("map", "seq"):
        raise refuse(f"values of the kind {node.tag} are not allowed", path, line)
    if isinstance(node, yaml.MappingNode):
        items: dict[str, Placed] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in items:
                raise refuse(f"{key!r} stands here twice; take one out", path, key_node.start_mark.line + 1)
            items[key] = _from_node(value_node, f"{path}.{key}" if path else key, refuse)
        return Placed(items, path, line)
    if isinstance(node, yaml.SequenceNode):
        listed = [_from_node(item, f"{path}[{number}]", refuse) for number, item in enumerate(node.value)]
        return Placed(listed, path, line)
    return Placed(_scalar(node, path, line, refuse), path, line)


def _scalar(node: yaml.Node, path: str, line: int, refuse: Callable[[str, str, int], Exception]) -> Any:
    kind = node.tag.rpartition(":")[2]
    if kind in ("str", "timestamp"):
        return node.value
    if kind not in ("int", "float", "bool", "null"):
        raise refuse(f"values of the kind {node.tag} are not allowed", path, line)
    try:
        return yaml.constructor.SafeConstructor().construct_object(node)
    except (ValueError, LookupError, yaml.YAMLError):  # a number of too many digits, a tag that its text belies
        raise refuse(f"no value of the kind {kind}", path, line) from None
