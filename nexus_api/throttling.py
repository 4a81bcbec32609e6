"""So many requests a minute of each caller, counted in Django's cache: together where it is shared."""

from __future__ import annotations

import time

from django.core.cache import cache

from nexus_api.problems import ApiProblem

WINDOW = 60
"""Seconds."""


def count_request(identity: str, rate: int) -> None:
    """Count a request.

    Args:
        identity: of the caller.
        rate: most requests in a minute of the clock.

    Raises:
        ApiProblem: it is one too many, or nobody can count: what cannot be bounded is not let in.
    """
    now = time.time()
    window = int(now // WINDOW)
    key = f"nexus-api-rate:{identity}:{window}"
    try:
        cache.add(key, 0, timeout=2 * WINDOW)
        count = cache.incr(key)
    except ValueError:  # it was thrown out between the two
        count = 1
    except Exception as error:  # each cache has errors of its own
        raise ApiProblem(503, "cache-unavailable", "Requests cannot be counted: the cache fails. Try again.") from error
    if count > rate:
        raise ApiProblem(
            429,
            "too-many-requests",
            f"More than {rate} requests a minute. Wait for the next minute.",
            retry_after=(window + 1) * WINDOW - now,
        )
