"""Verification rules that Nexus's agents bring."""

from __future__ import annotations

from agents.judge.rule import LLM_JUDGE

__all__ = ["LLM_JUDGE"]
