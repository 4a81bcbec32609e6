"""How often the hot path waits for PostgreSQL: libpq's own trace of the connection is counted, BEGIN and COMMIT too."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

import pytest
from django.db import connection, transaction

from messaging.api import Envelope, HandlerContext, Outgoing, registry
from messaging.directory import pausing
from messaging.security.signatures import keys
from tests.support.lab import Lab

WARM_UPS = 4  # statements are prepared, caches fill


@pytest.fixture(autouse=True)
def on_postgres(database_vendor: str) -> None:
    if database_vendor != "postgres":
        pytest.skip("SQLite is no server")


@pytest.fixture(autouse=True)
def agents(lab: Lab) -> Iterator[None]:
    """One that answers some messages, and a hundred that do nothing; none touches the database."""

    def answer(message: Envelope, context: HandlerContext) -> None:
        if message.data == "answer":
            context.send("member0", "test.message")

    names = ["answering", *MEMBERS]
    for name in names:
        lab.bus.register_agent(name, answer)
    lab.bus.create_group("everybody", MEMBERS)
    lab.send(lab.workflow(), "answering")  # makes this process's key
    lab.take_offered()
    keys.forget()
    yield
    for name in names:
        registry.remove(name)


MEMBERS = [f"member{number}" for number in range(100)]


def assert_round_trips(limit: int, act: Callable[[], object]) -> None:
    """Fail when this thread's connection waits for more answers than that, and say for which."""
    connection.ensure_connection()
    native = connection.connection.pgconn
    with tempfile.TemporaryFile("w+") as trace:
        native.trace(trace.fileno())
        try:
            act()
        finally:
            native.untrace()
        trace.seek(0)
        said = trace.read()
    asked = re.findall(r"\tF\t\d+\t(?:Query|Parse|Bind)\t ?(.{0,120})", said)
    count = said.count("ReadyForQuery")
    assert 1 < count <= limit, "\n".join([f"{count} round trips, not {limit}:", *asked])


def test_a_send_in_a_transaction_of_its_own(lab: Lab) -> None:
    workflow = lab.workflow()
    for _ in range(WARM_UPS):
        lab.send(workflow, "answering")
    assert_round_trips(2, lambda: lab.send(workflow, "answering"))  # BEGIN, policy, number; store, COMMIT


def test_a_send_within_a_caller_s_transaction(lab: Lab) -> None:
    workflow = lab.workflow()
    with transaction.atomic():
        for _ in range(WARM_UPS):
            lab.send(workflow, "answering")
        # A savepoint, the policy, number, store, the savepoint's end.
        assert_round_trips(5, lambda: lab.send(workflow, "answering"))


def test_a_group_costs_as_much_as_one_agent(lab: Lab) -> None:
    workflow = lab.workflow()
    for _ in range(WARM_UPS):
        lab.send(workflow, "everybody")
    assert_round_trips(4, lambda: lab.send(workflow, "everybody"))  # no agent has the name; its members


@pytest.mark.parametrize(
    ("count", "source", "data", "limit"),
    [
        (1, "web", None, 2),  # open; close and COMMIT
        (1, "member0", "answer", 2),  # its mailbox is read with the message
        (1, "web", "answer", 3),  # open; mailbox; close and COMMIT
        (100, "web", None, 3),  # open; close; COMMIT
        (100, "web", "answer", 5),  # open; mailboxes; messages; close; COMMIT
    ],
)
def test_handled_messages(
    lab: Lab, count: int, source: str, data: str | None, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To open is BEGIN, policy, keys, locks and deliveries; to close is messages, processed-IDs and counters."""
    monkeypatch.setattr(pausing, "REMEMBER", 3600.0)  # what is done now and then is left out
    monkeypatch.setattr(lab.consumer._publisher, "_mark_every", 3600.0)
    monkeypatch.setattr(lab.consumer._status, "write", lambda *_: None)
    workflows = [lab.workflow() for _ in range(count)]
    for _ in range(WARM_UPS):
        prepare(lab, workflows, source, data)
        lab.work(3)
    prepare(lab, workflows, source, data)
    assert_round_trips(limit, lab.consumer.step)


def prepare(lab: Lab, workflows: Sequence[UUID], source: str, data: str | None) -> None:
    """Put a message of each workflow on the broker."""
    lab.bus.send_many(
        [
            Outgoing(workflow_id=workflow, source=source, recipient="answering", type="test.message", data=data)
            for workflow in workflows
        ]
    )
    lab.put(lab.take_offered())
