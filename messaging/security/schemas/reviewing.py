"""Looking at all schemas of an installation: are they valid, and does each version keep the ones before it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from messaging.core.errors import IncompatibleSchema, SchemaError
from messaging.models import Compatibility
from messaging.security.schemas.compatibility import Comparison, compare_all
from messaging.security.schemas.registering import refuse_breaking
from messaging.security.schemas.registry import SchemaRegistry

MODE = "x-nexus-compatibility"
"""In a schema's file: by which mode this version is compared with the ones before."""

OVERRIDE = "x-nexus-unproven"
"""In a schema's file: why this version is accepted although it is not proven compatible, and who says so."""


@dataclass(frozen=True, slots=True)
class Review:
    """What was found about one version.

    Args:
        type, version: which.
        origin: where it stands.
        error: what is wrong with it, or "".
        comparisons: with the versions before it.
    """

    type: str
    version: int
    origin: str
    error: str
    comparisons: tuple[Comparison, ...] = ()


def review(registry: SchemaRegistry) -> list[Review]:
    """Review every schema; the errors name where it stands."""
    return [_review(registry, item.key.type, item.key.version, item.origin) for item in registry]


def _review(registry: SchemaRegistry, type: str, version: int, origin: str) -> Review:
    comparisons: list[Comparison] = []
    try:
        registry.require(type, version)
        document = registry.documents(type)[version]
        mode, reason = choices_of(document, origin)
        comparisons = compare_all(type, registry.documents(type), version, mode, registry.all_resources(type))
        refuse_breaking(comparisons, reason)
    except IncompatibleSchema as error:
        return Review(type, version, origin, f"{origin}: {error}", tuple(comparisons))
    except SchemaError as error:
        text = str(error)
        return Review(type, version, origin, text if text.startswith(origin) else f"{origin}: {text}")
    return Review(type, version, origin, "", tuple(comparisons))


def choices_of(document: Any, origin: str) -> tuple[Compatibility, str]:
    """How a version wants to be compared, and why it is accepted unproven ("" for not at all).

    Raises:
        SchemaError: a choice is none.
    """
    written = document if isinstance(document, dict) else {}
    mode, reason = written.get(MODE, Compatibility.FULL_TRANSITIVE.value), written.get(OVERRIDE, "")
    if mode not in Compatibility.values:
        raise SchemaError(f"{origin}: /{MODE} is {str(mode)[:60]!r}. Choose one of {', '.join(Compatibility.values)}.")
    if not isinstance(reason, str):
        raise SchemaError(f"{origin}: /{OVERRIDE} is no text. Write who says why this version is safe.")
    return Compatibility(mode), reason.strip()
