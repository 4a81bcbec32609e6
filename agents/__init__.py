"""Agents, teams and group chats that stand on Nexus messaging.

The public names are in ``agents.api``; they can be imported from here as well. They are looked up on first use, because
Django's models cannot be imported before Django is set up.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

DISTRIBUTION = "nexus-reliable-messaging"
"""What to install to get this package, which tells it from others of its name."""

if TYPE_CHECKING:
    from agents.api import *  # noqa: F403 - the types of what is looked up below


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name == "api":
        raise AttributeError(name)
    api = import_module("agents.api")
    if name in api.__all__:
        return getattr(api, name)
    raise AttributeError(f"module 'agents' has no attribute {name!r}")
