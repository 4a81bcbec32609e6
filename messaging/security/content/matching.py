"""Patterns over text: all of them in one pass, then those that may match, one by one.

google-re2 is linear in the text, whatever the pattern. Its set has a limit of memory, beyond which it finds *nothing*
and says nothing; so each set has a pattern that matches always, and where even that one is missing every rule is tried.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import re2

from messaging.core.errors import ContentRulesError

MAX_PATTERN = 2_000
_SET_MEMORY = 64 << 20
_RULE_MEMORY = 8 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternRule:
    """One pattern.

    Args:
        name: unique in its set, such as ``"secret/github-token"``.
        regex: in RE2's syntax: no look-around, no back-references. A group named ``value`` is what is meant; without
            one, the whole match is.
        keywords: one of them, in lower case, must stand in the text; none: no such condition.
        entropy: bits a character that the value must have at least; 0 for no such condition.
        check: a name in ``CHECKS`` that the value must pass; empty for none.
        unless: words, in lower case, with which the value is an example or a placeholder, no find.
        description: for people.
    """

    name: str
    regex: str
    keywords: tuple[str, ...] = ()
    entropy: float = 0.0
    check: str = ""
    unless: tuple[str, ...] = ()
    description: str = ""


class PatternMatch(NamedTuple):
    """Where a rule found something."""

    rule: str
    start: int
    end: int


def entropy_of(text: str) -> float:
    """Shannon's entropy of a text, in bits a character."""
    length = len(text)
    return -sum(count / length * math.log2(count / length) for count in Counter(text).values())


def compile_regex(regex: str, *, memory: int = _RULE_MEMORY) -> re2._Regexp[str]:
    """Compile a pattern in RE2's syntax.

    Raises:
        ContentRulesError: it cannot be compiled, or matches the empty text.
    """
    if len(regex) > MAX_PATTERN:
        raise ContentRulesError(f"a pattern of {len(regex)} characters; at most {MAX_PATTERN} are allowed")
    try:
        compiled = re2.compile(regex, _options(memory))
    except re2.error as error:
        problem = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else error.args[0]
        raise ContentRulesError(
            f"no pattern of RE2: {problem}. Look-around and back-references do not exist in it"
        ) from None
    if compiled.search("") is not None:
        raise ContentRulesError("the pattern matches the empty text, so it would match everywhere")
    return compiled


def _options(memory: int) -> re2.Options:
    options = re2.Options()
    options.max_mem = memory
    options.log_errors = False
    return options


@functools.lru_cache(maxsize=8)  # it takes 20 ms, and settings are read again more often than rules change
def _compile_set(regexes: tuple[str, ...]) -> re2.Set:
    """Patterns, and behind them the empty one, which matches unless the set gives up."""
    together = re2.Set.SearchSet(_options(_SET_MEMORY))
    for regex in (*regexes, ""):
        together.Add(regex)
    together.Compile()
    return together


@dataclass(slots=True)
class PatternSet:
    """Rules that are looked for together.

    Args:
        rules: where two finds overlap, they become one, named after the rule that begins first or stands first here.

    Raises:
        ContentRulesError: a pattern cannot be compiled; names its rule.
    """

    rules: Sequence[PatternRule]
    _compiled: list[re2._Regexp[str]] = field(init=False)
    _set: re2.Set = field(init=False)

    def __post_init__(self) -> None:
        self._compiled = []
        for rule in self.rules:
            try:
                self._compiled.append(compile_regex(rule.regex))
            except ContentRulesError as error:
                raise ContentRulesError(f"the pattern of {rule.name!r}: {error.problem}", path=error.path) from None
        try:
            self._set = _compile_set(tuple(rule.regex for rule in self.rules))
        except re2.error:
            problem = f"{len(self.rules)} patterns take too much memory together; simplify some"
            raise ContentRulesError(problem) from None

    def candidates(self, text: str) -> list[int]:
        """The numbers of the rules whose pattern matches somewhere."""
        if not self.rules or not text:
            return []
        hits = self._set.Match(text)
        if len(self.rules) not in hits:  # the set gave up
            return list(range(len(self.rules)))
        return sorted(number for number in hits if number < len(self.rules))

    def find(self, text: str) -> list[PatternMatch]:
        """What the rules find in a text, from left to right, without overlaps."""
        numbers = self.candidates(text)
        if not numbers:
            return []
        lowered = text.lower()
        found: list[tuple[int, int, int]] = []
        for number in numbers:
            rule = self.rules[number]
            if rule.keywords and not any(keyword in lowered for keyword in rule.keywords):
                continue
            group = self._compiled[number].groupindex.get("value", 0)
            for match in self._compiled[number].finditer(text):
                start, end = match.span(group)
                if start >= 0 and _counts(rule, text[start:end]):
                    found.append((start, number, end))
        return [PatternMatch(self.rules[number].name, start, end) for start, number, end in _apart(sorted(found))]


def _apart(found: Iterable[tuple[int, int, int]]) -> Iterable[tuple[int, int, int]]:
    """Join what overlaps, under the name of the first."""
    last: tuple[int, int, int] | None = None
    for start, number, end in found:
        if last is not None and start < last[2]:
            last = (last[0], last[1], max(last[2], end))
            continue
        if last is not None:
            yield last
        last = (start, number, end)
    if last is not None:
        yield last


def _counts(rule: PatternRule, value: str) -> bool:
    if not value or (rule.entropy and entropy_of(value) < rule.entropy):
        return False
    if rule.unless:
        lowered = value.lower()
        if any(word in lowered for word in rule.unless):
            return False
    return not rule.check or CHECKS[rule.check](value)


def _luhn(value: str) -> bool:
    """The check digit of payment cards."""
    digits = [int(character) for character in value if character.isdecimal()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _iban(value: str) -> bool:
    """The check digits of bank accounts (ISO 7064, modulo 97)."""
    plain = "".join(value.split()).upper()
    if not 15 <= len(plain) <= 34 or not plain.isascii() or not plain.isalnum():
        return False
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def _mixed(value: str) -> bool:
    """Letters and digits: words and numbers alone are no generated secret."""
    return any(character.isdigit() for character in value) and any(character.isalpha() for character in value)


CHECKS: dict[str, Callable[[str], bool]] = {"luhn": _luhn, "iban": _iban, "mixed": _mixed}
"""What a value may have to pass besides its pattern."""
