"""inspect: what verification says of a message.

A message is judged once by each version of the rules, and its verdict is committed before anything acts on it: whoever
dies in between finds it again. What a person decided holds for all versions.

A rule may end the process, and then nobody learns which message it was. What comes again is therefore judged alone,
with an attempt counted before, and rejected when its attempts are used up.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from messaging import log
from messaging.core.errors import ContentRulesError
from messaging.core.outcome import Outcome
from messaging.directory.retry_policies import retry_policy
from messaging.gate.passage import Passage, Stop
from messaging.models import AccessTeamMember, DeadReason, VerdictState
from messaging.security.access.patterns import matcher
from messaging.security.verification.judging import Verifier
from messaging.security.verification.loading import verifier_in_force
from messaging.security.verification.subject import VerificationSubject
from messaging.security.verification.verdicts import Judgement, RuleVerdict, VerdictAction, VerdictOrigin

logger = logging.getLogger("nexus.gate")

Teams = dict[str, frozenset[str]]
Found = dict[UUID, log.VerdictRow]
_ACCEPT = VerdictAction.ACCEPT  # looked up on its class it costs more than all else that is done with a verdict

NOTHING_WAITS = "It came again and was not judged, as nothing in the log waits under its id."


def inspect(passages: Sequence[Passage]) -> None:
    """Judge what was not judged yet, commit the verdicts, and do as they say. Call it outside a transaction."""
    verifier = _verifier(passages)
    if verifier is None:
        return
    found = log.find_verdicts({passage.delivery_id for passage in passages}, verifier.digest)
    unjudged = {passage.delivery_id: passage for passage in passages if passage.delivery_id not in found}
    together = [passage for passage in unjudged.values() if not passage.suspect]
    accepted: set[UUID] = set()
    if together:
        accepted |= _judge(together, verifier, found)
    for passage in unjudged.values():
        if passage.suspect:
            accepted |= _judge_alone(passage, verifier, found)
    for passage in passages:
        if passage.delivery_id in found:
            _obey(passage, found[passage.delivery_id])
        elif passage.delivery_id not in accepted:
            passage.stop = Stop(Outcome.RETRY, DeadReason.VERIFICATION, NOTHING_WAITS)


def recall(passages: Sequence[Passage]) -> None:
    """Do as the verdicts say that are there; what has none comes back ``unjudged``."""
    verifier = _verifier(passages)
    if verifier is None:
        return
    found = log.find_verdicts({passage.delivery_id for passage in passages}, verifier.digest)
    for passage in passages:
        passage.unjudged = passage.delivery_id not in found
        if not passage.unjudged:
            _obey(passage, found[passage.delivery_id])


def judges() -> bool:
    """Whether messages are judged, as far as anybody can tell, so that a verdict commits before they are handled."""
    try:
        return verifier_in_force() is not None
    except ContentRulesError:
        return True


def _verifier(passages: Sequence[Passage]) -> Verifier | None:
    try:
        return verifier_in_force()
    except ContentRulesError as error:  # nothing is wrong with the messages: they wait until somebody has put it right
        logger.error("The verification rules cannot be read, so nothing is handled: %s", error)
        for passage in passages:
            detail = f"The verification rules cannot be read: {error}"
            passage.stop = Stop(Outcome.RETRY, DeadReason.VERIFICATION, detail)
        return None


def _judge(passages: Sequence[Passage], verifier: Verifier, found: Found) -> set[UUID]:
    """Judge messages, each once, and store what came of it; what holds is added to ``found``.

    Returns:
        What rules accept and have nothing to say about: it is stored, and not in ``found``.
    """
    teams = teams_of(passages) if verifier.asks_for_teams else {}
    judged = verifier.judge([subject_of(passage, teams) for passage in passages])
    now = timezone.now()
    acceptances: dict[UUID, float] = {}
    verdicts: list[log.NewVerdict] = []
    for passage, judgement in zip(passages, judged, strict=True):
        if judgement.is_silent:
            acceptances[passage.delivery_id] = judgement.duration
        else:
            verdicts.append(_new_verdict(passage.delivery_id, verifier.digest, judgement, now))
    accepted = log.save_acceptances(acceptances, verifier.digest, now) if acceptances else set()
    if len(accepted) < len(acceptances):
        found.update(log.find_verdicts(acceptances.keys() - accepted, verifier.digest))
    if verdicts:
        _store(verdicts, verifier, found)
    return accepted


def _store(verdicts: Sequence[log.NewVerdict], verifier: Verifier, found: Found) -> None:
    """Commit verdicts. Where another process was quicker, its verdict holds."""
    made = {one.delivery: one for one in verdicts}
    stored = log.save_verdicts(verdicts)
    found.update((key, _row(made[key])) for key in stored)
    others = made.keys() - stored
    if others:
        found.update(log.find_verdicts(others, verifier.digest))


def _judge_alone(passage: Passage, verifier: Verifier, found: Found) -> set[UUID]:
    """As ``_judge``, of a message whose worker may have died of it; nothing holds when nothing waits under its id."""
    counted = log.count_judging(passage.delivery_id)
    if counted is None:
        return set()
    attempts, agent = counted
    limit = retry_policy(agent).max_attempts
    if attempts > limit:
        _store([_given_up(passage, verifier, limit)], verifier, found)
        return set()
    accepted = _judge([passage], verifier, found)
    log.take_back_judging(passage.delivery_id)
    return accepted


def _given_up(passage: Passage, verifier: Verifier, limit: int) -> log.NewVerdict:
    names = ", ".join(chosen.name for chosen in verifier.settings.rules)
    reason = (
        f"Its worker died at each of {limit} attempts to judge it alone, so one of these rules ends the process: "
        f"{names}. Mend it or leave it out, and replay the dead letter"
    )
    logger.error("Delivery %s is not judged any more. %s", passage.delivery_id, reason)
    return log.NewVerdict(
        delivery=passage.delivery_id,
        rule_set=verifier.digest,
        action=VerdictAction.REJECT.value,
        origin=VerdictOrigin.KILLED.value,
        reason=reason,
        state=VerdictState.SETTLED.value,
        created_at=timezone.now(),
    )


def _new_verdict(delivery: UUID, rule_set: str, judgement: Judgement, now: datetime) -> log.NewVerdict:
    decisive = judgement.decisive
    state = VerdictState.SETTLED
    if judgement.action is VerdictAction.QUARANTINE:
        state = VerdictState.WAITING
    elif judgement.asks:
        state = VerdictState.ASKED
    return log.NewVerdict(
        delivery=delivery,
        rule_set=rule_set,
        action=judgement.action.value,
        rule="" if decisive is None else decisive.rule,
        rule_version=0 if decisive is None else decisive.version,
        origin="" if decisive is None else decisive.origin.value,
        reason="" if decisive is None else decisive.reason,
        pointer="" if decisive is None else decisive.pointer,
        duration=judgement.duration,
        objections=[told(one) for one in judgement.verdicts if one.action is not _ACCEPT],
        state=state.value,
        asked=judgement.asks,
        answer_by=now + timedelta(seconds=judgement.answer_within) if judgement.asks else None,
        created_at=now,
    )


def told(verdict: RuleVerdict) -> dict[str, Any]:
    """A verdict as it is stored."""
    return verdict._asdict() | {"duration": round(verdict.duration, 6)}


def _row(made: log.NewVerdict) -> log.VerdictRow:
    return log.VerdictRow(
        delivery=made.delivery,
        action=made.action,
        rule=made.rule,
        reason=made.reason,
        objections=made.objections,
        state=made.state,
        resolved_by="",
        note="",
    )


def _obey(passage: Passage, verdict: log.VerdictRow) -> None:
    passage.stop = _stop(verdict)
    passage.unclean = [
        (one["rule"], one["pointer"])
        for one in verdict.objections
        if one["action"] == VerdictAction.SANITIZE and not one["shadow"]
    ]


def _stop(verdict: log.VerdictRow) -> Stop | None:
    if verdict.state == VerdictState.RELEASED:
        return None
    if verdict.state == VerdictState.REJECTED:
        detail = f"{verdict.resolved_by or 'somebody'} rejected it: {verdict.note or 'no reason was given'}"
        return Stop(Outcome.DEAD, DeadReason.VERIFICATION, detail)
    if verdict.state == VerdictState.ASKED:
        return Stop(Outcome.QUARANTINED, DeadReason.VERIFICATION, "It waits in its position until it is judged.")
    what = f"The rule {verdict.rule!r}: {verdict.reason}." if verdict.rule else f"{verdict.reason}."
    if verdict.state == VerdictState.WAITING:
        detail = f"{what} It waits in the quarantine until somebody releases or rejects it."
        return Stop(Outcome.QUARANTINED, DeadReason.VERIFICATION, detail)
    if verdict.action == VerdictAction.REJECT:
        return Stop(Outcome.DEAD, DeadReason.VERIFICATION, what)
    return None


def subject_of(passage: Passage, teams: Teams) -> VerificationSubject:
    """A message as rules see it."""
    envelope = passage.envelope
    recipient = envelope.subject if passage.place is None else passage.place[0]
    nobody: frozenset[str] = frozenset()
    return VerificationSubject(
        id=str(passage.delivery_id),
        type=envelope.type,
        data=envelope.data,
        sender=envelope.source,
        recipient=recipient,
        workflow=str(envelope.workflow_id),
        teams=teams.get(envelope.source, nobody) & teams.get(recipient, nobody),
        at=envelope.time.timestamp(),
    )


def teams_of(passages: Sequence[Passage]) -> Teams:
    """Agent → the teams of the access policy that it is in."""
    members = [(team, matcher(agent)) for team, agent in AccessTeamMember.objects.values_list("team_id", "agent")]
    names: Collection[str] = {
        name
        for passage in passages
        for name in (passage.envelope.source, passage.envelope.subject, *(passage.place or ())[:1])
        if isinstance(name, str)
    }
    return {name: frozenset(team for team, matches in members if matches(name)) for name in names}
