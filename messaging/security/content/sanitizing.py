"""Cleaning the data of a message: limits, characters, HTML, patterns, in keys and values.

A text is cleaned until cleaning changes nothing more, so a second pass never does; one that is not steady after a few
turns is refused. Nothing here keeps or says what was found.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from messaging.core.names import is_type_name
from messaging.security.access.patterns import matcher
from messaging.security.content.changes import Cleaned, ContentChange, Treatment, digest_of, escape_pointer
from messaging.security.content.characters import clean_characters, has_suspicious
from messaging.security.content.encoded import encoded_parts
from messaging.security.content.html import clean_html, is_html
from messaging.security.content.matching import PatternMatch, PatternSet
from messaging.security.content.settings import CHARACTER_RULES, ContentLimits, ContentSettings

MAX_TURNS = 5
MAX_TOLD = 100
"""Finds that are told one by one for a message."""
HTML_RULE, UNSTEADY_RULE, LIMIT_RULE = "html", "unsteady", "limit"
SECRET_PREFIX = "secret/"  # noqa: S105  # nosec B105  # of rules
_NAMED_VALUE = "secret/assigned"
_ANCHORS = ("^", "$", r"\A", r"\z", r"\B")
LOOKED_AT = 20_000
"""Characters of messages that are looked at together."""
MIN_LENGTH = 8
"""Shorter strings hold no secret and no personal datum that a rule knows."""


class Sanitizer:
    """Cleans messages.

    Args:
        settings: what is wanted.
        key: of the digests; the installation's own.
    """

    def __init__(self, settings: ContentSettings, key: bytes = b"") -> None:
        self.settings, self._key = settings, key
        chosen = settings.all_patterns()
        self._treatments: dict[str, Treatment] = {rule.name: treatment for rule, treatment in chosen}
        self._treatments |= {**settings.characters, HTML_RULE: Treatment.REMOVE, UNSTEADY_RULE: Treatment.REFUSE}
        self._patterns = PatternSet([rule for rule, _ in chosen])
        # What an operator's pattern calls the begin and the end of a text is not there in texts put together.
        self._joinable = not any(mark in rule.regex for rule, _ in settings.patterns for mark in _ANCHORS)
        self._profile = functools.lru_cache(1_000)(self._make_profile)

    def clean(self, type: str, data: Any) -> Cleaned:
        """Clean the data of one message.

        Args:
            type: of the message.
            data: any value; what is no JSON is left to the envelope, which refuses it.
        """
        return self.clean_all([(type, data)])[0]

    def clean_all(self, messages: Sequence[tuple[str, Any]]) -> list[Cleaned]:
        """Clean the data of messages, each by itself; that nothing is to be found, a look at many at once may say.

        Args:
            messages: the type and the data of each, see ``clean``.
        """
        cleaned: list[Cleaned] = []
        unseen: list[int] = []
        texts: list[str] = []
        length = 0
        for number, (type, data) in enumerate(messages):
            profile = self._profile(type if is_type_name(type) else "")
            measured = measure(data, profile.limits)
            if isinstance(measured, ContentChange):
                cleaned.append(Cleaned(data, (), (measured,)))
            elif not self._joinable or profile.html:
                cleaned.append(self._clean(profile, data))
            else:
                cleaned.append(Cleaned(data))
                joined = "\n".join(measured)
                unseen.append(number)
                texts.append(joined)
                length += len(joined)
            if length > LOOKED_AT or number == len(messages) - 1:
                self._look(unseen, texts, messages, cleaned)
                unseen, texts, length = [], [], 0
        return cleaned

    def _look(
        self,
        unseen: Sequence[int],
        texts: Sequence[str],
        messages: Sequence[tuple[str, Any]],
        cleaned: list[Cleaned],
    ) -> None:
        """Clean those of some messages in which anything may be found.

        Args:
            unseen: their places.
            texts: of each all that it holds.
            messages: all of them.
            cleaned: as they are where nothing is found; changed in place.
        """
        if not unseen or not self._may_find("\n".join(texts)):
            return
        for number, joined in zip(unseen, texts, strict=True):
            if len(unseen) == 1 or self._may_find(joined):
                type, data = messages[number]
                cleaned[number] = self._clean(self._profile(type if is_type_name(type) else ""), data)

    def _clean(self, profile: _Profile, data: Any) -> Cleaned:
        pass_ = _Pass(self, profile, self._key)
        value = pass_.value(data, "", "")
        return Cleaned(value, tuple(pass_.changes), tuple(pass_.refusals))

    def _may_find(self, joined: str) -> bool:
        """Whether any rule may find anything in the texts of a message: one look at all, for most have nothing."""
        if has_suspicious(joined):
            return True
        if not joined.isascii():
            joined = joined.encode("utf-8", "replace").decode()
        if self._patterns.candidates(joined):
            return True
        return any(self._patterns.candidates(inside) for _, _, inside in encoded_parts(joined))

    def treatment(self, rule: str) -> Treatment:
        """What is done with what a rule finds."""
        return self._treatments[rule]

    def find(self, text: str, name: str) -> list[PatternMatch]:
        """What the patterns find in a text, also one level of base64 deep, and as the value of a secret's name."""
        if len(text) < MIN_LENGTH:
            return []
        if not text.isascii():  # half surrogate pairs have no UTF-8; the envelope refuses them
            text = text.encode("utf-8", "replace").decode()
        found = self._patterns.find(text)
        for start, end, inside in encoded_parts(text):
            hidden = self._patterns.find(inside)
            if hidden:
                found.append(PatternMatch(hidden[0].rule, start, end))
        if not found and name and '"' not in text and "\n" not in text:
            before = f'{name[-60:]}: "'
            named = self._patterns.find(f'{before}{text}"')
            # What it finds in the name alone says nothing about the value.
            if any(match.rule == _NAMED_VALUE and match.end > len(before) for match in named):
                found.append(PatternMatch(_NAMED_VALUE, 0, len(text)))
        return _without_overlaps(found)

    def _make_profile(self, type: str) -> _Profile:
        first = [limits for pattern, limits in self.settings.type_limits.items() if matcher(pattern)(type)]
        html = [pointer for pattern, some in self.settings.html.items() if matcher(pattern)(type) for pointer in some]
        exempt = [name for pattern, some in self.settings.exempt.items() if matcher(pattern)(type) for name in some]
        return _Profile(first[0] if first else self.settings.default_limits, html, exempt, self.settings.characters)


