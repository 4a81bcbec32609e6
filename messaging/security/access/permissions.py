"""The groups of people who look at, operate and protect an installation."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.db import transaction

from messaging.models import GivenPermission

VIEWERS = "Nexus viewers"
OPERATORS = "Nexus operators"
SECURITY_OFFICERS = "Nexus security officers"
GROUPS = (VIEWERS, OPERATORS, SECURITY_OFFICERS)


@dataclass(frozen=True, slots=True)
class AppPermissions:
    """What the groups may do in one app, besides viewing all of it.

    Args:
        app: its label.
        operating: code names of what operators may do.
        protecting: code names of what security officers may do.
    """

    app: str
    operating: frozenset[str] = field(default_factory=frozenset)
    protecting: frozenset[str] = field(default_factory=frozenset)


def _every_change_of(*models: str) -> frozenset[str]:
    return frozenset(f"{verb}_{model}" for model in models for verb in ("add", "change", "delete"))


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
    | _every_change_of("agentgroup", "groupmember"),
    protecting=frozenset({"add_ruleset", "change_verdict", "add_foreignsender", "change_foreignsender"})
    | _every_change_of(
        "accessrole", "accessrolemember", "accessteam", "accessteammember", "accessgrant", "accessepoch"
    ),
)


def create_groups(permissions: AppPermissions = OF_NEXUS, *, restore: bool = False) -> None:
    """Create the groups, and give them what they were never given before.

    Viewers see everything. Operators also start, pause, resume and cancel workflows, pause agents, resolve dead letters
    and edit groups of agents. Security officers also change keys, rules and the access policy. Nobody changes the audit.
    What somebody gave a group besides stays; what somebody took from it, or a group that somebody deleted, stays gone.

    Args:
        permissions: of the app.
        restore: give everything again, and create groups that somebody deleted.
    """
    create_permissions(apps.get_app_config(permissions.app), verbosity=0)
    known = list(Permission.objects.filter(content_type__app_label=permissions.app).select_related("content_type"))
    viewing = [one for one in known if one.codename.startswith("view_")]
    for group, more in (
        (VIEWERS, frozenset[str]()),
        (OPERATORS, permissions.operating),
        (SECURITY_OFFICERS, permissions.protecting),
    ):
        _give(group, [*viewing, *_named(known, more)], restore=restore)


def _named(known: Iterable[Permission], codenames: Collection[str]) -> list[Permission]:
    return [one for one in known if one.codename in codenames]


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
