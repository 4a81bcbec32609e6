"""Labels: where a message's content comes from, and whose secrets it may hold.

A label is a set of names, so that joining two is the union: whatever is made of several things has the labels of all.
*Origins* say integrity: with none, content is trusted. *Private* names say confidentiality: with none, it is public.

>>> page, customer = Labels.of(origins=["web"]), Labels.of(private=["customers"])
>>> str(page | customer)
'origin:web private:customers'
>>> Labels.parse("origin:web private:customers") == page | customer, bool(NO_LABELS)
(True, False)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

from messaging.core.describing import safe_repr
from messaging.core.errors import ConfigurationError, LabelError

MAX_NAMES = 16
"""Origins, or private names, of one label. What is joined beyond them is ``MANY``."""

MANY = "many"
"""Stands for further names. No policy allows it by name, so what it stands for is not let through."""

LABELS_RULE = "origin:NAME and private:NAME, sorted, joined by single spaces; names of a-z, 0-9, '.', '_' and '-'"

_match_name = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}").fullmatch


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known of some content. Make one with ``of`` or ``parse``; join two with ``|``.

    Args:
        origins: the untrusted places that it comes from, such as ``"web"``; none: it is trusted.
        private: whose secrets it may hold, such as ``"customers"``; none: it is public.
    """

    origins: frozenset[str] = frozenset()
    private: frozenset[str] = frozenset()

    @classmethod
    def of(cls, *, origins: Iterable[str] = (), private: Iterable[str] = ()) -> Self:
        """Labels of these names.

        Raises:
            LabelError: one of them is no name, or there are more than ``MAX_NAMES``.
        """
        return cls(_names("origins", origins), _names("private", private))

    @classmethod
    def parse(cls, text: str) -> Labels:
        """Read what ``str`` wrote.

        Raises:
            LabelError: it is written in another way; the same labels have one spelling only.
        """
        return _parse(text)

    @property
    def trusted(self) -> bool:
        return not self.origins

    def __bool__(self) -> bool:
        return bool(self.origins or self.private)

    def __or__(self, other: Labels) -> Labels:
        """What is made of both."""
        if self == other or not other:
            return self
        return Labels(_bounded(self.origins | other.origins), _bounded(self.private | other.private)) if self else other

    def covers(self, other: Labels) -> bool:
        """Whether joining the other adds nothing."""
        return self | other == self

    def lowered(self, *, trusted: bool = False, public: Iterable[str] = ()) -> Labels:
        """These labels after an endorsement.

        Args:
            trusted: whether the origins go.
            public: private names that go.
        """
        return Labels(frozenset() if trusted else self.origins, self.private - frozenset(public))

    def __str__(self) -> str:
        return " ".join(
            [
                *(f"origin:{name}" for name in sorted(self.origins)),
                *(f"private:{name}" for name in sorted(self.private)),
            ]
        )


NO_LABELS = Labels()
"""Trusted and public: what nobody said anything about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPolicy:
    """What an agent accepts.

    Args:
        untrusted: whether untrusted content is accepted.
        private: the private names that are accepted; None for all.

    Raises:
        ConfigurationError: they are no names.
    """

    untrusted: bool = False
    private: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.private is not None:
            try:
                object.__setattr__(self, "private", tuple(sorted(_names("private", self.private))))
            except LabelError as error:
                raise ConfigurationError(f"LabelPolicy: {error}") from None
        if not isinstance(self.untrusted, bool):
            raise ConfigurationError(f"LabelPolicy: untrusted is {safe_repr(self.untrusted)[:60]}; expected a bool.")

    def covers(self, other: LabelPolicy) -> bool:
        """Whether the other accepts nothing that this one refuses."""
        names = other.private is not None and set(other.private) <= set(self.private or ())
        return (self.untrusted or not other.untrusted) and (self.private is None or names)

    def refused(self, labels: Labels) -> Labels:
        """The part of these labels that is not accepted."""
        return Labels(
            frozenset() if self.untrusted else labels.origins,
            frozenset() if self.private is None else labels.private - frozenset(self.private),
        )


def as_labels(value: Labels | str | None) -> Labels:
    """Labels from what a caller gave: themselves, their text, or None for none.

    Raises:
        LabelError: it is neither.
    """
    if value is None or isinstance(value, Labels):
        return value or NO_LABELS
    if not isinstance(value, str):
        raise LabelError(f"Labels are {safe_repr(value)[:60]}; expected Labels.of(…), or text: {LABELS_RULE}.")
    return Labels.of(
        origins=[word.removeprefix("origin:") for word in value.split() if not word.startswith("private:")],
        private=[word.removeprefix("private:") for word in value.split() if word.startswith("private:")],
    )


@lru_cache(maxsize=1_024)
def _parse(text: str) -> Labels:
    labels = as_labels(text)
    if not labels or str(labels) != text:
        raise LabelError(f"Labels are {safe_repr(text)[:100]}; expected {LABELS_RULE}.")
    return labels


def is_labels(text: str) -> bool:
    """Tell whether this is how labels are written."""
    try:
        _parse(text)
    except LabelError:
        return False
    return True


def _bounded(names: frozenset[str]) -> frozenset[str]:
    if len(names) <= MAX_NAMES:
        return names
    return frozenset([*sorted(names - {MANY})[: MAX_NAMES - 1], MANY])


def _names(what: str, names: Any) -> frozenset[str]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise LabelError(f"{what} is {safe_repr(names)[:60]}; expected a collection of names.")
    found = frozenset(names)
    for name in found:
        if not isinstance(name, str) or not _match_name(name):
            raise LabelError(
                f"{what} has {safe_repr(name)[:60]}; expected a name of 1 to 40 characters a-z, 0-9, '.', '_', '-'."
            )
    if len(found) > MAX_NAMES:
        raise LabelError(f"{what} has {len(found)} names; at most {MAX_NAMES} are allowed.")
    return found
