"""How often an agent's deliveries are tried, and after how long."""

from __future__ import annotations

from messaging.conf import get_settings
from messaging.core.backoff import RetryPolicy
from messaging.directory.external import find_spec


def retry_policy(agent: str) -> RetryPolicy:
    """The agent's own retry policy, or the settings'."""
    spec = find_spec(agent)
    if spec is not None and spec.retry is not None:
        return spec.retry
    settings = get_settings()
    return RetryPolicy(max_attempts=settings.max_attempts, base=settings.retry_base, cap=settings.retry_cap)
