"""One judgement of a message, out of the verdicts of all rules that look at it."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from messaging.core.describing import name_of
from messaging.security.access.patterns import matcher
from messaging.security.verification.cleaning import Finding, cleaned_view
from messaging.security.verification.running import CallOutcome, CallOutcomes, TimedFunction, TimedRunner
from messaging.security.verification.settings import ChosenRule, VerificationSettings
from messaging.security.verification.subject import VerificationSubject
from messaging.security.verification.verdicts import (
    Judgement,
    Objection,
    RuleVerdict,
    Unanswered,
    VerdictAction,
    VerdictOrigin,
)

logger = logging.getLogger("nexus.verification")

MAX_REASON = 300


class _InForce:
    """A rule as messages meet it.

    Args:
        chosen: the rule with its settings.
    """

    def __init__(self, chosen: ChosenRule) -> None:
        self.chosen = chosen
        self.applies = _applies_to(chosen)
        self.call = TimedFunction(chosen.name, chosen.rule.function, chosen.time_limit, chosen.prepared)
        self.acceptance = _acceptance(chosen)

    def looks_at(self, subject: VerificationSubject) -> bool:
        return self.applies is None or self.applies(subject)

    def may_ask_about(self, subject: VerificationSubject) -> bool:
        """What is sent to the agent that answers is not judged by it."""
        return subject.recipient != self.chosen.rule.outside


class _Looking(NamedTuple):
    """The rules that look at a message, made ready: the same for all messages where no rule is for some."""

    rules: Sequence[_InForce]
    calls: Sequence[TimedFunction]
    acceptances: tuple[RuleVerdict, ...]


def _looking(rules: Sequence[_InForce]) -> _Looking:
    return _Looking(rules, [one.call for one in rules], tuple(one.acceptance for one in rules))


class Verifier:
    """Judges messages.

    Args:
        settings: the rules.
    """

    def __init__(self, settings: VerificationSettings) -> None:
        self.settings = settings
        self.digest = settings.digest
        self.asks_for_teams = any(chosen.teams for chosen in settings.rules)
        self.settings_by_name = MappingProxyType({chosen.name: chosen for chosen in settings.rules})
        self._runner = TimedRunner()
        self._inside = tuple(_InForce(chosen) for chosen in settings.rules if not chosen.rule.outside)
        self._outside = tuple(_InForce(chosen) for chosen in settings.rules if chosen.rule.outside)
        self._all_inside = None if any(one.applies for one in self._inside) else _looking(self._inside)

    def judge(self, subjects: Sequence[VerificationSubject]) -> list[Judgement]:
        """Judge a batch. Nothing that a rule does makes this raise.

        A rule that raises, hangs or lies gives the verdict that ``on_failure`` says, also in its own name; in shadow it
        is a shadow.
        """
        looking: list[_Looking] = []
        calls: list[TimedFunction] = []
        arguments: list[VerificationSubject] = []
        for subject in subjects:
            here = self._all_inside or _looking([one for one in self._inside if one.looks_at(subject)])
            looking.append(here)
            calls += here.calls
            arguments += [subject] * len(here.calls)
        outcomes = self._runner.run(calls, arguments)
        judgements: list[Judgement] = []
        first = 0
        for subject, here in zip(subjects, looking, strict=True):
            last = first + len(here.calls)
            verdicts = here.acceptances
            if outcomes.notable:
                verdicts = self._verdicts(subject, here, outcomes, first)
            outside: Sequence[ChosenRule] = ()
            if self._outside:
                outside = [one.chosen for one in self._outside if one.looks_at(subject) and one.may_ask_about(subject)]
            duration = sum(outcomes.durations[first:last])
            judgements.append(_judgement(verdicts, outside, duration, accepted=verdicts is here.acceptances))
            first = last
        return judgements

    def _verdicts(
        self, subject: VerificationSubject, here: _Looking, outcomes: CallOutcomes, first: int
    ) -> tuple[RuleVerdict, ...]:
        """The verdicts on a message whose first rule's call has this number."""
        found = [outcomes.notable.get(first + place) for place in range(len(here.calls))]
        if not any(found):
            return here.acceptances
        return tuple(
            accepted if outcome is None else self._verdict(one.chosen, subject, outcome)
            for one, accepted, outcome in zip(here.rules, here.acceptances, found, strict=True)
        )

    def answered(self, name: str, subject: VerificationSubject, answer: Any, duration: float) -> RuleVerdict:
        """The verdict of a rule whose answer came from outside.

        Args:
            name: of the rule, one of ``settings_by_name``.
            subject: what was judged.
            answer: an objection, None, or ``Unanswered``.
            duration: seconds that it took.
        """
        chosen, outcome = self.settings_by_name[name], CallOutcome(value=answer, duration=duration)
        if isinstance(answer, Unanswered):
            return self._failure(chosen, VerdictOrigin.FAILED, answer.reason, outcome)
        return self._verdict(chosen, subject, outcome)

    def unanswered(self, name: str, reason: str) -> RuleVerdict:
        """The fail-closed verdict of a rule that nobody answered for; it may have left the settings meanwhile."""
        chosen = self.settings_by_name.get(name)
        if chosen is not None:
            return self._failure(chosen, VerdictOrigin.HUNG, reason, CallOutcome())
        action = self.settings.on_failure
        return RuleVerdict(name, 0, action, VerdictOrigin.HUNG, reason[:MAX_REASON], "", 1.0, "", 0.0, shadow=False)

    def cleaned(self, subject: VerificationSubject, findings: Iterable[Finding]) -> Any:
        """The message's data as its handler gets them: without what rules found that have it sanitized.

        Args:
            subject: the message; it is not changed.
            findings: what they found.
        """

        def clean(name: str, data: Any) -> Any:
            chosen = self.settings_by_name.get(name)
            if chosen is None or chosen.rule.clean is None:
                return data
            return chosen.rule.clean(dataclasses.replace(subject, data=data), chosen.prepared)

        return cleaned_view(subject.data, findings, clean)

    def _verdict(self, chosen: ChosenRule, subject: VerificationSubject, outcome: CallOutcome) -> RuleVerdict:
        if outcome.hung:
            reason = f"no answer within {chosen.time_limit:g} s"
            if self._runner.suspended(chosen.name):
                reason += "; it hung too often and is not called in this process any more"
            return self._failure(chosen, VerdictOrigin.HUNG, reason, outcome)
        if outcome.error is not None:
            logger.error("The rule %s failed.", chosen.name, exc_info=outcome.error)
            return self._failure(chosen, VerdictOrigin.FAILED, f"it raised {name_of(outcome.error)}", outcome)
        lie = _lie(chosen, subject, outcome.value)
        if lie:
            return self._failure(chosen, VerdictOrigin.LIED, lie, outcome)
        objection: Objection | None = outcome.value
        if objection is None:
            return _acceptance(chosen, outcome.duration)
        return _verdict(chosen, objection, VerdictOrigin.GIVEN, outcome, chosen.action)

    def _failure(self, chosen: ChosenRule, origin: VerdictOrigin, reason: str, outcome: CallOutcome) -> RuleVerdict:
        return _verdict(chosen, Objection(self.settings.on_failure, reason), origin, outcome)


