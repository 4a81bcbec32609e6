"""The groups of people who look at, operate and protect an installation."""

from __future__ import annotations

from collections.abc import Iterable

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.db import transaction

from messaging.models import GivenPermission
from messaging.security.access.app_permissions import AppPermissions, added_permissions, every_change_of

VIEWERS = "Nexus viewers"
OPERATORS = "Nexus operators"
SECURITY_OFFICERS = "Nexus security officers"
GROUPS = (VIEWERS, OPERATORS, SECURITY_OFFICERS)


OF_NEXUS = AppPermissions(
    "nexus",
    operating=frozenset(
        {
            "add_workflow",
            "change_workflow",
            "add_message",
            "change_agent",
            "change_deadletter",
            "edit_deadletter",
            "change_sagarun",
            "change_twophaserun",
            "change_verdict",
        }
    )
    | every_change_of("agentgroup", "groupmember"),
    protecting=frozenset({"add_ruleset", "change_verdict", "add_foreignsender", "change_foreignsender"})
    | every_change_of("accessrole", "accessrolemember", "accessteam", "accessteammember", "accessgrant", "accessepoch"),
)


def create_groups(*, restore: bool = False) -> None:
    """Create the groups, and give them what they were never given before.

    Viewers see everything. Operators also start, pause, resume and cancel workflows, pause agents, resolve dead
    letters, answer approvals and edit groups of agents. Security officers also change keys, rules and the access
    policy. Nobody changes the audit. What somebody gave a group besides stays; what somebody took from it, or a group
    that somebody deleted, stays gone.

    Args:
        restore: give everything again, and create groups that somebody deleted.
    """
    giving: dict[str, list[Permission]] = {name: [] for name in GROUPS}
    for app in (OF_NEXUS, *added_permissions()):
        create_permissions(apps.get_app_config(app.app), verbosity=0)
        for one in Permission.objects.filter(content_type__app_label=app.app).select_related("content_type"):
            viewing = one.codename.startswith("view_")
            for group, more in zip(GROUPS, (frozenset[str](), app.operating, app.protecting), strict=True):
                if viewing or one.codename in more:
                    giving[group].append(one)
    for group, permissions in giving.items():
        _give(group, permissions, restore=restore)


def _give(name: str, permissions: Iterable[Permission], *, restore: bool) -> None:
    with transaction.atomic():
        given = set(GivenPermission.objects.filter(group=name).values_list("permission", flat=True))
        new = {label: one for one in permissions if (label := _label(one)) not in given or restore}
        if not new:
            return
        group = Group.objects.filter(name=name).first()
        if group is None:
            if given and not restore:
                return
            group = Group.objects.create(name=name)
        group.permissions.add(*new.values())
        GivenPermission.objects.bulk_create(
            [GivenPermission(group=name, permission=label) for label in new], ignore_conflicts=True
        )


def _label(permission: Permission) -> str:
    return f"{permission.content_type.app_label}.{permission.codename}"
