"""Nexus messaging: agents talk over messages that are never lost, never handled twice, and always in order.

The public names are in ``messaging.api``; they can be imported from here as well. They are looked up on first use,
because Django's models cannot be imported before Django is set up.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    api = import_module("messaging.api")
    if name in api.__all__:
        return getattr(api, name)
    raise AttributeError(f"module 'messaging' has no attribute {name!r}")
