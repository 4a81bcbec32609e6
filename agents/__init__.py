"""Agents, teams and group chats that stand on Nexus messaging.

The public names are in ``agents.api``; they can be imported from here as well. They are looked up on first use, because
Django's models cannot be imported before Django is set up.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

DISTRIBUTION = "nexus-reliable-messaging"
"""What to install to get this package, which tells it from others of its name."""

if TYPE_CHECKING:
    from agents.api import *  # noqa: F403 - the types of what is looked up below
else:

    def __getattr__(name):
        private = name.startswith("_") and name != "__all__"  # import * asks for that one
        if private or find_spec(f"agents.{name}") is not None:
            raise AttributeError(name)  # a submodule: the import system loads it
        api = import_module("agents.api")
        if name == "__all__":
            return api.__all__
        if name in api.__all__:
            return getattr(api, name)
        raise AttributeError(f"module 'agents' has no attribute {name!r}")

    def __dir__():
        # Python looks here for "did you mean". Nothing is loaded for it: Django may not be set up yet.
        api = sys.modules.get("agents.api")
        return sorted({*globals(), *(api.__all__ if api is not None else ())})
