"""Reading a policy from YAML, JSON or plain data: every error names the place and what to write instead.

>>> read_text('''
... grants:
... - {name: open, sender: writer, recipent: critic}
... ''', "access.yaml")
Traceback (most recent call last):
    ...
messaging.core.errors.AccessPolicyError: access.yaml, line 3, grants[0].recipent: unknown; did you mean 'recipient'?
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from messaging.core.errors import AccessPolicyError
from messaging.core.strict_yaml import Placed, place
from messaging.security.access.policy import Defaults, Effect, Grant, Policy, PolicyTeam, Role
from messaging.security.access.validating import check_policy, suggest

MAX_BYTES = 4_000_000


def read_file(path: Path | str) -> Policy:
    """Read a policy from a YAML or JSON file.

    Raises:
        AccessPolicyError: what is wrong, in which line, and the fix; also when the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise AccessPolicyError(f"longer than {MAX_BYTES} bytes", source=str(path))
        text = raw.decode("utf-8")
    except OSError as error:
        raise AccessPolicyError(f"cannot be read: {error.strerror}", source=str(path)) from None
    except UnicodeDecodeError as error:
        raise AccessPolicyError(f"not UTF-8, at byte {error.start}; save it as UTF-8", source=str(path)) from None
    return read_text(text, str(path))


def read_text(text: str, source: str = "") -> Policy:
    """Read a policy from YAML or JSON.

    Args:
        text: the document.
        source: the file's name, for errors.

    Raises:
        AccessPolicyError: what is wrong, in which line, and the fix.
    """
    top = place(text, AccessPolicyError, source)
    try:
        policy = _policy(top)
        check_policy(policy)
    except AccessPolicyError as error:
        raise AccessPolicyError(error.problem, path=error.path, source=source, line=top.find(error.path).line) from None
    return policy


def read_data(data: object) -> Policy:
    """Read a policy from plain data, as ``writing.policy_data`` makes it.

    Raises:
        AccessPolicyError: what is wrong and where.
    """
    return read_text(json.dumps(data))


def _policy(at: Placed) -> Policy:
    given = _mapping(at, ("version", "defaults", "teams", "roles", "grants"))
    if "version" in given and given["version"].value != 1:
        raise _error(given["version"], f"{given['version'].value!r} is not known; write 1")
    defaults = _mapping(given["defaults"], [field.name for field in fields(Defaults)]) if "defaults" in given else {}
    return Policy(
        roles=tuple(_role(name, item) for name, item in _named(given, "roles")),
        teams=tuple(PolicyTeam(name=name, agents=_texts(item)) for name, item in _named(given, "teams")),
        grants=tuple(_grant(item) for item in _list(given["grants"])) if "grants" in given else (),
        defaults=Defaults(**{name: _effect(item) for name, item in defaults.items()}),
    )


def _role(name: str, at: Placed) -> Role:
    if isinstance(at.value, list):  # only members
        return Role(name=name, agents=_texts(at))
    given = _mapping(at, ("agents", "inherits", "note"))
    return Role(
        name=name,
        agents=_texts(given["agents"]) if "agents" in given else (),
        inherits=_texts(given["inherits"]) if "inherits" in given else (),
        note=_text(given["note"]) if "note" in given else "",
    )


def _grant(at: Placed) -> Grant:
    given = _mapping(at, [field.name for field in fields(Grant)], needed=("name", "effect"))
    converters: dict[str, Callable[[Placed], Any]] = {
        "effect": _effect,
        "workflow": _uuid,
        "starts": _moment,
        "ends": _moment,
        "uses": _number,
    }
    values: dict[str, Any] = {key: converters.get(key, _text)(item) for key, item in given.items()}
    return Grant(**values)


# --- values ---


def _error(at: Placed, problem: str) -> AccessPolicyError:
    return AccessPolicyError(problem, path=at.path)


def _kind(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", str: "text", bool: "a truth value", type(None): "nothing"}
    return names.get(type(value), "a number")


def _mapping(at: Placed, known: Iterable[str], needed: Iterable[str] = ()) -> dict[str, Placed]:
    if not isinstance(at.value, dict):
        raise _error(at, f"expected a mapping (name: value), here is {_kind(at.value)}")
    names = list(known)
    for key, item in at.value.items():
        if key not in names:
            raise _error(item, f"unknown; {suggest(key, names)}")
    for key in needed:
        if key not in at.value:
            raise _error(at, f"{key!r} is missing; add it")
    return dict(at.value)


def _named(given: dict[str, Placed], part: str) -> list[tuple[str, Placed]]:
    if part not in given:
        return []
    at = given[part]
    if not isinstance(at.value, dict):
        raise _error(at, f"expected a mapping from names to what belongs to them, here is {_kind(at.value)}")
    return list(at.value.items())


def _list(at: Placed) -> list[Placed]:
    if not isinstance(at.value, list):
        raise _error(at, f"expected a list (lines that begin with '- '), here is {_kind(at.value)}")
    return at.value


def _text(at: Placed) -> str:
    if not isinstance(at.value, str):
        raise _error(at, f"expected text, here is {_kind(at.value)}; put it in quotes")
    return at.value


def _texts(at: Placed) -> tuple[str, ...]:
    return tuple(_text(item) for item in _list(at))


def _effect(at: Placed) -> Effect:
    try:
        return Effect(at.value)
    except ValueError:
        raise _error(at, f"{str(at.value)[:120]!r} is neither 'allow' nor 'deny'; write one of them") from None


def _number(at: Placed) -> int:
    if not isinstance(at.value, int) or isinstance(at.value, bool):
        raise _error(at, f"expected a whole number, here is {str(at.value)[:120]!r}")
    return at.value


def _uuid(at: Placed) -> UUID:
    try:
        return UUID(_text(at))
    except ValueError:
        raise _error(at, f"{str(at.value)[:120]!r} is no workflow's id; expected a UUID") from None


def _moment(at: Placed) -> datetime:
    try:
        return datetime.fromisoformat(_text(at))
    except ValueError:
        raise _error(at, f"{str(at.value)[:120]!r} is no moment; write it like 2027-01-31T12:00:00Z") from None
