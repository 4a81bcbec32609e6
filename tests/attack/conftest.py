"""Fixtures of the attacks."""

from __future__ import annotations

from tests.integration.conftest import lab

__all__ = ["lab"]
