"""The schemas of this installation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from django.apps import apps

from messaging.core.errors import SchemaError
from messaging.core.registry import AgentSpec, registry
from messaging.models import MessageSchema
from messaging.security.schemas.registry import SchemaRegistry
from messaging.security.schemas.sources import BUILTIN, FOLDER, Found, from_agents, from_file, from_folders, from_rows


def schema_folders() -> list[Path]:
    """The folders that may hold schemas: our own, and ``nexus_schemas`` of each installed app."""
    return [BUILTIN, *(Path(app.path) / FOLDER for app in apps.get_app_configs())]


def stored_schemas() -> Iterator[Found]:
    """The schemas in the database.

    Raises:
        DatabaseError: the database cannot be read.
    """
    rows = MessageSchema.objects.order_by("type", "version")
    return from_rows(rows.values("type", "version", "document", "deprecated"))


def load_registry(specs: Iterable[AgentSpec] = registry, *, stored: bool = True) -> SchemaRegistry:
    """Everything that this installation has.

    Args:
        specs: agents whose models count; all that this process knows by default.
        stored: with the schemas in the database.

    Raises:
        SchemaError: a schema cannot be read, or a name is taken twice.
        DatabaseError: the database cannot be read.
    """
    loaded = SchemaRegistry(from_folders(schema_folders()))
    loaded.add(from_agents(specs))
    if stored:
        loaded.add(stored_schemas())
    return loaded


def load_all_possible(files: Iterable[Path] = ()) -> tuple[SchemaRegistry, list[SchemaError]]:
    """Like ``load_registry``, but go on after an error, so that all of them can be told at once.

    Args:
        files: further files.

    Raises:
        DatabaseError: the database cannot be read.
    """
    loaded, errors = SchemaRegistry(), []
    found = [file for folder in schema_folders() for file in sorted(folder.glob("*.json"))]
    sources = [from_file(file) for file in [*found, *files]]
    for source in [*sources, *(from_agents([spec]) for spec in registry), stored_schemas()]:
        try:
            loaded.add(source)
        except SchemaError as error:
            errors.append(error)
    return loaded, errors
