"""Which rules an installation wants, and how: from YAML or a dictionary.

```yaml
on_failure: quarantine           # what a rule that raises, hangs or lies leads to: quarantine or reject
rules:
  prompt-injection:
    action: quarantine           # instead of what the rule asks for
    shadow: true                 # judge and count, and do nothing
    time_limit: 0.25             # seconds
    types: ["web.*"]             # only these; the same for senders, recipients and teams
    settings: {threshold: 1.2}
  bursts: {rule: rate, settings: {messages: 100, seconds: 60}}
```
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from messaging.core.errors import ContentRulesError
from messaging.core.strict_yaml import Placed, place
from messaging.security.access.patterns import agent_pattern_problem, type_pattern_problem
from messaging.security.content.settings import placed
from messaging.security.verification.rules import VerificationRule
from messaging.security.verification.verdicts import VerdictAction

DEFAULT_TIME_LIMIT = 0.25
MAX_TIME_LIMIT = 10.0
OUTSIDE_TIME_LIMIT, MAX_OUTSIDE_TIME_LIMIT = 600.0, 86_400.0
"""Of rules whose answer comes from outside the batch."""
MAX_RULES = 200
FAILURE_ACTIONS = (VerdictAction.QUARANTINE, VerdictAction.REJECT)
DEFAULTS: Mapping[str, Any] = {
    "rules": {"secrets": {}, "prompt-injection": {}, "impersonation": {}, "repetition": {}},
}
"""Without a file: the rules that need to know nothing of an installation, and only mark."""
_FIELDS = ("rule", "action", "shadow", "time_limit", "types", "senders", "recipients", "teams", "settings")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenRule:
    """A rule as an installation wants it.

    Args:
        name: in the settings.
        rule: it.
        chosen: its settings, as written.
        prepared: the same, as its function gets them.
        action: instead of what it asks for; None for that.
        shadow: it judges, and nothing is done.
        time_limit: seconds that it may take for a message.
        types, senders, recipients, teams: patterns; only messages that match one of each. Empty for all.
    """

    name: str
    rule: VerificationRule
    chosen: Mapping[str, Any]
    prepared: Any
    action: VerdictAction | None = None
    shadow: bool = False
    time_limit: float = DEFAULT_TIME_LIMIT
    types: tuple[str, ...] = ()
    senders: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationSettings:
    """The rules of an installation, in the order in which they look at a message.

    Args:
        rules: them.
        on_failure: what a rule that raises, hangs or lies leads to.
    """

    rules: tuple[ChosenRule, ...] = ()
    on_failure: VerdictAction = VerdictAction.QUARANTINE

    @property
    def digest(self) -> str:
        """What verdicts call these rules by: it changes with every rule, version and setting."""
        told = [
            [
                one.name,
                one.rule.name,
                one.rule.version,
                one.action,
                one.shadow,
                one.time_limit,
                one.types,
                one.senders,
                one.recipients,
                one.teams,
                one.chosen,
            ]
            for one in self.rules
        ]
        written = json.dumps([self.on_failure, told], sort_keys=True, default=str)
        return hashlib.sha256(written.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def load_verification(values: Mapping[str, Any], rules: Mapping[str, VerificationRule]) -> VerificationSettings:
    """Make settings of a dictionary.

    Args:
        values: as in the YAML file.
        rules: those that there are, by name.

    Raises:
        ContentRulesError: one of them cannot be; says where and what is expected.
    """
    return _Reader(rules, "").read(placed(values, ""))


def parse_verification(text: str, rules: Mapping[str, VerificationRule], source: str = "") -> VerificationSettings:
    """Make settings of YAML or JSON.

    Args:
        text: as in the file.
        rules: those that there are, by name.
        source: what errors call it.

    Raises:
        ContentRulesError: something in it cannot be; names place and line.
    """
    return _Reader(rules, source).read(place(text, ContentRulesError, source))


def read_verification(path: str | Path, rules: Mapping[str, VerificationRule]) -> VerificationSettings:
    """Read settings from a YAML or JSON file.

    Raises:
        ContentRulesError: it cannot be read, or something in it cannot be; names file, line and place.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ContentRulesError(f"cannot be read: {error}", source=str(path)) from None
    return parse_verification(text, rules, str(path))


def _plain(at: Placed) -> Any:
    if isinstance(at.value, dict):
        return {key: _plain(item) for key, item in at.value.items()}
    return [_plain(item) for item in at.value] if isinstance(at.value, list) else at.value


