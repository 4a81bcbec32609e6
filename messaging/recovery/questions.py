"""Rules whose answer comes from outside the batch, such as a language model's.

    inspect ▶ verdict "asked", committed ▶ send_questions (relay) ▶ the rule's agent ▶ answer_question

The delivery waits in its position in the quarantine; nothing else does. A question is sent once, in the transaction
that notes so. Without an answer in time the verdict fails closed, whatever became of those who were asked.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from messaging import log
from messaging.core.errors import NexusError
from messaging.core.outcome import Outcome
from messaging.gate.passage import logged_passage
from messaging.gate.receiving import admit_again
from messaging.gate.steps.inspect import subject_of, teams_of, told
from messaging.models import Delivery, DeliveryState, Verdict, VerdictState
from messaging.security.verification.judging import Verifier, severest
from messaging.security.verification.loading import verifier_in_force
from messaging.security.verification.settings import VerificationSettings
from messaging.security.verification.subject import VerificationSubject
from messaging.security.verification.verdicts import RuleVerdict, VerdictAction, VerdictOrigin
from messaging.sending.reliable_bus import ReliableCommunicationBus
from messaging.workflows import life_cycle as workflows

logger = logging.getLogger("nexus.verification")

AT_ONCE = 200
DESK, QUESTION = "verification-desk", "verification.judge"
"""Who asks, and the type of the message that does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleQuestion:
    """What is asked about a message.

    Args:
        verdict: number of the verdict that waits for the answer.
        rule: its name in the settings.
        subject: the message; its teams are those that sender and recipient are both in.
        settings: of the rule, prepared.
    """

    verdict: int
    rule: str
    subject: VerificationSubject
    settings: Any


def send_questions() -> int:
    """Ask what was not asked yet. The relay calls this; return how many."""
    waiting = Verdict.objects.filter(state=VerdictState.ASKED, asked_at=None).order_by("answer_by")
    keys = list(waiting.values_list("pk", flat=True)[:AT_ONCE])
    return sum(_send(key) for key in keys)


def _send(key: int) -> bool:
    verifier = verifier_in_force()
    try:
        with transaction.atomic():
            rows = Verdict.objects.select_for_update(skip_locked=True, no_key=True)
            verdict = rows.filter(pk=key, state=VerdictState.ASKED, asked_at=None).first()
            if verdict is None:
                return False
            for rule in verdict.asked:
                chosen = None if verifier is None else verifier.settings_by_name.get(rule)
                if chosen is not None:  # otherwise it is not in force any more, and fails closed in time
                    _ask(key, rule, chosen.rule.outside, chosen.time_limit)
            Verdict.objects.filter(pk=key).update(asked_at=timezone.now())
    except NexusError as error:
        logger.error("The question of verdict %s cannot be asked: %s", key, error)
        _close(key, "it could not be asked; the relay's log says why")
    return True


def _ask(key: int, rule: str, agent: str, seconds: float) -> None:
    # A workflow of its own: the judge's failures park no conversation, and no conversation waits for another's. It
    # expires with the question.
    workflow = _bus().start_workflow(f"verdict {key}", deadline=seconds, failure_policy="skip")
    _bus().send(workflow, agent, QUESTION, {"verdict": key, "rule": rule}, sender=DESK)


@functools.cache
def _bus() -> ReliableCommunicationBus:
    return ReliableCommunicationBus()


def load_question(verdict: int, rule: str) -> RuleQuestion | None:
    """A question that waits for its answer; None when nobody waits for it any more.

    A message that the log does not have as it was signed, or a rule that is not in force, fails closed here.
    """
    found = Verdict.objects.filter(pk=verdict, state=VerdictState.ASKED).values_list("asked", "delivery_id").first()
    if found is None or rule not in found[0]:
        return None
    verifier = verifier_in_force()
    chosen = None if verifier is None else verifier.settings_by_name.get(rule)
    if chosen is None:
        _close(verdict, "the rule is not in force any more", {rule})
        return None
    passages = [logged_passage(stored) for stored in log.load_for_publishing([found[1]])]
    admit_again(passages)
    if not passages or not (passages[0].stop is None or passages[0].stop.outcome is Outcome.QUARANTINED):
        _close(verdict, "the log does not have the message as it was judged", {rule})
        return None
    subject = subject_of(passages[0], teams_of(passages))
    return RuleQuestion(verdict=verdict, rule=rule, subject=subject, settings=chosen.prepared)


