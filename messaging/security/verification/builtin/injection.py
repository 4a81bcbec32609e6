"""prompt-injection: text that gives orders to whoever reads it.

Signs with weights, and a few heuristics. Each sentence is looked at alone and with its neighbours, so that an order
inside a long text counts as much as one alone; what is written in base64, hex, binary or Morse is decoded once and
looked at too. It finds what is written plainly. Somebody who tries until it does not is not stopped by it: what
untrusted text may *cause* must be bounded elsewhere.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import re2

from messaging.core.errors import ContentRulesError
from messaging.core.strict_yaml import place
from messaging.security.content.matching import PatternRule, PatternSet, compile_regex
from messaging.security.verification.disguise import hidden_texts
from messaging.security.verification.folding import fold, normal, sentences
from messaging.security.verification.rules import verification_rule
from messaging.security.verification.subject import VerificationSubject
from messaging.security.verification.verdicts import Objection, VerdictAction

FILE = Path(__file__).with_name("injection.yaml")
TOGETHER = 4
"""So many sentences are looked at as one."""
MAX_SENTENCE = 2_000
SPOKEN_OF = 0.3
"""What a sign weighs that is only talked about."""
HIDDEN = 0.5
"""What it adds that a sign was hidden in an encoding."""
REPEATED_TOKENS = 40

_NEGATED = re.compile(r"\b(?:never|not|n't|avoid|without|before|don't|cannot|prevent(?:s|ed|ing)?|to)\s(?:\w+\s){0,2}$")
_MENTIONED = re.compile(
    r"\b(?:such as|for example|e\.g\.|example|phrases?|called|named|known as|detect\w*|attack\w*|patterns?|says?|said"
    r"|wrote|reads?|strings?|prompt injections?|jailbreaks?|test cases?|regex|quot\w*|titled?|typed|contains?|literal"
    r"|words?|translat\w*|paper|article|headline|message)\b"
)
_QUOTES = ('"', "'", "`", "“", "”", "«", "»", "„")


@dataclass(frozen=True, slots=True)
class Sign:
    """One sign of injection."""

    id: str
    kind: str
    weight: float
    spoken: bool
    expression: re2._Regexp[str]


class SignSet:
    """The signs, looked for together."""

    def __init__(self, signs: Sequence[Sign], threshold: float) -> None:
        self.threshold = threshold
        self._signs = {sign.id: sign for sign in signs}
        self._set = PatternSet([PatternRule(name=sign.id, regex=sign.expression.pattern) for sign in signs])
        self._order = list(signs)

    def score(self, text: str) -> tuple[float, str]:
        """How much a text looks like an injection, and of which kind most."""
        return self._score(text, fold(text))

    def score_in(self, subject: VerificationSubject) -> Iterator[tuple[str, float, str]]:
        """(JSON pointer, score, kind) of each text of a message."""
        for pointer, text, variants in subject.folded:
            yield pointer, *self._score(text, variants)

    def _score(self, text: str, variants: Sequence[str]) -> tuple[float, str]:
        kinds = self._kinds_in(variants)
        repeated = _repeats(text)
        if repeated:
            kinds["repeated-token"] = 1.0
        best = _sum(kinds)
        for hidden in hidden_texts(text):
            inner = self._kinds_in(fold(hidden))
            if inner:
                best = max(best, (_sum(inner)[0] + HIDDEN, "smuggle"))
        return best

    def _kinds_in(self, variants: Iterable[str]) -> dict[str, float]:
        """The heaviest sign of each kind in the worst stretch of a text, given folded."""
        worst: dict[str, float] = {}
        for variant in variants:
            if not self._set.candidates(variant):
                continue
            weights = [self._weights(sentence) for sentence in _stretches(variant)]
            for number in range(len(weights)):
                together: dict[str, float] = {}
                for some in weights[number : number + TOGETHER]:
                    for kind, weight in some.items():
                        together[kind] = max(together.get(kind, 0.0), weight)
                if _sum(together)[0] > _sum(worst)[0]:
                    worst = together
        return worst

    def _weights(self, sentence: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for number in self._set.candidates(sentence):
            sign = self._order[number]
            weight = max(_weight(sign, sentence, *match.span()) for match in sign.expression.finditer(sentence))
            found[sign.kind] = max(found.get(sign.kind, 0.0), weight)
        return found


def _stretches(text: str) -> Iterator[str]:
    for sentence in sentences(text):
        for start in range(0, len(sentence), MAX_SENTENCE):
            yield sentence[start : start + MAX_SENTENCE + 200]


def _weight(sign: Sign, sentence: str, start: int, end: int) -> float:
    """A sign weighs less where it is negated, or quoted in a sentence that talks about it."""
    before = sentence[max(0, start - 40) : start]
    if sign.spoken and _NEGATED.search(before):
        return sign.weight * SPOKEN_OF
    opened = max((before.rfind(quote) for quote in _QUOTES), default=-1)
    closed = min((at for quote in _QUOTES if (at := sentence.find(quote, end)) >= 0), default=-1)
    if (
        opened >= 0
        and closed >= 0
        and _MENTIONED.search(sentence[: start - len(before) + opened] + " " + sentence[closed:])
    ):
        return sign.weight * SPOKEN_OF
    return sign.weight


def _sum(kinds: Mapping[str, float]) -> tuple[float, str]:
    return (sum(kinds.values()), max(kinds, key=lambda kind: kinds[kind])) if kinds else (0.0, "")


def _repeats(text: str) -> bool:
    """The same word over and over, which drives models out of their training."""
    words = text.split()
    if len(words) < REPEATED_TOKENS:
        return False
    # So many in a row stand at one of these places at least; most texts are settled by a few comparisons.
    for at in range(0, len(words), REPEATED_TOKENS):
        word = words[at]
        if len(word) < 4 or not word.isalnum():
            continue
        first = last = at
        while first and words[first - 1] == word and at - first < REPEATED_TOKENS:
            first -= 1
        while last + 1 < len(words) and words[last + 1] == word and last - at < REPEATED_TOKENS:
            last += 1
        if last - first + 1 >= REPEATED_TOKENS:
            return True
    return False


@functools.cache
def builtin_signs() -> tuple[Sign, ...]:
    """The signs of ``injection.yaml``."""
    top = place(FILE.read_text(encoding="utf-8"), ContentRulesError, str(FILE)).value
    words = {name: unicodedata.normalize("NFKC", at.value) for name, at in top["words"].value.items()}
    signs = []
    for at in top["signs"].value:
        entry = {name: item.value for name, item in at.value.items()}
        regex = unicodedata.normalize("NFKC", entry["regex"])
        for name in sorted(words, key=len, reverse=True):  # the patterns themselves are in lower case
            regex = words[name].join(re.split(rf"(?<!\\){name}", regex))
        compiled = compile_regex(f"(?m){regex}")
        signs.append(Sign(entry["id"], entry["kind"], entry["weight"], entry.get("spoken", False), compiled))
    return tuple(signs)


def _sign_set(settings: Mapping[str, Any]) -> SignSet:
    own = [
        Sign(f"own-{number}", "own", entry["weight"], False, compile_regex(normal(entry["regex"])))
        for number, entry in enumerate(settings["signs"])
    ]
    return SignSet([*builtin_signs(), *own], settings["threshold"])


@verification_rule(
    "prompt-injection",
    version=1,
    may=[VerdictAction.FLAG],
    schema={
        "type": "object",
        "properties": {
            "threshold": {"type": "number", "exclusiveMinimum": 0, "maximum": 10},
            "signs": {
                "type": "array",
                "maxItems": 200,
                "items": {
                    "type": "object",
                    "properties": {
                        "regex": {"type": "string"},
                        "weight": {"type": "number", "exclusiveMinimum": 0, "maximum": 10},
                    },
                    "required": ["regex", "weight"],
                    "additionalProperties": False,
                },
            },
        },
        "additionalProperties": False,
    },
    defaults={"threshold": 1.0, "signs": []},
    prepare=_sign_set,
)
def prompt_injection(subject: VerificationSubject, signs: SignSet) -> Objection | None:
    """Text that gives orders to the model that reads it, or asks it for what it must keep."""
    worst, kind, place_ = 0.0, "", ""
    for pointer, score, most in signs.score_in(subject):
        if score > worst:
            worst, kind, place_ = score, most, pointer
    if worst < signs.threshold - 1e-9:
        return None
    return Objection(VerdictAction.FLAG, f"looks like a prompt injection ({kind})", place_, round(worst, 2), kind)
