"""Who runs a command, for what is kept of it."""

from __future__ import annotations

import getpass

from messaging.models import Entrance
from messaging.operators.acts import Actor


def shell_actor() -> Actor:
    """The user of the operating system."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        name = "manage.py"
    return Actor(name, Entrance.SHELL)
