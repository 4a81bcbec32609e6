"""Links by which strangers watch a workflow, and users who may see one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core import signing
from django.db import transaction
from django.utils import timezone

from messaging.extension import get_settings
from messaging.operating import Actor, Entrance, Workflow, record
from nexus_api.problems import ApiProblem
from nexus_live.models import ShareLink, WorkflowViewer

_SALT = "nexus-live-link"
MAX_LINKS = 20
"""Links to one workflow that hold at once."""
MAX_TOKEN = 200
REMOVED_AT_ONCE = 1_000


class SharingRefused(ApiProblem):
    """A workflow was not shared.

    Args:
        detail: why, and what to do.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(422, "sharing-refused", detail)


def make_link(workflow_id: UUID, user: Any, life: float) -> tuple[ShareLink, str]:
    """Make a link by which whoever has it watches a workflow.

    Args:
        workflow_id: that it shows.
        user: who makes it; the link ends when that user no longer sees the workflow.
        life: seconds for which it holds.

    Returns:
        The link, and the text that stands in its address.

    Raises:
        SharingRefused: it would hold too long, or there are too many.
    """
    most = get_settings().live_link_life
    if not 0 < life <= most:
        raise SharingRefused(f"A link holds for at most {most / 3600:g} hours.")
    now = timezone.now()
    if ShareLink.objects.filter(workflow_id=workflow_id, revoked_at=None, expires_at__gt=now).count() >= MAX_LINKS:
        raise SharingRefused(f"{MAX_LINKS} links to this workflow hold already. Withdraw one first.")
    with transaction.atomic():
        link = ShareLink.objects.create(
            workflow_id=workflow_id, created_by=user, expires_at=now + timedelta(seconds=life)
        )
        note_act(user, "share", workflow_id, f"link {link.pk} until {link.expires_at:%Y-%m-%d %H:%M} UTC")
    return link, signing.Signer(salt=_SALT).sign(link.pk.hex)


def read_link(token: str) -> ShareLink | None:
    """The link of an address; None where it is none of ours, or holds no longer."""
    if len(token) > MAX_TOKEN:
        return None
    try:
        key = UUID(hex=signing.Signer(salt=_SALT).unsign(token))
    except (signing.BadSignature, ValueError):
        return None
    link = ShareLink.objects.filter(pk=key).first()
    return link if link is not None and holds(link) else None


def holds(link: ShareLink) -> bool:
    """Whether a link is neither expired nor withdrawn."""
    return link.revoked_at is None and link.expires_at > timezone.now()


def withdraw_link(link: ShareLink, user: Any) -> None:
    """End a link; its viewers see nothing new after the next heartbeat of their stream."""
    with transaction.atomic():
        if ShareLink.objects.filter(pk=link.pk, revoked_at=None).update(revoked_at=timezone.now()):
            note_act(user, "unshare", link.workflow_id, f"link {link.pk}")


def invite(workflow_id: UUID, user: Any, by: Any) -> None:
    """Let a user see a workflow."""
    with transaction.atomic():
        _, created = WorkflowViewer.objects.get_or_create(
            workflow_id=workflow_id, user=user, defaults={"granted_by": by.get_username()}
        )
        if created:
            note_act(by, "invite", workflow_id, user.get_username())


def uninvite(workflow_id: UUID, user: Any, by: Any) -> None:
    """Let a user see a workflow no longer, unless the user sees all of them."""
    with transaction.atomic():
        if WorkflowViewer.objects.filter(workflow_id=workflow_id, user=user).delete()[0]:
            note_act(by, "uninvite", workflow_id, user.get_username())


def note_act(user: Any, action: str, workflow_id: UUID, what: str = "") -> None:
    """Write down what a person did on a live page, in the transaction that does it."""
    record(Actor(user.get_username(), Entrance.LIVE), action, Workflow, workflow_id, reason=what)


def forget_expired() -> int:
    """Remove links a day after they expired; the relay calls this. Return how many."""
    old = ShareLink.objects.filter(expires_at__lt=timezone.now() - timedelta(days=1))
    return ShareLink.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:REMOVED_AT_ONCE])).delete()[0]
