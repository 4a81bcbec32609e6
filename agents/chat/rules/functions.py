"""Functions that a team's definition refers to by name.

A definition may come from a file or a database row, so it cannot hold code, and must not be able to import any. Code
that it may use is registered here, by the module that also registers the agents.

>>> @chat_function("quorum")
... def quorum(view: object) -> bool:
...     return True
>>> get_function("quorum") is quorum
True
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, TypeVar

from messaging.api import ConfigurationError

Function = TypeVar("Function", bound=Callable[..., Any])

_functions: dict[str, Callable[..., Any]] = {}


def chat_function(name: str) -> Callable[[Function], Function]:
    """Register a function for ``Functional`` conditions and ``ByFunction`` selectors.

    Args:
        name: how definitions call it.

    Raises:
        ConfigurationError: another function has the name.
    """

    def register(function: Function) -> Function:
        present = _functions.setdefault(name, function)
        if (present.__module__, present.__qualname__) != (function.__module__, function.__qualname__):
            raise ConfigurationError(f"Chat function {name!r} is registered twice: {present!r} and {function!r}.")
        _functions[name] = function
        return function

    return register


def get_function(name: str) -> Callable[..., Any]:
    """Return a registered function.

    Raises:
        ConfigurationError: none has that name.
    """
    try:
        return _functions[name]
    except KeyError:
        near = difflib.get_close_matches(name, _functions, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ConfigurationError(
            f"No chat function is named {name!r}{hint} "
            f"Register it with @chat_function({name!r}) in a module of NEXUS_AGENTS."
        ) from None
