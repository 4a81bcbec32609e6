"""Two-phase commit: several databases or agents, one outcome. See docs/transactions.md."""

from messaging.core.errors import VoteNo
from messaging.transactions.two_phase.branch import Resource
from messaging.transactions.two_phase.definition import TwoPhase, TwoPhaseView
from messaging.transactions.two_phase.requests import BranchRequest

__all__ = ["BranchRequest", "Resource", "TwoPhase", "TwoPhaseView", "VoteNo"]
