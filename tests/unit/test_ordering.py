"""The plan of a batch: what becomes of each delivery, from locked rows alone."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from messaging.core.envelope import build_envelope, parse_envelope
from messaging.core.ids import delivery_id, new_message_id, uuid7
from messaging.core.ordering import Place, turn_of
from messaging.core.outcome import Outcome
from messaging.gate.passage import Passage, logged_passage
from messaging.log import (
    DELIVERY_COLUMNS,
    MESSAGE_COLUMNS,
    DeliveryRow,
    NewDelivery,
    NewMessage,
    StoredDelivery,
    WorkflowRow,
)
from messaging.receiving.ordering import Plan, make_plan

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORKFLOW = uuid7()


@pytest.mark.parametrize(
    ("position", "processed", "turn"),
    [
        (1, 0, Place.NEXT),
        (2, 0, Place.EARLY),
        (5, 4, Place.NEXT),
        (6, 4, Place.EARLY),
        (4, 4, Place.LATE),
        (1, 9, Place.LATE),
    ],
)
def test_turns(position: int, processed: int, turn: Place) -> None:
    assert turn_of(position, processed) is turn


def at(position: int) -> tuple[Passage, DeliveryRow]:
    message = new_message_id()
    body = build_envelope(
        message_id=message,
        workflow_id=WORKFLOW,
        source="web",
        recipient="a",
        type="test",
        data=None,
        sequence=position,
        max_bytes=10_000,
    )
    identifier = delivery_id(message, 1)
    passage = logged_passage(StoredDelivery(identifier, WORKFLOW, "transactional", body, ""))
    passage.envelope = parse_envelope(body, max_bytes=10_000)
    row = DeliveryRow(identifier, WORKFLOW, 1, "a", position, "sent", 0, 0, None, sent=9, processed=0, source="web")
    return passage, row


def plan(
    positions: list[int], *, status: str = "running", waited: bool = True, **states: str
) -> tuple[Plan, list[UUID]]:
    pairs = [at(position) for position in positions]
    for name, state in states.items():
        pairs[int(name.removeprefix("state"))][1].state = state
    workflow = WorkflowRow(WORKFLOW, status, 9, None, "park", None)
    rows = {row.id: row for _, row in pairs}
    made = make_plan([each for each, _ in pairs], {WORKFLOW: workflow}, rows, NOW, waited=waited)
    return made, [each.delivery_id for each, _ in pairs]


def ready(made: Plan) -> list[int]:
    return [item.row.position for item in made.ready]


@pytest.mark.parametrize("order", [[1, 2, 3], [3, 2, 1], [2, 3, 1]])
def test_a_batch_is_put_in_order(order: list[int]) -> None:
    made, _ = plan(order)
    assert ready(made) == [1, 2, 3]
    assert made.advanced() == {1: 3}


def test_what_follows_a_gap_is_held() -> None:
    made, ids = plan([1, 3, 4])
    assert ready(made) == [1]
    assert made.settled == {ids[1]: Outcome.HELD, ids[2]: Outcome.HELD}
    assert made.with_backlog() == {1: 1}


@pytest.mark.parametrize("state", ["processed", "dead", "cancelled", "expired", "leased"])
def test_what_is_settled_or_taken_is_a_duplicate(state: str) -> None:
    made, ids = plan([1, 2], state0=state)
    assert made.settled[ids[0]] is Outcome.DUPLICATE
    assert ready(made) == []


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("paused", Outcome.HELD),
        ("parked", Outcome.HELD),
        ("cancelled", Outcome.CANCELLED),
        ("completed", Outcome.CANCELLED),
        ("expired", Outcome.CANCELLED),
    ],
)
def test_a_workflow_that_does_not_run(status: str, outcome: Outcome) -> None:
    made, ids = plan([1, 2], status=status)
    assert made.ready == []
    assert made.settled == dict.fromkeys(ids, outcome)
    assert made.advanced() == {}


@pytest.mark.parametrize("waited", [True, False])
def test_a_missing_workflow_is_busy_until_one_waited_for_it(waited: bool) -> None:
    each, row = at(1)
    made = make_plan([each], {}, {row.id: row}, NOW, waited=waited)
    assert (made.unknown, made.busy) == (([each], []) if waited else ([], [each]))


def test_rows_to_be_inserted_name_their_columns_in_order() -> None:
    assert NewMessage._fields == tuple(name for name, _ in MESSAGE_COLUMNS)
    assert NewDelivery._fields == tuple(name for name, _ in DELIVERY_COLUMNS)
