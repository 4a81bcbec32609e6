"""Python values as the JSON that they have one obvious form in, so that senders need not convert what everybody writes.

==================================================  ====================================================
value                                               JSON, as msgspec writes it
==================================================  ====================================================
datetime, date, time, timedelta                     text: RFC 3339, or an ISO 8601 duration
UUID, Decimal                                       text; a Decimal keeps its digits
Enum                                                its value
text or number of a class of its own                the plain one, such as text for Django's SafeString
tuple, named tuple                                  array
dataclass, msgspec struct, pydantic model           object
==================================================  ====================================================

What has no such form (bytes, sets, NaN, objects) stays as it is; ``find_flaw`` then says where it stands and what to
write instead.

>>> from decimal import Decimal
>>> to_plain({"price": Decimal("1.50"), "pair": (1, 2)})
{'price': '1.50', 'pair': [1, 2]}
>>> encode_data({"tags": {"a"}})
Traceback (most recent call last):
    ...
messaging.core.errors.EnvelopeError: tags: is a Python set; write sorted(value)
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec

from messaging.core.errors import EnvelopeError
from messaging.core.strict_json import MAX_DEPTH, Flaw, find_flaw

_TEXTS = (date, time, timedelta, UUID)  # a datetime is a date


def to_plain(value: Any, depth: int = 1) -> Any:
    """The value with everything in it that has one obvious JSON form in that form; the rest as it is.

    Args:
        value: any Python value; it is not changed.
        depth: the level at which it stands, the outermost being 1.
    """
    if value is None or type(value) in (bool, int, float, str) or depth > MAX_DEPTH:
        return value
    if isinstance(value, Enum):
        return to_plain(value.value, depth + 1)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, dict):
        return {_plain_key(key): to_plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple) and not isinstance(value, Flaw):
        return [to_plain(item, depth + 1) for item in value]
    if isinstance(value, _TEXTS) or (isinstance(value, Decimal) and value.is_finite()):
        return msgspec.to_builtins(value)
    if isinstance(value, msgspec.Struct):
        return _plain_struct(value, depth)
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_plain(getattr(value, item.name, None), depth + 1) for item in fields(value)}
    if hasattr(type(value), "__pydantic_fields__"):
        return _plain_model(value, depth)
    return value


def encode_data(value: Any) -> bytes:
    """A value as JSON that reads back as what was written.

    Raises:
        EnvelopeError: something in it cannot be JSON; names the place and says what to write instead.
    """
    try:
        body = msgspec.json.encode(value)
        if msgspec.json.decode(body) == value:
            return body
    except Exception:  # noqa: BLE001, S110  # nosec B110  # objects in it have methods, which raise anything
        pass
    plain = to_plain(value)
    flaw = find_flaw(plain)
    if flaw is not None:
        raise EnvelopeError(flaw.path or "value", flaw.problem)
    return msgspec.json.encode(plain)


def _plain_key(key: Any) -> Any:
    return str.__str__(key) if isinstance(key, str) and not isinstance(key, Enum) else key


def _plain_struct(value: msgspec.Struct, depth: int) -> Any:
    own = {name: to_plain(getattr(value, name), depth + 1) for name in value.__struct_fields__}
    if find_flaw(own, depth) is not None:
        return own  # it is refused, at the right place
    # Names on the wire, tags and left out defaults are msgspec's business.
    return to_plain(msgspec.to_builtins(value, builtin_types=(Decimal,), enc_hook=to_plain), depth + 1)


def _plain_model(value: Any, depth: int) -> Any:
    try:
        return to_plain(value.model_dump(mode="json"), depth + 1)
    except (ValueError, TypeError) as error:
        return Flaw("", f"is a pydantic {type(value).__qualname__} that cannot be dumped: {error}")
