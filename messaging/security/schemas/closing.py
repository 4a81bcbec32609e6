"""A schema as its writers keep to it: they write what it declares and nothing else.

Readers ignore what they do not know, so schemas are open. Compared as they stand, adding an optional property to an
open schema would break it: somebody *might* have written that property with any value. Nobody did; so the writer's
side is closed before two versions are compared.
"""

from __future__ import annotations

from typing import Any

from messaging.security.schemas.documents import Document, walk

# Together with these, "the properties it declares" may stand in several places. Such a node is left open, which can
# only make the answer more careful.
_COMBINING = frozenset(
    {"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "$ref", "$dynamicRef"}
)
_REMARKS = frozenset(
    {"$schema", "$id", "$comment", "$defs", "title", "description", "default", "examples", "deprecated", "readOnly"}
)


def close(schema: Document) -> Document:
    """Return the schema with every object closed that is declared in one place."""
    if not isinstance(schema, dict):
        return schema
    shared_safely = not any(_combines(node) for _, node in walk(schema))
    closed: dict[str, Any] = _close(schema, shared_safely)
    return closed


def _combines(node: dict[str, Any]) -> bool:
    """Whether a node puts several schemas over the same value, so that none of them declares it alone."""
    combining = _COMBINING & node.keys()
    if not combining:
        return False
    alone = len(combining) == 1 and not node.keys() - combining - _REMARKS
    return not (alone and combining <= {"anyOf", "$ref"})


def _close(node: Any, shared_safely: bool) -> Any:
    """Close a node and what stands in it.

    Args:
        node: a schema.
        shared_safely: whether what stands in ``$defs`` may be closed too: only where no reference to it is combined.
    """
    if not isinstance(node, dict):
        return node
    if _combines(node):
        return {**node, "$defs": _close_all(node["$defs"], shared_safely)} if "$defs" in node else node
    closed = dict(node)
    for keyword in ("properties", "patternProperties"):
        if isinstance(node.get(keyword), dict):
            closed[keyword] = _close_all(node[keyword], True)
    if "$defs" in node:
        closed["$defs"] = _close_all(node["$defs"], shared_safely)
    for keyword in ("items", "additionalProperties"):
        if keyword in node:
            closed[keyword] = _close(node[keyword], shared_safely)
    for keyword in ("prefixItems", "anyOf"):
        if isinstance(node.get(keyword), list):
            closed[keyword] = [_close(item, shared_safely) for item in node[keyword]]
    if "properties" in node and "additionalProperties" not in node and "unevaluatedProperties" not in node:
        closed["additionalProperties"] = False
    return closed


def _close_all(nodes: Any, close_them: bool) -> Any:
    if not isinstance(nodes, dict) or not close_them:
        return nodes
    return {name: _close(item, close_them) for name, item in nodes.items()}
