"""Whether a new version of a schema keeps what is in flight and stored: decided by the values that schemas accept.

A version *reads* another one when it accepts every value that writers of the other one send. Writers are closed (they
send what their schema declares), readers open (they ignore what they do not know, unless their schema forbids it).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import jsonschema_rs
from jsonschema_rs import canonical

from messaging.models import Compatibility
from messaging.security.schemas.closing import close
from messaging.security.schemas.compiled import PATTERNS, compile_schema, refuse_to_fetch, resource_registry
from messaging.security.schemas.documents import Document
from messaging.security.schemas.problems import problems_of
from messaging.security.schemas.sampling import Sampler
from messaging.security.schemas.uri import SchemaKey

MAX_SAMPLES = 400


class Coverage(StrEnum):
    """Whether one version reads another."""

    YES = "yes"
    NO = "no"  # and there is a sample that shows it
    UNKNOWN = "unknown"  # not proven; it needs somebody who answers for it


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether a version reads what another one writes.

    Args:
        reader, writer: versions.
        answer: see ``Coverage``.
        sample: data that the writer sends and the reader refuses, made up from the schemas.
        problems: why the reader refuses them.
    """

    reader: int
    writer: int
    answer: Coverage
    sample: Any = None
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        what = f"version {self.reader} reads what version {self.writer} writes"
        if self.answer is Coverage.NO:
            sample = json.dumps(self.sample, ensure_ascii=False)[:500]
            return f"{what}: no. It refuses {sample}: {'; '.join(self.problems)}"
        return f"{what}: {'yes' if self.answer is Coverage.YES else 'not proven'}"


def compare_all(
    type: str,
    documents: Mapping[int, Document],
    version: int,
    mode: Compatibility = Compatibility.FULL_TRANSITIVE,
    resources: Mapping[str, Document] | None = None,
) -> list[Comparison]:
    """Make every comparison that a mode asks for.

    Args:
        type: of the messages.
        documents: the type's schemas by version, the new one among them.
        version: the new one; versions after it are left out.
        mode: which versions must be able to read which.
        resources: what the schemas may refer to.

    Raises:
        SchemaError: a schema is not valid.
    """
    older = [number for number in sorted(documents, reverse=True) if number < version]
    if not mode.endswith("transitive"):
        older = older[:1]
    return [compare(type, documents, reader, writer, resources) for reader, writer in _pairs(mode, older, version)]


def _pairs(mode: Compatibility, older: list[int], version: int) -> Iterator[tuple[int, int]]:
    for number in older if mode is not Compatibility.NONE else ():
        if not mode.startswith("forward"):
            yield version, number
        if not mode.startswith("backward"):
            yield number, version


def compare(
    type: str,
    documents: Mapping[int, Document],
    reader: int,
    writer: int,
    resources: Mapping[str, Document] | None = None,
) -> Comparison:
    """Decide whether one version reads what another one writes.

    The library's proof is experimental. So a NO counts only with a sample that shows it, and a YES only when none of
    many samples contradicts it.

    Args:
        type: of the messages.
        documents: schemas by version.
        reader, writer: the two.
        resources: what the schemas may refer to.

    Raises:
        SchemaError: a schema is not valid.
    """
    reading = compile_schema(
        SchemaKey(type, reader), documents[reader], f"{type} version {reader}", resources, derived=True
    )
    written = close(documents[writer])
    writing = [
        compile_schema(SchemaKey(type, writer), document, f"{type} version {writer}", resources, derived=True)
        for document in (documents[writer], written)
    ]
    same = documents[reader] == documents[writer]  # which the library cannot prove for schemas that contain themselves
    answer, rest = (Coverage.YES, None) if same else _prove(documents[reader], written, resources)
    for schema, limit in ((rest, MAX_SAMPLES), (written, MAX_SAMPLES)):
        for sample in Sampler(schema, documents[reader]).candidates(limit) if schema is not None else ():
            if not reading.validator.is_valid(sample) and all(side.validator.is_valid(sample) for side in writing):
                return Comparison(reader, writer, Coverage.NO, sample, problems_of(reading, sample))
    return Comparison(reader, writer, answer)


def _prove(
    reader: Document, writer: Document, resources: Mapping[str, Document] | None
) -> tuple[Coverage, Document | None]:
    """What can be proven, and the schema of what the writer sends and the reader refuses, if it can be written down."""
    try:
        left, right = _canonical(reader, resources), _canonical(writer, resources)
        if left.covers(right) == canonical.Containment.YES:
            return Coverage.YES, None
    except (canonical.CanonicalizationError, jsonschema_rs.ReferencingError, ValueError):
        return Coverage.UNKNOWN, None
    try:
        rest = right.subtract(left).to_json_schema()
    except (canonical.CanonicalizationError, ValueError):
        return Coverage.UNKNOWN, None
    return Coverage.UNKNOWN, rest if isinstance(rest, dict | bool) else None


def _canonical(document: Document, resources: Mapping[str, Document] | None) -> jsonschema_rs.CanonicalSchema:
    return jsonschema_rs.canonicalize(
        document,
        draft=jsonschema_rs.Draft202012,
        validate_formats=True,
        pattern_options=PATTERNS,
        retriever=refuse_to_fetch,
        registry=resource_registry(resources or {}, "what the schema refers to"),
    )
