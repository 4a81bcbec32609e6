"""Skipping or failing when a server that a test needs is not installed."""

from __future__ import annotations

import os

import pytest

from messaging.testing.servers.nodes import Node


def services_required() -> bool:
    """Whether a missing server is a failure: in CI, and with REQUIRE_SERVICES=1."""
    return any(os.environ.get(name, "").lower() in {"1", "true", "yes"} for name in ("CI", "REQUIRE_SERVICES"))


def require(node: type[Node]) -> None:
    """Skip the calling test when this server cannot run here; fail it where servers are required.

    Args:
        node: such as `RabbitMQNode`.
    """
    reason = node.missing()
    if reason is None:
        return
    if services_required():
        pytest.fail(f"{reason}; it is required because CI or REQUIRE_SERVICES is set", pytrace=False)
    pytest.skip(reason)
