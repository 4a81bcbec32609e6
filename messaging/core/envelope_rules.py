"""What each attribute of an envelope may hold: CloudEvents' types, narrowed to what Nexus uses.

``envelope.py`` says what the attributes mean. Here stands how a JSON value becomes an attribute, and what the error
says when it cannot.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from messaging.core.errors import EnvelopeError
from messaging.core.labels import LABELS_RULE, is_labels
from messaging.core.names import AGENT_NAME_RULE, TYPE_NAME_RULE, is_agent_name, is_type_name
from messaging.core.strict_json import describe

MAX_POSITION = 2**31 - 1
"""CloudEvents' Integer has 32 bits."""

MAX_SEQUENCE = 2**63 - 1
"""The largest number that databases count to."""

SEQUENCE_DIGITS = 20

_match_uuid = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_match_timestamp = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
).fullmatch
_match_sequence = re.compile(r"[0-9]{20}").fullmatch
# RFC 3986 §4.3: no fragment. Characters outside these must be percent-encoded.
_match_uri = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?@!$&'()*+,;=\[\]-]|%[0-9A-Fa-f]{2}){1,2000}"
).fullmatch
# W3C Trace Context §3.2.2, version-format 00; ids of zeros alone are invalid.
_match_traceparent = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}").fullmatch


@dataclass(frozen=True, slots=True)
class Rule:
    """One attribute's rule."""

    expected: str
    """Words for the error message, after "expected"."""

    convert: Callable[[Any], Any]
    """Makes the attribute from a JSON value; ValueError or OverflowError when the value does not fit."""

    required: bool = True

    def read(self, name: str, value: Any) -> Any:
        """Make the attribute; None and an absent attribute are the same.

        Raises:
            EnvelopeError: the attribute is required and None, or its value does not fit.
        """
        if value is None:
            if self.required:
                raise EnvelopeError(name, f"is missing; expected {self.expected}")
            return None
        try:
            return self.convert(value)
        except (ValueError, OverflowError):
            raise EnvelopeError(name, f"expected {self.expected}, got {describe(value)}") from None


def is_sequence(text: str) -> bool:
    """Tell whether this is a sequence number from 1 to ``MAX_SEQUENCE`` in 20 digits."""
    return _match_sequence(text) is not None and _FIRST_SEQUENCE <= text <= _LAST_SEQUENCE


def is_uri(text: str) -> bool:
    """Tell whether this is an absolute URI of at most about 2,000 characters."""
    return _match_uri(text) is not None


def is_traceparent(text: str) -> bool:
    """Tell whether this is a W3C ``traceparent`` of version-format 00."""
    return _match_traceparent(text) is not None


def format_sequence(number: int) -> str:
    """Write a sequence number so that strings sort as numbers."""
    return f"{number:0{SEQUENCE_DIGITS}d}"


def checked_number(attribute: str, number: Any, largest: int) -> int:
    """Return the number if it is an integer from 1 to the largest allowed; EnvelopeError otherwise."""
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= largest:
        raise EnvelopeError(attribute, f"expected an integer from 1 to {largest}, got {describe(number)}")
    return number


def checked_time(attribute: str, moment: Any) -> datetime:
    """Return an aware datetime in UTC; EnvelopeError when it is naive or has no equal in UTC."""
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise EnvelopeError(attribute, f"expected a datetime with a time zone, got {moment!r}")
    try:
        return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except OverflowError:
        raise EnvelopeError(attribute, f"{moment} is outside of the years 1 to 9999 in UTC") from None


_FIRST_SEQUENCE = format_sequence(1)
_LAST_SEQUENCE = format_sequence(MAX_SEQUENCE)


def _uuid(value: Any) -> UUID:
    if not isinstance(value, str) or not _match_uuid(value):
        raise ValueError
    return UUID(value)


def _timestamp(value: Any) -> datetime:
    if not isinstance(value, str) or not _match_timestamp(value):
        raise ValueError
    return datetime.fromisoformat(value.upper()).astimezone(UTC)


def _position(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_POSITION:
        raise ValueError
    return value


def _text(accepts: Callable[[str], bool]) -> Callable[[Any], str]:
    def convert(value: Any) -> str:
        if not isinstance(value, str) or not accepts(value):
            raise ValueError
        return value

    return convert


PLAIN_DATA = "application/json"
"""``datacontenttype`` of data that stand in the envelope as they are."""
ENCRYPTED_DATA = "application/jose"
"""``datacontenttype`` of data that are a JWE in compact form (RFC 7516), a string."""


def exactly(text: str, *, required: bool = True) -> Rule:
    """The rule that an attribute is one text."""
    return Rule(f"the string {text!r}", _text(text.__eq__), required=required)


_TIMESTAMP = "an RFC 3339 timestamp such as '2026-01-31T12:00:00Z'"

RULES = {
    "specversion": exactly("1.0"),
    "id": Rule("the message's UUID", _uuid),
    "source": Rule(f"an agent's name ({AGENT_NAME_RULE})", _text(is_agent_name)),
    "type": Rule(f"a message type ({TYPE_NAME_RULE})", _text(is_type_name)),
    "subject": Rule(f"an agent's or a group's name ({AGENT_NAME_RULE})", _text(is_agent_name)),
    "time": Rule(_TIMESTAMP, _timestamp),
    "datacontenttype": Rule(
        f"{PLAIN_DATA!r}, or {ENCRYPTED_DATA!r} for encrypted data", _text((PLAIN_DATA, ENCRYPTED_DATA).__contains__)
    ),
    "dataschema": Rule("an absolute URI without a fragment", _text(is_uri), required=False),
    "sequence": Rule(
        f"a string of {SEQUENCE_DIGITS} digits, from 1 to {MAX_SEQUENCE}", _text(is_sequence), required=False
    ),
    "partitionkey": Rule("the workflow's UUID", _uuid),
    "position": Rule(f"an integer from 1 to {MAX_POSITION}", _position, required=False),
    "causationid": Rule("a message's UUID", _uuid, required=False),
    "correlationid": Rule("a UUID", _uuid, required=False),
    "schemaversion": exactly("1"),
    "traceparent": Rule("a W3C traceparent of version-format 00", _text(is_traceparent), required=False),
    "expirytime": Rule(_TIMESTAMP, _timestamp, required=False),
    "labels": Rule(LABELS_RULE, _text(is_labels), required=False),
}
"""The rule of every attribute but ``data``, which may be anything that JSON can say."""
