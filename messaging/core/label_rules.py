"""What an installation says about senders and types: ``NEXUS["LABELS"]``.

>>> rules = LabelRules.parse("sender:mailbox=origin:mail private:customers, type:web.*=origin:web")
>>> str(rules.of("mailbox", "web.page")), str(rules.of("planner", "plan.done"))
('origin:mail origin:web private:customers', '')
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from messaging.core.describing import safe_repr
from messaging.core.errors import ConfigurationError, LabelError
from messaging.core.labels import NO_LABELS, Labels, as_labels


@dataclass(frozen=True, slots=True)
class LabelRules:
    """(kind, name or prefix, whether it is a prefix, labels) of each rule."""

    rules: tuple[tuple[str, str, bool, Labels], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``sender:NAME=LABELS, type:PREFIX.*=LABELS, …``.

        Raises:
            ConfigurationError: one of them is written in another way.
        """
        rules = []
        for part in filter(None, (part.strip() for part in text.split(","))):
            target, equals, written = part.partition("=")
            kind, colon, name = target.strip().partition(":")
            try:
                labels = as_labels(written)
            except LabelError as error:
                raise ConfigurationError(f"NEXUS['LABELS']: {safe_repr(part)[:100]}: {error}") from None
            if not (equals and colon and name and labels and kind in ("sender", "type")):
                raise ConfigurationError(
                    f"NEXUS['LABELS']: {safe_repr(part)[:100]}; expected sender:NAME=LABELS or type:NAME=LABELS, "
                    "such as type:web.*=origin:web."
                )
            rules.append((kind, name.removesuffix("*"), name.endswith("*"), labels))
        return cls(tuple(rules))

    def of(self, sender: str, type: str) -> Labels:
        """The labels of what that sender sends as that type."""
        labels = NO_LABELS
        for kind, name, prefix, added in self.rules:
            value = sender if kind == "sender" else type
            if value.startswith(name) if prefix else value == name:
                labels |= added
        return labels
