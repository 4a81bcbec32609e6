"""Definitions of sagas in YAML or JSON: what ``Saga`` says in Python, and nothing else.

saga: booking
version: 1
steps:
  - step: flight
    do: {agent: flights, type: flight.book}
    undo: {agent: flights, type: flight.cancel}
  - approval: manager
    timeout: 86400
  - parallel:
      - {step: hotel, do: {agent: hotels, type: hotel.book}, when: [input.nights, ">", 0]}
      - saga: car
        input: input.car
        steps: […]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from messaging.core.errors import ConfigurationError, SagaDefinitionError
from messaging.core.registry import did_you_mean
from messaging.core.strict_yaml import Placed, place
from messaging.transactions.definition import Saga, approval, step, sub_saga, wait_for
from messaging.transactions.nesting import SubSaga
from messaging.transactions.plan import PlannedStep

Value = TypeVar("Value")
Read = Callable[[Placed], Any]


def read_saga_file(path: Path | str) -> Saga:
    """Read a definition from a file.

    Raises:
        SagaDefinitionError: what is wrong and where; also when the file cannot be read.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SagaDefinitionError(f"cannot be read: {error}", source=str(path)) from None
    return read_saga(text, str(path))


def read_saga(text: str, source: str = "") -> Saga:
    """Read a definition.

    Args:
        text: YAML or JSON.
        source: the file's name, for errors.

    Raises:
        SagaDefinitionError: what is wrong, in which line, and the fix.
    """
    top = place(text, SagaDefinitionError, source)
    try:
        given = _mapping(top, ("saga", "version", "steps"))
        version = given["version"].value if "version" in given else 1
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            raise _error(given["version"], "expected a whole number from 1 on")
        name = _text(_required(top, given, "saga"))
        return _saga(top, name, version, _required(top, given, "steps"))
    except SagaDefinitionError as error:
        line = top.find(error.path).line
        raise SagaDefinitionError(error.problem, path=error.path, source=source, line=line) from None


def _saga(top: Placed, name: str, version: int, steps: Placed) -> Saga:
    saga = _checked(top, lambda: Saga(name, version))
    for item in _list(steps):
        saga = _add(saga, item)
    if not _list(steps):
        raise _error(steps, "a saga has one step at least")
    return saga


def _add(saga: Saga, at: Placed) -> Saga:
    given = at.value
    if isinstance(given, dict) and "parallel" in given:
        items = [_item(one) for one in _list(_mapping(at, ("parallel",))["parallel"])]
        return _checked(at, lambda: saga.parallel(*items))
    if isinstance(given, dict) and "point_of_no_return" in given:
        name = _text(_mapping(at, ("point_of_no_return",))["point_of_no_return"])
        return _checked(at, lambda: saga.point_of_no_return(name))
    item = _item(at)
    return _checked(at, lambda: saga.parallel(item))


def _item(at: Placed) -> PlannedStep | SubSaga:
    kind = next((kind for kind in KINDS if isinstance(at.value, dict) and kind in at.value), None)
    if kind is None:
        raise _error(at, f"expected one of {', '.join((*KINDS, 'parallel', 'point_of_no_return'))} with a name")
    fields = KINDS[kind]
    given = _mapping(at, (kind, *fields))
    name = _text(given[kind])
    values = {field: fields[field](value) for field, value in given.items() if field != kind}
    if kind == "saga":
        inner = _saga(at, name, 1, _required(at, given, "steps"))
        values.pop("steps")
        return _checked(at, lambda: sub_saga(name, inner, **values))
    if kind == "step":
        _required(at, given, "do")
        return _checked(at, lambda: step(name, **values))
    build = approval if kind == "approval" else wait_for
    return _checked(at, lambda: build(name, **values))


def _target(at: Placed) -> tuple[str, str]:
    given = _mapping(at, ("agent", "type"))
    return _text(_required(at, given, "agent")), _text(_required(at, given, "type"))


def _number(at: Placed) -> float:
    if isinstance(at.value, bool) or not isinstance(at.value, int | float):
        raise _error(at, f"expected a number, got {at.value!r:.60}")
    return at.value


def _whole(at: Placed) -> int:
    if isinstance(at.value, bool) or not isinstance(at.value, int):
        raise _error(at, f"expected a whole number, got {at.value!r:.60}")
    return at.value


def _bool(at: Placed) -> bool:
    if not isinstance(at.value, bool):
        raise _error(at, f"expected true or false, got {at.value!r:.60}")
    return at.value


def _text(at: Placed) -> str:
    if not isinstance(at.value, str) or not at.value:
        raise _error(at, "expected a text")
    return at.value


def _texts(at: Placed) -> tuple[str, ...]:
    return tuple(_text(item) for item in _list(at))


def _condition(at: Placed) -> tuple[str, str, Any]:
    parts = _list(at)
    if len(parts) != 3:
        raise _error(at, 'expected [path, comparison, value], such as [input.nights, ">", 0]')
    return _text(parts[0]), _text(parts[1]), _plain(parts[2])


def _plain(at: Placed) -> Any:
    if isinstance(at.value, list):
        return [_plain(item) for item in at.value]
    if isinstance(at.value, dict):
        return {name: _plain(item) for name, item in at.value.items()}
    return at.value


def _same(at: Placed) -> Placed:
    return at


_WAITING: Mapping[str, Read] = {"timeout": _number, "on_timeout": _text, "when": _condition}
KINDS: Mapping[str, Mapping[str, Read]] = {
    "step": {
        "do": _target,
        "undo": _target,
        "timeout": _number,
        "retries": _whole,
        "undo_retries": _whole,
        "retry_delay": _number,
        "pivot": _bool,
        "when": _condition,
        "locks": _texts,
        "on_conflict": _text,
    },
    "approval": _WAITING,
    "wait_for": {**_WAITING, "signal": _text},
    "saga": {"steps": _same, "input": _text, "when": _condition},
}
"""What an item of ``steps`` may be, and what may stand in it."""


def _checked(at: Placed, build: Callable[[], Value]) -> Value:
    """Build something; what the Python definition refuses is refused with the place."""
    try:
        return build()
    except SagaDefinitionError:
        raise
    except ConfigurationError as error:
        raise _error(at, str(error)) from None


def _mapping(at: Placed, known: tuple[str, ...]) -> dict[str, Placed]:
    if not isinstance(at.value, dict):
        raise _error(at, f"expected a mapping with {', '.join(known)}")
    for name, value in at.value.items():
        if name not in known:
            raise _error(value, f"unknown;{did_you_mean(name, known) or ' expected one of ' + ', '.join(known)}")
    given: dict[str, Placed] = at.value
    return given


def _required(at: Placed, given: dict[str, Placed], name: str) -> Placed:
    if name not in given:
        raise _error(at, f"{name} is missing")
    return given[name]


def _list(at: Placed) -> list[Placed]:
    if not isinstance(at.value, list):
        raise _error(at, "expected a list")
    return at.value


def _error(at: Placed, problem: str) -> SagaDefinitionError:
    return SagaDefinitionError(problem, path=at.path, line=at.line)
