"""Asking after workflows in queries of rows that may outlive them."""

from __future__ import annotations

from typing import Any

from django.db.models import Model, OuterRef, Q, QuerySet, Subquery

PARKED = "parked"
STOPPED = ("paused", PARKED)
CLOSED = ("completed", "cancelled", "expired")


def of_workflow(rows: type[Model], field: str) -> Subquery:
    """A field of each row's workflow; None where the workflow was removed from the log.

    A join would leave such rows out: the foreign key is never empty, so Django takes an inner one.

    Args:
        rows: a model with a foreign key ``workflow``.
        field: of the workflow.
    """
    workflows = rows._meta.get_field("workflow").related_model
    if workflows is None:
        raise TypeError(f"{rows.__name__}.workflow is no foreign key.")
    return Subquery(workflows._default_manager.filter(pk=OuterRef("workflow_id")).values(field)[:1])


def whose_workflow_ended(rows: QuerySet[Any]) -> QuerySet[Any]:
    """Those rows whose workflow is over or gone; ``workflow_status`` tells which. An ended one never opens again."""
    known = rows.annotate(workflow_status=of_workflow(rows.model, "status"))
    ended: QuerySet[Any] = known.filter(Q(workflow_status__isnull=True) | Q(workflow_status__in=CLOSED))
    return ended
