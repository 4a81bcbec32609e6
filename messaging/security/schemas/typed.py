"""Models in Python as schemas: msgspec structs, dataclasses, typed dicts and pydantic models.

>>> import msgspec
>>> class OrderPlaced(msgspec.Struct):
...     number: int
>>> schema_of(OrderPlaced, "an example")["$defs"]["OrderPlaced"]["required"]
['number']
>>> converter_of(OrderPlaced)({"number": 7})
OrderPlaced(number=7)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from messaging.core.errors import SchemaError
from messaging.security.schemas.documents import Document


def schema_of(model: Any, where: str) -> Document:
    """Derive the schema of a model. It is open: further properties are ignored, unless the model forbids them.

    Args:
        model: the class, or a type that msgspec knows, such as a union of structs.
        where: what errors call it.

    Raises:
        SchemaError: no schema can be derived from it.
    """
    if _is_pydantic(model):
        derived: dict[str, Any] = model.model_json_schema(mode="validation")
        return derived
    try:
        return msgspec.json.schema(model)
    except (TypeError, ValueError, NameError) as error:
        raise SchemaError(
            f"{where}: no schema can be derived from {model!r}: {str(error)[:300]}. Use a msgspec struct, a dataclass "
            "or a pydantic model whose fields are JSON, or write the schema as a file."
        ) from None


def converter_of(model: Any) -> Callable[[Any], Any]:
    """A function from a message's data, already checked, to the object that the handler gets.

    It raises ValueError for what the schema could not say, such as a check that is written in Python.
    """
    if _is_pydantic(model):
        validate: Callable[[Any], Any] = model.model_validate
        return validate
    return partial(msgspec.convert, type=model)


def _is_pydantic(model: Any) -> bool:
    # By its methods: pydantic is no dependency, and importing it for every installation would be dear.
    return isinstance(model, type) and hasattr(model, "model_json_schema") and hasattr(model, "model_validate")
