"""authorize: the sender may send this type to each recipient."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from django.utils import timezone

from messaging.core.errors import AccessPolicyError, NotAuthorized
from messaging.core.outcome import Outcome
from messaging.gate.draft import Draft, Ground
from messaging.gate.passage import Passage, Stop
from messaging.models import DeadReason
from messaging.security.access.decision import AccessDecision, AccessRequest
from messaging.security.access.holding import held_decider

logger = logging.getLogger("nexus.gate")


def authorize_drafts(drafts: Sequence[Draft], ground: Ground) -> None:
    """Decide what is to be sent, for each member of a group; uses of grants are counted here.

    Raises:
        NotAuthorized: says what decided: the rule and the way to its role, or the nearest grant that is missing.
        AccessPolicyError: the policy cannot work.
    """
    decide = ground.decider()
    if decide is None:
        return
    now = timezone.now()
    requests = [
        AccessRequest(
            draft.outgoing.source,
            recipient.agent,
            draft.outgoing.type,
            now,
            _group(draft.outgoing.recipient, recipient.agent),
            draft.outgoing.workflow_id,
            counted=not draft.outgoing.is_timer,  # that is decided again, and counted, when it is due
        )
        for draft in drafts
        for recipient in draft.recipients
    ]
    for request, decision in zip(requests, decide(requests), strict=True):
        if not decision.allowed:
            raise NotAuthorized(_words(request, decision))


def authorize(passages: Sequence[Passage]) -> None:
    """Decide again what came, by the policy that holds until the transaction ends. What was counted when it was sent
    is not counted again.
    """
    try:
        decide = held_decider()
        if decide is None:
            return
        now = timezone.now()
        requests = [
            AccessRequest(
                passage.envelope.source,
                passage.agent,
                passage.envelope.type,
                now,
                _group(passage.envelope.subject, passage.agent),
                passage.envelope.workflow_id,
                counted=False,
            )
            for passage in passages
        ]
        decisions = decide(requests)
    except AccessPolicyError as error:  # nothing is wrong with the messages: they wait until somebody has put it right
        logger.error("The access policy cannot work, so nothing is handled: %s", error)
        for passage in passages:
            passage.stop = Stop(Outcome.RETRY, DeadReason.NOT_AUTHORIZED, f"The access policy cannot work: {error}")
        return
    for passage, request, decision in zip(passages, requests, decisions, strict=True):
        if not decision.allowed:
            passage.stop = Stop(Outcome.DEAD, DeadReason.NOT_AUTHORIZED, _words(request, decision))


def _group(addressed: str, agent: str) -> str:
    return "" if addressed == agent else addressed


def _words(request: AccessRequest, decision: AccessDecision) -> str:
    return (
        f"{request}: {decision}. Change the policy, or send something else; "
        f"manage.py nexus_access explain {request.sender} {request.recipient} {request.type} says more."
    )
