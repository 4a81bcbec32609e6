"""The envelope: what one message is on the wire, in the log and under its signature.

It is a CloudEvents 1.0 event in JSON (https://github.com/cloudevents/spec, structured content mode). It is made once;
those exact bytes are stored, signed and carried, and nobody writes them anew.

==================  ========  =========================================================================================
attribute           needed    value
==================  ========  =========================================================================================
specversion         yes       ``"1.0"``
id                  yes       UUID of the message
source              yes       name of the sending agent
type                yes       name of the message's type
subject             yes       name of the recipient: an agent or a group
time                yes       RFC 3339 timestamp; we write UTC
datacontenttype     yes       ``"application/json"``; ``"application/jose"`` where the data are encrypted
dataschema          no        absolute URI of the schema that ``data`` follows
sequence            yes*      the message's number in its workflow: 20 digits, so that strings sort as numbers
partitionkey        yes       UUID of the workflow
position            no        integer from 1 to 2147483647: the place in the recipient's mailbox; none in group messages
causationid         no        UUID of the message that this one answers
correlationid       no        UUID that all messages of one exchange share
schemaversion       yes       ``"1"``: the version of this format
traceparent         no        W3C Trace Context, version-format 00
expirytime          no        RFC 3339 timestamp after which the message is of no use; we write UTC
labels              no        whence the content comes, and whose secrets it may hold (``core.labels``); absent: none
data                yes       any JSON value, ``null`` among them; encrypted: a string, a JWE in compact form
==================  ========  =========================================================================================

\\* An event from outside gets its sequence and position on arrival, see ``parse_envelope(require_sequence=False)``.
Nothing else may stand in an envelope. An optional attribute that is ``null`` counts as absent.

>>> from datetime import UTC, datetime
>>> from uuid import UUID
>>> body = build_envelope(
...     message_id=UUID("01a20979-79aa-734d-91e4-96982d670000"),
...     workflow_id=UUID("01a20979-0000-7000-8000-000000000000"),
...     source="planner", recipient="writer", type="draft.wanted", data={"topic": "queues", "words": 300},
...     sequence=7, position=3, time=datetime(2026, 1, 31, 12, 0, 0, 250, tzinfo=UTC), max_bytes=65536,
... )
>>> print(body.decode().replace(',"', ',\\n "'))
{"specversion":"1.0",
 "id":"01a20979-79aa-734d-91e4-96982d670000",
 "source":"planner",
 "type":"draft.wanted",
 "subject":"writer",
 "time":"2026-01-31T12:00:00.000250Z",
 "datacontenttype":"application/json",
 "sequence":"00000000000000000007",
 "partitionkey":"01a20979-0000-7000-8000-000000000000",
 "position":3,
 "schemaversion":"1",
 "data":{"topic":"queues",
 "words":300}}
>>> envelope = parse_envelope(body, max_bytes=65536)
>>> envelope.subject, envelope.sequence_number, envelope.data["words"]
('writer', 7, 300)
>>> parse_envelope(body.replace(b'"position":3', b'"position":"x"'), max_bytes=65536)
Traceback (most recent call last):
    ...
messaging.core.errors.EnvelopeError: position: expected an integer from 1 to 2147483647, got the string 'x'
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from messaging.core.envelope_rules import (
    ENCRYPTED_DATA,
    MAX_POSITION,
    MAX_SEQUENCE,
    PLAIN_DATA,
    RULES,
    checked_number,
    checked_time,
    format_sequence,
    is_sequence,
    is_traceparent,
    is_uri,
)
from messaging.core.errors import EnvelopeError, EnvelopeTooLarge
from messaging.core.labels import is_labels
from messaging.core.names import is_agent_name, is_type_name
from messaging.core.plain_data import to_plain
from messaging.core.strict_json import WHOLE, describe, find_flaw, is_too_deep, join_path, loads, path_of_key

CONTENT_TYPE = "application/cloudevents+json"
"""The content type of an envelope's bytes; their encoding is UTF-8."""

ROOM_FOR_ENCRYPTION = 1_024
"""Bytes: the most that a JWE has besides its text, in base64url."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A message's attributes and data. Make one with ``parse_envelope``: the constructor checks nothing.

    The order of the fields is their order on the wire. All timestamps are aware, in UTC.
    """

    specversion: Literal["1.0"]
    id: UUID
    source: str
    type: str
    subject: str
    time: datetime
    datacontenttype: Literal["application/json", "application/jose"]
    dataschema: str | None = None
    sequence: str | None = None
    partitionkey: UUID
    position: int | None = None
    causationid: UUID | None = None
    correlationid: UUID | None = None
    schemaversion: Literal["1"]
    traceparent: str | None = None
    expirytime: datetime | None = None
    labels: str | None = None
    data: Any

    @property
    def message_id(self) -> UUID:
        """The id of the message."""
        return self.id

    @property
    def workflow_id(self) -> UUID:
        """The id of the workflow that the message belongs to."""
        return self.partitionkey

    @property
    def is_encrypted(self) -> bool:
        """Whether its data are ciphertext."""
        return self.datacontenttype == ENCRYPTED_DATA

    @property
    def sequence_number(self) -> int:
        """The message's number in its workflow.

        Raises:
            EnvelopeError: the envelope came from outside and has no number yet.
        """
        if self.sequence is None:
            raise EnvelopeError("sequence", "is assigned on arrival, and this envelope has none yet")
        return int(self.sequence)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Envelope).decode
