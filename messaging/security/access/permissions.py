"""The groups of people who look at, operate and protect an installation."""

from __future__ import annotations

from collections.abc import Iterable

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission

VIEWERS = "Nexus viewers"
OPERATORS = "Nexus operators"
SECURITY_OFFICERS = "Nexus security officers"

_OPERATING = frozenset(
    {
        "add_workflow",
        "change_workflow",
        "add_message",
        "change_deadletter",
        "add_agentgroup",
        "change_agentgroup",
        "delete_agentgroup",
        "add_groupmember",
        "change_groupmember",
        "delete_groupmember",
    }
)
_PROTECTED = (
    "accessrole",
    "accessrolemember",
    "accessteam",
    "accessteammember",
    "accessgrant",
    "accessepoch",
)


def create_groups() -> None:
    """Create the groups, and give them what they lack; what somebody gave them besides stays.

    Viewers see everything. Operators also start, pause, resume and cancel workflows, resolve dead letters and edit
    groups of agents. Security officers also change the access policy. Nobody changes the audit.
    """
    create_permissions(apps.get_app_config("nexus"), verbosity=0)
    permissions = Permission.objects.filter(content_type__app_label="nexus")
    viewing = [one for one in permissions if one.codename.startswith("view_")]
    protecting = {f"{verb}_{model}" for model in _PROTECTED for verb in ("add", "change", "delete")}
    _give(VIEWERS, viewing)
    _give(OPERATORS, [*viewing, *(one for one in permissions if one.codename in _OPERATING)])
    _give(SECURITY_OFFICERS, [*viewing, *(one for one in permissions if one.codename in protecting)])


def _give(name: str, permissions: Iterable[Permission]) -> None:
    Group.objects.get_or_create(name=name)[0].permissions.add(*permissions)
