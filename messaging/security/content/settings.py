"""What an installation wants of its messages' content: typed values, from YAML or a dictionary.

```yaml
characters: {control: remove, bidi-override: remove, tag-character: remove, variation-selector: remove}
secrets: redact                  # keep (only told), redact, refuse
personal: {email: redact, iban: refuse}
html: {"mail.*": [/body]}        # JSON pointers of the fields that are HTML; "*" for every text
limits:
  default: {text_bytes: 262144, depth: 32, items: 20000, string: 200000}
  types: {"chat.*": {string: 20000}}
patterns:
  - {id: project-x, regex: '(?i)project\\s+x', treatment: redact}
exempt: {"build.log": [secret/jwt]}  # rules that do not look at some types
```
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NoReturn

from messaging.core.errors import ContentRulesError
from messaging.core.strict_json import MAX_DEPTH
from messaging.core.strict_yaml import Placed, place
from messaging.security.access.patterns import type_pattern_problem
from messaging.security.content.changes import Treatment
from messaging.security.content.characters import BIDI, CONTROL, TAG, VARIATION
from messaging.security.content.data import pattern_rule, personal_rules, secret_rules
from messaging.security.content.html import EVERY_STRING
from messaging.security.content.matching import PatternRule

CHARACTER_RULES = (CONTROL, BIDI, TAG, VARIATION)
OF_CHARACTERS = (Treatment.KEEP, Treatment.REMOVE, Treatment.REFUSE)
OF_PATTERNS = (Treatment.KEEP, Treatment.REDACT, Treatment.REFUSE)
MAX_PATTERNS = 500
MAX_LIMIT = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentLimits:
    """How large the data of a message may be. By default the envelope alone decides.

    Args:
        text_bytes: UTF-8 bytes of all strings and keys together.
        depth: levels of objects and arrays.
        items: values, at all levels together.
        string: characters of one string or key.
    """

    text_bytes: int = MAX_LIMIT
    depth: int = MAX_DEPTH
    items: int = MAX_LIMIT
    string: int = MAX_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentSettings:
    """The rules of an installation.

    Args:
        characters: rule → treatment.
        secrets: what becomes of them.
        personal: rule → treatment; a rule that is not named is off.
        html: pattern of types → JSON pointers of fields that are HTML.
        default_limits, type_limits: the first pattern of types that matches counts.
        patterns: an operator's own rules, each with its treatment.
        exempt: pattern of types → names of rules that do not look at them.
    """

    characters: Mapping[str, Treatment] = field(
        default_factory=lambda: dict.fromkeys(CHARACTER_RULES, Treatment.REMOVE)
    )
    secrets: Treatment = Treatment.REDACT
    personal: Mapping[str, Treatment] = field(default_factory=dict)
    html: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    default_limits: ContentLimits = ContentLimits()
    type_limits: Mapping[str, ContentLimits] = field(default_factory=dict)
    patterns: tuple[tuple[PatternRule, Treatment], ...] = ()
    exempt: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def all_patterns(self) -> list[tuple[PatternRule, Treatment]]:
        """Every pattern that is looked for, with its treatment: the operator's own first."""
        personal = [
            (rule, self.personal[rule.name.partition("/")[2]])
            for rule in personal_rules()
            if rule.name.partition("/")[2] in self.personal
        ]
        return [*self.patterns, *((rule, self.secrets) for rule in secret_rules()), *personal]


def load_settings(values: Mapping[str, Any]) -> ContentSettings:
    """Make settings of a dictionary, such as one in Django's settings.

    Raises:
        ContentRulesError: one of them cannot be; says where and what is expected.
    """
    return _Reader("").settings(placed(values, ""))


def read_settings(path: str | Path) -> ContentSettings:
    """Read settings from a YAML or JSON file.

    Raises:
        ContentRulesError: it cannot be read, or something in it cannot be; names file, line and place.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ContentRulesError(f"cannot be read: {error}", source=str(path)) from None
    return _Reader(str(path)).settings(place(text, ContentRulesError, str(path)))


def placed(value: Any, path: str) -> Placed:
    """Values of a dictionary with their places, as a file's have them."""
    if isinstance(value, Mapping):
        return Placed({str(k): placed(v, f"{path}.{k}" if path else str(k)) for k, v in value.items()}, path)
    if isinstance(value, list | tuple):
        return Placed([placed(item, f"{path}[{number}]") for number, item in enumerate(value)], path)
    return Placed(value, path)