_decode_data = msgspec.json.Decoder().decode


def build_envelope(
    *,
    message_id: UUID,
    workflow_id: UUID,
    source: str,
    recipient: str,
    type: str,
    data: Any,
    sequence: int,
    position: int | None = None,
    time: datetime | None = None,
    causation_id: UUID | None = None,
    correlation_id: UUID | None = None,
    data_schema: str | None = None,
    trace_parent: str | None = None,
    expiry_time: datetime | None = None,
    labels: str | None = None,
    data_content_type: Literal["application/json", "application/jose"] = "application/json",
    max_bytes: int,
) -> bytes:
    """Write an envelope.

    Args:
        message_id, workflow_id: from ``core.ids``.
        source: name of the sending agent.
        recipient: name of the agent or group that is to get it.
        type: name of the message's type.
        data: None, bool, int, float, str, list or dict with string keys, or what ``core.plain_data`` makes such of;
            nested at most ``MAX_DEPTH - 1`` levels.
        sequence: the message's number in its workflow, from 1.
        position: its number in the recipient's mailbox, from 1; None for a group message.
        time: when it was sent, aware; now when left out.
        causation_id: the message that this one answers.
        correlation_id: what all messages of one exchange share.
        data_schema: absolute URI of the schema that the data follows.
        trace_parent: W3C Trace Context.
        expiry_time: when it stops being of use, aware.
        labels: the text of its labels; None for none.
        data_content_type: of data that were encrypted before.
        max_bytes: the longest envelope allowed, before its data are encrypted.

    Raises:
        EnvelopeError: something has no place in an envelope; the error names the attribute, or the path in the data.
        EnvelopeTooLarge: the envelope is longer than ``max_bytes``.
    """
    envelope = Envelope(
        specversion="1.0",
        id=message_id,
        source=source,
        type=type,
        subject=recipient,
        time=datetime.now(UTC) if time is None else checked_time("time", time),
        datacontenttype=data_content_type,
        dataschema=data_schema,
        sequence=format_sequence(checked_number("sequence", sequence, MAX_SEQUENCE)),
        partitionkey=workflow_id,
        position=None if position is None else checked_number("position", position, MAX_POSITION),
        causationid=causation_id,
        correlationid=correlation_id,
        schemaversion="1",
        traceparent=trace_parent,
        expirytime=None if expiry_time is None else checked_time("expirytime", expiry_time),
        labels=labels,
        data=data,
    )
    body = _write(envelope, max_bytes)
    if body is None:
        # Dates, models and the like have an obvious form in JSON; who sends plain values does not pay for them.
        envelope = msgspec.structs.replace(envelope, data=to_plain(data, depth=2))
        body = _write(envelope, max_bytes)
    if body is None:
        raise _refusal(envelope)
    return body


def _write(envelope: Envelope, max_bytes: int) -> bytes | None:
    """The envelope's bytes; None when reading them would not give the same."""
    try:
        body = _encode(envelope)
        _check_size(body, _allowed(envelope, max_bytes))
        if not is_too_deep(body) and _decode(body) == envelope and _keeps_rules(envelope):
            return body
    except EnvelopeTooLarge:
        raise
    except Exception:  # noqa: BLE001, S110  # nosec B110  # objects in the data have methods, which raise anything
        pass
    return None


def with_ciphertext(body: bytes, encrypt: Callable[[Envelope, bytes], str]) -> bytes:
    """The bytes of an envelope whose data are encrypted.

    Args:
        body: as ``build_envelope`` wrote it, with data in clear.
        encrypt: makes a compact JWE of the data as JSON; it gets the envelope too.
    """
    envelope = _decode(body)
    text = encrypt(envelope, _encode(envelope.data))
    return _encode(msgspec.structs.replace(envelope, data=text, datacontenttype=ENCRYPTED_DATA))


def with_clear_data(envelope: Envelope, clear: bytes) -> Envelope:
    """An envelope with the data that were encrypted.

    Args:
        envelope: its ciphertext stays where it is; it is not changed.
        clear: its data as JSON.

    Raises:
        EnvelopeError: they are no JSON.
    """
    try:
        data = _decode_data(clear)
        if is_too_deep(clear) or _encode(data) != clear:
            data = loads(clear)
    except (msgspec.MsgspecError, ValueError, ArithmeticError):
        data = loads(clear)
    return msgspec.structs.replace(envelope, data=data, datacontenttype=PLAIN_DATA)


