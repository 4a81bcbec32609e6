"""Which of an app's permissions the groups of people get."""

from __future__ import annotations

from dataclasses import dataclass, field

_apps: dict[str, AppPermissions] = {}


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


def add_permissions(permissions: AppPermissions) -> None:
    """Have the groups get permissions of one more app. Call it in an ``AppConfig.ready``; a later call replaces an
    earlier one for the same app.
    """
    _apps[permissions.app] = permissions


def added_permissions() -> list[AppPermissions]:
    """Of every app."""
    return list(_apps.values())


def every_change_of(*models: str) -> frozenset[str]:
    """Code names of adding, changing and deleting rows of models."""
    return frozenset(f"{verb}_{model}" for model in models for verb in ("add", "change", "delete"))
