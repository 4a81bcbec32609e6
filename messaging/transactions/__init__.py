"""Many agents, one outcome: sagas. See docs/transactions.md."""

from messaging.core.errors import StepFailed
from messaging.transactions.definition import Saga, approval, step, sub_saga, wait_for
from messaging.transactions.hosting import LockHolder
from messaging.transactions.participant import Participant, StepRequest
from messaging.transactions.sagas import Sagas, SagaView

__all__ = [
    "LockHolder",
    "Participant",
    "Saga",
    "SagaView",
    "Sagas",
    "StepFailed",
    "StepRequest",
    "approval",
    "step",
    "sub_saga",
    "wait_for",
]
