"""What rules say about a message, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class VerdictAction(StrEnum):
    """What is done with a message, the mildest first."""

    ACCEPT = "accept"
    FLAG = "flag"  # goes on, and is marked
    SANITIZE = "sanitize"  # goes on as a cleaned view; the signed original stays
    QUARANTINE = "quarantine"  # waits in its position for a person
    REJECT = "reject"

    @property
    def severity(self) -> int:
        return _ORDER.index(self)


_ORDER = tuple(VerdictAction)
_ACCEPT = VerdictAction.ACCEPT  # looked up on its class it costs more than what is done with it


class VerdictOrigin(StrEnum):
    """How a verdict came about."""

    GIVEN = "given"  # the rule answered
    FAILED = "failed"  # the rule raised
    HUNG = "hung"  # the rule did not answer in time
    LIED = "lied"  # the rule answered what it may not
    KILLED = "killed"  # no rule's answer was ever seen: each time the process ended


@dataclass(frozen=True, slots=True)
class Objection:
    """What a rule has against a message; a rule that has nothing returns None.

    Args:
        action: what the rule would do; one of those that it declares.
        reason: a few words, never the message's text.
        pointer: the evidence: RFC 6901, into the data; "" for the whole.
        score: how sure it is, from 0 to 1 and more; only for people.
        kind: what it is a case of, for measuring.
    """

    action: VerdictAction
    reason: str
    pointer: str = ""
    score: float = 1.0
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Unanswered:
    """In place of an answer from outside: it fails closed.

    Args:
        reason: a few words, never the message's text.
    """

    reason: str


class RuleVerdict(NamedTuple):
    """One rule's verdict on one message. (A tuple: there is one of every rule for every message.)

    Args:
        rule: its name in the settings.
        version: of the rule.
        action: after the settings had their say.
        origin: how it came about; all but GIVEN are fail-closed.
        reason, pointer, score, kind: of the objection.
        duration: seconds that the rule took; 0 where it accepts, as the judgement has the sum of all.
        shadow: it is stored and counted, and nothing is done.
    """

    rule: str
    version: int
    action: VerdictAction
    origin: VerdictOrigin
    reason: str
    pointer: str
    score: float
    kind: str
    duration: float
    shadow: bool


@dataclass(slots=True)
class Judgement:
    """What becomes of a message.

    Args:
        action: the severest of the verdicts that are no shadows.
        verdicts: of every rule that looked at it, also where it accepts.
        duration: seconds that they took together.
        asks: names of the rules whose answer comes from outside; empty where the others stop it anyway.
        answer_within: seconds; without an answer by then it fails closed.
    """

    action: VerdictAction
    verdicts: tuple[RuleVerdict, ...]
    duration: float = 0.0
    asks: tuple[str, ...] = ()
    answer_within: float = 0.0

    @property
    def is_silent(self) -> bool:
        """All rules accept it, shadows too, and nobody outside is asked: most messages."""
        return not self.asks and all(one.action is _ACCEPT for one in self.verdicts)

    @property
    def decisive(self) -> RuleVerdict | None:
        """The verdict that decided; None where the message is accepted."""
        if self.action is _ACCEPT:
            return None
        return next(one for one in self.verdicts if one.action is self.action and not one.shadow)
