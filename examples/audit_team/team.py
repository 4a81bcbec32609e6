"""The agents and what they say to each other.

    client ──audit.start──▶ planner ──audit.file──▶ analyst-1 │ analyst-2 │ analyst-3 ──audit.result──▶ critic
                              ├─────audit.expect──▶ critic ──audit.checked──▶ reporter ──audit.done──▶ client
                              └─────audit.total───▶ reporter

The planner and the analysts read files, which is outside the database: they are leased agents. The critic and the
reporter only touch the database: they are transactional. Every handler would do the same work again if it ran again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from examples.audit_team.analysis import Analysis, analyse
from examples.audit_team.criticism import objections
from examples.audit_team.files import Reading, digest, list_files, read_file, to_path
from examples.audit_team.report import build_report
from examples.audit_team.store import TeamStore
from messaging.api import AgentSpec, Envelope, HandlerContext, HandlerKind

ANALYSTS = ("analyst-1", "analyst-2", "analyst-3")
LEASED = ("planner", *ANALYSTS)
TRANSACTIONAL = ("critic", "reporter")
CLIENT = "client"

EXPECTED_AT_ONCE = 200
"""Files in one message to the critic, which keeps it far below the size limit."""


def plan(message: Envelope, context: HandlerContext) -> None:
    """Planner: list the files, tell critic and reporter what will come, hand the files to the analysts in turn."""
    order = message.data
    folder = Path(order["folder"])
    files = list_files(folder, order["limit"])
    seen = [{"key": key, "sha256": file.sha256, "size": file.size} for key, file in _read_all(folder, files)]
    # The critic's mailbox is in order, so it knows every file before the first result reaches it.
    for start in range(0, len(seen), EXPECTED_AT_ONCE):
        context.send("critic", "audit.expect", {"files": seen[start : start + EXPECTED_AT_ONCE]})
    context.send("reporter", "audit.total", {**order, "files": len(files)})
    for number, key in enumerate(files):
        context.send(ANALYSTS[number % len(ANALYSTS)], "audit.file", {"folder": order["folder"], "key": key})


def _read_all(folder: Path, keys: Iterable[str]) -> Iterator[tuple[str, Reading]]:
    for key in keys:
        yield key, read_file(to_path(folder, key))


def examine(message: Envelope, context: HandlerContext) -> None:
    """Analyst: read one file, parse it, send the figures to the critic."""
    key = message.data["key"]
    file = read_file(to_path(Path(message.data["folder"]), key))
    found = Analysis("not readable", file.problem) if file.content is None else analyse(file.content)
    context.send(
        "critic",
        "audit.result",
        {**found.as_data(), "key": key, "analyst": context.agent, "size": file.size, "sha256": file.sha256},
    )


def analyst(number: int) -> AgentSpec:
    """One of the analysts; they all do the same."""
    return AgentSpec(
        name=ANALYSTS[number],
        handler=examine,
        kind=HandlerKind.LEASED,
        description="parses the files that the planner hands it",
    )


class Critic:
    """Checks every result against what the planner saw, and for contradictions.

    Args:
        store: where it keeps what the planner saw.
    """

    def __init__(self, store: TeamStore) -> None:
        self._store = store

    def handle(self, message: Envelope, context: HandlerContext) -> None:
        self._store.note_handled(message)
        if message.type == "audit.expect":
            self._store.expect(message.workflow_id, message.data["files"])
            return
        figures: dict[str, Any] = message.data
        expected = self._store.expected(message.workflow_id, figures["key"])
        context.send("reporter", "audit.checked", {**figures, "objections": objections(figures, expected)})


class Reporter:
    """Collects checked results and writes the report when it has all of them.

    Args:
        store: where it keeps them.
    """

    def __init__(self, store: TeamStore) -> None:
        self._store = store

    def handle(self, message: Envelope, context: HandlerContext) -> None:
        self._store.note_handled(message)
        workflow = message.workflow_id
        if message.type == "audit.total":
            self._store.assign(workflow, message.data)
            return
        count = self._store.add_result(workflow, message.data)
        order = self._store.assignment(workflow)
        if order is None or count < order["files"]:
            return
        page = build_report(order["title"], self._store.results(workflow)).encode()
        _write_whole(Path(order["report"]), page)
        context.send(CLIENT, "audit.done", {"files": count, "report": order["report"], "sha256": digest(page)})


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file so that readers see all of it or nothing. It may happen twice, with one result."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(path)


def build_team(store: TeamStore) -> list[AgentSpec]:
    """The whole team around a store."""
    return [
        AgentSpec(name="planner", handler=plan, kind=HandlerKind.LEASED, description="lists files and hands them out"),
        *(analyst(number) for number in range(len(ANALYSTS))),
        AgentSpec(name="critic", handler=Critic(store).handle, description="cross-checks every result"),
        AgentSpec(name="reporter", handler=Reporter(store).handle, description="writes the report"),
    ]