def answer_question(question: RuleQuestion, answer: Any, duration: float) -> None:
    """Store an answer; with the last one the delivery goes on, waits for a person, or becomes a dead letter.

    An answer that comes too late, or twice, changes nothing.

    Args:
        question: from ``load_question``.
        answer: an ``Objection``, None, or ``Unanswered``.
        duration: seconds that it took.
    """

    def verdict_of(verifier: Verifier, rule: str) -> RuleVerdict:
        if rule not in verifier.settings_by_name:
            return verifier.unanswered(rule, "the rule is not in force any more")
        return verifier.answered(rule, question.subject, answer, duration)

    _settle(question.verdict, {question.rule}, verdict_of)


def close_overdue() -> int:
    """Fail closed where no answer came in time. The relay calls this; return how many."""
    overdue = Verdict.objects.filter(state=VerdictState.ASKED, answer_by__lt=timezone.now()).order_by("answer_by")
    keys = list(overdue.values_list("pk", flat=True)[:AT_ONCE])
    for key in keys:
        _close(key, "no answer in time")
    return len(keys)


def make_due(delivery: Delivery) -> None:
    """Have a delivery published again that waits in the quarantine."""
    delivery.state, delivery.available_at = DeliveryState.PENDING, timezone.now()
    delivery.save(update_fields=["state", "available_at"])


def _close(key: int, reason: str, rules: Collection[str] = ()) -> None:
    _settle(key, rules, lambda verifier, rule: verifier.unanswered(rule, reason))


def _settle(key: int, rules: Collection[str], verdict_of: Callable[[Verifier, str], RuleVerdict]) -> None:
    """Store what came of some rules that were asked, or of all that are open."""
    verifier = verifier_in_force() or Verifier(VerificationSettings())
    place = Verdict.objects.filter(pk=key).values_list("delivery__workflow_id", "delivery_id").first()
    if place is None or place[0] is None:
        return  # its delivery is gone
    with transaction.atomic():
        workflows.lock(place[0])
        delivery = Delivery.objects.select_for_update(no_key=True).get(pk=place[1])
        verdict = Verdict.objects.select_for_update(no_key=True).get(pk=key)
        answered = [rule for rule in verdict.asked if not rules or rule in rules]
        if verdict.state != VerdictState.ASKED or not answered:
            return
        _add(verdict, [verdict_of(verifier, rule) for rule in answered])
        verdict.save()
        if verdict.state == VerdictState.SETTLED and delivery.state == DeliveryState.QUARANTINED:
            make_due(delivery)


def _add(verdict: Verdict, answers: list[RuleVerdict]) -> None:
    given = {one.rule for one in answers}
    verdict.asked = [rule for rule in verdict.asked if rule not in given]
    verdict.objections = [
        *verdict.objections,
        *(told(one) for one in answers if one.action is not VerdictAction.ACCEPT),
    ]
    verdict.duration += sum(one.duration for one in answers)
    action = severest(answers)
    if action.severity > VerdictAction(verdict.action).severity:
        decisive = next(one for one in answers if one.action is action and not one.shadow)
        verdict.action, verdict.rule, verdict.rule_version = action.value, decisive.rule, decisive.version
        verdict.origin, verdict.reason, verdict.pointer = decisive.origin.value, decisive.reason, decisive.pointer
        if decisive.origin is not VerdictOrigin.GIVEN:
            logger.error("Verdict %s fails closed: the rule %s: %s.", verdict.pk, decisive.rule, decisive.reason)
    if verdict.action == VerdictAction.QUARANTINE:
        verdict.state = VerdictState.WAITING
    elif not verdict.asked or verdict.action == VerdictAction.REJECT:
        verdict.state = VerdictState.SETTLED
