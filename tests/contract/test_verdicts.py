"""Verification at the gate, on both databases: verdicts before handlers, quarantine, cleaned views, failing rules."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection

from messaging import log
from messaging.api import Envelope, HandlerContext
from messaging.core.envelope import CONTENT_TYPE
from messaging.core.errors import QuarantineError, ReplayError
from messaging.models import DeadLetter, DeadReason, Delivery, RuleSet, Verdict
from messaging.operators import quarantine, rule_sets
from messaging.receiving import consumer
from messaging.receiving.leased import runner
from messaging.security.verification import loading
from messaging.security.verification.judging import Verifier
from messaging.security.verification.plugins import collect_rules
from messaging.security.verification.rules import VerificationRule
from messaging.security.verification.subject import VerificationSubject
from messaging.security.verification.verdicts import Objection, VerdictAction
from messaging.transport import wire
from messaging.workflows import life_cycle
from tests.support.lab import Lab
from tests.support.stepping import Died


class OneRule:
    """The rule ``on-word``: objects to a message whose text is one of its words, as that word says."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.hang = threading.Event()

    def __call__(self, subject: Any, settings: Any) -> Any:
        word = subject.data["text"] if isinstance(subject.data, dict) else ""
        self.asked.append(word)
        match word:
            case "flag" | "sanitize" | "quarantine" | "reject":
                return Objection(VerdictAction(word), "it says so", "/text")
            case "raise":
                raise ZeroDivisionError
            case "lie":
                return True
            case "hang":
                self.hang.wait(30)
            case _:
                pass
        return None


