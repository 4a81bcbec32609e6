"""A saga of five steps that moves money, for tests with real processes, named by NEXUS_AGENTS.

Each step takes a euro from the customer's account and puts it into that of its agent; its undo gives it back. A tenth
of all steps is refused, chosen by the saga's number, so that the same ones are in every run.
"""

from __future__ import annotations

import random

from django.db import connection

from messaging.api import Participant, RetryPolicy, Saga, StepFailed, StepRequest

NAMES = ("bank-a", "bank-b", "bank-c", "bank-d", "bank-e")
TABLE = "tests_account"
FAILING = 0.1


def create_table() -> None:
    """Make the table if it is missing: a row for each movement."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TABLE IF NOT EXISTS {TABLE} (saga varchar(36) NOT NULL, account varchar(20) NOT NULL,"
            " amount integer NOT NULL)"
        )


def fails(number: int, step: str) -> bool:
    """Whether a step of the saga of that number is refused."""
    return random.Random(f"{number} {step}").random() < FAILING


def will_complete(number: int) -> bool:
    """Whether none of its steps is."""
    return not any(fails(number, name) for name in NAMES)


def _move(request: StepRequest, amount: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {TABLE} (saga, account, amount) VALUES (%s, %s, %s), (%s, 'customer', %s)",
            [str(request.saga), request.step, amount, str(request.saga), -amount],
        )


def _pay(request: StepRequest) -> dict[str, int]:
    _move(request, 1)
    if fails(request.input["number"], request.step):  # after the money moved: the movement must be taken back
        raise StepFailed("refused")
    return {"paid": 1}


def _pay_back(request: StepRequest) -> None:
    _move(request, -request.result["paid"])


PAYMENTS = Saga("payments")
for _name in NAMES:
    _bank = Participant(_name, retry=RetryPolicy(max_attempts=50, base=0.1, cap=1.0)).register()
    _bank.does("pay")(_pay)
    _bank.undoes("pay.back")(_pay_back)
    PAYMENTS = PAYMENTS.step(_name, do=(_name, "pay"), undo=(_name, "pay.back"), timeout=60)
