"""Judging: severities, shadows, and rules that raise, hang or lie."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from messaging.core.errors import ContentRulesError
from messaging.security.verification.judging import Verifier
from messaging.security.verification.plugins import collect_rules, hookimpl
from messaging.security.verification.rules import VerificationRule, verification_rule
from messaging.security.verification.running import MAX_HANGS, TimedFunction, TimedRunner
from messaging.security.verification.settings import load_verification
from messaging.security.verification.subject import VerificationSubject
from messaging.security.verification.verdicts import Judgement, Objection, VerdictAction, VerdictOrigin

MAY = [VerdictAction.FLAG, VerdictAction.REJECT]


def rule(name: str, answer: Any) -> VerificationRule:
    """A rule that answers always the same, or calls what it is given."""

    @verification_rule(name, version=3, may=MAY)
    def made(subject: VerificationSubject, settings: Any) -> Any:
        return answer(subject) if callable(answer) else answer

    return made


def judge(rules: dict[str, Any], *, data: Any = None, count: int = 1, **settings: Any) -> list[Judgement]:
    """Judge messages by rules: name → (what it answers, its settings)."""
    known = {name: rule(name, answer) for name, (answer, _) in rules.items()}
    chosen = {name: options for name, (_, options) in rules.items()}
    verifier = Verifier(load_verification({"rules": chosen, **settings}, known))
    return verifier.judge([VerificationSubject(type="note", data=data or {"a": "b"}) for _ in range(count)])


FLAG, REJECT = Objection(VerdictAction.FLAG, "so", "/a"), Objection(VerdictAction.REJECT, "so")


def test_the_severest_verdict_counts_and_all_are_told() -> None:
    (judgement,) = judge({"none": (None, {}), "flags": (FLAG, {}), "rejects": (REJECT, {})})
    assert judgement.action is VerdictAction.REJECT
    assert [one.action.value for one in judgement.verdicts] == ["accept", "flag", "reject"]
    decisive = judgement.decisive
    assert decisive is not None
    assert (decisive.rule, decisive.version, decisive.origin) == ("rejects", 3, VerdictOrigin.GIVEN)


def test_the_settings_action_replaces_the_rules_own_and_a_shadow_does_nothing() -> None:
    (judgement,) = judge({"flags": (FLAG, {"action": "quarantine"}), "rejects": (REJECT, {"shadow": True})})
    assert judgement.action is VerdictAction.QUARANTINE
    assert [one.shadow for one in judgement.verdicts] == [False, True]


def test_without_rules_everything_is_accepted() -> None:
    assert judge({})[0] == Judgement(VerdictAction.ACCEPT, ())


def raising(error: BaseException) -> Any:
    def fail(subject: VerificationSubject) -> Objection | None:
        raise error

    return fail


@pytest.mark.parametrize("error", [ValueError("the text"), SystemExit(3), KeyboardInterrupt(), RecursionError()])
def test_a_rule_that_raises_fails_closed(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    (judgement,) = judge({"bad": (raising(error), {}), "flags": (FLAG, {})}, on_failure="reject")
    assert judgement.action is VerdictAction.REJECT
    assert judgement.verdicts[0].origin is VerdictOrigin.FAILED
    assert judgement.verdicts[0].reason == f"it raised {type(error).__name__}"
    assert judgement.verdicts[1].action is VerdictAction.FLAG
    assert "The rule bad failed" in caplog.text


LIES = {
    "no objection": "accept",
    "true": True,
    "an action that it does not declare": Objection(VerdictAction.SANITIZE, "so"),
    "accept": Objection(VerdictAction.ACCEPT, "so"),
    "an action that is text": Objection("flag", "so"),  # type: ignore[arg-type]  # that is the lie
    "no reason": Objection(VerdictAction.FLAG, ""),
    "evidence that is not there": Objection(VerdictAction.FLAG, "so", "/b"),
    "evidence that is no pointer": Objection(VerdictAction.FLAG, "so", "a"),
    "no number": Objection(VerdictAction.FLAG, "so", "/a", float("nan")),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_rule_that_lies_fails_closed(lie: str) -> None:
    (judgement,) = judge({"liar": (LIES[lie], {"action": "flag"})})
    assert judgement.action is VerdictAction.QUARANTINE
    assert judgement.verdicts[0].origin is VerdictOrigin.LIED


@pytest.fixture
def release() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_rule_that_hangs_fails_closed_and_the_others_go_on(release: threading.Event) -> None:
    before = {thread for thread in threading.enumerate() if thread.name == "nexus-verification"}
    hangs = {"slow": (lambda subject: release.wait(60), {"time_limit": 0.05}), "flags": (FLAG, {})}
    judgements = judge(hangs, count=MAX_HANGS + 2)
    for judgement in judgements:
        assert [one.origin for one in judgement.verdicts] == [VerdictOrigin.HUNG, VerdictOrigin.GIVEN]
        assert judgement.action is VerdictAction.QUARANTINE
    assert "not called in this process any more" in judgements[-1].verdicts[0].reason
    after = {thread for thread in threading.enumerate() if thread.name == "nexus-verification"}
    assert len(after - before) <= MAX_HANGS + 1


def test_a_late_answer_of_an_abandoned_call_counts_nowhere() -> None:
    runner, started, go = TimedRunner(), threading.Event(), threading.Event()

    def late(subject: str, settings: None) -> str:
        started.set()
        go.wait(60)
        return "late"

    calls = [TimedFunction("late", late, 0.05), TimedFunction("next", lambda subject, settings: subject, 5.0)]
    outcomes = runner.run(calls, ["first", "next"])
    assert started.is_set()
    go.set()
    assert [(number, one.value, one.hung) for number, one in outcomes.notable.items()] == [
        (0, None, True),
        (1, "next", False),
    ]


def test_a_runner_that_nobody_uses_leaves_no_thread() -> None:
    def threads() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "nexus-verification"}

    before = threads()
    runner = TimedRunner()
    runner.run([TimedFunction("one", lambda subject, settings: None, 5.0)], [""])
    (own,) = threads() - before
    del runner
    gc.collect()
    own.join(10)
    assert not own.is_alive()


def test_several_threads_share_a_runner() -> None:
    runner = TimedRunner()
    seen: list[list[int]] = []

    def run(number: int) -> None:
        outcomes = runner.run([TimedFunction("same", lambda subject, settings: number, 10.0)] * 50, range(50))
        seen.append([one.value for one in outcomes.notable.values()])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(values[0] for values in seen) == list(range(8))
    assert all(len(set(values)) == 1 and len(values) == 50 for values in seen)


def test_rules_look_only_at_what_the_settings_say() -> None:
    known = {"flags": rule("flags", Objection(VerdictAction.FLAG, "so"))}
    options = {"types": ["web.*"], "senders": ["crawler-*"], "teams": ["press"]}
    verifier = Verifier(load_verification({"rules": {"flags": options}}, known))
    press = frozenset({"press"})
    subjects = [
        VerificationSubject(type="web.page", data=1, sender="crawler-1", teams=press),
        VerificationSubject(type="web.page", data=1, sender="crawler-1"),
        VerificationSubject(type="web.page", data=1, sender="clerk", teams=press),
        VerificationSubject(type="mail", data=1, sender="crawler-1", teams=press),
    ]
    assert [len(one.verdicts) for one in verifier.judge(subjects)] == [1, 0, 0, 0]


# --- plug-ins ---


def plugin(**members: Any) -> ModuleType:
    module = ModuleType("plugin")
    vars(module).update(members)
    return module


def test_rules_come_from_modules_and_hooks() -> None:
    @hookimpl
    def nexus_verification_rules() -> list[VerificationRule]:
        return [rule("from-hook", None)]

    found = collect_rules([plugin(mine=rule("from-module", None), nexus_verification_rules=nexus_verification_rules)])
    assert {"from-hook", "from-module", "prompt-injection", "schema", "size"} <= found.keys()


def test_an_entry_point_is_a_plugin(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_rules.py").write_text(
        "from messaging.security.verification.rules import verification_rule\n"
        "from messaging.security.verification.verdicts import VerdictAction\n"
        "@verification_rule('theirs', version=1, may=[VerdictAction.FLAG])\n"
        "def theirs(subject, settings):\n    return None\n"
    )
    about = tmp_path / "theirs-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[nexus.verification]\ntheirs = their_rules\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "theirs" in collect_rules()
    assert "theirs" not in collect_rules(entry_points=False)


def test_plugins_that_cannot_be_are_named() -> None:
    with pytest.raises(ContentRulesError, match="two rules are called 'size'"):
        collect_rules([plugin(other=rule("size", None))])

    @hookimpl
    def nexus_verification_rules() -> list[Any]:
        return ["x"]

    with pytest.raises(ContentRulesError, match="returned a str"):
        collect_rules([plugin(nexus_verification_rules=nexus_verification_rules)])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "Bad Name"}, "expected a name"),
        ({"version": 0}, "expected a version"),
        ({"version": True}, "expected a version"),
        ({"may": []}, "needs an action"),
        ({"may": [VerdictAction.ACCEPT]}, "'accept' is None"),
        ({"schema": {"type": "nothing"}}, "schema is none"),
    ],
)
def test_rules_that_cannot_be(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ContentRulesError, match=words):
        verification_rule(**{"name": "a", "version": 1, "may": MAY, **arguments})(lambda subject, settings: None)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rules": {"promt-injection": {}}}, "did you mean 'prompt-injection'"),
        ({"rules": {"size": {"settings": {"depth": "x"}}}}, "rules.size.settings.depth: "),
        ({"rules": {"size": {"action": "accept"}}}, "expected one of flag, sanitize"),
        ({"rules": {"size": {"time_limit": 0}}}, "expected seconds"),
        ({"rules": {"size": {"shadow": "yes"}}}, "expected true or false"),
        ({"rules": {"size": {"types": []}}}, "expected a list"),
        ({"rules": {"size": {"colour": 1}}}, "known are rule, action"),
        ({"on_failure": "flag"}, "expected one of quarantine, reject"),
        ({"rules": {"patterns": {"settings": {"patterns": [{"id": "a", "regex": "("}]}}}}, "no pattern of RE2"),
    ],
)
def test_errors_of_settings_name_the_place(values: Any, words: str) -> None:
    with pytest.raises(ContentRulesError) as caught:
        load_verification(values, collect_rules(entry_points=False))
    assert words in str(caught.value)
