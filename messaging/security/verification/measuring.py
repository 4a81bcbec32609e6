"""How good rules are on texts of which it is known whether they are attacks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from messaging.core.errors import ContentRulesError
from messaging.security.verification.judging import Verifier
from messaging.security.verification.subject import VerificationSubject
from messaging.security.verification.verdicts import Judgement, VerdictAction, VerdictOrigin

ATTACK, BENIGN = "attack", "benign"
MAX_LINE = 1_000_000
MAX_SAMPLES = 1_000_000
_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text and what it is.

    Args:
        text: it.
        attack: whether it is one.
        kind: for people, such as ``"few-shot"``; may be empty.
    """

    text: str
    attack: bool
    kind: str = ""


def read_labelled(lines: Iterable[str], source: str) -> Iterator[LabelledText]:
    """Read lines of ``{"text": …, "label": "attack" | "benign"}``, optionally with ``"kind"``; empty ones are left out.

    Raises:
        ContentRulesError: a line is none; names it.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if number > MAX_SAMPLES or len(line) > MAX_LINE:
            raise ContentRulesError(f"more than {MAX_SAMPLES} lines, or a longer one than {MAX_LINE}", source=source)
        try:
            entry = json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            raise ContentRulesError("no JSON", source=source, line=number) from None
        if not isinstance(entry, dict) or not isinstance(entry.get("text"), str):
            raise ContentRulesError('expected {"text": …, "label": "attack" or "benign"}', source=source, line=number)
        if entry.get("label") not in (ATTACK, BENIGN):
            raise ContentRulesError("the label: expected 'attack' or 'benign'", source=source, line=number)
        if not isinstance(entry.get("kind", ""), str):
            raise ContentRulesError("the kind: expected a text", source=source, line=number)
        yield LabelledText(entry["text"], entry["label"] == ATTACK, entry.get("kind", ""))


@dataclass(slots=True)
class Tally:
    """Counts of attacks and benign texts, and of those that a rule objected to."""

    attacks: int = 0
    found: int = 0
    benign: int = 0
    false_positives: int = 0

    def add(self, attack: bool, objected: bool) -> None:
        """Count one text."""
        if attack:
            self.attacks += 1
            self.found += objected
        else:
            self.benign += 1
            self.false_positives += objected

    def data(self) -> dict[str, Any]:
        """Rates and counts; a rate of nothing is None."""
        return {
            "recall": round(self.found / self.attacks, 4) if self.attacks else None,
            "false_positive_rate": round(self.false_positives / self.benign, 4) if self.benign else None,
            "attacks": self.attacks,
            "benign": self.benign,
        }


def measure_rules(verifier: Verifier, samples: Iterable[LabelledText]) -> dict[str, Any]:
    """Judge every text, as the only text of a message from a sender of its own; shadows count like the others.

    Returns:
        ``recall``, ``false_positive_rate`` and counts of all rules together, of each in ``rules`` and of each kind of
        text in ``kinds`` (there again with ``rules``). ``failures`` counts verdicts that no rule gave.
    """
    whole, failures = Tally(), 0
    rules: dict[str, Tally] = {chosen.name: Tally() for chosen in verifier.settings.rules}
    kinds: dict[str, Tally] = defaultdict(Tally)
    by_kind: dict[str, dict[str, Tally]] = defaultdict(lambda: defaultdict(Tally))
    for number, batch in enumerate(_batches(samples)):
        subjects = [_subject(sample, number * _AT_ONCE + place) for place, sample in enumerate(batch)]
        for sample, judgement in zip(batch, verifier.judge(subjects), strict=True):
            objecting = _objecting(judgement)
            failures += sum(one.origin is not VerdictOrigin.GIVEN for one in judgement.verdicts)
            whole.add(sample.attack, bool(objecting))
            kinds[sample.kind].add(sample.attack, bool(objecting))
            for name, tally in rules.items():
                tally.add(sample.attack, name in objecting)
                by_kind[sample.kind][name].add(sample.attack, name in objecting)
    return whole.data() | {
        "failures": failures,
        "rules": {name: tally.data() for name, tally in rules.items()},
        "kinds": {
            kind: tally.data() | {"rules": {name: one.data() for name, one in by_kind[kind].items()}}
            for kind, tally in sorted(kinds.items())
        },
    }


def _objecting(judgement: Judgement) -> set[str]:
    return {one.rule for one in judgement.verdicts if one.action is not VerdictAction.ACCEPT}


def _subject(sample: LabelledText, number: int) -> VerificationSubject:
    name = f"sample-{number}"
    return VerificationSubject(
        id=name, type="text", data={"text": sample.text}, sender=name, workflow=name, at=float(number)
    )


def _batches(samples: Iterable[LabelledText]) -> Iterator[Sequence[LabelledText]]:
    batch: list[LabelledText] = []
    for sample in samples:
        batch.append(sample)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
