"""Many agents, one outcome: sagas. See docs/transactions.md."""

from messaging.core.errors import StepFailed
from messaging.transactions.definition import Saga, approval, step, sub_saga, wait_for
from messaging.transactions.hosting import LockHolder
from messaging.transactions.participant import Participant, StepRequest
from messaging.transactions.reserving import Reservation, try_confirm_cancel
from messaging.transactions.sagas import Sagas, SagaView

__all__ = [
    "LockHolder",
    "Participant",
    "Reservation",
    "Saga",
    "SagaView",
    "Sagas",
    "StepFailed",
    "StepRequest",
    "approval",
    "step",
    "sub_saga",
    "try_confirm_cancel",
    "wait_for",
]
