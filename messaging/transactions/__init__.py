"""Many agents, one outcome: sagas. See docs/transactions.md."""

from messaging.core.errors import StepFailed
from messaging.transactions.definition import Saga, step
from messaging.transactions.participant import Participant, StepRequest
from messaging.transactions.sagas import Sagas, SagaView

__all__ = ["Participant", "Saga", "SagaView", "Sagas", "StepFailed", "StepRequest", "step"]
