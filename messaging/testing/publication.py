"""Letting a test reach the broker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from messaging.transport.background import background_publisher
from messaging.transport.muting import choose


@contextmanager
def publishing(allowed: bool = True) -> Iterator[None]:
    """Publish what is sent and committed during the block, as outside tests; with False nothing is.

    Only committed messages are published, so a test that wants them needs a ``TransactionTestCase`` or pytest-django's
    ``transactional_db``. At the end the publisher's thread closes its connections, so that the test database can be
    dropped.
    """
    before = choose(allowed)
    try:
        yield
    finally:
        choose(before)
        if allowed:
            background_publisher().close()
