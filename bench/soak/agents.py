"""The agents of a soak. Each writes what it did where Nexus has no hand in it.

    source ─▶ first ─▶ second
                ├────▶ slow (leased) ─▶ sink           every fifth message
                └────▶ outside (its own process, over HTTP) ─▶ collect   every tenth, where there is one

``guarded`` accepts nothing untrusted: what is sent to it is meant to be refused. ``bank-a`` to ``bank-c`` take part in
sagas that move money, ``till_a`` and ``till_b`` in two-phase commits. ``first``, ``second``, ``sink`` and ``collect``
insert a row of the ledger in their handler's transaction: what is committed there is what really happened. All append a
line to a file at each attempt.
"""

from __future__ import annotations

import os
import time

from django.db import connection

from bench.soak import clock
from bench.soak.names import (
    ATTEMPTS_FILE,
    BANKS,
    FAIL_EVERY,
    FAILING_SAGA_EVERY,
    OUTSIDE,
    OUTSIDE_EVERY,
    SLOW_EVERY,
    TILLS,
    TYPE,
)
from messaging.api import (
    AgentSpec,
    BranchRequest,
    Envelope,
    HandlerContext,
    HandlerKind,
    LabelPolicy,
    Participant,
    RetryPolicy,
    Saga,
    StepFailed,
    StepRequest,
    TransientError,
    TwoPhase,
    registry,
)

clock.install()

_attempts = os.open(os.environ.get(ATTEMPTS_FILE, os.devnull), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def _note(message: Envelope, context: HandlerContext) -> None:
    line = f"{context.agent} {context.workflow_id} {message.data['number']} {os.getpid()}\n"
    os.write(_attempts, line.encode())


def _record(message: Envelope, context: HandlerContext) -> None:
    _note(message, context)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO soak_effect (agent, workflow, number, sent_at, handled_at) VALUES (%s, %s, %s, %s, %s)",
            [context.agent, str(context.workflow_id), message.data["number"], message.data["sent_at"], time.time()],
        )


def first(message: Envelope, context: HandlerContext) -> None:
    """Pass the message on; now and then fail at the first attempt."""
    number = message.data["number"]
    _record(message, context)
    if number % FAIL_EVERY == 0 and context.attempt == 1:
        raise TransientError("the soak fails this one once")
    context.send("second", TYPE, message.data)
    if number % SLOW_EVERY == 0:
        context.send("slow", TYPE, message.data)
    if OUTSIDE in os.environ and number % OUTSIDE_EVERY == 0:
        context.send("outside", TYPE, message.data)


def second(message: Envelope, context: HandlerContext) -> None:
    """Record it."""
    _record(message, context)


def slow(message: Envelope, context: HandlerContext) -> None:
    """Take a while, as a call to a model would, and pass the message on."""
    _note(message, context)
    time.sleep(0.02 + message.data["number"] % 10 / 100)
    context.send("sink", TYPE, message.data)


def _move(request: StepRequest, amount: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO soak_movement (saga, account, amount) VALUES (%s, %s, %s), (%s, 'customer', %s)",
            [str(request.saga), request.step, amount, str(request.saga), -amount],
        )


def _pay(request: StepRequest) -> dict[str, int]:
    _move(request, 1)
    if request.step == BANKS[-1] and request.input["number"] % FAILING_SAGA_EVERY == 0:
        raise StepFailed("the soak fails this one")  # after the money moved: the movement must be taken back
    return {"paid": 1}


def _pay_back(request: StepRequest) -> None:
    _move(request, -request.result["paid"])


for _name, _handler, _kind in (
    ("first", first, HandlerKind.TRANSACTIONAL),
    ("second", second, HandlerKind.TRANSACTIONAL),
    ("slow", slow, HandlerKind.LEASED),
    ("sink", second, HandlerKind.TRANSACTIONAL),
    ("collect", second, HandlerKind.TRANSACTIONAL),
):
    registry.register(AgentSpec(name=_name, handler=_handler, kind=_kind))

registry.register(AgentSpec(name="guarded", handler=second, accepts_labels=LabelPolicy()))

PAYMENTS = Saga("soak payments")
for _name in BANKS:
    _bank = Participant(_name, retry=RetryPolicy(max_attempts=50, base=0.1, cap=1.0)).register()
    _bank.does("pay")(_pay)
    _bank.undoes("pay.back")(_pay_back)
    PAYMENTS = PAYMENTS.step(_name, do=(_name, "pay"), undo=(_name, "pay.back"), timeout=60)


def _transfer(request: BranchRequest) -> None:
    amount = -1 if request.participant == TILLS[0] else 1
    request.execute("INSERT INTO soak_transfer (run, amount) VALUES (%s, %s)", [str(request.run), amount])


TRANSFER = TwoPhase("soak-transfer", timeout=30)
for _name in TILLS:
    TRANSFER.participant(_name, database=_name, work=_transfer)
if f"DATABASE_URL_{TILLS[0].upper()}" in os.environ:
    TRANSFER.register()
