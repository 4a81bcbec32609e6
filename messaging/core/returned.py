"""What a handler returns. It is dropped: an answer is sent with ``context.reply()``, and that is said once an agent.

Taking it for a reply would send what many a handler returns by accident, the result of its last call.
"""

from __future__ import annotations

import logging

from messaging.core.describing import cut_text, safe_repr

logger = logging.getLogger("nexus.agent")

_warned: set[str] = set()
MAX_WARNED = 10_000


def warn_of_returned(agent: str, value: object) -> None:
    """Say that what a handler returned reaches nobody; once for each agent of a process.

    Args:
        agent: whose handler.
        value: what it returned; None is no answer and needs no word.
    """
    if value is None or agent in _warned or len(_warned) >= MAX_WARNED:
        return
    _warned.add(agent)
    logger.warning(
        "The handler of %s returned %s, which is dropped. Answer with context.reply(value), or return nothing.",
        agent,
        cut_text(safe_repr(value), 200),
    )