class _Reader:
    """Reads settings from placed values.

    Args:
        rules: those that there are.
        source: the file's name, for errors.
    """

    def __init__(self, rules: Mapping[str, VerificationRule], source: str) -> None:
        self._rules, self._source = rules, source

    def read(self, top: Placed) -> VerificationSettings:
        entries = self._mapping(top, ("on_failure", "rules"))
        on_failure = entries.get("on_failure")
        action = VerdictAction.QUARANTINE if on_failure is None else self._action(on_failure, FAILURE_ACTIONS)
        chosen = self._mapping(entries["rules"]) if "rules" in entries else {}
        if len(chosen) > MAX_RULES:
            self._refuse(f"{len(chosen)} rules; at most {MAX_RULES} are allowed", entries["rules"])
        return VerificationSettings(rules=tuple(self._rule(name, at) for name, at in chosen.items()), on_failure=action)

    def _rule(self, name: str, at: Placed) -> ChosenRule:
        if at.value is None:
            at = Placed({}, at.path, at.line)
        entries = self._mapping(at, _FIELDS)
        wanted = entries["rule"].value if "rule" in entries else name
        if wanted not in self._rules:
            self._unknown(str(wanted), self._rules, entries.get("rule", at))
        rule = self._rules[wanted]
        settings = entries.get("settings", Placed({}, at.path, at.line))
        self._mapping(settings)
        try:
            prepared = rule.settings_for(_plain(settings))
        except ContentRulesError as error:
            path = f"{settings.path}.{error.path}" if error.path else settings.path
            raise ContentRulesError(error.problem, path=path, source=self._source, line=settings.line) from None
        return ChosenRule(
            name=name,
            rule=rule,
            chosen=_plain(settings),
            prepared=prepared,
            action=self._action(entries["action"], tuple(VerdictAction)[1:]) if "action" in entries else None,
            shadow=self._shadow(entries.get("shadow")),
            time_limit=self._time_limit(entries.get("time_limit"), rule),
            types=self._patterns(entries.get("types"), type_pattern_problem),
            senders=self._patterns(entries.get("senders"), agent_pattern_problem),
            recipients=self._patterns(entries.get("recipients"), agent_pattern_problem),
            teams=self._patterns(entries.get("teams"), agent_pattern_problem),
        )

    def _action(self, at: Placed, allowed: tuple[VerdictAction, ...]) -> VerdictAction:
        if at.value not in [one.value for one in allowed]:
            self._refuse(f"expected one of {', '.join(allowed)}", at)
        return VerdictAction(at.value)

    def _shadow(self, at: Placed | None) -> bool:
        if at is not None and not isinstance(at.value, bool):
            self._refuse("expected true or false", at)
        return at is not None and at.value is True

    def _time_limit(self, at: Placed | None, rule: VerificationRule) -> float:
        most = MAX_OUTSIDE_TIME_LIMIT if rule.outside else MAX_TIME_LIMIT
        if at is None:
            return OUTSIDE_TIME_LIMIT if rule.outside else DEFAULT_TIME_LIMIT
        value = at.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
            self._refuse(f"expected seconds, more than 0 and at most {most:g}", at)
        return float(value)

    def _patterns(self, at: Placed | None, problem_of: Any) -> tuple[str, ...]:
        if at is None:
            return ()
        if not isinstance(at.value, list) or not at.value:
            self._refuse("expected a list of names or patterns", at)
        for item in at.value:
            problem = problem_of(item.value) if isinstance(item.value, str) else "expected a text"
            if problem and item.value != "*":
                self._refuse(problem, item)
        return tuple(item.value for item in at.value)

    def _mapping(self, at: Placed, known: tuple[str, ...] | None = None) -> dict[str, Placed]:
        if not isinstance(at.value, dict):
            self._refuse("expected a mapping", at)
        mapping: dict[str, Placed] = at.value
        for key, found in mapping.items():
            if known is not None and key not in known:
                self._unknown(key, known, found)
        return mapping

    def _unknown(self, key: str, known: Any, at: Placed) -> NoReturn:
        near = difflib.get_close_matches(key, list(known), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
        self._refuse(f"{key[:60]!r} is not known here; {hint}", at)

    def _refuse(self, problem: str, at: Placed) -> NoReturn:
        raise ContentRulesError(problem, path=at.path, source=self._source, line=at.line)
