"""Which names agents, groups and message types may have.

Agents and groups share one set of names, because a message's recipient may be either.
"""

from __future__ import annotations

import re

from messaging.core.errors import EnvelopeError

AGENT_NAME_RULE = "1 to 100 of a-z, 0-9, '.', '_' and '-', the first a letter or digit"
TYPE_NAME_RULE = "1 to 200 of A-Z, a-z, 0-9, '.', '_', '/' and '-', the first a letter or digit"

_match_agent_name = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}").fullmatch
_match_type_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}").fullmatch


def is_agent_name(name: str) -> bool:
    """Tell whether this can name an agent or a group."""
    return _match_agent_name(name) is not None


def is_type_name(name: str) -> bool:
    """Tell whether this can name a type of message."""
    return _match_type_name(name) is not None


def check_agent_name(name: object, attribute: str = "name") -> None:
    """Refuse what cannot name an agent or a group.

    Args:
        name: the name.
        attribute: what the error calls it, such as ``"source"``.

    Raises:
        EnvelopeError: the name breaks ``AGENT_NAME_RULE``.
    """
    if not isinstance(name, str) or not is_agent_name(name):
        raise EnvelopeError(attribute, f"expected {AGENT_NAME_RULE}, got {_shown(name)}")


def check_type_name(name: object, attribute: str = "type") -> None:
    """Refuse what cannot name a type of message.

    Args:
        name: the name.
        attribute: what the error calls it.

    Raises:
        EnvelopeError: the name breaks ``TYPE_NAME_RULE``.
    """
    if not isinstance(name, str) or not is_type_name(name):
        raise EnvelopeError(attribute, f"expected {TYPE_NAME_RULE}, got {_shown(name)}")


def _shown(name: object) -> str:
    return repr(name[:120]) if isinstance(name, str) else f"an object of type {type(name).__qualname__}"
