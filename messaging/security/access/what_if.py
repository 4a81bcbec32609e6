"""What a draft policy would have made of messages that were sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from messaging.security.access.compiling import DecisionTable
from messaging.security.access.deciding import UsesInMemory, decide_all
from messaging.security.access.decision import AccessRequest

MAX_FLOWS = 10_000
"""Differing flows that are told apart; what is beyond is only counted."""
BATCH = 500


class Flow(NamedTuple):
    """Messages of one kind."""

    sender: str
    recipient: str
    type: str
    group: str
    because: str

    def __str__(self) -> str:
        group = f" (in group {self.group})" if self.group else ""
        return f"{self.sender} → {self.recipient}{group}: {self.type}: {self.because}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyEffect:
    """How a draft differs from the policy that holds, on given messages.

    Args:
        messages: that were looked at.
        refused: flows that are allowed and would be refused, each with its count.
        allowed: flows that are refused and would be allowed.
        unlisted: differing messages of further flows.
    """

    messages: int
    refused: Counter[Flow]
    allowed: Counter[Flow]
    unlisted: int

    @property
    def harmless(self) -> bool:
        """Whether nothing would be decided otherwise."""
        return not self.refused and not self.allowed

    def data(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "messages": self.messages,
            "newly_refused": [{**flow._asdict(), "messages": count} for flow, count in self.refused.most_common()],
            "newly_allowed": [{**flow._asdict(), "messages": count} for flow, count in self.allowed.most_common()],
            "unlisted": self.unlisted,
        }

    def lines(self) -> list[str]:
        """In words."""
        lines = [f"{self.messages} messages were looked at."]
        for title, flows in (("refused", self.refused), ("allowed", self.allowed)):
            lines.append(f"Newly {title}: {flows.total()}")
            lines += [f"  {count} of {flow}" for flow, count in flows.most_common()]
        if self.unlisted:
            lines.append(f"And {self.unlisted} more that differ.")
        return lines


def what_if(current: DecisionTable, draft: DecisionTable, traffic: Iterable[AccessRequest]) -> PolicyEffect:
    """Decide messages by both policies, each at the moment when it was sent.

    Uses are counted down for the draft as they would have been. For the policy that holds they were counted already.
    """
    counters: tuple[Counter[Flow], Counter[Flow]] = (Counter(), Counter())
    messages = unlisted = 0
    uses = UsesInMemory()
    for batch in _batches(traffic):
        messages += len(batch)
        for request, then in zip(batch, decide_all(draft, batch, uses.spend), strict=True):
            now = current.decide(request._replace(counted=False))
            if now.allowed == then.allowed:
                continue
            flow = Flow(request.sender, request.recipient, request.type, request.group, str(then))
            counter = counters[then.allowed]
            if flow in counter or len(counter) < MAX_FLOWS:
                counter[flow] += 1
            else:
                unlisted += 1
    return PolicyEffect(messages=messages, refused=counters[False], allowed=counters[True], unlisted=unlisted)


def _batches(traffic: Iterable[AccessRequest]) -> Iterable[list[AccessRequest]]:
    batch: list[AccessRequest] = []
    for request in traffic:
        batch.append(request)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