class _Reader:
    """Reads settings from placed values.

    Args:
        source: the file's name, for errors.
    """

    def __init__(self, source: str) -> None:
        self._source = source

    def settings(self, top: Placed) -> ContentSettings:
        parts: dict[str, Callable[[Placed], dict[str, Any]]] = {
            "characters": lambda at: {"characters": self._characters(at)},
            "secrets": lambda at: {"secrets": self._treatment(at, OF_PATTERNS)},
            "personal": lambda at: {"personal": self._personal(at)},
            "html": lambda at: {"html": self._by_type(at, self._pointers)},
            "limits": self._limits,
            "patterns": lambda at: {"patterns": self._patterns(at)},
            "exempt": lambda at: {"exempt": self._by_type(at, self._rule_names)},
        }
        values: dict[str, Any] = {}
        for key, found in self._mapping(top).items():
            self._check_known(key, parts, found)
            values |= parts[key](found)
        return ContentSettings(**values)

    def _characters(self, at: Placed) -> dict[str, Treatment]:
        chosen = dict.fromkeys(CHARACTER_RULES, Treatment.REMOVE)
        for key, found in self._mapping(at).items():
            self._check_known(key, CHARACTER_RULES, found)
            chosen[key] = self._treatment(found, OF_CHARACTERS)
        return chosen

    def _personal(self, at: Placed) -> dict[str, Treatment]:
        known = [rule.name.partition("/")[2] for rule in personal_rules()]
        chosen = {}
        for key, found in self._mapping(at).items():
            self._check_known(key, known, found)
            chosen[key] = self._treatment(found, OF_PATTERNS)
        return chosen

    def _limits(self, at: Placed) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        entries = self._mapping(at)
        for key in entries:
            self._check_known(key, ("default", "types"), entries[key])
        default = ContentLimits()
        if "default" in entries:
            chosen["default_limits"] = default = self._limit(entries["default"], default)
        if "types" in entries:
            chosen["type_limits"] = self._by_type(entries["types"], lambda found: self._limit(found, default))
        return chosen

    def _limit(self, at: Placed, default: ContentLimits) -> ContentLimits:
        known = [one.name for one in fields(ContentLimits)]
        chosen = {}
        for key, found in self._mapping(at).items():
            self._check_known(key, known, found)
            most = MAX_DEPTH if key == "depth" else MAX_LIMIT
            if isinstance(found.value, bool) or not isinstance(found.value, int) or not 1 <= found.value <= most:
                self._refuse(f"expected a whole number from 1 to {most}", found)
            chosen[key] = found.value
        return replace(default, **chosen)

    def _patterns(self, at: Placed) -> tuple[tuple[PatternRule, Treatment], ...]:
        if not isinstance(at.value, list) or len(at.value) > MAX_PATTERNS:
            self._refuse(f"expected a list of at most {MAX_PATTERNS} patterns", at)
        made: list[tuple[PatternRule, Treatment]] = []
        for entry in at.value:
            rule = pattern_rule(entry, "own/", self._source, allowed=("treatment",))
            if any(rule.name == other.name for other, _ in made):
                self._refuse(f"{rule.name.removeprefix('own/')!r} stands here twice", entry)
            treatment = entry.value.get("treatment")
            made.append((rule, self._treatment(treatment, OF_PATTERNS) if treatment else Treatment.REDACT))
        return tuple(made)

    def _pointers(self, at: Placed) -> tuple[str, ...]:
        if not isinstance(at.value, list) or not all(
            isinstance(item.value, str) and (item.value == EVERY_STRING or item.value.startswith("/"))
            for item in at.value
        ):
            self._refuse("expected a list of JSON pointers such as /body, or of one '*'", at)
        return tuple(item.value for item in at.value)

    def _rule_names(self, at: Placed) -> tuple[str, ...]:
        if not isinstance(at.value, list) or not all(isinstance(item.value, str) for item in at.value):
            self._refuse("expected a list of rules such as secret/jwt, or secret/* for all", at)
        return tuple(item.value for item in at.value)

    def _by_type(self, at: Placed, read: Callable[[Placed], Any]) -> dict[str, Any]:
        entries = self._mapping(at)
        for pattern, found in entries.items():
            problem = "" if pattern == "*" else type_pattern_problem(pattern)
            if problem:
                self._refuse(problem, found)
        return {pattern: read(found) for pattern, found in entries.items()}

    def _treatment(self, at: Placed, allowed: tuple[Treatment, ...]) -> Treatment:
        if at.value not in [one.value for one in allowed]:
            self._refuse(f"expected one of {', '.join(allowed)}", at)
        return Treatment(at.value)

    def _mapping(self, at: Placed) -> dict[str, Placed]:
        if not isinstance(at.value, dict):
            self._refuse("expected a mapping", at)
        mapping: dict[str, Placed] = at.value
        return mapping

    def _check_known(self, key: str, known: Any, at: Placed) -> None:
        if key not in known:
            near = difflib.get_close_matches(key, list(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            self._refuse(f"{key[:60]!r} is not known here; {hint}", at)

    def _refuse(self, problem: str, at: Placed) -> NoReturn:
        raise ContentRulesError(problem, path=at.path, source=self._source, line=at.line)
