"""Sagas in YAML: the same plan as in Python, and errors that name the place."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.test import override_settings

from messaging.api import Reservation, Saga, approval, known_sagas, step, sub_saga, try_confirm_cancel
from messaging.core.errors import SagaDefinitionError
from messaging.transactions.yaml import read_saga

BOOKING = """
saga: booking
version: 2
steps:
  - step: flight
    do: {agent: flights, type: flight.book}
    undo: {agent: flights, type: flight.cancel}
    timeout: 60
    retries: 1
    locks: ["seat:{input.seat}"]
    on_conflict: wait
  - parallel:
      - {step: hotel, do: {agent: hotels, type: hotel.book}, when: [input.nights, ">", 0]}
      - saga: car
        input: input.car
        steps:
          - step: rent
            do: {agent: cars, type: car.rent}
      - approval: manager
        timeout: 86400
        on_timeout: park
  - wait_for: paid
    signal: payment
  - point_of_no_return: decided
  - {step: ticket, do: {agent: flights, type: ticket.send}, pivot: true}
"""

PYTHON = (
    Saga("booking", version=2)
    .step(
        "flight",
        do=("flights", "flight.book"),
        undo=("flights", "flight.cancel"),
        timeout=60,
        retries=1,
        locks=("seat:{input.seat}",),
        on_conflict="wait",
    )
    .parallel(
        step("hotel", do=("hotels", "hotel.book"), when=("input.nights", ">", 0)),
        sub_saga("car", Saga("car").step("rent", do=("cars", "car.rent")), input="input.car"),
        approval("manager", timeout=86_400, on_timeout="park"),
    )
    .wait_for("paid", signal="payment")
    .point_of_no_return("decided")
    .step("ticket", do=("flights", "ticket.send"), pivot=True)
)


def test_yaml_and_python_say_the_same() -> None:
    assert read_saga(BOOKING).plan == PYTHON.plan


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("retries: 1", "retris: 1", "line 9, steps[0].retris: unknown; Did you mean 'retries'?"),
        ("timeout: 60", "timeout: soon", "line 8, steps[0].timeout: expected a number, got 'soon'"),
        ("version: 2", "version: x", "line 3, version: expected a whole number from 1 on"),
        ("agent: cars, ", "", "line 18, steps[1].parallel[1].steps[0].do: agent is missing"),
        ("type: car.rent", "type: Car!", "line 17, steps[1].parallel[1].steps[0]: Step 'rent'"),
        ('[input.nights, ">", 0]', "[a]", "line 13, steps[1].parallel[0].when: expected [path"),
        ('">"', '"~"', "compares with '~'"),
        ("on_timeout: park", "on_timeout: x", "line 19, steps[1].parallel[2]: Step 'manager': on_timeout is one of"),
        ("wait_for: paid", "wait: paid", "line 22, steps[2]: expected one of step, approval"),
        ("steps:", "", "line"),
        ("step: hotel", "step: flight", "twice: flight"),
    ],
)
def test_errors_name_the_place(before: str, after: str, problem: str) -> None:
    with pytest.raises(SagaDefinitionError) as raised:
        read_saga(BOOKING.replace(before, after, 1), "booking.yaml")
    assert str(raised.value).startswith("booking.yaml, line ")
    assert problem in str(raised.value)


def test_the_files_of_the_settings_are_known(tmp_path: Path) -> None:
    file = tmp_path / "booking.yaml"
    file.write_text(BOOKING)
    with override_settings(NEXUS={"SAGA_FILES": str(file)}):
        assert known_sagas.require("booking", 2).plan == PYTHON.plan
    known_sagas.remove("booking", 2)


def test_try_confirm_cancel_is_a_saga_with_a_point_of_no_return() -> None:
    both = [
        Reservation(name=name, agent=agent, reserve="x.try", confirm="x.confirm", cancel="x.cancel")
        for name, agent in (("a", "x"), ("b", "y"))
    ]
    saga = try_confirm_cancel("order", *both)
    assert [[one.name for one in stage] for stage in saga.plan.stages] == [
        ["a", "b"],
        ["reserved"],
        ["a confirmed", "b confirmed"],
    ]
    assert saga.plan.steps["a"].undo == ("x", "x.cancel")
