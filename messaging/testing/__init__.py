"""Tools for tests, of this project and of those that use it. Nothing else in Nexus imports them.

The public names are in ``messaging.testing.tools``; import them from here: ``from messaging.testing import drain``.
They are looked up on first use: pytest loads its plugins, and benchmarks their servers, before Django is set up.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from messaging.testing.tools import *  # noqa: F403 - the types of what is looked up below
else:

    def __getattr__(name):
        if name.startswith("_") or find_spec(f"messaging.testing.{name}") is not None:
            raise AttributeError(name)  # a submodule: the import system loads it
        tools = import_module("messaging.testing.tools")
        if name in tools.__all__:
            return getattr(tools, name)
        raise AttributeError(f"module 'messaging.testing' has no attribute {name!r}")
