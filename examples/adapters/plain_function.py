"""A plain function as a durable agent. Its worker is killed while it works; only the call in flight is repeated.

python examples/adapters/plain_function.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from examples.harness.embedded import prepare, running
from examples.harness.interruption import converse

prepare(__file__)

from agents.adapters.functions import FunctionAgent


def summarise(text: str) -> str:
    """Slow work that knows nothing of Nexus. Once it returned, no redelivery does it again."""
    time.sleep(2.0)
    return f"{len(text.split())} words, the longest is {max(text.split(), key=len)!r}"


FunctionAgent("summariser", summarise).register()


def main() -> None:
    with running(__file__) as nexus:
        converse(nexus, "summariser", ["to be or not to be", "that is the question"])


if __name__ == "__main__":
    main()
