"""Where schemas come from: files of apps, agents' models, the database. A source yields what it has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from messaging.core.errors import EnvelopeError, SchemaError
from messaging.core.registry import AgentSpec
from messaging.core.strict_json import loads
from messaging.security.schemas.typed import schema_of
from messaging.security.schemas.uri import PREFIX, SchemaKey, parse_name, parse_uri

FOLDER = "nexus_schemas"
"""The folder in an app that holds its schemas, one a file."""

BUILTIN = Path(__file__).parent / "builtin"
"""What the messaging itself sends."""

MAX_FILES = 10_000
MAX_FILE_BYTES = 1_048_576


@dataclass(frozen=True, slots=True)
class Found:
    """A schema as a source has it.

    Args:
        key: type and version.
        document: what is said to be the schema.
        origin: where it stands, for errors.
        model: the class that it was derived from, or None.
    """

    key: SchemaKey
    document: Any
    origin: str
    model: Any = None


def from_folders(folders: Iterable[Path]) -> Iterator[Found]:
    """The schemas in the ``*.json`` files of folders; a folder that does not exist has none.

    Raises:
        SchemaError: a file cannot be read as a schema; names the file, and the line where there is one.
    """
    for folder in folders:
        files = sorted(folder.glob("*.json"))
        if len(files) > MAX_FILES:
            raise SchemaError(f"{folder}: holds {len(files)} files, and at most {MAX_FILES} are read.")
        for file in files:
            yield read_file(file)


def from_file(file: Path) -> Iterator[Found]:
    """The schema in one file. Raises as ``from_folders`` does, when it is read."""
    yield read_file(file)


def read_file(file: Path) -> Found:
    """Read one file. Its ``$id`` says which type and version it is; its name says nothing.

    Raises:
        SchemaError: names the file, the line or JSON pointer, and the fix.
    """
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SchemaError(f"{file}: cannot be read: {error.strerror}.") from None
    if len(text) > MAX_FILE_BYTES:
        raise SchemaError(f"{file}: has more than {MAX_FILE_BYTES} bytes. Split the schema.")
    document = _parse(text, file)
    if not isinstance(document, dict) or not isinstance(document.get("$id"), str):
        raise SchemaError(f'{file}: /$id is missing. Begin the schema with "$id": "{PREFIX}<type>:<version>".')
    try:
        return Found(parse_uri(document["$id"]), document, str(file))
    except SchemaError as error:
        raise SchemaError(f"{file}: /$id: {error}") from None


def _parse(text: bytes, file: Path) -> Any:
    try:
        json.loads(text)  # for the line and column of a typing error
        return loads(text)  # for what json takes and JSON does not have
    except json.JSONDecodeError as error:
        raise SchemaError(
            f"{file}:{error.lineno}:{error.colno}: is not JSON: {error.msg}. Correct that line."
        ) from None
    except UnicodeDecodeError as error:
        raise SchemaError(f"{file}: is not UTF-8 at byte {error.start}. Save it as UTF-8.") from None
    except RecursionError:
        raise SchemaError(f"{file}: is nested too deeply. Use $defs and $ref.") from None
    except EnvelopeError as error:
        raise SchemaError(f"{file}: {error}.") from None


def from_agents(specs: Iterable[AgentSpec]) -> Iterator[Found]:
    """The schemas of the models that agents accept.

    Raises:
        SchemaError: no schema can be derived from a model.
    """
    for spec in specs:
        for name, model in spec.models.items():
            origin = f"agent {spec.name!r} accepts[{name!r}]"
            try:
                key = parse_name(name)
            except SchemaError as error:
                raise SchemaError(f"{origin}: {error}") from None
            yield Found(key, schema_of(model, origin), origin, model)


def from_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[Found]:
    """The schemas of rows of ``MessageSchema``, as ``values("type", "version", "document", "deprecated")`` has them.

    Raises:
        SchemaError: a row has no possible name.
    """
    for row in rows:
        key = parse_name(f"{row['type']}:{row['version']}")
        document = row["document"]
        if row["deprecated"] and isinstance(document, dict):
            document = {**document, "deprecated": True}
        yield Found(key, document, f"database, {key}")
