"""Values that a schema probably accepts: candidates for a sample message that breaks another schema.

Nothing relies on them: whoever asks checks each one. They stand at the edges, where versions differ: bounds, each
optional property with and without, each member of an enumeration.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from messaging.security.schemas.compiled import make_validator
from messaging.security.schemas.documents import walk

_AT_MOST = 24  # candidates of one node
_MAX_REACH = 8  # references and nesting followed
_MAX_LENGTH = 300  # of a string or an array that is made up

_FORMATS = {
    "date": ["2026-01-31"],
    "date-time": ["2026-01-31T12:00:00Z"],
    "time": ["12:00:00Z"],
    "duration": ["P1D"],
    "email": ["a@example.org"],
    "hostname": ["example.org"],
    "ipv4": ["192.0.2.1"],
    "ipv6": ["2001:db8::1"],
    "uri": ["urn:a:b"],
    "uri-reference": ["a"],
    "uuid": ["01a20979-79aa-734d-91e4-96982d670000"],
    "json-pointer": ["/a"],
    "regex": ["a"],
    "decimal": ["1.5"],
}
_TEXTS = ["x", "", "a", "A", "0", "abc", "ABC", "a1", "A1", "a-b", "a_b", "a.b", "a b", "2026-01-31", "-1", "1.5", "é"]
_LENGTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 32, 36, 40, 64)
_ANYTHING: list[Any] = [None, "x", 0, 1.5, True, [], {}]
_TYPES = ["object", "string", "integer", "number", "boolean", "null", "array"]


class Sampler:
    """Makes candidates of a schema.

    Args:
        root: the schema.
        other: the schema that a sample is meant to break; its bounds and names are worth trying.
    """

    def __init__(self, root: Any, other: Any = None) -> None:
        self._root = root
        self._numbers, self._texts, self._names = _hints(other)

    def candidates(self, limit: int) -> Iterator[Any]:
        """Yield that many candidates at most."""
        return islice(self._values(self._root, 0), limit)

    def _values(self, node: Any, reach: int) -> list[Any]:
        if reach > _MAX_REACH or node is False:
            return []
        if not isinstance(node, dict):
            return [*_ANYTHING, *self._texts[:4]]
        if "const" in node:
            return [node["const"]]
        if isinstance(node.get("enum"), list):
            return list(node["enum"][:_AT_MOST])
        for keyword in ("$ref", "allOf"):
            if keyword in node:
                parts = [self._resolve(node["$ref"])] if keyword == "$ref" else node["allOf"]
                return self._values(_merged(_without(node, keyword), parts), reach + 1)
        for keyword in ("anyOf", "oneOf"):
            if isinstance(node.get(keyword), list):
                rest = _without(node, keyword)
                return _spread([self._values(_merged(rest, [branch]), reach + 1) for branch in node[keyword]])
        types = node.get("type", _guess(node))
        return _spread([self._of_type(kind, node, reach) for kind in ([types] if isinstance(types, str) else types)])

    def _of_type(self, kind: str, node: dict[str, Any], reach: int) -> list[Any]:
        if kind == "object":
            return list(islice(self._objects(node, reach), _AT_MOST * 4 if reach == 0 else _AT_MOST))
        if kind == "array":
            return list(islice(self._arrays(node, reach), _AT_MOST))
        if kind == "string":
            return self._strings(node)
        if kind in ("integer", "number"):
            return self._some_numbers(node, whole=kind == "integer")
        if kind == "boolean":
            return [True, False]
        return [None] if kind == "null" else []

    def _some_numbers(self, node: dict[str, Any], *, whole: bool) -> list[Any]:
        step = node.get("multipleOf", 1)
        edges = [node[word] for word in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum") if word in node]
        near = [edge + shift * step for edge in edges for shift in (0, 1, -1)]
        tried = [*near, 0, step, *self._numbers, 1, -1, 10**6, -(10**6), *([] if whole else [0.5, 1.5])]
        return _fitting(
            tried,
            {word: node[word] for word in node.keys() & _NUMBER_WORDS} | {"type": "integer" if whole else "number"},
        )

    def _strings(self, node: dict[str, Any]) -> list[Any]:
        shortest, longest = node.get("minLength", 0), node.get("maxLength", _MAX_LENGTH)
        lengths = {shortest, longest, *_LENGTHS, *(int(n) for n in self._numbers)}
        tried = [*_FORMATS.get(node.get("format", ""), ()), *_TEXTS, *_plain(node.get("pattern")), *self._texts]
        tried += [letter * n for letter in "xa0A" for n in sorted(lengths) if 0 <= n <= _MAX_LENGTH]
        tried += [_plain(node["pattern"])[0] + text for text in _TEXTS if _plain(node.get("pattern"))]
        return _fitting(tried, {word: node[word] for word in node.keys() & _STRING_WORDS} | {"type": "string"})

    def _arrays(self, node: dict[str, Any], reach: int) -> Iterator[list[Any]]:
        first = [self._values(item, reach + 1)[:1] for item in node.get("prefixItems", ())]
        start = [item for some in first for item in some]
        items = self._values(node.get("items", True), reach + 1)
        least = max(node.get("minItems", 0), 0)
        sizes = sorted({least, least + 1, node.get("maxItems", least), *(int(n) for n in self._numbers)})
        for size in sizes:
            if 0 <= size <= _MAX_LENGTH and (items or size <= len(start)):
                yield [*start, *(items[index % len(items)] for index in range(size - len(start)))][:size]
        for item in items:
            yield [*start, *[item] * max(1, least - len(start))]

    def _objects(self, node: dict[str, Any], reach: int) -> Iterator[dict[str, Any]]:
        properties = dict(node.get("properties", {}))
        required = [name for name in node.get("required", ()) if isinstance(name, str)]
        for name in required:
            properties.setdefault(name, node.get("additionalProperties", True))
        values = {name: self._values(schema, reach + 1) for name, schema in properties.items()}
        values = {name: some for name, some in values.items() if some}
        least = {name: values[name][0] for name in required if name in values}
        full = {name: some[0] for name, some in values.items()}
        yield least
        yield full
        for name, some in values.items():
            for value in some:
                yield {**least, name: value}
            yield {key: value for key, value in full.items() if key != name}
        rest = node.get("additionalProperties", True)
        if rest is not False:
            more = self._values(rest, reach + 1)
            for name in ["another", *self._names]:
                for value in more if name not in full else ():
                    yield {**least, name: value}

    def _resolve(self, reference: Any) -> Any:
        if not isinstance(reference, str) or not reference.startswith("#"):
            return True
        node = self._root
        for part in reference[1:].split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            node = node.get(part, True) if isinstance(node, dict) else True
        return node


_NUMBER_WORDS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "not"}
_STRING_WORDS = {"minLength", "maxLength", "pattern", "format", "not"}


def _fitting(tried: list[Any], schema: dict[str, Any]) -> list[Any]:
    """Those that fit, each once. Python's ``re`` is not used: an operator's pattern could keep it busy for ever."""
    validator = make_validator(schema, "sampling") if "$ref" not in str(schema) else None
    kept: list[Any] = []
    for value in tried:
        if value not in kept and (validator is None or validator.is_valid(value)):
            kept.append(value)
    return kept[:_AT_MOST]


def _plain(pattern: Any) -> list[str]:
    """The letters with which a pattern begins."""
    if not isinstance(pattern, str):
        return []
    start = pattern.removeprefix("^")
    length = next(
        (index for index, letter in enumerate(start) if not (letter.isalnum() or letter in "-_ :/")), len(start)
    )
    return [start[:length]] if length else []


def _guess(node: dict[str, Any]) -> list[str]:
    if "properties" in node or "required" in node:
        return ["object", "null"]
    return ["array", "null"] if "items" in node else _TYPES


def _merged(node: dict[str, Any], parts: list[Any]) -> Any:
    merged = dict(node)
    for part in parts:
        if part is False:
            return False
        for keyword, value in (part if isinstance(part, dict) else {}).items():
            if keyword == "properties" and keyword in merged:
                merged[keyword] = {**merged[keyword], **value}
            elif keyword == "required" and keyword in merged:
                merged[keyword] = [*merged[keyword], *value]
            else:
                merged[keyword] = value
    return merged


def _without(node: dict[str, Any], keyword: str) -> dict[str, Any]:
    return {word: value for word, value in node.items() if word != keyword}


def _spread(lists: list[list[Any]]) -> list[Any]:
    """The first of each, then the second of each, …"""
    longest = max(map(len, lists), default=0)
    return [some[index] for index in range(longest) for some in lists if index < len(some)]


def _hints(schema: Any) -> tuple[list[Any], list[str], list[str]]:
    numbers: list[Any] = []
    texts: list[str] = []
    names: list[str] = []
    for _, node in walk(schema):
        for value in node.values():
            if isinstance(value, int | float) and not isinstance(value, bool):
                numbers += [value + 1, value - 1, value]
        for value in [node.get("const"), *(node["enum"] if isinstance(node.get("enum"), list) else ())]:
            texts += [value] if isinstance(value, str) else []
        names += node["properties"] if isinstance(node.get("properties"), dict) else ()
    return numbers[:_AT_MOST], texts[:_AT_MOST], list(dict.fromkeys(names))[:_AT_MOST]
