"""JSON-like values that remember where they stood, so that errors can name the line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from agents.chat.rules.errors import DefinitionError

MAX_CHARACTERS = 262_144
MAX_DEPTH = 30


@dataclass(frozen=True, slots=True)
class Located:
    """A value with its place.

    Args:
        value: a string, number, bool, None, a list of ``Located`` or a dict from string to ``Located``.
        path: from the top, such as ``members[2].name``.
        source: the file's name, or "".
        line: from 1; None for what came from no text.
    """

    value: Any
    path: str = ""
    source: str = ""
    line: int | None = None

    def error(self, problem: str) -> DefinitionError:
        """The error that something is wrong here."""
        return DefinitionError(problem, path=self.path, source=self.source, line=self.line)


def locate(value: Any, path: str = "") -> Located:
    """Wrap plain Python data; its errors name the path only."""
    if path.count(".") + path.count("[") > MAX_DEPTH:
        raise DefinitionError(f"nested more than {MAX_DEPTH} levels deep", path=path)
    if isinstance(value, dict):
        items = {str(key): locate(item, f"{path}.{key}" if path else str(key)) for key, item in value.items()}
        return Located(items, path)
    if isinstance(value, list | tuple):
        return Located([locate(item, f"{path}[{number}]") for number, item in enumerate(value)], path)
    return Located(value, path)


def locate_text(text: str, source: str = "") -> Located:
    """Parse YAML or JSON (which is nearly a part of YAML).

    Args:
        text: the document.
        source: its file's name, for errors.

    Raises:
        DefinitionError: it is no YAML, or uses what a definition does not need (aliases, tags, repeated keys).
    """
    if len(text) > MAX_CHARACTERS:
        raise DefinitionError(f"longer than {MAX_CHARACTERS} characters", source=source)
    try:
        _check_shape(text, source)
        node = yaml.compose(text.expandtabs(), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise DefinitionError(
            f"no valid YAML or JSON: {error.problem or error.context}",
            source=source,
            line=_line(mark),
        ) from None
    except yaml.YAMLError as error:
        raise DefinitionError(f"no valid YAML or JSON: {error}", source=source) from None
    if node is None:
        raise DefinitionError("empty; a team with a name and members is expected", source=source)
    return _from_node(node, "", source)


def _check_shape(text: str, source: str) -> None:
    """Refuse, before anything is composed, what grows without bound: nested aliases, endless nesting."""
    depth = 0
    for event in yaml.parse(text.expandtabs(), Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise DefinitionError("aliases (*name) are not allowed", source=source, line=_line(event.start_mark))
        if depth > MAX_DEPTH:
            raise DefinitionError(
                f"nested more than {MAX_DEPTH} levels deep", source=source, line=_line(event.start_mark)
            )


def _line(mark: Any) -> int | None:
    return None if mark is None else int(mark.line) + 1


def _from_node(node: yaml.Node, path: str, source: str) -> Located:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.CollectionNode) and node.tag.rpartition(":")[2] not in ("map", "seq"):
        raise DefinitionError(f"values of the kind {node.tag} are not allowed", path=path, source=source, line=line)
    if isinstance(node, yaml.MappingNode):
        items: dict[str, Located] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in items:
                raise DefinitionError(
                    f"{key!r} stands here twice", path=path, source=source, line=key_node.start_mark.line + 1
                )
            items[key] = _from_node(value_node, f"{path}.{key}" if path else key, source)
        return Located(items, path, source, line)
    if isinstance(node, yaml.SequenceNode):
        listed = [_from_node(item, f"{path}[{number}]", source) for number, item in enumerate(node.value)]
        return Located(listed, path, source, line)
    return Located(_scalar(node, path, source, line), path, source, line)


def _scalar(node: yaml.Node, path: str, source: str, line: int) -> Any:
    kind = node.tag.rpartition(":")[2]
    if kind in ("str", "timestamp"):
        return node.value
    if kind not in ("int", "float", "bool", "null"):
        raise DefinitionError(f"values of the kind {node.tag} are not allowed", path=path, source=source, line=line)
    try:
        return yaml.constructor.SafeConstructor().construct_object(node)
    except (ValueError, LookupError, yaml.YAMLError):  # a number of too many digits, a tag that its text belies
        raise DefinitionError(f"no value of the kind {kind}", path=path, source=source, line=line) from None
