"""AutoGen-core in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.systems.base import System


class Autogen(System):
    """One process, no servers."""

    name = "autogen-core"
    guarantee = "none: nothing survives the process"
    settings = ("SingleThreadedAgentRuntime, one process, nothing stored",)

    def prepare(self) -> Mapping[str, str]:
        return {}

    def worker_commands(self) -> Sequence[Sequence[str]]:
        return []

    def client_command(self) -> Sequence[str]:
        return [self.ground.python, "-m", "bench.apps.autogen_relay"]

    def clean_up(self) -> None:
        """It leaves nothing."""