def measure(data: Any, limits: ContentLimits) -> ContentChange | list[str]:
    """Find the first limit that the data exceed; no recursion, and it stops there.

    Returns:
        That limit; or every text of the data, as a value of the key that it stands under.
    """
    items = text_bytes = depth = 0
    texts: list[str] = []
    level: list[tuple[str, Any]] = [("", data)]
    while level:
        items += len(level)
        if items > limits.items:
            return _exceeded("items", limits.items)
        below: list[tuple[str, Any]] = []
        nested = False
        for name, value in level:
            here: list[str] = []
            if isinstance(value, str):
                here = [value]
                texts.append(f'{name}: "{value}"')
            elif isinstance(value, dict):
                nested = True
                here = [key for key in value if isinstance(key, str)]
                texts += here
                below += [(key if isinstance(key, str) else "", item) for key, item in value.items()]
            elif isinstance(value, list):
                nested = True
                below += [(name, item) for item in value]
            for text in here:
                text_bytes += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
                if len(text) > limits.string:
                    return _exceeded("string", limits.string)
        if text_bytes > limits.text_bytes:
            return _exceeded("text_bytes", limits.text_bytes)
        depth += nested
        if depth > limits.depth:
            return _exceeded("depth", limits.depth)
        level = below
    return texts


def _exceeded(name: str, limit: int) -> ContentChange:
    return ContentChange(f"{LIMIT_RULE}/{name}", "", Treatment.REFUSE, detail=f"more than {limit}")


class _Profile:
    """What holds for one type."""

    def __init__(
        self, limits: ContentLimits, html: Iterable[str], exempt: Iterable[str], characters: Mapping[str, Treatment]
    ) -> None:
        self.limits, self.html = limits, tuple(html)
        self._names = frozenset(exempt)
        self._groups = tuple(name[:-1] for name in self._names if name.endswith("/*"))
        self.characters = [rule for rule in CHARACTER_RULES if rule in characters and not self.exempts(rule)]

    def exempts(self, rule: str) -> bool:
        return rule in self._names or rule.startswith(self._groups or ("\x00",))