# Looked up on their class they would cost more than all else that is done with an acceptance.
_ACCEPT, _QUARANTINE, _REJECT = VerdictAction.ACCEPT, VerdictAction.QUARANTINE, VerdictAction.REJECT
_GIVEN = VerdictOrigin.GIVEN


def _acceptance(chosen: ChosenRule, duration: float = 0.0) -> RuleVerdict:
    return RuleVerdict(chosen.name, chosen.rule.version, _ACCEPT, _GIVEN, "", "", 0.0, "", duration, chosen.shadow)


def _verdict(
    chosen: ChosenRule,
    objection: Objection,
    origin: VerdictOrigin,
    outcome: CallOutcome,
    action: VerdictAction | None = None,
) -> RuleVerdict:
    return RuleVerdict(
        rule=chosen.name,
        version=chosen.rule.version,
        action=action or objection.action,
        origin=origin,
        reason=objection.reason[:MAX_REASON],
        pointer=objection.pointer,
        score=float(objection.score),
        kind=objection.kind,
        duration=outcome.duration,
        shadow=chosen.shadow,
    )


def _lie(chosen: ChosenRule, subject: VerificationSubject, answer: Any) -> str:
    """What is not true of an answer, in words; empty when nothing is. Nothing of the answer is called here."""
    if answer is None:
        return ""
    if type(answer) is not Objection:
        return f"it answered a {type(answer).__name__[:60]}; an Objection or None is expected"
    if type(answer.action) is not VerdictAction or answer.action not in chosen.rule.may:
        return "it asked for an action that it does not declare"
    if type(answer.reason) is not str or not answer.reason or type(answer.kind) is not str:
        return "it gave no reason"
    if type(answer.score) not in (int, float) or not math.isfinite(answer.score):
        return "its score is no number"
    if type(answer.pointer) is not str or not subject.has(answer.pointer):
        return "its evidence is not there"
    return ""


def _judgement(
    verdicts: tuple[RuleVerdict, ...], outside: Sequence[ChosenRule], duration: float, *, accepted: bool
) -> Judgement:
    action = _ACCEPT if accepted else severest(verdicts)
    if action in (_QUARANTINE, _REJECT):
        outside = ()  # it is stopped whatever they say, and they may cost money
    if not outside:
        return Judgement(action, verdicts, duration)
    within = max(chosen.time_limit for chosen in outside)
    return Judgement(action, verdicts, duration, tuple(chosen.name for chosen in outside), within)


def severest(verdicts: Iterable[RuleVerdict]) -> VerdictAction:
    """The severest action of verdicts that are no shadows."""
    counting = [one.action for one in verdicts if one.action is not _ACCEPT and not one.shadow]
    return max(counting, key=lambda one: one.severity, default=_ACCEPT)


def _applies_to(chosen: ChosenRule) -> Callable[[VerificationSubject], bool] | None:
    """What tells whether a rule looks at a message; None where it looks at all."""
    if not (chosen.types or chosen.senders or chosen.recipients or chosen.teams):
        return None
    types, senders, recipients, teams = (
        [matcher(pattern) for pattern in patterns]
        for patterns in (chosen.types, chosen.senders, chosen.recipients, chosen.teams)
    )

    def applies(subject: VerificationSubject) -> bool:
        return (
            (not types or any(match(subject.type) for match in types))
            and (not senders or any(match(subject.sender) for match in senders))
            and (not recipients or any(match(subject.recipient) for match in recipients))
            and (not teams or any(match(team) for match in teams for team in subject.teams))
        )

    return applies
