"""The model of both programs. It counts its calls in a file; the fifth one in all is cut by kill -9."""

from __future__ import annotations

import os
import signal
from pathlib import Path

LINES = {
    "planner": ["Plan: three paragraphs on queues.", "Plan: shorten the second one."],
    "writer": ["Draft 1 …", "Draft 2 …"],
    "critic": ["The second paragraph is long.", "Good."],
    "editor": ["Commas fixed.", "Done. APPROVED"],
}
TASK = "An article about message queues."
CALLS = Path(os.environ.get("CALLS", "/tmp/comparison-calls"))


def answer(speaker: str, turns_before: int) -> str:
    """What the model says; paid for when it is asked, whether the answer arrives or not."""
    with CALLS.open("a") as calls:
        calls.write(f"{speaker}\n")
    paid = len(CALLS.read_text().splitlines())
    if paid == 5:
        os.killpg(os.getpgid(0), signal.SIGKILL)
    return LINES[speaker][turns_before]