class _Pass:
    """One message on its way through the rules."""

    def __init__(self, sanitizer: Sanitizer, profile: _Profile, key: bytes) -> None:
        self._sanitizer, self._profile, self._key = sanitizer, profile, key
        self.changes: list[ContentChange] = []
        self.refusals: list[ContentChange] = []

    def value(self, value: Any, pointer: str, name: str) -> Any:
        """Clean a value; the same object where nothing changed."""
        if isinstance(value, str):
            return self._text(value, pointer, name)
        if isinstance(value, dict):
            return self._object(value, pointer)
        if isinstance(value, list):
            made = [self.value(item, f"{pointer}/{number}", name) for number, item in enumerate(value)]
            return value if all(new is old for new, old in zip(made, value, strict=True)) else made
        return value

    def _object(self, value: dict[Any, Any], pointer: str) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        same = True
        for key, item in value.items():
            if not isinstance(key, str):
                made[key] = item
                continue
            new_key = self._text(key, pointer, "", is_key=True)
            if new_key != key:
                new_key, same = _unused(new_key, value, made), False
            made[new_key] = self.value(item, f"{pointer}/{escape_pointer(new_key)}", new_key)
            same = same and made[new_key] is item
        return value if same else made

    def _text(self, text: str, pointer: str, name: str, *, is_key: bool = False) -> str:
        before = text
        for turn in range(MAX_TURNS):
            cleaned = self._once(text, pointer, name, told=turn > 0, is_key=is_key)
            if cleaned == text:
                return before if text == before else text
            text = cleaned
        self._tell(UNSTEADY_RULE, pointer, before)
        return text

    def _once(self, text: str, pointer: str, name: str, *, told: bool, is_key: bool) -> str:
        """Clean a text once.

        Args:
            text: it.
            pointer: where it stands.
            name: the key whose value it is.
            told: what is only to be kept or refused was told before.
            is_key: it is a key.
        """
        removing = [rule for rule in self._profile.characters if self._acts(rule)]
        cleaned, taken = clean_characters(text, removing)
        for rule, part in taken:
            self._tell(rule, pointer, part)
        if not told and len(removing) < len(self._profile.characters):
            others = [rule for rule in self._profile.characters if rule not in removing]
            for rule, part in clean_characters(text, others)[1]:
                self._tell(rule, pointer, part)
        if self._profile.html and not is_key and is_html(pointer, self._profile.html):
            safe = clean_html(cleaned)
            if safe != cleaned:
                self._tell(HTML_RULE, pointer, cleaned)
                cleaned = safe
        return self._without_patterns(cleaned, pointer, name, told=told)

    def _without_patterns(self, text: str, pointer: str, name: str, *, told: bool) -> str:
        parts, end = [], 0
        for match in self._sanitizer.find(text, name):
            if self._profile.exempts(match.rule):
                continue
            acts = self._acts(match.rule)
            if acts or not told:
                self._tell(match.rule, pointer, text[match.start : match.end])
            if acts:
                parts += [text[end : match.start], f"[redacted:{match.rule}]"]
                end = match.end
        return "".join([*parts, text[end:]]) if parts else text

    def _acts(self, rule: str) -> bool:
        return self._sanitizer.treatment(rule) in (Treatment.REMOVE, Treatment.REDACT)

    def _tell(self, rule: str, pointer: str, found: str) -> None:
        treatment = self._sanitizer.treatment(rule)
        listed = self.refusals if treatment is Treatment.REFUSE else self.changes
        if len(listed) < MAX_TOLD:
            listed.append(ContentChange(rule, pointer, treatment, digest_of(found, self._key)))


def _without_overlaps(found: list[PatternMatch]) -> list[PatternMatch]:
    kept: list[PatternMatch] = []
    for match in sorted(found, key=lambda one: (one.start, -one.end)):
        if kept and match.start < kept[-1].end:
            kept[-1] = kept[-1]._replace(end=max(kept[-1].end, match.end))
        else:
            kept.append(match)
    return kept


def _unused(key: str, *taken: Mapping[Any, Any]) -> str:
    """A key that stands in none of these: two keys that were cleaned may have become one."""
    number, made = 1, key
    while any(made in mapping for mapping in taken):
        number += 1
        made = f"{key} ({number})"
    return made