@pytest.fixture
def rule(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[OneRule]:
    made = OneRule()
    may = frozenset(VerdictAction) - {VerdictAction.ACCEPT}
    known = {
        **collect_rules(entry_points=False),
        "on-word": VerificationRule(name="on-word", version=3, function=made, may=may),
    }
    monkeypatch.setattr(loading, "installed_rules", lambda: known)

    def committing(save: Callable[..., set[UUID]]) -> Callable[..., set[UUID]]:
        def checked(*arguments: Any) -> set[UUID]:
            assert not connection.in_atomic_block, "the verdict would not be committed before its handler runs"
            return save(*arguments)

        return checked

    for name in ("save_verdicts", "save_acceptances"):
        monkeypatch.setattr(log, name, committing(getattr(log, name)))
    yield made
    made.hang.set()


def use(lab: Lab, tmp_path: Path, rules: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(rules)
    lab.configure(verification_rules=str(file))


@pytest.fixture
def on(lab: Lab, rule: OneRule, tmp_path: Path) -> OneRule:
    use(lab, tmp_path, "rules: {on-word: {time_limit: 10}}")
    return rule


class Seen:
    def __init__(self) -> None:
        self.texts: list[Any] = []
        self.originals: list[Any] = []
        self.verdicts: list[int] = []

    def __call__(self, message: Envelope, context: HandlerContext) -> None:
        self.texts.append(message.data["text"])
        self.originals.append(None if context.original is None else context.original.data["text"])


KINDS = pytest.mark.parametrize("leased", [False, True], ids=["quick", "leased"])


def say(lab: Lab, workflow: UUID, *words: str) -> list[UUID]:
    return [lab.send(workflow, "a", {"text": word}) for word in words]


def run(lab: Lab, seen: Seen, *, leased: bool) -> None:
    lab.agent("a", seen, leased=leased)


def settle(lab: Lab) -> None:
    """Let everything take turns; what stands behind the quarantine stays held."""
    for _ in range(6):
        lab.publish()
        lab.work(2)
        lab.relay_turn(after=20)


def states(workflow: UUID) -> list[str]:
    found = Delivery.objects.filter(workflow=workflow).order_by("position")
    return list(found.values_list("state", flat=True))


def verdicts(workflow: UUID) -> list[tuple[str, str]]:
    found = Verdict.objects.filter(delivery__workflow=workflow).order_by("delivery__position", "pk")
    return list(found.values_list("action", "state"))


@KINDS
def test_each_verdict_does_what_it_says(lab: Lab, on: OneRule, leased: bool) -> None:
    seen, workflow, other = Seen(), lab.workflow(), lab.workflow()
    run(lab, seen, leased=leased)
    say(lab, workflow, "good", "flag", "sanitize", "quarantine", "behind")
    say(lab, other, "reject", "stuck")
    settle(lab)
    assert verdicts(workflow)[:4] == [
        ("accept", "settled"),
        ("flag", "settled"),
        ("sanitize", "settled"),
        ("quarantine", "waiting"),
    ]
    assert seen.texts == ["good", "flag", "[removed:on-word]"]
    assert seen.originals == [None, None, "sanitize"]
    assert states(workflow) == ["processed", "processed", "processed", "quarantined", "held"]
    assert states(other) == ["dead", "held"]
    letter = DeadLetter.objects.get()
    assert letter.reason == DeadReason.VERIFICATION
    assert "The rule 'on-word': it says so." in letter.detail
    told = Verdict.objects.get(action="flag")
    assert (told.rule, told.rule_version, told.pointer, told.origin) == ("on-word", 3, "/text", "given")
    assert told.duration > 0


@KINDS
def test_what_is_released_is_handled_in_its_position(lab: Lab, on: OneRule, leased: bool) -> None:
    seen, workflow = Seen(), lab.workflow()
    run(lab, seen, leased=leased)
    say(lab, workflow, "one", "quarantine", "three", "four")
    settle(lab)
    assert seen.texts == ["one"]
    waiting = quarantine.waiting().get()
    assert quarantine.release(waiting.pk, user="ann", note="harmless") == ""
    settle(lab)
    assert seen.texts == ["one", "quarantine", "three", "four"]
    waiting.refresh_from_db()
    assert (waiting.state, waiting.resolved_by, waiting.note) == ("released", "ann", "harmless")
    assert Verdict.objects.filter(delivery=waiting.delivery_id).count() == 1
    with pytest.raises(QuarantineError, match="is processed: there is nothing to decide any more"):
        quarantine.release(waiting.pk)


@KINDS
def test_what_is_rejected_is_a_dead_letter_that_no_replay_brings_past_it(lab: Lab, on: OneRule, leased: bool) -> None:
    seen, workflow = Seen(), lab.workflow()
    run(lab, seen, leased=leased)
    say(lab, workflow, "quarantine", "behind")
    settle(lab)
    verdict = quarantine.waiting().get()
    quarantine.reject(verdict.pk, user="ann", note="an order to pay")
    letter = DeadLetter.objects.get()
    assert (letter.reason, letter.detail) == (DeadReason.VERIFICATION, "ann rejected it: an order to pay")
    settle(lab)
    assert states(workflow) == ["dead", "held"]
    with pytest.raises(ReplayError, match="Release its verdict first"):
        lab.replay(letter.pk)
    assert quarantine.release(verdict.pk, user="bob").startswith("Replay")
    lab.replay(letter.pk)
    settle(lab)
    assert seen.texts == ["quarantine", "behind"]


@KINDS
def test_a_replay_meets_the_verdict_again_and_other_rules_judge_anew(
    lab: Lab, on: OneRule, tmp_path: Path, leased: bool
) -> None:
    seen, workflow = Seen(), lab.workflow()
    run(lab, seen, leased=leased)
    say(lab, workflow, "reject", "behind")
    settle(lab)
    lab.replay(DeadLetter.objects.get(status="open").pk)
    settle(lab)
    assert states(workflow)[0] == "dead"
    assert on.asked.count("reject") == 1
    use(lab, tmp_path, "rules: {on-word: {action: flag, time_limit: 10}}")
    lab.replay(DeadLetter.objects.get(status="open").pk)
    settle(lab)
    assert seen.texts == ["reject", "behind"]
    assert [action for action, _ in verdicts(workflow)][:2] == ["reject", "flag"]


@KINDS
def test_a_held_successor_is_judged_before_the_transaction_that_handles_it(
    lab: Lab, on: OneRule, tmp_path: Path, leased: bool
) -> None:
    """It came early and was judged by other rules than those that hold when its turn comes."""
    seen, workflow = Seen(), lab.workflow()
    run(lab, seen, leased=leased)
    say(lab, workflow, "one", "reject", "three")
    first, *others = lab.take_offered()
    use(lab, tmp_path, "rules: {on-word: {action: flag, time_limit: 10}}")
    lab.publish(others)
    lab.work()
    use(lab, tmp_path, "rules: {on-word: {time_limit: 10}}")
    lab.publish([first])
    settle(lab)
    assert seen.texts == ["one"]
    assert states(workflow) == ["processed", "dead", "held"]
    assert DeadLetter.objects.get().reason == DeadReason.VERIFICATION  # not that a check failed


@KINDS
def test_twenty_deaths_leave_one_verdict_a_delivery(
    lab: Lab, on: OneRule, monkeypatch: pytest.MonkeyPatch, leased: bool
) -> None:
    seen, workflow = Seen(), lab.workflow()
    run(lab, seen, leased=leased)
    say(lab, workflow, "one", "flag", "quarantine")
    lab.publish()
    with monkeypatch.context() as patch:
        patch.setattr(consumer, "settle_batch", _die)
        patch.setattr(runner, "claim", _die)
        for _ in range(20):
            with pytest.raises(Died):
                lab.work()
            lab.restart_consumer()
    assert on.asked == ["one", "flag", "quarantine"]
    settle(lab)
    assert seen.texts == ["one", "flag"]
    assert len(verdicts(workflow)) == 3


def _die(*args: Any, **options: Any) -> Any:
    raise Died


@KINDS
def test_a_rule_that_ends_its_process_is_bounded_and_charges_nobody_else(
    lab: Lab, on: OneRule, monkeypatch: pytest.MonkeyPatch, leased: bool
) -> None:
    judge, alone = Verifier.judge, []

    def deadly(self: Verifier, subjects: Sequence[VerificationSubject]) -> Any:
        if any(subject.data["text"] == "kill" for subject in subjects):
            alone.append(len(subjects) == 1)
            raise Died
        return judge(self, subjects)

    monkeypatch.setattr(Verifier, "judge", deadly)
    lab.configure(max_attempts=3)
    seen, workflow, others = Seen(), lab.workflow(), [lab.workflow() for _ in range(4)]
    run(lab, seen, leased=leased)
    for number, other in enumerate(others[:2]):
        say(lab, other, f"good {number}")
    say(lab, workflow, "kill", "behind")
    for number, other in enumerate(others[2:], 2):
        say(lab, other, f"good {number}")
    for _ in range(20):
        with suppress(Died):
            settle(lab)
            break
        lab.restart_consumer()
    assert alone == [False, True, True, True]
    assert sorted(seen.texts) == ["good 0", "good 1", "good 2", "good 3"]
    assert states(workflow) == ["dead", "held"]
    assert set(Delivery.objects.filter(workflow__in=others).values_list("state", flat=True)) == {"processed"}
    letter = DeadLetter.objects.get()
    assert letter.reason == DeadReason.VERIFICATION
    assert "Its worker died at each of 3 attempts to judge it alone" in letter.detail
    assert "on-word" in letter.detail
    verdict = Verdict.objects.get(origin="killed")
    lab.replay(letter.pk)
    settle(lab)
    assert states(workflow) == ["dead", "held"], "a replay meets its verdict, and asks no rule"
    quarantine.release(verdict.pk, user="ann")
    lab.replay(DeadLetter.objects.get(status="open").pk)
    with suppress(Died):
        settle(lab)
    assert "kill" in seen.texts


def test_attempts_of_innocents_are_taken_back(lab: Lab, on: OneRule, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = lab.workflow()
    run(lab, Seen(), leased=False)
    say(lab, workflow, "one", "two", "three")
    lab.publish()
    with monkeypatch.context() as patch:
        patch.setattr(Verifier, "judge", _die)
        with pytest.raises(Died):
            lab.work()
    lab.restart_consumer()
    with monkeypatch.context() as patch:
        patch.setattr(consumer, "settle_batch", _die)
        with pytest.raises(Died):
            lab.work()
    assert len(verdicts(workflow)) == 3
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {0}


def test_the_relay_asks_no_rule(lab: Lab, on: OneRule) -> None:
    workflow = lab.workflow()
    run(lab, Seen(), leased=False)
    say(lab, workflow, "good")
    (stored,) = lab.take_offered()
    lab.publish([stored])
    message = lab.received(
        stored.body, {"task": wire.DELIVER_TASK, "id": str(stored.id), "signature": stored.signature}, CONTENT_TYPE
    )
    lab.store_dead_letter(message)
    assert on.asked == []
    assert states(workflow) == ["pending"]


@KINDS
@pytest.mark.parametrize(("word", "origin"), [("raise", "failed"), ("lie", "lied"), ("hang", "hung")])
def test_a_rule_that_fails_is_a_verdict_of_its_own_and_stops_nobody_else(
    lab: Lab, rule: OneRule, tmp_path: Path, leased: bool, word: str, origin: str
) -> None:
    use(lab, tmp_path, f"rules: {{on-word: {{time_limit: {0.05 if word == 'hang' else 10}}}}}")
    seen, workflow, other = Seen(), lab.workflow(), lab.workflow()
    run(lab, seen, leased=leased)
    say(lab, workflow, word)
    say(lab, other, "good")
    settle(lab)
    assert seen.texts == ["good"]
    verdict = quarantine.waiting().get()
    assert (verdict.origin, verdict.action, verdict.rule) == (origin, "quarantine", "on-word")


def test_a_shadow_is_stored_and_does_nothing(lab: Lab, rule: OneRule, tmp_path: Path) -> None:
    use(lab, tmp_path, "rules: {on-word: {shadow: true, time_limit: 10}}")
    seen, workflow = Seen(), lab.workflow()
    run(lab, seen, leased=False)
    say(lab, workflow, "quarantine", "raise")
    settle(lab)
    assert seen.texts == ["quarantine", "raise"]
    first, second = Verdict.objects.order_by("delivery__position")
    assert (first.action, first.objections[0]["action"], first.objections[0]["shadow"]) == (
        "accept",
        "quarantine",
        True,
    )
    assert second.objections[0]["origin"] == "failed"


def test_without_rules_nothing_is_asked_or_stored(lab: Lab, rule: OneRule) -> None:
    seen, workflow = Seen(), lab.workflow()
    run(lab, seen, leased=False)
    say(lab, workflow, "quarantine")
    settle(lab)
    assert seen.texts == ["quarantine"]
    assert not Verdict.objects.exists()
    assert rule.asked == []


def test_rules_that_cannot_be_read_keep_messages_waiting(lab: Lab, rule: OneRule, tmp_path: Path) -> None:
    use(lab, tmp_path, "rules: {on-wrd: {}}")
    seen, workflow = Seen(), lab.workflow()
    run(lab, seen, leased=False)
    say(lab, workflow, "good")
    lab.publish()
    lab.work()
    assert states(workflow) == ["pending"]
    assert "did you mean 'on-word'" in Delivery.objects.get().last_error
    use(lab, tmp_path, "rules: {on-word: {time_limit: 10}}")
    settle(lab)
    assert seen.texts == ["good"]


def test_rules_of_the_database_hold_from_their_storing_on(lab: Lab, rule: OneRule) -> None:
    lab.configure(verification_rules="database")
    seen, workflow = Seen(), lab.workflow()
    run(lab, seen, leased=False)
    say(lab, workflow, "quarantine")
    settle(lab)
    stored, new = rule_sets.store("rules: {on-word: {time_limit: 10}}", user="ann")
    assert new
    say(lab, workflow, "quarantine")
    settle(lab)
    assert states(workflow) == ["processed", "quarantined"]
    assert Verdict.objects.latest("pk").rule_set == stored.digest
    assert rule_sets.store(stored.text) == (stored, False)
    assert RuleSet.objects.count() == 1


def test_a_workflow_that_ends_takes_its_quarantine_with_it(lab: Lab, on: OneRule) -> None:
    workflow = lab.workflow()
    run(lab, Seen(), leased=False)
    say(lab, workflow, "quarantine")
    settle(lab)
    verdict = quarantine.waiting().get()
    life_cycle.cancel(workflow)
    assert states(workflow) == ["cancelled"]
    assert not quarantine.waiting().exists()
    with pytest.raises(QuarantineError, match="is cancelled"):
        quarantine.release(verdict.pk)
