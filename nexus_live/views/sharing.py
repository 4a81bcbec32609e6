"""Sharing: links for strangers, and users who see one workflow."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.urls import reverse

from nexus_live.access import Visitor, find_workflow
from nexus_live.entrance import act
from nexus_live.models import ShareLink
from nexus_live.sharing import SharingRefused, invite, make_link, uninvite, withdraw_link

HOUR = 3_600.0


def _sharer(request: HttpRequest, workflow_id: UUID, *, inviting: bool) -> None:
    visitor = Visitor(user=request.user)
    find_workflow(visitor, workflow_id)
    if not (visitor.may_invite if inviting else visitor.may_share):
        wanted = "add_workflowviewer" if inviting else "add_sharelink"
        raise PermissionDenied(f"You may not share this workflow: nexus_live.{wanted} is missing.")


@act
def add_link(request: HttpRequest, workflow_id: UUID) -> str:
    """Make a link; its address is told once."""
    _sharer(request, workflow_id, inviting=False)
    hours = request.POST.get("hours", "")
    if not (hours.isascii() and hours.isdigit() and len(hours) <= 5):
        raise SharingRefused("Hours: expected a number.")
    link, token = make_link(workflow_id, request.user, int(hours) * HOUR)
    address = request.build_absolute_uri(reverse("nexus_live:shared", kwargs={"token": token}))
    return f"Whoever has this address may watch until {link.expires_at:%Y-%m-%d %H:%M} UTC: {address}"


@act
def remove_link(request: HttpRequest, workflow_id: UUID, link_id: UUID) -> str:
    """Withdraw a link."""
    _sharer(request, workflow_id, inviting=False)
    withdraw_link(get_object_or_404(ShareLink, pk=link_id, workflow_id=workflow_id), request.user)
    return "The link is withdrawn."


@act
def add_viewer(request: HttpRequest, workflow_id: UUID) -> str:
    """Let a user see this workflow."""
    _sharer(request, workflow_id, inviting=True)
    name = request.POST.get("user", "")[:150]
    user = get_user_model()._default_manager.filter(username=name, is_active=True).first()
    if user is None:
        raise SharingRefused(f"There is no user {name!r}.")
    invite(workflow_id, user, request.user)
    return f"{name} may see this workflow."


@act
def remove_viewer(request: HttpRequest, workflow_id: UUID, user_id: int) -> str:
    """Let a user see it no longer."""
    _sharer(request, workflow_id, inviting=True)
    uninvite(workflow_id, get_object_or_404(get_user_model(), pk=user_id), request.user)
    return "Done."
