"""Work that applications have the relay do now and then, such as waking chats whose deadline passed.

An action may run twice, and in two relays at once for a moment: it must be safe to repeat, and short.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import Error as DatabaseError

logger = logging.getLogger("nexus.relay")

Action = Callable[[], int]
"""Does a bounded amount of work and returns how many things it did."""

_actions: dict[str, tuple[float, Action]] = {}


def run_periodically(name: str, seconds: float, action: Action) -> None:
    """Have every relay that starts from now on call an action. Call it in an ``AppConfig.ready``.

    Args:
        name: for the log; registering it again replaces the action.
        seconds: between two calls at least.
        action: see ``Action``; what it raises is logged, and it is called again later.
    """

    def guarded() -> int:
        try:
            return action()
        except DatabaseError:
            raise
        except Exception:  # a defect of an application must not keep the relay from its own work
            logger.exception("%s failed, trying again later.", name)
            return 0

    _actions[name] = (seconds, guarded)


def periodic_actions() -> dict[str, tuple[float, Action]]:
    """Name → (seconds, action)."""
    return dict(_actions)
