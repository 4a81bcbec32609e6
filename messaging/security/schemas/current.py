"""The schemas that this process checks messages by: read when they are first needed, and anew when they changed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from django.db.models import Count, Max, Q

from messaging.conf import get_settings
from messaging.core.errors import SchemaError
from messaging.core.registry import AgentSpec, registry
from messaging.models import MessageSchema
from messaging.security.schemas.loading import load_registry
from messaging.security.schemas.registry import SchemaRegistry
from messaging.security.schemas.validation import SchemaChecker, UnknownTypes

logger = logging.getLogger("nexus.schemas")

LOOK_EVERY = 5.0
"""Seconds after which the database is asked again whether somebody registered a schema."""
LOOK_AGAIN = 1.0
"""… at the soonest, when a message names a version that is not known here."""


class CurrentSchemas:
    """The schemas of files, of agents and of the database, as they are now.

    Args:
        specs: the agents whose models count.
        models: changes whenever their models do.
        stored: with the schemas in the database.
    """

    def __init__(self, specs: Callable[[], Iterable[AgentSpec]], models: Callable[[], object], *, stored: bool) -> None:
        self._specs = specs
        self._models = models
        self._stored = stored
        self._lock = threading.Lock()
        self._checker: SchemaChecker | None = None
        self._seen: tuple[object, ...] = ()
        self._rows: object = None
        self._looked = 0.0

    def checker(self, *, look_again: bool = False) -> SchemaChecker:
        """What checks by them.

        Args:
            look_again: ask the database, unless that was done just now.

        Raises:
            SchemaError: they cannot be read, and never were. Otherwise the ones from before stay.
            django.db.Error: the database failed.
        """
        patience = LOOK_AGAIN if look_again else LOOK_EVERY
        if self._stored and (self._rows is None or monotonic() - self._looked > patience):
            self._rows = _stamp()
            self._looked = monotonic()
        wanted = (self._rows, self._models(), get_settings().unknown_types)
        checker = self._checker
        if checker is not None and self._seen == wanted:
            return checker
        with self._lock:
            return self._read(wanted)

    def forget_stored(self) -> None:
        """Ask the database with the next call, whenever it was asked."""
        self._rows = None

    def _read(self, wanted: tuple[object, ...]) -> SchemaChecker:
        if self._checker is not None and self._seen == wanted:
            return self._checker
        try:
            loaded: SchemaRegistry = load_registry(self._specs(), stored=self._stored)
        except SchemaError as error:
            if self._checker is None:
                raise
            logger.error("Schemas changed and cannot be read; those from before stay: %s", error)
            self._seen = wanted
            return self._checker
        self._checker, self._seen = SchemaChecker(loaded, UnknownTypes(get_settings().unknown_types)), wanted
        return self._checker


def _stamp() -> tuple[Any, ...]:
    """What changes with every registration, deprecation or removal."""
    found = MessageSchema.objects.aggregate(
        newest=Max("pk"), number=Count("pk"), deprecated=Count("pk", filter=Q(deprecated=True))
    )
    return tuple(found.values())


installed_schemas = CurrentSchemas(lambda: registry, lambda: registry.models_changed, stored=True)
"""Those of the installation, for everything that goes through the log."""

schemas_without_database = CurrentSchemas(lambda: registry, lambda: registry.models_changed, stored=False)
"""The same, of files and agents alone, for what opens no connection."""
