"""The name of a schema: what an envelope's ``dataschema`` holds. It names, it locates nothing: nothing is ever fetched.

>>> build_uri("order.placed", 3)
'urn:nexus:schema:order.placed:3'
>>> parse_uri("urn:nexus:schema:order.placed:3")
SchemaKey(type='order.placed', version=3)
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from messaging.core.errors import SchemaError
from messaging.core.names import TYPE_NAME_RULE, is_type_name

PREFIX = "urn:nexus:schema:"
MAX_VERSION = 999_999

_match_version = re.compile(r"[1-9][0-9]{0,5}").fullmatch


class SchemaKey(NamedTuple):
    """A type of message and the version of its schema, from 1."""

    type: str
    version: int

    def __str__(self) -> str:
        return f"{self.type} version {self.version}"


def build_uri(type: str, version: int) -> str:
    """Return the URI of a schema.

    Raises:
        SchemaError: no type can have that name, or no schema that version.
    """
    _check(type, str(version), f"type {type!r}, version {version!r}")
    return f"{PREFIX}{type}:{version}"


def parse_uri(uri: str) -> SchemaKey:
    """Read the URI of a schema.

    Raises:
        SchemaError: it is none of ours.
    """
    type, colon, version = uri.removeprefix(PREFIX).rpartition(":")
    if not uri.startswith(PREFIX) or not colon:
        raise SchemaError(f"{uri[:250]!r} names no schema. Expected {PREFIX}<type>:<version>.")
    return _check(type, version, repr(uri[:250]))


@lru_cache(maxsize=1_024)
def read_uri(uri: str) -> SchemaKey:
    """As ``parse_uri``, quick for the few URIs that all messages have.

    Raises:
        SchemaError: it is none of ours.
    """
    return parse_uri(uri)


@lru_cache(maxsize=1_024)
def uri_of(key: SchemaKey) -> str:
    """As ``build_uri``, quick for schemas that exist."""
    return build_uri(*key)


def parse_name(name: str) -> SchemaKey:
    """Read ``order.placed:3``, the short form that people write; without a version it is the first.

    Raises:
        SchemaError: it is no such name.
    """
    type, colon, version = name.rpartition(":")
    return _check(type, version, repr(name[:250])) if colon else _check(name, "1", repr(name[:250]))


def _check(type: str, version: str, whole: str) -> SchemaKey:
    if not is_type_name(type):
        raise SchemaError(f"{whole} names no schema: a type is {TYPE_NAME_RULE}.")
    if _match_version(version) is None:
        raise SchemaError(f"{whole} names no schema: a version is a number from 1 to {MAX_VERSION}.")
    return SchemaKey(type, int(version))
