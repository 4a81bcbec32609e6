"""The examples of agents/adapters run, and show what they say."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator

import pytest

from messaging.testing.servers.processes import Supervised
from tests.support.paths import ROOT

FOLDER = ROOT / "examples" / "adapters"
EXAMPLES = {
    "plain_function": ("agents", "4 words, the longest is 'question'"),
    "pydantic_ai_agent": ("pydantic_ai", "The worker's log has 4 calls of tools"),
    "langgraph_graph": ("langgraph", "The first node ran 2 times for two questions."),
    "autogen_assistant": ("autogen_agentchat", "The model was asked 4 times for two questions"),
}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Supervised]]:
    """All examples whose framework is installed, running side by side: they mostly wait."""
    folder = tmp_path_factory.mktemp("examples")
    environment = {**os.environ, "EXAMPLES_DIR": str(folder), "PYTHONUNBUFFERED": "1"}
    running = {
        name: Supervised(
            [sys.executable, str(FOLDER / f"{name}.py")], log_file=folder / f"{name}.out", environment=environment
        ).start()
        for name, (module, _) in EXAMPLES.items()
        if importlib.util.find_spec(module) is not None
    }
    yield running
    for example in running.values():
        example.stop()


@pytest.mark.whole
@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_goes_on_after_its_worker_is_killed(name: str, started: dict[str, Supervised]) -> None:
    module, said = EXAMPLES[name]
    if name not in started:
        pytest.skip(f"{module} is not installed (requirements-extras.txt)")
    example = started[name]
    assert example.wait(100) == 0, example.log()
    assert said in example.log()
    assert "(the worker was killed" in example.log()


def test_examples_stay_short() -> None:
    for example in FOLDER.glob("*.py"):
        assert len(example.read_text().splitlines()) < 120, example.name
