"""Reading a team's definition: every value is checked, and every error names the place and what is expected.

>>> team = read_text('''
... name: pair
... members: [{name: writer}, {name: critic}]
... termination: {any: [{max_messages: 9}, {text_mention: {text: OK, sources: [critic]}}]}
... ''')
>>> [member.name for member in team.members], team.termination.to_data()["any"][0]
(['writer', 'critic'], {'max_messages': 9})
>>> read_text("name: pair\\nmembers:\\n- name: writer\\n  handoff: [critic]", "pair.yaml")
Traceback (most recent call last):
    ...
agents.chat.rules.errors.DefinitionError: pair.yaml, line 4, members[0].handoff: unknown; did you mean 'handoffs'?
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from agents.chat.rules.conditions import LEAVES, Functional
from agents.chat.rules.definitions import Limits, Member, ResultPolicy, TeamDefinition
from agents.chat.rules.functions import get_function
from agents.chat.rules.located import Located, locate, locate_text
from agents.chat.rules.speakers import SELECTORS, ByFunction, ByHandoff, Parallel, RoundRobin, Selector
from agents.chat.rules.termination import AllOf, AnyOf, Condition
from messaging.api import ConfigurationError, EnvelopeError
from messaging.extension import check_agent_name

MAX_MEMBERS = 200
MAX_LEVELS = 5
RESERVED = ("user", "chat")


def read_team(data: object) -> TeamDefinition:
    """Read a definition from plain Python data.

    Raises:
        DefinitionError: what is wrong, where, and what is expected.
    """
    return _team(locate(data), 1)


def read_text(text: str, source: str = "") -> TeamDefinition:
    """Read a definition from YAML or JSON.

    Args:
        text: the document.
        source: the file's name, for errors.

    Raises:
        DefinitionError: what is wrong, in which line, and what is expected.
    """
    return _team(locate_text(text, source), 1)


def read_file(path: Path | str) -> TeamDefinition:
    """Read a definition from a YAML or JSON file.

    Raises:
        DefinitionError: as ``read_text``.
        OSError: the file cannot be read.
    """
    return read_text(Path(path).read_text(encoding="utf-8"), Path(path).name)


def _team(at: Located, level: int) -> TeamDefinition:
    if level > MAX_LEVELS:
        raise at.error(f"teams are nested more than {MAX_LEVELS} levels deep")
    given = _mapping(at, [item.name for item in fields(TeamDefinition)], needed=["name", "members"])
    members = [_member(item, level) for item in _list(given["members"])]
    names = [member.name for member in members]
    if not 1 <= len(members) <= MAX_MEMBERS:
        raise given["members"].error(f"a team has 1 to {MAX_MEMBERS} members, here are {len(members)}")
    for number, name in enumerate(names):
        if name in names[:number]:
            raise given["members"].value[number].error(f"a second member named {name!r}; names are unique in a team")
    for member, item in zip(members, given["members"].value, strict=True):
        if member.handoffs:
            _check_names(item.value["handoffs"], member.handoffs, names)
    team = TeamDefinition(
        name=_text(given["name"]),
        members=tuple(members),
        description=_text(given["description"]) if "description" in given else "",
        selection=_selection(given["selection"], names) if "selection" in given else RoundRobin(),
        termination=_condition(given["termination"]) if "termination" in given else None,
        limits=_limits(given["limits"]) if "limits" in given else Limits(),
        result=_convert(given["result"], ResultPolicy) if "result" in given else ResultPolicy.LAST,
    )
    if not team.name:
        raise given["name"].error("empty; a name is expected")
    return team


def _member(at: Located, level: int) -> Member:
    if isinstance(at.value, str):
        at = Located({"name": at}, at.path, at.source, at.line)
    hints = typing.get_type_hints(Member)
    given = _mapping(at, [item.name for item in fields(Member)], needed=["name"])
    values = {key: _convert(item, hints[key]) for key, item in given.items() if key != "team"}
    for key in ("name", "agent"):
        if key in values:
            _check_agent_name(given[key], values[key])
    if values["name"] in RESERVED:
        raise given["name"].error(f"{values['name']!r} is reserved; choose another name")
    if "team" in given:
        values["team"] = _team(given["team"], level + 1)
    if values.get("human") and ("agent" in values or "team" in values):
        raise at.error("a human member has neither an agent nor a team")
    if "team" in values and "agent" in values:
        raise at.error("a member is an agent or a team, not both")
    return Member(**values)


def _check_agent_name(at: Located, name: str) -> None:
    try:
        check_agent_name(name)
    except EnvelopeError as error:
        raise at.error(error.problem) from None


def _selection(at: Located, names: list[str]) -> Selector:
    if isinstance(at.value, str):
        at = Located({"kind": at}, at.path, at.source, at.line)
    kind = _text(_mapping(at, None, needed=["kind"])["kind"])
    found = SELECTORS.get(kind)
    if found is None:
        raise at.value["kind"].error(_unknown(kind, SELECTORS))
    given = _mapping(at, ["kind", *(item.name for item in fields(found))])  # type: ignore[arg-type]
    hints = typing.get_type_hints(found)
    needed = [item.name for item in fields(found) if item.default is MISSING]  # type: ignore[arg-type]
    _need(at, given, needed)
    selector = found(**{key: _convert(item, hints[key]) for key, item in given.items() if key != "kind"})
    if isinstance(selector, Parallel):
        for group, item in zip(selector.groups, given["groups"].value if selector.groups else [], strict=True):
            _check_names(item, group, names)
    if isinstance(selector, ByHandoff) and selector.first:
        _check_names(given["first"], [selector.first], names)
    if isinstance(selector, ByFunction):
        _check_function(given["function"], selector.function)
    return selector


def _check_function(at: Located, name: str) -> None:
    try:
        get_function(name)
    except ConfigurationError as error:
        raise at.error(str(error)) from None


def _condition(at: Located) -> Condition:
    if isinstance(at.value, str):  # the kind alone, such as ``stop_message``
        at = Located({at.value: Located(True, at.path, at.source, at.line)}, at.path, at.source, at.line)
    given = _mapping(at, None)
    if len(given) != 1:
        raise at.error("one condition is expected here; combine several as {any: [...]} or {all: [...]}")
    ((kind, item),) = given.items()
    if kind in ("any", "all"):
        parts = tuple(_condition(part) for part in _list(item))
        if not parts:
            raise item.error("empty; at least one condition is expected")
        return AnyOf(parts) if kind == "any" else AllOf(parts)
    found = LEAVES.get(kind)
    if found is None:
        raise item.error(_unknown(kind, [*LEAVES, "any", "all"]))
    condition = _leaf(found, item)
    if isinstance(condition, Functional):
        _check_function(item, condition.function)
    return condition


def _leaf(found: type[Condition], at: Located) -> Condition:
    own = fields(found)  # type: ignore[arg-type]
    hints = typing.get_type_hints(found)
    if not own:
        if at.value is not True:
            raise at.error("this condition takes no values; write true")
        return found()
    names = [item.name for item in own]
    given = _mapping(at, names) if isinstance(at.value, dict) else {names[0]: at}
    _need(at, given, [item.name for item in own if item.default is MISSING])
    if not given:
        raise at.error(f"expected at least one of {', '.join(item.name for item in own)}")
    values = {key: _convert(item, hints[key]) for key, item in given.items()}
    for key, value in values.items():
        if isinstance(value, int | float) and value <= 0:
            raise given[key].error(f"expected a number above 0, got {value}")
    return found(**values)


def _limits(at: Located) -> Limits:
    hints = typing.get_type_hints(Limits)
    given = _mapping(at, [item.name for item in fields(Limits)])
    values = {key: _convert(item, hints[key]) for key, item in given.items()}
    for key, value in values.items():
        if isinstance(value, int | float) and value <= 0:
            raise given[key].error(f"expected a number above 0, got {value}")
    if values.get("on_failure", "park") not in ("park", "skip"):
        raise given["on_failure"].error(f"expected park or skip, got {values['on_failure']!r}")
    return Limits(**values)


# --- the parts of which the above is made ---


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"unknown; did you mean {near[0]!r}?" if near else f"unknown; expected one of {', '.join(sorted(known))}"


def _need(at: Located, given: dict[str, Located], needed: Iterable[str]) -> None:
    for key in needed:
        if key not in given:
            raise at.error(f"{key!r} is missing")


def _mapping(at: Located, known: list[str] | None, *, needed: Iterable[str] = ()) -> dict[str, Located]:
    if not isinstance(at.value, dict):
        raise at.error(f"expected a mapping (key: value), got {_describe(at)}")
    for key, item in at.value.items():
        if known is not None and key not in known:
            raise item.error(_unknown(key, known))
    _need(at, at.value, needed)
    return dict(at.value)


def _list(at: Located) -> list[Located]:
    if not isinstance(at.value, list):
        raise at.error(f"expected a list, got {_describe(at)}")
    return at.value


def _text(at: Located) -> str:
    return str(_convert(at, str))


def _describe(at: Located) -> str:
    names: dict[type, str] = {dict: "a mapping", list: "a list", type(None): "nothing"}
    return names.get(type(at.value), repr(at.value))


def _check_names(at: Located, used: Iterable[str], names: list[str]) -> None:
    for name in used:
        if name not in names:
            raise at.error(f"no member is named {name!r}; members are {', '.join(names)}")


_CHECKS: dict[type, tuple[Callable[[Any], bool], str]] = {
    str: (lambda value: isinstance(value, str), "text"),
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (lambda value: isinstance(value, int) and not isinstance(value, bool), "a whole number"),
    float: (lambda value: isinstance(value, int | float) and not isinstance(value, bool), "a number"),
}


def _convert(at: Located, wanted: Any) -> Any:
    if isinstance(wanted, types.UnionType):
        if at.value is None:
            return None
        wanted = next(item for item in typing.get_args(wanted) if item is not type(None))
    if typing.get_origin(wanted) is tuple:
        inner = typing.get_args(wanted)[0]
        return tuple(_convert(item, inner) for item in _list(at))
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        if at.value not in list(wanted):
            raise at.error(f"expected one of {', '.join(wanted)}, got {_describe(at)}")
        return wanted(at.value)
    check, expected = _CHECKS[wanted]
    if not check(at.value):
        raise at.error(f"expected {expected}, got {_describe(at)}")
    return wanted(at.value)
