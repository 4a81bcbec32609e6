"""What a person does is written down in the transaction that does it: both, or neither."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import connections, models, transaction
from django.utils import timezone

from messaging.core.describing import storable
from messaging.models import Agent, AgentSetting, Entrance, OperatorAct

MAX_REASON = 2_000
"""Characters of a reason that are kept."""
_STATES = ("status", "state", "status_reason", "revoked_at")
"""Columns that say how an object stands, by whatever name its table has for it."""
_PROTECTION = """
CREATE OR REPLACE FUNCTION nexus_refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'Acts of operators are never changed or deleted.'; END $$;
CREATE OR REPLACE TRIGGER nexus_operator_act_added BEFORE UPDATE OR DELETE ON nexus_operator_act
FOR EACH ROW EXECUTE FUNCTION nexus_refuse_change();
"""


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, and the door by which the person came.

    Args:
        name: of the user.
        entrance: the door.
    """

    name: str
    entrance: Entrance

    def __str__(self) -> str:
        return f"{self.name} ({self.entrance.label})" if self.entrance is Entrance.SHELL else self.name


def record(
    actor: Actor,
    action: str,
    model: type[models.Model],
    key: object,
    *,
    reason: str = "",
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Write down what a person did, in the transaction that does it.

    Args:
        actor: the person.
        action: such as ``"replay"``, at most 40 characters.
        model, key: the object.
        reason: the person's; what is longer than ``MAX_REASON`` characters is cut.
        before, after: how the object stood and stands, as plain data.
    """
    OperatorAct.objects.create(
        at=timezone.now(),
        who=storable(actor.name)[:150],
        entrance=actor.entrance,
        action=action[:40],
        kind=str(model._meta.model_name)[:40],
        key=str(key)[:100],
        reason=storable(reason.strip())[:MAX_REASON],
        before=before,
        after=after,
    )


def standing_of(model: type[models.Model], key: object) -> dict[str, Any] | None:
    """How an object stands, as plain data; None where there is no such object (any more)."""
    if isinstance(key, str):
        key = storable(key)  # what no name can be is nobody's
    if model is Agent:
        setting = AgentSetting.objects.filter(agent=key).first()
        return {"paused": setting is not None and setting.paused}
    columns = [field.name for field in model._meta.concrete_fields if field.name in _STATES]
    found = model._default_manager.filter(pk=key).values(*columns, "pk").first()
    if found is None:
        return None
    return {name: found[name] if isinstance(found[name], str) else _plain(found[name]) for name in columns}


def _plain(value: object) -> str | None:
    return None if value is None else str(value)


def perform(
    actor: Actor, action: str, model: type[models.Model], key: object, do: Callable[[], str], *, reason: str = ""
) -> str:
    """Do something to one object, and write down who did it, from where, why, and what changed.

    Args:
        actor: the person.
        action: its name, such as ``"pause"``.
        model, key: the object.
        do: does it. Returns what to tell the person; where it returns words and the object stands as before, nothing
            was done, and nothing is written down.
        reason: the person's.

    Returns:
        What ``do`` returned.

    Raises:
        NexusError: as ``do`` raises it; nothing is changed, and nothing is written down.
    """
    with transaction.atomic():
        before = standing_of(model, key)
        told = do()
        after = standing_of(model, key)
        if not told or before != after:
            record(actor, action, model, key, reason=reason, before=before, after=after)
    return told


def protect_acts(using: str) -> None:
    """Have PostgreSQL refuse to change or delete acts, whoever asks."""
    if connections[using].vendor == "postgresql":
        with connections[using].cursor() as cursor:
            cursor.execute(_PROTECTION)
