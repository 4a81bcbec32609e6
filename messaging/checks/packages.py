"""Check of what Python finds under the names of our packages. Both are common words."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import packages_distributions
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error

DISTRIBUTION = "nexus-reliable-messaging"
"""As in both packages' ``__init__``, which nothing inside may import."""


def agents_are_ours() -> bool:
    """Whether the app ``agents``, if this project has one, is that of Nexus."""
    return not apps.is_installed("agents") or getattr(import_module("agents"), "DISTRIBUTION", "") == DISTRIBUTION


def check_agents_package(**_: Any) -> list[CheckMessage]:
    """E019: ``agents`` is the package of Nexus, not, say, that of the OpenAI Agents SDK."""
    if agents_are_ours():
        return []
    found = getattr(import_module("agents"), "__file__", None) or "a folder without __init__.py"
    owners = [name for name in packages_distributions().get("agents", ()) if name != DISTRIBUTION]
    owner = f", of the package {' and '.join(sorted(set(owners)))}" if owners else ""
    return [
        Error(
            f"Another package called 'agents' comes before that of Nexus: {found}{owner}.",
            hint=(
                "Uninstall or rename it, then reinstall nexus-reliable-messaging. Or take 'agents' out of "
                "INSTALLED_APPS: messaging works without it."
            ),
            id="nexus.E019",
        )
    ]
