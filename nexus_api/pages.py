"""Lists in pages by keyset: a page costs the same however far down it stands, and nothing is shown twice."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from django.db.models import Model, Q, QuerySet

from nexus_api.problems import ApiProblem

MAX_PAGE = 200

Row = TypeVar("Row", bound=Model)


def page(
    rows: QuerySet[Row], order: Sequence[str], cursor: str | None, limit: int, show: Callable[[Row], dict[str, Any]]
) -> dict[str, Any]:
    """One page of rows.

    Args:
        rows: in no order.
        order: fields, all ascending or, with a minus before each, descending; together unique.
        cursor: from the page before; None for the first page.
        limit: most rows.
        show: makes a row's object.

    Returns:
        ``{"items": […], "next": "…" or None}``.

    Raises:
        ApiProblem: 422, the cursor is none.
    """
    names = [field.removeprefix("-") for field in order]
    direction = "lt" if order[0].startswith("-") else "gt"
    if cursor is not None:
        rows = rows.filter(_behind(rows, names, direction, _read(cursor, rows, names)))
    found = list(rows.order_by(*order)[: limit + 1])
    more = len(found) > limit
    shown = found[:limit]
    following = _write([getattr(shown[-1], name) for name in names]) if more else None
    return {"items": [show(row) for row in shown], "next": following}


def _behind(rows: QuerySet[Any], names: Sequence[str], direction: str, values: Sequence[Any]) -> Q:
    behind = Q()
    for index, name in enumerate(names):
        same = dict(zip(names[:index], values[:index], strict=True))
        behind |= Q(**same, **{f"{name}__{direction}": values[index]})
    return behind


def _write(values: Sequence[Any]) -> str:
    text = json.dumps([value if isinstance(value, int) else str(value) for value in values])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read(cursor: str, rows: QuerySet[Any], names: Sequence[str]) -> list[Any]:
    try:
        values = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        if not isinstance(values, list) or len(values) != len(names) or "\x00" in str(values):
            raise ValueError
        fields = [rows.model._meta.pk if name == "pk" else rows.model._meta.get_field(name) for name in names]
        read = [field.to_python(value) for field, value in zip(fields, values, strict=True)]
        if any(isinstance(value, int) and not abs(value) < 2**63 for value in read):
            raise ValueError
        str(read).encode()
    except Exception as error:  # whatever a made-up text leads to
        if not isinstance(error, ValueError | TypeError | ArithmeticError | binascii.Error | RecursionError) and (
            type(error).__name__ != "ValidationError"
        ):
            raise
        raise ApiProblem(422, "malformed-cursor", "cursor: expected what an earlier page gave as next.") from None
    return read