def parse_envelope(body: bytes, *, max_bytes: int, require_sequence: bool = True) -> Envelope:
    """Read an envelope, strictly.

    Args:
        body: the bytes from the wire.
        max_bytes: the longest envelope allowed; one with encrypted data may be longer by what encrypting adds.
        require_sequence: False for events from outside, which get their sequence and position on arrival.

    Raises:
        EnvelopeError: it is no valid envelope; the error names the attribute. No other error is ever raised.
        EnvelopeTooLarge: it is longer than ``max_bytes``.
    """
    if len(body) > _encrypted_size(max_bytes):
        _check_size(body, max_bytes)
    envelope = _parse_own_writing(body) or _parse_any_writing(body)
    _check_size(body, _allowed(envelope, max_bytes))
    if require_sequence and envelope.sequence is None:
        raise EnvelopeError("sequence", f"is missing; expected {RULES['sequence'].expected}")
    return envelope


def _parse_own_writing(body: bytes) -> Envelope | None:
    """The quick way, which takes only what we would write ourselves; None says nothing about validity.

    msgspec alone is lenient (duplicate keys, numbers' spellings). But when writing the result anew gives the same
    bytes, the text had nothing that was lost in reading.
    """
    if is_too_deep(body):
        return None
    try:
        envelope = _decode(body)
        if _encode(envelope) == body and _keeps_rules(envelope):
            return envelope
    except (msgspec.MsgspecError, ValueError, ArithmeticError):
        pass
    return None


def _keeps_rules(envelope: Envelope) -> bool:
    """Check what the types of the fields do not: the same rules as ``RULES``, written out for speed."""
    return (
        is_agent_name(envelope.source)
        and is_agent_name(envelope.subject)
        and is_type_name(envelope.type)
        and envelope.time.tzinfo is UTC
        and (envelope.sequence is None or is_sequence(envelope.sequence))
        and (envelope.position is None or 1 <= envelope.position <= MAX_POSITION)
        and (envelope.dataschema is None or is_uri(envelope.dataschema))
        and (envelope.traceparent is None or is_traceparent(envelope.traceparent))
        and (envelope.expirytime is None or envelope.expirytime.tzinfo is UTC)
        and (envelope.labels is None or is_labels(envelope.labels))
        and (envelope.datacontenttype == PLAIN_DATA or type(envelope.data) is str)
    )


def _parse_any_writing(body: bytes) -> Envelope:
    """The thorough way: any spelling that JSON allows, and errors that say what is wrong where."""
    attributes = loads(body)
    if not isinstance(attributes, dict):
        raise EnvelopeError(WHOLE, f"expected a JSON object, got {describe(attributes)}")
    for name in attributes:
        if name not in RULES and name != "data":
            raise EnvelopeError(path_of_key(name), "is no attribute of an envelope; other values belong in data")
    if "data" not in attributes:
        raise EnvelopeError("data", "is missing; expected any JSON value, such as null")
    if attributes.get("datacontenttype") == ENCRYPTED_DATA and not isinstance(attributes["data"], str):
        raise EnvelopeError("data", f"expected a string, a JWE in compact form, got {describe(attributes['data'])}")
    return Envelope(
        **{name: rule.read(name, attributes.get(name)) for name, rule in RULES.items()}, data=attributes["data"]
    )


def _refusal(envelope: Envelope) -> EnvelopeError:
    """Find out why an envelope did not survive being written and read; the rules raise it, or it is returned."""
    try:
        flaw = find_flaw(envelope.data, depth=2)
    except Exception as error:  # noqa: BLE001 - see above
        return EnvelopeError("data", f"holds an object that cannot be looked at ({type(error).__qualname__})")
    if flaw is not None:
        return EnvelopeError(join_path("data", flaw.path), flaw.problem)
    for name, rule in RULES.items():
        value = getattr(envelope, name)
        if rule.read(name, _wire_value(value)) != value:
            return EnvelopeError(name, f"expected {rule.expected}, got {describe(value)}")
    return EnvelopeError("data", "changes when it is written as JSON and read again")


def _wire_value(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat() if isinstance(value, datetime) else value


def _encrypted_size(max_bytes: int) -> int:
    """The longest that an envelope may become when its data are encrypted: base64url makes four bytes of three."""
    return max_bytes + max_bytes // 3 + ROOM_FOR_ENCRYPTION


def _allowed(envelope: Envelope, max_bytes: int) -> int:
    return _encrypted_size(max_bytes) if envelope.is_encrypted else max_bytes


def _check_size(body: bytes, max_bytes: int) -> None:
    if len(body) > max_bytes:
        raise EnvelopeTooLarge(WHOLE, f"has {len(body)} bytes; at most {max_bytes} are allowed (MAX_MESSAGE_BYTES)")
