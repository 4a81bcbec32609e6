"""Checks of the names that agents and groups share."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Warning
from django.db import Error as DatabaseError

from messaging.directory.names import eclipsed_groups


def check_names(**_: Any) -> list[CheckMessage]:
    """W007: a group has the name of an agent that came later.

    A warning, not an error: the worker has to start, or one name would stop all the other agents that it has.
    """
    try:
        groups = eclipsed_groups()
    except DatabaseError:
        return []  # the checks of the database say so
    return [
        Warning(
            f"An agent and a group are both named {group!r}. The agent gets every message, the group's members none.",
            hint="Delete the group in the admin and make it again under another name, or rename the agent.",
            id="nexus.W007",
        )
        for group in groups
    ]
