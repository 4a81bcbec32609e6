"""The admin's index: our tables in groups, with how many rows they have and what is wrong in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from messaging.admin.base import LogAdmin
from messaging.log.counting import count_each, estimate_rows
from messaging.operators.index_state import IndexState

MAX_EXACT = 1_000
"""Rows of a table that the index counts; of more it tells an estimate, or that there are more."""
INTERNALS = "Internals"
GROUPS = ("Waits for people", "Work", "Agents and teams", "Rules and access", "Keys and tokens", "Records", INTERNALS)
OURS = "nexus"
"""What the labels of our apps begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateCount:
    """Rows of a table in one state.

    Args:
        text: how many, and what they are.
        url: of the list that shows them.
        wrong: whether somebody has to do something about them.
    """

    text: str
    url: str
    wrong: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexLine:
    """A table in the index.

    Args:
        group: one of ``GROUPS``, or what an app calls its own.
        name: of its rows, for people.
        key: its model's name.
        url, add_url: of its list, and for a new row; empty where the user may not.
        size: how many rows it has.
        states: of which there are rows.
    """

    group: str
    name: str
    key: str
    url: str
    add_url: str
    size: str
    states: Sequence[StateCount]

    @property
    def wrong(self) -> bool:
        """Whether it has rows that somebody has to do something about."""
        return any(state.wrong for state in self.states)


def lines_of(request: HttpRequest, app_list: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[IndexLine]]]:
    """(group, its tables): what the user may see, in few statements however many rows there are.

    Args:
        request: of the user.
        app_list: the admin's, of all apps or of one.
    """
    seen = [
        (model["model"], str(model["name"]), model["admin_url"] or "", model["add_url"] or "")
        for app in app_list
        if is_ours(app)
        for model in app["models"]
    ]
    if any(app["app_label"] == OURS for app in app_list):
        seen += _internals(request)
    pages: list[Any] = [admin.site._registry[model] for model, *_ in seen]
    states: list[list[IndexState]] = [list(getattr(page, "index_states", ())) for page in pages]
    sizes, counts = _counted([model for model, *_ in seen], [state for of_one in states for state in of_one])
    left = iter(counts)
    lines = [
        IndexLine(
            group=INTERNALS if getattr(page, "internal", False) else getattr(page, "index_group", "Records"),
            name=name,
            key=str(model._meta.model_name),
            url=url,
            add_url=add_url,
            size=size,
            states=[
                StateCount(
                    text=f"{tell_number(count, MAX_EXACT)} {state.word}",
                    url=f"{url}?{state.query}" if state.query else url,
                    wrong=state.wrong,
                )
                for state, count in zip(of_one, left, strict=False)
                if count
            ],
        )
        for (model, name, url, add_url), page, of_one, size in zip(seen, pages, states, sizes, strict=True)
    ]
    return _grouped(lines)


def is_ours(app: Mapping[str, Any]) -> bool:
    """Whether an app of the admin's list is one of Nexus."""
    return str(app["app_label"]).startswith(OURS)


def tell_number(number: int, limit: int) -> str:
    """A number that was counted up to a limit: "12", "1,000+"."""
    return f"{number:,}" + ("+" if number >= limit else "")


def _grouped(lines: Iterable[IndexLine]) -> list[tuple[str, list[IndexLine]]]:
    """In the order of ``GROUPS``; in each what is wrong first."""
    groups: dict[str, list[IndexLine]] = {name: [] for name in GROUPS}
    for line in sorted(lines, key=lambda line: (not line.wrong, line.name)):
        groups.setdefault(line.group, []).append(line)
    internals = groups.pop(INTERNALS)
    return [(name, found) for name, found in (*groups.items(), (INTERNALS, internals)) if found]


def _counted(models: Sequence[type[Model]], states: Sequence[IndexState]) -> tuple[list[str], list[int]]:
    """The size of each table, and the rows of each state."""
    estimates = estimate_rows([model._meta.db_table for model in models])
    small = [model for model in models if estimates.get(model._meta.db_table, 0) <= MAX_EXACT]
    found = [model._default_manager.all() for model in small] + [state.rows() for state in states]
    counts = count_each(found, MAX_EXACT)
    exact = dict(zip(small, counts, strict=False))
    sizes = [
        tell_number(exact[model], MAX_EXACT)
        if model in exact
        else f"about {_rounded(estimates[model._meta.db_table]):,}"
        for model in models
    ]
    return sizes, counts[len(small) :]


def _rounded(number: int) -> int:
    """To two digits: it is an estimate, and should look like one."""
    return round(number, 2 - len(str(number)))


def _internals(request: HttpRequest) -> list[tuple[type[Model], str, str, str]]:
    """The tables that the admin's own list leaves out."""
    return [
        (
            model,
            str(model._meta.verbose_name_plural),
            reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"),
            "",
        )
        for model, page in admin.site._registry.items()
        if isinstance(page, LogAdmin) and page.internal and page.has_view_permission(request)
    ]
